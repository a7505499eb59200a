import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { CauselineError } from '../../shared/errors.js';
import type { Fault } from '../../shared/evidence.js';
import { evidenceTables } from '../../shared/store/columns.js';
import { MIGRATIONS } from '../../shared/store/migrations.js';
import { close, lockDown, openForReading } from '../../shared/store/open.js';
import { type Batch, emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { event, point, rows, span, temporaryFolder, value, withDuckDb } from '../helpers/store.js';

async function newStore(t: ExecutionContext): Promise<Store> {
  const store = await openStore(join(temporaryFolder(t), 'store.duckdb'));
  t.teardown(() => store.close());
  return store;
}

function batch(given: {
  cloudtrail?: ReturnType<typeof event>[];
  traces?: ReturnType<typeof span>[];
  metrics?: ReturnType<typeof point>[];
  faults?: Batch['faults'];
  missedScrapes?: Batch['missedScrapes'];
  inputs?: Batch['inputs'];
  sourceId?: string;
}): Batch {
  const from = <Row>(own: readonly Row[] = []) => own.map((row) => ({ sourceId: given.sourceId ?? 'a file', row }));
  return {
    ...emptyBatch(),
    ...given,
    cloudtrail: from(given.cloudtrail),
    traces: from(given.traces),
    metrics: from(given.metrics),
  };
}

const fault = (raw: Fault['raw'], position = 0): Batch['faults'][number] => ({
  source: 'traces',
  origin: 'traces/a.jsonl',
  fault: { reason: 'bad_json', detail: 'no JSON at line 3', raw, position },
});

const input = (sourceId: string, count = 1): Batch['inputs'][number] => ({
  source: 'traces',
  sourceId,
  rows: count,
  quarantined: 0,
  skipped: { metric_family: 2 },
  notes: null,
});

const count = async (store: Store, relation: string) =>
  Number(await value(store.connection, `SELECT count(*) FROM ${relation}`));

const everything = ['cloudtrail_events', 'spans', 'metric_points', 'quarantine', 'inputs', '_store.missed_scrapes'];

test('a batch that DuckDB refuses in the middle leaves nothing behind, and can be stored once it is mended', async (t) => {
  const store = await newStore(t);
  const good = batch({
    cloudtrail: [event('e1')],
    traces: [span(1)],
    metrics: [point('etcd_a')],
    faults: [fault('{')],
    inputs: [input('a file')],
  });
  const nameless = span(2, 0, { name: null as unknown as string });
  const bad = { ...good, traces: [...good.traces, { sourceId: 'a file', row: nameless }] };
  const error = await t.throwsAsync(store.commit(bad), { instanceOf: CauselineError });
  t.is(error.code, 'store_failed');
  t.regex(error.message, /rolled back: .*name/);
  for (const relation of [...everything, '_store.commits']) t.is(await count(store, relation), 0, relation);

  t.like(await store.commit(good), { commitSeq: 1n, duplicates: 0, quarantined: 1 });
  t.is(await count(store, 'spans'), 1);
  t.deepEqual(await rows(store.connection, 'SELECT commit_seq, rows FROM _store.commits'), [[1n, 5n]]);
});

test('a bad row in the last table of a batch takes the first table with it', async (t) => {
  const store = await newStore(t);
  const bad = batch({ cloudtrail: [event('e1')], metrics: [point(null as unknown as string)] });
  await t.throwsAsync(store.commit(bad), { message: /rolled back/ });
  t.is(await count(store, 'cloudtrail_events'), 0);
});

test('what is delivered again is counted and stored once, in one batch and across batches', async (t) => {
  const store = await newStore(t);
  const offered = {
    cloudtrail: [event('e1'), event('e2'), event('e1')],
    traces: [span(1), span(1)],
    metrics: [point('etcd_a'), point('etcd_b'), point('etcd_b')],
  };
  const first = await store.commit(batch(offered));
  t.deepEqual(first.stored, { cloudtrail: 2, traces: 1, metrics: 2, 's3-access': 0, iam: 0 });
  t.like(first, { duplicates: 3, conflicts: 0 });

  const again = await store.commit(batch({ ...offered, cloudtrail: [...offered.cloudtrail, event('e3')] }));
  t.deepEqual(again.stored, { cloudtrail: 1, traces: 0, metrics: 0, 's3-access': 0, iam: 0 });
  t.like(again, { commitSeq: 2n, duplicates: 8, conflicts: 0 });
  t.is(await count(store, 'cloudtrail_events'), 3);
  t.is(await count(store, 'spans'), 1);
  t.is(await count(store, 'metric_points'), 2);
});

test('a batch of nothing new writes nothing at all, not even a commit', async (t) => {
  const store = await newStore(t);
  const offered = batch({ cloudtrail: [event('e1')], faults: [fault('{')], inputs: [input('a file')] });
  await store.commit(offered);
  t.like(await store.commit(offered), { commitSeq: undefined, duplicates: 1, quarantined: 0 });
  t.like(await store.commit(emptyBatch()), { commitSeq: undefined, duplicates: 0 });
  t.is(await count(store, '_store.commits'), 1);
});

test('the same record with another body is kept beside the first and flagged; a replay does not add it again', async (t) => {
  const store = await newStore(t);
  const other = event('e1', 0, { bucket: 'elsewhere', flags: ['future_time'] });
  const inOne = await store.commit(batch({ cloudtrail: [event('e1'), other] }));
  t.like(inOne, { duplicates: 0, conflicts: 1 });
  const later = batch({
    cloudtrail: [event('e1', 0, { bucket: 'a third' })],
    traces: [span(1), span(1, 0, { httpStatus: 500 })],
  });
  t.like(await store.commit(later), { duplicates: 0, conflicts: 2 });
  t.like(await store.commit(later), { duplicates: 3, conflicts: 0 });
  t.deepEqual(await rows(store.connection, 'SELECT bucket, flags FROM cloudtrail_events ORDER BY bucket'), [
    ['a third', ['conflicting_body']],
    ['elsewhere', ['future_time', 'conflicting_body']],
    ['logs', []],
  ]);
  t.deepEqual(await rows(store.connection, 'SELECT http_status, flags FROM spans ORDER BY http_status'), [
    [200, []],
    [500, ['conflicting_body']],
  ]);
});

test('two accounts may use one event id, and two members report one metric at one time', async (t) => {
  const store = await newStore(t);
  const offered = batch({
    cloudtrail: [event('e1'), event('e1', 0, { accountId: '210987654321' })],
    metrics: [point('etcd_a'), point('etcd_a', 0, { instance: 'config-store-1' })],
  });
  t.like(await store.commit(offered), { duplicates: 0, conflicts: 0 });
});

test('records that lie days and years apart are found again', async (t) => {
  const store = await newStore(t);
  const seconds = [0, 1, 599, 86_400, 86_401, 7 * 86_400, 400 * 86_400, -3 * 86_400];
  const offered = batch({
    cloudtrail: seconds.map((second) => event(`e${second}`, second)),
    traces: seconds.map((second, index) => span(index + 1, second)),
    metrics: seconds.map((second) => point('etcd_a', second)),
  });
  t.like(await store.commit(offered), { duplicates: 0 });
  t.like(await store.commit(offered), { commitSeq: undefined, duplicates: 24 });
  const one = batch({ traces: [span(7, 400 * 86_400), span(99, 12_345_678)] });
  t.like(await store.commit(one), { duplicates: 1, stored: { cloudtrail: 0, traces: 1, metrics: 0 } });
});

test('more rows than DuckDB takes in one chunk are all stored, and all known afterwards', async (t) => {
  const store = await newStore(t);
  const many = batch({ traces: Array.from({ length: 5000 }, (_, index) => span(index + 1, index % 50)) });
  t.is((await store.commit(many)).stored.traces, 5000);
  t.like(await store.commit(many), { commitSeq: undefined, duplicates: 5000 });
  t.is(Number(await value(store.connection, 'SELECT count(DISTINCT evidence_id) FROM spans')), 5000);
});

test('quarantine keeps the bytes as they came, whatever they are, and not twice', async (t) => {
  const store = await newStore(t);
  const bytes = Uint8Array.from([0, 0xff, 0xfe, 0x80, 0x0a, 0x22, 0, 0xc3]);
  const offered = batch({ faults: [fault(bytes), fault('{"é😀'), fault(bytes), fault(bytes, 1), fault('')] });
  t.is((await store.commit(offered)).quarantined, 4);
  t.like(await store.commit(offered), { commitSeq: undefined, quarantined: 0 });
  const kept = await rows(store.connection, 'SELECT source, origin, reason, hex(raw) FROM quarantine ORDER BY ALL');
  const hex = Buffer.from(bytes).toString('hex').toUpperCase();
  t.deepEqual(kept, [
    ['traces', 'traces/a.jsonl#0', 'bad_json', ''],
    ['traces', 'traces/a.jsonl#0', 'bad_json', hex],
    ['traces', 'traces/a.jsonl#0', 'bad_json', Buffer.from('{"é😀').toString('hex').toUpperCase()],
    ['traces', 'traces/a.jsonl#1', 'bad_json', hex],
  ]);
});

test('an input is recorded once, with what was in it', async (t) => {
  const store = await newStore(t);
  await store.commit(batch({ inputs: [input('traces/a.jsonl', 7), input('traces/b.jsonl')] }));
  await store.commit(batch({ inputs: [input('traces/a.jsonl', 7)] }));
  t.deepEqual(
    await rows(store.connection, 'SELECT source, source_id, rows, skipped::VARCHAR FROM inputs ORDER BY source_id'),
    [
      ['traces', 'traces/a.jsonl', 7n, '{"metric_family":2}'],
      ['traces', 'traces/b.jsonl', 1n, '{"metric_family":2}'],
    ],
  );
});

test('a scrape that failed is a gap in coverage, once, and no metric point', async (t) => {
  const store = await newStore(t);
  const missed = (service: string | null) => ({
    sourceId: 'a file',
    row: { service, instance: 'config-store-0', timeUnixNano: 1_772_330_400_000_000_000n },
  });
  const offered = batch({ missedScrapes: [missed('config-store'), missed('config-store'), missed(null)] });
  await store.commit(offered);
  await store.commit(offered);
  t.is(await count(store, 'metric_points'), 0);
  const gaps = `SELECT source, scope, from_time::VARCHAR, state FROM coverage ORDER BY scope`;
  t.deepEqual(await rows(store.connection, gaps), [
    ['metrics', 'config-store-0', '2026-03-01 02:00:00', 'not_collected'],
    ['metrics', 'config-store/config-store-0', '2026-03-01 02:00:00', 'not_collected'],
  ]);
});

test('an evidence id is the first 32 hex digits of the hash of the body', async (t) => {
  const store = await newStore(t);
  await store.commit(batch({ cloudtrail: [event('e1')], traces: [span(1)], metrics: [point('etcd_a')] }));
  const hashes = {
    cloudtrail_events: event('e1').bodyHash,
    spans: span(1).bodyHash,
    metric_points: point('etcd_a').bodyHash,
  };
  for (const [relation, hash] of Object.entries(hashes))
    t.deepEqual(await rows(store.connection, `SELECT evidence_id, body_hash, source_id, commit_seq FROM ${relation}`), [
      [hash.slice(0, 32), hash, 'a file', 1n],
    ]);
});

test('a span of the year 2554, one that ends before it starts and one at the beginning of time are stored and queried', async (t) => {
  const store = await newStore(t);
  const last = 2n ** 64n - 1n;
  const odd = batch({
    traces: [
      span(1, 0, { startUnixNano: last, endUnixNano: last }),
      span(2, 0, { startUnixNano: last, endUnixNano: 0n, flags: ['end_before_start'] }),
      span(3, 0, { startUnixNano: 0n, endUnixNano: last }),
      span(4, 0, { startUnixNano: 2000n, endUnixNano: 1000n, flags: ['end_before_start'] }),
    ],
    metrics: [point('etcd_a', 0, { timeUnixNano: last })],
    cloudtrail: [event('e1', 0, { eventTimeMicros: 253_402_300_799_000_000n })],
  });
  t.is((await store.commit(odd)).duplicates, 0);
  t.like(await store.commit(odd), { commitSeq: undefined, duplicates: 6 });
  const asked = await rows(
    store.connection,
    `SELECT right(span_id, 1), start_time::VARCHAR, start_unix_nano, end_unix_nano, duration_ns, flags FROM spans ORDER BY span_id`,
  );
  t.deepEqual(asked, [
    ['1', '2554-07-21 23:34:33.709551', last, last, 0n, []],
    ['2', '2554-07-21 23:34:33.709551', last, 0n, null, ['end_before_start']],
    ['3', '1970-01-01 00:00:00', 0n, last, null, []],
    ['4', '1970-01-01 00:00:00.000002', 2000n, 1000n, -1000n, ['end_before_start']],
  ]);
  for (const relation of ['coverage', 'timeline', 'metric_points'])
    await t.notThrowsAsync(rows(store.connection, `SELECT * FROM ${relation}`), relation);
});

test('values that JSON and numbers find hard come back as they went in', async (t) => {
  const store = await newStore(t);
  const hard = [
    point('etcd_nan', 0, { value: Number.NaN, flags: ['not_a_number'] }),
    point('etcd_inf', 0, { value: Number.POSITIVE_INFINITY, bodyHash: 'inf' }),
    point('etcd_stale', 0, { value: null }),
    point('etcd_h', 0, { kind: 'histogram', value: null, bounds: [0.1, 1], counts: [1, 0, 2], sum: 9.5, count: 3 }),
    point('etcd_empty', 0, { kind: 'histogram', value: null, bounds: [], counts: [3], sum: null, count: 3 }),
  ];
  await store.commit(batch({ metrics: hard, traces: [span(1, 0, { name: 'Grüße 😀\u0000\n"', service: null })] }));
  const asked = 'SELECT metric, value, bounds, counts, sum, count FROM metric_points ORDER BY metric';
  t.deepEqual(await rows(store.connection, asked), [
    ['etcd_empty', null, [], [3], null, 3],
    ['etcd_h', null, [0.1, 1], [1, 0, 2], 9.5, 3],
    ['etcd_inf', Number.POSITIVE_INFINITY, null, null, null, null],
    ['etcd_nan', Number.NaN, null, null, null, null],
    ['etcd_stale', null, null, null, null, null],
  ]);
  t.deepEqual(await rows(store.connection, 'SELECT name, service FROM spans'), [['Grüße 😀\u0000\n"', null]]);
});

const provenance = 'evidence_id body_hash source_id commit_seq flags';

/** DESIGN 5.3: what people write queries against. */
const documented: Readonly<Record<string, string>> = {
  cloudtrail_events: `${provenance} event_id event_time ingested_at account_id region event_source event_name action principal_arn principal_type
    session_issuer_arn source_ip user_agent error_code read_only event_category bucket object_key version_id request_id shared_event_id raw`,
  spans: `${provenance} trace_id span_id parent_span_id service instance name kind start_time end_time start_unix_nano end_unix_nano duration_ns status
    error_type status_message attributes resource ingested_at`,
  metric_points: `${provenance} time time_unix_nano metric kind value attributes service instance ingested_at bounds counts sum count`,
  s3_access_records: `${provenance} event_time ingested_at bucket_owner bucket source_ip requester request_id operation object_key request_uri http_status
    error_code bytes_sent object_size user_agent version_id host_id raw`,
  deletions: `time bucket object_key version_id kind loss outcome principal caller principal_type source_ip in_bulk keys bytes versioning seen_in request_id
    evidence_table evidence_id access_id`,
  findings: 'finding_id kind detector subject started_at ended_at severity summary measured baseline evidence_count',
  finding_evidence: 'finding_id evidence_table evidence_id role',
  chains: `chain_id revision recorded_at reason ruleset supersedes title root_kind root_finding_id impact_kind started_at ended_at verdict confidence
    state summary`,
  chain_links: `chain_id revision rule cause_finding_id effect_finding_id cause_kind effect_kind lag_ms verdict confidence basis`,
  timeline: 'started_at ended_at lane kind subject message severity chain_id finding_id evidence_table evidence_id',
  coverage: 'source scope from_time to_time state reason',
  quarantine: 'source origin reason raw recorded_at',
  chain_history: 'chain_id revision recorded_at state',
  chain_link_history: 'chain_id revision rule basis',
  "chains_as_of(TIMESTAMP '2026-01-01')": 'chain_id revision recorded_at state',
  "timeline_as_of(TIMESTAMP '2026-01-01')": 'started_at lane chain_id evidence_id',
};

test('every documented relation answers with its documented columns', async (t) => {
  const { connection } = await newStore(t);
  for (const [relation, columns] of Object.entries(documented)) {
    const have = (await rows(connection, `SELECT column_name FROM (DESCRIBE SELECT * FROM ${relation})`)).flat();
    const missing = columns.split(/\s+/).filter((column) => !have.includes(column));
    t.deepEqual(missing, [], relation);
    t.deepEqual(await rows(connection, `SELECT * FROM ${relation}`), [], `${relation} begins empty`);
  }
});

test('times are TIMESTAMP, JSON columns are JSON, ids are VARCHAR, and the clock of a connection is UTC', async (t) => {
  const { connection } = await newStore(t);
  const typeOf = async (relation: string) =>
    Object.fromEntries(await rows(connection, `SELECT column_name, column_type FROM (DESCRIBE ${relation})`));
  t.like(await typeOf('spans'), { start_time: 'TIMESTAMP', attributes: 'JSON', resource: 'JSON', trace_id: 'VARCHAR' });
  t.like(await typeOf('findings'), { measured: 'JSON', baseline: 'JSON', started_at: 'TIMESTAMP' });
  t.like(await typeOf('chain_links'), { basis: 'JSON', lag_ms: 'BIGINT' });
  t.like(await typeOf('metric_points'), { time: 'TIMESTAMP', counts: 'DOUBLE[]' });
  t.is(await value(connection, `SELECT current_setting('TimeZone')`), 'UTC');
});

test('the column descriptors are in the order of the tables and of their types', async (t) => {
  const { connection } = await newStore(t);
  for (const { table, columns } of Object.values(evidenceTables(() => ''))) {
    const have = await rows(connection, `SELECT column_name, column_type FROM (DESCRIBE _store.${table})`);
    t.deepEqual(
      columns.map(({ name, type }) => [name, type.toString()]),
      have,
      table,
    );
  }
});

test('a new store has the newest version, and opening it again does not migrate again', async (t) => {
  const path = join(temporaryFolder(t), 'store.duckdb');
  for (let opening = 0; opening < 3; opening += 1) (await openStore(path)).close();
  const versions = await withDuckDb(path, (connection) => rows(connection, 'SELECT version FROM causeline_version'));
  t.deepEqual(
    versions,
    MIGRATIONS.map(({ version }) => [version]),
  );
});

test('a DuckDB file without tables, and a file of no bytes that a killed process left, become stores', async (t) => {
  const folder = temporaryFolder(t);
  const bare = join(folder, 'bare.duckdb');
  await withDuckDb(bare, (connection) => connection.run('SELECT 1'));
  const nothing = join(folder, 'nothing.duckdb');
  writeFileSync(nothing, '');
  for (const path of [bare, nothing]) {
    const store = await openStore(path);
    await store.commit(batch({ traces: [span(1)] }));
    t.is(await count(store, 'spans'), 1);
    store.close();
  }
});

test('a migration that was cut short is finished at the next start', async (t) => {
  const path = join(temporaryFolder(t), 'store.duckdb');
  await withDuckDb(path, async (connection) => {
    await connection.run('CREATE TABLE causeline_version (version INTEGER NOT NULL, migrated_at TIMESTAMP NOT NULL)');
    for (const statement of MIGRATIONS[0]!.statements.slice(0, 5)) await connection.run(statement);
  });
  const store = await openStore(path);
  t.teardown(() => store.close());
  await store.commit(batch({ traces: [span(1)] }));
  t.is(await count(store, 'timeline'), 0);
  t.is(await count(store, 'spans'), 1);
});

const refusals: Readonly<Record<string, { make: (path: string) => Promise<void> | void; says: RegExp; code: string }>> =
  {
    'a store of a newer Causeline': {
      make: async (path) => {
        (await openStore(path)).close();
        await withDuckDb(path, (connection) => connection.run('INSERT INTO causeline_version VALUES (9999, now())'));
      },
      says: /newer Causeline \(store version 9999, this one knows \d+\): upgrade/,
      code: 'store_newer',
    },
    "somebody else's DuckDB file": {
      make: (path) => withDuckDb(path, async (connection) => void (await connection.run('CREATE TABLE mine (i INT)'))),
      says: /is a DuckDB file but not a Causeline store/,
      code: 'unreadable_input',
    },
    'a text file whose name has a lock in it': {
      make: (path) => writeFileSync(path, 'notes of the night\n'.repeat(1000)),
      says: /cannot be opened as a DuckDB file/,
      code: 'store_damaged',
    },
  };

for (const [what, { make, says, code }] of Object.entries(refusals))
  test(`${what} is refused with one clear line, and not touched`, async (t) => {
    const path = join(temporaryFolder(t), 'clock.duckdb');
    await make(path);
    const before = readFileSync(path);
    const open = [() => openStore(path), () => openForReading(path)];
    for (const attempt of open) {
      const error = await t.throwsAsync(attempt(), { instanceOf: CauselineError, message: says });
      t.is(error.code, code as CauselineError['code']);
      t.false(error.message.includes('\n'));
    }
    t.true(readFileSync(path).equals(before));
  });

test('a store in memory is refused: nothing could be asked of it afterwards', async (t) => {
  for (const path of ['', ':memory:']) await t.throwsAsync(openStore(path), { instanceOf: CauselineError });
});

test('whoever opens a store for reading cannot write it, read a file or change a setting', async (t) => {
  const path = join(temporaryFolder(t), 'store.duckdb');
  const store = await openStore(path);
  await store.commit(batch({ traces: [span(1)] }));
  store.close();
  const opened = await openForReading(path);
  t.teardown(() => close(opened));
  await lockDown(opened.connection, []);
  for (const statement of [
    'DELETE FROM _store.spans',
    'CREATE TABLE mine (i INT)',
    `COPY (SELECT 1) TO '${path}.csv'`,
    `SELECT * FROM read_text('${path}')`,
    `ATTACH '${path}.other'`,
    'SET enable_external_access = true',
    'SET lock_configuration = false',
    'INSTALL httpfs',
  ])
    await t.throwsAsync(opened.connection.run(statement), undefined, statement);
  t.is(Number(await value(opened.connection, 'SELECT count(*) FROM spans')), 1);
});
