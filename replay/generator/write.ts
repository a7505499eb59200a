import { gunzipSync, gzipSync } from 'node:zlib';
import { type Files, jsonLines } from '../generate/files.js';
import { metricsData, type Point, type Scrape, type Summary } from '../generate/metrics.js';
import { type Attributes, type Span, traceFiles } from '../generate/spans.js';
import type { Chance } from './chance.js';

/** How metrics are written: OTLP/JSON lines, Prometheus text with `# SCRAPE` lines, or a Prometheus file a scrape. */
export type Format = 'otlp' | 'prom-marked' | 'prom-single';

/** A scrape at the moment it was taken; `said` undefined where it was lost or the member was down. */
export interface TakenScrape {
  readonly cluster: string | null;
  readonly instance: string;
  readonly atMs: number;
  readonly said: unknown;
}

/** What a member says, as its format writes it: at once, because counters go on. */
export function rendered(format: Format, atMs: number, scrape: Scrape): unknown {
  return format === 'otlp' ? metricsData(atMs, [scrape]) : prometheusText(scrape.points);
}

/** The evidence of an incident as a case folder lays it out (DESIGN 5.1): late, twice, packed or not, as drawn. */
export function evidenceFiles(
  chance: Chance,
  format: Format,
  environment: string,
  spans: readonly Span[],
  scrapes: readonly TakenScrape[],
): Files {
  const plain = chance.yes(0.5);
  const late = chance.pick([0, 0.02, 0.1]);
  const twice = chance.pick([0, 0, 0.03]);
  const [inTime, delayed] = delay(chance, spans, late, twice);
  const files = new Map([
    ...traceFiles(inTime, environment),
    ...[...traceFiles(delayed, environment)].map(([path, content]) => [path.replace('/', '/late/'), content] as const),
    ...metricFiles(format, scrapes),
  ]);
  return new Map([...files].map(([path, content]) => packed(path, content, plain)));
}

/** Some spans come in a later file, some of them a second time: exporters retry. */
function delay(chance: Chance, spans: readonly Span[], late: number, twice: number): [Span[], Span[]] {
  const inTime: Span[] = [];
  const delayed: Span[] = [];
  for (const span of spans) {
    const isLate = chance.yes(late);
    (isLate ? delayed : inTime).push(span);
    if (!isLate && chance.yes(twice)) delayed.push(span);
  }
  return [inTime, delayed];
}

function metricFiles(format: Format, scrapes: readonly TakenScrape[]): Files {
  if (format === 'otlp') {
    const lines = scrapes.filter(({ said }) => said !== undefined).map(({ said }) => said);
    return new Map([['metrics/otlp.jsonl.gz', jsonLines(lines)]]);
  }
  const files = new Map<string, string>();
  for (const { cluster, instance, atMs, said } of scrapes) {
    const folder = `metrics/${cluster === null ? '' : `${cluster}/`}${instance}`;
    const path = format === 'prom-single' ? `${folder}/${atMs}.prom` : `${folder}/scrapes.prom`;
    if (format === 'prom-single') {
      if (typeof said === 'string') files.set(path, said);
      continue;
    }
    const mark = `# SCRAPE unix_ms=${atMs} status=${said === undefined ? 0 : 200}\n`;
    files.set(path, `${files.get(path) ?? ''}${mark}${typeof said === 'string' ? said : ''}`);
  }
  return new Map([...files].map(([path, text]) => [`${path}.gz`, gzipSync(text)]));
}

function packed(path: string, content: Buffer, plain: boolean): [string, Buffer] {
  return plain ? [path.replace(/\.gz$/, ''), gunzipSync(content)] : [path, content];
}

/** Prometheus text exposition format 0.0.4. */
function prometheusText(points: readonly Point[]): string {
  const lines: string[] = [];
  let typed = '';
  for (const point of points) {
    const { name, type, value, labels } = point;
    if (name !== typed) lines.push(`# TYPE ${name} ${type}`);
    typed = name;
    if (typeof value === 'number') lines.push(`${name}${labelText(labels)} ${value}`);
    else if (point.type === 'summary') lines.push(...summaryLines(name, point.value.dataPoint()));
    else lines.push(...histogramLines(name, value.dataPoint() as HistogramPoint));
  }
  return `${lines.join('\n')}\n`;
}

interface HistogramPoint {
  readonly count: string;
  readonly sum: number;
  readonly bucketCounts: readonly string[];
  readonly explicitBounds: readonly number[];
}

function summaryLines(name: string, { count, sum, quantileValues }: ReturnType<Summary['dataPoint']>): string[] {
  const quantiles = quantileValues.map(({ quantile, value }) => `${name}{quantile="${quantile}"} ${value}`);
  return [...quantiles, `${name}_sum ${sum}`, `${name}_count ${count}`];
}

function histogramLines(name: string, { count, sum, bucketCounts, explicitBounds }: HistogramPoint): string[] {
  let below = 0;
  const buckets = bucketCounts.map((own, i) => {
    below += Number(own);
    return `${name}_bucket{le="${explicitBounds[i] ?? '+Inf'}"} ${below}`;
  });
  return [...buckets, `${name}_sum ${sum}`, `${name}_count ${count}`];
}

function labelText(labels: Attributes = {}): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
}
