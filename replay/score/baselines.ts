import { median, quantile } from '../../shared/robust.js';
import type { EntitySeries } from './series.js';

/**
 * Baseline 1: the entity of the series that strays furthest from its first third, in robust z (median and IQR).
 * It knows no moment of onset and no mechanism.
 */
export function largestRobustZ(series: readonly EntitySeries[]): string | undefined {
  const from = Math.floor((series[0]?.values.length ?? 0) / 3);
  return best(series, ({ values }) => robustScore(values, from, Math.abs));
}

/**
 * Baseline 2, after BARO (Pham, Ha, Zhang: "BARO: Robust Root Cause Analysis for Microservices via Multivariate
 * Bayesian Online Change Point Detection", FSE 2024): the change point of the services' latencies and error shares
 * together, then RobustScorer: every series is scored by the greatest (x - median) / IQR after it, median and IQR being
 * those before. Unlike BARO the dimensions of the change point's predictive distribution are taken as independent.
 */
export function barolike(series: readonly EntitySeries[]): string | undefined {
  const indicators = series.filter(
    ({ subject, measure }) => subject.startsWith('service:') && /server (?:error|latency)/.test(measure),
  );
  const change = changePoint(indicators.map(({ values }) => scaled(values)));
  if (change === undefined) return undefined;
  return best(series, ({ values }) => robustScore(values, change, (z) => z));
}

function best(series: readonly EntitySeries[], score: (one: EntitySeries) => number): string | undefined {
  let found: { subject: string; score: number } | undefined;
  for (const one of series) {
    const own = score(one);
    if (Number.isFinite(own) && (!found || own > found.score)) found = { subject: one.subject, score: own };
  }
  return found?.subject;
}

/** The greatest z after a moment; an IQR of 0 is taken as 1, as scikit-learn's RobustScaler does. */
function robustScore(values: readonly number[], from: number, of: (z: number) => number): number {
  const before = values
    .slice(0, from)
    .filter((value) => !Number.isNaN(value))
    .sort((a, b) => a - b);
  const after = values.slice(from).filter((value) => !Number.isNaN(value));
  if (before.length < 2 || after.length === 0) return Number.NaN;
  const spread = quantile(before, 0.75) - quantile(before, 0.25) || 1;
  return Math.max(...after.map((value) => of((value - median(before)) / spread)));
}

/** To 0..1, gaps filled with what was before them, as BARO does. */
function scaled(values: readonly number[]): number[] {
  const known = values.filter((value) => !Number.isNaN(value));
  const [least, most] = [Math.min(...known), Math.max(...known)];
  let last = 0;
  return values.map((value) => {
    if (!Number.isNaN(value)) last = most > least ? (value - least) / (most - least) : 0;
    return last;
  });
}

/** A change is expected so seldom, and is told after so many readings: BARO's hazard, and a lag for its 10 at 30 s. */
const HAZARD = 1 / 50;
const TOLD_AFTER = 3;

/** Bayesian online change point detection (Adams & MacKay 2007) with a Student-t predictive a dimension. */
function changePoint(dimensions: readonly (readonly number[])[]): number | undefined {
  const length = dimensions[0]?.length ?? 0;
  let runs = [1];
  let states = [dimensions.map(fresh)];
  let found: { at: number; probability: number } | undefined;
  for (let t = 0; t < length; t += 1) {
    const now = dimensions.map((values) => values[t]!);
    const likely = states.map((state) => Math.exp(state.reduce((sum, one, d) => sum + logPredictive(one, now[d]!), 0)));
    const grown = runs.map((probability, run) => probability * likely[run]! * (1 - HAZARD));
    const changed = runs.reduce((sum, probability, run) => sum + probability * likely[run]! * HAZARD, 0);
    const total = grown.reduce((sum, probability) => sum + probability, changed);
    runs = total > 0 ? [changed, ...grown].map((probability) => probability / total) : [1, ...grown.map(() => 0)];
    states = [dimensions.map(fresh), ...states.map((state) => state.map((one, d) => updated(one, now[d]!)))];
    const probability = runs[TOLD_AFTER] ?? 0;
    if (t > 2 * TOLD_AFTER && (!found || probability > found.probability))
      found = { at: t - TOLD_AFTER + 1, probability };
  }
  return found?.at;
}

/** Normal-gamma: mean, its weight, shape and rate. */
interface NormalGamma {
  readonly mean: number;
  readonly weight: number;
  readonly shape: number;
  readonly rate: number;
}

const fresh = (): NormalGamma => ({ mean: 0.3, weight: 1, shape: 1, rate: 0.01 });

function updated({ mean, weight, shape, rate }: NormalGamma, value: number): NormalGamma {
  return {
    mean: (weight * mean + value) / (weight + 1),
    weight: weight + 1,
    shape: shape + 0.5,
    rate: rate + (weight * (value - mean) ** 2) / (2 * (weight + 1)),
  };
}

/** log of Student's t with 2·shape degrees of freedom. */
function logPredictive({ mean, weight, shape, rate }: NormalGamma, value: number): number {
  const variance = (rate * (weight + 1)) / (shape * weight);
  const z = (value - mean) ** 2 / (2 * shape * variance);
  return (
    logGamma(shape + 0.5) -
    logGamma(shape) -
    0.5 * Math.log(2 * Math.PI * shape * variance) -
    (shape + 0.5) * Math.log1p(z)
  );
}

/** Stirling's series, shifted to where it is exact to 1e-8. */
function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  for (; at < 8; at += 1) shift -= Math.log(at);
  return shift + (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * at) - 1 / (360 * at ** 3);
}
