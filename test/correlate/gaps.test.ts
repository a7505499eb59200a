import { copyFileSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { replayCase } from '../../replay/replay.js';
import type { Cause, Surroundings, Writer } from '../../services/correlate/cause.js';
import { etcdFailsRequests } from '../../services/correlate/causes/etcd-fails-requests.js';
import { fetchFailureStartsRetryStorm } from '../../services/correlate/causes/fetch-failure-starts-retry-storm.js';
import { growthExhaustsTheQuota } from '../../services/correlate/causes/growth-exhausts-the-quota.js';
import { retryStormRaisesEtcdPuts } from '../../services/correlate/causes/retry-storm-raises-etcd-puts.js';
import { walSlowsFsync } from '../../services/correlate/causes/wal-slows-fsync.js';
import { clustersOf } from '../../services/correlate/clusters.js';
import { etcdPutSurge } from '../../services/correlate/detectors/etcd-put-surge.js';
import { httpErrorBurst } from '../../services/correlate/detectors/http-error-burst.js';
import { retryStorm } from '../../services/correlate/detectors/retry-storm.js';
import { foldAll } from '../../services/correlate/engine.js';
import {
  attempts,
  counter,
  EXAMPLE_START,
  inOrder,
  requests,
  scrapes,
  at as second,
  silence,
} from '../../services/correlate/examples.js';
import { type Gap, gapsOf } from '../../services/correlate/gaps.js';
import { correlate } from '../../services/correlate/index.js';
import type { Item } from '../../services/correlate/item.js';
import { judgePair } from '../../services/correlate/judge.js';
import { addWrite, writersOf, writesPart } from '../../services/correlate/rollup.js';
import { explain } from '../../services/query/explain.js';
import { readChains, readWhole } from '../../services/query/read.js';
import type { Link } from '../../shared/chain.js';
import type { Finding } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { recordings, testWith } from '../helpers/data.js';
import { at, finding, rule } from '../helpers/findings.js';
import { STORM } from '../helpers/night-in-steps.js';
import { rows, span, temporaryFolder } from '../helpers/store.js';
import { evidenceOf, type Story } from '../helpers/story.js';

/* ---- what recordings of real members show ---- */

const GAPS = `SELECT instance, state, strftime(from_time, '%H:%M:%S') || ' to ' || strftime(to_time, '%H:%M:%S') FROM coverage
  WHERE state NOT IN ('collected', 'not_collected') ORDER BY ALL`;

async function gapsOfCase(t: ExecutionContext, fill: (metrics: string) => void): Promise<unknown[][]> {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'case/metrics/recorded'), { recursive: true });
  writeFileSync(join(folder, 'case/case.yaml'), 'name: recording\n');
  fill(join(folder, 'case/metrics/recorded'));
  const db = join(folder, 'case.duckdb');
  await replayCase(join(folder, 'case'), db, { nowUnixNano: 1_900_000_000_000_000_000n });
  const store = await openStore(db);
  t.teardown(() => store.close());
  return rows(store.connection, GAPS);
}

testWith(
  recordings,
  'CAUSELINE_RECORDINGS',
  'a frozen leader, a killed one and a killed follower are down as the recording tells',
  async (t, folder) => {
    const found = await gapsOfCase(t, (metrics) => {
      for (const member of ['m1', 'm2', 'm3']) {
        mkdirSync(join(metrics, member));
        const file = `scrapes-${member}.prom.gz`;
        copyFileSync(join(folder, 'etcd/cluster3_leaderloss_3.5.16', file), join(metrics, member, file));
      }
    });
    t.deepEqual(found, [
      ['m2', 'member_down', '11:21:08 to 11:21:14'], // events: SIGSTOP 11:21:08, SIGCONT 11:21:15; the scrape of :14 waited for it
      ['m2', 'member_down', '11:21:25 to 11:21:44'], // SIGKILL 11:21:25, end 11:21:44
      ['m3', 'member_down', '11:21:35 to 11:21:44'], // SIGKILL 11:21:35
      ['m3', 'missed_scrapes', '11:20:52 to 11:20:53'], // not up yet at the first scrape
    ]);
  },
);

testWith(
  recordings,
  'CAUSELINE_RECORDINGS',
  'a member that was killed without a word in the scrapes is down while others answer',
  async (t, folder) => {
    const found = await gapsOfCase(t, (metrics) => {
      for (const member of ['m0', 'm1', 'm2'])
        cpSync(join(folder, 'etcd/live_3node_3.4.23', member), join(metrics, member), { recursive: true });
    });
    t.deepEqual(found, [['m0', 'member_down', '11:41:55 to 11:42:30']]);
  },
);

/* ---- judgements ---- */

const around = (
  gaps: readonly Gap[],
  writers: readonly Writer[] = [],
  slow: readonly string[] = ['a-0'],
): Surroundings => ({
  writers: () => writers,
  exports: () => true,
  members: () => ['a-0', 'a-1', 'a-2'],
  membersWith: () => slow,
  clockOffset: () => 0,
  gaps: gapsOf(gaps),
});

const gap = (subject: string, from: number, to: number, more: Partial<Gap> = {}): Gap => ({
  subject,
  member: null,
  state: 'source_silent',
  fromMicros: at(from),
  toMicros: at(to),
  ...more,
});

/** What becomes of a pair: a verdict, or REFUTED; and what the test that was not made says. */
function judged(
  by: Cause,
  cause: Finding,
  effect: Finding,
  surroundings: Surroundings,
): { verdict: string; missing: string } {
  const result = judgePair(by, cause, effect, surroundings);
  if (!result || !('link' in result)) return { verdict: 'REFUTED', missing: '' };
  const { verdict, tests } = (result as { link: Link }).link;
  return { verdict, missing: tests.find(({ outcome }) => outcome === 'not_made')?.says ?? '' };
}

const sync = 'service:prod/sync';
const storm = finding('storm', 'retry.storm', 0, {
  subject: sync,
  keys: [sync, 'etcd:a'],
  measured: { writes_per_s: 2, sampling: 'whole' },
});
const surge = finding('surge', 'etcd.put_surge', 5, { measured: { extra_puts_per_s: 300 } });

test('a low count of writes proves nothing where the spans of the service are missing, and the link says which', (t) => {
  const by = (gaps: readonly Gap[]) => judged(retryStormRaisesEtcdPuts, storm, surge, around(gaps));
  t.is(by([]).verdict, 'REFUTED');
  const silent = by([gap(sync, 20, 50)]);
  t.is(silent.verdict, 'INCONCLUSIVE');
  t.regex(
    silent.missing,
    /spans of service:prod\/sync are missing from 02:00:20 to 02:00:50 UTC, so a low count proves nothing/,
  );
  t.is(by([gap(sync, -300, -200)]).verdict, 'REFUTED', 'what is missing of another time is no matter');
  t.is(by([gap(sync, 20, 24)]).verdict, 'REFUTED', 'a few seconds hide no surge of a minute');
  t.is(by([gap('service:prod/other', 20, 50)]).verdict, 'REFUTED', 'nor what is missing of another service');
});

test('a link that rests on evidence which is there stands, whatever is missing beside it', (t) => {
  const bears = { ...storm, measured: { writes_per_s: 290, sampling: 'whole' } };
  t.is(judged(retryStormRaisesEtcdPuts, bears, surge, around([gap(sync, 20, 50)])).verdict, 'CONFIRMED');
  const other = { service: 'service:prod/import', writesPerSecond: 295, extraPerSecond: 295, scaled: true };
  t.is(
    judged(retryStormRaisesEtcdPuts, storm, surge, around([gap(sync, 20, 50)], [other])).verdict,
    'REFUTED',
    'the writer is known',
  );
});

test('loops that outnumber the failed downloads do not speak against them where spans of before are missing', (t) => {
  const failed = finding('failed', 'go.module_fetch_failure', 0, { subject: sync, measured: { failures: 1 } });
  const loops = {
    ...storm,
    startedMicros: at(3),
    startedByMicros: at(3),
    measured: { attempts_per_s: 40, interval_s: 3 },
  };
  t.is(judged(fetchFailureStartsRetryStorm, failed, loops, around([])).verdict, 'REFUTED');
  const { verdict, missing } = judged(fetchFailureStartsRetryStorm, failed, loops, around([gap(sync, -120, -2)]));
  t.is(verdict, 'INCONCLUSIVE');
  t.regex(missing, /missing from 01:58:00 to 01:59:58 UTC, so others may have failed unseen/);
});

test('a database may have grown while none of its members was scraped', (t) => {
  const growth = finding('growth', 'etcd.db_growth', 0, { measured: { grown_bytes: 1_000_000 } });
  const full = finding('full', 'etcd.quota_exhausted', 50, { measured: { quota_bytes: 2_147_483_648 } });
  const members = (count: number) =>
    Array.from({ length: count }, (_, index) => gap('etcd:a', 10, 45, { member: `a-${index}` }));
  t.is(judged(growthExhaustsTheQuota, growth, full, around(members(2))).verdict, 'REFUTED', 'one member saw it all');
  const { verdict, missing } = judged(growthExhaustsTheQuota, growth, full, around(members(3)));
  t.is(verdict, 'INCONCLUSIVE');
  t.regex(missing, /scrapes of etcd:a \(a-0, a-1, a-2\) are missing from 02:00:10 to 02:00:45 UTC/);
});

test('a member that was not scraped did not stay fast', (t) => {
  const growth = finding('growth', 'etcd.wal_growth', 0, {
    measured: { wal_bytes_per_s: 900_000 },
    baseline: { wal_bytes_per_s: 9_000 },
  });
  const slow = finding('slow', 'etcd.slow_fsync', 10, { member: 'a-0', measured: { peak_p99_seconds: 0.06 } });
  const down = ['a-1', 'a-2'].map((member) => gap('etcd:a', -10, 200, { member, state: 'member_down' }));
  t.regex(judged(walSlowsFsync, growth, slow, around([])).missing, /a-1, a-2 bear the same log and stay fast/);
  const unseen = judged(walSlowsFsync, growth, slow, around(down));
  t.is(unseen.verdict, 'INCONCLUSIVE');
  t.regex(
    unseen.missing,
    /scrapes of etcd:a \(a-1, a-2\) are missing .* whether all that bear the log slowed was not seen/,
  );
  t.is(
    judged(walSlowsFsync, growth, slow, around(down.slice(1), [], ['a-0', 'a-1'])).verdict,
    'CONFIRMED',
    'two slowed, one was down',
  );
  const blinked = [gap('etcd:a', 0, 20, { member: 'a-2', state: 'member_down' })];
  t.regex(
    judged(walSlowsFsync, growth, slow, around(blinked, [], ['a-0', 'a-1'])).missing,
    /^.*a-2 bear the same log and stay fast/,
  );
});

test('requests whose failed calls are not seen say what was missing', (t) => {
  const by = etcdFailsRequests({
    rule: 'x',
    from: 'etcd.slow_apply',
    within: '1m',
    mechanism: 'm',
    answers: ['timeout'],
    examples: [],
  });
  const burst = finding('burst', 'http.error_burst', 10, {
    subject: sync,
    keys: [sync],
    measured: { errors: 10, etcd_answers: {} },
  });
  const { missing } = judged(by, finding('slow', 'etcd.slow_apply', 0), burst, around([gap(sync, 15, 40)]));
  t.regex(missing, /was not seen; spans of service:prod\/sync are missing from 02:00:15 to 02:00:40/);
});

test('which came first is not known where one began while nothing was scraped; a scrape or two are within tolerance', (t) => {
  const by = rule('etcd.put_surge', 'etcd.wal_growth');
  const unknown = { startedMicros: at(-60), startedByMicros: at(10) };
  const growth = finding('growth', 'etcd.wal_growth', 0, { startedMicros: at(-5), startedByMicros: at(5) });
  const onset = (...gaps: Gap[]) => judged(by, { ...surge, ...unknown }, growth, around(gaps));
  t.is(onset().verdict, 'LIKELY');
  const { verdict, missing } = onset(gap('etcd:a', -60, 10, { member: 'a-0', state: 'member_down' }));
  t.is(verdict, 'INCONCLUSIVE');
  t.regex(missing, /scrapes of etcd:a \(a-0\) are missing from 01:59:00 to 02:00:10 UTC, where one of both began/);
  t.is(onset(gap('etcd:a', -15, 10, { member: 'a-0', state: 'missed_scrapes' })).verdict, 'LIKELY');
  t.is(
    onset(gap('etcd:a', -300, 300, { member: 'a-1', state: 'member_down' })).verdict,
    'LIKELY',
    'a member that was away all the time did not make the onset uncertain',
  );
});

test('a short baseline says what is missing before it', (t) => {
  const short = { ...surge, shortBaseline: true, baseline: { seconds: 20 } };
  const { missing } = judged(
    rule('etcd.put_surge', 'etcd.wal_growth'),
    short,
    finding('g', 'etcd.wal_growth', 10),
    around([gap('etcd:a', -200, -20, { member: 'a-0' })]),
  );
  t.regex(missing, /shorter than its least; scrapes of etcd:a \(a-0\) are missing from 01:56:40 to 01:59:40 UTC/);
});

/* ---- detectors: a gap is no zero, no rise and no end ---- */

const found = (
  detector: Parameters<typeof foldAll>[0][number],
  items: readonly Item[],
  gaps: readonly Gap[] = [],
): Finding[] =>
  foldAll(
    [detector],
    items,
    { subject: 'service:prod/example', coveredFromMicros: EXAMPLE_START, gaps, clusterOf: () => 'etcd:a' },
    sha256,
  );

const every = (interval: number, from: number, to: number): number[] =>
  Array.from({ length: Math.floor((to - from) / interval) }, (_, index) => from + index * interval);
const outside = (from: number, to: number) => (seconds: number) => seconds <= from || seconds >= to;

test('a storm that goes on after two minutes without spans is one storm, and its rate is of the time that was seen', (t) => {
  const seen = every(3, 120, 400).filter(outside(200, 320));
  const [whole, ...more] = found(retryStorm, attempts(seen), [silence(200, 320)]);
  t.deepEqual(more, []);
  t.true(Math.abs((whole!.measured['attempts_per_s'] as number) - 1 / 3) < 0.03);
  t.is(found(retryStorm, attempts(seen)).length, 2, 'without the gap those minutes were quiet');
});

test('a loop that ran before ten minutes without spans does not start with the first span after them', (t) => {
  const seen = every(5, 2, 1000).filter(outside(200, 800));
  t.deepEqual(found(retryStorm, attempts(seen), [silence(197, 802)]), []);
});

test('a storm that is there when spans come back may have begun while they were missing', (t) => {
  const [one] = found(retryStorm, attempts(every(3, 320, 500)), [silence(100, 320)]);
  t.true(one!.startedMicros - one!.unseenMicros! <= second(110));
});

const errors = (from: number, to: number) => requests(80, 100, (s) => (s >= from && s < to ? 0.9 : 0));

test('a service that stops sending spans is not a service without errors', (t) => {
  const items = errors(100, 400).filter(({ sinceMicros }) => outside(second(150), second(280))(sinceMicros));
  t.is(found(httpErrorBurst, items, [silence(152, 281)]).length, 1, 'the burst did not end with its spans');
  const back = errors(200, 300).filter(({ sinceMicros }) => outside(second(150), second(250))(sinceMicros));
  const [burst] = found(httpErrorBurst, back, [silence(152, 251)]);
  t.true(burst!.startedMicros - burst!.unseenMicros! <= second(155), 'it may have begun while nothing was seen');
  const quiet = requests(80, 100, () => 0).filter(({ sinceMicros }) => outside(second(150), second(280))(sinceMicros));
  t.deepEqual(found(httpErrorBurst, quiet, [silence(152, 281)]), [], 'silence is no error either');
});

test('a service that was quiet before its errors, and not silent, began when the first was seen', (t) => {
  const [burst] = found(httpErrorBurst, errors(200, 300));
  t.is(burst!.unseenMicros, 0);
});

const puts = (member: string, from: number, to: number) =>
  scrapes(200, (s) => ({ etcd_mvcc_put_total: counter(s, { before: 20, after: 60, from, to }) }), member);

test('a surge that is there after ten minutes without a scrape may have begun in any of them', (t) => {
  const seen = puts('a', 600, 2000).filter(({ atMicros }) => outside(second(200), second(800))(atMicros));
  const [one, ...more] = found(etcdPutSurge, seen);
  t.deepEqual(more, []);
  t.deepEqual([one!.startedMicros, one!.startedByMicros], [second(200), second(805)]);
  const watched = inOrder(seen, puts('b', 600, 2000));
  t.is(found(etcdPutSurge, watched)[0]!.startedMicros, second(600), 'another member saw when');
});

test('a cluster that was not scraped for a while has neither a fall nor a surge', (t) => {
  for (const [from, to] of [
    [200, 240],
    [200, 480],
    [200, 900],
  ] as const) {
    const seen = puts('a', 5000, 6000).filter(({ atMicros }) => outside(second(from), second(to))(atMicros));
    t.deepEqual(found(etcdPutSurge, seen), []);
  }
});

test('what a member measured over a hole is not held to be its value when it goes away again', (t) => {
  const brief = puts('a', 300, 420).filter(({ atMicros }) => atMicros <= second(290) || atMicros === second(420));
  const [surge] = found(etcdPutSurge, inOrder(brief, puts('b', 300, 420)));
  t.true(surge!.endedMicros <= second(430), 'the surge ended with its puts');
});

test('what a service wrote before is its rate over the time whose spans are there', (t) => {
  const writes = writesPart();
  for (const s of every(0.1, 0, 1200).filter(outside(200, 800)))
    addWrite(writes, 'service:prod/import', {
      type: 'etcd_write',
      atMicros: second(s),
      target: 'a-0:2379',
      scale: null,
      ok: true,
    });
  const clusters = clustersOf([{ service: 'a', instance: 'a-0', peerIds: [] }]);
  const silent = { ...silence(200, 800), subject: 'service:prod/import' };
  const extra = (gaps: readonly Gap[]) =>
    writersOf(writes, clusters, gapsOf(gaps), 'etcd:a', second(900), second(1200))[0]!.extraPerSecond;
  t.true(Math.abs(extra([silent])) < 0.5, 'it wrote as before');
  t.true(extra([]) > 5, 'without the gap it would seem to have begun');
});

/* ---- what the store keeps, and what is told ---- */

test('spans whose parent is not in evidence are counted, by whose parent it is, until it comes', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'night.duckdb'));
  t.teardown(() => store.close());
  const told = async (...spans: ReturnType<typeof span>[]) => {
    await store.commit({ ...emptyBatch(), traces: spans.map((row) => ({ sourceId: 'a file', row })) });
    await correlate(store, { endOfInput: true });
    return (
      await rows(store.connection, `SELECT scope, reason FROM coverage WHERE state = 'dropped_spans' ORDER BY ALL`)
    ).map(String);
  };
  const parent = span(99).spanId;
  const child = (id: number, kind: 'server' | 'client') => span(id, id, { parentSpanId: parent, kind });
  t.deepEqual(await told(child(1, 'client'), child(2, 'client'), child(3, 'server'), span(4)), [
    'prod/api,2 spans name a parent in this service that is not in evidence: lost, not sampled, or not ended yet; 1 requests name a caller whose span is not in evidence: lost, not sampled, or not collected',
  ]);
  const rowsKept = async () => Number((await rows(store.connection, 'SELECT count(*) FROM _store.parentless'))[0]![0]);
  const before = await rowsKept();
  await told();
  t.is(await rowsKept(), before, 'the same answer is not written again');
  t.deepEqual(await told(span(99)), []);
});

test('explain says in a line what was missing of the clusters and services of a chain, and of no others', async (t) => {
  const story: Omit<Story, 'troubles'> = { ...STORM, reachesQuota: false };
  const night = evidenceOf({ ...story, troubles: { gone: { member: 2, from: 150, seconds: 40 } } });
  const other = evidenceOf({
    ...story,
    happens: 'nothing',
    cluster: 'orders',
    prefix: 'orders-',
    troubles: { gone: { member: 1, from: 150, seconds: 40 } },
  });
  const store = await openStore(join(temporaryFolder(t), 'night.duckdb'));
  t.teardown(() => store.close());
  const sourced = <Row>(given: readonly Row[]) => given.map((row) => ({ sourceId: 'a file', row }));
  await store.commit({
    ...emptyBatch(),
    traces: sourced([...night.spans, ...other.spans]),
    metrics: sourced([...night.points, ...other.points]),
  });
  await correlate(store, { endOfInput: true });
  const [chain] = await readChains(store.connection);
  const text = await explain(store.connection, await readWhole(store.connection, chain!), {
    width: 200,
    colour: false,
  });
  const told = text.slice(text.indexOf('What was not covered'), text.indexOf('Evidence\n'));
  t.regex(
    told,
    /etcd:store, store-2: down, or not reached: .*, from 2026-03-01 02:00:1\d to 2026-03-01 02:0[01]:\d\d UTC\./,
  );
  t.notRegex(told, /orders/);
});
