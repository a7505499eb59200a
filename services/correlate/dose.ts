import type { Test } from '../../shared/chain.js';
import { humanMicros } from '../../shared/duration.js';
import type { Finding, Point } from '../../shared/finding.js';
import { median } from '../../shared/robust.js';
import { round } from './figures.js';
import type { Value } from './sustained.js';

const GRID_MICROS = 10_000_000;
const MOST_POINTS = 360;

/** A run shorter than this is compared with as much of the time before it, so that the step itself weighs. */
const LEAST_SPAN_MICROS = 30_000_000;

/** How far an effect's series may trail its cause's. */
const MOST_LAG_MICROS = 60_000_000;

/** Fewer pairs say nothing, and some must be of before the onset and some of after it. */
const LEAST_PAIRS = 8;
const LEAST_EACH_SIDE = 3;

/** The share of values that is drawn in at each end. */
const DRAWN_IN = 0.1;

/** From here on the effect follows the cause; below the second figure it clearly does not. */
const FOLLOWS = 0.5;
const CONTRADICTS = 0.2;

/**
 * The means of cells of 10 s, aligned to the epoch; the cells double until there are at most 360. A point stands at its cell's beginning.
 * The order of the values does not matter.
 */
export function seriesOf(values: readonly Value[]): Point[] {
  const known = values
    .filter(({ value }) => Number.isFinite(value))
    .map(({ atMicros, value }): Point => [atMicros, value])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  for (let width = GRID_MICROS; ; width *= 2) {
    const cells = onGrid(known, width);
    if (cells.size <= MOST_POINTS) return [...cells].map(([cell, mean]) => [cell * width, round(mean)]);
  }
}

function onGrid(points: readonly Point[], width: number): Map<number, number> {
  const sums = new Map<number, { sum: number; n: number }>();
  for (const [atMicros, value] of points) {
    const cell = Math.floor(atMicros / width);
    const { sum, n } = sums.get(cell) ?? { sum: 0, n: 0 };
    sums.set(cell, { sum: sum + value, n: n + 1 });
  }
  return new Map([...sums].map(([cell, { sum, n }]) => [cell, Number((sum / n).toPrecision(12))]));
}

export interface Following {
  /** From -1 to 1. */
  readonly correlation: number;
  readonly lagMicros: number;
  readonly pairs: number;
  readonly stepMicros: number;
}

type Dosed = Pick<Finding, 'startedMicros' | 'endedMicros' | 'series'>;

/**
 * How far the size and the shape of an effect follow those of its cause: the greatest 10 %-Winsorized correlation (Wilcox, "Introduction to
 * Robust Estimation and Hypothesis Testing", 9.3) of what exceeds the level before, over lags from one step before to a minute after. Points
 * stand at the end of what was measured, hence the step before. Both ends of each series are drawn in, so that no single spike makes or breaks it.
 * Shifting or scaling a series changes nothing. undefined where too few points overlap, or one series does not move.
 */
export function following(cause: Dosed, effect: Dosed): Following | undefined {
  if (!cause.series || !effect.series) return undefined;
  const from = Math.min(cause.startedMicros, effect.startedMicros);
  const to = Math.max(cause.endedMicros, effect.endedMicros);
  const span = Math.max(LEAST_SPAN_MICROS, to - from);
  const near = (series: readonly Point[]) =>
    excess(
      series.filter(([at]) => at >= from - span && at <= to + span),
      from,
    );
  const [xs, ys] = [near(cause.series), near(effect.series)];
  const stepMicros = commonStep(xs, ys);
  const causes = onGrid(xs, stepMicros);
  const effects = onGrid(ys, stepMicros);
  let best: Following | undefined;
  for (let lag = 0; lag <= Math.max(1, Math.floor(MOST_LAG_MICROS / stepMicros)); lag++)
    for (const signed of lag === 1 ? [1, -1] : [lag]) {
      const pairs = pairsAt(causes, effects, signed);
      const before = pairs.filter(({ cell }) => cell * stepMicros < from).length;
      if (pairs.length < LEAST_PAIRS || Math.min(before, pairs.length - before) < LEAST_EACH_SIDE) continue;
      const correlation = winsorizedCorrelation(
        pairs.map(({ x }) => x),
        pairs.map(({ y }) => y),
      );
      if (correlation !== undefined && (!best || correlation > best.correlation))
        best = { correlation, lagMicros: signed * stepMicros, pairs: pairs.length, stepMicros };
    }
  return best;
}

/** What exceeds the level before the onset: that puts stop altogether when a quota is reached is no part of their surge. */
function excess(points: readonly Point[], from: number): Point[] {
  const before = points.flatMap(([at, value]) => (at < from ? value : [])).sort((a, b) => a - b);
  const level = median(before);
  return points.map(([at, value]) => [at, Math.max(0, value - level)]);
}

/** A step of the grid in which the coarser of two series usually has a point. */
function commonStep(a: readonly Point[], b: readonly Point[]): number {
  const usual = (points: readonly Point[]) =>
    median(
      points
        .slice(1)
        .map(([at], index) => at - points[index]![0])
        .sort((x, y) => x - y),
    );
  const least = Math.max(usual(a), usual(b));
  let step = GRID_MICROS;
  while (step < least) step *= 2;
  return step;
}

function pairsAt(causes: ReadonlyMap<number, number>, effects: ReadonlyMap<number, number>, lag: number) {
  return [...causes].flatMap(([cell, x]) => {
    const y = effects.get(cell + lag);
    return y === undefined ? [] : { cell, x, y };
  });
}

function winsorizedCorrelation(xs: readonly number[], ys: readonly number[]): number | undefined {
  const [x, y] = [drawnIn(xs), drawnIn(ys)];
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  if (new Set(x).size < 2 || new Set(y).size < 2) return undefined;
  const [mx, my] = [mean(x), mean(y)];
  const product = (a: readonly number[], ma: number, b: readonly number[], mb: number) =>
    a.reduce((sum, value, i) => sum + (value - ma) * (b[i]! - mb), 0);
  const spread = Math.sqrt(product(x, mx, x, mx) * product(y, my, y, my));
  return Number((product(x, mx, y, my) / spread).toFixed(3));
}

function drawnIn(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  const cut = Math.floor(DRAWN_IN * values.length);
  const [least, most] = [sorted[cut]!, sorted[sorted.length - 1 - cut]!];
  return values.map((value) => Math.min(most, Math.max(least, value)));
}

/** The test beside mechanism, deviation, order and identity. That it could not be made speaks neither for nor against a link. */
export function doseTest(cause: Finding, effect: Finding): Test {
  const found = following(cause, effect);
  if (!found)
    return { test: 'dose', outcome: 'not_made', says: 'their series overlap in too few points to compare them' };
  const { correlation, lagMicros, pairs, stepMicros } = found;
  const [outcome, how] =
    correlation >= FOLLOWS
      ? (['passed', 'follows it'] as const)
      : correlation >= CONTRADICTS
        ? (['tolerated', 'follows it weakly'] as const)
        : (['failed', 'does not follow it'] as const);
  return {
    test: 'dose',
    outcome,
    says: `${effect.kind} ${how}: correlation ${correlation.toFixed(2)} over ${pairs} points of ${humanMicros(stepMicros)}${
      lagMicros === 0 ? '' : `, ${humanMicros(Math.abs(lagMicros))} ${lagMicros > 0 ? 'after' : 'before'}`
    }`,
    value: correlation,
  };
}
