import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { record } from '../../services/correlate/record.js';
import type { Finding } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { readFindings } from '../../shared/store/derived.js';
import { emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { chainsOf, change, recordAll, ref, type Told, told } from '../helpers/chains.js';
import { at, finding } from '../helpers/findings.js';
import { event, point, rows, span, temporaryFolder, value } from '../helpers/store.js';

async function newStore(t: ExecutionContext): Promise<Store> {
  const store = await openStore(join(temporaryFolder(t), 'store.duckdb'));
  t.teardown(() => store.close());
  return store;
}

const storm = finding('storm', 'retry.storm', 0, { subject: 'service:sync' });
const puts = finding('puts', 'etcd.put_surge', 5);
const wal = finding('wal', 'etcd.wal_growth', 6);
const grown = finding('grown', 'etcd.db_growth', 7);
const errors = finding('errors', 'http.error_burst', 30, { subject: 'service:api' });
const three = [storm, puts, wal];
const threeLinked = [
  ['storm', 'puts'],
  ['puts', 'wal'],
] as const;

const reasons = async (store: Store): Promise<string[]> => (await told(store)).map(({ reason }) => reason);
const last = async (store: Store): Promise<Told> => (await told(store)).at(-1)!;

/** As if everything had been recorded so much earlier. */
async function longAgo(store: Store, interval: string): Promise<void> {
  await store.connection.run(`UPDATE _store.chain_revisions SET recorded_at = recorded_at - INTERVAL ${interval}`);
}

/** A span of this service at a second, counted as findings are: what moves the watermark of traces. */
const seen = (service: string, seconds: number, more: Parameters<typeof span>[2] = {}) =>
  span(seconds, 0, { service, startUnixNano: BigInt(at(seconds)) * 1000n, ...more });

const scraped = (seconds: number, more: Parameters<typeof point>[2] = {}) =>
  point('etcd_mvcc_put_total', 0, { timeUnixNano: BigInt(at(seconds)) * 1000n, ...more });

async function commit(
  store: Store,
  given: {
    traces?: ReturnType<typeof span>[];
    metrics?: ReturnType<typeof point>[];
    cloudtrail?: ReturnType<typeof event>[];
  },
): Promise<void> {
  const from = <Row>(own: readonly Row[] = []) => own.map((row) => ({ sourceId: 'a file', row }));
  await store.commit({
    ...emptyBatch(),
    traces: from(given.traces),
    metrics: from(given.metrics),
    cloudtrail: from(given.cloudtrail),
  });
}

test('a finding is read back whole, as it was recorded', async (t) => {
  const store = await newStore(t);
  const rich = finding('rich', 'etcd.slow_fsync', 3, {
    member: 'etcd-0',
    unseenMicros: 1500,
    measured: { p99_seconds: 0.1 + 0.2, share: 1e-7, by_node: { '10': 1, '9': 2 }, names: ['ä', '\u2028'], none: null },
    baseline: { p99_seconds: 0.004 },
    keys: ['etcd:a', 'instance:etcd-0'],
    evidence: [ref('metric_points', sha256('a'))],
    startedByMicros: at(8),
  });
  await recordAll(store, [rich, storm], []);
  t.deepEqual(await readFindings(store.connection), [rich, storm]);
  t.deepEqual(await readFindings(store.connection, 'kind = ?', ['retry.storm']), [storm]);
  await record(store, async () => change({ goneFindings: ['storm'] }), 'rules', { endOfInput: false });
  t.deepEqual(await readFindings(store.connection), [rich], 'a withdrawn one is not current');
  const shown = await rows(store.connection, 'SELECT column_name FROM (DESCRIBE finding_history)');
  t.false(shown.flat().includes('content'));
});

test('what a change does not name is left as it stands', async (t) => {
  const store = await newStore(t);
  const other = finding('other', 'etcd.slow_fsync', 0, { subject: 'etcd:b' });
  const failed = finding('failed', 'http.error_burst', 9, { subject: 'service:b' });
  const all = [...three, other, failed];
  const chains = chainsOf(all, [...threeLinked, ['other', 'failed']]);
  await recordAll(store, all, chains);
  const calmer = { ...wal, summary: 'less' };
  const recorded = await record(
    store,
    async () => change({ findings: [calmer], goneFindings: ['other', 'failed', 'unknown'] }),
    'rules',
    {
      endOfInput: false,
    },
  );
  t.deepEqual(recorded.findings, { added: 0, changed: 1, withdrawn: 2 });
  t.deepEqual(recorded.chains, { added: 0, revised: 0, withdrawn: 0 });
  const gone = await record(store, async () => change({ goneChains: ['chain of other', 'unknown'] }), 'rules', {
    endOfInput: false,
  });
  t.deepEqual(gone.chains, { added: 0, revised: 0, withdrawn: 1 });
  t.deepEqual(await rows(store.connection, 'SELECT chain_id FROM chains'), [['chain of storm']]);
  t.is((await last(store)).reason, 'the evidence no longer bears it');
});

test('the same change written twice changes nothing, not even a table', async (t) => {
  const store = await newStore(t);
  const chains = chainsOf(three, threeLinked);
  await recordAll(store, three, chains, { endOfInput: true });
  const count = async () => {
    const tables = await rows(store.connection, `SELECT table_name FROM duckdb_tables() WHERE schema_name = '_store'`);
    return Promise.all(tables.map(([name]) => value(store.connection, `SELECT count(*) FROM _store.${String(name)}`)));
  };
  const before = await count();
  const again = await recordAll(store, three, chains, { endOfInput: true });
  t.deepEqual(again.chains, { added: 0, revised: 0, withdrawn: 0 });
  t.deepEqual(await count(), before);
});

test('a figure alone is no revision while a chain is provisional; its seal brings all figures up to date', async (t) => {
  const store = await newStore(t);
  await commit(store, { traces: [seen('api', 0)] });
  await recordAll(store, three, chainsOf(three, threeLinked));
  const louder = { ...storm, summary: 'a louder storm' };
  const now = [louder, puts, wal];
  await recordAll(store, now, chainsOf(now, threeLinked));
  t.is((await told(store)).length, 1);
  t.deepEqual(await rows(store.connection, `SELECT summary FROM findings WHERE finding_id = 'storm'`), [
    ['a louder storm'],
  ]);
  await commit(store, { traces: [seen('api', 600)] });
  await record(store, async () => change({}), 'rules', { endOfInput: false });
  t.like(await last(store), {
    revision: 2,
    state: 'sealed',
    reason: 'more evidence changed its figures; every source has passed its end: sealed',
  });
  t.regex(String(await value(store.connection, 'SELECT summary FROM chains')), /^a louder storm/);
  t.is(await value(store.connection, 'SELECT count(*) FROM chain_links'), 2n, 'a sealed revision has its links');
});

test('what a chain claims is a revision: members, links, verdicts', async (t) => {
  const store = await newStore(t);
  await commit(store, { traces: [seen('api', 0)] });
  const steps: [readonly Finding[], Parameters<typeof chainsOf>[1]][] = [
    [three, threeLinked],
    [
      [...three, grown],
      [...threeLinked, ['puts', 'grown']],
    ],
    [
      [...three, grown],
      [...threeLinked, ['puts', 'grown'], ['wal', 'grown']],
    ],
    [
      [...three, grown],
      [...threeLinked, ['puts', 'grown', 'CONFIRMED'], ['wal', 'grown']],
    ],
    [
      three,
      [
        ['storm', 'puts', 'CONFIRMED'],
        ['puts', 'wal', 'CONFIRMED'],
      ],
    ],
  ];
  for (const [findings, pairs] of steps) await recordAll(store, findings, chainsOf(findings, pairs));
  t.deepEqual(await reasons(store), [
    'found in the evidence',
    'etcd.db_growth joined',
    'more evidence changed it: link etcd.wal_growth -> etcd.db_growth is new; its impact is now etcd.db_growth',
    'more evidence changed it: link etcd.put_surge -> etcd.db_growth became CONFIRMED',
    'more evidence changed it: 1 finding no longer belongs to it; link retry.storm -> etcd.put_surge became CONFIRMED; ' +
      'link etcd.put_surge -> etcd.wal_growth became CONFIRMED; its impact is now etcd.wal_growth; verdict LIKELY became CONFIRMED',
  ]);
});

test('while a chain is provisional its extent is a revision at most once a minute', async (t) => {
  const store = await newStore(t);
  await commit(store, { traces: [seen('api', 0)] });
  const until = (seconds: number) => {
    const findings = [storm, puts, { ...wal, endedMicros: at(seconds) }];
    return recordAll(store, findings, chainsOf(findings, threeLinked));
  };
  for (const seconds of [100, 110, 120]) await until(seconds);
  t.is((await told(store)).length, 1);
  await longAgo(store, '61 SECOND');
  await until(130);
  await until(140);
  t.deepEqual(await reasons(store), ['found in the evidence', 'more evidence changed its extent']);
  await longAgo(store, '61 SECOND');
  await record(store, async () => change({}), 'rules', { endOfInput: false });
  const ended = await value(store.connection, 'SELECT epoch_us(ended_at) FROM chains');
  t.is(Number(ended), at(140), 'what was held back comes when its minute is over');
});

test('a change of the ruleset is a reason by itself', async (t) => {
  const store = await newStore(t);
  const chains = chainsOf(three, threeLinked);
  await recordAll(store, three, chains, { endOfInput: true });
  await recordAll(store, three, chains, { endOfInput: true, ruleset: 'newer rules' });
  const surer = chainsOf(three, [
    ['storm', 'puts', 'CONFIRMED'],
    ['puts', 'wal', 'CONFIRMED'],
  ]);
  await recordAll(store, three, surer, { endOfInput: true, ruleset: 'newest rules' });
  t.deepEqual((await reasons(store)).slice(1), [
    'ruleset changed',
    'ruleset changed; link retry.storm -> etcd.put_surge became CONFIRMED; link etcd.put_surge -> etcd.wal_growth became CONFIRMED; verdict LIKELY became CONFIRMED',
  ]);
  await recordAll(store, three, [], { endOfInput: true, ruleset: 'rules' });
  t.is((await last(store)).reason, 'ruleset changed; the evidence no longer bears it');
});

test('late evidence is named with its source, how late it came and what it added', async (t) => {
  const store = await newStore(t);
  await commit(store, { traces: [seen('api', 0)] });
  await recordAll(store, three, chainsOf(three, threeLinked));
  const deletion = event('e1');
  await commit(store, { cloudtrail: [deletion] });
  await store.connection.run('UPDATE _store.cloudtrail_events SET ingested_at = event_time + INTERVAL 7 MINUTE');
  const purge = finding('purge', 's3.version_purge', 20, {
    evidence: [ref('cloudtrail_events', deletion.bodyHash)],
  });
  const four = [...three, purge];
  await recordAll(store, four, chainsOf(four, [...threeLinked, ['storm', 'purge']]));
  t.is((await last(store)).reason, 'CloudTrail records delivered up to 7 min 0 s late added s3.version_purge');

  const scrape = scraped(31);
  await commit(store, { metrics: [scrape] });
  await store.connection.run('UPDATE _store.metric_points SET ingested_at = time + INTERVAL 5 SECOND');
  const slow = finding('slow', 'etcd.slow_fsync', 31, { evidence: [ref('metric_points', scrape.bodyHash)] });
  const five = [...four, slow];
  await recordAll(store, five, chainsOf(five, [...threeLinked, ['storm', 'purge'], ['wal', 'slow']]));
  t.is((await last(store)).reason, 'new scrapes added etcd.slow_fsync; its impact is now etcd.slow_fsync');
});

test('a chain that begins to stand supersedes the withdrawn one with which it shares the most, of equal ones the smaller id', async (t) => {
  const cases: [shared: Record<string, readonly string[]>, superseded: string][] = [
    [{ a: ['x'], b: ['x', 'y'] }, 'chain of b'],
    [{ b: ['x', 'y'], a: ['y', 'z'] }, 'chain of a'],
    [{ c: ['x', 'y', 'z'], a: ['q'] }, 'chain of c'],
  ];
  for (const [before, superseded] of cases) {
    const store = await newStore(t);
    const effects = ['x', 'y', 'z', 'q'].map((id, index) => finding(id, 'etcd.wal_growth', 20 + index));
    const roots = Object.keys(before).map((id) => finding(id, 'etcd.put_surge', 10));
    const old = [...roots, ...effects];
    const pairs = Object.entries(before).flatMap(([root, ids]) => ids.map((id) => [root, id] as const));
    await recordAll(store, old, chainsOf(old, pairs));
    const all = [...old, storm];
    const now = chainsOf(all, [...roots.map(({ id }) => ['storm', id] as const), ['storm', 'x'], ...pairs]);
    await recordAll(store, all, now);
    const [[chain, supersedes, reason]] = (await rows(
      store.connection,
      'SELECT chain_id, supersedes, reason FROM chains',
    )) as [[string, string, string]];
    t.is(chain, 'chain of storm');
    t.is(supersedes, superseded);
    t.true(reason.startsWith(`replaces chain ${superseded}: an earlier root; `), reason);
    const withdrawn = (await told(store)).filter(({ state }) => state === 'withdrawn');
    t.is(withdrawn.length, Object.keys(before).length);
    for (const { chain: id, reason: why } of withdrawn)
      t.is(
        why,
        id === superseded
          ? 'replaced by chain chain of storm: an earlier root'
          : 'its findings are part of chain chain of storm',
      );
  }
});

test('supersedes is history: it stays with later revisions, and a root that stands again says so', async (t) => {
  const store = await newStore(t);
  const late = [puts, wal];
  const alone = chainsOf(late, [['puts', 'wal']]);
  await recordAll(store, late, alone, { endOfInput: true });
  await recordAll(store, three, chainsOf(three, threeLinked), { endOfInput: true });
  const four = [...three, grown];
  await recordAll(store, four, chainsOf(four, [...threeLinked, ['puts', 'grown']]), { endOfInput: true });
  t.deepEqual(await rows(store.connection, 'SELECT chain_id, revision, supersedes FROM chains'), [
    ['chain of storm', 2n, 'chain of puts'],
  ]);
  await recordAll(store, late, alone, { endOfInput: true });
  t.deepEqual((await told(store)).slice(-2), [
    {
      chain: 'chain of puts',
      revision: 3,
      state: 'sealed',
      reason: 'replaces chain chain of storm: a later root',
    },
    {
      chain: 'chain of storm',
      revision: 3,
      state: 'withdrawn',
      reason: 'replaced by chain chain of puts: a later root',
    },
  ]);
  await recordAll(store, [], [], { endOfInput: true });
  await recordAll(store, late, alone, { endOfInput: true });
  t.like(await last(store), { chain: 'chain of puts', revision: 5, reason: 'its root stands again' });
});

test('a chain is provisional until each source that has evidence has passed its end by its lateness', async (t) => {
  const store = await newStore(t);
  const end = 66; // the end of the last finding
  const state = async () => {
    await recordAll(store, three, chainsOf(three, threeLinked));
    return (await last(store)).state;
  };
  await commit(store, { traces: [seen('api', end + 60)], metrics: [scraped(end + 600)] });
  t.is(await state(), 'provisional', 'traces may come 2 min late');
  await commit(store, {
    traces: [seen('api', end + 121)],
    cloudtrail: [event('e1', 0, { eventTimeMicros: BigInt(at(end)) })],
  });
  t.is(await state(), 'provisional', 'CloudTrail has evidence now, and may come 15 min late');
  await commit(store, { cloudtrail: [event('e2', 0, { eventTimeMicros: BigInt(at(end + 901)) })] });
  t.is(await state(), 'sealed');
  t.deepEqual((await reasons(store)).at(-1), 'every source has passed its end: sealed');
});

test('a time that cannot be, and one clock that is a day ahead, do not seal; a service that fell silent does not hold back', async (t) => {
  const store = await newStore(t);
  const state = async () => {
    await recordAll(store, three, chainsOf(three, threeLinked));
    return (await last(store)).state;
  };
  await commit(store, { traces: [seen('api', 0), seen('web', 0), seen('gone', -7200)] });
  for (const flag of ['future_time', 'impossible_time', 'zero_time'] as const)
    await commit(store, {
      traces: ['api', 'web'].map((service) => seen(service, 80_000, { flags: [flag], spanId: service + flag })),
    });
  t.is(await state(), 'provisional');
  await commit(store, { traces: [seen('a clock that is ahead', 80_000)] });
  t.is(await state(), 'provisional');
  await commit(store, { traces: [seen('api', 600), seen('web', 600)] });
  t.is(await state(), 'sealed');
});

test('evidence after sealing reopens a chain in a new revision, also for a figure', async (t) => {
  const store = await newStore(t);
  await commit(store, { traces: [seen('api', 600)] });
  await recordAll(store, three, chainsOf(three, threeLinked));
  t.is((await last(store)).state, 'sealed');
  const louder = [{ ...storm, summary: 'a louder storm' }, puts, wal];
  await recordAll(store, louder, chainsOf(louder, threeLinked));
  t.like(await last(store), {
    revision: 2,
    state: 'sealed',
    reason: 'evidence after sealing reopened it: more evidence changed its figures; sealed again',
  });
  const longer = [...louder, { ...errors, endedMicros: at(900) }];
  await recordAll(store, longer, chainsOf(longer, [...threeLinked, ['puts', 'errors']]));
  const reopened = await last(store);
  t.like(reopened, { revision: 3, state: 'provisional' });
  t.regex(
    reopened.reason,
    /^evidence after sealing reopened it: http\.error_burst joined; provisional until every source has passed its end$/,
  );
});

test('the watermarks read each commit once, and only up to the one that was judged', async (t) => {
  const store = await newStore(t);
  const newest = () => value(store.connection, `SELECT epoch_us(max(greatest)) FROM _store.watermarks`);
  await commit(store, { traces: [seen('api', 10)] });
  await commit(store, { traces: [seen('api', 600)] });
  const judged = change({ findings: three, chains: chainsOf(three, threeLinked) });
  await record(store, async () => judged, 'rules', { endOfInput: false, commitSeq: 1n });
  t.is(Number(await newest()), at(10));
  t.is((await last(store)).state, 'provisional');
  await record(store, async () => change({}), 'rules', { endOfInput: false, commitSeq: 2n });
  t.is((await last(store)).state, 'sealed');
  await store.connection.run('DELETE FROM _store.spans');
  await record(store, async () => change({}), 'rules', { endOfInput: false });
  t.is(Number(await newest()), at(600), 'maxima are kept, not read again');

  await store.connection.run(
    `INSERT INTO _store.watermarks SELECT 'traces', 'prod/busy', make_timestamp(range), 2 FROM range(50000)`,
  );
  await commit(store, { traces: [seen('busy', 700)] });
  await record(store, async () => change({}), 'rules', { endOfInput: false });
  t.deepEqual(
    await rows(
      store.connection,
      'SELECT scope, epoch_us(greatest) FROM _store.watermarks WHERE greatest IS NOT NULL ORDER BY scope',
    ),
    [
      ['prod/api', BigInt(at(600))],
      ['prod/busy', BigInt(at(700))],
    ],
    'and what they have passed is dropped',
  );
});

test('each revision goes to the ledger with its findings as they stood', async (t) => {
  const store = await newStore(t);
  t.false(existsSync(store.ledger.path));
  await recordAll(store, three, chainsOf(three, threeLinked), { endOfInput: true });
  const louder = [{ ...storm, summary: 'a louder storm' }, puts];
  await recordAll(store, louder, chainsOf(louder, [['storm', 'puts']]), { endOfInput: true });
  const lines = readFileSync(store.ledger.path, 'utf8').trimEnd().split('\n');
  const revisions = lines.map((line) => JSON.parse(line).revision);
  t.deepEqual(
    revisions.map(({ revision, findings }) => [
      revision,
      findings.map((stood: { finding: Finding; withdrawn: boolean }) => [stood.finding.summary, stood.withdrawn]),
    ]),
    [
      [
        1,
        [
          ['etcd.put_surge puts', false],
          ['retry.storm storm', false],
          ['etcd.wal_growth wal', false],
        ],
      ],
      [
        2,
        [
          ['etcd.put_surge puts', false],
          ['a louder storm', false],
          ['etcd.wal_growth wal', true],
        ],
      ],
    ],
  );
});
