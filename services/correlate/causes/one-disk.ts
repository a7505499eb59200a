import { humanMicros, micros } from '../../../shared/duration.js';
import type { Finding } from '../../../shared/finding.js';
import type { Surroundings } from '../cause.js';
import { silentMicros, whatIsMissing } from '../gaps.js';

/** Members that bear the same load slow down within this time of each other, if the load is what slows them. */
const TOGETHER = micros('2m');

/** A disk that a new load is too much for shows it by now; one that stood it longer may have failed by itself. */
const STOOD_IT = micros('30s');

/**
 * Why a slow disk may be its own cause beside a load that all members bear: others stay fast under it, or the only one stood it for a while.
 * undefined where neither speaks for that. Every member writes every entry to its log, so a load alone does not single one out.
 */
export function diskOfItsOwn(load: Finding, slow: Finding, surroundings: Surroundings): string | undefined {
  const members = surroundings.members(slow.subject);
  const [from, to] = [slow.startedMicros - TOGETHER, slow.startedByMicros + TOGETHER];
  const slowToo = surroundings.membersWith(slow.kind, slow.subject, from, to);
  const gaps = surroundings.gaps(slow.subject, from, to);
  const gapsOf = (member: string) => gaps.filter((gap) => gap.member === member);
  const others = members.filter((member) => member !== slow.member && !slowToo.includes(member));
  const fast = others.filter((member) => silentMicros(gapsOf(member), from, to) <= (to - from) / 2);
  if (fast.length > 0)
    return `${fast.join(', ')} bear the same log and stay fast, so a weaker disk of ${String(slow.member)} cannot be excluded`;
  if (others.length > 0 && !slowToo.some((member) => member !== slow.member))
    return `${whatIsMissing(others.flatMap(gapsOf))}, so whether all that bear the log slowed was not seen`;
  const stood = slow.startedMicros - load.startedByMicros;
  if (members.length <= 1 && stood > STOOD_IT)
    return `the disk bore the load for ${humanMicros(stood)} before it slowed, so that it failed by itself cannot be excluded`;
  return undefined;
}
