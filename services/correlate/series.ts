import { histogramQuantile } from '../../shared/robust.js';
import type { Input, Sample, Scrape } from './item.js';
import type { Reading } from './sustained.js';

/** How one metric of a member becomes a value to judge. */
export interface Series {
  readonly metric: string;
  readonly where?: Readonly<Record<string, string>>;
  /** Increase per second of a counter, change per second of a gauge, the gauge itself, or a quantile of a histogram's increase. */
  readonly as: 'rate' | 'slope' | 'gauge' | { readonly quantile: number };
  /** One fold a cluster (the greatest current value of its members: every member applies every write), or one a member. */
  readonly per: 'cluster' | 'member';
}

export interface SeriesState {
  /** The last scrapes of each member: one for rates, as many as a quantile's window needs. */
  readonly members: Map<string, MemberState>;
}

interface MemberState {
  history: { atMicros: number; sample: Combined }[];
  current: { atMicros: number; value: number; intervalMicros: number } | undefined;
  /** The last scrape before a gap that no reading has followed yet. */
  unknownSinceMicros: number | undefined;
  /** Between the last two scrapes. */
  intervalMicros: number;
}

/** The samples of one metric that a member exported at one time, added up over their labels. */
interface Combined {
  readonly value: number;
  readonly bounds: readonly number[] | null;
  readonly counts: readonly number[] | null;
  readonly evidenceId: string;
}

export interface MemberDetail {
  readonly member: string;
  /** What the counter or gauge stood at, and by how much it rose since the reading before. */
  readonly total: number;
  readonly increase: number;
}

/**
 * Beyond this a pair of scrapes says nothing about the time between: a gap is not a slow rise, and not a fall to zero. Below it a counter's increase
 * is a measurement, however rarely the member is scraped, of all that happened between: Prometheus looks back as far.
 */
const GAP_MICROS = 300_000_000;

/** A quantile needs this many observations, over at least this long; or the lesser ones where a quiet member has no more. */
const ENOUGH = { observations: 100, micros: 10_000_000 };
const LEAST = { observations: 20, micros: 30_000_000 };

export const seriesInput = ({ metric, where }: Series): Input => ({ of: 'series', metric, ...(where && { where }) });

export const startSeries = (): SeriesState => ({ members: new Map() });

/** The reading that a scrape gives; undefined where it gives none (no such metric, first scrape, reset, gap, too few observations). */
export function readSeries(series: Series, state: SeriesState, scrape: Scrape): Reading<MemberDetail> | undefined {
  const sample = combined(scrape.samples.get(series.metric), series.where);
  if (!sample) return undefined;
  const member = state.members.get(scrape.member) ?? {
    history: [],
    current: undefined,
    unknownSinceMicros: undefined,
    intervalMicros: Number.POSITIVE_INFINITY,
  };
  state.members.set(scrape.member, member);
  const before = member.history.at(-1);
  if (before && scrape.atMicros - before.atMicros > GAP_MICROS) {
    member.unknownSinceMicros ??= before.atMicros;
    member.history = [];
    member.current = undefined;
  }
  const judged = judge(series.as, member.history, scrape.atMicros, sample);
  remember(member, series.as, scrape.atMicros, sample);
  if (!before) return undefined;
  const lastInterval = member.intervalMicros;
  member.intervalMicros = scrape.atMicros - before.atMicros;
  if (!judged) return undefined;
  const unknownSinceMicros = unknownSince(series, state, member, before.atMicros);
  member.unknownSinceMicros = undefined;
  member.current = {
    atMicros: scrape.atMicros,
    value: judged.value,
    intervalMicros: Math.min(lastInterval, member.intervalMicros), // a hole is no interval by which to wait for the next scrape
  };
  return {
    atMicros: scrape.atMicros,
    sinceMicros: before.atMicros,
    ...(unknownSinceMicros !== undefined && { unknownSinceMicros }),
    value: series.per === 'cluster' ? greatestCurrent(state, scrape.atMicros) : judged.value,
    evidence: [{ table: 'metric_points', id: sample.evidenceId }],
    evidenceCount: 1,
    detail: { member: scrape.member, total: sample.value, increase: judged.increase },
  };
}

/** The last moment before a gap at which a member's value, or that of its cluster by another member, was known. */
function unknownSince(
  series: Series,
  state: SeriesState,
  member: MemberState,
  sinceMicros: number,
): number | undefined {
  if (member.unknownSinceMicros === undefined) return undefined;
  const others =
    series.per === 'cluster' ? [...state.members.values()].map(({ current }) => current?.atMicros ?? 0) : [];
  const known = Math.max(member.unknownSinceMicros, ...others);
  return known < sinceMicros ? known : undefined;
}

/** The sum over the matching label sets. */
export function combined(
  samples: readonly Sample[] | undefined,
  where: Readonly<Record<string, string>> = {},
): Combined | undefined {
  const matching = (samples ?? []).filter((sample) =>
    Object.entries(where).every(([label, value]) => sample.labels[label] === value),
  );
  const first = matching[0];
  if (!first) return undefined;
  return {
    value: matching.reduce((sum, sample) => sum + sample.value, 0),
    bounds: first.bounds,
    counts: first.counts?.map((_, i) => matching.reduce((sum, sample) => sum + (sample.counts?.[i] ?? 0), 0)) ?? null,
    evidenceId: first.evidenceId,
  };
}

function judge(
  as: Series['as'],
  history: MemberState['history'],
  atMicros: number,
  sample: Combined,
): { value: number; increase: number } | undefined {
  const before = history.at(-1);
  if (!before) return undefined;
  const seconds = (atMicros - before.atMicros) / 1e6;
  if (seconds <= 0) return undefined;
  const change = sample.value - before.sample.value;
  // A restarted member replays its WAL and counts those writes again: the first interval after a reset says nothing of the load.
  if (as === 'rate') return change < 0 ? undefined : finite({ value: change / seconds, increase: change });
  if (as === 'slope') return finite({ value: change / seconds, increase: change });
  if (as === 'gauge') return finite({ value: sample.value, increase: change });
  return quantileOverWindow(as.quantile, history, atMicros, sample);
}

function finite<T extends { value: number }>(judged: T): T | undefined {
  return Number.isFinite(judged.value) ? judged : undefined;
}

/** The quantile over the shortest trailing window that holds enough observations. */
function quantileOverWindow(q: number, history: MemberState['history'], atMicros: number, now: Combined) {
  if (!now.bounds || !now.counts) return undefined;
  for (let i = history.length - 1; i >= 0; i--) {
    const { atMicros: since, sample } = history[i]!;
    const counts = now.counts.map((count, bucket) => count - (sample.counts?.[bucket] ?? 0));
    if (counts.some((count) => count < 0)) return undefined; // a restart: buckets are never compared across it
    const observations = counts.reduce((sum, count) => sum + count, 0);
    const length = atMicros - since;
    const enough =
      (observations >= ENOUGH.observations && length >= ENOUGH.micros) ||
      (observations >= LEAST.observations && length >= LEAST.micros);
    if (enough) return finite({ value: histogramQuantile(now.bounds, counts, q), increase: observations });
  }
  return undefined;
}

function remember(member: MemberState, as: Series['as'], atMicros: number, sample: Combined): void {
  member.history.push({ atMicros, sample });
  if (typeof as === 'string') member.history = member.history.slice(-1);
  else {
    const reset = member.history.findLastIndex(({ sample: before }) =>
      before.counts?.some((count, i) => count > (sample.counts?.[i] ?? 0)),
    );
    const old = member.history.findLastIndex((entry) => atMicros - entry.atMicros > 2 * LEAST.micros);
    const drop = Math.max(reset + 1, old);
    if (drop > 0) member.history.splice(0, drop);
  }
}

/** The greatest value among members that were heard of lately: within two and a half of their own scrape intervals. */
function greatestCurrent(state: SeriesState, atMicros: number): number {
  let greatest = Number.NEGATIVE_INFINITY;
  for (const { current } of state.members.values())
    if (current && atMicros - current.atMicros <= 2.5 * current.intervalMicros)
      greatest = Math.max(greatest, current.value);
  return greatest;
}
