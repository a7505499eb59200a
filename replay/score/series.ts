import type { DuckDBConnection } from '@duckdb/node-api';
import { clustersOf } from '../../services/correlate/clusters.js';
import { loadMembers } from '../../services/correlate/load.js';
import { entityKey } from '../../shared/entity.js';

/** One measure of one entity on a common grid of time; NaN where nothing was read. */
export interface EntitySeries {
  readonly subject: string;
  readonly measure: string;
  readonly values: readonly number[];
}

/** Readings of a grid step: a scrape of the slowest member that the generator draws falls into it. */
const STEP_SECONDS = 30;

/**
 * Everything in the evidence as series by entity, for methods that know no mechanism: each member's counters as rates,
 * gauges as they are, mean latencies of histograms; each service's request rate, error share and mean duration.
 */
export async function loadSeries(connection: DuckDBConnection): Promise<EntitySeries[]> {
  const clusters = clustersOf(await loadMembers(connection));
  const metrics = await rows(connection, METRICS);
  const spans = await rows(connection, SPANS);
  const points = [
    ...metrics.map(([service, instance, measure, step, value]) => ({
      subject: clusters.keyOf({ service: service as string | null, instance: instance as string }),
      measure: `${String(instance)} ${String(measure)}`,
      step: step as number,
      value: value as number,
    })),
    ...spans.map(([service, scope, measure, step, value]) => ({
      subject: entityKey('service', (service as string | null) ?? 'unknown_service', scope as string | null),
      measure: measure as string,
      step: step as number,
      value: value as number,
    })),
  ];
  return onGrid(points);
}

async function rows(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows();
}

const METRICS = `
  WITH points AS (
    SELECT DISTINCT service, instance, metric || attributes::VARCHAR AS measure, kind, time_unix_nano AS t,
      coalesce(value, sum) AS value, list_sum(counts) AS n FROM metric_points WHERE instance IS NOT NULL),
  steps AS (
    SELECT service, instance, measure, kind, t, value, n,
      value - lag(value) OVER w AS rise, n - lag(n) OVER w AS observed, (t - lag(t) OVER w) / 1e9 AS seconds
    FROM points WINDOW w AS (PARTITION BY service, instance, measure ORDER BY t))
  SELECT service, instance, measure, (t // ${STEP_SECONDS}_000_000_000)::INTEGER AS step, avg(CASE
      WHEN kind = 'gauge' THEN value
      WHEN rise < 0 OR seconds <= 0 THEN NULL
      WHEN n IS NULL THEN rise / seconds
      WHEN observed > 0 THEN rise / observed END)::DOUBLE AS reading
  FROM steps GROUP BY ALL HAVING reading IS NOT NULL`;

const SPANS = `
  WITH cells AS (
    SELECT service, scope, kind, (start_unix_nano // ${STEP_SECONDS}_000_000_000)::INTEGER AS step,
      count(*)::DOUBLE AS n, (count(*) FILTER (status = 'error'))::DOUBLE AS failed,
      avg(end_unix_nano - start_unix_nano)::DOUBLE / 1e6 AS took
    FROM spans GROUP BY ALL)
  SELECT service, scope, kind || ' ' || measure, step, reading FROM (
    SELECT service, scope, kind, step, unnest(['count', 'error', 'latency']) AS measure,
      unnest([n / ${STEP_SECONDS}, failed / n, took]) AS reading FROM cells)`;

function onGrid(points: readonly { subject: string; measure: string; step: number; value: number }[]): EntitySeries[] {
  const first = points.reduce((least, { step }) => Math.min(least, step), Number.POSITIVE_INFINITY);
  const last = points.reduce((most, { step }) => Math.max(most, step), Number.NEGATIVE_INFINITY);
  const series = new Map<string, { subject: string; measure: string; values: number[] }>();
  for (const { subject, measure, step, value } of points) {
    const key = `${subject}\n${measure}`;
    const known = series.get(key) ?? {
      subject,
      measure,
      values: Array.from({ length: last - first + 1 }, () => Number.NaN),
    };
    known.values[step - first] = value;
    series.set(key, known);
  }
  // The first and the last step are cut short by the window.
  return [...series.values()]
    .sort((a, b) => (a.subject + a.measure < b.subject + b.measure ? -1 : 1))
    .map((one) => ({ ...one, values: one.values.slice(1, -1) }));
}
