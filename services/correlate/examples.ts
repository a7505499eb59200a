/** Builders of detectors' examples: scrapes of one member every 5 s, attempts, requests. Times start at EXAMPLE_START. */
import type { Gap } from './gaps.js';
import type { Attempt, Item, Requests, Sample, Scrape } from './item.js';

/** 2024-03-17T02:00:00Z in microseconds. */
export const EXAMPLE_START = 1_710_640_800_000_000;

const SCRAPE_INTERVAL = 5_000_000;

export const at = (seconds: number): number => EXAMPLE_START + seconds * 1_000_000;

/** A time without a span of the service that examples are about. */
export function silence(fromSeconds: number, toSeconds: number): Gap {
  const subject = 'service:prod/example';
  return { subject, member: null, state: 'source_silent', fromMicros: at(fromSeconds), toMicros: at(toSeconds) };
}

type Values = Readonly<Record<string, number>>;

const PLAIN = { bounds: null, counts: null, sum: null, count: null } as const;

/** One scrape every 5 s with the metrics' values at that time. */
export function scrapes(
  count: number,
  values: (seconds: number, index: number) => Values,
  member = 'etcd-0',
): Scrape[] {
  return Array.from({ length: count }, (_, index) => {
    const atMicros = EXAMPLE_START + index * SCRAPE_INTERVAL;
    const samples = new Map<string, Sample[]>();
    for (const [name, value] of Object.entries(values((index * SCRAPE_INTERVAL) / 1e6, index))) {
      const { metric, labels } = metricAndLabels(name);
      const sample: Sample = { labels, value, ...PLAIN, evidenceId: `${member}/${name}/${index}` };
      samples.set(metric, [...(samples.get(metric) ?? []), sample]);
    }
    return { type: 'scrape', atMicros, member, samples };
  });
}

/** A counter that rises at `before` per second until `from`, then at `after` until `to`, then as before. */
export function counter(seconds: number, rates: { before: number; after: number; from: number; to: number }): number {
  const inside = Math.max(0, Math.min(seconds, rates.to) - rates.from);
  return rates.before * (seconds - inside) + rates.after * inside;
}

/** Scrapes of a latency histogram whose observations all fall near `quick`, and near `slow` between `from` and `to`. */
export function latencies(
  metric: string,
  shape: { count: number; perSecond: number; quick: number; slow: number; from: number; to: number },
): Scrape[] {
  const bounds = Array.from({ length: 14 }, (_, i) => 0.001 * 2 ** i);
  const counts = Array.from({ length: bounds.length + 1 }, () => 0);
  return Array.from({ length: shape.count }, (_, index) => {
    const seconds = (index * SCRAPE_INTERVAL) / 1e6;
    if (index > 0) {
      const latency = seconds > shape.from && seconds <= shape.to ? shape.slow : shape.quick;
      const bucket = bounds.findIndex((bound) => latency <= bound);
      counts[bucket < 0 ? bounds.length : bucket]! += (shape.perSecond * SCRAPE_INTERVAL) / 1e6;
    }
    const sample: Sample = {
      labels: {},
      value: 0,
      bounds,
      counts: [...counts],
      sum: null,
      count: null,
      evidenceId: `etcd-0/${metric}/${index}`,
    };
    return {
      type: 'scrape',
      atMicros: EXAMPLE_START + index * SCRAPE_INTERVAL,
      member: 'etcd-0',
      samples: new Map([[metric, [sample]]]),
    };
  });
}

/** Scrapes of a Go process that collects so many times a second, each time with a pause of so many seconds. */
export function collections(
  count: number,
  at: (seconds: number) => { readonly cycles: number; readonly pause: number },
): Scrape[] {
  let [cycles, paused] = [1000, 0.2];
  return Array.from({ length: count }, (_, index) => {
    const now = at((index * SCRAPE_INTERVAL) / 1e6);
    cycles += (now.cycles * SCRAPE_INTERVAL) / 1e6;
    paused += (now.cycles * now.pause * SCRAPE_INTERVAL) / 1e6;
    const sample: Sample = {
      labels: {},
      value: Number.NaN,
      ...PLAIN,
      sum: paused,
      count: Math.round(cycles),
      evidenceId: `etcd-0/go_gc_duration_seconds/${index}`,
    };
    return {
      type: 'scrape',
      atMicros: EXAMPLE_START + index * SCRAPE_INTERVAL,
      member: 'etcd-0',
      samples: new Map([['go_gc_duration_seconds', [sample]]]),
    };
  });
}

/** Attempts of one loop at the given seconds. */
export function attempts(seconds: readonly number[], more: Partial<Attempt> = {}): Attempt[] {
  return seconds.map((second, index) => ({
    type: 'attempt',
    atMicros: at(second),
    endMicros: at(second) + 10_000,
    operation: 'sync config',
    key: '/config/routes',
    form: 'roots',
    loop: more.key ?? '/config/routes',
    linkedTraces: [],
    failed: false,
    scale: null,
    writes: 1,
    failedWrites: 0,
    targets: ['config-store-0:2379'],
    traceId: `trace-${index}`,
    evidenceId: `attempt-${String(index).padStart(4, '0')}`,
    ...more,
  }));
}

/** Cells of 5 s with the share of requests that failed in each. */
export function requests(cells: number, perCell: number, errorShare: (seconds: number) => number): Requests[] {
  return Array.from({ length: cells }, (_, index) => {
    const errors = Math.round(perCell * errorShare(index * 5));
    return {
      type: 'requests',
      sinceMicros: at(index * 5),
      atMicros: at(index * 5 + 5),
      count: perCell,
      errors,
      scaledSpans: 0,
      scaledCount: 0,
      scaledErrors: 0,
      firstErrorMicros: errors ? at(index * 5 + 1) : null,
      lastErrorMicros: errors ? at(index * 5 + 4) : null,
      errorIds: errors ? [`error-${String(index).padStart(4, '0')}`] : [],
      etcdAnswers: new Map(),
    };
  });
}

export function inOrder(...items: readonly Item[][]): Item[] {
  return items.flat().sort((a, b) => a.atMicros - b.atMicros);
}

function metricAndLabels(name: string): { metric: string; labels: Record<string, string> } {
  const brace = name.indexOf('{');
  if (brace < 0) return { metric: name, labels: {} };
  const pairs = [...name.slice(brace).matchAll(/(\w+)="([^"]*)"/g)].map(
    ([, label, value]) => [label!, value!] as const,
  );
  return { metric: name.slice(0, brace), labels: Object.fromEntries(pairs) };
}
