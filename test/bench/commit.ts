import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { correlate } from '../../services/correlate/index.js';
import { EVIDENCE } from '../../shared/evidence.js';
import { median } from '../../shared/robust.js';
import { presenceOf } from '../../shared/store/coverage.js';
import { type Batch, emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { event, point, span } from '../helpers/store.js';

/**
 * Prints one JSON line that says what a commit of 1,000 records costs in a store of 1 M and of 10 M rows: stored, deduplicated, correlated and
 * recorded. The two alternate, so that only their ratio travels. The same traffic fills both, for a longer time. Exits with 1 where the bound is not met.
 */
const SIZES = [1_000_000, 10_000_000] as const;
const ROUNDS = 25;
const MOST_RATIO = 1.3;

const ROWS_A_SECOND = 125; // 1 M rows are more than two hours: longer than any look-back
const SERVICES = 8;
const SCRAPE_SECONDS = 8;

/** Of a hundred series that a member exports, those that detectors read, and what a calm one comes to after so many seconds. */
const READ: Readonly<Record<string, (seconds: string) => string>> = {
  etcd_mvcc_put_total: (seconds) => `31 * ${seconds}`,
  etcd_disk_wal_write_bytes_total: (seconds) => `31000 * ${seconds}`,
  etcd_mvcc_db_total_size_in_use_in_bytes: () => '80000000',
  etcd_mvcc_db_total_size_in_bytes: () => '100000000',
  etcd_server_quota_backend_bytes: () => '2147483648',
  etcd_server_slow_apply_total: () => '3',
  etcd_server_leader_changes_seen_total: () => '1',
};

const root = mkdtempSync(join(tmpdir(), 'causeline-bench-'));
process.once('SIGINT', () => process.exit(130));
process.once('exit', () => rmSync(root, { recursive: true, force: true }));

const stores: { store: Store; rows: number; millis: number[] }[] = [];
for (const rows of SIZES) {
  process.stderr.write(`filling a store of ${rows} rows\n`);
  const store = await openStore(join(root, `${rows}.duckdb`));
  await fill(store.connection, rows);
  await correlate(store, { endOfInput: false });
  await store.checkpoint();
  stores.push({ store, rows, millis: [] });
}
for (let round = 0; round < ROUNDS; round++)
  for (const { store, rows, millis } of stores) {
    const batch = thousand(rows / ROWS_A_SECOND + round * 8, rows + round);
    const started = process.hrtime.bigint();
    await store.commit(batch);
    await correlate(store, { endOfInput: false });
    millis.push(Number(process.hrtime.bigint() - started) / 1e6);
  }
const [small, large] = stores.map(({ millis }) => median(millis.slice(1).sort((a, b) => a - b))) as [number, number];
for (const { store } of stores) store.close();
const ratio = Number((large / small).toFixed(2));
process.stdout.write(
  `${JSON.stringify({ commit_10m_to_1m: ratio, commit_ms_1m: Math.round(small), commit_ms_10m: Math.round(large), rounds: ROUNDS - 1 })}\n`,
);
if (ratio > MOST_RATIO) {
  process.stderr.write(`commit_10m_to_1m is ${ratio}, the bound is ${MOST_RATIO}\n`);
  process.exitCode = 1;
}

/** Half spans in traces of two, three tenths metric points, two tenths CloudTrail records; 10,000 rows a commit. */
async function fill(connection: DuckDBConnection, rows: number): Promise<void> {
  const seconds = rows / ROWS_A_SECOND;
  const micros = `epoch_us(TIMESTAMP '2026-03-01 02:00:00')`;
  const provenance = (name: string, count: number) =>
    `SELECT sha256('${name}' || i) AS body_hash, '${name}' AS source_id, i AS source_pos, 1 + i // ${Math.ceil(count / (rows / 10_000))} AS commit_seq,
     now()::TIMESTAMP AS ingested_at, NULL::VARCHAR AS flags, (${micros} + i * ${seconds} * 1000000.0 / ${count})::BIGINT AS us FROM range(${count}) r(i)`;
  const spans = rows * 0.5;
  const points = rows * 0.3;
  const events = rows * 0.2;
  await connection.run(
    `INSERT INTO _store.commits SELECT i + 1, now()::TIMESTAMP, 10000 FROM range(${rows / 10_000} + 1) r(i)`,
  );
  await connection.run(`INSERT INTO _store.spans BY NAME SELECT * EXCLUDE (us), md5((source_pos // 2)::VARCHAR) AS trace_id,
    lpad(to_hex(source_pos + 1), 16, '0') AS span_id, CASE WHEN source_pos % 2 = 1 THEN lpad(to_hex(source_pos), 16, '0') END AS parent_span_id,
    'service-' || (source_pos // 2 % ${SERVICES}) AS service, 'prod' AS scope, 'PUT /v1/config' AS name, CASE WHEN source_pos % 2 = 0 THEN 'server' ELSE 'client' END AS kind,
    make_timestamp(us) AS start_time, make_timestamp(us + 4000) AS end_time, (us * 1000)::UBIGINT AS start_unix_nano, ((us + 4000) * 1000)::UBIGINT AS end_unix_nano,
    'unset' AS status, CASE WHEN source_pos % 2 = 0 THEN 'PUT /v1/config' ELSE 'etcdserverpb.KV/Put' END AS operation, 'config-store-0:2379' AS target,
    CASE WHEN source_pos % 2 = 0 THEN 200 END AS http_status, CASE WHEN source_pos % 2 = 1 THEN 'OK' END AS rpc_status, '{}' AS attributes, '{}' AS resource, 0 AS dropped,
    '[]' AS events, '[]' AS links FROM (${provenance('spans', spans)})`);
  await connection.run(`INSERT INTO _store.metric_points BY NAME SELECT * EXCLUDE (us), md5('series' || source_pos % 300) AS series_hash,
    make_timestamp(us - us % ${SCRAPE_SECONDS * 1_000_000}) AS time, ((us - us % ${SCRAPE_SECONDS * 1_000_000}) * 1000)::UBIGINT AS time_unix_nano,
    CASE source_pos // 3 % 100 ${Object.keys(READ)
      .map((name, index) => `WHEN ${index} THEN '${name}'`)
      .join(' ')} ELSE 'etcd_other_' || (source_pos // 3 % 100) END AS metric,
    'counter' AS kind, (CASE source_pos // 3 % 100 ${Object.values(READ)
      .map((valueAt, index) => `WHEN ${index} THEN ${valueAt('(us // 1000000)')}`)
      .join(
        ' ',
      )} ELSE 1 END)::DOUBLE AS value, '{}' AS attributes, 'config-store' AS service, 'config-store-' || source_pos % 3 AS instance
    FROM (${provenance('points', points)})`);
  await connection.run(`INSERT INTO _store.cloudtrail_events BY NAME SELECT * EXCLUDE (us), 'event-' || source_pos AS event_id, make_timestamp(us) AS event_time,
    '123456789012' AS account_id, 'eu-west-1' AS region, 's3.amazonaws.com' AS event_source, 'GetObject' AS event_name, repeat('x', 200) AS raw
    FROM (${provenance('events', events)})`);
  for (const name of EVIDENCE) {
    const presence = presenceOf(name, 1n, BigInt(rows / 10_000) + 1n);
    if (presence) await connection.run(presence);
  }
  await connection.run('CHECKPOINT');
}

/** What eight seconds bring. */
function thousand(second: number, seed: number): Batch {
  const batch = emptyBatch();
  const at = (index: number, of: number) =>
    BigInt(Math.round((1_772_330_400 + second + (index * 8) / of) * 1e6)) * 1000n;
  for (let i = 0; i < 250; i++) {
    const traceId = `${seed.toString(16).padStart(16, '0')}${i.toString(16).padStart(16, 'a')}`;
    const startUnixNano = at(i, 250);
    const own = {
      traceId,
      service: `service-${i % SERVICES}`,
      operation: 'PUT /v1/config',
      startUnixNano,
      endUnixNano: startUnixNano + 4_000_000n,
    };
    const call = {
      kind: 'client' as const,
      operation: 'etcdserverpb.KV/Put',
      target: 'config-store-0:2379',
      rpcStatus: 'OK',
      httpStatus: null,
    };
    batch.traces.push({ sourceId: 'bench', row: span(1, 0, own) });
    batch.traces.push({ sourceId: 'bench', row: span(2, 0, { ...own, ...call, parentSpanId: '1'.padStart(16, '0') }) });
  }
  for (let i = 0; i < 300; i++) {
    const index = Math.floor(i / 3);
    const [metric, valueAt] = Object.entries(READ)[index] ?? [`etcd_other_${index}`, () => '1'];
    const own = {
      instance: `config-store-${i % 3}`,
      value: valueAt(String(at(0, 1) / 1_000_000_000n))
        .split(' * ')
        .reduce((product, factor) => product * Number(factor), 1),
      kind: 'counter' as const,
      timeUnixNano: at(0, 1),
    };
    batch.metrics.push({ sourceId: 'bench', row: point(metric, 0, own) });
  }
  for (let i = 0; i < 200; i++)
    batch.cloudtrail.push({
      sourceId: 'bench',
      row: event(`${seed}-${i}`, 0, { eventTimeMicros: at(i, 200) / 1000n, raw: 'x'.repeat(1800) }),
    });
  return batch;
}
