import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Writable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { type AccessLine, accessLine } from '../../replay/generate/s3-access.js';
import { replayCase } from '../../replay/replay.js';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import { ask } from '../../services/query/ask.js';
import type { DeletionReport } from '../../services/query/deletions.js';
import { gunzipBounded } from '../../shared/inflate.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { causeline } from '../helpers/cli.js';
import { corpus, root, testWith } from '../helpers/data.js';
import { rows, temporaryFolder, value, withDuckDb } from '../helpers/store.js';

const ci = 'arn:aws:iam::123456789012:role/service/ci';
const session = 'arn:aws:sts::123456789012:assumed-role/ci/run-1';

interface Told {
  readonly eventName?: string;
  readonly at: number;
  readonly bucket?: string;
  readonly key?: string;
  readonly versionId?: string;
  readonly request?: object;
  readonly response?: object | null;
  readonly bytes?: number;
  readonly errorCode?: string;
  readonly requestId?: string;
  readonly identity?: object;
  readonly more?: object;
}

/** A CloudTrail record of a call on an object, so many seconds after noon. */
function record(told: Told): object {
  const { eventName = 'DeleteObject', at, bucket = 'data', key, versionId, response = null, errorCode } = told;
  const id = `${eventName}-${at}-${key ?? ''}`;
  return {
    eventVersion: '1.09',
    userIdentity: told.identity ?? {
      type: 'AssumedRole',
      arn: session,
      accountId: '123456789012',
      sessionContext: { sessionIssuer: { type: 'Role', arn: ci } },
    },
    eventTime: new Date(Date.UTC(2024, 2, 16, 12, 0, at)).toISOString().replace('.000', ''),
    eventSource: 's3.amazonaws.com',
    eventName,
    awsRegion: 'eu-west-1',
    sourceIPAddress: '192.0.2.3',
    userAgent: 'aws-cli/2.15.21',
    ...(errorCode && { errorCode }),
    requestParameters: { bucketName: bucket, ...(key && { key }), ...(versionId && { versionId }), ...told.request },
    responseElements: response,
    ...(told.bytes !== undefined && { additionalEventData: { bytesTransferredIn: told.bytes } }),
    requestID: told.requestId ?? `R-${id}`,
    eventID: id,
    readOnly: false,
    eventType: 'AwsApiCall',
    managementEvent: false,
    recipientAccountId: '123456789012',
    eventCategory: 'Data',
    ...told.more,
  };
}

const put = (at: number, key: string, version: string | undefined, bytes: number, more: Partial<Told> = {}): Told => ({
  eventName: 'PutObject',
  at,
  key,
  bytes,
  response: version === undefined ? null : { 'x-amz-version-id': version },
  ...more,
});

const marked = { 'x-amz-delete-marker': 'true', 'x-amz-version-id': 'm1' };

const logged = (line: Partial<AccessLine> & { seconds: number }): AccessLine => ({
  at: `16/Mar/2024:12:${String(Math.floor(line.seconds / 60)).padStart(2, '0')}:${String(line.seconds % 60).padStart(2, '0')} +0000`,
  bucket: 'data',
  operation: 'REST.DELETE.OBJECT',
  requestId: `L-${line.seconds}`,
  requester: session,
  ip: '192.0.2.3',
  ...line,
});

const expired = { requester: 'AmazonS3', ip: '-' };

/** Replays a case with these records and lines into a store. */
async function replayed(folder: string, records: readonly Told[], lines: readonly AccessLine[] = []): Promise<string> {
  const night = join(folder, 'case');
  mkdirSync(join(night, 'cloudtrail'), { recursive: true });
  mkdirSync(join(night, 's3-access/data'), { recursive: true });
  writeFileSync(join(night, 'case.yaml'), 'name: a case with access logs\n');
  writeFileSync(join(night, 'cloudtrail/a.json'), JSON.stringify({ Records: records.map(record) }));
  const half = Math.ceil(lines.length / 2);
  const text = (some: readonly AccessLine[]) => some.map((line) => `${accessLine(line)}\n`).join('');
  writeFileSync(join(night, 's3-access/data/2024-03-16-13-00-01-A1B2'), text(lines.slice(0, half)));
  writeFileSync(join(night, 's3-access/data/2024-03-16-14-00-01-C3D4.gz'), gzipSync(text(lines.slice(half))));
  const db = join(folder, 'case.duckdb');
  await replayCase(night, db, { nowUnixNano: BigInt(Date.now()) * 1_000_000n });
  return db;
}

async function answered(db: string, bucket?: string, json = true): Promise<string> {
  const pieces: string[] = [];
  const out = new Writable({ write: (piece, _, done) => done(void pieces.push(String(piece))) });
  await ask(
    db,
    { command: 'deletions', ...(bucket !== undefined && { bucket }), json },
    { width: 80, colour: false },
    out,
  );
  return pieces.join('');
}

const reported = async (db: string, bucket?: string): Promise<DeletionReport> => JSON.parse(await answered(db, bucket));

/** `kind loss outcome: acts/objects bytes(of)` of a bucket's principal. */
function acts(report: DeletionReport, bucket: string, principal: string | null): string[] {
  const one = report.buckets
    .find((each) => each.bucket === bucket)
    ?.principals.find((each) => each.principal === principal);
  return (one?.acts ?? []).map(
    (own) =>
      `${own.kind} ${own.loss} ${own.outcome}: ${own.acts}/${own.objects} ${own.bytes ?? '?'}(${own.bytes_known_of})`,
  );
}

async function fresh(t: ExecutionContext, records: readonly Told[], lines: readonly AccessLine[] = []) {
  const db = await replayed(temporaryFolder(t), records, lines);
  return { db, report: await reported(db) };
}

/* ---- one story with both sources ---- */

const folder = mkdtempSync(join(tmpdir(), 'causeline-deletions-'));
let db: string;
let report: DeletionReport;

test.before('a bucket with all that can happen to objects', async () => {
  const records: Told[] = [
    put(0, 'a', 'v1', 100),
    put(10, 'a', 'v2', 150),
    { at: 20, key: 'a', response: marked },
    { at: 30, key: 'a', versionId: 'v1', requestId: 'SHARED' },
    { at: 40, key: 'a', versionId: 'm1', response: marked },
    { at: 50, key: 'a', versionId: 'v2', errorCode: 'AccessDenied' },
    { at: 55, key: 'gone', versionId: 'v9', errorCode: 'NoSuchVersion' },
    // A query parameter that S3 ignores and CloudTrail copies: it must not pass for the answer.
    { at: 60, key: 'b', versionId: 'v3', request: { 'x-amz-delete-marker': 'true' } },
    { eventName: 'DeleteObjects', at: 70, requestId: 'BULK' },
    { eventName: 'DeleteObjects', at: 80, requestId: 'BULK-OF-NOBODY-KNOWS-WHAT' },
    put(0, 'x', undefined, 7, { bucket: 'plain' }),
    put(5, 'x', undefined, 8, { bucket: 'plain' }),
    { at: 10, key: 'x', bucket: 'plain' },
    { eventName: 'GetObject', at: 0, key: 'x', bucket: 'read-only', more: { readOnly: true } },
    { eventName: 'GetBucketPolicy', at: 0, bucket: 'unwatched', more: { eventCategory: 'Management' } },
  ];
  const lines = [
    logged({
      seconds: 30,
      requestId: 'SHARED',
      key: 'a',
      uri: 'DELETE /a?versionId=v1 HTTP/1.1',
      status: 204,
      size: 101,
      versionId: 'v1',
    }),
    ...[
      { key: 'b%2520one', status: 204, size: 10 },
      { key: 'b2', status: 204, size: 20, versionId: 'v7' },
      { key: 'b3', status: 403, error: 'AccessDenied' },
    ].map((key) => logged({ seconds: 70, requestId: 'BULK', operation: 'BATCH.DELETE.OBJECT', ...key })),
    logged({
      seconds: 70,
      requestId: 'BULK',
      operation: 'REST.POST.MULTI_OBJECT_DELETE',
      uri: 'POST /?delete HTTP/1.1',
      status: 200,
    }),
    logged({ seconds: 100, key: 'c', uri: 'DELETE /c?versionId=v4 HTTP/1.1', status: 204, size: 40, versionId: 'v4' }),
    logged({ seconds: 101, key: 'd', uri: 'DELETE /d?versionId=v5 HTTP/1.1', status: 204, versionId: 'v5' }),
    logged({ seconds: 110, operation: 'S3.EXPIRE.OBJECT', key: 'old', size: 5, ...expired }),
    logged({ seconds: 111, operation: 'S3.CREATE.DELETEMARKER', key: 'older', ...expired }),
    logged({ seconds: 112, operation: 'S3.TRANSITION_SIA.OBJECT', key: 'cold', size: 6, ...expired }),
  ];
  db = await replayed(folder, records, lines);
  report = await reported(db);
});

test.after.always(() => rmSync(folder, { recursive: true, force: true }));

test('of a principal: what is lost, kept, restored, unknown and refused, with the bytes that are known', (t) => {
  t.deepEqual(acts(report, 'data', ci), [
    // a@v1 (101 B by the access log), b@v3, b2@v7 of the bulk call (20 B), c@v4 (40 B)
    'version_deleted lost ok: 4/4 161(3)',
    'version_deleted unknown ok: 1/1 ?(0)', // d@v5: no size, it may have been a delete marker
    'version_deleted none failed: 1/1 ?(0)',
    'version_deleted none denied: 1/1 ?(0)',
    'bulk_call unknown ok: 2/0 ?(0)',
    'marker_set kept ok: 2/2 160(2)', // a, with what was uploaded last; the first key of the bulk call
    'marker_set none denied: 1/1 ?(0)',
    'overwritten kept ok: 1/1 100(1)',
    'marker_removed restored ok: 1/1 ?(0)',
  ]);
});

test('a deletion that both sources tell of counts once, and says so', async (t) => {
  const told = await withDuckDb(db, (connection) =>
    rows(
      connection,
      `SELECT seen_in, principal, bytes, evidence_table, access_id IS NOT NULL FROM deletions WHERE request_id = 'SHARED'`,
    ),
  );
  t.deepEqual(told, [['both', ci, 101n, 'cloudtrail_events', true]]);
});

test('a session in an access log is the role that CloudTrail knows it by, its path included', async (t) => {
  const told = await withDuckDb(db, (connection) =>
    rows(connection, `SELECT principal, caller, seen_in FROM deletions WHERE object_key = 'c'`),
  );
  t.deepEqual(told, [[ci, session, 's3-access']]);
});

test('keys of DeleteObjects come from the access log by the request id; of a call without lines they stay unknown', (t) => {
  const [data] = report.buckets;
  const calls = data!.principals
    .find(({ principal }) => principal === ci)!
    .acts.find(({ kind }) => kind === 'bulk_call')!;
  t.like(calls, { acts: 2, keys_known: 3, calls_without_keys: 1, loss: 'unknown' });
  t.true(report.limits.some((says) => says.startsWith('DeleteObjects names no key')));
});

test('what lifecycle rules did is in access logs alone', (t) => {
  t.deepEqual(acts(report, 'data', 'S3 Lifecycle'), [
    'expired lost ok: 1/1 5(1)',
    'expired_marker kept ok: 1/1 ?(0)',
    'transitioned none ok: 1/1 6(1)',
  ]);
});

test('where nothing says that a bucket was versioned, nothing is said to be kept', async (t) => {
  t.deepEqual(acts(report, 'plain', ci), ['object_deleted unknown ok: 1/1 8(1)', 'overwritten unknown ok: 1/1 7(1)']);
  const text = await answered(db, 'plain', false);
  t.regex(
    text.replaceAll(/\s+/g, ' '),
    /Nothing in evidence says that the bucket was versioned: they may be gone for good/,
  );
});

test('a role that deleted versions proves that MFA Delete was off, and lifecycle proves nothing', (t) => {
  const [data] = report.buckets;
  const said = (principal: string) => data!.principals.find((one) => one.principal === principal)!.statements;
  t.is(said(ci).length, 1);
  t.regex(said(ci)[0]!, /^2024-03-16 12:00:30 UTC: MFA Delete was not on: .*role\/service\/ci is not the root user/);
  t.deepEqual(said('S3 Lifecycle'), []);
});

test('buckets without object-level events are named: no deletion in evidence is not nothing deleted', async (t) => {
  t.deepEqual(report.unwatched, ['unwatched']);
  const text = async (bucket: string) => (await answered(db, bucket, false)).replaceAll(/\s+/g, ' ');
  t.regex(await text('unwatched'), /whatever was deleted in it could not be seen/);
  t.regex(await text('no-such-bucket'), /whatever was deleted in it could not be seen/);
  t.regex(
    await text('read-only'),
    /All of them read: whether deletions were recorded at all is not known.*No deletion is in evidence/,
  );
});

test('--bucket gives what the whole report says of it', async (t) => {
  for (const bucket of ['data', 'plain'])
    t.deepEqual(
      (await reported(db, bucket)).buckets,
      report.buckets.filter((one) => one.bucket === bucket),
    );
});

test('the order of the evidence makes no difference', async (t) => {
  const own = temporaryFolder(t);
  const half = join(folder, 'case');
  const read = (name: string) => readFileSync(join(half, name), 'utf8');
  const night = join(own, 'turned');
  mkdirSync(join(night, 'cloudtrail'), { recursive: true });
  mkdirSync(join(night, 's3-access'), { recursive: true });
  writeFileSync(join(night, 'case.yaml'), 'name: turned\n');
  const turned = JSON.parse(read('cloudtrail/a.json')).Records.reverse();
  writeFileSync(join(night, 'cloudtrail/b.json'), JSON.stringify({ Records: turned.slice(0, 7) }));
  writeFileSync(join(night, 'cloudtrail/a.json'), JSON.stringify({ Records: turned.slice(5) }));
  const gz = readFileSync(join(half, 's3-access/data/2024-03-16-14-00-01-C3D4.gz'));
  writeFileSync(join(night, 's3-access/1'), gz);
  const lines = read('s3-access/data/2024-03-16-13-00-01-A1B2').trimEnd().split('\n');
  writeFileSync(join(night, 's3-access/2'), lines.toReversed().join('\r\n'));
  const other = join(own, 'turned.duckdb');
  await replayCase(night, other, { nowUnixNano: BigInt(Date.now()) * 1_000_000n });
  await replayCase(half, other, { nowUnixNano: BigInt(Date.now()) * 1_000_000n }); // all of it again
  t.deepEqual(await reported(other), report);
});

test('the text fits 80 columns but for commands to copy, and each of those answers', async (t) => {
  const { code, stdout, stderr } = await causeline(['deletions', '--db', db]);
  t.is(code, 0, stderr);
  t.notRegex(stdout, /(?!\n)\p{Cc}/u);
  const text = await answered(db, undefined, false);
  const commands = text.split('\n').filter((line) => line.includes('npx causeline'));
  for (const line of text.split('\n')) if (!commands.includes(line)) t.true(line.length <= 80, line);
  t.true(commands.length >= 3);
  for (const line of commands) {
    const query = /sql "(.*)"$/.exec(line)![1]!;
    const found = await causeline(['sql', query, '--db', db, '--format', 'json']);
    t.is(found.code, 0, found.stderr);
    t.true(JSON.parse(found.stdout).length > 0, query);
  }
});

test('coverage says of access logs that an absence means nothing', async (t) => {
  const found = await withDuckDb(db, (connection) =>
    rows(connection, `SELECT scope, state, reason FROM coverage WHERE source = 's3-access'`),
  );
  t.is(found.length, 1);
  t.deepEqual(found[0]!.slice(0, 2), ['data', 'collected']);
  t.regex(String(found[0]![2]), /absent means nothing/);
});

/* ---- single questions ---- */

const versions = (count: number, from = 0): Told[] =>
  Array.from({ length: count }, (_, index) => ({ at: from + index, key: `k${index}`, versionId: `v${index}` }));

test('versioning is known from when it was switched on, and until it is suspended', async (t) => {
  const switched = (at: number, Status: string): Told => ({
    eventName: 'PutBucketVersioning',
    at,
    request: { VersioningConfiguration: { Status } },
    more: { eventCategory: 'Management' },
  });
  const { report: found, db: own } = await fresh(t, [
    { at: 1, key: 'before' },
    switched(5, 'Enabled'),
    { at: 6, key: 'on' },
    switched(10, 'Suspended'),
    { at: 11, key: 'suspended' },
    { at: 12, key: 'null version', response: { 'x-amz-delete-marker': 'true', 'x-amz-version-id': 'null' } },
  ]);
  t.regex(
    (await answered(own, 'data', false)).replaceAll(/\s+/g, ' '),
    /3 objects deleted without a version id\. 2 while versioning was suspended: .* versioned at the other 1: they may be gone for good/,
  );
  t.deepEqual(acts(found, 'data', ci), ['object_deleted unknown ok: 3/3 ?(0)', 'marker_set kept ok: 1/1 ?(0)']);
  const told = await withDuckDb(own, (connection) =>
    rows(connection, 'SELECT object_key, versioning, kind FROM deletions ORDER BY time'),
  );
  t.deepEqual(told, [
    ['before', null, 'object_deleted'],
    ['on', 'on', 'marker_set'],
    ['suspended', 'suspended', 'object_deleted'],
    ['null version', 'suspended', 'object_deleted'],
  ]);
});

test('a put after a deletion overwrites nothing; a copy and a whole upload overwrite as a put does', async (t) => {
  const { report: found } = await fresh(t, [
    put(0, 'a', undefined, 1),
    { at: 1, key: 'a' },
    put(2, 'a', undefined, 1),
    { eventName: 'CopyObject', at: 3, key: 'a' },
    { eventName: 'CompleteMultipartUpload', at: 4, key: 'a' },
    put(5, 'b', undefined, 1, { errorCode: 'AccessDenied' }),
    put(6, 'b', undefined, 1),
  ]);
  t.deepEqual(acts(found, 'data', ci), ['object_deleted unknown ok: 1/1 1(1)', 'overwritten unknown ok: 2/1 1(1)']);
});

test('bytes of a version are those of its own upload, never those of another version', async (t) => {
  const { report: found } = await fresh(t, [
    put(0, 'a', 'v1', 10),
    { at: 1, key: 'a', versionId: 'v1' },
    put(2, 'b', 'v2', 10),
    { at: 3, key: 'b', versionId: 'v1' },
  ]);
  t.deepEqual(acts(found, 'data', ci), ['version_deleted lost ok: 2/2 10(1)']);
});

test('a marker over an object whose versions were deleted too is not called recoverable without that', async (t) => {
  const { db: own } = await fresh(t, [{ at: 0, key: 'k0', response: marked }, ...versions(2, 1)]);
  t.regex(
    (await answered(own, 'data', false)).replaceAll(/\s+/g, ' '),
    /1 object hidden by delete markers: recoverable while a version under the marker lives; of 1 of them versions were deleted for good/,
  );
});

test("a caller's and a bucket owner's record of one call count once, and the caller is named", async (t) => {
  const owner = {
    identity: { type: 'AWSAccount', principalId: 'AROAEXAMPLE:run-1', accountId: '123456789012' },
    more: { eventID: 'other', sharedEventID: 'both', recipientAccountId: '210987654321' },
  };
  const { report: found } = await fresh(t, [
    { ...versions(1)[0]!, more: { sharedEventID: 'both' } },
    { ...versions(1)[0]!, ...owner },
  ]);
  t.deepEqual(
    found.buckets[0]!.principals.map(({ principal }) => principal),
    [ci],
  );
  t.deepEqual(acts(found, 'data', ci), ['version_deleted lost ok: 1/1 ?(0)']);
});

test('of a call that S3 itself could not answer it is not known whether it was done', async (t) => {
  const { report: found, db: own } = await fresh(
    t,
    [{ ...versions(1)[0]!, errorCode: 'InternalError' }],
    [logged({ seconds: 9, key: 'k', uri: 'DELETE /k HTTP/1.1', status: 500, error: 'InternalError' })],
  );
  t.deepEqual(acts(found, 'data', ci), [
    'version_deleted unknown unknown: 1/1 ?(0)',
    'object_deleted unknown unknown: 1/1 ?(0)',
  ]);
  t.deepEqual(found.buckets[0]!.principals[0]!.statements, []);
  t.regex(await answered(own, 'data', false), /1 attempt \(version deleted\) of which it is not known/);
});

test('two records of one id that tell different things are both told', async (t) => {
  const same = { more: { eventID: 'one' } };
  const { report: found } = await fresh(t, [
    { at: 0, key: 'a', versionId: 'v', ...same },
    { at: 0, key: 'b', versionId: 'v', ...same },
    { eventName: 'PutObject', at: 0, key: 'a', ...same },
  ]);
  t.deepEqual(acts(found, 'data', ci), ['version_deleted lost ok: 2/2 ?(0)']);
});

test('children of a DeleteObjects call that CloudTrail names are its keys, and lines of the same keys add no others', async (t) => {
  const child = (key: string): Told => ({
    at: 0,
    key,
    requestId: 'BULK',
    more: {
      eventID: key,
      eventType: 'AwsServiceEvent',
      requestParameters: null,
      serviceEventDetails: { bucketName: 'data', key },
    },
  });
  const { report: found } = await fresh(
    t,
    [{ eventName: 'DeleteObjects', at: 0, requestId: 'BULK' }, child('a'), child('b')],
    ['b', 'c'].map((key) =>
      logged({ seconds: 0, requestId: 'BULK', operation: 'BATCH.DELETE.OBJECT', key, status: 204, size: 3 }),
    ),
  );
  t.deepEqual(acts(found, 'data', ci), ['object_deleted unknown ok: 3/3 6(2)', 'bulk_call unknown ok: 1/0 ?(0)']);
  t.like(found.buckets[0]!.principals[0]!.acts.at(-1), { keys_known: 3, calls_without_keys: 0 });
});

test('a bulk call that only access logs have is one call, by whom they name', async (t) => {
  const { report: found } = await fresh(
    t,
    [],
    ['b', 'c'].map((key) =>
      logged({
        seconds: 0,
        requestId: 'BULK',
        operation: 'BATCH.DELETE.OBJECT',
        key,
        status: 204,
        size: 3,
        requester: 'arn:aws:sts::1:assumed-role/ops/me',
      }),
    ),
  );
  t.deepEqual(acts(found, 'data', 'arn:aws:iam::1:role/ops'), [
    'object_deleted unknown ok: 2/2 6(2)',
    'bulk_call unknown ok: 1/0 ?(0)',
  ]);
});

test('nothing is concluded of MFA Delete from the root user, and from a canonical id, which may be the root user', async (t) => {
  const rootUser = 'arn:aws:iam::123456789012:root';
  const canonical = '79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be';
  const { report: found } = await fresh(
    t,
    [{ ...versions(1)[0]!, identity: { type: 'Root', arn: rootUser, accountId: '123456789012' } }],
    [
      logged({
        seconds: 1,
        key: 'x',
        uri: 'DELETE /x?versionId=v HTTP/1.1',
        status: 204,
        size: 1,
        versionId: 'v',
        requester: canonical,
      }),
    ],
  );
  const principals = found.buckets[0]!.principals;
  t.deepEqual(new Set(principals.map(({ principal }) => principal)), new Set([canonical, rootUser]));
  t.deepEqual(
    principals.flatMap(({ statements }) => statements),
    [],
  );
});

test('a name that a shell would carry out stands in no command to copy', async (t) => {
  const { db: own } = await fresh(t, [{ at: 0, key: 'k', bucket: '"; touch /tmp/x; "', errorCode: 'NoSuchBucket' }]);
  const text = await answered(own, undefined, false);
  t.regex(text, /1 attempt \(object deleted\) failed/);
  t.notRegex(text, /npx causeline sql/);
});

test('records that could not be decoded are said beside the answer', async (t) => {
  const own = temporaryFolder(t);
  const file = await replayed(own, versions(1));
  writeFileSync(join(own, 'case/s3-access/data/damaged'), 'no line\n');
  await replayCase(join(own, 'case'), file, { nowUnixNano: BigInt(Date.now()) * 1_000_000n });
  t.true((await reported(file)).limits.some((says) => says.startsWith('1 record could not be decoded')));
});

test('deletions of which no bucket or no possible time is told are said to be left out', async (t) => {
  const { report: found } = await fresh(
    t,
    [...versions(1), { at: 1, key: 'x', request: { bucketName: undefined } }],
    [logged({ seconds: 0, at: '06/Feb/1999:00:00:38 +0000', key: 'k', uri: 'DELETE /k HTTP/1.1', status: 204 })],
  );
  t.deepEqual(acts(found, 'data', ci), ['version_deleted lost ok: 1/1 ?(0)']);
  t.true(found.limits.some((says) => says.startsWith('2 records of deletions name no bucket')));
});

test('an empty store answers, with exit code 0', async (t) => {
  const file = join(temporaryFolder(t), 'empty.duckdb');
  (await openStore(file)).close();
  const { code, stdout } = await causeline(['deletions', '--db', file]);
  t.is(code, 0);
  t.regex(stdout, /^No deletion is in evidence, which is not to say that there was none\./);
  t.deepEqual(JSON.parse((await causeline(['deletions', '--db', file, '--json'])).stdout).buckets, []);
});

test('a store that its writer holds answers through it', async (t) => {
  const file = await replayed(temporaryFolder(t), versions(3));
  const writer = spawn(process.execPath, [resolve(import.meta.dirname, '../helpers/holds-a-store.js'), file]);
  t.teardown(() => writer.kill('SIGKILL'));
  await once(writer.stdout, 'data');
  const { code, stdout, stderr } = await causeline(['deletions', '--bucket', 'data', '--json', '--db', file]);
  t.is(code, 0, stderr);
  t.deepEqual(acts(JSON.parse(stdout), 'data', ci), ['version_deleted lost ok: 3/3 ?(0)']);
});

test('a store of before access logs were read says what to do, and is brought up to date by who writes to it', async (t) => {
  const file = join(temporaryFolder(t), 'older.duckdb');
  (await openStore(file)).close();
  await withDuckDb(file, async (connection) => {
    const old = 'source, scope, from_time, to_time, state, reason, service, instance';
    await connection.run(`CREATE OR REPLACE VIEW coverage AS SELECT ${old} FROM _store.gaps`);
    for (const view of [
      'deletions',
      '_store.object_acts',
      '_store.access_lines',
      '_store.object_calls',
      's3_access_records',
    ])
      await connection.run(`DROP VIEW ${view}`);
    await connection.run('DROP TABLE _store.s3_access_records');
    await connection.run('DELETE FROM causeline_version WHERE version > 1');
  });
  const refused = await causeline(['deletions', '--db', file]);
  t.is(refused.code, 2);
  t.regex(refused.stderr, /^error: The store was written before this report was known: .*\n$/);
  const store = await openStore(file);
  t.teardown(() => store.close());
  for (const relation of ['s3_access_records', 'deletions', 'coverage'])
    t.is(await value(store.connection, `SELECT count(*) FROM ${relation}`), 0n);
});

const bundled: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  'audit-log-purge': {
    'prod-artifacts role/ci-deployer': ['overwritten unknown ok: 15/3 ?(0)'],
    // what the access logs that were delivered say of sizes
    'prod-logs-archive role/ci-deployer': ['version_deleted lost ok: 540/540 1169495402(507)'],
  },
  'benign-deletes': { 'prod-logs-archive user/ada': ['version_deleted lost ok: 10/1 ?(0)'] },
};

for (const [name, expected] of Object.entries(bundled))
  test(`${name}: what was deleted, and by whom`, async (t) => {
    const file = join(temporaryFolder(t), 'case.duckdb');
    await replayCase(join(root, 'replay/cases', name), file, { nowUnixNano: BigInt(Date.now()) * 1_000_000n });
    const found = await reported(file);
    const told = found.buckets.flatMap(({ bucket, principals }) =>
      principals.map(({ principal }) => [
        `${bucket} ${principal!.split('::123456789012:')[1]}`,
        acts(found, bucket, principal),
      ]),
    );
    t.deepEqual(Object.fromEntries(told), expected);
  });

testWith(
  corpus,
  'CAUSELINE_CORPUS',
  'of real records the one deletion is told, and nothing else is taken for one',
  async (t, data) => {
    const file = join(temporaryFolder(t), 'corpus.duckdb');
    const store = await openStore(file);
    const batch = emptyBatch();
    for (const text of textsIn(join(data, 'cloudtrail')))
      for (const row of cloudtrail.decode(Buffer.from(text), { origin: 'corpus', gunzip: gunzipBounded }).rows)
        store.add(batch, 'cloudtrail', 'corpus', row);
    await store.commit(batch);
    store.close();
    const { buckets } = await reported(file);
    t.deepEqual(
      buckets.flatMap(({ bucket, principals }) =>
        principals.flatMap((one) => one.acts.map((own) => [bucket, own.kind, own.loss, own.outcome])),
      ),
      [['example-bucket', 'object_deleted', 'unknown', 'ok']],
    );
  },
);

/** Files of attacks and of the techniques behind them, and the records in rules' own tests. */
function textsIn(folder: string): string[] {
  const files = ['invictus_stratus', 'stratus_detonations'].flatMap((name) =>
    readdirSync(join(folder, name))
      .filter((file) => file.endsWith('.json'))
      .map((file) => join(folder, name, file)),
  );
  const rules = readFileSync(join(folder, 'panther_rule_tests/tests.jsonl'), 'utf8').trim().split('\n');
  return [
    ...files.map((file) => readFileSync(file, 'utf8')),
    ...rules.map((line) => JSON.stringify(JSON.parse(line).log)),
  ];
}
