import { RAW } from './cloudtrail-sql.js';
import { COVERAGE_TABLES, COVERAGE_VIEWS } from './coverage.js';
import { DELETION_VIEWS } from './deletions.js';
import { POSITION_TABLES, POSITION_VIEWS } from './positions.js';
import { TRAIL_COMPUTED, TRAIL_TABLES, TRAIL_VERSIONS, TRAIL_VIEWS } from './trail.js';
import { RECORDED_KEPT } from './trail-coverage.js';

/**
 * The store's versions. Each statement runs in a transaction of its own, at start only; a version is recorded after its last statement.
 * Evidence tables have no primary key and no index (see README.md); derived tables are append-only, the current row being the latest.
 */
export interface Migration {
  readonly version: number;
  readonly statements: readonly string[];
  /** What lets a file of an earlier version be read as it is: temporary views over those of its catalogue. */
  readonly reading?: (catalogue: string) => readonly string[];
}

const PROVENANCE = `body_hash VARCHAR NOT NULL, source_id VARCHAR NOT NULL, source_pos BIGINT NOT NULL, commit_seq BIGINT NOT NULL,
  ingested_at TIMESTAMP NOT NULL, flags VARCHAR`;

const TABLES: readonly string[] = [
  // A name that no file has: DuckDB calls the catalogue after the file, and `store.duckdb` would make `store.spans` ambiguous.
  'CREATE SCHEMA IF NOT EXISTS _store',

  `CREATE TABLE IF NOT EXISTS _store.commits (commit_seq BIGINT NOT NULL, recorded_at TIMESTAMP NOT NULL, rows BIGINT NOT NULL)`,

  // Which store a file is: a copy that was put back is the same one, a file that was made anew is another.
  'CREATE TABLE IF NOT EXISTS _store.identity (store_id VARCHAR NOT NULL)',
  'INSERT INTO _store.identity SELECT uuid()::VARCHAR WHERE NOT EXISTS (FROM _store.identity)',

  // What befell the file itself: commits that it lost, damage, and what was done about it.
  'CREATE TABLE IF NOT EXISTS _store.incidents (recorded_at TIMESTAMP NOT NULL, what VARCHAR NOT NULL, detail VARCHAR NOT NULL)',

  `CREATE TABLE IF NOT EXISTS _store.inputs (source VARCHAR NOT NULL, source_id VARCHAR NOT NULL, commit_seq BIGINT NOT NULL, recorded_at TIMESTAMP NOT NULL,
  rows BIGINT NOT NULL, quarantined BIGINT NOT NULL, skipped JSON NOT NULL, notes VARCHAR, version VARCHAR)`,

  `CREATE TABLE IF NOT EXISTS _store.quarantine (fault_hash VARCHAR NOT NULL, source VARCHAR NOT NULL, origin VARCHAR NOT NULL, reason VARCHAR NOT NULL,
  detail VARCHAR NOT NULL, raw BLOB NOT NULL, commit_seq BIGINT NOT NULL, recorded_at TIMESTAMP NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.missed_scrapes (service VARCHAR, instance VARCHAR NOT NULL, time TIMESTAMP NOT NULL, source_id VARCHAR NOT NULL,
  commit_seq BIGINT NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.cloudtrail_events (${PROVENANCE}, event_id VARCHAR, event_time TIMESTAMP NOT NULL, account_id VARCHAR, region VARCHAR,
  event_source VARCHAR, event_name VARCHAR, action VARCHAR, principal_arn VARCHAR, principal_type VARCHAR, session_issuer_arn VARCHAR, source_ip VARCHAR,
  user_agent VARCHAR, error_code VARCHAR, read_only BOOLEAN, event_category VARCHAR, bucket VARCHAR, object_key VARCHAR, version_id VARCHAR,
  request_id VARCHAR, shared_event_id VARCHAR, raw VARCHAR USING COMPRESSION zstd, act VARCHAR USING COMPRESSION zstd)`,

  `CREATE TABLE IF NOT EXISTS _store.spans (${PROVENANCE}, trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_span_id VARCHAR, trace_state VARCHAR,
  service VARCHAR, scope VARCHAR, instance VARCHAR, name VARCHAR NOT NULL, kind VARCHAR NOT NULL, start_time TIMESTAMP NOT NULL, end_time TIMESTAMP NOT NULL,
  start_unix_nano UBIGINT NOT NULL, end_unix_nano UBIGINT NOT NULL, status VARCHAR NOT NULL, status_message VARCHAR, error_type VARCHAR,
  operation VARCHAR NOT NULL, target VARCHAR, target_key VARCHAR, rpc_status VARCHAR, http_status INTEGER, resend_count INTEGER, exception_type VARCHAR,
  exception_message VARCHAR, adjusted_count DOUBLE, dropped BIGINT NOT NULL, attributes VARCHAR USING COMPRESSION zstd, resource VARCHAR, events VARCHAR USING COMPRESSION zstd,
  links VARCHAR)`,

  `CREATE TABLE IF NOT EXISTS _store.metric_points (${PROVENANCE}, series_hash VARCHAR NOT NULL, time TIMESTAMP NOT NULL, time_unix_nano UBIGINT NOT NULL,
  start_unix_nano UBIGINT, metric VARCHAR NOT NULL, kind VARCHAR NOT NULL, value DOUBLE, bounds DOUBLE[], counts DOUBLE[], sum DOUBLE, count DOUBLE,
  attributes VARCHAR, service VARCHAR, instance VARCHAR)`,

  `CREATE TABLE IF NOT EXISTS _store.findings (finding_id VARCHAR NOT NULL, derived_seq BIGINT NOT NULL, recorded_at TIMESTAMP NOT NULL, withdrawn BOOLEAN NOT NULL,
  kind VARCHAR NOT NULL, detector VARCHAR NOT NULL, subject VARCHAR NOT NULL, member VARCHAR, started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP NOT NULL,
  severity VARCHAR NOT NULL, summary VARCHAR NOT NULL, measured JSON NOT NULL, baseline JSON, keys JSON NOT NULL, continues BOOLEAN NOT NULL,
  evidence_count BIGINT NOT NULL, content JSON NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.finding_evidence (finding_id VARCHAR NOT NULL, derived_seq BIGINT NOT NULL, evidence_table VARCHAR NOT NULL,
  evidence_id VARCHAR NOT NULL, role VARCHAR NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.chain_revisions (chain_id VARCHAR NOT NULL, revision BIGINT NOT NULL, derived_seq BIGINT NOT NULL, recorded_at TIMESTAMP NOT NULL,
  reason VARCHAR NOT NULL, ruleset VARCHAR NOT NULL, supersedes VARCHAR, title VARCHAR NOT NULL, root_kind VARCHAR NOT NULL, root_finding_id VARCHAR NOT NULL,
  impact_kind VARCHAR NOT NULL, started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP NOT NULL, verdict VARCHAR NOT NULL, confidence DOUBLE NOT NULL,
  state VARCHAR NOT NULL, summary VARCHAR NOT NULL, members JSON NOT NULL, commit_seq BIGINT NOT NULL)`,

  // Chains whole, as they were judged: also where only figures changed and no revision was written.
  'CREATE TABLE IF NOT EXISTS _store.judged_chains (chain_id VARCHAR NOT NULL, derived_seq BIGINT NOT NULL, content JSON NOT NULL)',

  `CREATE TABLE IF NOT EXISTS _store.chain_links (chain_id VARCHAR NOT NULL, revision BIGINT NOT NULL, rule VARCHAR NOT NULL, cause_finding_id VARCHAR NOT NULL,
  effect_finding_id VARCHAR NOT NULL, cause_kind VARCHAR NOT NULL, effect_kind VARCHAR NOT NULL, lag_ms BIGINT NOT NULL, verdict VARCHAR NOT NULL,
  confidence DOUBLE NOT NULL, basis JSON NOT NULL)`,

  // What correlate keeps so that it need not read all evidence again. Everything in it can be made anew from evidence; of one bucket all rows
  // together count (from the last whole one on), of one segment the latest. Times are microseconds.
  `CREATE TABLE IF NOT EXISTS _store.rollups (scope VARCHAR NOT NULL, bucket BIGINT NOT NULL, run BIGINT NOT NULL, whole BOOLEAN NOT NULL, payload BLOB NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.folded (subject VARCHAR NOT NULL, segment BIGINT NOT NULL, run BIGINT NOT NULL, state_hash VARCHAR, found VARCHAR NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.fold_states (subject VARCHAR NOT NULL, segment BIGINT NOT NULL, hash VARCHAR NOT NULL, state BLOB NOT NULL)`,

  'CREATE TABLE IF NOT EXISTS _store.members (service VARCHAR, instance VARCHAR NOT NULL, peer VARCHAR)',

  'CREATE TABLE IF NOT EXISTS _store.go_instances (service VARCHAR, instance VARCHAR NOT NULL)',

  'CREATE TABLE IF NOT EXISTS _store.exports (service VARCHAR, instance VARCHAR NOT NULL, metric VARCHAR NOT NULL)',

  // Up to which commit evidence was correlated, and by what.
  `CREATE TABLE IF NOT EXISTS _store.correlated (run BIGINT NOT NULL, seq BIGINT NOT NULL, rollups VARCHAR NOT NULL, folds VARCHAR NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.watermarks (source VARCHAR NOT NULL, scope VARCHAR NOT NULL, greatest TIMESTAMP, commit_seq BIGINT NOT NULL)`,
];

const S3_ACCESS_TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS _store.s3_access_records (${PROVENANCE}, event_time TIMESTAMP NOT NULL, bucket_owner VARCHAR, bucket VARCHAR NOT NULL,
  source_ip VARCHAR, requester VARCHAR, request_id VARCHAR, operation VARCHAR NOT NULL, object_key VARCHAR, request_uri VARCHAR, http_status INTEGER,
  error_code VARCHAR, bytes_sent BIGINT, object_size BIGINT, user_agent VARCHAR, version_id VARCHAR, host_id VARCHAR, raw VARCHAR USING COMPRESSION zstd)`,
];

/** What correlate keeps of evidence that it has read: emptied, it is made anew. */
export const KEPT_BY_CORRELATE: readonly string[] = [
  'rollups',
  'folded',
  'fold_states',
  'members',
  'go_instances',
  'exports',
  'rhythms',
  'rhythm_states',
  'hole_history',
  'parentless',
  ...RECORDED_KEPT,
];

/** Tables that follow from the others, or from the ledger: a rebuild computes them anew and copies all the rest. */
export const COMPUTED: ReadonlySet<string> = new Set([
  'findings',
  'finding_evidence',
  'chain_revisions',
  'judged_chains',
  'chain_links',
  'watermarks',
  'correlated',
  ...KEPT_BY_CORRELATE,
  ...TRAIL_COMPUTED,
]);

/** What every evidence relation shows first. The id is the hash's first 128 bits: stored once, shown twice. */
const IDENTITY = `left(body_hash, 32) AS evidence_id, body_hash, source_id, source_pos, commit_seq,
  CASE WHEN flags IS NULL THEN []::VARCHAR[] ELSE string_split(flags, ',') END AS flags, ingested_at`;

const PROVENANCE_COLUMNS = 'body_hash, source_id, source_pos, commit_seq, flags, ingested_at';

const S3_ACCESS_VIEWS: readonly string[] = [
  `CREATE OR REPLACE VIEW s3_access_records AS SELECT ${IDENTITY}, * EXCLUDE (${PROVENANCE_COLUMNS}) FROM _store.s3_access_records`,
];

const RELATIONS: readonly string[] = [
  `CREATE OR REPLACE VIEW cloudtrail_events AS SELECT ${IDENTITY},
  * EXCLUDE (${PROVENANCE_COLUMNS}, act) REPLACE (${RAW} AS raw) FROM _store.cloudtrail_events`,

  `CREATE OR REPLACE VIEW spans AS SELECT ${IDENTITY}, trace_id, span_id, parent_span_id, trace_state, service, scope, instance, name, kind, start_time, end_time,
  start_unix_nano, end_unix_nano, try_cast(end_unix_nano::HUGEINT - start_unix_nano::HUGEINT AS BIGINT) AS duration_ns, status, error_type, status_message, operation, target, target_key,
  rpc_status, http_status, resend_count, exception_type, exception_message, adjusted_count, dropped, attributes::JSON AS attributes, resource::JSON AS resource,
  events::JSON AS events, links::JSON AS links FROM _store.spans`,

  `CREATE OR REPLACE VIEW metric_points AS SELECT ${IDENTITY}, time, time_unix_nano, start_unix_nano, metric, kind, value, bounds, counts, sum, count,
  attributes::JSON AS attributes, service, instance, series_hash FROM _store.metric_points`,

  `CREATE OR REPLACE VIEW iam_simulations AS SELECT ${IDENTITY}, simulated_at, principal_arn, action, resource, decision, policies::JSON AS policies,
  missing_context::JSON AS missing_context, result::JSON AS result FROM _store.iam_simulations`,

  'CREATE OR REPLACE VIEW quarantine AS SELECT source, origin, reason, raw, recorded_at, detail, commit_seq FROM _store.quarantine',

  'CREATE OR REPLACE VIEW inputs AS SELECT * FROM _store.inputs',

  'CREATE OR REPLACE VIEW incidents AS SELECT recorded_at, what, detail FROM _store.incidents',

  `CREATE OR REPLACE VIEW finding_history AS SELECT finding_id, derived_seq, recorded_at, withdrawn, kind, detector, subject, member, started_at, ended_at, severity,
  summary, measured, baseline, keys, continues, evidence_count FROM _store.findings`,

  `CREATE OR REPLACE VIEW findings AS SELECT * EXCLUDE (withdrawn) FROM
  (SELECT * FROM finding_history QUALIFY row_number() OVER (PARTITION BY finding_id ORDER BY derived_seq DESC) = 1) WHERE NOT withdrawn`,

  `CREATE OR REPLACE VIEW finding_evidence AS SELECT e.finding_id, e.evidence_table, e.evidence_id, e.role
  FROM _store.finding_evidence e JOIN findings f ON f.finding_id = e.finding_id AND f.derived_seq = e.derived_seq`,

  `CREATE OR REPLACE VIEW chain_history AS SELECT chain_id, revision, recorded_at, reason, ruleset, supersedes, title, root_kind, root_finding_id, impact_kind,
  started_at, ended_at, verdict, confidence, state, summary, members FROM _store.chain_revisions`,

  'CREATE OR REPLACE VIEW chain_link_history AS SELECT * FROM _store.chain_links',

  `CREATE OR REPLACE MACRO chains_as_of(t) AS TABLE SELECT * FROM
  (SELECT * FROM chain_history WHERE recorded_at <= t QUALIFY row_number() OVER (PARTITION BY chain_id ORDER BY revision DESC) = 1) WHERE state <> 'withdrawn'`,

  `CREATE OR REPLACE VIEW chains AS SELECT * FROM
  (SELECT * FROM chain_history QUALIFY row_number() OVER (PARTITION BY chain_id ORDER BY revision DESC) = 1) WHERE state <> 'withdrawn'`,

  `CREATE OR REPLACE VIEW chain_links AS SELECT l.* FROM chain_link_history l JOIN chains c ON c.chain_id = l.chain_id AND c.revision = l.revision`,

  `CREATE OR REPLACE MACRO timeline_as_of(t) AS TABLE
  WITH known AS (SELECT * FROM (SELECT * FROM finding_history WHERE recorded_at <= t
    QUALIFY row_number() OVER (PARTITION BY finding_id ORDER BY derived_seq DESC) = 1) WHERE NOT withdrawn),
  members AS (SELECT chain_id, unnest(from_json(members, '["VARCHAR"]')) AS finding_id FROM chains_as_of(t)),
  told AS (SELECT k.*, m.chain_id FROM known k LEFT JOIN members m ON m.finding_id = k.finding_id)
  SELECT started_at, ended_at, split_part(kind, '.', 1) AS lane, kind, subject, summary AS message, severity, chain_id, finding_id,
    NULL::VARCHAR AS evidence_table, NULL::VARCHAR AS evidence_id FROM told
  UNION ALL
  SELECT s.start_time, s.end_time, split_part(k.kind, '.', 1), k.kind, k.subject, concat_ws(': ', s.service, s.operation, coalesce(s.exception_message, s.status_message)),
    k.severity, k.chain_id, k.finding_id, 'spans', e.evidence_id
  FROM told k JOIN _store.finding_evidence e ON e.finding_id = k.finding_id AND e.derived_seq = k.derived_seq AND e.evidence_table = 'spans'
  JOIN spans s ON s.evidence_id = e.evidence_id
  UNION ALL
  SELECT p.time, p.time, split_part(k.kind, '.', 1), k.kind, k.subject, concat_ws(' ', p.instance, p.metric, coalesce(p.value, p.count)::VARCHAR),
    k.severity, k.chain_id, k.finding_id, 'metric_points', e.evidence_id
  FROM told k JOIN _store.finding_evidence e ON e.finding_id = k.finding_id AND e.derived_seq = k.derived_seq AND e.evidence_table = 'metric_points'
  JOIN metric_points p ON p.evidence_id = e.evidence_id
  UNION ALL
  SELECT c.event_time, c.event_time, split_part(k.kind, '.', 1), k.kind, k.subject, concat_ws(' ', c.principal_arn, c.action, c.bucket, c.error_code),
    k.severity, k.chain_id, k.finding_id, 'cloudtrail_events', e.evidence_id
  FROM told k JOIN _store.finding_evidence e ON e.finding_id = k.finding_id AND e.derived_seq = k.derived_seq AND e.evidence_table = 'cloudtrail_events'
  JOIN cloudtrail_events c ON c.evidence_id = e.evidence_id
  UNION ALL
  SELECT i.simulated_at, i.simulated_at, split_part(k.kind, '.', 1), k.kind, k.subject, concat_ws(' ', i.principal_arn, i.action, i.resource, i.decision),
    k.severity, k.chain_id, k.finding_id, 'iam_simulations', e.evidence_id
  FROM told k JOIN _store.finding_evidence e ON e.finding_id = k.finding_id AND e.derived_seq = k.derived_seq AND e.evidence_table = 'iam_simulations'
  JOIN iam_simulations i ON i.evidence_id = e.evidence_id`,

  `CREATE OR REPLACE VIEW timeline AS SELECT * FROM timeline_as_of(TIMESTAMP 'infinity')`,

  // Per point of a counter: its increase since the point before, and that per second. A fall is a restart: nothing is said of it.
  `CREATE OR REPLACE MACRO metric_rate(name) AS TABLE
  WITH pairs AS (SELECT *, lag(value) OVER series AS before, lag(time_unix_nano) OVER series AS since FROM metric_points WHERE metric = name
    WINDOW series AS (PARTITION BY series_hash ORDER BY time_unix_nano, body_hash))
  SELECT time, service, instance, attributes, value, value - before AS increase, (value - before) / ((time_unix_nano - since) / 1e9) AS per_second, evidence_id
  FROM pairs WHERE value >= before AND time_unix_nano > since`,

  // Per point of a histogram: the observations since the point before, by bucket. After a restart nothing is said.
  `CREATE OR REPLACE MACRO histogram_increase(name) AS TABLE
  WITH pairs AS (SELECT *, lag(counts) OVER series AS before, lag(count) OVER series AS count_before, lag(time) OVER series AS since
    FROM metric_points WHERE metric = name WINDOW series AS (PARTITION BY series_hash ORDER BY time_unix_nano, body_hash))
  SELECT since, time, service, instance, attributes, bounds, list_transform(counts, (n, i) -> n - before[i]) AS counts, evidence_id
  FROM pairs WHERE before IS NOT NULL AND count >= count_before`,

  // Prometheus' histogram_quantile: linear inside the bucket, the last finite bound beyond it; NULL for no observations.
  `CREATE OR REPLACE MACRO histogram_quantile(q, bounds, counts) AS list_aggregate([
    CASE WHEN i > len(bounds) THEN bounds[-1]
    ELSE (CASE WHEN i = 1 THEN 0 ELSE bounds[i - 1] END) + (bounds[i] - (CASE WHEN i = 1 THEN 0 ELSE bounds[i - 1] END))
      * (q * list_sum(counts) - coalesce(list_sum(counts[1:i - 1]), 0)) / counts[i] END
    FOR i IN range(1, len(counts) + 1) IF counts[i] > 0 AND list_sum(counts[1:i]) >= q * list_sum(counts)], 'first')`,
];

/** What IAM's policy simulator answered: facts that may be older than what they explain. */
const SIMULATIONS = `CREATE TABLE IF NOT EXISTS _store.iam_simulations (${PROVENANCE}, simulated_at TIMESTAMP NOT NULL, principal_arn VARCHAR NOT NULL,
  action VARCHAR NOT NULL, resource VARCHAR NOT NULL, decision VARCHAR NOT NULL, policies VARCHAR NOT NULL, missing_context VARCHAR NOT NULL, result VARCHAR NOT NULL)`;

/** Relations are replaced as a whole by the newest version: they need tables of all versions. */
export const MIGRATIONS: readonly Migration[] = [
  { version: 1, statements: [...TABLES, ...POSITION_TABLES, ...COVERAGE_TABLES, ...TRAIL_TABLES] },
  // S3 server access logs and what both sources say of deletions, IAM simulations, older versions of log files, and what trails record.
  {
    version: 2,
    statements: [...S3_ACCESS_TABLES, SIMULATIONS, TRAIL_VERSIONS, ...COVERAGE_TABLES],
    reading: (catalogue) => [
      `CREATE TEMP VIEW coverage AS SELECT *, NULL::VARCHAR AS account_id, NULL::VARCHAR AS region, NULL::VARCHAR AS category, NULL::VARCHAR AS resource_type,
       NULL::VARCHAR AS resource, NULL::VARCHAR AS operations, NULL::VARCHAR[] AS trails, NULL::VARCHAR AS evidence_id FROM ${catalogue}.main.coverage`,
    ],
  },
  // The text of acts apart from that of all other records.
  {
    version: 3,
    statements: [
      'ALTER TABLE _store.cloudtrail_events ADD COLUMN IF NOT EXISTS act VARCHAR',
      ...RELATIONS,
      ...S3_ACCESS_VIEWS,
      ...POSITION_VIEWS,
      ...TRAIL_VIEWS,
      ...COVERAGE_VIEWS,
      ...DELETION_VIEWS,
    ],
  },
];
