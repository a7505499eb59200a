import { type Duration, micros } from '../../shared/duration.js';
import type { EvidenceRef } from '../../shared/finding.js';
import { median, scaledMad } from '../../shared/robust.js';

/** One judged value of a series, with the evidence behind it. */
export interface Reading<Detail = unknown> {
  readonly atMicros: number;
  /** The previous moment at which the value was known: what is read at `atMicros` began after it. */
  readonly sinceMicros: number;
  /** Where evidence was missing before `sinceMicros`: the last moment at which the value was known. What is read may have begun then. */
  readonly unknownSinceMicros?: number;
  readonly value: number;
  /** Noise of this very reading (e.g. of a share of few requests), in the value's unit. */
  readonly noise?: number;
  readonly evidence: readonly Evidence[];
  readonly evidenceCount: number;
  readonly detail: Detail;
}

export type Evidence = Pick<EvidenceRef, 'table' | 'id'>;

export interface Limits {
  /** The baseline: how far it looks back, and the least it must span for a proof. Fewer than LEAST_VALUES readings are no baseline at all. */
  readonly baseline: { readonly over: Duration; readonly least: Duration };
  /** A reading deviates when it exceeds the baseline's median by so many times the noise. */
  readonly deviations: number;
  /** Noise is never taken as less: `absolute` in the value's unit, `relative` as a share of the median. */
  readonly floor: { readonly absolute: number; readonly relative: number };
  /** How long readings must stay out before the run counts. */
  readonly atLeast: Duration;
  /** … or how much evidence makes a run at once, however short. */
  readonly orEvidence?: number;
  readonly quietGap: Duration;
  readonly maxExtent: Duration;
  /** A fixed level instead of a baseline. */
  readonly above?: number;
}

export interface Baseline {
  readonly median: number;
  readonly noise: number;
  readonly spanMicros: number;
  readonly values: number;
  readonly short: boolean;
}

/** A stretch of readings that left the baseline and stayed out. */
export interface Run<Detail = unknown> {
  readonly startedMicros: number;
  readonly startedByMicros: number;
  readonly endedMicros: number;
  readonly peak: Reading<Detail>;
  /** Mean over time of the readings that stayed out. */
  readonly mean: number;
  readonly readings: readonly Reading<Detail>[];
  /** All that was read before the onset and since, what fell back inside the noise included. */
  readonly values: readonly Value[];
  readonly baseline: Baseline | null;
  readonly cut: number;
  readonly continues: boolean;
}

export interface Value {
  readonly atMicros: number;
  readonly value: number;
}

export interface SustainedState<Detail = unknown> {
  before: Value[];
  open: Open<Detail> | undefined;
  /** No run can have begun before: then it would be part of the one before it. */
  notBeforeMicros: number;
}

interface Open<Detail> {
  readings: Reading<Detail>[];
  lastOut: number;
  baseline: Baseline | null;
  fired: boolean;
  cut: number;
  /** Readings inside the baseline's noise since the last one outside, and those before it. */
  inside: Value[];
  insideBefore: Value[];
}

/** Fewer readings than this are no baseline: a median of two says nothing. */
export const LEAST_VALUES = 3;

/** A run that goes on after a time without evidence is the same run, up to this length: such a time is not quiet. */
const LONGEST_UNKNOWN = micros('5m');

/**
 * Finds runs that leave their baseline and stay out. The baseline is the median and the scaled MAD of the readings before the onset
 * and is frozen there: a rolling median would absorb the step. A run closes when its readings have been quiet for `quietGap`:
 * a time without readings is not quiet when the reading that ends it, which speaks of all that time, is still out.
 * A reading that is no number says nothing.
 */
export function sustainedRuns<Detail>(limits: Limits) {
  const over = micros(limits.baseline.over);
  const least = micros(limits.baseline.least);
  const atLeast = micros(limits.atLeast);
  const quietGap = micros(limits.quietGap);
  const maxExtent = micros(limits.maxExtent);

  function start(): SustainedState<Detail> {
    return { before: [], open: undefined, notBeforeMicros: Number.NEGATIVE_INFINITY };
  }

  function step(state: SustainedState<Detail>, reading: Reading<Detail>): Run<Detail>[] {
    if (Number.isNaN(reading.value)) return [];
    const closed = state.open && isOver(state.open, reading) ? close(state) : [];
    if (state.open) return [...closed, ...extend(state, state.open, reading)];
    forget(state, reading.atMicros);
    const baseline = baselineOf(state.before, reading.value);
    if (isOut(reading, baseline))
      state.open = {
        readings: [reading],
        lastOut: reading.atMicros,
        baseline,
        fired: false,
        cut: 0,
        inside: [],
        insideBefore: [],
      };
    else state.before.push({ atMicros: reading.atMicros, value: reading.value });
    if (state.open && hasFired(state.open)) state.open.fired = true;
    return closed;
  }

  function isOver(open: Open<Detail>, reading: Reading<Detail>): boolean {
    const quietUntil = isOut(reading, open.baseline) ? heldSince(reading) : reading.atMicros;
    return quietUntil - open.lastOut > quietGap;
  }

  function extend(state: SustainedState<Detail>, open: Open<Detail>, reading: Reading<Detail>): Run<Detail>[] {
    if (!isOut(reading, open.baseline)) {
      open.inside.push({ atMicros: reading.atMicros, value: reading.value });
      if (!open.fired) abandon(state, open);
      return [];
    }
    open.insideBefore.push(...open.inside);
    open.inside = [];
    open.readings.push(reading);
    open.lastOut = reading.atMicros;
    open.fired ||= hasFired(open);
    if (reading.atMicros - open.readings[0]!.sinceMicros < maxExtent) return [];
    const cut = runOf(state, open, true);
    state.open = { ...open, readings: [], cut: open.cut + 1, inside: [], insideBefore: [] };
    return cut ? [cut] : [];
  }

  /** A spike that did not stay out was noise after all: it joins the baseline. */
  function abandon(state: SustainedState<Detail>, open: Open<Detail>): void {
    if (limits.above === undefined)
      for (const { atMicros, value } of open.readings) state.before.push({ atMicros, value });
    state.before.push(...open.inside);
    state.open = undefined;
  }

  function close(state: SustainedState<Detail>): Run<Detail>[] {
    const open = state.open!;
    if (!open.fired) {
      abandon(state, open);
      return [];
    }
    const run = runOf(state, open, false);
    state.before.push(...open.inside);
    state.open = undefined;
    state.notBeforeMicros = open.lastOut + quietGap;
    return run ? [run] : [];
  }

  function end(state: SustainedState<Detail>): Run<Detail>[] {
    return state.open ? close(state) : [];
  }

  function runOf(state: SustainedState<Detail>, open: Open<Detail>, continues: boolean): Run<Detail> | undefined {
    if (!open.fired || open.readings.length === 0) return undefined;
    const first = open.readings[0]!;
    const last = open.readings.at(-1)!;
    return {
      startedMicros: open.cut > 0 ? first.sinceMicros : Math.max(earliest(first), state.notBeforeMicros),
      startedByMicros: first.atMicros,
      endedMicros: last.atMicros,
      peak: open.readings.reduce((peak, reading) => (reading.value > peak.value ? reading : peak)),
      mean: meanOverTime(open.readings),
      readings: open.readings,
      values: [...state.before, ...open.readings, ...open.insideBefore, ...open.inside],
      baseline: open.baseline,
      cut: open.cut,
      continues,
    };
  }

  function hasFired(open: Open<Detail>): boolean {
    const { orEvidence } = limits;
    if (
      orEvidence !== undefined &&
      open.readings.reduce((sum, reading) => sum + reading.evidenceCount, 0) >= orEvidence
    )
      return true;
    return open.lastOut - open.readings[0]!.sinceMicros >= atLeast && open.readings.length >= 2;
  }

  function forget(state: SustainedState<Detail>, atMicros: number): void {
    const old = state.before.findIndex((value) => atMicros - value.atMicros <= over);
    if (old > 0) state.before.splice(0, old);
    else if (old < 0) state.before.length = 0;
  }

  /** The baseline where the value could be outside it: within the floors of the noise no deviation need be measured, and most values are. */
  function baselineOf(before: readonly Value[], value: number): Baseline | null {
    if (limits.above !== undefined || before.length < LEAST_VALUES) return null;
    const sorted = sortedValues(before);
    const center = median(sorted);
    const floor = Math.max(limits.floor.absolute, limits.floor.relative * Math.abs(center));
    if (value <= center + limits.deviations * floor) return null;
    const noise = Math.max(scaledMad(sorted, center), floor);
    const spanMicros = before.at(-1)!.atMicros - before[0]!.atMicros;
    return { median: center, noise, spanMicros, values: before.length, short: spanMicros < least };
  }

  function isOut(reading: Reading<Detail>, baseline: Baseline | null): boolean {
    if (limits.above !== undefined) return reading.value > limits.above;
    if (!baseline) return false;
    return reading.value > baseline.median + limits.deviations * Math.max(baseline.noise, reading.noise ?? 0);
  }

  return { start, step, end };
}

/** A Float64Array sorts by value, without a comparison of ours: several times as fast. */
function sortedValues(before: readonly { readonly value: number }[]): Float64Array {
  return Float64Array.from(before, ({ value }) => value).sort();
}

const earliest = (reading: Reading): number => reading.unknownSinceMicros ?? reading.sinceMicros;

/** Since when a reading that is out may have been out. */
function heldSince(reading: Reading): number {
  return reading.sinceMicros - earliest(reading) <= LONGEST_UNKNOWN ? earliest(reading) : reading.sinceMicros;
}

function meanOverTime(readings: readonly Reading[]): number {
  let weighted = 0;
  let total = 0;
  for (const reading of readings) {
    const length = reading.atMicros - reading.sinceMicros;
    weighted += reading.value * length;
    total += length;
  }
  return total > 0 ? weighted / total : readings[0]!.value;
}
