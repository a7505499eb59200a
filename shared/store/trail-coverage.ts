import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';
import { LATENESS } from '../lateness.js';
import { appendRows } from './append.js';

/** What `coverage` says of CloudTrail by category and resource. README.md says in words what each state is. */
export const RECORDED_TABLES: readonly string[] = [
  // Hours in which there are records, by what they are about. Each once.
  `CREATE TABLE IF NOT EXISTS _store.trail_hours (account_id VARCHAR, region VARCHAR, category VARCHAR NOT NULL, resource_type VARCHAR, resource VARCHAR,
  hour TIMESTAMP NOT NULL)`,

  // What trails record, from the acts on them alone. A region or account of NULL stands for every other one, a time of NULL for no bound. Replaced as a whole.
  `CREATE TABLE IF NOT EXISTS _store.recorded (number BIGINT NOT NULL, account_id VARCHAR, region VARCHAR, category VARCHAR NOT NULL, resource_type VARCHAR,
  resource VARCHAR, besides VARCHAR[] NOT NULL, operations VARCHAR NOT NULL, from_time TIMESTAMP, to_time TIMESTAMP, state VARCHAR NOT NULL, reason VARCHAR NOT NULL,
  trails VARCHAR[] NOT NULL, asked VARCHAR[] NOT NULL, evidence_id VARCHAR)`,
];

/** Tables of this file that correlate makes anew from evidence. */
export const RECORDED_KEPT: readonly string[] = ['trail_hours', 'recorded'];

/** Replaces what trails record. Rows are in the table's order of columns. */
export async function recordRecorded(connection: DuckDBConnection, rows: readonly DuckDBValue[][]): Promise<void> {
  await connection.run('DELETE FROM _store.recorded');
  await appendRows(connection, 'recorded', rows);
}

/** Partitions of AWS have ARNs of their own. */
const PARTITION = `CASE WHEN starts_with(region, 'cn-') THEN 'aws-cn' WHEN starts_with(region, 'us-gov-') THEN 'aws-us-gov' ELSE 'aws' END`;

const TYPE = `CASE event_source WHEN 's3.amazonaws.com' THEN 'AWS::S3::Object' WHEN 'lambda.amazonaws.com' THEN 'AWS::Lambda::Function'
  WHEN 'dynamodb.amazonaws.com' THEN 'AWS::DynamoDB::Table' END`;

/** Notes the hours of the records after a commit. A record from before event categories (version 1.07) is told by its object. */
export async function noteTrailHours(connection: DuckDBConnection, cursor: bigint): Promise<void> {
  await connection.run(
    `INSERT INTO _store.trail_hours WITH named AS (
       SELECT DISTINCT account_id, region, coalesce(event_category, CASE WHEN object_key IS NOT NULL AND event_source = 's3.amazonaws.com' THEN 'Data' ELSE 'Management' END) AS category,
         CASE WHEN category = 'Data' THEN event_source END AS event_source, CASE WHEN category = 'Data' THEN bucket END AS bucket, date_trunc('hour', event_time) AS hour
       FROM _store.cloudtrail_events WHERE commit_seq > ${cursor}
         AND (flags IS NULL OR NOT regexp_matches(flags, 'aggregated_event|impossible_time|future_time|zero_time'))),
     seen AS (SELECT account_id, region, category, ${TYPE} AS resource_type,
       CASE WHEN event_source = 's3.amazonaws.com' THEN 'arn:' || ${PARTITION} || ':s3:::' || bucket || '/' ELSE event_source END AS resource, hour FROM named)
     SELECT * FROM seen EXCEPT SELECT * FROM _store.trail_hours WHERE hour >= (SELECT min(hour) FROM seen)`,
  );
}

/** An account in use has records on each day (its logs are delivered, its instances are listed): of a longer time without any nothing shows that it was read. */
const LONGEST_PAUSE = `INTERVAL 24 HOURS`;

/** Digests tell of the time of delivery. */
const DELIVERED = `INTERVAL '${LATENESS['cloudtrail']!.replace('m', ' minutes')}'`;

const PLACE = ['account_id', 'region'] as const;
const same = (a: string, b: string, columns: readonly string[] = PLACE): string =>
  columns.map((column) => `${a}.${column} IS NOT DISTINCT FROM ${b}.${column}`).join(' AND ');

/** Times of a relation that touch, or are apart by no more than `pause`, as one; `key` names what they are of. */
const joined = (relation: string, key: string, pause = `INTERVAL 0 SECONDS`): string =>
  `SELECT ${key}, min(from_time) AS from_time, max(to_time) AS to_time FROM (
     SELECT *, sum(starts) OVER (PARTITION BY ${key} ORDER BY from_time, to_time ROWS UNBOUNDED PRECEDING) AS run FROM (
       SELECT *, coalesce(from_time > max(to_time) OVER (PARTITION BY ${key} ORDER BY from_time, to_time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + ${pause}, true)::INT AS starts
       FROM (${relation}))) GROUP BY ${key}, run`;

/** What a row that is recorded, or unknown, is held against: hours with records of it, and what digests say of the log files of a trail. */
const MATCHES = `${same('s', 'r')} AND r.state IN ('recorded', 'unknown') AND CASE s.what
    WHEN 'category' THEN s.category = r.category AND (r.state = 'recorded' OR (r.resource IS NULL AND r.category <> 'Data'))
    WHEN 'resource' THEN r.state = 'unknown' AND r.category = 'Data' AND s.resource_type = r.resource_type AND starts_with(s.resource, r.resource)
    ELSE r.state = 'recorded' AND r.category <> 'Insight' AND list_contains(list_transform(r.trails, lambda arn: split_part(arn, '/', -1)), s.trail) END`;

const within = (resource: string, prefixes: string): string =>
  `coalesce(list_bool_or(list_transform(${prefixes}, lambda one: starts_with(${resource}, one))), false)`;

/** Limits that no selector lifts, each with what can still tell. */
const LIMITS: readonly (readonly [category: string, type: string | null, operations: string, reason: string])[] = [
  [
    'Data',
    'AWS::S3::Object',
    'keys of DeleteObjects',
    'CloudTrail writes no keys of DeleteObjects, which deletes up to 1,000 objects a call; S3 server access logs (BATCH.DELETE.OBJECT) and event notifications have them',
  ],
  [
    'Data',
    'AWS::S3::Object',
    'lifecycle expirations and transitions',
    'lifecycle rules delete and move objects without a call, so no record is written; S3 server access logs (S3.EXPIRE.OBJECT) and event notifications have them',
  ],
  [
    'Management',
    null,
    'requests whose authentication fails',
    'a request whose authentication fails is not recorded; one that a policy refuses is',
  ],
  [
    'Management',
    null,
    'requests that a VPC endpoint policy refuses',
    'such requests are neither management nor data events; network activity events have them where a trail selects those',
  ],
  [
    'Data',
    'AWS::S3::Object',
    'PutObject by CloudTrail itself',
    'where recursive logging is switched off, CloudTrail does not record its own delivery of log files',
  ],
];

const text = (value: string | null): string => (value === null ? 'NULL::VARCHAR' : `'${value}'`);

/** Accounts and regions with records, from the first to the last. */
const PLACES = `SELECT h.account_id, h.region, concat_ws('/', h.account_id, h.region) AS scope, min(p.first_at) AS first_at, max(p.last_at) AS last_at
  FROM (SELECT DISTINCT account_id, region FROM _store.trail_hours) h JOIN _store.presence p ON p.source = 'cloudtrail' AND p.scope = concat_ws('/', h.account_id, h.region)
  GROUP BY ALL`;

/** Times with records, by category and by resource (no pause within a day is too long), and times for which digests vouch, or tell of loss. */
const SPANS = `WITH days AS (SELECT account_id, region, category, resource_type, resource, min(hour) AS from_time, max(hour) + INTERVAL 1 HOUR AS to_time
    FROM _store.trail_hours GROUP BY account_id, region, category, resource_type, resource, date_trunc('day', hour)),
  runs AS (
    SELECT 'category' AS what, account_id, region, category, NULL::VARCHAR AS resource_type, NULL::VARCHAR AS resource, from_time, to_time
    FROM (${joined('SELECT account_id, region, category, from_time, to_time FROM days', 'account_id, region, category', LONGEST_PAUSE)})
    UNION ALL
    SELECT 'resource', account_id, region, category, resource_type, resource, from_time, to_time
    FROM (${joined('SELECT * FROM days WHERE resource IS NOT NULL', 'account_id, region, category, resource_type, resource', LONGEST_PAUSE)}))
  SELECT r.* REPLACE (greatest(r.from_time, p.first_at) AS from_time, least(r.to_time, p.last_at) AS to_time), NULL::VARCHAR AS trail, NULL::VARCHAR AS says
  FROM runs r JOIN places p ON ${same('r', 'p')}
  UNION ALL
  SELECT 'verified', account_id, region, NULL, NULL, NULL, from_time, to_time - ${DELIVERED}, trail, NULL
  FROM (${joined(`SELECT * FROM _store.integrity WHERE state IN ('verified', 'verified_empty') AND trail IS NOT NULL`, 'archive, account_id, region, trail')})
  UNION ALL
  SELECT 'damaged', account_id, region, NULL, NULL, NULL, from_time - ${DELIVERED}, to_time, trail, reason
  FROM _store.integrity WHERE state IN ('missing', 'modified') AND trail IS NOT NULL`;

/**
 * What trails record, where there are records at all: an account or region that no row names has the rows of every other one. Nothing is known beyond the
 * newest evidence.
 */
const HERE = `WITH known AS (SELECT DISTINCT account_id, region FROM _store.recorded),
  own AS (SELECT w.*, a.account_id AS own_account, k.region AS own_region,
      coalesce((SELECT max(greatest) FROM _store.watermarks), w.last_at) AS newest FROM places w
    LEFT JOIN (SELECT DISTINCT account_id FROM known WHERE account_id IS NOT NULL) a ON a.account_id = w.account_id
    LEFT JOIN known k ON k.account_id IS NOT DISTINCT FROM a.account_id AND k.region = w.region)
  SELECT concat_ws(' ', r.number, h.scope) AS id, h.account_id, h.region, h.scope, r.category, r.resource_type, r.resource, r.besides, r.operations,
    coalesce(r.from_time, h.first_at) AS from_time, least(coalesce(r.to_time, h.newest), h.newest) AS to_time, r.state, r.reason, r.trails, r.asked, r.evidence_id
  FROM own h JOIN _store.recorded r ON r.account_id IS NOT DISTINCT FROM h.own_account AND r.region IS NOT DISTINCT FROM h.own_region
  WHERE coalesce(r.from_time, h.first_at) < coalesce(r.to_time, h.newest + INTERVAL 1 MICROSECOND) AND coalesce(r.from_time, h.first_at) <= h.newest`;

/** What is recorded, or unknown, cut where what it is held against begins and ends. */
const PIECES = `WITH held AS (SELECT r.id, s.what, s.says, greatest(s.from_time, r.from_time) AS from_time, least(s.to_time, r.to_time) AS to_time
    FROM here r JOIN spans s ON ${MATCHES} AND s.from_time < r.to_time AND s.to_time > r.from_time),
  marks AS (SELECT id, from_time AS edge FROM held UNION SELECT id, to_time FROM held
    UNION SELECT id, unnest([from_time, to_time]) FROM here WHERE state IN ('recorded', 'unknown')),
  cuts AS (SELECT * FROM (SELECT id, edge AS from_time, lead(edge) OVER (PARTITION BY id ORDER BY edge) AS to_time FROM marks) WHERE to_time IS NOT NULL),
  known AS (SELECT c.id, c.from_time, c.to_time, max(h.says) FILTER (h.what = 'damaged') AS damaged, coalesce(bool_or(h.what = 'verified'), false) AS verified,
      coalesce(bool_or(h.what IN ('category', 'resource')), false) AS present
    FROM cuts c LEFT JOIN held h ON h.id = c.id AND h.from_time <= c.from_time AND h.to_time >= c.to_time GROUP BY c.id, c.from_time, c.to_time)
  SELECT id, damaged, CASE WHEN damaged IS NOT NULL THEN 'damaged' WHEN verified THEN 'verified' WHEN present THEN 'present' ELSE 'nothing' END AS held,
    from_time, to_time FROM known`;

export const RECORDED_VIEWS: readonly string[] = [
  // Each step once, whoever asks: hours of a year are read but once.
  `CREATE OR REPLACE VIEW _store.recorded_coverage AS
  WITH places AS MATERIALIZED (${PLACES}),
  spans AS MATERIALIZED (${SPANS}),
  here AS MATERIALIZED (${HERE}),
  pieces AS MATERIALIZED (${PIECES}),
  stretches AS (${joined('SELECT * FROM pieces', 'id, held, damaged')}),
  there AS (SELECT DISTINCT r.id FROM here r JOIN _store.trail_hours h ON ${same('h', 'r')} AND h.category = r.category
      AND h.hour >= r.from_time + ${DELIVERED} AND h.hour + INTERVAL 1 HOUR <= r.to_time
      AND ((r.category <> 'Data' AND r.resource IS NULL)
        OR (h.resource_type = r.resource_type AND (r.resource IS NULL OR starts_with(h.resource, r.resource)) AND NOT ${within('h.resource', 'r.besides')}))
    WHERE r.operations = 'all' AND r.state NOT IN ('recorded', 'unknown')
    UNION SELECT r.id FROM here r JOIN places p ON ${same('p', 'r')}
    WHERE r.state = 'logging_stopped' AND p.last_at BETWEEN r.from_time + ${DELIVERED} AND r.to_time),
  digested AS (SELECT r.id, string_agg(DISTINCT i.trail, ', ' ORDER BY i.trail) AS trails FROM here r JOIN _store.integrity i ON ${same('i', 'r')}
      AND i.trail IS NOT NULL AND NOT list_contains(r.asked, i.trail) AND i.from_time < r.to_time AND i.to_time > r.from_time
    WHERE r.state NOT IN ('recorded', 'unknown') GROUP BY r.id),
  said AS (
    SELECT r.* EXCLUDE (from_time, to_time, state, reason), p.from_time, p.to_time,
      CASE WHEN p.held = 'present' THEN 'collected' WHEN p.held = 'verified' AND r.state = 'recorded' THEN 'collected_verified' ELSE 'unknown' END AS state,
      CASE WHEN r.state = 'unknown' THEN CASE WHEN p.held = 'present' THEN 'records are present, and that others are absent means nothing: ' || r.reason ELSE r.reason END
        ELSE r.reason || CASE p.held WHEN 'verified' THEN '; its log files are as signed digests name them' WHEN 'damaged' THEN '; log files of that time are not as they were signed: ' || p.damaged
          WHEN 'present' THEN '; records are in evidence, and no digest says that all are' ELSE '; nothing shows that its log files of that time were read' END END AS reason
    FROM here r JOIN stretches p ON p.id = r.id
    UNION ALL BY NAME
    SELECT r.* REPLACE (CASE WHEN d.id IS NULL THEN r.state ELSE 'unknown' END AS state, concat(
        'digests of ' || d.trails || ' are in evidence, and what it selects is not; ', r.reason,
        CASE WHEN t.id IS NOT NULL THEN '; records are there all the same, by a trail that is not in evidence or from event history' END) AS reason)
    FROM here r LEFT JOIN there t ON t.id = r.id LEFT JOIN digested d ON d.id = r.id WHERE r.state NOT IN ('recorded', 'unknown')
    UNION ALL BY NAME
    SELECT r.* REPLACE (s.resource_type AS resource_type, s.resource AS resource, greatest(r.from_time, s.from_time) AS from_time, least(r.to_time, s.to_time) AS to_time, 'collected' AS state,
      'records are present, and that others are absent means nothing: ' || r.reason AS reason)
    FROM here r JOIN spans s ON ${same('s', 'r')} AND s.what = 'resource' AND s.category = r.category AND s.from_time < r.to_time AND s.to_time > r.from_time
    WHERE r.state = 'unknown' AND r.category = 'Data' AND r.resource IS NULL AND NOT ${within('s.resource', 'r.besides')}
      AND (s.resource_type = r.resource_type OR (r.resource_type IS NULL AND NOT coalesce(list_contains(r.besides, s.resource_type), false))))
  SELECT 'cloudtrail' AS source, scope, from_time, to_time, state, reason, account_id, region, category, resource_type, resource, operations, trails, evidence_id FROM said
  UNION ALL
  SELECT 'cloudtrail', 'any account', from_time, to_time, 'source_limit', reason, NULL, NULL, category, resource_type, NULL, operations, []::VARCHAR[], NULL
  FROM (SELECT min(first_at) AS from_time, max(last_at) AS to_time FROM places) CROSS JOIN
    (VALUES ${LIMITS.map((limit) => `(${limit.map(text).join()})`).join()}) limits(category, resource_type, operations, reason) WHERE from_time IS NOT NULL`,
];
