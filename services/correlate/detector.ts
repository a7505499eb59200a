import type { FindingDraft, Kind } from '../../shared/finding.js';
import type { Gap } from './gaps.js';
import type { Input, Item } from './item.js';

/** What was known besides the items themselves. A pure function of the evidence, like everything a detector sees. */
export interface AsOf {
  /** The subject in the words of entity keys. */
  readonly subject: string;
  /** What an instance is part of, as an entity key: its etcd cluster, or its service. */
  readonly partOf?: string;
  /** When evidence of this subject begins: before it, silence means nothing. Microseconds. */
  readonly coveredFromMicros: number;
  /** What is missing of the subject, in the order of time: nothing is said of it then. */
  readonly gaps: readonly Gap[];
  /** The cluster that an address leads to, as an entity key. */
  clusterOf(target: string): string;
}

/**
 * A fold over one subject's items in the order of event time. `step` may update the state it was given (the engine never uses it again)
 * and returns the findings that closed; `end` returns those still open where the evidence ends.
 * A detector never queries, reads a clock, or keeps anything outside its state.
 */
export interface Detector<State = unknown> {
  readonly kind: Kind;
  /** Raised whenever the same evidence could give another finding: part of the ruleset. */
  readonly version: number;
  /** What it finds, in one sentence without a full stop: the catalogue in README is made of these. */
  readonly meaning: string;
  /** What the findings' subjects are. */
  readonly subject: SubjectType;
  /** Whose items it folds over, where that is not the subject itself: an address is found as a principal is, a principal in what a bucket saw. */
  readonly over?: readonly SubjectType[];
  readonly inputs: readonly Input[];
  start(): State;
  step(state: State, item: Item, asOf: AsOf): FindingDraft[];
  end(state: State, asOf: AsOf): FindingDraft[];
  /** At least one that fires and one near miss that must not. */
  readonly examples: readonly DetectorExample[];
}

export type SubjectType = 'etcd' | 'instance' | 'service' | 'principal' | 'ip' | 'bucket' | 'trail' | 'account';

/** Whether it folds over the items of subjects of this type. */
export const foldsOver = ({ subject, over }: Detector, type: SubjectType): boolean =>
  (over ?? [subject]).includes(type);

export interface DetectorExample {
  readonly title: string;
  readonly given: readonly Item[];
  readonly fires: boolean;
  /** Whose items these are, where it matters. */
  readonly subject?: string;
  /** For kinds that judge silence before the first item: when evidence began. */
  readonly coveredFromMicros?: number;
  /** What is missing of the subject. */
  readonly gaps?: readonly Gap[];
}

/** Hides the state's type: the engine keeps states of many detectors side by side. */
export function detector<State>(definition: Detector<State>): Detector {
  // oxlint-disable-next-line typescript/no-unnecessary-type-assertion -- Detector<State> is no Detector<unknown>: states go in and out
  return definition as unknown as Detector;
}
