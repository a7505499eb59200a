import test from 'ava';
import { clockOffsets, type Hop } from '../../services/correlate/clocks.js';

/** Calls of 40 ms with 5 ms of network each way; the callee's clock stands `offset` seconds from the caller's. */
const calls = (caller: string, callee: string, offset: number, more: Partial<Hop> = {}): Hop[] =>
  Array.from({ length: 20 }, (_, index) => {
    const sentMicros = index * 1_000_000;
    const shift = offset * 1_000_000;
    return {
      caller,
      callee,
      sentMicros,
      startedMicros: sentMicros + 5_000 + shift,
      endedMicros: sentMicros + 35_000 + shift,
      receivedMicros: sentMicros + 40_000,
      ...more,
    };
  });

const near = (offset: number | undefined, seconds: number) => Math.abs((offset ?? 0) - seconds * 1e6) < 60_000;

test('clocks that agree are not in the map', (t) => {
  t.is(clockOffsets([...calls('gateway', 'api', 0), ...calls('api', 'users', 0.004)]).size, 0);
});

test('a callee that starts before it was called has a clock behind, one that ends after its answer was received a clock ahead', (t) => {
  const hops = (offset: number) => [
    ...calls('gateway', 'api', 0),
    ...calls('gateway', 'users', 0),
    ...calls('gateway', 'orders', offset),
  ];
  t.true(near(clockOffsets(hops(-3)).get('orders'), -3));
  t.true(near(clockOffsets(hops(3)).get('orders'), 3));
  t.deepEqual([...clockOffsets(hops(3)).keys()], ['orders']);
});

test('offsets add up along calls', (t) => {
  const offsets = clockOffsets([
    ...calls('gateway', 'api', 0),
    ...calls('api', 'orders', 3),
    ...calls('orders', 'stock', -3),
  ]);
  t.true(near(offsets.get('orders'), 3));
  t.false(offsets.has('stock'));
});

test('callers that gave up before the answer say nothing of a clock', (t) => {
  const patient = calls('gateway', 'api', 0);
  const gaveUp = calls('gateway', 'api', 0)
    .slice(0, 2)
    .map((hop) => ({ ...hop, endedMicros: hop.sentMicros + 9_000_000 }));
  t.is(clockOffsets([...patient, ...gaveUp]).size, 0);
});

test('a few calls prove nothing, and no calls are no map', (t) => {
  t.is(clockOffsets(calls('gateway', 'api', 3).slice(0, 3)).size, 0);
  t.is(clockOffsets([]).size, 0);
});
