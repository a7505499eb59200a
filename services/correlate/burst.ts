import { type Duration, micros } from '../../shared/duration.js';

/** Something that happened at a moment and is a deviation by itself: a refused put, a failed download. */
export interface Happening {
  readonly atMicros: number;
  readonly endMicros: number;
}

/** Happenings that follow each other within the quiet gap, cut at the greatest extent. */
export interface Burst<H extends Happening> {
  readonly happenings: readonly H[];
  readonly startedMicros: number;
  readonly endedMicros: number;
  /** It cannot have begun before: then it would be part of the burst before it. */
  readonly notBeforeMicros: number;
  readonly cut: number;
  readonly continues: boolean;
}

export interface BurstState<H extends Happening> {
  open: { happenings: H[]; endMicros: number; notBeforeMicros: number; cut: number } | undefined;
  notBeforeMicros: number;
}

/** Groups happenings into bursts: one finding a burst, not one a happening. */
export function bursts<H extends Happening>(limits: { readonly quietGap: Duration; readonly maxExtent: Duration }) {
  const quietGap = micros(limits.quietGap);
  const maxExtent = micros(limits.maxExtent);

  const close = (state: BurstState<H>, continues: boolean): Burst<H>[] => {
    const open = state.open;
    state.open = undefined;
    if (!open) return [];
    state.notBeforeMicros = open.endMicros + (continues ? 0 : quietGap);
    return [
      {
        happenings: open.happenings,
        startedMicros: open.happenings[0]!.atMicros,
        endedMicros: open.endMicros,
        notBeforeMicros: open.notBeforeMicros,
        cut: open.cut,
        continues,
      },
    ];
  };

  return {
    start: (): BurstState<H> => ({ open: undefined, notBeforeMicros: Number.NEGATIVE_INFINITY }),
    step(state: BurstState<H>, happening: H): Burst<H>[] {
      const { open } = state;
      const quiet = open && happening.atMicros - open.endMicros > quietGap;
      const tooLong = open && !quiet && happening.atMicros - open.happenings[0]!.atMicros >= maxExtent;
      const closed = quiet || tooLong ? close(state, tooLong === true) : [];
      if (state.open) {
        state.open.happenings.push(happening);
        state.open.endMicros = Math.max(state.open.endMicros, happening.endMicros);
      } else {
        const { notBeforeMicros } = state;
        const cut = tooLong ? open.cut + 1 : 0;
        state.open = { happenings: [happening], endMicros: happening.endMicros, notBeforeMicros, cut };
      }
      return closed;
    },
    end: (state: BurstState<H>): Burst<H>[] => close(state, false),
  };
}

/** So many happenings are each member's first, in any cluster of a usual size. */
const FIRST_WITNESSES = 8;

/**
 * The earliest moment at which a burst can have begun, by those who saw it first: each says since when it had seen
 * nothing.
 */
export function earliestStart(burst: Burst<Happening & { readonly sinceMicros: number }>): number {
  const since = burst.happenings.slice(0, FIRST_WITNESSES).map(({ sinceMicros }) => sinceMicros);
  return Math.max(burst.notBeforeMicros, Math.min(...since));
}
