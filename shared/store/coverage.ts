import { LOSSES } from './positions.js';

/** The tables and views behind `coverage`. README.md says in words what each state is. */
export const COVERAGE_TABLES: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS _store.presence (source VARCHAR NOT NULL, scope VARCHAR NOT NULL, service VARCHAR, instance VARCHAR, bucket TIMESTAMP NOT NULL,
  first_at TIMESTAMP NOT NULL, last_at TIMESTAMP NOT NULL, seconds UBIGINT NOT NULL, records BIGINT NOT NULL, dropped BIGINT NOT NULL, scaled BIGINT NOT NULL, stands_for DOUBLE NOT NULL,
  commit_seq BIGINT NOT NULL)`,

  // By service and minute; the rows of one add up, and come to none where all parents came.
  `CREATE TABLE IF NOT EXISTS _store.parentless (scope VARCHAR NOT NULL, minute TIMESTAMP NOT NULL, own BIGINT NOT NULL, callers BIGINT NOT NULL)`,
];

/** Clocks that were never set (before 2006) or that overflowed (past 2262) say nothing of when a scope was watched. */
const POSSIBLE = (time: string) => `${time} BETWEEN TIMESTAMP '2006-01-01' AND TIMESTAMP '2262-04-11'`;

/** How often a minute holds something, and not how many records come together: one bit for each second. */
const SECONDS = (time: string) => `bit_or(1::UBIGINT << second(${time})::UBIGINT)`;

/**
 * What a commit adds to `_store.presence`: a row a minute of an account or a service, and a row a scrape (to 10 ms) of a member. A target that died
 * leaves points without a value: they are no answer to a scrape.
 */
export const presenceOf = (commitSeq: bigint): readonly string[] => [
  `INSERT INTO _store.presence SELECT 'cloudtrail', concat_ws('/', account_id, region), NULL, NULL, date_trunc('minute', event_time), min(event_time), max(event_time),
     ${SECONDS('event_time')}, count(*), 0, 0, 0, ${commitSeq}
   FROM _store.cloudtrail_events WHERE commit_seq = ${commitSeq} AND ${POSSIBLE('event_time')} GROUP BY 2, 5`,
  `INSERT INTO _store.presence SELECT 'traces', concat_ws('/', scope, coalesce(service, 'unknown_service')), coalesce(service, 'unknown_service'), NULL,
     date_trunc('minute', start_time), min(start_time), max(start_time), ${SECONDS('start_time')}, count(*), count(*) FILTER (dropped > 0),
     count(adjusted_count), coalesce(sum(adjusted_count), 0), ${commitSeq}
   FROM _store.spans WHERE commit_seq = ${commitSeq} AND ${POSSIBLE('start_time')} GROUP BY 2, 3, 5`,
  `INSERT INTO _store.presence SELECT 'metrics', concat_ws('/', service, instance), service, instance, time_bucket(INTERVAL 10 MILLISECONDS, time), min(time), max(time),
     ${SECONDS('min(time)').replace('bit_or', '')}, count(*), 0, 0, 0, ${commitSeq}
   FROM _store.metric_points WHERE commit_seq = ${commitSeq} AND ${POSSIBLE('time')} AND (flags IS NULL OR NOT contains(flags, 'no_recorded_value')) GROUP BY 2, 3, 4, 5`,
];

/**
 * A scrape is late, not missed, while its pause is below 1.75 of the member's usual ones or within 5 MAD of them, or when the scrapes after it make
 * up for it (a slow answer holds up the next one, and two then come at once). A hole of more than three scrapes is no longer isolated.
 */
const MISSED = { intervals: 1.75, withTheNext: 2.6, spreads: 5, few: 3 };

/**
 * A service is silent when it pauses for more than a minute, and ten times as long as usual: at least half of its other time, and half as much time
 * as the pause itself, went by in pauses of a tenth or less. (Of spans that come by chance one pause in 20,000 is so long.) Time is weighed, not
 * pauses counted: a nightly batch is quiet all day, and is not silent then.
 */
const SILENT = { pauses: 10, leastMicros: 60_000_000 };

const seconds = (micros: string) => `round(${micros} / 1e6, 1) || ' s'`;

export const COVERAGE_VIEWS: readonly string[] = [
  // Scrapes of a member from one answer to the next: where one is overdue, or said to have failed, there is a hole. (A count with a FILTER over a
  // window takes DuckDB quadratic time, a sum does not.)
  `CREATE OR REPLACE VIEW _store.holes AS
  WITH attempts AS (
    SELECT scope, service, instance, epoch_us(min(first_at)) AS moment, true AS answered FROM _store.presence WHERE source = 'metrics'
    GROUP BY scope, service, instance, bucket
    UNION ALL SELECT DISTINCT concat_ws('/', service, instance), service, instance, epoch_us(time), false FROM _store.missed_scrapes),
  timed AS (SELECT *, moment - lag(moment) OVER member AS since, sum(answered::INT) OVER member AS run FROM attempts
    WINDOW member AS (PARTITION BY scope ORDER BY moment, answered ROWS UNBOUNDED PRECEDING)),
  usual AS (SELECT scope, median(since) AS usual, mad(since) AS spread FROM timed WHERE since > 0 GROUP BY scope HAVING count(*) >= 3),
  runs AS (SELECT scope, any_value(service) AS service, any_value(instance) AS instance, run, min(moment) AS from_at, count(*) FILTER (NOT answered) AS failed,
    max(moment) FILTER (NOT answered) AS last_failed FROM timed GROUP BY scope, run),
  ends AS (SELECT *, lead(from_at) OVER member AS next_at, lead(from_at, 2) OVER member AS after_at FROM runs
    WINDOW member AS (PARTITION BY scope ORDER BY run))
  SELECT scope, service, instance, from_at, coalesce(next_at, last_failed) AS to_at, failed, usual,
    greatest(failed, coalesce(round((to_at - from_at) / usual)::BIGINT - 1, 0)) AS lost
  FROM ends LEFT JOIN usual USING (scope)
  WHERE to_at > from_at AND (failed > 0 OR next_at - from_at > greatest(${MISSED.intervals} * usual, usual + ${MISSED.spreads} * spread)
    AND coalesce(after_at - from_at > ${MISSED.withTheNext} * usual, true))`,

  // Spans of a service: pauses between minutes that hold some, and the usual pause inside of each: none there is long enough to be a silence.
  `CREATE OR REPLACE VIEW _store.silences AS
  WITH minutes AS (SELECT scope, service, epoch_us(min(first_at)) AS first_at, epoch_us(max(last_at)) AS last_at,
      bit_count(bit_or(seconds)) AS moments FROM _store.presence WHERE source = 'traces' GROUP BY scope, service, bucket),
  pauses AS (SELECT scope, service, from_at, to_at, to_at - from_at AS pause, busy, moments
    FROM (SELECT *, lag(last_at) OVER (PARTITION BY scope ORDER BY first_at) AS from_at, first_at AS to_at, last_at - first_at AS busy FROM minutes)),
  whole AS (SELECT scope, sum(busy) AS busy, sum(pause) AS paused FROM pauses GROUP BY scope),
  shorter AS (SELECT scope, pause, sum(length) OVER (PARTITION BY scope ORDER BY pause) AS up_to FROM (
    SELECT scope, pause, pause AS length FROM pauses WHERE pause IS NOT NULL
    UNION ALL SELECT scope, busy / (moments - 1), busy FROM pauses WHERE moments > 1)),
  judged AS (SELECT p.*, coalesce(s.up_to, 0) AS usual, w.busy + w.paused - p.pause AS rest
    FROM (SELECT *, pause / ${SILENT.pauses} AS tenth FROM pauses WHERE pause > ${SILENT.leastMicros}) p JOIN whole w USING (scope)
    ASOF LEFT JOIN shorter s ON p.scope = s.scope AND p.tenth >= s.pause)
  SELECT scope, service, from_at, to_at FROM judged WHERE 2 * usual >= rest AND 2 * usual >= pause`,

  /*
   * Others go on where they have evidence in the middle third of a gap: what merely ends and begins together (two nights in one store) is no gap.
   * Spans and CloudTrail records are merged by minute, so that their rows do not overlap; scrapes are moments.
   */
  `CREATE OR REPLACE VIEW _store.gaps AS
  WITH answers AS (SELECT DISTINCT coalesce(service, '') AS family, epoch_us(first_at) AS moment FROM _store.presence WHERE source = 'metrics'),
  minutes AS (SELECT epoch_us(min(first_at)) AS first_at, epoch_us(max(last_at)) AS last_at FROM _store.presence WHERE source <> 'metrics' GROUP BY bucket),
  gaps AS (SELECT 'metrics' AS source, scope, service, instance, from_at, to_at, failed, lost, usual FROM _store.holes
    UNION ALL SELECT 'traces', scope, service, NULL, from_at, to_at, 0, NULL, NULL FROM _store.silences),
  thirds AS (SELECT *, coalesce(service, '') AS family, from_at + (to_at - from_at) / 3 AS third, to_at - (to_at - from_at) / 3 AS two_thirds FROM gaps),
  beside AS (SELECT t.*, coalesce(peer.moment <= two_thirds, false) AND source = 'metrics' AS others_answered,
      coalesce(answer.moment <= two_thirds, false) OR coalesce(minute.first_at <= two_thirds, false) AS others_go_on
    FROM thirds t
    ASOF LEFT JOIN answers peer ON t.family = peer.family AND t.third <= peer.moment
    ASOF LEFT JOIN (SELECT moment FROM answers) answer ON t.third <= answer.moment
    ASOF LEFT JOIN minutes minute ON t.third <= minute.last_at),
  named AS (SELECT *, CASE WHEN lost <= ${MISSED.few} THEN 'missed_scrapes' WHEN failed > 0 OR others_answered THEN 'member_down'
    WHEN others_go_on THEN 'source_silent' END AS state FROM beside)
  SELECT source, scope, service, instance, make_timestamp(from_at) AS from_time, make_timestamp(to_at) AS to_time, state,
    CASE state WHEN 'missed_scrapes' THEN lost || CASE lost WHEN 1 THEN ' scrape is' ELSE ' scrapes are' END || ' missing'
      WHEN 'member_down' THEN concat('nothing from this member for ', ${seconds('(to_at - from_at)')}, ', ',
        CASE WHEN failed > 0 THEN concat(failed, ' scrapes had no answer') ELSE 'while other members of its cluster were scraped' END)
      ELSE concat('nothing for ', ${seconds('(to_at - from_at)')}, ', while other evidence goes on') END
    || coalesce(CASE WHEN usual > 0 THEN concat('; usually one every ', ${seconds('usual')}) END, '') AS reason
  FROM named WHERE state IS NOT NULL`,

  `CREATE OR REPLACE VIEW coverage AS
  SELECT source, scope, min(first_at) AS from_time, max(last_at) AS to_time, 'collected' AS state,
    CASE source WHEN 'cloudtrail' THEN 'records present; nothing here says that all were delivered' WHEN 'traces' THEN 'spans present; unsampled spans are not'
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
  FROM _store.presence WHERE scaled > 0 GROUP BY source, scope, service, instance HAVING sum(stands_for) > sum(scaled) * 1.0001`,
];
