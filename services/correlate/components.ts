import { micros } from '../../shared/duration.js';
import type { Finding } from '../../shared/finding.js';
import { causes } from './causes/index.js';

/** A stretch of event time, microseconds. */
export interface Interval {
  readonly fromMicros: number;
  readonly toMicros: number;
}

/** The longest that an effect may begin after its cause's end, by any rule. */
const LONGEST_WITHIN = Math.max(...causes.map(({ within }) => micros(within)));

/** Onsets are intervals, of the length of a scrape's gap at most, and clocks differ by less. */
const SLACK = micros('10m');

/**
 * Groups of findings that no rule can join: between two of them is more time than any link spans. So judging a group by itself is judging everything,
 * and a commit judges anew only the groups that it reaches.
 */
export function componentsOf(findings: readonly Finding[]): Finding[][] {
  const groups: Finding[][] = [];
  let until = Number.NEGATIVE_INFINITY;
  const inOrder = findings
    .map((finding) => ({ finding, ...reachOf(finding) }))
    .sort((a, b) => a.fromMicros - b.fromMicros || (a.finding.id < b.finding.id ? -1 : 1));
  for (const { finding, fromMicros, toMicros } of inOrder) {
    if (fromMicros > until) groups.push([]);
    groups.at(-1)!.push(finding);
    until = Math.max(until, toMicros);
  }
  return groups;
}

/** The time in which a finding can be cause or effect of another. */
export function reachOf(finding: Finding): Interval {
  const open = finding.startedByMicros - finding.startedMicros + (finding.unseenMicros ?? 0) + SLACK;
  return { fromMicros: finding.startedMicros - open, toMicros: finding.endedMicros + LONGEST_WITHIN + open };
}

export const meet = (a: Interval, b: Interval): boolean => a.fromMicros <= b.toMicros && b.fromMicros <= a.toMicros;
