import type { Kind } from './finding.js';

export type Verdict = 'CONFIRMED' | 'LIKELY' | 'INCONCLUSIVE';

/** One test that a cause must pass. `tolerated` is order within the clocks' uncertainty, or identity that nothing contradicts and nothing shows. */
export interface Test {
  readonly test: 'mechanism' | 'deviation' | 'order' | 'identity' | 'dose';
  readonly outcome: 'passed' | 'tolerated' | 'not_made' | 'failed';
  /** One sentence with the numbers. */
  readonly says: string;
  /** Of dose: the correlation of the two series. */
  readonly value?: number;
}

/** Another finding that could have caused the same effect, and what speaks for or against it. */
export interface Rival {
  readonly causeFindingId: string;
  readonly kind: Kind;
  readonly subject: string;
  readonly rule: string;
  /** COMMON_CAUSE: what drives the effect drives this one too, and neither brings about the other. */
  readonly outcome: Verdict | 'REFUTED' | 'COMMON_CAUSE';
  readonly says: string;
}

export interface Link {
  readonly rule: string;
  readonly causeFindingId: string;
  readonly effectFindingId: string;
  readonly causeKind: Kind;
  readonly effectKind: Kind;
  readonly lagMs: number;
  readonly verdict: Verdict;
  readonly confidence: number;
  readonly mechanism: string;
  /** A condition made the effect possible, a concealment only hid it; without it the cause brought the effect about. */
  readonly role?: 'condition' | 'concealment';
  readonly tests: readonly Test[];
  readonly rivals: readonly Rival[];
}

/** One root finding and all that it reaches over accepted links. */
export interface Chain {
  readonly id: string;
  readonly rootFindingId: string;
  readonly rootKind: Kind;
  readonly impactFindingId: string;
  readonly impactKind: Kind;
  readonly members: readonly string[];
  readonly links: readonly Link[];
  readonly startedMicros: number;
  readonly endedMicros: number;
  readonly verdict: Verdict;
  readonly confidence: number;
  readonly title: string;
  readonly summary: string;
  /** Members later than 24 h after the root's onset were left out. */
  readonly continues: boolean;
}
