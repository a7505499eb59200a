import { entityType } from '../../shared/entity.js';
import { groupBy } from '../../shared/group.js';

/** A time for which evidence of a subject is missing: its absence then means nothing. */
export interface Gap {
  /** Entity key: the cluster whose member was not scraped, or the service whose spans are missing. */
  readonly subject: string;
  /** The member of a cluster; null for a service. */
  readonly member: string | null;
  readonly state: 'missed_scrapes' | 'member_down' | 'source_silent';
  readonly fromMicros: number;
  readonly toMicros: number;
}

/** What is missing of a subject between two moments (microseconds), in the order of time. */
export type Gaps = (subject: string, fromMicros: number, toMicros: number) => readonly Gap[];

/** Answers by subject and time. The order of `gaps` does not matter. */
export function gapsOf(gaps: readonly Gap[]): Gaps {
  const bySubject = new Map<string, Gap[]>();
  for (const gap of gaps.toSorted(byTime)) bySubject.set(gap.subject, [...(bySubject.get(gap.subject) ?? []), gap]);
  return (subject, from, to) =>
    (bySubject.get(subject) ?? []).filter((gap) => gap.fromMicros < to && gap.toMicros > from);
}

const byTime = (a: Gap, b: Gap): number =>
  a.fromMicros - b.fromMicros || a.toMicros - b.toMicros || ((a.member ?? '') < (b.member ?? '') ? -1 : 1);

/** How much of a time is missing of a service or a member, whose gaps never overlap. */
export function silentMicros(gaps: readonly Gap[], fromMicros: number, toMicros: number): number {
  return gaps.reduce(
    (sum, gap) => sum + Math.max(0, Math.min(gap.toMicros, toMicros) - Math.max(gap.fromMicros, fromMicros)),
    0,
  );
}

/** `spans of service:prod/api are missing from 02:03:05 to 02:07:00 UTC`; of many gaps of a subject, from the first to the last. */
export function whatIsMissing(gaps: readonly Gap[]): string {
  return [...groupBy(gaps, ({ subject }) => subject)].map(([subject, own]) => ofSubject(subject, own)).join(' and ');
}

function ofSubject(subject: string, gaps: readonly Gap[]): string {
  const members = [...new Set(gaps.flatMap(({ member }) => member ?? []))].sort();
  const from = Math.min(...gaps.map(({ fromMicros }) => fromMicros));
  const to = Math.max(...gaps.map(({ toMicros }) => toMicros));
  const who = members.length > 0 ? `${subject} (${members.join(', ')})` : subject;
  return `${WHAT[entityType(subject)] ?? 'evidence'} of ${who} are missing from ${clock(from)} to ${clock(to)} UTC`;
}

const WHAT: Readonly<Record<string, string>> = { etcd: 'scrapes', service: 'spans' };

const clock = (micros: number): string => new Date(micros / 1000).toISOString().slice(11, 19);
