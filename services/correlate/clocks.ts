import { groupBy } from '../../shared/group.js';
import { median, quantile } from '../../shared/robust.js';

/** One call from one service to another, seen by both. Microseconds, each by its own host's clock. */
export interface Hop {
  readonly caller: string;
  readonly callee: string;
  readonly sentMicros: number;
  readonly startedMicros: number;
  readonly endedMicros: number;
  readonly receivedMicros: number;
}

export interface TracedHop extends Hop {
  readonly traceId: string;
}

/** Differences below this are the network's, not the clocks'. */
const LEAST_OFFSET_MICROS = 50_000;

/** Of this share of calls the bounds must hold: a caller that gave up receives before its callee ends, and that is no clock's fault. */
const BOUND_SHARE = 0.9;

const LEAST_HOPS = 5;

/**
 * How far each service's clock stands from the others', where calls between them show it: a callee cannot start before its caller sent, nor end after its
 * caller received. Positive is ahead. Services whose calls fit one clock, or that nobody calls, are not in the map. The reference is the median clock of
 * the services that call each other (a clock that is off is the exception).
 */
export function clockOffsets(hops: readonly Hop[]): ReadonlyMap<string, number> {
  const pairs = groupBy(hops, ({ caller, callee }) => `${caller}\n${callee}`);
  const between = new Map<string, Map<string, number>>();
  const note = (from: string, to: string, offset: number) => {
    const known = between.get(from) ?? new Map<string, number>();
    between.set(from, known.set(to, known.get(to) ?? offset));
  };
  for (const [pair, calls] of [...pairs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (calls.length < LEAST_HOPS) continue;
    const [caller, callee] = pair.split('\n') as [string, string];
    const offset = offsetOf(calls);
    note(caller, callee, offset);
    note(callee, caller, -offset);
  }
  return new Map([...components(between)].flatMap(aroundTheMedian));
}

/** The offset of the callee's clock from the caller's; 0 where the calls fit one clock. */
function offsetOf(calls: readonly Hop[]): number {
  const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);
  const atMost = quantile(sorted(calls.map((hop) => hop.startedMicros - hop.sentMicros)), BOUND_SHARE);
  const atLeast = quantile(sorted(calls.map((hop) => hop.endedMicros - hop.receivedMicros)), 1 - BOUND_SHARE);
  if (atLeast <= LEAST_OFFSET_MICROS && atMost >= -LEAST_OFFSET_MICROS) return 0;
  return Math.round((atLeast + atMost) / 2);
}

/** Services that call each other, each with its offset from the first of them. */
function* components(between: ReadonlyMap<string, ReadonlyMap<string, number>>): Generator<Map<string, number>> {
  const placed = new Set<string>();
  for (const first of [...between.keys()].sort()) {
    if (placed.has(first)) continue;
    const offsets = new Map([[first, 0]]);
    for (const [service, offset] of offsets)
      for (const [other, further] of [...between.get(service)!].sort(([a], [b]) => (a < b ? -1 : 1)))
        if (!offsets.has(other)) offsets.set(other, offset + further);
    for (const service of offsets.keys()) placed.add(service);
    yield offsets;
  }
}

function aroundTheMedian(offsets: ReadonlyMap<string, number>): [string, number][] {
  const middle = median([...offsets.values()].sort((a, b) => a - b));
  return [...offsets]
    .map(([service, offset]): [string, number] => [service, Math.round(offset - middle)])
    .filter(([, offset]) => Math.abs(offset) > LEAST_OFFSET_MICROS);
}
