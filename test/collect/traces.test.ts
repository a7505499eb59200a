import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import type { Context } from '../../services/collect/source.js';
import { traces } from '../../services/collect/sources/traces.js';
import type { Decoded, SpanRow } from '../../shared/evidence.js';
import { corpus, recordings, testWith } from '../helpers/data.js';
import { damaged, randomTraces, tracesProto } from '../helpers/otlp-messages.js';

const context: Context = { origin: 'test', gunzip: (bytes) => gunzipSync(bytes) };
const bytes = (given: string | Uint8Array) => (typeof given === 'string' ? new TextEncoder().encode(given) : given);
const decode = (given: string | Uint8Array, more: Partial<Context> = {}) =>
  traces.decode(bytes(given), { ...context, ...more });

function file(given: string | Uint8Array): Decoded<SpanRow> {
  const decoder = traces.file(context);
  const first = decoder.push(bytes(given));
  const last = decoder.end();
  return { rows: [...first.rows, ...last.rows], faults: [...first.faults, ...last.faults], skipped: first.skipped };
}

const span = {
  traceId: '5b8efff798038103d269b633813fc60c',
  spanId: 'eee19b7ec3c1b174',
  startTimeUnixNano: '1710614934000000000',
  endTimeUnixNano: '1710614935000000000',
};
const message = (...spans: object[]) => ({ resourceSpans: [{ scopeSpans: [{ spans }] }] });
const one = (changes: object = {}) => JSON.stringify(message({ ...span, ...changes }));

for (const { title, given, rows, fault, skipped } of traces.examples) {
  test(`example: ${title}`, (t) => {
    const decoded = decode(given);
    t.is(decoded.rows.length, rows?.length ?? 0);
    for (const [i, row] of (rows ?? []).entries()) t.like(decoded.rows[i], row);
    t.is(decoded.faults[0]?.reason, fault as never);
    t.deepEqual([...decoded.skipped.keys()], skipped === undefined ? [] : [skipped]);
  });
}

test('one span has one row and one body, whichever encoding brought it', (t) => {
  fc.assert(
    fc.property(randomTraces, (given) => {
      const fromJson = decode(JSON.stringify(given));
      t.deepEqual(decode(tracesProto(given)), fromJson);
      t.deepEqual(decode(gzipSync(tracesProto(given))), fromJson);
    }),
    { numRuns: 200 },
  );
});

test('whatever differs between two spans shows in their bodies', (t) => {
  const changes = [
    {},
    { spanId: 'eee19b7ec3c1b175' },
    { name: 'x' },
    { kind: 2 },
    { status: { code: 2 } },
    { flags: 1 },
    { traceState: 'a=b' },
    { attributes: [{ key: 'a', value: { stringValue: '1' } }] },
    { attributes: [{ key: 'a', value: { intValue: '1' } }] },
    { events: [{ name: 'e' }] },
    { links: [{ traceId: span.traceId, spanId: span.spanId }] },
  ];
  t.is(new Set(changes.map((change) => decode(one(change)).rows[0]?.bodyHash)).size, changes.length);
});

test('the order of attributes does not change the body', (t) => {
  const attributes = ['a', 'b', 'c'].map((key) => ({ key, value: { stringValue: key } }));
  const body = (list: object[]) => decode(one({ attributes: list })).rows[0]?.bodyHash;
  t.is(body(attributes), body(attributes.toReversed()));
});

test('odd times are kept as they are and flagged', (t) => {
  const flags = (start: bigint, end: bigint, now?: bigint) =>
    decode(
      one({ startTimeUnixNano: String(start), endTimeUnixNano: String(end) }),
      now === undefined ? {} : { nowUnixNano: now },
    ).rows[0]?.flags;
  const now = 1_710_614_934_000_000_000n;
  const day = 86_400_000_000_000n;
  t.deepEqual(flags(now, now + 1n, now), []);
  t.deepEqual(flags(0n, now), ['zero_time']);
  t.deepEqual(flags(now, 0n), ['end_before_start', 'zero_time']);
  t.deepEqual(flags(now, now - 1n), ['end_before_start']);
  t.deepEqual(flags(1n, now), ['impossible_time']);
  t.deepEqual(flags(now, 2n ** 63n), ['impossible_time']);
  t.deepEqual(flags(now, now + day, now), []);
  t.deepEqual(flags(now, now + day + 1n, now), ['future_time']);
  t.deepEqual(flags(now, now + day + 1n), []);
});

test('links, events and attributes are kept as JSON', (t) => {
  const attributes = [{ key: 'a', value: { intValue: '1' } }];
  const links = [{ traceId: span.traceId, spanId: span.spanId, attributes, flags: 1 }];
  const events = [{ name: 'exception', timeUnixNano: '7', attributes, droppedAttributesCount: 2 }];
  const [row] = decode(one({ attributes, links, events })).rows;
  t.deepEqual(JSON.parse(row!.attributes), { a: 1 });
  t.deepEqual(JSON.parse(row!.links), [
    { traceId: span.traceId, spanId: span.spanId, traceState: '', attributes: { a: 1 }, flags: 1 },
  ]);
  t.deepEqual(JSON.parse(row!.events), [
    { name: 'exception', timeUnixNano: '7', attributes: { a: 1 }, droppedAttributesCount: 2 },
  ]);
});

test('a broken message is one fault that keeps all of it', (t) => {
  const whole = tracesProto(message({ ...span, traceId: 'ab' }, span, span));
  const cut = whole.slice(0, -1);
  const { rows, faults } = decode(cut);
  t.deepEqual(rows, []);
  t.is(faults.length, 1);
  t.is(faults[0]?.raw, cut);
  t.is(faults[0]?.position, 0);
});

test('bad gzip is a fault with the reason', (t) => {
  const { faults } = decode(gzipSync(one()).subarray(0, 30));
  t.is(faults[0]?.reason, 'bad_gzip');
});

test('a file: lines in order, bad ones beside good ones, the last without line feed', (t) => {
  const { rows, faults } = file(
    `${one()}\r\n\n{"resourceMetrics":[]}\nnonsense\n${one({ spanId: 'ff00000000000000' })}`,
  );
  t.deepEqual(
    rows.map(({ spanId, position }) => [spanId, position]),
    [
      [span.spanId, 0],
      ['ff00000000000000', 3],
    ],
  );
  t.deepEqual(
    faults.map(({ reason, position }) => [reason, position]),
    [
      ['unknown_format', 1],
      ['bad_json', 2],
    ],
  );
  t.true(faults[1]?.detail.startsWith('line 4: '));
  t.is(new TextDecoder().decode(faults[1]?.raw as Uint8Array), 'nonsense');
});

test('damaged messages and files never throw', (t) => {
  const json = randomTraces.map((given) => bytes(JSON.stringify(given)));
  fc.assert(
    fc.property(damaged(fc.oneof(randomTraces.map(tracesProto), json)), (input) => {
      decode(input);
      file(input);
      t.pass();
    }),
    { numRuns: 1_000 },
  );
});

const read = (folder: string, ...path: string[]) => readFileSync(join(folder, ...path));

testWith(
  recordings,
  'CAUSELINE_RECORDINGS',
  'the collector: one body for spans recorded in both encodings',
  (t, data) => {
    const topic = (name: string) =>
      readdirSync(join(data, 'collector/kafka', name)).flatMap((message) => {
        const decoded = decode(read(data, 'collector/kafka', name, message));
        t.deepEqual(decoded.faults, []);
        return decoded.rows;
      });
    const byId = new Map(topic('otlp_spans_json').map((row) => [row.traceId + row.spanId, row]));
    const both = topic('otlp_spans').filter((row) => byId.has(row.traceId + row.spanId));
    t.is(both.length, 24);
    for (const row of both) t.is(row.bodyHash, byId.get(row.traceId + row.spanId)!.bodyHash);
  },
);

testWith(recordings, 'CAUSELINE_RECORDINGS', "the collector's files: etcd's own spans and their callers", (t, data) => {
  const run2 = file(gunzipSync(read(data, 'collector/run2/traces.jsonl.gz')));
  t.deepEqual([run2.rows.length, run2.faults.length], [440, 0]);
  const etcd = run2.rows.filter((row) => row.service?.startsWith('etcd') && row.kind === 'server');
  t.deepEqual(
    [...new Set(etcd.map((row) => row.operation))].sort(),
    ['DeleteRange', 'Put', 'Range', 'Txn'].map((method) => `etcdserverpb.KV/${method}`),
  );
  t.deepEqual(new Set(etcd.map((row) => row.rpcStatus)), new Set(['OK', 'RESOURCE_EXHAUSTED']));
  t.true(run2.rows.some((row) => row.kind === 'client' && row.operation === 'etcdserverpb.KV/Put'));
  const run3 = file(gunzipSync(read(data, 'collector/run3/direct.jsonl.gz')));
  t.deepEqual([run3.rows.length, run3.faults.length], [60, 0]);
});

testWith(recordings, 'CAUSELINE_RECORDINGS', 'an envelope of traces decodes, one of metrics does not', (t, data) => {
  t.is(decode(read(data, 'envelopes/otlp_traces.json')).rows.length, 2);
  t.is(decode(read(data, 'envelopes/otlp_metrics.json')).faults[0]?.reason, 'unknown_format');
});

const otlp2parquet = 'otlp/otlp2parquet_testdata/testdata';

testWith(corpus, 'CAUSELINE_CORPUS', 'ids in base64 are refused, the same spans in protobuf are read', (t, data) => {
  const refused = file(read(data, otlp2parquet, 'traces.jsonl'));
  t.is(refused.rows.length, 0);
  t.true(refused.faults.every(({ reason, detail }) => reason === 'bad_record' && detail.includes('base64')));
  const rows = decode(read(data, otlp2parquet, 'traces.pb')).rows;
  t.is(rows.length, refused.faults.length);
});

testWith(corpus, 'CAUSELINE_CORPUS', 'what other projects hold for valid and for invalid', (t, data) => {
  const invalid = (name: string) =>
    decode(read(data, otlp2parquet, 'invalid', name)).faults.map(({ reason }) => reason);
  t.deepEqual(invalid('trace_invalid_base64.json'), ['bad_record']);
  t.deepEqual(invalid('trace_invalid_kind.json'), ['bad_record']);
  t.deepEqual(invalid('trace_mixed_encoding.json'), ['bad_record']);
  t.deepEqual(invalid('malformed.json'), ['bad_json']);

  const [example] = decode(read(data, 'otlp/opentelemetry_proto_examples/examples/trace.json')).rows;
  t.like(example, {
    service: 'my.service',
    name: "I'm a server span",
    kind: 'server',
    parentSpanId: 'eee19b7ec3c1b173',
  });

  const duckdb = 'otlp/duckdb_otlp_testdata/test/data';
  t.is(decode(read(data, duckdb, 'otlp_traces.pb')).rows.length, 1);
  t.is(file(read(data, duckdb, 'traces_simple.jsonl')).rows.length, 3);
  t.is(file(read(data, duckdb, 'traces_nulls.jsonl')).rows.length, 3);
  t.is(file(read(data, duckdb, 'traces_deep_nesting.jsonl')).rows.length, 1);
  t.deepEqual(file(read(data, duckdb, 'whitespace.jsonl')).faults, []);
  t.deepEqual(
    file(read(data, duckdb, 'malformed.jsonl')).faults.map(({ reason }) => reason),
    ['unknown_format', 'bad_json', 'bad_record', 'bad_json'],
  );
});
