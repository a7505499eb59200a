import type { Link, Rival } from '../../shared/chain.js';
import { shared } from '../../shared/entity.js';
import type { Finding, Kind } from '../../shared/finding.js';
import { type Cause, figure } from './cause.js';
import { percent } from './figures.js';

/**
 * Kinds that rise together because one load drives them. There is no rule between them in either direction: what stands beside an
 * effect in time and follows the same load is named as such, and never as its cause.
 */
const COMMON_CAUSES: readonly { readonly kind: Kind; readonly beside: readonly Kind[] }[] = [
  // A put costs the heap its garbage and the log its bytes. Pauses take under 1 % of the time even in a storm, and fewer puts
  // on a slow disk mean less garbage, not more (recordings storm_nocompact_3.5.16, slowdisk_3.5.16).
  { kind: 'go.gc_pressure', beside: ['etcd.wal_growth', 'etcd.slow_fsync'] },
];

/** What went on beside either end of a link at the same time and has its cause in common with it. */
export function besideOf(
  [cause, effect]: readonly [Finding, Finding],
  findings: readonly Finding[],
  drivenBy: (finding: Finding) => readonly Link[],
): Rival[] {
  return COMMON_CAUSES.flatMap(({ kind, beside }) => {
    const end = [effect, cause].find((one) => beside.includes(one.kind));
    if (!end) return [];
    return findings
      .filter((one) => one.kind === kind && together(one, end))
      .map((one): Rival => {
        const load = [...new Set(drivenBy(one).map(({ causeKind }) => causeKind))].sort();
        const paused = figure(one, 'paused_share');
        return {
          causeFindingId: one.id,
          kind,
          subject: one.subject,
          rule: 'common-cause',
          outcome: 'COMMON_CAUSE',
          says: `${
            load.length > 0
              ? `it and ${end.kind} both follow the same load (${load.join(', ')})`
              : `it and ${end.kind} follow the load both, which is their common cause, and neither is the other's`
          }${paused === undefined ? '' : `; its pauses took ${percent(paused)} of the time`}`,
        };
      });
  });
}

function together(a: Finding, b: Finding): boolean {
  if (a.startedMicros > b.endedMicros || b.startedMicros > a.endedMicros) return false;
  return (shared('etcd', a.keys, b.keys)?.length ?? 0) > 0 && shared('instance', a.keys, b.keys)?.length !== 0;
}

/** A rule between two kinds that only have their cause in common would contradict it: a test asks this of every rule. */
export function contradicts({ from, to }: Cause): boolean {
  return COMMON_CAUSES.some(
    ({ kind, beside }) => (from === kind && beside.includes(to)) || (to === kind && beside.includes(from)),
  );
}
