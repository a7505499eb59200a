import test from 'ava';
import fc from 'fast-check';
import { jsonLines, Records, readTraces, type ScopeSpans, Unusable } from '../../services/collect/formats/otlp.js';
import { damaged, type Json, randomTraces, tracesByOracle, tracesProto } from '../helpers/otlp-messages.js';

const utf8 = new TextEncoder();
const json = (message: unknown) => utf8.encode(typeof message === 'string' ? message : JSON.stringify(message));

function read(bytes: Uint8Array): { groups: ScopeSpans[]; records: Records } {
  const records = new Records();
  return { groups: readTraces(bytes, records), records };
}

function spans(bytes: Uint8Array) {
  const { groups, records } = read(bytes);
  return { spans: groups.flatMap((group) => group.spans), faults: records.faults };
}

const ids = { traceId: '5B8EFFF798038103D269B633813FC60C', spanId: 'EEE19B7EC3C1B174' };

function message(...given: object[]): Json {
  return { resourceSpans: [{ scopeSpans: [{ spans: given.map((span) => ({ ...ids, ...span })) }] }] };
}

function attribute(value: unknown, key = 'a'): object {
  return { attributes: [{ key, value }] };
}

test('protobuf and JSON are read into one shape, as protobufjs reads it', (t) => {
  fc.assert(
    fc.property(randomTraces, (traces) => {
      const bytes = tracesProto(traces);
      const fromProtobuf = read(bytes);
      t.deepEqual(fromProtobuf.records.faults, []);
      t.deepEqual(fromProtobuf.groups, read(json(traces)).groups);
      t.deepEqual(fromProtobuf.groups, read(json(tracesByOracle(bytes))).groups);
    }),
    { numRuns: 200 },
  );
});

test('what a span says comes through', (t) => {
  const span = {
    name: 'put',
    kind: 3,
    startTimeUnixNano: '1710614934123456789',
    flags: 257,
    events: [{ timeUnixNano: '1', name: 'e' }],
    links: [{ ...ids, traceState: 'k=v' }],
    status: { code: 2, message: 'no space' },
  };
  for (const bytes of [json(message(span)), tracesProto(message(span))]) {
    const [read] = spans(bytes).spans;
    t.is(read?.traceId, ids.traceId.toLowerCase());
    t.is(read?.spanId, ids.spanId.toLowerCase());
    t.is(read?.name, 'put');
    t.is(read?.kind, 3);
    t.is(read?.startUnixNano, 1710614934123456789n);
    t.is(read?.traceFlags, 257);
    t.is(read?.statusCode, 2);
    t.is(read?.statusMessage, 'no space');
    t.is(read?.events[0]?.name, 'e');
    t.is(read?.links[0]?.traceState, 'k=v');
  }
});

test('attribute values become plain JSON', (t) => {
  const values: [given: unknown, plain: string][] = [
    [{ stringValue: 'x' }, '"x"'],
    [{ boolValue: true }, 'true'],
    [{ intValue: '42' }, '42'],
    [{ intValue: 42 }, '42'],
    [{ intValue: '9007199254740993' }, '"9007199254740993"'],
    [{ doubleValue: 0.5 }, '0.5'],
    [{ doubleValue: 'NaN' }, '"NaN"'],
    [{ doubleValue: '-Infinity' }, '"-Infinity"'],
    [{ bytesValue: '+/8=' }, '"+/8="'],
    [{}, 'null'],
    [{ arrayValue: { values: [{ intValue: '1' }, {}] } }, '[1,null]'],
    [{ arrayValue: {} }, '[]'],
    [{ kvlistValue: { values: [{ key: '__proto__', value: { intValue: '1' } }] } }, '{"__proto__":1}'],
  ];
  for (const [value, plain] of values) {
    for (const bytes of [json(message(attribute(value))), tracesProto(message(attribute(value)))]) {
      t.is(JSON.stringify(spans(bytes).spans[0]?.attributes.a), plain);
    }
  }
});

test('a key named __proto__ stays a key, and is flagged', (t) => {
  for (const encode of [json, tracesProto]) {
    const [span] = spans(encode(message(attribute({ intValue: '1' }, '__proto__')))).spans;
    t.deepEqual(Object.keys(span?.attributes ?? {}), ['__proto__']);
    t.true(span?.flags.has('proto_key'));
    t.is(({} as Json).intValue, undefined);
  }
});

test('what JSON may do otherwise: enums by name, numbers for 64-bit integers, null, unknown fields, old names', (t) => {
  const [byName] = spans(json(message({ kind: 'SPAN_KIND_CLIENT', status: { code: 'STATUS_CODE_ERROR' } }))).spans;
  t.is(byName?.kind, 3);
  t.is(byName?.statusCode, 2);

  const exact = JSON.stringify(message({ startTimeUnixNano: 1, name: 'a "1710614934123456789" \\' }));
  const [number] = spans(json(exact.replace('UnixNano":1', 'UnixNano": 1710614934123456789'))).spans;
  t.is(number?.startUnixNano, 1710614934123456789n, 'a JSON number is not rounded to a double');
  t.is(number?.name, 'a "1710614934123456789" \\');

  const [nulls] = spans(json(message({ name: null, kind: null, attributes: null, status: null, unknown: [{}] }))).spans;
  t.is(nulls?.name, '');

  const old = {
    resourceSpans: [{ instrumentationLibrarySpans: [{ instrumentationLibrary: { name: 'l' }, spans: [ids] }] }],
  };
  for (const bytes of [json(old), tracesProto(old)]) t.is(read(bytes).groups[0]?.scope.name, 'l');
});

const unusable: readonly [title: string, span: object, reason: string][] = [
  ['a trace id in base64', { traceId: 'W47/95gDgQPSabYzgT/GDA==' }, 'bad_record'],
  ['a trace id that is no hex', { traceId: 'zzz' }, 'bad_record'],
  ['no span id', { spanId: '' }, 'bad_record'],
  ['a span id of zeros', { spanId: '0000000000000000' }, 'bad_record'],
  ['a link with half an id', { links: [{ traceId: 'ab' }] }, 'bad_record'],
  ['a negative time', { startTimeUnixNano: '-1' }, 'bad_time'],
  ['a time past 64 bits', { endTimeUnixNano: '18446744073709551616' }, 'bad_time'],
  ['a time in words', { endTimeUnixNano: '2024-03-17T02:48:00Z' }, 'bad_time'],
  ['an unknown kind by name', { kind: 'SPAN_KIND_OTHER' }, 'bad_record'],
  ['a name that is a number', { name: 5 }, 'bad_record'],
  ['attributes that are no list', { attributes: { a: 1 } }, 'bad_record'],
  ['a value of two types', attribute({ stringValue: 'a', intValue: '1' }), 'bad_record'],
  ['an integer with a fraction', attribute({ intValue: 1.5 }), 'bad_record'],
  ['an integer past 64 bits', attribute({ intValue: 1e21 }), 'bad_record'],
  [
    'one key with two values',
    { attributes: [1, 2].map((n) => ({ key: 'a', value: { intValue: n } })) },
    'duplicate_key',
  ],
];

for (const [title, bad, reason] of unusable) {
  test(`${title} costs its span only`, (t) => {
    const { spans: left, faults } = spans(json(message({ name: 'before' }, bad, { name: 'after' })));
    t.deepEqual(
      left.map(({ name, position }) => [name, position]),
      [
        ['before', 0],
        ['after', 2],
      ],
    );
    t.is(faults.length, 1);
    t.is(faults[0]?.reason as string, reason);
    t.is(faults[0]?.position, 1);
    t.deepEqual(JSON.parse(String(faults[0]?.raw)), { ...ids, ...bad });
  });
}

test('in protobuf, a bad id, bad UTF-8 or an ambiguous key costs its span only', (t) => {
  const twice = { attributes: [1, 2].map((n) => ({ key: 'a', value: { intValue: n } })) };
  const notUtf8 = tracesProto(message({ name: 'before' }, { name: 'XXX' }, { name: 'after' }));
  notUtf8[Buffer.from(notUtf8).indexOf('XXX')] = 0xff;
  const inputs: [Uint8Array, string][] = [
    [tracesProto(message({ name: 'before' }, { traceId: 'abcd' }, { name: 'after' })), 'bad_record'],
    [tracesProto(message({ name: 'before' }, twice, { name: 'after' })), 'duplicate_key'],
    [notUtf8, 'bad_utf8'],
  ];
  for (const [bytes, reason] of inputs) {
    const { spans: left, faults } = spans(bytes);
    t.deepEqual(
      left.map(({ name }) => name),
      ['before', 'after'],
    );
    t.deepEqual(
      faults.map((fault) => [fault.reason, fault.position]),
      [[reason, 1]],
    );
    t.true(faults[0]?.raw instanceof Uint8Array);
  }
});

test('one attribute that stands twice with one value is one attribute', (t) => {
  const twice = { attributes: [1, 1].map((n) => ({ key: 'a', value: { intValue: n } })) };
  for (const encode of [json, tracesProto])
    t.deepEqual(Object.keys(spans(encode(message(twice))).spans[0]!.attributes), ['a']);
});

test('a bad resource costs what it holds and nothing beside it', (t) => {
  const resource = { attributes: [1, 2].map((n) => ({ key: 'service.name', value: { intValue: n } })) };
  const good = message({ name: 'good' }) as { resourceSpans: object[] };
  const both = { resourceSpans: [{ ...good.resourceSpans[0], resource }, ...good.resourceSpans] };
  for (const encode of [json, tracesProto]) {
    const { spans: left, faults } = spans(encode(both));
    t.deepEqual(
      left.map(({ name }) => name),
      ['good'],
    );
    t.is(faults.length, 1);
  }
});

test('long lists and strings are cut and flagged, deep values refused', (t) => {
  const many = { attributes: Array.from({ length: 1_025 }, (_, i) => ({ key: `k${i}`, value: {} })) };
  const long = attribute({ stringValue: `${'x'.repeat(65_535)}😀` });
  const nested = (depth: number): object =>
    depth === 0 ? { intValue: '1' } : { arrayValue: { values: [nested(depth - 1)] } };
  for (const encode of [json, tracesProto]) {
    const [cut] = spans(encode(message(many))).spans;
    t.is(Object.keys(cut!.attributes).length, 1_024);
    t.deepEqual([...cut!.flags], ['attributes_truncated']);
    const [short] = spans(encode(message(long))).spans;
    t.is(short!.attributes.a, 'x'.repeat(65_535), 'no half of a surrogate pair is left');
    t.deepEqual([...short!.flags], ['string_truncated']);
    t.is(spans(encode(message(attribute(nested(16))))).spans.length, 1);
    t.is(spans(encode(message(attribute(nested(17))))).faults[0]?.reason, 'too_deep');
  }
});

test('the encoding is told from the first bytes, also where a line feed comes first', (t) => {
  t.is(spans(json(`\n \r\n${JSON.stringify(message({}))}`)).spans.length, 1);
  t.is(spans(json(`\ufeff${JSON.stringify(message({}))}`)).spans.length, 1);
  // A protobuf message whose one resource is 123 bytes long starts with 0a 7b, which is "\n{".
  const bare = tracesProto(message({})).length;
  const proto = tracesProto(message({ name: 'x'.repeat(125 - bare - 2) }));
  t.deepEqual([...proto.subarray(0, 2)], [0x0a, 0x7b]);
  t.is(spans(proto).spans.length, 1);
});

test('what is no message at all says why', (t) => {
  const reasons: [Uint8Array, string][] = [
    [json('{"resourceMetrics":[]}'), 'unknown_format'],
    [json('{"resourceSpans":[}'), 'bad_json'],
    [json('{"resourceSpans":[],"resourceSpans":[]}'), 'duplicate_key'],
    [json('\n{"resourceSpans":[}'), 'bad_json'],
    [json('this is no message'), 'bad_protobuf'],
    [Uint8Array.of(0x0a, 5, 1), 'bad_protobuf'],
    [Uint8Array.of(...json('{"a":"'), 0xff, ...json('"}')), 'bad_utf8'],
  ];
  for (const [bytes, reason] of reasons) {
    const error = t.throws(() => read(bytes), { instanceOf: Unusable });
    t.is<unknown, unknown>(error?.reason, reason);
  }
});

test('damaged messages never throw anything else', (t) => {
  const inputs = fc.oneof(randomTraces.map(tracesProto), randomTraces.map(json));
  fc.assert(
    fc.property(damaged(inputs), (bytes) => {
      const records = new Records();
      records.message(bytes, new Map(), () => readTraces(bytes, records));
      t.pass();
    }),
    { numRuns: 1_000 },
  );
});

test('lines are found whatever the pieces', (t) => {
  const lines = ['{"a":1}', '', '  ', '{"b":"é"}\r', 'last without line feed'];
  const bytes = json(lines.join('\n'));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (sizes) => {
      const seen: string[] = [];
      const file = jsonLines<never>((line, records) => {
        seen.push(`${records.where}${new TextDecoder().decode(line)}`);
      });
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length]!;
        file.push(bytes.subarray(at, at + size));
        at += size;
      }
      file.end();
      t.deepEqual(seen, ['line 1: {"a":1}', 'line 4: {"b":"é"}\r', 'line 5: last without line feed']);
    }),
  );
});

test('a line over the bound is a fault that keeps its head, and costs only itself', (t) => {
  const seen: string[] = [];
  const file = jsonLines<never>((line) => {
    seen.push(new TextDecoder().decode(line));
  }, 10);
  const out = [file.push(json('12345678')), file.push(json('90123')), file.push(json('4\nnext\n')), file.end()];
  const [fault, ...others] = out.flatMap((part) => part.faults);
  t.deepEqual(others, []);
  t.is(fault?.reason, 'too_large');
  t.is(fault?.detail, 'line 1: 14 bytes, more than 10; the first 13 are kept');
  t.deepEqual(seen, ['next']);
});
