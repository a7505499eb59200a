import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { account, after, type Call, object, record, user } from '../../replay/generate/cloudtrail.js';
import { random } from '../../replay/generate/random.js';
import { replayCase } from '../../replay/replay.js';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import { correlate } from '../../services/correlate/index.js';
import type { CloudTrailRow } from '../../shared/evidence.js';
import { emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { corpus, root, testWith } from '../helpers/data.js';
import { rows as rowsOf, temporaryFolder, withDuckDb } from '../helpers/store.js';
import { shuffled } from '../helpers/story.js';
import { edit, madeHours, writeTrailCase } from '../helpers/trail.js';
import { basicSelectors, callOf, type Done } from '../helpers/trail-acts.js';

const START = '2024-03-17T00:00:00Z';
const HOUR = 3600;
const archive = 'arn:aws:s3:::archive/';

/** A call on an object of a bucket, at so many seconds. */
const objectCall = (second: number, bucket: string, name = 'PutObject'): Call =>
  object({
    at: after(START, second),
    who: user('ada'),
    ip: '192.0.2.1',
    userAgent: 'x',
    name,
    readOnly: false,
    bucket,
    key: 'a/b.json',
  });

const management = (second: number): Call => ({
  at: after(START, second),
  who: user('ada'),
  ip: '192.0.2.1',
  userAgent: 'x',
  source: 'ec2.amazonaws.com',
  name: 'DescribeInstances',
  readOnly: true,
});

function decoded(calls: readonly Call[]): CloudTrailRow[] {
  const chance = random(7);
  const text = JSON.stringify({ Records: calls.map((call) => record(call, chance)) });
  return cloudtrail.decode(Buffer.from(text), { origin: 'story', gunzip: (bytes) => gunzipSync(bytes) }).rows;
}

async function storeOf(
  t: Pick<ExecutionContext, 'teardown'>,
  batches: readonly (readonly CloudTrailRow[])[],
  askAfterEach = false,
): Promise<Store> {
  const store = await openStore(join(temporaryFolder(t), 'trails.duckdb'));
  t.teardown(() => store.close());
  for (const [index, rows] of batches.entries()) {
    const batch = emptyBatch();
    for (const row of rows) batch.cloudtrail.push({ sourceId: 'records', row });
    await store.commit(batch);
    if (askAfterEach || index === batches.length - 1)
      await correlate(store, { endOfInput: index === batches.length - 1 });
  }
  return store;
}

/** `<state> <from second> <to second>` of the rows of a category and resource, in the order of time. */
async function told(store: Pick<Store, 'connection'>, category: string, resource: string | null): Promise<string[]> {
  const found = await rowsOf(
    store.connection,
    `SELECT state, epoch(from_time) - epoch(TIMESTAMP '2024-03-17'), epoch(to_time) - epoch(TIMESTAMP '2024-03-17'), operations FROM coverage
     WHERE source = 'cloudtrail' AND category = '${category}' AND resource IS NOT DISTINCT FROM ${resource === null ? 'NULL' : `'${resource}'`}
       AND (category <> 'Data' OR resource_type = 'AWS::S3::Object') AND state <> 'source_limit' ORDER BY from_time, operations`,
  );
  return found.map((row) => row.filter((word) => word !== 'all').join(' '));
}

const reasons = async (store: Store, state: string): Promise<string> =>
  (await rowsOf(store.connection, `SELECT DISTINCT reason FROM coverage WHERE state = '${state}' ORDER BY ALL`)).join(
    '\n',
  );

const everyHour = (hours: number, call: (second: number) => Call): Call[] =>
  Array.from({ length: hours + 1 }, (_, hour) => call(hour * HOUR));
const calls = (name: string, ...done: readonly Done[]): Call[] => done.map((one) => callOf(one, name, START));

test('without a word about trails what is present is collected, and of the rest nothing is known', async (t) => {
  const store = await storeOf(t, [decoded([management(0), objectCall(100, 'web'), management(2 * HOUR)])]);
  t.deepEqual(await told(store, 'Management', null), [`collected 0 ${2 * HOUR}`]);
  t.deepEqual(await told(store, 'Data', null), [`unknown 0 ${2 * HOUR}`]);
  t.deepEqual(
    await told(store, 'Data', 'arn:aws:s3:::web/'),
    [`collected 0 ${HOUR}`],
    'to the hour: when in it is in the evidence',
  );
  t.regex(
    await reasons(store, 'collected'),
    /that others are absent means nothing: no event in evidence says what a trail records/,
  );
});

test('selectors count from their event on, whatever comes before is unknown or only present', async (t) => {
  const evidence = [
    ...everyHour(5, management),
    ...everyHour(5, (second) => objectCall(second, 'archive')),
    ...calls('org', { second: 1800, does: 'selectors', selectors: basicSelectors([archive]) }),
  ];
  const store = await storeOf(t, [decoded(evidence)]);
  t.deepEqual(await told(store, 'Data', archive), ['collected 0 1800', `collected 1800 ${5 * HOUR}`]);
  t.deepEqual(await told(store, 'Data', null), ['unknown 0 1800', `selector_excluded 1800 ${5 * HOUR}`]);
  t.deepEqual(await told(store, 'NetworkActivity', null), ['unknown 0 1800', `not_subscribed 1800 ${5 * HOUR}`]);
  const [[event]] = (await rowsOf(
    store.connection,
    `SELECT DISTINCT e.event_name FROM coverage c JOIN cloudtrail_events e USING (evidence_id) WHERE c.state = 'selector_excluded'`,
  )) as [[string]];
  t.is(event, 'PutEventSelectors', 'the event that decided is named by its evidence');
});

test('what a trail records is not collected where no record of its category is there', async (t) => {
  const evidence = [
    ...everyHour(5, management),
    ...calls('org', { second: 1800, does: 'selectors', selectors: basicSelectors([archive]) }),
  ];
  const store = await storeOf(t, [decoded(evidence)]);
  t.deepEqual(await told(store, 'Data', archive), [`unknown 0 1800`, `unknown 1800 ${5 * HOUR}`]);
  t.regex(await reasons(store, 'unknown'), /nothing shows that its log files of that time were read/);
  t.deepEqual(await told(store, 'Management', null), ['collected 0 1800', `collected 1800 ${5 * HOUR}`]);
});

test('days without any record of a category are not collected', async (t) => {
  const days = [0, HOUR, 50 * HOUR, 51 * HOUR];
  const evidence = [
    ...days.map(management),
    ...calls('org', { second: 0, does: 'selectors', selectors: basicSelectors([]) }),
  ];
  const store = await storeOf(t, [decoded(evidence)]);
  t.deepEqual(await told(store, 'Management', null), [
    `collected 0 ${2 * HOUR}`,
    `unknown ${2 * HOUR} ${50 * HOUR}`,
    `collected ${50 * HOUR} ${51 * HOUR}`,
  ]);
});

test('a stopped trail says so, and what is there all the same came by another way', async (t) => {
  const acts = calls(
    'org',
    { second: 0, does: 'selectors', selectors: basicSelectors([archive]) },
    { second: HOUR, does: 'stop' },
    { second: 2 * HOUR, does: 'stop', error: 'AccessDenied' },
  );
  const silent = await storeOf(t, [decoded([management(0), objectCall(0, 'archive'), ...acts])]);
  t.deepEqual(await told(silent, 'Management', null), [`collected 0 ${HOUR}`, `logging_stopped ${HOUR} ${2 * HOUR}`]);
  const goesOn = await storeOf(t, [decoded([...everyHour(5, management), objectCall(4 * HOUR, 'archive'), ...acts])]);
  t.deepEqual(await told(goesOn, 'Management', null), [`collected 0 ${HOUR}`, `logging_stopped ${HOUR} ${5 * HOUR}`]);
  t.regex(
    await reasons(goesOn, 'logging_stopped'),
    /org was stopped by StopLogging at 2024-03-17T01:00:00Z.*records are there all the same/s,
  );
});

test('limits of the source are there whatever trails select, and not without CloudTrail', async (t) => {
  const limits = (store: Store) =>
    rowsOf(store.connection, `SELECT operations FROM coverage WHERE state = 'source_limit' ORDER BY ALL`);
  t.deepEqual(await limits(await storeOf(t, [[]])), []);
  const names = (await limits(await storeOf(t, [decoded([management(0)])]))).flat().join('; ');
  for (const limit of [
    'keys of DeleteObjects',
    'lifecycle',
    'VPC endpoint policy',
    'authentication fails',
    'CloudTrail itself',
  ])
    t.true(names.includes(limit), limit);
});

/* ---- digests ---- */

/** A trail of so many hours with digests, beside the record of what its selectors were before. */
async function withDigests(
  t: ExecutionContext,
  spoil: (trail: ReturnType<typeof madeHours>) => void = () => {},
  name = 'main',
): Promise<Pick<Store, 'connection'> & { close: () => void }> {
  const trail = madeHours(4);
  spoil(trail);
  const folder = join(temporaryFolder(t), 'case');
  writeTrailCase(folder, [trail]);
  mkdirSync(join(folder, 'cloudtrail/before'), { recursive: true });
  const put = callOf({ second: -3600, does: 'selectors', selectors: basicSelectors([]) }, 'main', START);
  const event = { ...(record(put, random(3)) as Record<string, unknown>), awsRegion: 'eu-west-1' };
  const selectors = {
    eventSelectors: basicSelectors(['arn:aws:s3']).basic,
    trailName: `arn:aws:cloudtrail:eu-west-1:${account}:trail/${name}`,
  };
  writeFileSync(
    join(folder, 'cloudtrail/before/a.json'),
    JSON.stringify({ Records: [{ ...event, requestParameters: selectors }] }),
  );
  const path = join(folder, 'trail.duckdb');
  await replayCase(folder, path, { nowUnixNano: 1_710_700_000_000_000_000n });
  const store = await openStore(path);
  t.teardown(() => store.close());
  return store;
}

test('what a trail records, and signed digests vouch for, is collected and verified: of the time of events, not of delivery', async (t) => {
  const store = await withDigests(t);
  const found = await told(store, 'Data', null);
  t.true(
    found.some((line) => line.startsWith(`collected_verified 0 `)),
    found.join('\n'),
  );
  const [from, to] = found
    .find((line) => line.startsWith('collected_verified'))!
    .split(' ')
    .slice(1)
    .map(Number);
  t.is(from, 0);
  t.true(to! <= 4 * HOUR - 900, 'records of the last quarter of an hour may come with a later digest');
});

test('of the time of a log file that is missing nothing is known', async (t) => {
  const store = await withDigests(t, (trail) => void trail.objects.delete(trail.logs[1]![0]!));
  const found = await told(store, 'Data', null);
  t.true(found.includes(`unknown ${HOUR - 900} ${2 * HOUR}`), found.join('\n'));
  t.true(found.some((line) => line.startsWith('collected_verified')));
});

test('a trail of which only digests are in evidence may record what the others leave out', async (t) => {
  const store = await withDigests(t, () => {}, 'other');
  const network = await rowsOf(
    store.connection,
    `SELECT state, reason FROM coverage WHERE category = 'NetworkActivity'`,
  );
  t.is(network.length, 1);
  t.is(network[0]![0], 'unknown');
  t.regex(
    String(network[0]![1]),
    /^digests of main are in evidence, and what it selects is not; not recorded by the trails in evidence: other does not/,
  );
});

test('nor of the time of one that was changed', async (t) => {
  const store = await withDigests(t, (trail) =>
    edit(trail, trail.logs[2]![1]!, (text) => text.replace('GetObject', 'PutObject')),
  );
  t.true((await told(store, 'Data', null)).includes(`unknown ${2 * HOUR - 900} ${3 * HOUR}`));
});

/* ---- order, batches, copies ---- */

const some: fc.Arbitrary<Call[]> = fc
  .array(
    fc.oneof(
      fc.nat(40 * HOUR).map((second) => [management(second)]),
      fc
        .tuple(fc.nat(40 * HOUR), fc.constantFrom('archive', 'web'))
        .map(([second, bucket]) => [objectCall(second, bucket, 'DeleteObject')]),
      fc
        .tuple(
          fc.nat(40 * HOUR),
          fc.constantFrom('org', 'other'),
          fc.constantFrom<Done['does']>('create', 'start', 'stop', 'delete', 'selectors', 'insights'),
          fc.subarray([archive, 'arn:aws:s3:::web/']),
          fc.boolean(),
        )
        .map(([second, name, what, arns, fails]) => {
          const done = {
            second,
            does: what,
            selectors: basicSelectors(arns),
            insights: ['ApiCallRateInsight'],
            ...(fails && { error: 'AccessDenied' }),
          } as Done;
          return calls(name, done);
        }),
    ),
    { minLength: 3, maxLength: 25 },
  )
  .map((parts) => parts.flat());

const everything = (store: Store) => rowsOf(store.connection, 'SELECT * FROM coverage ORDER BY ALL');

function split<T>(items: readonly T[], parts: number): T[][] {
  const length = Math.max(1, Math.ceil(items.length / parts));
  return Array.from({ length: parts }, (_, part) => items.slice(part * length, (part + 1) * length));
}

test('records that come shuffled, split, late and twice give the same coverage', async (t) => {
  await t.notThrowsAsync(async () =>
    fc.assert(
      fc.asyncProperty(some, fc.nat(), fc.integer({ min: 2, max: 6 }), async (evidence, seed, parts) => {
        const rows = decoded(evidence);
        const teardowns: (() => void)[] = [];
        const scope = { teardown: (end: () => void) => void teardowns.unshift(end) };
        try {
          const once = await everything(await storeOf(scope, [rows]));
          const again = shuffled(rows, seed).slice(0, 3);
          const pieces = await everything(
            await storeOf(scope, split(shuffled([...rows, ...again], seed + 1), parts), true),
          );
          assert.deepEqual(pieces, once);
          assert.ok(once.length > 0);
        } finally {
          for (const end of teardowns) end();
        }
      }),
      { numRuns: 12 },
    ),
  );
});

test('of one part of one place no two rows are of the same time and operations', async (t) => {
  const [evidence] = fc.sample(some, { numRuns: 1, seed: 11 });
  const store = await storeOf(t, [
    decoded([
      ...evidence!,
      ...everyHour(40, management),
      ...calls('org', { second: 900, does: 'selectors', selectors: basicSelectors([archive]) }),
    ]),
  ]);
  const overlapping = await rowsOf(
    store.connection,
    `SELECT a.category, a.resource, a.operations, a.from_time, b.from_time FROM coverage a JOIN coverage b ON a.source = b.source AND a.scope = b.scope AND a.category = b.category
       AND a.resource_type IS NOT DISTINCT FROM b.resource_type AND a.resource IS NOT DISTINCT FROM b.resource AND a.operations = b.operations
       AND a.from_time < b.to_time AND b.from_time < a.to_time AND (a.from_time, a.to_time, a.state) <> (b.from_time, b.to_time, b.state)
     WHERE a.state <> 'source_limit'`,
  );
  t.deepEqual(overlapping, []);
});

test('a store that was written before trails were in coverage says the same after its next correlation', async (t) => {
  const rows = decoded([
    ...everyHour(3, management),
    ...calls('org', { second: 60, does: 'selectors', selectors: basicSelectors([archive]) }),
  ]);
  const store = await storeOf(t, [rows]);
  const now = await everything(store);
  for (const table of ['trail_hours', 'recorded']) await store.connection.run(`DELETE FROM _store.${table}`);
  await store.connection.run(`UPDATE _store.correlated SET rollups = 'another', folds = folds`);
  await correlate(store, { endOfInput: true });
  t.deepEqual(await everything(store), now);
});

/* ---- bundled cases ---- */

async function caseOf<T>(
  t: ExecutionContext,
  name: string,
  ask: (store: Pick<Store, 'connection'>) => Promise<T>,
): Promise<T> {
  const path = join(temporaryFolder(t), 'case.duckdb');
  await replayCase(join(root, 'replay/cases', name), path, { nowUnixNano: 1_710_700_000_000_000_000n });
  return withDuckDb(path, (connection) => ask({ connection }));
}

test('audit-log-purge: the archive is recorded since the selectors were put, other buckets are left out', async (t) => {
  await caseOf(t, 'audit-log-purge', async ({ connection }) => {
    const rows = await rowsOf(
      connection,
      `SELECT resource, state, from_time::VARCHAR FROM coverage WHERE resource_type = 'AWS::S3::Object' AND state <> 'source_limit' AND from_time >= TIMESTAMP '2024-03-11 02:00:00' ORDER BY resource`,
    );
    const since = '2024-03-11 02:20:11';
    t.deepEqual(rows, [
      ['arn:aws:s3:::prod-artifacts/', 'collected', since],
      ['arn:aws:s3:::prod-logs-archive/', 'collected', since],
      [null, 'selector_excluded', since],
    ]);
    t.deepEqual(await rowsOf(connection, `SELECT reason FROM coverage WHERE contains(reason, 'all the same')`), []);
  });
});

test('benign-deletes: calls that failed say nothing of a trail; what is there is collected', async (t) => {
  await caseOf(t, 'benign-deletes', async ({ connection }) => {
    t.deepEqual(
      await rowsOf(
        connection,
        `SELECT DISTINCT state, len(coalesce(trails, [])) FROM coverage WHERE source = 'cloudtrail' AND category IS NOT NULL AND state <> 'source_limit' ORDER BY ALL`,
      ),
      [
        ['collected', 0n],
        ['unknown', 0n],
      ],
    );
  });
});

/* ---- real records ---- */

const textsOf = (folder: string, names: readonly string[]): CloudTrailRow[] =>
  names.flatMap(
    (name) =>
      cloudtrail.decode(readFileSync(join(folder, name)), { origin: name, gunzip: (bytes) => gunzipSync(bytes) }).rows,
  );

testWith(
  corpus,
  'CAUSELINE_CORPUS',
  'recorded techniques against trails leave the coverage that they leave',
  async (t, data) => {
    const of = (technique: string) =>
      storeOf(t, [textsOf(join(data, 'cloudtrail/stratus_detonations'), [`aws.defense-evasion.${technique}.json`])]);
    const states = async (store: Store) =>
      (
        await rowsOf(
          store.connection,
          `SELECT DISTINCT category, state FROM coverage WHERE evidence_id IS NOT NULL ORDER BY ALL`,
        )
      ).map((row) => row.join(' '));
    t.true((await states(await of('cloudtrail-stop'))).includes('Management logging_stopped'));
    t.true((await states(await of('cloudtrail-delete'))).includes('Management logging_stopped'));
    const selectors = await states(await of('cloudtrail-event-selectors'));
    t.true(
      selectors.includes('Management selector_excluded') && selectors.includes('Data selector_excluded'),
      selectors.join(),
    );
  },
);

testWith(
  corpus,
  'CAUSELINE_CORPUS',
  'the made and deleted trails of 2,900 real records are not taken for the one that recorded them',
  async (t, data) => {
    const folder = join(data, 'cloudtrail/invictus_stratus');
    const store = await storeOf(t, [
      textsOf(
        folder,
        readdirSync(folder).filter((name) => name.endsWith('.json')),
      ),
    ]);
    const stopped = await reasons(store, 'logging_stopped');
    t.regex(stopped, /deleted by DeleteTrail at 2023-07-10T12:08:04Z.*records are there all the same/s);
    t.notRegex(stopped, /stop-trail/, 'that StopLogging was refused');
  },
);

interface RuleTest {
  readonly rule: string;
  readonly test: string;
  readonly expected: boolean;
  readonly log: Readonly<Record<string, unknown>>;
}

/** Published rules about acts on trails, and what such an act leaves of management events. */
const RULES: Readonly<Record<string, string>> = {
  'AWS.CloudTrail.EventSelectorsDisabled': 'selector_excluded',
  'AWS.CloudTrail.Stopped': 'logging_stopped',
};

testWith(
  corpus,
  'CAUSELINE_CORPUS',
  'published rule tests about trails leave the coverage that they expect',
  async (t, data) => {
    const lines = readFileSync(join(data, 'cloudtrail/panther_rule_tests/tests.jsonl'), 'utf8').trim().split('\n');
    const tests = lines.map((line) => JSON.parse(line) as RuleTest).filter(({ rule }) => rule in RULES);
    t.true(tests.length >= 4);
    for (const { rule, test: name, expected, log } of tests) {
      const text = JSON.stringify({ ...log, eventTime: '2024-01-15T10:45:23Z' });
      const { rows } = cloudtrail.decode(Buffer.from(text), { origin: rule, gunzip: (bytes) => gunzipSync(bytes) });
      const store = await storeOf(t, [rows]);
      const states = await rowsOf(
        store.connection,
        `SELECT DISTINCT state FROM coverage WHERE category = 'Management' AND evidence_id IS NOT NULL`,
      );
      t.is(states.flat().includes(RULES[rule]!), expected, `${rule}: ${name} ${states.join()}`);
    }
  },
);
