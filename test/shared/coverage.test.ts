import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { correlate } from '../../services/correlate/index.js';
import { emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { event, point, rows, span, temporaryFolder, value } from '../helpers/store.js';
import { Chance, shuffled } from '../helpers/story.js';

/** One record of a night, at so many seconds after 02:00. */
type Seen = { readonly second: number } & (
  | { readonly scrape: string; readonly cluster?: string; readonly flags?: ['no_recorded_value'] }
  | { readonly failed: string }
  | { readonly span: string; readonly dropped?: number; readonly scale?: number }
  | { readonly event: string }
);

const micros = (second: number): bigint => BigInt(Math.round(second * 1e6));
const nanos = (second: number): bigint => (1_772_330_400_000_000n + micros(second)) * 1000n;

async function commit(store: Store, seen: readonly Seen[]): Promise<void> {
  const batch = emptyBatch();
  const sourceId = 'a file';
  for (const one of seen) {
    const time = nanos(one.second);
    if ('scrape' in one)
      for (const metric of ['etcd_mvcc_put_total', 'etcd_server_has_leader']) {
        const own = { timeUnixNano: time, service: one.cluster ?? 'store', instance: one.scrape };
        batch.metrics.push({
          sourceId,
          row: point(metric, 0, { ...own, ...(one.flags && { flags: one.flags, value: null }) }),
        });
      }
    else if ('failed' in one)
      batch.missedScrapes.push({ sourceId, row: { service: 'store', instance: one.failed, timeUnixNano: time } });
    else if ('span' in one) {
      const own = { service: one.span, startUnixNano: time, endUnixNano: time + 1000n, dropped: one.dropped ?? 0 };
      const id = Number(micros(one.second) % 2n ** 40n);
      batch.traces.push({
        sourceId,
        row: span(Math.abs(id), 0, { ...own, adjustedCount: one.scale ?? null, traceId: one.span.padStart(32, '0') }),
      });
    } else
      batch.cloudtrail.push({
        sourceId,
        row: event(`${one.event}-${one.second}`, 0, { eventTimeMicros: time / 1000n }),
      });
  }
  await store.commit(batch);
}

async function storeOf(
  t: Pick<ExecutionContext, 'teardown'>,
  ...batches: readonly (readonly Seen[])[]
): Promise<Store> {
  const store = await openStore(join(temporaryFolder(t), 'night.duckdb'));
  t.teardown(() => store.close());
  for (const seen of batches) await commit(store, seen);
  return store;
}

/** What is missing, as `<scope> <state> <from second> <to second>`. */
async function gaps(store: Store): Promise<string[]> {
  await correlate(store, { endOfInput: false });
  const found = await rows(
    store.connection,
    `SELECT scope, state, round(epoch(from_time) - 1772330400, 3), round(epoch(to_time) - 1772330400, 3) FROM coverage
     WHERE state NOT IN ('collected', 'not_collected', 'sampled') ORDER BY ALL`,
  );
  return found.map((row) => row.join(' '));
}

const times = (from: number, to: number, every: number): number[] =>
  Array.from({ length: Math.floor((to - from) / every) + 1 }, (_, index) => from + index * every);

const scraped = (member: string, seconds: readonly number[], cluster?: string): Seen[] =>
  seconds.map((second) => ({ second, scrape: member, ...(cluster && { cluster }) }));
const failed = (member: string, seconds: readonly number[]): Seen[] =>
  seconds.map((second) => ({ second, failed: member }));
const spans = (service: string, seconds: readonly number[]): Seen[] =>
  seconds.map((second) => ({ second, span: service }));

const without = (seconds: readonly number[], from: number, to: number) => seconds.filter((s) => s <= from || s >= to);

test('one scrape that did not come is a missed scrape, from the answer before to the answer after', async (t) => {
  const store = await storeOf(t, scraped('a-0', without(times(0, 300, 15), 90, 120)));
  t.deepEqual(await gaps(store), ['store/a-0 missed_scrapes 90 120']);
});

test('a jittery scraper has no gap, nor has a scrape that came late and was made up for', async (t) => {
  const chance = new Chance(7);
  const jittery = times(0, 3600, 10).map((second) => second + chance.next() * 5);
  const late = [...times(0, 60, 5), 72, 72.1, ...times(75, 200, 5)];
  const store = await storeOf(t, [...scraped('a-0', jittery), ...scraped('b-0', late)]);
  t.deepEqual(await gaps(store), []);
});

test('a member that is not heard of while others are scraped is down; isolated failures are missed scrapes', async (t) => {
  const all = times(0, 600, 5);
  const store = await storeOf(t, [
    ...scraped('a-0', all),
    ...scraped('a-1', without(all, 200, 260)),
    ...scraped('a-2', without(all, 300, 310)),
    ...failed('a-2', [305]),
  ]);
  t.deepEqual(await gaps(store), ['store/a-1 member_down 200 260', 'store/a-2 missed_scrapes 300 310']);
});

test('failed scrapes say that a member is down to the last of them, also where it never comes back', async (t) => {
  const store = await storeOf(t, [...scraped('a-0', times(0, 100, 5)), ...failed('a-0', times(105, 160, 5))]);
  t.deepEqual(await gaps(store), ['store/a-0 member_down 100 160']);
  t.is(await value(store.connection, `SELECT count(*)::INT FROM coverage WHERE state = 'not_collected'`), 12);
});

test('a cluster that is not scraped while spans go on is silent, and not down', async (t) => {
  const watched = without(times(0, 600, 5), 200, 300);
  const store = await storeOf(t, [
    ...scraped('a-0', watched),
    ...scraped(
      'a-1',
      watched.map((second) => second + 1),
    ),
    ...spans('api', times(0, 600, 2)),
  ]);
  t.deepEqual(await gaps(store), ['store/a-0 source_silent 200 300', 'store/a-1 source_silent 201 301']);
});

test('before the first and after the last evidence of a scope nothing is known: that is no gap', async (t) => {
  const store = await storeOf(t, [
    ...scraped('a-0', times(0, 1000, 5)),
    ...scraped('a-1', times(300, 500, 5)),
    ...spans('api', times(0, 1000, 2)),
    ...spans('late', times(600, 700, 2)),
  ]);
  t.deepEqual(await gaps(store), []);
});

test('two nights in one store are two nights, and no gap between them', async (t) => {
  const night = (start: number): Seen[] => [
    ...scraped('a-0', times(start, start + 300, 5)),
    ...scraped('a-1', times(start + 1, start + 301, 5)),
    ...spans('api', times(start, start + 300, 2)),
    ...spans('sync', times(start + 3, start + 290, 2)),
  ];
  const store = await storeOf(t, [...night(0), ...night(86_400)]);
  t.deepEqual(await gaps(store), []);
});

test('a service that stops sending spans while others go on is silent; one that always pauses so is not', async (t) => {
  const store = await storeOf(t, [
    ...spans('api', without(times(0, 1200, 1), 400, 640)),
    ...spans('probe', times(0, 1200, 2)),
    ...spans('batch', [...times(0, 30, 1), ...times(300, 330, 1), ...times(600, 630, 1), ...times(900, 930, 1)]),
    ...spans('rare', [10, 220, 300, 560, 700, 1100]),
  ]);
  t.deepEqual(await gaps(store), ['prod/api source_silent 400 640']);
});

test('spans that come by chance, many or few, make no silence', async (t) => {
  const chance = new Chance(3);
  const arrivals = (mean: number) => {
    const seconds: number[] = [];
    for (let at = 0; at < 7200; at += mean * -Math.log(1 - chance.next())) seconds.push(at);
    return seconds;
  };
  const store = await storeOf(
    t,
    [1, 4, 15, 60, 240].flatMap((mean) => spans(`every-${mean}`, arrivals(mean))),
  );
  t.deepEqual(await gaps(store), []);
});

test('a target that died leaves points without a value: they answer no scrape', async (t) => {
  const dead: Seen[] = times(205, 255, 5).map((second) => ({ second, scrape: 'a-1', flags: ['no_recorded_value'] }));
  const all = times(0, 600, 5);
  const store = await storeOf(t, [...scraped('a-0', all), ...scraped('a-1', without(all, 200, 260)), ...dead]);
  t.deepEqual(await gaps(store), ['store/a-1 member_down 200 260']);
});

test('a clock that was never set, or that is years ahead, makes no gap of years', async (t) => {
  const store = await storeOf(t, [
    ...spans('api', times(0, 300, 1)),
    ...spans('probe', times(0, 310, 1)),
    ...spans('api', [-1_772_330_400, 3e8]),
    ...scraped('a-0', times(0, 300, 5)),
  ]);
  t.deepEqual(await gaps(store), []);
  const from = `SELECT min(from_time)::VARCHAR FROM coverage WHERE source = 'traces'`;
  t.is(await value(store.connection, from), '2026-03-01 02:00:00');
});

test('spans say what they lost and for how many they stand', async (t) => {
  const store = await storeOf(t, [
    ...times(0, 99, 1).map((second): Seen => ({ second, span: 'api', scale: 4, dropped: second % 10 === 0 ? 3 : 0 })),
    ...times(0, 99, 1).map((second): Seen => ({ second, span: 'whole', scale: 1 })),
  ]);
  const said = await rows(
    store.connection,
    `SELECT scope, state, reason FROM coverage WHERE state IN ('dropped_spans', 'sampled') ORDER BY ALL`,
  );
  t.deepEqual(said, [
    ['prod/api', 'dropped_spans', '10 of 100 spans lost attributes, events or links before they were sent'],
    ['prod/api', 'sampled', '100 spans stand for about 400, as they say themselves'],
  ]);
});

test('a gap over midnight is one gap, by what was usual before it', async (t) => {
  const midnight = 79_200;
  const all = times(midnight - 600, midnight + 600, 5);
  const night = [
    ...scraped('a-0', all),
    ...scraped('a-1', without(all, midnight - 60, midnight + 90)),
    ...spans('api', without(times(midnight - 600, midnight + 600, 1), midnight - 200, midnight + 100)),
    ...spans('probe', times(midnight - 600, midnight + 600, 2)),
  ];
  const expected = ['prod/api source_silent 79000 79300', 'store/a-1 member_down 79140 79290'];
  t.deepEqual(await gaps(await storeOf(t, night)), expected);
  const inSteps = await storeOf(t);
  for (const from of times(midnight - 600, midnight + 600, 100)) {
    await commit(
      inSteps,
      night.filter(({ second }) => second >= from && second < from + 100),
    );
    await correlate(inSteps, { endOfInput: false });
  }
  t.deepEqual(await gaps(inSteps), expected);
});

test('what is usual is what was usual before: a scraper that was slowed for good misses nothing', async (t) => {
  const slowed = [...times(0, 600, 5), ...times(620, 6000, 20)];
  const found = await gaps(await storeOf(t, scraped('a-0', slowed)));
  t.deepEqual(found.at(0), 'store/a-0 missed_scrapes 600 620');
  const last = Math.max(...found.map((gap) => Number(gap.split(' ').at(-1))));
  t.true(last <= 1860, 'after half of the pauses that are looked at');
});

test('late evidence fills a gap', async (t) => {
  const all = times(0, 600, 5);
  const store = await storeOf(t, [...scraped('a-0', all), ...scraped('a-1', without(all, 200, 260))]);
  t.deepEqual(await gaps(store), ['store/a-1 member_down 200 260']);
  await commit(store, scraped('a-1', times(205, 230, 5)));
  t.deepEqual(await gaps(store), ['store/a-1 member_down 230 260']);
  await commit(store, scraped('a-1', times(235, 255, 5)));
  t.deepEqual(await gaps(store), []);
});

/** Any night: members that answer, fail or are not asked, services that pause. */
const nights: fc.Arbitrary<Seen[]> = fc
  .record({
    seed: fc.nat(1_000_000),
    every: fc.constantFrom(1, 5, 15),
    holes: fc.array(fc.record({ who: fc.nat(3), from: fc.nat(500), length: fc.integer({ min: 2, max: 200 }) }), {
      maxLength: 6,
    }),
    failures: fc.boolean(),
    begins: fc.constantFrom(0, 3_300, 78_900), // in the middle of an hour, before the end of one, before midnight
  })
  .map(({ seed, every, holes, failures, begins }) => {
    const chance = new Chance(seed);
    const away = (who: number, at: number) => holes.some((h) => h.who === who && at > h.from && at < h.from + h.length);
    const seen: Seen[] = [];
    for (let member = 0; member < 3; member++)
      for (const second of times(member * 0.1, 600, every))
        if (!away(member, second)) seen.push({ second: second + chance.next() * 0.1, scrape: `a-${member}` });
        else if (failures) seen.push({ second, failed: `a-${member}` });
    for (const second of times(0, 600, 3))
      if (!away(3, second))
        seen.push({ second: second + chance.next(), span: 'api', dropped: second % 4, scale: 1 + (second % 3) / 7 });
    const events = times(0, 600, 60).map((second): Seen => ({ second, event: 'e' }));
    return [...seen, ...events].map((one) => ({ ...one, second: begins + one.second }));
  });

test('coverage is what the evidence says, whatever its order, its batches and how often it came', async (t) => {
  const coverageOf = async (batches: readonly (readonly Seen[])[]) => {
    const undo: (() => unknown)[] = [];
    const store = await storeOf({ teardown: (done) => void undo.push(done) });
    for (const seen of batches) {
      await commit(store, seen);
      await correlate(store, { endOfInput: false });
    }
    const found = await rows(store.connection, 'SELECT * FROM coverage ORDER BY ALL');
    for (const done of undo.reverse()) await done();
    return found;
  };
  await t.notThrowsAsync(
    fc.assert(
      fc.asyncProperty(nights, fc.nat(), fc.integer({ min: 2, max: 6 }), async (seen, seed, parts) => {
        const mixed = shuffled([...seen, ...shuffled(seen, seed).slice(0, seen.length / 10)], seed + 1);
        const length = Math.ceil(mixed.length / parts);
        const pieces = Array.from({ length: parts }, (_, part) => mixed.slice(part * length, (part + 1) * length));
        assert.deepEqual(await coverageOf(pieces), await coverageOf([seen]));
      }),
      { numRuns: 7 },
    ),
  );
});

test('coverage is asked of the small summary, not of all evidence', async (t) => {
  const { connection } = await storeOf(t, scraped('a-0', times(0, 100, 5)));
  const plan = String(await rows(connection, 'EXPLAIN (FORMAT json) SELECT * FROM coverage'));
  const tables = new Set(Array.from(plan.matchAll(/"Table": "[^"]*?(\w+)"/g), ([, table]) => String(table)));
  const summaries = ['hole_history', 'integrity', 'missed_scrapes', 'parentless', 'presence'];
  t.deepEqual([...tables].sort(), [...summaries, 'recorded', 'trail_hours', 'watermarks']);
});
