import type { MetricRow, MissedScrape } from '../../shared/evidence.js';
import { groupBy } from '../../shared/group.js';

/** As the collector's prometheusreceiver names its scope: from there, `up` says whether a scrape was answered. */
const SCOPE = { name: 'github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver' };

/** One scrape as OTLP/JSON: the points that were read, and of members that did not answer `up` = 0. */
export function scrapeMessage(rows: readonly MetricRow[], missed: readonly MissedScrape[]): string {
  const members = groupBy<MetricRow | MissedScrape, string>([...rows, ...missed], ({ service, instance }) =>
    JSON.stringify([service, instance]),
  );
  const resourceMetrics = [...members.values()].map((own) => ({
    resource: { attributes: resourceOf(own[0]!) },
    scopeMetrics: [{ scope: SCOPE, metrics: own.map((each) => ('metric' in each ? metricOf(each) : downOf(each))) }],
  }));
  return JSON.stringify({ resourceMetrics });
}

function resourceOf({ service, instance }: MetricRow | MissedScrape) {
  return [
    ...(service === null ? [] : [attribute('service.name', service)]),
    ...(instance === null ? [] : [attribute('service.instance.id', instance)]),
  ];
}

const attribute = (key: string, stringValue: string) => ({ key, value: { stringValue } });

const CUMULATIVE = 2;
const NO_RECORDED_VALUE = 1;

function metricOf(row: MetricRow): object {
  const point = {
    timeUnixNano: String(row.timeUnixNano),
    attributes: Object.entries(JSON.parse(row.attributes) as Record<string, string>).map(([key, value]) =>
      attribute(key, value),
    ),
    ...(row.flags.includes('no_recorded_value') && { flags: NO_RECORDED_VALUE }),
  };
  const value = row.value === null ? point : { ...point, asDouble: number(row.value) };
  const { metric: name, kind } = row;
  if (kind === 'gauge') return { name, gauge: { dataPoints: [value] } };
  if (kind === 'counter')
    return { name, sum: { aggregationTemporality: CUMULATIVE, isMonotonic: true, dataPoints: [value] } };
  const totals = { ...point, count: String(row.count ?? 0), ...(row.sum !== null && { sum: number(row.sum) }) };
  if (kind === 'summary') return { name, summary: { dataPoints: [{ ...totals, quantileValues: quantilesOf(row) }] } };
  const explicit = { explicitBounds: row.bounds ?? [], bucketCounts: (row.counts ?? []).map(String) };
  return { name, histogram: { aggregationTemporality: CUMULATIVE, dataPoints: [{ ...totals, ...explicit }] } };
}

function quantilesOf({ bounds, counts }: MetricRow) {
  return (bounds ?? []).map((quantile, index) => ({ quantile, value: number(counts![index]!) }));
}

function downOf({ timeUnixNano }: MissedScrape): object {
  return { name: 'up', gauge: { dataPoints: [{ timeUnixNano: String(timeUnixNano), asDouble: 0 }] } };
}

/** JSON has no NaN and no infinity: OTLP writes them as words. */
const number = (value: number): number | string => (Number.isFinite(value) ? value : String(value));
