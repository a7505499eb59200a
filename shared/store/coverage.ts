import type { EvidenceName } from '../evidence.js';
import { LOSSES } from './positions.js';
import { RECORDED_TABLES, RECORDED_VIEWS } from './trail-coverage.js';

/** The tables and views behind `coverage`. README.md says in words what each state is. */
export const COVERAGE_TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS _store.presence (source VARCHAR NOT NULL, scope VARCHAR NOT NULL, service VARCHAR, instance VARCHAR, bucket TIMESTAMP NOT NULL,
  first_at TIMESTAMP NOT NULL, last_at TIMESTAMP NOT NULL, seconds UBIGINT NOT NULL, records BIGINT NOT NULL, dropped BIGINT NOT NULL, scaled BIGINT NOT NULL, stands_for DOUBLE NOT NULL,
  commit_seq BIGINT NOT NULL)`,

  // By service and minute; the rows of one add up, and come to none where all parents came.
  `CREATE TABLE IF NOT EXISTS _store.parentless (scope VARCHAR NOT NULL, minute TIMESTAMP NOT NULL, own BIGINT NOT NULL, callers BIGINT NOT NULL)`,

  // How often evidence of a scope comes, folded as subjects are: of one segment the latest row counts.
  `CREATE TABLE IF NOT EXISTS _store.rhythms (subject VARCHAR NOT NULL, segment BIGINT NOT NULL, run BIGINT NOT NULL, state_hash VARCHAR, found VARCHAR NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.rhythm_states (subject VARCHAR NOT NULL, segment BIGINT NOT NULL, hash VARCHAR NOT NULL, state BLOB NOT NULL)`,

  // Times without evidence that rhythms do not explain; of one hole the latest row counts. Without a state it is no gap: nothing else went on either.
  `CREATE TABLE IF NOT EXISTS _store.hole_history (run BIGINT NOT NULL, gone BOOLEAN NOT NULL, source VARCHAR NOT NULL, scope VARCHAR NOT NULL, service VARCHAR,
  instance VARCHAR, from_time TIMESTAMP NOT NULL, to_time TIMESTAMP NOT NULL, failed BIGINT NOT NULL, lost BIGINT, usual_micros DOUBLE, state VARCHAR, reason VARCHAR)`,

  ...RECORDED_TABLES,
];

/** Clocks that were never set (before 2006) or that overflowed (past 2262) say nothing of when a scope was watched. */
const POSSIBLE = (time: string) => `${time} BETWEEN TIMESTAMP '2006-01-01' AND TIMESTAMP '2262-04-11'`;

/** How often a minute holds something, and not how many records come together: one bit for each second. */
const SECONDS = (time: string) => `bit_or(1::UBIGINT << second(${time})::UBIGINT)`;

/**
 * What the rows of one kind in a commit, or in each of some that follow one another, add to `_store.presence`: a row a minute of an account or a service, and a row a scrape
 * (to 10 ms) of a member. A target that died leaves points without a value: they are no answer to a scrape.
 */
export const presenceOf = (name: EvidenceName, first: bigint, last = first): string | undefined =>
  PRESENCE[name]?.(`commit_seq BETWEEN ${first} AND ${last}`);

const PRESENCE: { readonly [Name in EvidenceName]?: (which: string) => string } = {
  cloudtrail: (
    which,
  ) => `INSERT INTO _store.presence SELECT 'cloudtrail', concat_ws('/', account_id, region), NULL, NULL, date_trunc('minute', event_time), min(event_time), max(event_time),
     ${SECONDS('event_time')}, count(*), 0, 0, 0, commit_seq
   FROM _store.cloudtrail_events WHERE ${which} AND ${POSSIBLE('event_time')} GROUP BY 2, 5, commit_seq`,
  traces: (
    which,
  ) => `INSERT INTO _store.presence SELECT 'traces', concat_ws('/', scope, coalesce(service, 'unknown_service')), coalesce(service, 'unknown_service'), NULL,
     date_trunc('minute', start_time), min(start_time), max(start_time), ${SECONDS('start_time')}, count(*), count(*) FILTER (dropped > 0),
     count(adjusted_count), coalesce(sum(adjusted_count), 0), commit_seq
   FROM _store.spans WHERE ${which} AND ${POSSIBLE('start_time')} GROUP BY 2, 3, 5, commit_seq`,
  metrics: (
    which,
  ) => `INSERT INTO _store.presence SELECT 'metrics', concat_ws('/', service, instance), service, instance, time_bucket(INTERVAL 10 MILLISECONDS, time), min(time), max(time),
     ${SECONDS('min(time)').replace('bit_or', '')}, count(*), 0, 0, 0, commit_seq
   FROM _store.metric_points WHERE ${which} AND ${POSSIBLE('time')} AND (flags IS NULL OR NOT contains(flags, 'no_recorded_value'))
   GROUP BY 2, 3, 4, 5, commit_seq`,
  's3-access': (
    which,
  ) => `INSERT INTO _store.presence SELECT 's3-access', bucket, NULL, NULL, date_trunc('minute', event_time), min(event_time), max(event_time),
     ${SECONDS('event_time')}, count(*), 0, 0, 0, commit_seq
   FROM _store.s3_access_records WHERE ${which} AND ${POSSIBLE('event_time')} GROUP BY 2, 5, commit_seq`,
};

export const COVERAGE_VIEWS: readonly string[] = [
  `CREATE OR REPLACE VIEW _store.holes AS SELECT * FROM
  (SELECT * FROM _store.hole_history QUALIFY row_number() OVER (PARTITION BY source, scope, from_time, to_time ORDER BY run DESC) = 1) WHERE NOT gone`,

  `CREATE OR REPLACE VIEW _store.gaps AS SELECT source, scope, service, instance, from_time, to_time, state, reason FROM _store.holes WHERE state IS NOT NULL`,

  ...RECORDED_VIEWS,

  `CREATE OR REPLACE VIEW coverage AS
  SELECT source, scope, min(first_at) AS from_time, max(last_at) AS to_time, 'collected' AS state,
    CASE source WHEN 'cloudtrail' THEN 'records present; nothing here says that all were delivered' WHEN 'traces' THEN 'spans present; unsampled spans are not'
      WHEN 's3-access' THEN 'access log records present; S3 delivers them on a best effort, hours late: that one is absent means nothing'
      ELSE 'scrapes present' END AS reason, service, instance FROM _store.presence GROUP BY source, scope, service, instance
  UNION ALL
  SELECT 'metrics', concat_ws('/', service, instance), time, time, 'not_collected', 'the member did not answer this scrape', service, instance
  FROM _store.missed_scrapes
  UNION ALL
  SELECT source, scope, from_time, to_time, state, reason, service, instance FROM _store.gaps
  UNION ALL
  SELECT source, scope, min(first_at), max(last_at), 'dropped_spans',
    concat(sum(dropped), ' of ', sum(records), ' spans lost attributes, events or links before they were sent'), service, instance
  FROM _store.presence WHERE source = 'traces' GROUP BY source, scope, service, instance, date_trunc('hour', bucket) HAVING sum(dropped) > 0
  UNION ALL
  SELECT 'traces', scope, min(minute), max(minute) + INTERVAL 1 MINUTE, 'dropped_spans', concat_ws('; ',
    CASE WHEN sum(own) > 0 THEN concat(sum(own), ' spans name a parent in this service that is not in evidence: lost, not sampled, or not ended yet') END,
    CASE WHEN sum(callers) > 0 THEN concat(sum(callers), ' requests name a caller whose span is not in evidence: lost, not sampled, or not collected') END),
    NULL, NULL
  FROM _store.parentless GROUP BY scope, date_trunc('hour', minute) HAVING sum(own) + sum(callers) > 0
  UNION ALL
  SELECT source, scope, from_time, to_time, state, reason, NULL, NULL FROM _store.trail_coverage
  UNION ALL
  SELECT source, concat_ws('/', topic, "partition"), from_time, to_time, 'lost_offsets',
    concat(to_offset - from_offset, ' offsets from ', from_offset, ' on were never read: ', cause), NULL, NULL
  FROM _store.kafka_gaps WHERE from_time IS NOT NULL AND cause IN (${LOSSES.map((cause) => `'${cause}'`).join()})
  UNION ALL
  SELECT source, scope, min(first_at), max(last_at), 'sampled',
    concat(sum(scaled), ' spans stand for about ', round(sum(stands_for))::BIGINT, ', as they say themselves'), service, instance
  FROM _store.presence WHERE scaled > 0 GROUP BY source, scope, service, instance HAVING sum(stands_for) > sum(scaled) * 1.0001
  UNION ALL BY NAME
  SELECT * FROM _store.recorded_coverage`,
];
