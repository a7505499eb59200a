import { median } from '../../shared/robust.js';

/**
 * How often evidence of one scope comes, and when it stayed away for longer than that explains: a fold over the scope's moments in the order of time. What
 * is usual is read from what was before, so that later evidence changes nothing of it, and only so much is kept of it that a fold's state stays small.
 */

/** A scrape of a member, which may have had no answer; or what one minute holds of a service's spans. Microseconds. */
export interface Moment {
  readonly atMicros: number;
  /** The last evidence of the minute; of a scrape its own time. */
  readonly untilMicros: number;
  /** In how many seconds of the minute there was some. */
  readonly seconds: number;
  readonly answered: boolean;
}

/** A time without evidence that is longer than usual. */
export interface Hole {
  readonly fromMicros: number;
  readonly toMicros: number;
  /** Scrapes without an answer in it. */
  readonly failed: number;
  /** Scrapes that are missing, these included; null for spans, of which nobody knows how many there were. */
  readonly lost: number | null;
  readonly usualMicros: number | null;
}

/** A state is nothing but numbers and lists: it can be written down at a border and taken up there again. */
export interface Rhythm<State = unknown> {
  start(): State;
  step(state: State, moment: Moment): Hole[];
  /** What is open where the evidence ends. */
  end(state: State): Hole[];
}

/* ---- scrapes of a member ---- */

/**
 * A scrape is late, not missed, while its pause is below 1.75 of the member's usual ones or within 5 MAD of them, or when the scrapes after it make
 * up for it (a slow answer holds up the next one, and two then come at once). What is usual are the last 120 pauses: half an hour at 15 s.
 */
const MISSED = { intervals: 1.75, withTheNext: 2.6, spreads: 5, leastPauses: 4, pausesKept: 120 };

interface ScrapeState {
  pauses: number[];
  lastAttempt: number | null;
  /** The last answer; before the first one, the first attempt. */
  since: number | null;
  failed: number;
  lastFailed: number | null;
  /** An answer that came late: the one after it says whether it was made up for. */
  late: { readonly hole: Hole; readonly madeUpBefore: number } | null;
}

export const scrapeRhythm: Rhythm<ScrapeState> = {
  start: () => ({ pauses: [], lastAttempt: null, since: null, failed: 0, lastFailed: null, late: null }),

  step(state, { atMicros, answered }) {
    const holes = answered ? answer(state, atMicros) : [];
    if (!answered) fail(state, atMicros);
    if (state.lastAttempt !== null && atMicros > state.lastAttempt) state.pauses.push(atMicros - state.lastAttempt);
    if (state.pauses.length > MISSED.pausesKept) state.pauses.shift();
    state.lastAttempt = atMicros;
    return holes;
  },

  end(state) {
    const late = state.late ? [state.late.hole] : [];
    const open = state.failed > 0 && state.lastFailed! > state.since!;
    return open ? [...late, scrapeHole(state, state.lastFailed!)] : late;
  },
};

function fail(state: ScrapeState, atMicros: number): void {
  state.since ??= atMicros;
  state.failed += 1;
  state.lastFailed = atMicros;
}

function answer(state: ScrapeState, atMicros: number): Hole[] {
  const { late, since } = state;
  const holes = late && atMicros > late.madeUpBefore ? [late.hole] : [];
  state.late = null;
  if (since !== null && atMicros > since) {
    if (state.failed > 0) holes.push(scrapeHole(state, atMicros));
    else if (isLate(state.pauses, atMicros - since)) {
      const hole = scrapeHole(state, atMicros);
      state.late = { hole, madeUpBefore: since + MISSED.withTheNext * hole.usualMicros! };
    }
  }
  state.since = atMicros;
  state.failed = 0;
  state.lastFailed = null;
  return holes;
}

function isLate(pauses: readonly number[], pause: number): boolean {
  if (pauses.length < MISSED.leastPauses || pause <= MISSED.intervals * Math.min(...pauses)) return false;
  const usual = usualOf(pauses);
  const spread = usualOf(pauses.map((one) => Math.abs(one - usual)));
  return pause > Math.max(MISSED.intervals * usual, usual + MISSED.spreads * spread);
}

const usualOf = (pauses: readonly number[]): number => median(Float64Array.from(pauses).sort());

function scrapeHole({ pauses, since, failed }: ScrapeState, toMicros: number): Hole {
  const usualMicros = pauses.length < MISSED.leastPauses ? null : usualOf(pauses);
  const overdue = usualMicros === null ? 0 : Math.round((toMicros - since!) / usualMicros) - 1;
  return { fromMicros: since!, toMicros, failed, lost: Math.max(failed, overdue), usualMicros };
}

/* ---- spans of a service ---- */

/**
 * A service is silent when it pauses for more than a minute, and ten times as long as usual: at least half of the day before it, and half as much time
 * as the pause itself (or as a day), went by in pauses of a tenth or less. (Of spans that come by chance one pause in 20,000 is so long.) Time is
 * weighed, not pauses counted: a nightly batch is quiet all day, and is not silent then.
 */
const SILENT = { pauses: 10, leastMicros: 60_000_000 };

const HOUR_MICROS = 3_600_000_000;
const DAY_MICROS = 24 * HOUR_MICROS;

interface SpanState {
  until: number | null;
  /** By hour of a day: how much time went by in pauses of which length. */
  hours: { readonly hour: number; readonly spent: [length: number, micros: number][] }[];
}

export const spanRhythm: Rhythm<SpanState> = {
  start: () => ({ until: null, hours: [] }),

  step(state, { atMicros, untilMicros, seconds }) {
    const from = state.until;
    const holes: Hole[] = [];
    if (from !== null && atMicros > from) {
      if (isSilence(state, atMicros - from))
        holes.push({ fromMicros: from, toMicros: atMicros, failed: 0, lost: null, usualMicros: null });
      spend(state, atMicros, atMicros - from, atMicros - from);
    }
    if (seconds > 1) spend(state, untilMicros, (untilMicros - atMicros) / (seconds - 1), untilMicros - atMicros);
    state.until = Math.max(from ?? untilMicros, untilMicros);
    return holes;
  },

  end: () => [],
};

function isSilence({ hours }: SpanState, pause: number): boolean {
  if (pause <= SILENT.leastMicros) return false;
  const spent = hours.flatMap((one) => one.spent);
  const total = (some: typeof spent) => some.reduce((sum, [, micros]) => sum + micros, 0);
  const usual = total(spent.filter(([length]) => length * SILENT.pauses <= pause));
  return 2 * usual >= total(spent) && 2 * usual >= Math.min(pause, DAY_MICROS);
}

/** Adds to the hour in which the time ended, and forgets what was a day before. */
function spend(state: SpanState, atMicros: number, pause: number, micros: number): void {
  const hour = Math.floor(atMicros / HOUR_MICROS) * HOUR_MICROS;
  if (state.hours.at(-1)?.hour !== hour) {
    state.hours = state.hours.filter((one) => one.hour > hour - DAY_MICROS);
    state.hours.push({ hour, spent: [] });
  }
  const { spent } = state.hours.at(-1)!;
  const length = lengthOf(pause);
  const same = spent.find((one) => one[0] === length);
  if (same) same[1] += micros;
  else spent.push([length, micros]);
}

/** Lengths are told apart to a fifth, rounded up: a state holds a few for each hour. */
const LENGTHS = Array.from({ length: 140 }, (_, index) => 1000 * 1.2 ** index);

const lengthOf = (pause: number): number => LENGTHS.find((length) => length >= pause) ?? Number.MAX_VALUE;
