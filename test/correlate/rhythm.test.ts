import test from 'ava';
import { nameOf } from '../../services/correlate/name-gap.js';
import { type Hole, type Moment, type Rhythm, scrapeRhythm, spanRhythm } from '../../services/correlate/rhythm.js';

const HOUR = 3600;

const scrape = (second: number, answered = true): Moment => ({
  atMicros: second * 1e6,
  untilMicros: second * 1e6,
  seconds: 1,
  answered,
});

/** A minute with a span in every second. */
const busy = (minute: number): Moment => ({
  atMicros: minute * 60e6,
  untilMicros: minute * 60e6 + 59e6,
  seconds: 60,
  answered: true,
});

const times = (from: number, to: number, every: number): number[] =>
  Array.from({ length: Math.floor((to - from) / every) + 1 }, (_, index) => from + index * every);

/** Holes as `<from> <to>` in seconds. */
function holesIn<State>(rhythm: Rhythm<State>, moments: readonly Moment[]): string[] {
  const state = rhythm.start();
  const holes = [...moments.flatMap((moment) => rhythm.step(state, moment)), ...rhythm.end(state)];
  return holes.map(({ fromMicros, toMicros }) => `${fromMicros / 1e6} ${toMicros / 1e6}`);
}

/** Minutes of some days in which a service is busy, by the hours of the day. */
const days = (count: number, isBusy: (hour: number, day: number) => boolean): Moment[] =>
  times(0, count * 24 * 60 - 1, 1).flatMap((minute) =>
    isBusy(Math.floor(minute / 60) % 24, Math.floor(minute / 60 / 24)) ? [busy(minute)] : [],
  );

test('a member is judged by how it was scraped before, and a later pace says nothing of earlier', (t) => {
  const fast = times(0, 300, 5);
  const slow = times(360, 3600, 60);
  t.deepEqual(
    holesIn(
      scrapeRhythm,
      [...fast, ...slow].map((s) => scrape(s)),
    ).at(0),
    '300 360',
  );
  t.deepEqual(
    holesIn(
      scrapeRhythm,
      slow.map((s) => scrape(s)),
    ),
    [],
  );
});

test('the first scrapes of a member say nothing of its pace yet, but failed ones are missed at once', (t) => {
  t.deepEqual(holesIn(scrapeRhythm, [scrape(0), scrape(5), scrape(60)]), []);
  t.deepEqual(holesIn(scrapeRhythm, [scrape(0, false), scrape(5), scrape(10, false)]), ['0 5', '5 10']);
});

test('a service that rests every night is silent in the first one only: then nobody knows yet that it is one of many', (t) => {
  const rests = holesIn(
    spanRhythm,
    days(4, (hour) => hour >= 8 && hour < 18),
  );
  t.deepEqual(rests, [`${18 * HOUR - 1} ${32 * HOUR}`]);
});

test('a service that always works is silent when it rests for an hour', (t) => {
  const rests = holesIn(
    spanRhythm,
    days(4, (hour, day) => !(day === 3 && hour === 12)),
  );
  t.deepEqual(rests, [`${84 * HOUR - 1} ${85 * HOUR}`]);
});

test('a nightly batch is quiet all day, and that is no silence', (t) => {
  t.deepEqual(
    holesIn(
      spanRhythm,
      days(4, (hour) => hour === 2),
    ),
    [],
  );
});

test('what is kept of a scope does not grow with its history, and forgets what is a day old', (t) => {
  const stateAfter = (from: number) => {
    const state = spanRhythm.start();
    for (const minute of times(from, 5 * 24 * 60, 1)) spanRhythm.step(state, busy(minute));
    return JSON.stringify(state);
  };
  t.is(stateAfter(0), stateAfter(2 * 24 * 60));
  t.true(stateAfter(0).length < 4_000);
});

const hole = (lost: number | null, failed = 0): Hole => ({
  fromMicros: 0,
  toMicros: 90e6,
  failed,
  lost,
  usualMicros: 15e6,
});

test('a hole is called by how much is missing and by what went on meanwhile', (t) => {
  const [alone, peers, others] = [
    { othersAnswered: false, othersGoOn: false },
    { othersAnswered: true, othersGoOn: true },
    { othersAnswered: false, othersGoOn: true },
  ];
  t.is(nameOf(hole(3), alone)?.state, 'missed_scrapes');
  t.is(nameOf(hole(5), peers)?.state, 'member_down');
  t.is(nameOf(hole(5, 5), alone)?.state, 'member_down');
  t.is(nameOf(hole(5), others)?.state, 'source_silent');
  t.is(nameOf(hole(null), others)?.state, 'source_silent');
  t.is(nameOf(hole(null), alone), null);
  t.is(
    nameOf(hole(5), peers)?.reason,
    'nothing from this member for 90.0 s, while other members of its cluster were scraped; usually one every 15.0 s',
  );
});
