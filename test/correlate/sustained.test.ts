import test from 'ava';
import fc from 'fast-check';
import { bursts, earliestStart, type Happening } from '../../services/correlate/burst.js';
import type { Detector } from '../../services/correlate/detector.js';
import { etcdLeaderLost } from '../../services/correlate/detectors/etcd-leader-lost.js';
import { etcdPutSurge } from '../../services/correlate/detectors/etcd-put-surge.js';
import { etcdQuotaExhausted } from '../../services/correlate/detectors/etcd-quota-exhausted.js';
import { retryStorm } from '../../services/correlate/detectors/retry-storm.js';
import { foldAll } from '../../services/correlate/engine.js';
import { attempts, counter, EXAMPLE_START, inOrder, scrapes } from '../../services/correlate/examples.js';
import type { Item, Scrape } from '../../services/correlate/item.js';
import { readSeries, type Series, startSeries } from '../../services/correlate/series.js';
import { type Limits, type Reading, type Run, sustainedRuns } from '../../services/correlate/sustained.js';
import type { Finding } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { Chance } from '../helpers/story.js';

const LIMITS: Limits = {
  baseline: { over: '15m', least: '45s' },
  deviations: 6,
  floor: { absolute: 0.2, relative: 0.03 },
  atLeast: '10s',
  quietGap: '1m',
  maxExtent: '6h',
};

const second = 1_000_000;

function reading(atSeconds: number, value: number, sinceSeconds = atSeconds - 5): Reading {
  return {
    atMicros: atSeconds * second,
    sinceMicros: sinceSeconds * second,
    value,
    evidence: [{ table: 'metric_points', id: `at ${atSeconds}` }],
    evidenceCount: 1,
    detail: undefined,
  };
}

/** A reading every 5 s. */
const every5 = (from: number, to: number, value: (at: number) => number): Reading[] =>
  Array.from({ length: (to - from) / 5 }, (_, index) => reading(from + index * 5, value(from + index * 5)));

function runsOf(readings: readonly Reading[], limits: Partial<Limits> = {}): Run[] {
  const { start, step, end } = sustainedRuns<unknown>({ ...LIMITS, ...limits });
  const state = start();
  return [...readings.flatMap((one) => step(state, one)), ...end(state)];
}

const seconds = ({ startedMicros, endedMicros }: Run) => [startedMicros / second, endedMicros / second];

test('a step is seen for as long as it lasts, against the baseline of before its onset', (t) => {
  const halfAnHour = every5(0, 2400, (at) => (at >= 300 && at < 2100 ? 45 : 20));
  const [run, ...others] = runsOf(halfAnHour);
  t.deepEqual(others, []);
  t.deepEqual(seconds(run!), [295, 2095]);
  t.is(run!.baseline?.median, 20);
  t.is(run!.mean, 45);
});

test('an onset lies between the last reading that was normal and the first that was not', (t) => {
  const [run] = runsOf(every5(0, 300, (at) => (at >= 200 ? 45 : 20)));
  t.is(run!.startedMicros, 195 * second);
  t.is(run!.startedByMicros, 200 * second);
});

test('one reading outside is noise: it makes no run and joins the baseline', (t) => {
  t.deepEqual(runsOf(every5(0, 300, (at) => (at === 200 ? 400 : 20))), []);
  const [run] = runsOf(every5(0, 300, (at) => (at === 100 ? 400 : at >= 200 ? 45 : 20)));
  t.is(run!.baseline?.values, 40);
});

test('a small shift that stays is a deviation too', (t) => {
  t.is(runsOf(every5(0, 600, (at) => (at >= 300 ? 24 : 20))).length, 1);
  t.is(runsOf(every5(0, 600, (at) => (at >= 300 ? 21 : 20))).length, 0, 'but not inside the noise');
});

test('a baseline shorter than its least is marked, and two readings are none', (t) => {
  const short = runsOf([...every5(0, 30, () => 20), ...every5(30, 100, () => 45)]);
  t.true(short[0]!.baseline!.short);
  const long = runsOf([...every5(0, 50, () => 20), ...every5(50, 100, () => 45)]);
  t.false(long[0]!.baseline!.short);
  t.deepEqual(runsOf([...every5(0, 10, () => 20), ...every5(10, 20, () => 45)]), []);
});

test('what stands in a run is no baseline for the next one', (t) => {
  const twice = runsOf(every5(0, 900, (at) => ((at >= 200 && at < 400) || at >= 600 ? 45 : 20)));
  t.deepEqual(
    twice.map(({ baseline }) => baseline?.median),
    [20, 20],
  );
});

test('a pause shorter than the quiet gap does not part a run, a longer one does', (t) => {
  const paused = (length: number) =>
    runsOf(every5(0, 600, (at) => (at >= 200 && (at < 300 || at >= 300 + length) ? 45 : 20)));
  t.is(paused(50).length, 1);
  t.is(paused(90).length, 2);
});

test('a time without readings is not quiet: the reading after it says that the run went on', (t) => {
  const before = [...every5(0, 200, () => 20), ...every5(200, 260, () => 45)];
  const [run, ...others] = runsOf([...before, reading(355, 45, 255), ...every5(360, 400, () => 45)]);
  t.deepEqual(others, []);
  t.deepEqual(seconds(run!), [195, 395]);
});

test('a time without readings after which all is normal ends a run where it was last seen', (t) => {
  const before = [...every5(0, 200, () => 20), ...every5(200, 260, () => 45)];
  const runs = runsOf([...before, reading(355, 20, 255), ...every5(360, 400, () => 20)]);
  t.deepEqual(runs.map(seconds), [[195, 255]]);
});

test('a scrape interval as long as the quiet gap still shows a run', (t) => {
  const slow = Array.from({ length: 20 }, (_, index) => reading(index * 61, index < 12 ? 20 : 45, (index - 1) * 61));
  t.deepEqual(runsOf(slow).map(seconds), [[11 * 61, 19 * 61]]);
});

test('a run is cut at its greatest extent, says that it continues, and leaves nothing out', (t) => {
  const pieces = runsOf(
    every5(0, 2000, (at) => (at >= 100 ? 45 : 20)),
    { maxExtent: '10m' },
  );
  t.deepEqual(
    pieces.map(({ cut, continues }) => [cut, continues]),
    [
      [0, true],
      [1, true],
      [2, true],
      [3, false],
    ],
  );
  for (const [index, piece] of pieces.slice(1).entries()) t.is(piece.startedMicros, pieces[index]!.endedMicros);
  t.true(pieces.every(({ baseline }) => baseline?.median === 20));
});

test('a reading that is no number says nothing', (t) => {
  const readings = every5(0, 300, (at) => (at >= 200 ? 45 : at === 60 || at === 250 ? Number.NaN : 20));
  const [run] = runsOf(readings);
  t.deepEqual(seconds(run!), [195, 295]);
  t.is(run!.baseline?.median, 20);
});

test('runs never begin together, however far back their first readings reach', (t) => {
  const readings = fc.array(
    fc.record({
      step: fc.integer({ min: 1, max: 40 }),
      back: fc.integer({ min: 1, max: 300 }),
      value: fc.constantFrom(20, 20, 20, 45, Number.NaN),
    }),
    { minLength: 60, maxLength: 200 },
  );
  fc.assert(
    fc.property(readings, (drawn) => {
      let at = 0;
      const calm = every5(0, 100, () => 20);
      const wild = drawn.map(({ step, back, value }) => {
        at += step;
        return reading(100 + at, value, 100 + at - back);
      });
      const runs = runsOf([...calm, ...wild]);
      const onsets = runs.map(({ startedMicros, cut }) => `${Math.floor(startedMicros / (10 * second))} ${cut}`);
      return new Set(onsets).size === onsets.length && runs.every((run) => run.startedMicros <= run.startedByMicros);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

const PUTS: Series = { metric: 'puts', as: 'rate', per: 'cluster' };

const scrape = (member: string, at: number, value: number): Scrape => ({
  type: 'scrape',
  atMicros: at * second,
  member,
  samples: new Map([
    [
      'puts',
      [{ labels: {}, value, bounds: null, counts: null, sum: null, count: null, evidenceId: `${member} ${at}` }],
    ],
  ]),
});

function ratesOf(scrapes: readonly Scrape[]): (number | undefined)[] {
  const state = startSeries();
  return scrapes.map((one) => readSeries(PUTS, state, one)?.value);
}

test('a counter that starts again says nothing of the time before, and is read on from there', (t) => {
  t.deepEqual(ratesOf([scrape('a', 0, 100), scrape('a', 10, 200), scrape('a', 20, 50), scrape('a', 30, 150)]), [
    undefined,
    10,
    undefined,
    10,
  ]);
});

test('a gap is neither a slow rise nor a fall to zero', (t) => {
  t.deepEqual(ratesOf([scrape('a', 0, 100), scrape('a', 10, 200), scrape('a', 400, 300), scrape('a', 410, 400)]), [
    undefined,
    10,
    undefined,
    10,
  ]);
});

test('a point without a value says nothing, and nothing of the pair after it', (t) => {
  const values = [100, 200, Number.NaN, 400, 500];
  t.deepEqual(ratesOf(values.map((value, index) => scrape('a', index * 10, value))), [
    undefined,
    10,
    undefined,
    undefined,
    10,
  ]);
});

test("a cluster's rate is its members' greatest, and a member that is gone counts no longer", (t) => {
  const rates = ratesOf([
    ...[0, 5, 10].flatMap((at) => [scrape('a', at, at * 20), scrape('b', at + 1, at * 10)]),
    ...[15, 20, 25, 30].map((at) => scrape('b', at + 1, at * 10)),
  ]);
  t.deepEqual(rates.slice(2), [20, 20, 20, 20, 20, 20, 10, 10]);
});

interface Seen extends Happening {
  readonly sinceMicros: number;
}

const seen = (at: number, since = at - 5): Seen => ({
  atMicros: at * second,
  endMicros: at * second,
  sinceMicros: since * second,
});

function burstsOf(happenings: readonly Seen[]) {
  const { start, step, end } = bursts<Seen>({ quietGap: '1m', maxExtent: '10m' });
  const state = start();
  return [...happenings.flatMap((one) => step(state, one)), ...end(state)];
}

test('happenings within the quiet gap are one burst, and the burst is cut at its greatest extent', (t) => {
  t.deepEqual(
    burstsOf([seen(0), seen(50), seen(100), seen(200)]).map(({ happenings }) => happenings.length),
    [3, 1],
  );
  const long = burstsOf(Array.from({ length: 30 }, (_, index) => seen(index * 50)));
  t.deepEqual(
    long.map(({ cut, continues }) => [cut, continues]),
    [
      [0, true],
      [1, true],
      [2, false],
    ],
  );
});

test('a witness that comes back late does not move its burst onto the one that was told before', (t) => {
  const [first, late] = burstsOf([seen(1000), seen(1600, 995)]);
  t.is(earliestStart(first!), 995 * second);
  t.is(earliestStart(late!), 1060 * second);
});

function foundBy(detector: Detector, items: readonly Item[]): Finding[] {
  const asOf = { subject: 'etcd:a', coveredFromMicros: EXAMPLE_START, gaps: [], clusterOf: () => 'etcd:a' };
  return foldAll([detector], items, asOf, sha256);
}

const LEADER = (s: number) => ({
  etcd_server_has_leader: 1,
  etcd_server_leader_changes_seen_total: s < 100 ? 1 : 2,
});

test('the old leader that froze for ten minutes tells of its loss again, and that has an id of its own', (t) => {
  const frozen = scrapes(160, LEADER, 'b').filter(
    ({ atMicros }) => atMicros < EXAMPLE_START + 97 * second || atMicros > EXAMPLE_START + 700 * second,
  );
  const findings = foundBy(etcdLeaderLost, inOrder(scrapes(160, LEADER, 'a'), frozen));
  t.is(findings.length, 2);
  t.is(new Set(findings.map(({ id }) => id)).size, 2);
  t.true(findings[1]!.startedMicros > findings[0]!.endedMicros);
});

test('a member that comes back from a surge of before does not repeat its finding', (t) => {
  const values = (s: number) => ({ etcd_mvcc_put_total: counter(s, { before: 20, after: 400, from: 100, to: 130 }) });
  const away = scrapes(100, values, 'b').filter(
    ({ atMicros }) => atMicros < EXAMPLE_START + 102 * second || atMicros > EXAMPLE_START + 260 * second,
  );
  const findings = foundBy(etcdPutSurge, inOrder(scrapes(100, values, 'a'), away));
  t.is(new Set(findings.map(({ id }) => id)).size, findings.length);
});

test('a member that died, and left points without values, lost no leader and refused no put', (t) => {
  const dies = (s: number, value: number) => (s > 50 && s < 80 ? Number.NaN : value);
  const given = scrapes(30, (s) => ({
    etcd_server_has_leader: dies(s, 1),
    etcd_server_leader_changes_seen_total: dies(s, 1),
    etcd_mvcc_db_total_size_in_bytes: 32e6,
    etcd_server_quota_backend_bytes: 33_554_432,
    'grpc_server_handled_total{grpc_code="ResourceExhausted",grpc_method="Put"}': dies(s, 1437),
  }));
  t.deepEqual(foundBy(etcdLeaderLost, given), []);
  t.deepEqual(foundBy(etcdQuotaExhausted, given), []);
});

const every3 = Array.from({ length: 40 }, (_, index) => 120 + index * 3);

test('two loops of one service that begin together are two findings', (t) => {
  const findings = foundBy(
    retryStorm,
    inOrder(
      attempts(every3, { operation: 'sync', key: 'config routes' }),
      attempts(every3, { operation: 'sync config', key: 'routes' }),
    ),
  );
  t.is(new Set(findings.map(({ id }) => id)).size, 2);
});

test('steady work is no storm, however rare it is and however few of its spans are kept', (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const chance = new Chance(seed);
    let seconds = 0;
    const times = Array.from({ length: 150 }, () => {
      seconds -= 20 * Math.log(1 - chance.next()); // an hour of Poisson arrivals, one in 20 s
      return seconds;
    });
    for (const scale of [1, 10, 100]) t.deepEqual(foundBy(retryStorm, attempts(times, { scale })), []);
  }
});

test('a loop whose passes each link to the pass before is a storm', (t) => {
  const chained = every3.flatMap((at, index) =>
    attempts([at], {
      form: 'linked roots',
      loop: `trace-${index - 1}:span`,
      linkedTraces: [`trace-${index - 1}`],
      traceId: `trace-${index}`,
      evidenceId: `pass-${index}`,
    }),
  );
  t.is(foundBy(retryStorm, chained).length, 1);
});

test('a loop of a service that was watched for a moment only has a short baseline', (t) => {
  const asOf = {
    subject: 'service:sync',
    coveredFromMicros: EXAMPLE_START + 100 * second,
    gaps: [],
    clusterOf: () => 'etcd:a',
  };
  const [short] = foldAll([retryStorm], attempts(every3), asOf, sha256);
  t.true(short!.shortBaseline);
  const [long] = foldAll([retryStorm], attempts(every3), { ...asOf, coveredFromMicros: EXAMPLE_START }, sha256);
  t.false(long!.shortBaseline);
});
