import type { Duration } from '../../shared/duration.js';
import type { EntityType } from '../../shared/entity.js';
import type { Finding, FindingDraft, Kind } from '../../shared/finding.js';
import type { Gap, Gaps } from './gaps.js';

/** What a rule may ask beside the two findings. A pure function of the evidence. */
export interface Surroundings {
  /** etcd writes that spans show on a cluster between two moments (microseconds), by service: the greatest first. */
  writers(cluster: string, fromMicros: number, toMicros: number): readonly Writer[];
  /** Whether the members of a cluster export a metric. */
  exports(cluster: string, metric: string): boolean;
  /** The members of a cluster, by the names of their instances. */
  members(cluster: string): readonly string[];
  /** Those of them that have a finding of this kind between two moments (microseconds). */
  membersWith(kind: Kind, cluster: string, fromMicros: number, toMicros: number): readonly string[];
  /** How far a service's clock stood ahead of the others' at a moment (microseconds), where calls between them show it; else 0. */
  clockOffset(subject: string, atMicros: number): number;
  /** What evidence is missing of a cluster (scrapes) or a service (spans): where it is, absence proves nothing. */
  readonly gaps: Gaps;
}

export interface Writer {
  readonly service: string;
  readonly writesPerSecond: number;
  /** The share of it that exceeds what the service wrote before the interval. */
  readonly extraPerSecond: number;
  /** All its spans say how they were sampled. */
  readonly scaled: boolean;
}

/**
 * What a rule found of the mechanism between two findings. `undefined` refutes it.
 * `not_made` says which evidence was missing: such a link is INCONCLUSIVE.
 */
export interface Judgement {
  readonly outcome: 'passed' | 'not_made';
  /** One sentence with the numbers on both sides. */
  readonly says: string;
  /** The effect's own spans carry the cause's answer: that is order and identity at once. */
  readonly inTrace?: boolean;
  /** What shows which came first though both begin with one record: a sentence. */
  readonly ordered?: string;
}

/** A causal rule judges one pair; the engine proposes pairs by time and excludes those whose known keys conflict. */
export interface Cause {
  /** The file's name: `chain_links.rule`. */
  readonly rule: string;
  readonly version: number;
  readonly from: Kind;
  readonly to: Kind;
  /** How long after the cause's end the effect may still begin. */
  readonly within: Duration;
  /**
   * What both have in common: a type that both know must have a key in common (a common trace decides alone).
   * Without any the link is LIKELY at most.
   */
  readonly shared: readonly EntityType[];
  /** Why the one brings about the other, and where that is written. */
  readonly mechanism: string;
  /**
   * `proportional`: the effect's series rises and falls with the cause's, over some lag. Where the effect adds up what the cause does, its
   * detector measures the change a second. `none`: the effect is a threshold, or one of the two is a burst without a series.
   */
  readonly dose: 'proportional' | 'none';
  /**
   * What the cause is to the effect. A `condition` makes it possible and is no rival of what set it off; a `concealment` only hides it: it never
   * chooses a root. Without it the cause brings the effect about.
   */
  readonly role?: 'condition' | 'concealment';
  /** `any`: one type in common is enough, whatever the others say (an address or a principal). Else none may conflict. */
  readonly sharedBy?: 'any';
  /** `none`: the effect's interval lies before the cause by its nature (logs that were taken away), so that order counts as passed. */
  readonly order?: 'none';
  explain(cause: Finding, effect: Finding, surroundings: Surroundings): Judgement | Refuted;
  /** At least one pair that links and one that must not. */
  readonly examples: readonly CauseExample[];
}

/** The mechanism cannot have been at work: the sentence says why. */
export interface Refuted {
  readonly outcome: 'refuted';
  readonly says: string;
}

export interface CauseExample {
  readonly title: string;
  readonly cause: Partial<FindingDraft>;
  readonly effect: Partial<FindingDraft>;
  readonly writers?: readonly Writer[];
  readonly exports?: readonly string[];
  /** Members of the effect's cluster beside the one that it is about, all of them without a finding. */
  readonly healthyMembers?: readonly string[];
  /** What is missing of either subject. */
  readonly gaps?: readonly Gap[];
  readonly links: boolean;
}

export const passed = (says: string, inTrace = false): Judgement => ({
  outcome: 'passed',
  says,
  ...(inTrace && { inTrace }),
});
export const notMade = (says: string): Judgement => ({ outcome: 'not_made', says });
export const refuted = (says: string): Refuted => ({ outcome: 'refuted', says });

/** A figure that a finding measured; undefined where it has none. */
export function figure(finding: FindingDraft, name: string): number | undefined {
  const value = finding.measured[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** Failed requests of an error burst by what a cluster answered them. */
export function answersFrom(cluster: string, burst: FindingDraft): ReadonlyMap<string, number> {
  const answers = burst.measured['etcd_answers'];
  if (typeof answers !== 'object' || answers === null || Array.isArray(answers)) return new Map();
  return new Map(
    Object.entries(answers as Readonly<Record<string, number>>)
      .filter(([name]) => name.startsWith(`${cluster} `))
      .map(([name, count]) => [name.slice(cluster.length + 1), count]),
  );
}

/** Texts that a finding measured, one or several; none where it has none. */
export function texts({ measured }: FindingDraft, name: string): string[] {
  return [measured[name]].flat().filter((one): one is string => typeof one === 'string');
}
