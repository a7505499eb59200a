import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import type { Context } from '../../services/collect/source.js';
import { metrics } from '../../services/collect/sources/metrics.js';
import type { Decoded, MetricRow } from '../../shared/evidence.js';
import { corpus, recordings, testWith } from '../helpers/data.js';
import { damaged, metricsByOracle, metricsProto, randomMetrics } from '../helpers/otlp-messages.js';

const context: Context = { origin: 'test', gunzip: (bytes) => gunzipSync(bytes) };
const bytes = (given: string | Uint8Array) => (typeof given === 'string' ? new TextEncoder().encode(given) : given);
const decode = (given: string | Uint8Array) => metrics.decode(bytes(given), context);

function file(given: string | Uint8Array, piece = Number.MAX_SAFE_INTEGER): Decoded<MetricRow> {
  const decoder = metrics.file(context);
  const all = bytes(given);
  const parts = [];
  for (let at = 0; at < all.length; at += piece) parts.push(decoder.push(all.subarray(at, at + piece)));
  parts.push(decoder.end());
  const skipped = new Map<string, number>();
  for (const part of parts) for (const [why, n] of part.skipped) skipped.set(why, (skipped.get(why) ?? 0) + n);
  return {
    rows: parts.flatMap((part) => part.rows),
    faults: parts.flatMap((part) => part.faults),
    skipped,
    missedScrapes: parts.flatMap((part) => part.missedScrapes ?? []),
  };
}

const time = { timeUnixNano: '1710614934000000000' };
const text = (key: string, value: string) => ({ key, value: { stringValue: value } });

function message(metric: object, scope = 'test'): object {
  const resource = { attributes: [text('service.name', 'etcd'), text('service.instance.id', 'etcd-0:2379')] };
  return { resourceMetrics: [{ resource, scopeMetrics: [{ scope: { name: scope }, metrics: [metric] }] }] };
}

/** Both encodings must agree before either is looked at. */
function both(t: { deepEqual: (a: unknown, b: unknown) => unknown }, given: object): Decoded<MetricRow> {
  const fromJson = decode(JSON.stringify(given));
  const fromProtobuf = decode(metricsProto(given as Record<string, unknown>));
  const withoutRaw = (decoded: Decoded<MetricRow>) => ({
    ...decoded,
    faults: decoded.faults.map(({ reason, position }) => [reason, position]),
  });
  t.deepEqual(withoutRaw(fromProtobuf), withoutRaw(fromJson));
  return fromJson;
}

for (const { title, given, rows, fault, skipped } of metrics.examples) {
  test(`example: ${title}`, (t) => {
    const decoded = decode(given);
    t.is(decoded.rows.length, rows?.length ?? 0);
    for (const [i, row] of (rows ?? []).entries()) t.like(decoded.rows[i], row);
    t.is(decoded.faults[0]?.reason, fault as never);
    const skips = [...decoded.skipped.keys()].filter((reason) => reason !== 'empty_message');
    t.deepEqual(skips, skipped === undefined ? [] : [skipped]);
  });
}

test('protobuf and JSON give the same rows and bodies, as protobufjs reads them', (t) => {
  fc.assert(
    fc.property(randomMetrics, (given) => {
      both(t, given);
      both(t, metricsByOracle(metricsProto(given)));
    }),
    { numRuns: 200 },
  );
});

test('rows, faults and skipped are all that was in it', (t) => {
  fc.assert(
    fc.property(randomMetrics, (given) => {
      const points = [...JSON.stringify(given).matchAll(/"timeUnixNano"/g)].length;
      const { rows, faults, skipped } = decode(JSON.stringify(given));
      const counted = [...skipped].filter(([why]) => why !== 'empty_message').reduce((sum, [, n]) => sum + n, 0);
      t.is(rows.length + faults.length + counted, points);
    }),
    { numRuns: 200 },
  );
});

test('sums: monotonic ones count, others are levels, deltas and the unspecified are passed over', (t) => {
  const sum = (aggregationTemporality: unknown, isMonotonic: boolean) =>
    message({
      name: 'etcd_mvcc_put_total',
      sum: { aggregationTemporality, isMonotonic, dataPoints: [{ ...time, asInt: '7' }] },
    });
  t.like(both(t, sum(2, true)).rows[0], { kind: 'counter', value: 7 });
  t.like(both(t, sum(2, false)).rows[0], { kind: 'gauge', value: 7 });
  t.deepEqual([...both(t, sum(1, true)).skipped], [['delta_temporality', 1]]);
  t.deepEqual([...both(t, sum(0, true)).skipped], [['unspecified_temporality', 1]]);
  const byName = decode(JSON.stringify(sum('AGGREGATION_TEMPORALITY_CUMULATIVE', true)));
  t.is(byName.rows.length, 1);
});

test("etcd's gauges that only rise are counters, its true gauges are not", (t) => {
  const gauge = (name: string) => message({ name, gauge: { dataPoints: [{ ...time, asDouble: 1 }] } });
  t.is(both(t, gauge('etcd_server_proposals_committed_total')).rows[0]?.kind, 'counter');
  t.is(both(t, gauge('etcd_debugging_mvcc_keys_total')).rows[0]?.kind, 'gauge');
});

test('a histogram keeps bounds and counts per bucket', (t) => {
  const histogram = (point: object) =>
    message({
      name: 'etcd_disk_wal_fsync_duration_seconds',
      histogram: { aggregationTemporality: 2, dataPoints: [{ ...time, count: '6', sum: 0.5, ...point }] },
    });
  t.like(both(t, histogram({ explicitBounds: [0.001, 0.002], bucketCounts: ['1', '2', '3'] })).rows[0], {
    kind: 'histogram',
    value: null,
    bounds: [0.001, 0.002],
    counts: [1, 2, 3],
    sum: 0.5,
    count: 6,
  });
  t.like(both(t, histogram({})).rows[0], { bounds: [], counts: [6] });
  t.is(both(t, histogram({ explicitBounds: [2, 1], bucketCounts: [1, 2, 3] })).faults[0]?.reason, 'bad_record');
  t.is(both(t, histogram({ explicitBounds: [1], bucketCounts: [1] })).faults[0]?.reason, 'bad_record');
});

test('an exponential histogram becomes the explicit one that it stands for', (t) => {
  const exponential = (point: object) =>
    both(
      t,
      message({
        name: 'go_latency',
        exponentialHistogram: { aggregationTemporality: 2, dataPoints: [{ ...time, count: '9', ...point }] },
      }),
    ).rows[0];
  t.like(exponential({ scale: 0, zeroCount: '2', positive: { offset: 1, bucketCounts: ['3', '4'] } }), {
    kind: 'exponential_histogram',
    bounds: [0, 2, 4, 8],
    counts: [2, 0, 3, 4, 0],
    count: 9,
    sum: null,
  });
  t.like(
    exponential({
      scale: 0,
      zeroCount: '2',
      zeroThreshold: 0.5,
      negative: { offset: 0, bucketCounts: ['1', '5'] },
      positive: { offset: 0, bucketCounts: ['4'] },
    }),
    { bounds: [-4, -2, -1, -0.5, 0.5, 1, 2], counts: [0, 5, 1, 0, 2, 0, 4, 0] },
  );
  t.deepEqual(exponential({ scale: 1, positive: { offset: 0, bucketCounts: ['1', '1'] } })?.bounds, [
    0,
    1,
    2 ** 0.5,
    2,
  ]);
});

test('no bucket of an exponential histogram is lost, whatever its scale', (t) => {
  const bucket = fc.record({
    offset: fc.integer({ min: -5_000, max: 5_000 }),
    bucketCounts: fc.array(fc.integer({ min: 0, max: 1_000 }), { maxLength: 40 }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: -11, max: 20 }),
      bucket,
      bucket,
      fc.nat(9),
      (scale, positive, negative, zeroCount) => {
        const point = { ...time, scale, positive, negative, zeroCount };
        const exponentialHistogram = { aggregationTemporality: 2, dataPoints: [point] };
        const [row] = decode(JSON.stringify(message({ name: 'go_latency', exponentialHistogram }))).rows;
        const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
        t.is(sum(row!.counts!), sum(positive.bucketCounts) + sum(negative.bucketCounts) + zeroCount);
        t.is(row!.counts!.length, row!.bounds!.length + 1);
        t.true(row!.bounds!.every((bound, i, all) => Number.isFinite(bound) && (i === 0 || bound > all[i - 1]!)));
      },
    ),
  );
});

test('a summary keeps its quantiles, and NaN where nothing was observed', (t) => {
  const quantileValues = [
    { quantile: 0.5, value: 2 },
    { quantile: 0.99, value: 'NaN' },
  ];
  const [row] = both(
    t,
    message({
      name: 'go_gc_duration_seconds',
      summary: { dataPoints: [{ ...time, count: '3', sum: 7, quantileValues }] },
    }),
  ).rows;
  t.like(row, {
    kind: 'summary',
    bounds: [0.5, 0.99],
    counts: [2, Number.NaN],
    sum: 7,
    count: 3,
    flags: ['not_a_number'],
  });
});

test('NaN and infinities stay what they are; a point without a value says whether it was meant', (t) => {
  const gauge = (point: object) => message({ name: 'go_goroutines', gauge: { dataPoints: [{ ...time, ...point }] } });
  t.like(both(t, gauge({ asDouble: 'NaN' })).rows[0], { value: Number.NaN, flags: ['not_a_number'] });
  t.like(both(t, gauge({ asDouble: 'Infinity' })).rows[0], { value: Number.POSITIVE_INFINITY, flags: [] });
  t.like(both(t, gauge({ flags: 1, asDouble: 5 })).rows[0], { value: null, flags: ['no_recorded_value'] });
  t.is(both(t, gauge({})).faults[0]?.reason, 'bad_record');
  t.like(both(t, gauge({ timeUnixNano: '0', asInt: '1' })).rows[0], { flags: ['zero_time'] });
});

test('attributes are sorted, so that a series has one name', (t) => {
  const attributes = [text('To', 'b'), text('From', 'a')];
  const gauge = { dataPoints: [{ ...time, asInt: 1, attributes }] };
  t.is(both(t, message({ name: 'etcd_network_active_peers', gauge })).rows[0]?.attributes, '{"From":"a","To":"b"}');
});

/** A gauge's points on the wire, each with attributes before its time and value and after them. */
function gaugeOnWire(...points: { before: Uint8Array[]; after: Uint8Array[] }[]): Uint8Array {
  const gauge = protobuf.Writer.create();
  for (const { before, after } of points) {
    const point = protobuf.Writer.create();
    for (const attribute of before) point.uint32(58).bytes(attribute);
    point.uint32(25).fixed64(time.timeUnixNano).uint32(33).double(1);
    for (const attribute of after) point.uint32(58).bytes(attribute);
    gauge.uint32(10).bytes(point.finish());
  }
  const metric = protobuf.Writer.create().uint32(10).string('etcd_server_has_leader').uint32(42).bytes(gauge.finish());
  return [18, 18, 10].reduce(
    (inner, tag) => protobuf.Writer.create().uint32(tag).bytes(inner).finish(),
    metric.finish(),
  );
}

function attribute(key: string, ...value: number[]): Uint8Array {
  const any = protobuf.Writer.create().uint32(10).bytes(Uint8Array.from(value)).finish();
  return protobuf.Writer.create().uint32(10).string(key).uint32(18).bytes(any).finish();
}

test('attributes are one list wherever they stand in their point, and what was read once is read the same again', (t) => {
  const [a, b, other] = [attribute('a', 0x31), attribute('b', 0x32), attribute('a', 0x33)];
  const good = { before: [a, b], after: [] };
  const points = [
    good,
    { before: [b], after: [a] },
    { before: [], after: [b, a] },
    { before: [a], after: [other] },
    { before: [a], after: [attribute('b', 0xff)] },
    good,
  ];
  const [first, again] = [decode(gaugeOnWire(...points)), decode(gaugeOnWire(...points))];
  t.deepEqual(again, first);
  t.deepEqual(
    first.rows.map(({ attributes }) => attributes),
    Array(4).fill('{"a":"1","b":"2"}'),
  );
  t.is(new Set(first.rows.map(({ bodyHash }) => bodyHash)).size, 1);
  t.deepEqual(
    first.faults.map(({ reason, position }) => [reason, position]),
    [
      ['duplicate_key', 3],
      ['bad_utf8', 4],
    ],
  );
});

test('a bad attribute costs its point alone, also where the frame of the point breaks after it', (t) => {
  const good = { before: [attribute('a', 0x31)], after: [] };
  const bytes = gaugeOnWire(good, { before: [attribute('u', 0xff)], after: [] }, good);
  const broken = Buffer.from(bytes);
  broken[broken.indexOf(Buffer.from([0x01, 0xff])) + 2] = 0x1a; // the time's tag: of a length, and too long
  for (const given of [bytes, broken, bytes]) {
    const { rows, faults } = decode(given);
    t.is(rows.length, 2);
    t.deepEqual(
      faults.map(({ reason, position }) => [reason, position]),
      [['bad_utf8', 1]],
    );
  }
});

test('a failed scrape is coverage: up = 0 from the prometheus receiver, and only from it', (t) => {
  const up = (value: number, scope = 'github.com/x/receiver/prometheusreceiver') =>
    both(t, message({ name: 'up', gauge: { dataPoints: [{ ...time, asDouble: value }] } }, scope));
  t.deepEqual(up(0).missedScrapes, [{ service: 'etcd', instance: 'etcd-0:2379', timeUnixNano: 1710614934000000000n }]);
  t.deepEqual(up(1).missedScrapes, []);
  t.deepEqual([...up(1).skipped], [['metric_family', 1]]);
  t.deepEqual(up(0, 'an app').missedScrapes, []);
});

test('exposition text on the topic is told from protobuf and JSON', (t) => {
  const scrape = '# TYPE go_goroutines gauge\ngo_goroutines 42 1710614934000\n';
  for (const decoded of [
    metrics.decode(bytes(scrape), { ...context, instance: 'etcd-0' }),
    metrics.decode(bytes(`\n${scrape}`), { ...context, instance: 'etcd-0' }),
  ]) {
    t.like(decoded.rows[0], { metric: 'go_goroutines', value: 42 });
  }
});

test('a file of either format, in pieces of any size', (t) => {
  const line = JSON.stringify(message({ name: 'go_goroutines', gauge: { dataPoints: [{ ...time, asInt: '42' }] } }));
  const scrape = '# TYPE go_goroutines gauge\ngo_goroutines 42 1710614934000\n';
  for (const piece of [1, 7, 10_000]) {
    t.is(file(` \n${line}\n${line}`, piece).rows.length, 2);
    t.is(file(`\ufeff${line}`, piece).rows.length, 1);
    t.is(file(scrape, piece).rows.length, 1);
    t.is(file('', piece).faults.length, 0);
  }
});

test('damaged messages and files never throw', (t) => {
  const json = randomMetrics.map((given) => bytes(JSON.stringify(given)));
  fc.assert(
    fc.property(damaged(fc.oneof(randomMetrics.map(metricsProto), json)), (input) => {
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
  'the collector: every recorded message decodes, in both encodings',
  (t, data) => {
    const topic = (name: string) =>
      readdirSync(join(data, 'collector/kafka', name)).flatMap((message) => {
        const decoded = decode(read(data, 'collector/kafka', name, message));
        t.deepEqual(decoded.faults, []);
        return decoded.rows;
      });
    const series = (row: MetricRow) => `${row.metric} ${row.instance} ${row.attributes} ${row.timeUnixNano}`;
    const byJson = new Map(topic('otlp_metrics_json').map((row) => [series(row), row]));
    const rows = topic('otlp_metrics');
    t.true(rows.length > 1_000 && byJson.size > 1_000);
    for (const row of rows) {
      const other = byJson.get(series(row));
      if (other) t.is(row.bodyHash, other.bodyHash);
    }
  },
);

testWith(recordings, 'CAUSELINE_RECORDINGS', "the collector's files: a target that dies, stale points", (t, data) => {
  const run2 = file(gunzipSync(read(data, 'collector/run2/metrics.jsonl.gz')), 65_536);
  t.deepEqual(run2.faults, []);
  t.is(run2.missedScrapes?.length, 3);
  const stale = run2.rows.filter((row) => row.flags.includes('no_recorded_value'));
  t.true(stale.length > 0);
  t.true(stale.every((row) => row.value === null && row.counts === null));
  t.true(run2.rows.some((row) => row.metric === 'etcd_disk_wal_fsync_duration_seconds' && row.counts?.length === 15));
  t.true(run2.rows.some((row) => row.metric === 'go_gc_duration_seconds' && row.kind === 'summary'));
  const run3 = file(gunzipSync(read(data, 'collector/run3/metrics.jsonl.gz')));
  t.deepEqual([run3.rows.length, run3.faults.length], [3_024, 0]);
  t.is(decode(read(data, 'envelopes/otlp_metrics.json')).rows.length, 3);
});

testWith(
  corpus,
  'CAUSELINE_CORPUS',
  'what other projects hold for valid is read, families nobody reads are counted',
  (t, data) => {
    const folder = 'otlp/otlp2parquet_testdata/testdata';
    for (const kind of ['gauge', 'sum', 'histogram', 'exponential_histogram', 'summary', 'mixed']) {
      const one = read(data, folder, `metrics_${kind}.json`).toString();
      const lines = file(read(data, folder, `metrics_${kind}.jsonl`));
      const proto = decode(read(data, folder, `metrics_${kind}.pb`));
      t.deepEqual([lines.faults, proto.faults, decode(one).faults], [[], [], []]);
      t.true((proto.skipped.get('metric_family') ?? 0) > 0);
      // The same under names that are kept.
      const kept = decode(one.replaceAll(/("name": ")(?=[^"]*",\s*"description")/g, '$1go_'));
      t.deepEqual(kept.faults, []);
      t.is(kept.rows.length, decode(one).skipped.get('metric_family')!);
    }
    const invalid = read(data, folder, 'invalid/metrics_invalid_temporality.json');
    t.is(decode(invalid).faults[0]?.reason, 'bad_record');
  },
);
