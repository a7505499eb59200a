import type { Gap } from './gaps.js';
import type { Hole } from './rhythm.js';

/** What went on in the middle third of a hole. */
export interface Beside {
  /** Other members of the same service were scraped. */
  readonly othersAnswered: boolean;
  /** There is evidence of anything else. */
  readonly othersGoOn: boolean;
}

/** What a hole comes to: a state of coverage, and why in words. */
export interface Named {
  readonly state: Gap['state'];
  readonly reason: string;
}

/** Scrapes that are missing one by one; more are no longer isolated. */
const FEW = 3;

/** Null where nothing else went on either, as far as is known: that is no gap. */
export function nameOf(hole: Hole, beside: Beside | undefined): Named | null {
  const state = stateOf(hole, beside);
  return state && { state, reason: `${reasonOf(hole, state)}${usually(hole)}` };
}

function stateOf({ lost, failed }: Hole, beside: Beside | undefined): Gap['state'] | null {
  if (lost !== null && lost <= FEW) return 'missed_scrapes';
  if (lost !== null && (failed > 0 || beside?.othersAnswered)) return 'member_down';
  return beside?.othersGoOn ? 'source_silent' : null;
}

function reasonOf({ fromMicros, toMicros, lost, failed }: Hole, state: Gap['state']): string {
  const length = seconds(toMicros - fromMicros);
  if (state === 'missed_scrapes') return `${lost} ${lost === 1 ? 'scrape is' : 'scrapes are'} missing`;
  if (state === 'source_silent') return `nothing for ${length}, while other evidence goes on`;
  const how = failed > 0 ? `${failed} scrapes had no answer` : 'while other members of its cluster were scraped';
  return `nothing from this member for ${length}, ${how}`;
}

const usually = ({ usualMicros }: Hole): string => (usualMicros ? `; usually one every ${seconds(usualMicros)}` : '');

const seconds = (micros: number): string => `${(micros / 1e6).toFixed(1)} s`;
