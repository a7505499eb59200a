import { type Files, jsonLines } from './files.js';
import type { Random } from './random.js';
import { type Attributes, keyValues, nano } from './spans.js';

/** A point as a story tells it: what the collector's prometheusreceiver makes of a scrape. */
export type Point =
  | { readonly name: string; readonly type: 'counter' | 'gauge'; readonly value: number; readonly labels?: Attributes }
  | { readonly name: string; readonly type: 'histogram'; readonly value: Histogram; readonly labels?: Attributes }
  | { readonly name: string; readonly type: 'summary'; readonly value: Summary; readonly labels?: Attributes };

/** One member's scrape. */
export interface Scrape {
  readonly service: string;
  readonly instance: string;
  readonly startedMs: number;
  readonly points: readonly Point[];
}

/** metrics/otlp.jsonl.gz, one MetricsData a scrape of all members. */
export function metricFiles(lines: readonly unknown[]): Files {
  return new Map([['metrics/otlp.jsonl.gz', jsonLines(lines)]]);
}

export function metricsData(atMs: number, scrapes: readonly Scrape[]): unknown {
  return { resourceMetrics: scrapes.map((scrape) => resourceMetrics(atMs, scrape)) };
}

function resourceMetrics(atMs: number, { service, instance, startedMs, points }: Scrape): unknown {
  const byName = new Map<string, Point[]>();
  for (const point of points) byName.set(point.name, [...(byName.get(point.name) ?? []), point]);
  const metrics = [...byName.values()].map((own) => metric(own, nano(atMs), nano(startedMs)));
  const scope = { name: 'github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver' };
  const attributes = keyValues({ 'service.name': service, 'service.instance.id': instance });
  return { resource: { attributes }, scopeMetrics: [{ scope, metrics }] };
}

function metric(points: readonly Point[], timeUnixNano: string, startTimeUnixNano: string): unknown {
  const { name, type } = points[0]!;
  const since = type === 'gauge' ? { timeUnixNano } : { startTimeUnixNano, timeUnixNano };
  const dataPoints = points.map((point) => ({
    ...since,
    attributes: keyValues(point.labels ?? {}),
    ...measured(point),
  }));
  if (type === 'gauge') return { name, gauge: { dataPoints } };
  if (type === 'summary') return { name, summary: { dataPoints } };
  const cumulative = { aggregationTemporality: 2, dataPoints };
  return type === 'counter' ? { name, sum: { ...cumulative, isMonotonic: true } } : { name, histogram: cumulative };
}

function measured({ value }: Point): object {
  return typeof value === 'number' ? { asDouble: value } : value.dataPoint();
}

/** A cumulative summary; its quantiles are of no interest here and stay at the last observation. */
export class Summary {
  count: number;
  sum: number;
  private last = 0;

  constructor(count: number, sum: number) {
    this.count = count;
    this.sum = sum;
  }

  observe(value: number): void {
    this.count += 1;
    this.sum += value;
    this.last = value;
  }

  dataPoint() {
    const quantileValues = [0, 0.5, 1].map((quantile) => ({ quantile, value: this.last }));
    return { count: String(this.count), sum: Number(this.sum.toPrecision(12)), quantileValues };
  }
}

/** A cumulative histogram that is filled by shares. */
export class Histogram {
  private readonly bounds: readonly number[];
  private readonly counts: number[];
  private sum = 0;

  /** Bounds double from the least one, as etcd's do; `n` observations were made before the story begins. */
  constructor(least: number, buckets: number, n: number, shares: readonly number[]) {
    this.bounds = Array.from({ length: buckets }, (_, i) => Number((least * 2 ** i).toPrecision(12)));
    this.counts = Array.from({ length: buckets + 1 }, (_, i) => Math.round(n * (shares[i] ?? 0)));
    this.counts.forEach((count, i) => {
      this.sum += 0.75 * count * (this.bounds[i] ?? 0);
    });
  }

  /** Adds so many observations; `shares` says which part of them lies in each bucket, from the first on. */
  observe(chance: Random, n: number, shares: readonly number[]): void {
    for (let i = 0; i < n; i += 1) {
      let left = chance.next();
      let bucket = 0;
      while (bucket < shares.length - 1 && left >= shares[bucket]!) {
        left -= shares[bucket]!;
        bucket += 1;
      }
      this.counts[bucket]! += 1;
      this.sum += chance.between(this.bounds[bucket - 1] ?? 0, this.bounds[bucket]!);
    }
  }

  dataPoint(): object {
    const count = this.counts.reduce((sum, n) => sum + n, 0);
    return {
      count: String(count),
      sum: Number(this.sum.toPrecision(12)),
      bucketCounts: this.counts.map(String),
      explicitBounds: this.bounds,
    };
  }
}
