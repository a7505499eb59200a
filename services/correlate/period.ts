import { median } from '../../shared/robust.js';

/** Enough passes to see a period, few enough that all their pairs can be looked at. */
const PASSES_LOOKED_AT = 200;

/** Retry pauses of practice: shorter ones are a tight loop, which its rate gives away; longer ones no storm. Seconds. */
const PERIOD = { least: 0.2, most: 120 };

/** How far pauses of one loop may differ, as a share: timers fire late by little, timers that are jittered on purpose by more. */
const JITTERS = [0.015, 0.05] as const;

/** So many passes must be followed by another one period later, and so many more than would be by chance at their rate. */
const LEAST_SHARE = 0.75;
const LEAST_ABOVE_CHANCE = 0.45;
const LEAST_JUDGED = 8;

/** A loop must have gone round so often in the time looked at: two passes and their echo are chance. */
const LEAST_ROUNDS = 4;

/**
 * The pause that loops have in common when their passes are mixed: the shortest lag after which nearly every pass is followed by another.
 * One goroutine a failure, each retrying every 3 s, shows no regular gap between passes, but a pass 3 s after each. Times in seconds, sorted;
 * undefined where no period stands out from chance (Poisson arrivals at the same rate).
 */
export function commonPeriod(times: readonly number[]): number | undefined {
  const looked = times.slice(0, PASSES_LOOKED_AT);
  const lags = lagsOf(looked);
  for (const jitter of JITTERS) {
    const period = mostCommonLag(looked, lags, jitter);
    if (period !== undefined && standsOut(looked, period, jitter)) return period;
  }
  return undefined;
}

function standsOut(times: readonly number[], period: number, jitter: number): boolean {
  const judged = times.filter((time) => time + period * (1 + jitter) <= times.at(-1)!);
  if (judged.length < LEAST_JUDGED) return false;
  const followed = judged.filter((time) => times.some((other) => Math.abs(other - time - period) <= jitter * period));
  const share = followed.length / judged.length;
  const chance = 1 - Math.exp(-rateOf(times) * 2 * jitter * period);
  return share >= LEAST_SHARE && share - chance >= LEAST_ABOVE_CHANCE;
}

function lagsOf(times: readonly number[]): number[] {
  const lags: number[] = [];
  const most = Math.min(PERIOD.most, ((times.at(-1) ?? 0) - (times[0] ?? 0)) / LEAST_ROUNDS);
  for (const [index, time] of times.entries())
    for (let later = index + 1; later < times.length; later++) {
      const lag = times[later]! - time;
      if (lag > most) break;
      if (lag >= PERIOD.least) lags.push(lag);
    }
  return lags.sort((a, b) => a - b);
}

const rateOf = (times: readonly number[]): number => (times.length - 1) / (times.at(-1)! - times[0]!);

/**
 * Of the windows of lags that hold nearly the most beyond what chance puts there, the one of the shortest lags: multiples of a period are as common
 * as the period, and windows of longer lags are wider.
 */
function mostCommonLag(times: readonly number[], lags: readonly number[], jitter: number): number | undefined {
  const rate = rateOf(times);
  const windows = lags.map((lag, from) => {
    const to = upperBound(lags, lag * (1 + 2 * jitter), from);
    const followed = upperBound(times, times.at(-1)! - lag, 0);
    return { from, to, excess: to - from - rate * 2 * jitter * lag * followed };
  });
  const most = Math.max(0, ...windows.map(({ excess }) => excess));
  const shortest = windows.find(({ excess }) => excess >= 0.8 * most);
  return shortest && most >= LEAST_JUDGED ? median(lags.slice(shortest.from, shortest.to)) : undefined;
}

/** The first index at or after `from` whose value exceeds `bound`. */
function upperBound(sorted: readonly number[], bound: number, from: number): number {
  let low = from;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
