import type { Act, Who } from './act.js';

/**
 * DeleteObjects names no key (S3 user guide, "CloudTrail logging of Delete Multiple Objects"). Where the service wrote records of its own for what it did
 * in the course of a call (AwsServiceEvent), they carry the call's request id, name the keys, and do not say who called: that is whoever made the call.
 */
export interface BulkCalls {
  /** Who made calls of DeleteObjects, by request id. */
  readonly callers: Map<string, { readonly who: Who; readonly atMicros: number }>;
  /** Deletions in the course of calls that have not come yet: within a second nothing is ordered. */
  waiting: Act[];
}

export const noCalls = (): BulkCalls => ({ callers: new Map(), waiting: [] });

/** A call and what was done in its course lie no further apart. */
const TOGETHER_MICROS = 60_000_000;

/** A deletion that the service recorded in the course of a call. */
const isInCourse = ({ request, key }: Act): boolean => request !== null && key !== null;

/** The acts that are due at this one, in the order of their coming: deletions in the course of a call as acts of its caller. One whose call is not in evidence stays the service's. */
export function attributed(calls: BulkCalls, act: Act): Act[] {
  const { callers, waiting } = calls;
  if (act.request === null && waiting.length === 0 && callers.size === 0) return [act]; // nearly always
  const isLate = ({ atMicros }: { atMicros: number }) => act.atMicros - atMicros > TOGETHER_MICROS;
  const due = waiting.filter(isLate);
  calls.waiting = waiting.filter((one) => !isLate(one));
  for (const [request, caller] of callers) if (isLate(caller)) callers.delete(request);
  const { request, who, atMicros, error } = act;
  if (request === null) return [...due, act];
  if (!isInCourse(act)) {
    if (error !== null) return [...due, act];
    callers.set(request, { who, atMicros });
    const course = calls.waiting.filter((one) => one.request === request);
    calls.waiting = calls.waiting.filter((one) => one.request !== request);
    return [...due, act, ...course.map((one) => ({ ...one, who }))];
  }
  const caller = callers.get(request);
  if (caller) return [...due, { ...act, who: caller.who }];
  calls.waiting.push(act);
  return due;
}
