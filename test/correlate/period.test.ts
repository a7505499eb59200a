import test from 'ava';
import { random } from '../../replay/generate/random.js';
import { commonPeriod } from '../../services/correlate/period.js';

/** Passes of loops that begin at the given seconds and go round every `period` seconds. */
const loops = (starts: readonly number[], period: number, rounds: number): number[] =>
  starts.flatMap((start) => Array.from({ length: rounds }, (_, round) => start + round * period)).sort((a, b) => a - b);

test('one loop has the period of its passes', (t) => {
  const period = commonPeriod(loops([0], 3, 20));
  t.true(Math.abs(period! - 3) < 0.05);
});

test('twenty loops that began apart still show the pause that each keeps', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const { between } = random(seed);
    const starts = Array.from({ length: 20 }, () => between(0, 3));
    t.true(Math.abs(commonPeriod(loops(starts, 3, 20))! - 3) < 0.05, `seed ${seed}`);
  }
});

test('a period is not mistaken for one of its multiples', (t) => {
  t.true(commonPeriod(loops([0, 0.4, 1.1], 2, 30))! < 2.1);
});

test('arrivals at random have none', (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const { wait } = random(seed);
    const times: number[] = [];
    for (let at = 0; at < 120; at += wait(0.5 + seed / 10)) times.push(at);
    t.is(commonPeriod(times), undefined, `seed ${seed}`);
  }
});

test('a handful of passes proves nothing', (t) => {
  t.is(commonPeriod([0, 3, 6]), undefined);
  t.is(commonPeriod([]), undefined);
});
