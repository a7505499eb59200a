import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { doseTest, following, seriesOf } from '../../services/correlate/dose.js';
import type { Finding, Point } from '../../shared/finding.js';
import { at, finding } from '../helpers/findings.js';

/** A series of 10 s cells from ten minutes before to ten after, with the value that stands there so many seconds after the onset. */
function series(value: (seconds: number, index: number) => number): Point[] {
  return Array.from({ length: 120 }, (_, index) => [at(10 * index - 600), value(10 * index - 600, index)]);
}

/** Small, and the same each time. */
const noise = (index: number): number => ((index * 0.618) % 1) - 0.5;

const during = (from: number, to: number, seconds: number): number => (seconds >= from && seconds < to ? 1 : 0);

function run(id: string, from: number, to: number, points: readonly Point[]): Finding {
  return finding(id, 'etcd.put_surge', from, { endedMicros: at(to), series: points });
}

const cause = run(
  'cause',
  0,
  300,
  series((s, i) => 20 + noise(i) + 30 * during(0, 300, s) + 10 * during(100, 150, s)),
);
const follows = series((s, i) => 900 + 5 * noise(i + 7) + 400 * during(10, 310, s) + 130 * during(110, 160, s));

test('an effect of the same shape follows, some seconds later', (t) => {
  const found = following(cause, run('effect', 10, 310, follows))!;
  t.true(found.correlation > 0.95);
  t.is(found.lagMicros, 10_000_000);
  t.is(doseTest(cause, run('effect', 10, 310, follows)).outcome, 'passed');
});

test('an effect that comes and goes at other times does not', (t) => {
  const elsewhen = series((s, i) => 900 + noise(i) + 400 * during(380, 600, s));
  t.is(doseTest(cause, run('effect', 380, 600, elsewhen)).outcome, 'failed');
});

test('of two causes the one whose shape the effect has follows better', (t) => {
  const other = run(
    'other',
    0,
    90,
    series((s, i) => 5 + noise(i + 3) + 30 * during(0, 90, s)),
  );
  const effect = run('effect', 10, 310, follows);
  t.true(following(cause, effect)!.correlation > following(other, effect)!.correlation + 0.25);
});

test('one spike in an effect does not unmake it', (t) => {
  const spiked = follows.map(([time, value], index): Point => [time, index === 30 ? 1e6 : value]);
  t.true(following(cause, run('effect', 10, 310, spiked))!.correlation > 0.9);
});

test('too few points in common, no series, or one that does not move: the test could not be made', (t) => {
  const short = cause.series!.slice(58, 64);
  const still = cause.series!.map(([time]): Point => [time, 7]);
  for (const effect of [
    run('effect', 10, 310, short),
    run('effect', 10, 310, still),
    { ...cause, series: undefined },
  ] as Finding[])
    t.is(doseTest(cause, effect).outcome, 'not_made');
});

test('scales, units and a shift of both in time change nothing', (t) => {
  const effect = run('effect', 10, 310, follows);
  const plain = following(cause, effect)!;
  const moved = (one: Finding, factor: number, plus: number, by: number): Finding => ({
    ...one,
    startedMicros: one.startedMicros + by,
    endedMicros: one.endedMicros + by,
    series: one.series!.map(([time, value]) => [time + by, value * factor + plus]),
  });
  fc.assert(
    fc.property(
      fc.double({ min: 0.01, max: 1000, noNaN: true }),
      fc.double({ min: -1000, max: 1000, noNaN: true }),
      fc.integer({ min: -500, max: 500 }),
      (factor, plus, cells) => {
        const by = cells * 10_000_000;
        const found = following(moved(cause, factor, plus, by), moved(effect, 1 / factor, -plus, by))!;
        assert.ok(Math.abs(found.correlation - plain.correlation) <= 0.002);
        assert.equal(found.lagMicros, plain.lagMicros);
      },
    ),
    { numRuns: 100 },
  );
  t.pass();
});

test('the order in which values came does not matter, and six hours keep to 360 points', (t) => {
  const value = fc.record({
    atMicros: fc.integer({ min: 0, max: 22_500 }).map((second) => at(second)),
    value: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(value, { maxLength: 600 }), fc.nat(), (values, turn) => {
      const places = turn % Math.max(1, values.length);
      const points = seriesOf(values);
      assert.deepEqual(seriesOf([...values.slice(places), ...values.slice(0, places)].reverse()), points);
      assert.ok(points.length <= 360);
      assert.ok(points.every(([time]) => time % 10_000_000 === 0));
    }),
    { numRuns: 100 },
  );
  t.pass();
});
