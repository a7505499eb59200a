import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { canonical } from '../../services/collect/formats/canonical.js';
import { countsDespiteItsType } from '../../services/collect/formats/kept-metrics.js';
import { looksLikePrometheus, prometheusFile } from '../../services/collect/formats/prometheus.js';
import type { Context } from '../../services/collect/source.js';
import type { Fault, MetricRow, MissedScrape } from '../../shared/evidence.js';
import { sha256 } from '../../shared/hash.js';
import { recordings, testWith } from '../helpers/data.js';

const at = 1_795_433_945_719;
const atNano = 1_795_433_945_719_000_000n;

test('a sample becomes a row with its labels, its kind and the time of its scrape', (t) => {
  const { rows, faults } = decode(
    '# HELP etcd_mvcc_put_total Puts.\n# TYPE etcd_mvcc_put_total counter\netcd_mvcc_put_total{b="2",a="1"} 5\n',
  );
  t.deepEqual(faults, []);
  t.like(rows[0], {
    metric: 'etcd_mvcc_put_total',
    kind: 'counter',
    value: 5,
    attributes: '{"a":"1","b":"2"}',
    timeUnixNano: atNano,
    startUnixNano: null,
    service: 'config-store',
    instance: 'config-store-0',
    position: 2,
  });
});

test('a scrape line gives the time; other words on it do not matter', (t) => {
  const text = '# SCRAPE seq=1 unix_ms=1000 phase="x y" status=200\netcd_a 1\n# SCRAPE unix_ms=2000\netcd_a 2\n';
  const { rows } = decode(text, { scrapeUnixMs: 5 });
  t.deepEqual(
    rows.map((row) => [row.timeUnixNano, row.value]),
    [
      [1_000_000_000n, 1],
      [2_000_000_000n, 2],
    ],
  );
});

test('a timestamp of its own wins over the time of the scrape', (t) => {
  const { rows } = decode('etcd_a 1 1000\netcd_a 2 -1\netcd_a 3\n');
  t.deepEqual(
    rows.map((row) => [row.timeUnixNano, row.flags]),
    [
      [1_000_000_000n, []],
      [-1_000_000n, ['impossible_time']],
      [atNano, []],
    ],
  );
});

test('times after now are flagged', (t) => {
  t.deepEqual(decode('etcd_a 1\n', { nowUnixNano: atNano - 1n }).rows[0]?.flags, ['future_time']);
  t.deepEqual(decode('etcd_a 1\n', { nowUnixNano: atNano }).rows[0]?.flags, []);
});

test('text without any time is one fault that keeps the scrape; samples with a time of their own are rows', (t) => {
  const text = '# TYPE etcd_a gauge\netcd_a 1\netcd_b 2 1000\netcd_c 3\n';
  const { rows, faults } = decode(text, { scrapeUnixMs: undefined });
  t.deepEqual(
    rows.map((row) => row.metric),
    ['etcd_b'],
  );
  t.like(faults, [{ reason: 'bad_time', raw: '# TYPE etcd_a gauge\netcd_a 1\netcd_c 3\n', position: 1 }]);
  t.is(faults.length, 1);
});

test('a scrape line whose time cannot be read costs its scrape, not the next', (t) => {
  const { rows, faults } = decode('# SCRAPE unix_ms=soon\netcd_a 1\n# SCRAPE unix_ms=2000\netcd_a 2\n');
  t.deepEqual(
    rows.map((row) => row.value),
    [2],
  );
  t.deepEqual(
    faults.map((fault) => fault.reason),
    ['bad_time'],
  );
});

test('a member that did not answer is a missed scrape, not a point', (t) => {
  const { rows, missedScrapes, skipped } = decode('# SCRAPE unix_ms=1000 status=0 error="x"\netcd_a 1\n');
  t.deepEqual(rows, []);
  t.deepEqual(missedScrapes, [{ service: 'config-store', instance: 'config-store-0', timeUnixNano: 1_000_000_000n }]);
  t.deepEqual([...skipped], [['scrape_failed', 1]]);
});

test('escapes in label values are undone, braces and commas inside them do no harm', (t) => {
  const { rows, faults } = decode(String.raw`etcd_a{a="x\\y",b="\"q\"",c="1\n2",d="}{,= # 1",} 7`);
  t.deepEqual(faults, []);
  t.deepEqual(JSON.parse(rows[0]!.attributes), { a: 'x\\y', b: '"q"', c: '1\n2', d: '}{,= # 1' });
});

test('blanks around names, labels and values do not matter', (t) => {
  const { rows, faults } = decode('\tetcd_a { a = "1" , b="2" , }\t1  1000 \r\n\r\n etcd_b   2\n');
  t.deepEqual(faults, []);
  t.deepEqual(
    rows.map((row) => [row.metric, row.attributes, row.value]),
    [
      ['etcd_a', '{"a":"1","b":"2"}', 1],
      ['etcd_b', '{}', 2],
    ],
  );
});

test('a label with an empty value is no label', (t) => {
  t.is(decode('etcd_a{a="",b="1"} 1\n').rows[0]?.attributes, '{"b":"1"}');
});

test('values: numbers as Go writes them, NaN, infinities and the stale marker', (t) => {
  const values = ['1', '-2.5', '+3', '.5', '4.', '1e3', '2.147483648e+09', 'NaN', '+Inf', '-Inf', 'stale'];
  const { rows, faults } = decode(values.map((value, i) => `etcd_a{i="${i}"} ${value}\n`).join(''));
  t.deepEqual(faults, []);
  t.deepEqual(
    rows.map((row) => row.value),
    [1, -2.5, 3, 0.5, 4, 1000, 2147483648, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null],
  );
  t.deepEqual(
    rows.slice(7).map((row) => row.flags),
    [['not_a_number'], [], [], ['no_recorded_value']],
  );
});

test('without a TYPE a metric is a gauge, whatever its name; etcd gauges that only grow are counters', (t) => {
  const text = '# TYPE etcd_disk_wal_write_bytes_total gauge\netcd_disk_wal_write_bytes_total 1\netcd_x_total 1\n';
  t.deepEqual(
    decode(`${text}etcd_server_proposals_applied_total 1\n# TYPE etcd_y untyped\netcd_y 1\n`).rows.map(
      (row) => row.kind,
    ),
    ['counter', 'gauge', 'counter', 'gauge'],
  );
  t.false(countsDespiteItsType('etcd_debugging_mvcc_keys_total'));
});

test('a TYPE holds in its own scrape only', (t) => {
  const text = '# SCRAPE unix_ms=1\n# TYPE etcd_a counter\netcd_a 1\n# SCRAPE unix_ms=2\netcd_a 1\n';
  t.deepEqual(
    decode(text).rows.map((row) => row.kind),
    ['counter', 'gauge'],
  );
});

const buckets = (...lines: string[]) => `# TYPE etcd_h histogram\n${lines.map((line) => `etcd_h${line}\n`).join('')}`;

test('a histogram is one row a point, its counts a bucket and not cumulative', (t) => {
  const { rows, faults } = decode(
    buckets('_bucket{le="0.001"} 2', '_bucket{le="0.002"} 2', '_bucket{le="+Inf"} 5', '_sum 0.7', '_count 5'),
  );
  t.deepEqual(faults, []);
  t.is(rows.length, 1);
  t.like(rows[0], {
    metric: 'etcd_h',
    kind: 'histogram',
    value: null,
    bounds: [0.001, 0.002],
    counts: [2, 0, 3],
    sum: 0.7,
    count: 5,
    attributes: '{}',
    position: 1,
  });
});

test('buckets in any order, with other labels, at several times: one histogram each', (t) => {
  const { rows, faults } = decode(
    buckets(
      '_bucket{le="+Inf",To="b"} 5 1000',
      '_bucket{To="a",le="1"} 1',
      '_bucket{To="b",le="1"} 4 1000',
      '_bucket{To="a",le="+Inf"} 1',
      '_bucket{To="a",le="+Inf"} 7 1000',
    ),
  );
  t.deepEqual(faults, []);
  t.deepEqual(
    rows.map((row) => [row.attributes, row.timeUnixNano, row.bounds, row.counts, row.count]),
    [
      ['{"To":"b"}', 1_000_000_000n, [1], [4, 1], 5],
      ['{"To":"a"}', atNano, [1], [1, 0], 1],
      ['{"To":"a"}', 1_000_000_000n, [], [7], 7],
    ],
  );
});

for (const [title, lines] of [
  ['whose cumulative counts decrease', ['_bucket{le="1"} 3', '_bucket{le="+Inf"} 2']],
  ['without its +Inf bucket', ['_bucket{le="1"} 3', '_sum 1', '_count 3']],
  ['whose count is not its +Inf bucket', ['_bucket{le="+Inf"} 3', '_count 4']],
  ['with a count that is no number', ['_bucket{le="1"} NaN', '_bucket{le="+Inf"} 2']],
  ['with two values for one bound', ['_bucket{le="1"} 1', '_bucket{le="1.0"} 2', '_bucket{le="+Inf"} 2']],
] as const) {
  test(`a histogram ${title} costs only itself`, (t) => {
    const { rows, faults } = decode(`${buckets(...lines)}etcd_a 1\n`);
    t.deepEqual(
      rows.map((row) => row.metric),
      ['etcd_a'],
    );
    t.like(faults, [{ reason: 'bad_record', raw: lines.map((line) => `etcd_h${line}`).join('\n'), position: 1 }]);
  });
}

test('a bucket without a bound is a bad line', (t) => {
  t.like(decode(buckets('_bucket{x="1"} 3')).faults, [{ reason: 'bad_text', raw: 'etcd_h_bucket{x="1"} 3' }]);
});

test('buckets without a TYPE stay plain series', (t) => {
  t.like(decode('etcd_h_bucket{le="1"} 3\n').rows, [
    { metric: 'etcd_h_bucket', kind: 'gauge', attributes: '{"le":"1"}' },
  ]);
});

test('a summary is one row: quantiles, their values, sum and count', (t) => {
  const { rows, faults } = decode(
    '# TYPE go_gc_duration_seconds summary\ngo_gc_duration_seconds{quantile="0"} 1e-05\n' +
      'go_gc_duration_seconds{quantile="1"} NaN\ngo_gc_duration_seconds_sum 0.5\ngo_gc_duration_seconds_count 9\n',
  );
  t.deepEqual(faults, []);
  t.like(rows, [
    {
      kind: 'summary',
      bounds: [0, 1],
      counts: [1e-5, Number.NaN],
      sum: 0.5,
      count: 9,
      attributes: '{}',
      flags: ['not_a_number'],
    },
  ]);
  t.is(rows.length, 1);
});

for (const line of [
  'etcd_a',
  'etcd_a one',
  'etcd_a 1 2 3',
  'etcd_a 0x10',
  'etcd_a 1e999',
  '9etcd 1',
  'etcd_a{a="1" 1',
  'etcd_a{a=1} 1',
  'etcd_a{="1"} 1',
  'etcd_a{a="1" b="2"} 1',
  'etcd_a{a="1",a="2"} 1',
  'etcd_a{a="\\x"} 1',
  'etcd_a{a="1"}} 1',
  '# TYPE etcd_a speed',
  `etcd_a{${Array.from({ length: 65 }, (_, i) => `l${i}="1"`).join(',')}} 1`,
]) {
  test(`a bad line costs only itself: ${line.slice(0, 30)}`, (t) => {
    const { rows, faults } = decode(`etcd_before 1\n${line}\netcd_after 2\n`);
    t.deepEqual(
      rows.map((row) => row.metric),
      ['etcd_before', 'etcd_after'],
    );
    t.like(faults, [{ reason: 'bad_text', raw: line, position: 1 }]);
    t.regex(faults[0]!.detail, /line 2/);
  });
}

test('a timestamp that cannot be read is a bad time of its line', (t) => {
  for (const time of ['soon', '1.5', '99999999999999999999']) {
    t.like(decode(`etcd_a 1 ${time}\n`).faults, [{ reason: 'bad_time', raw: `etcd_a 1 ${time}` }]);
  }
});

test('a line that is no UTF-8 costs only itself and is kept as bytes', (t) => {
  const bad = Buffer.from([0x65, 0x74, 0x63, 0x64, 0xff, 0x20, 0x31]);
  const { rows, faults } = decode(Buffer.concat([Buffer.from('etcd_a 1\n'), bad, Buffer.from('\netcd_b{x="é"} 2')]));
  t.deepEqual(
    rows.map((row) => [row.metric, row.position]),
    [
      ['etcd_a', 0],
      ['etcd_b', 2],
    ],
  );
  t.is(faults[0]?.reason, 'bad_utf8');
  t.deepEqual(Buffer.from(faults[0]!.raw as Uint8Array), bad);
});

test('a line past the bound costs only itself, whatever the pieces', (t) => {
  const text = Buffer.from(`etcd_a 1\netcd_b{x="${'y'.repeat(1_100_000)}"} 1\netcd_c 2\n`);
  for (const cut of [text.length, 1000, 1_000_000]) {
    const { rows, faults } = decode(text, {}, cut);
    t.deepEqual(
      rows.map((row) => [row.metric, row.position]),
      [
        ['etcd_a', 0],
        ['etcd_c', 2],
      ],
    );
    t.deepEqual(
      faults.map((fault) => [fault.reason, fault.raw.length]),
      [['too_large', 1 << 20]],
    );
  }
});

test('a series said twice in one scrape: the same value is skipped, another is a fault that keeps it whole', (t) => {
  const { rows, faults, skipped } = decode('etcd_a{x="1",y="2"} 1\netcd_a{y="2",x="1"} 1\netcd_a{x="1",y="2",} 2\n');
  t.is(rows.length, 1);
  t.deepEqual([...skipped], [['duplicate_sample', 1]]);
  t.like(faults, [{ reason: 'bad_record', raw: 'etcd_a{x="1",y="2",} 2', position: 2 }]);
});

test('one series in two scrapes is two points', (t) => {
  t.is(decode('# SCRAPE unix_ms=1\netcd_a 1\n# SCRAPE unix_ms=2\netcd_a 1\n').rows.length, 2);
});

test('metrics outside the kept families are counted, one a sample', (t) => {
  const { rows, skipped } = decode('os_fd_used 1\npromhttp_x{a="1"} 2\netcd_a 1\ngo_goroutines 1\nprocess_x 1\n');
  t.deepEqual(
    rows.map((row) => row.metric),
    ['etcd_a', 'go_goroutines', 'process_x'],
  );
  t.deepEqual([...skipped], [['metric_family', 2]]);
});

test('what the folders do not say is null', (t) => {
  const { rows } = decode('etcd_a 1\n', { cluster: undefined, instance: undefined });
  t.like(rows, [{ service: null, instance: null }]);
});

test('the body is the canonical text of series, time, kind and what was measured', (t) => {
  const text = `etcd_a{b="é\\n",__proto__="x"} NaN\n${buckets('_bucket{le="1"} 3', '_bucket{le="+Inf"} 4', '_sum -0')}`;
  for (const row of decode(text).rows) {
    const { metric, service, instance, kind, value, bounds, counts, sum, count } = row;
    const attributes = JSON.parse(row.attributes);
    const timeUnixNano = String(row.timeUnixNano);
    const members = { metric, service, instance, attributes, timeUnixNano, kind, value, bounds, counts, sum, count };
    t.is(row.bodyHash, sha256(canonical(members).text));
  }
});

test('exposition text is told from other text by its first telling line', (t) => {
  for (const text of [
    '# HELP a b\n',
    '\n# hello\n# TYPE a gauge',
    '# SCRAPE unix_ms=1',
    'etcd_a{b="c"} 1 5',
    '\uFEFFup 1\n',
  ]) {
    t.true(looksLikePrometheus(text), text);
  }
  for (const text of [
    '',
    '{"a":1}',
    'cpu,host=a value=1 123',
    '# a comment',
    'hello world',
    'two words 5 more',
    '<html>',
  ]) {
    t.false(looksLikePrometheus(text), text);
  }
});

const pieces = fc.constantFrom(
  '# SCRAPE seq=1 unix_ms=1000 status=200\n',
  '# SCRAPE unix_ms=2000 status=0\n',
  '# TYPE etcd_a counter\n',
  'etcd_a{x="é}€"} 1\r\n',
  'etcd_a{x="é}€"} 2\n',
  'etcd_a 5 3000\n',
  '\n',
  'not a sample at all\n',
  'os_x 1\n',
  '\u0000\uFEFF\n',
  buckets('_bucket{le="1"} 1', '_bucket{le="+Inf"} 2', '_sum 1', '_count 2'),
  buckets('_bucket{le="1"} 1'),
);

test('any split into pieces gives the same rows, faults and counts', (t) => {
  const bad = Buffer.from([0xc3, 0x0a, 0xff, 0x20, 0x31]);
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), fc.boolean(), fc.array(fc.nat(400)), (parts, broken, cuts) => {
      const text = Buffer.concat([Buffer.from(parts.join('')), broken ? bad : Buffer.alloc(0)]);
      t.deepEqual(decode(text, {}, cuts), decode(text));
    }),
  );
});

testWith(recordings, 'CAUSELINE_RECORDINGS', 'recorded runs decode whole and equal their key series', (t, folder) => {
  let runs = 0;
  for (const path of promFiles(join(folder, 'etcd')).filter((file) => /scrapes[^/]*\.prom\.gz$/.test(file))) {
    const text = gunzipSync(readFileSync(path)).toString();
    const decoded = decode(text, { scrapeUnixMs: undefined }, 65_536);
    t.deepEqual(decoded.faults, [], path);
    t.is(sampleLines(decoded), text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length, path);
    keySeriesAgree(t, path, decoded);
    runs += 1;
  }
  t.is(runs, 9);
});

testWith(recordings, 'CAUSELINE_RECORDINGS', 'recorded single scrapes decode whole', (t, folder) => {
  const live = promFiles(join(folder, 'etcd/live_3node_3.4.23'));
  const texts = readdirSync(join(folder, 'collector/metrics-text')).map((name) =>
    join(folder, 'collector/metrics-text', name),
  );
  t.is(live.length, 141);
  t.is(texts.length, 4);
  for (const path of [...live, ...texts]) {
    const text = gunzipSync(readFileSync(path)).toString();
    const ms = Number(/(\d{13})\.prom\.gz$/.exec(path)?.[1] ?? at);
    const decoded = decode(text, { scrapeUnixMs: ms });
    t.deepEqual(decoded.faults, [], path);
    t.is(sampleLines(decoded), text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length, path);
    t.true(decoded.rows.every((row) => row.timeUnixNano === BigInt(ms) * 1_000_000n));
    const buckets = text.matchAll(/^((?:etcd|go|process|grpc_server)_\w+)_bucket\{/gm);
    const histograms = decoded.rows.filter((row) => row.kind === 'histogram').map((row) => row.metric);
    t.deepEqual(new Set(histograms), new Set([...buckets].map((found) => found[1]!)), path);
  }
});

// ── helpers ──

interface Whole {
  readonly rows: MetricRow[];
  readonly faults: Fault[];
  readonly skipped: Map<string, number>;
  readonly missedScrapes: MissedScrape[];
}

type Said = { [K in 'cluster' | 'instance' | 'scrapeUnixMs' | 'nowUnixNano']?: Context[K] | undefined };

/** Decodes text as one file, fed whole, in pieces of one size, or cut at the given places. */
function decode(given: string | Buffer, said: Said = {}, cut?: number | number[]): Whole {
  const all = { cluster: 'config-store', instance: 'config-store-0', scrapeUnixMs: at, ...said };
  const known = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const decoder = prometheusFile({ origin: 'test', gunzip: (bytes) => bytes, ...known });
  const bytes = Buffer.from(given);
  const whole: Whole = { rows: [], faults: [], skipped: new Map(), missedScrapes: [] };
  const take = ({ rows, faults, skipped, missedScrapes }: ReturnType<typeof decoder.end>) => {
    for (const row of rows) whole.rows.push(row);
    whole.faults.push(...faults);
    whole.missedScrapes.push(...(missedScrapes ?? []));
    for (const [reason, n] of skipped) whole.skipped.set(reason, (whole.skipped.get(reason) ?? 0) + n);
  };
  for (const piece of cutAt(bytes, cut)) take(decoder.push(piece));
  take(decoder.end());
  return whole;
}

function cutAt(bytes: Buffer, cut: number | number[] = bytes.length): Buffer[] {
  const every =
    typeof cut === 'number' ? Array.from({ length: Math.ceil(bytes.length / (cut || 1)) }, (_, i) => i * cut) : cut;
  const places = [0, ...every.filter((place) => place <= bytes.length), bytes.length].sort((a, b) => a - b);
  return places.slice(1).map((place, i) => bytes.subarray(places[i], place));
}

/** How many sample lines rows and counts stand for. */
function sampleLines({ rows, skipped }: Whole): number {
  const parts = (row: MetricRow) => (row.sum === null ? 0 : 1) + (row.count === null ? 0 : 1);
  const lines = rows.map((row) => (row.counts ? row.counts.length + parts(row) : 1));
  return lines.reduce((sum, n) => sum + n, 0) + [...skipped.values()].reduce((sum, n) => sum + n, 0);
}

function promFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.name.endsWith('.prom.gz'))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The recorder wrote some series of each scrape into a CSV of its own, and empty cells where a member was down. */
function keySeriesAgree(
  t: { is: (a: unknown, b: unknown, m?: string) => unknown },
  path: string,
  decoded: Whole,
): void {
  const [header, ...records] = readFileSync(path.replace('.prom.gz', '.key.csv'), 'utf8').trim().split(/\r?\n/);
  const columns = header!.split(',');
  const values = new Map<string, number | null>();
  for (const row of decoded.rows) {
    const ms = row.timeUnixNano / 1_000_000n;
    const { grpc_method: method, grpc_code: code } = JSON.parse(row.attributes);
    if (row.metric === 'grpc_server_handled_total' && method === 'Put') values.set(`${ms} ${code}`, row.value);
    if (row.attributes !== '{}') continue;
    values.set(`${ms} ${row.metric}`, row.value);
    values.set(`${ms} ${row.metric}_count`, row.count);
    values.set(`${ms} ${row.metric}_sum`, row.sum);
  }
  const codes: Record<string, string> = {
    grpc_put_ok: 'OK',
    grpc_put_resource_exhausted: 'ResourceExhausted',
    grpc_put_unavailable: 'Unavailable',
  };
  let compared = 0;
  let down = 0;
  for (const record of records) {
    const cells = record.split(',');
    if (cells.slice(2).every((cell) => cell === '')) down += 1;
    for (const [i, cell] of cells.entries()) {
      if (i < 2 || cell === '') continue;
      const name = columns[i]!;
      const value = values.get(`${cells[0]} ${codes[name] ?? name}`);
      // A code that etcd has not answered yet has no series; the recorder wrote 0.
      t.is(name in codes ? (value ?? 0) : value, Number(cell), `${path} ${cells[0]} ${name}`);
      compared += 1;
    }
  }
  t.is(compared > 25 * (records.length - down), true, `${path}: ${compared} values compared`);
  t.is(decoded.missedScrapes.length, down, `${path}: scrapes of a member that was down`);
}
