import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { replayCase } from '../../replay/replay.js';
import { correlate } from '../../services/correlate/index.js';
import { absencesOf } from '../../services/query/absences.js';
import type { Question } from '../../services/query/answer.js';
import { ask } from '../../services/query/ask.js';
import { type CoverageRow, readCoverage, rowsAbout } from '../../services/query/coverage.js';
import { readOperations } from '../../services/query/operations.js';
import { connectTo } from '../../shared/store/open.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { causeline, type Ended } from '../helpers/cli.js';
import { root } from '../helpers/data.js';
import { purgeEvidence, purgeStories } from '../helpers/purge-story.js';
import { withDuckDb } from '../helpers/store.js';

const folder = mkdtempSync(join(tmpdir(), 'causeline-coverage-'));
const purge = join(folder, 'purge.duckdb');
const benign = join(folder, 'benign.duckdb');

test.before('two cases are replayed', async () => {
  for (const [name, path] of [
    ['audit-log-purge', purge],
    ['benign-deletes', benign],
  ] as const)
    await replayCase(join(root, 'replay/cases', name), path, { nowUnixNano: 1_710_700_000_000_000_000n });
});

test.after.always(() => rmSync(folder, { recursive: true, force: true }));

async function answered(db: string, question: Question, width = 80): Promise<string> {
  const pieces: Buffer[] = [];
  const out = new Writable({
    write(piece: Buffer, _, done) {
      pieces.push(Buffer.from(piece));
      done();
    },
  });
  await ask(db, question, { width, colour: false }, out);
  return String(Buffer.concat(pieces));
}

const coverage = (db: string, filter: Extract<Question, { command: 'coverage' }>['filter'] = {}) =>
  answered(db, { command: 'coverage', filter });

/** One clear line on stderr, nothing on stdout, and no stack. */
function refused(t: ExecutionContext, { code, stdout, stderr }: Ended, expected: number, says: RegExp): void {
  t.is(code, expected, stderr);
  t.regex(stderr, says);
  t.is(stderr.trimEnd().split('\n').length, 1, stderr);
  t.notRegex(stderr, / at .*\.js:/);
  t.is(stdout, '');
}

test.serial('coverage is told by account, region, category and resource, in 80 columns', async (t) => {
  const text = await coverage(purge);
  t.regex(text, /^cloudtrail {2}123456789012\/ap-southeast-1$/m);
  t.regex(
    text,
    /Data AWS::S3::Object arn:aws:s3:::prod-logs-archive\/\n.*\n(.*\n)*? {4}collected {11}2024-03-11 02:20:11 to 2024-03-16 21:41:35 UTC\n {6}prod-trail records it by/,
  );
  t.regex(text, /^traces {2}prod\/api-gateway$/m);
  for (const line of text.split('\n')) t.true(Array.from(line).length <= 80, line);
});

test.serial('a bucket, a time and a category narrow it', async (t) => {
  const night = { from: '2024-03-16T19:00:00Z', to: '2024-03-16T20:00:00Z' };
  const archive = await coverage(purge, { resource: 'prod-logs-archive', ...night });
  t.regex(archive, /prod-logs-archive\/\n {4}collected/);
  t.notRegex(archive, /selector_excluded|Management AWS|unknown/);
  const web = await coverage(purge, { resource: 'web', ...night });
  t.regex(web, /Data AWS::S3::Object\n {4}selector_excluded/);
  t.regex(web, /keys of DeleteObjects/);
  const insight = await coverage(purge, { category: 'Insight' });
  t.deepEqual(insight.match(/^ {2}\w+.*$/gm), ['  Insight']);
});

test.serial('nothing is said to be nothing', async (t) => {
  t.regex(await coverage(purge, { from: '2025-01-01' }), /^Nothing: no evidence matches/);
  t.regex(await answered(benign, { command: 'operations' }), /^No event in evidence changed a trail/);
});

test.serial('--json is the rows of the relation, one document', async (t) => {
  const { code, stdout, stderr } = await causeline([
    'coverage',
    '--db',
    purge,
    '--account',
    '123456789012',
    '--category',
    'Management',
    '--json',
  ]);
  t.is(code, 0, stderr);
  const rows = JSON.parse(stdout) as CoverageRow[];
  t.true(rows.length > 0);
  t.true(rows.every(({ category, source }) => category === 'Management' && source === 'cloudtrail'));
  t.true(
    rows.some(({ trails, evidence_id }) => trails?.[0]?.endsWith('trail/prod-trail') === true && evidence_id !== null),
  );
});

test.serial('what cannot be, or is not in evidence, is one clear line', async (t) => {
  const run = (...args: string[]) => causeline(['coverage', '--db', purge, ...args]);
  refused(t, await run('--account', '1'), 1, /no account '1' in evidence: those with records are 123456789012/);
  refused(t, await run('--region', 'eu-west-1'), 1, /no region 'eu-west-1'/);
  refused(t, await run('--category', 'Date'), 2, /Management, Data, NetworkActivity, Insight/);
  refused(t, await run('--from', 'yesterday'), 2, /--from takes an ISO 8601 time/);
  refused(t, await run('--from', '2024-03-17', '--to', '2024-03-16'), 2, /--from .* is after --to/);
  refused(t, await run('--operations', '--account', '123456789012'), 2, /--account says nothing beside --operations/);
  refused(t, await run('--selectors', join(folder, 'none.json')), 2, /none\.json .*no such file/);
});

test.serial('it is answered from the connection of a running writer, in a transaction that only reads', async (t) => {
  copyFileSync(purge, join(folder, 'held.duckdb'));
  const held = await openStore(join(folder, 'held.duckdb'));
  const connection = await connectTo(held);
  try {
    await connection.run('BEGIN TRANSACTION READ ONLY');
    t.true((await readCoverage(connection, { category: 'Data' })).length > 0);
    t.is((await readOperations(connection)).length, 1);
    await t.throwsAsync(readCoverage(connection, { account: '1' }), { message: /no account '1'/ });
  } finally {
    connection.closeSync();
    held.close();
  }
});

test.serial(
  'a file of an earlier version is read as far as it says something, and brought up by whoever writes it',
  async (t) => {
    const path = join(folder, 'earlier version.duckdb');
    copyFileSync(purge, path);
    await withDuckDb(path, async (connection) => {
      const old = 'source, scope, from_time, to_time, state, reason, service, instance';
      await connection.run(`CREATE TABLE told AS SELECT ${old} FROM coverage WHERE category IS NULL`);
      await connection.run(`CREATE OR REPLACE VIEW coverage AS SELECT ${old} FROM told`);
      await connection.run('DROP VIEW _store.recorded_coverage');
      for (const table of ['recorded', 'trail_hours']) await connection.run(`DROP TABLE _store.${table}`);
      await connection.run('DELETE FROM causeline_version WHERE version > 1');
      await connection.run(`UPDATE _store.correlated SET rollups = 'of an earlier version'`);
    });
    t.regex(await coverage(path), /^cloudtrail {2}123456789012\/ap-southeast-1\n.*\n.*\n {4}collected/);
    const [{ chain_id: id }] = JSON.parse(await answered(path, { command: 'chains', json: true })) as [
      { chain_id: string },
    ];
    t.regex(await answered(path, { command: 'explain', id }), /What was not covered/);
    const written = await openStore(path);
    t.teardown(() => written.close());
    await correlate(written, { endOfInput: true });
    t.true((await readCoverage(written.connection, { category: 'Data' })).length > 0);
  },
);

test.serial('which destructive operations a trail in evidence records, also as it stood before', async (t) => {
  const text = await answered(purge, { command: 'operations' });
  t.regex(text, /^ {2}partly \[1\] {3}s3:DeleteObjectVersion +DeleteObject$/m);
  t.regex(text, /^ {2}yes \[2\] +cloudtrail:StopLogging +StopLogging$/m);
  t.regex(text, /^ {2}never \[\d\] {4}keys of DeleteObjects$/m);
  t.regex(text, /^ {2}\[1\] {2}arn:aws:s3:::prod-logs-archive\/\*: recorded by basic selector 1$/m);
  for (const line of text.split('\n')) t.true(Array.from(line).length <= 80, line);
  t.regex(
    await answered(purge, { command: 'operations', at: '2024-03-11T01:00:00Z' }),
    /Its selectors are not in evidence/,
  );
});

const given = (name: string, document: unknown): string => {
  const path = join(folder, name);
  writeFileSync(path, typeof document === 'string' ? document : JSON.stringify(document));
  return path;
};

test.serial('selectors from a file are judged without a store', async (t) => {
  const basic = given('basic.json', {
    TrailARN: 'arn:aws:cloudtrail:eu-west-1:123456789012:trail/org',
    EventSelectors: [
      {
        ReadWriteType: 'All',
        IncludeManagementEvents: true,
        DataResources: [],
        ExcludeManagementEventSources: ['kms.amazonaws.com'],
      },
    ],
  });
  const ended = await causeline(['coverage', '--selectors', basic, '--json'], { cwd: folder });
  t.is(ended.code, 0, ended.stderr);
  const [{ trail, operations }] = JSON.parse(ended.stdout) as [
    { trail: string; operations: { operation: string; recorded: string }[] },
  ];
  t.is(trail, 'arn:aws:cloudtrail:eu-west-1:123456789012:trail/org');
  const of = (name: string) => operations.find(({ operation }) => operation === name)?.recorded;
  t.deepEqual(
    [of('s3:DeleteObjectVersion'), of('s3:DeleteBucket'), of('kms:ScheduleKeyDeletion'), of('lifecycle expirations')],
    ['no', 'yes', 'no', 'never'],
  );
  const advanced = given('advanced.json', {
    AdvancedEventSelectors: [
      {
        Name: 'all objects',
        FieldSelectors: [
          { Field: 'eventCategory', Equals: ['Data'] },
          { Field: 'resources.type', Equals: ['AWS::S3::Object'] },
        ],
      },
    ],
  });
  const { stdout } = await causeline(['coverage', '--selectors', advanced], { cwd: folder });
  t.regex(stdout, /yes \[1\] +s3:DeleteObjectVersion/);
  t.regex(stdout, /no \[2\] +s3:DeleteBucket/);
  t.regex(stdout, /\[1\] {2}recorded by selector 'all objects'/);
});

test.serial('what is no document of selectors is refused, with where and why', async (t) => {
  const run = (path: string) => causeline(['coverage', '--selectors', path]);
  refused(
    t,
    await run(given('a.json', '{"EventSelectors": [')),
    2,
    /a\.json is not what 'aws cloudtrail get-event-selectors' prints/,
  );
  refused(t, await run(given('b.json', {})), 2, /neither EventSelectors nor AdvancedEventSelectors/);
  refused(
    t,
    await run(given('c.json', { EventSelectors: [{ ReadWriteType: 'Writes' }] })),
    2,
    /EventSelectors\.0\.ReadWriteType/,
  );
  refused(t, await run(given('d.json', { EventSelectors: [{ DataResource: [] }] })), 2, /DataResource/);
});

test.serial('explain and chains say which missing records mean something', async (t) => {
  const chains = JSON.parse(await answered(purge, { command: 'chains', json: true })) as {
    chain_id: string;
    absences: { of: string; means: string }[];
  }[];
  t.deepEqual(
    chains[0]!.absences.map(({ of, means }) => [of, means]),
    [
      ['management events', 'did_not_happen_if_whole'],
      ['data events on prod-logs-archive', 'did_not_happen_if_whole'],
    ],
  );
  const text = await answered(purge, { command: 'explain', id: chains[0]!.chain_id }, 200);
  t.regex(
    text,
    /What a missing record means\n {5}\+ No record of management events in 123456789012\/ap-southeast-1 means that it did not happen, if no log file is missing: prod-trail records it/,
  );
  const list = (await answered(purge, { command: 'chains' })).replaceAll(/\s+/g, ' ');
  t.regex(
    list,
    /no record of management events or data events on prod-logs-archive means that it did not happen, if no log file is missing\./,
  );
});

/** What is said of the first chain of a purge by whose time this was done to the only trail in evidence. */
async function explained(trail: 'stopped' | 'blind' | 'watching'): Promise<string> {
  const path = join(folder, `${trail}.duckdb`);
  const fixed = {
    versions: 40,
    grantedDaysBefore: 3,
    scans: false,
    mfaOff: false,
    empties: false,
    copies: false,
    conflictEvery: null,
  };
  const [story] = fc.sample(purgeStories({ ...fixed, trail }), { numRuns: 1, seed: 3 });
  const store = await openStore(path);
  const batch = emptyBatch();
  for (const row of purgeEvidence(story!)) batch.cloudtrail.push({ sourceId: 'records', row });
  await store.commit(batch);
  const { chains } = await correlate(store, { endOfInput: true });
  store.close();
  return answered(path, { command: 'explain', id: chains[0]!.id }, 300);
}

test.serial(
  'where the trail was stopped or blind by then, a missing record means nothing, and what it shows is a trail that is not in evidence',
  async (t) => {
    const stopped = await explained('stopped');
    t.regex(
      stopped,
      /\? No record of management events in \S+ means nothing: not recorded by the trails in evidence: org was stopped by StopLogging at 2024-03-17T01:15:02Z; .* records are there all the same/,
    );
    t.regex(stopped, /The cause lies outside the evidence: cloudtrail of \S+ are missing|no rule knows/);
    t.regex(stopped, /What was not covered\n(.*\n)*? {3}cloudtrail: management events, as said above\./);
    const blind = await explained('blind');
    t.regex(
      blind,
      /\? No record of data events on logs in \S+ means nothing: not recorded by the trails in evidence: org does not record it since PutEventSelectors .*\(basic selector 1: it takes AWS::S3::Object below arn:aws:s3:::web\/\)/,
    );
    const watching = await explained('watching');
    t.regex(
      watching,
      /\+ No record of data events on logs in \S+ means that it did not happen, if no log file is missing: org records it by basic selector 1/,
    );
  },
);

/* ---- which rows are about what ---- */

const row = (more: Partial<CoverageRow>): CoverageRow => ({
  source: 'cloudtrail',
  scope: '123456789012/eu-west-1',
  from_time: '2024-03-17T00:00:00.000Z',
  to_time: '2024-03-17T12:00:00.000Z',
  state: 'collected',
  reason: 'because',
  account_id: '123456789012',
  region: 'eu-west-1',
  category: 'Data',
  resource_type: 'AWS::S3::Object',
  resource: null,
  operations: 'all',
  trails: ['arn:aws:cloudtrail:eu-west-1:123456789012:trail/org'],
  evidence_id: null,
  ...more,
});

test('of nested prefixes the closest covers a key; those below it are told too; the rest only of other times', (t) => {
  const [bucket, below, rest, earlier] = [
    row({ resource: 'arn:aws:s3:::logs/' }),
    row({ resource: 'arn:aws:s3:::logs/audit/' }),
    row({}),
    row({ from_time: '2024-03-16T00:00:00.000Z', to_time: '2024-03-17T00:00:00.000Z' }),
  ];
  const all = [bucket, below, rest, earlier];
  t.deepEqual(rowsAbout('logs', all), [bucket, below, earlier]);
  t.deepEqual(rowsAbout('arn:aws:s3:::logs/audit/a', all), [below, earlier]);
  t.deepEqual(rowsAbout('web', all), [rest, earlier]);
  const morning = row({ resource: 'arn:aws:s3:::logs/', to_time: '2024-03-17T06:00:00.000Z' });
  t.deepEqual(
    rowsAbout('logs', [morning, rest]),
    [morning, rest],
    'what is said of a part of the time leaves the other to the rest',
  );
  const cn = row({ resource: 'arn:aws-cn:s3:::logs/' });
  t.deepEqual(rowsAbout('logs', [cn]), [cn], 'whatever the partition');
});

test('a missing record means something only where a trail records it and evidence of the time is there', (t) => {
  const finding = { kind: 's3.version_purge', keys: ['bucket:logs', 'account:123456789012'] } as const;
  const at = { from: '2024-03-17T03:00:00.000Z', to: '2024-03-17T04:00:00.000Z' };
  const of = (more: Partial<CoverageRow>) =>
    absencesOf([finding], at, [row({ resource: 'arn:aws:s3:::logs/', ...more })]);
  t.regex(
    of({ state: 'collected_verified' })[0]!.says,
    /^No record of data events on logs in \S+ means that it did not happen: because\.$/,
  );
  t.is(of({})[0]!.means, 'did_not_happen_if_whole');
  t.is(of({ trails: [] })[0]!.means, 'nothing', 'present, and nobody says what is recorded');
  for (const state of ['selector_excluded', 'not_subscribed', 'logging_stopped', 'unknown'])
    t.is(of({ state, trails: [] })[0]!.means, 'nothing', state);
  t.regex(
    of({ to_time: '2024-03-17T03:30:00.000Z' })[0]!.says,
    /from 2024-03-17 03:00:00 to 2024-03-17 03:30:00 UTC means/,
  );
  t.deepEqual(of({ to_time: '2024-03-17T02:00:00.000Z' }), [], 'of another time');
  t.deepEqual(of({ account_id: '210987654321' }), [], 'of another account');
  t.regex(of({ operations: 'writes', state: 'selector_excluded' })[0]!.says, /data events on logs \(writes\)/);
  t.deepEqual(absencesOf([{ kind: 'etcd.put_surge', keys: ['etcd:a'] }], at, [row({})]), []);
});
