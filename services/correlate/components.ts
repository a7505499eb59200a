import { micros } from '../../shared/duration.js';
import type { Finding, Kind } from '../../shared/finding.js';
import { causes } from './causes/index.js';

/** A stretch of event time, microseconds. */
export interface Interval {
  readonly fromMicros: number;
  readonly toMicros: number;
}

/** How long after its end a finding can still be part of a link, by the rules about its kind: as a cause, or as what a cause took away before. */
const REACHES = new Map<Kind, number>();
for (const { from, to, within, order } of causes) {
  const kind = order === 'none' ? to : from;
  REACHES.set(kind, Math.max(REACHES.get(kind) ?? 0, micros(within)));
}

/** The longest of them: so much earlier can a finding have ended that a link still joins with a later one. */
export const LONGEST_REACH = Math.max(...REACHES.values());

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
  return {
    fromMicros: finding.startedMicros - open,
    toMicros: finding.endedMicros + (REACHES.get(finding.kind) ?? 0) + open,
  };
}

export const meet = (a: Interval, b: Interval): boolean => a.fromMicros <= b.toMicros && b.fromMicros <= a.toMicros;
