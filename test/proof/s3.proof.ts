import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import test, { type ExecutionContext } from 'ava';
import { type RunningS3, startS3 } from '../../infra/launch/s3.js';
import { installS3 } from '../../infra/launch/s3-server.js';
import { causeline, start } from '../helpers/cli.js';
import { flaky } from '../helpers/flaky.js';
import { notRun } from '../helpers/not-run.js';
import { keyServer } from '../helpers/public-keys.js';
import { rows, temporaryFolder, value, withDuckDb } from '../helpers/store.js';
import { BUCKET, type MadeTrail, madeHours, makeTrail } from '../helpers/trail.js';

let own: Promise<RunningS3> | undefined;

test.after.always('the S3 server of these tests stops', async () => {
  await (await own)?.stop();
});

async function s3ForTests(t: ExecutionContext): Promise<RunningS3 | undefined> {
  const { missing } = await installS3();
  if (missing !== undefined) return void notRun(t, missing);
  own ??= startS3();
  return own;
}

/** Puts a trail's objects, and its public keys where they are to lie there, under a prefix. */
async function put({ endpoint, env }: RunningS3, trail: MadeTrail, prefix: string, keys = true): Promise<void> {
  const credentials = { accessKeyId: env['AWS_ACCESS_KEY_ID']!, secretAccessKey: env['AWS_SECRET_ACCESS_KEY']! };
  const client = new S3Client({ endpoint, credentials, region: env['AWS_REGION']!, forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET })).catch(() => undefined); // another test made it
  const objects: [key: string, body: Buffer | string][] = [...trail.objects];
  if (keys) objects.push(['public-keys.json', trail.publicKeys]);
  for (let at = 0; at < objects.length; at += 20)
    await Promise.all(
      objects.slice(at, at + 20).map(([key, Body]) => {
        const Metadata = trail.metadata.get(key);
        return client.send(
          new PutObjectCommand({ Bucket: BUCKET, Key: prefix + key, Body, ...(Metadata && { Metadata }) }),
        );
      }),
    );
  client.destroy();
}

/** CloudTrail's digests name keys, so a trail is made for its place. */
function trailOf(hours: number, filesAnHour: number): MadeTrail {
  const trail = makeTrail();
  for (let hour = 0; hour < hours; hour++) trail.hour(Array.from({ length: filesAnHour }, () => 2));
  return trail;
}

test.serial('1,000 files survive a kill -9 and a server that fails one request in five', async (t) => {
  const s3 = await s3ForTests(t);
  if (!s3) return;
  t.timeout(600_000);
  const trail = trailOf(20, 49); // 980 log files, 20 digests
  await put(s3, trail, '');
  const proxy = await flaky(s3.endpoint, (_, chance) =>
    chance < 0.08 ? 500 : chance < 0.14 ? 503 : chance < 0.2 ? 'cut' : undefined,
  );
  t.teardown(proxy.close);
  const db = join(temporaryFolder(t), 's3.duckdb');
  const args = ['replay', `s3://${BUCKET}/AWSLogs/`, '--db', db, '--endpoint', proxy.endpoint, '--json'];

  const killed = start(args, { env: s3.env });
  while (proxy.gets.length < 700 && killed.exitCode === null) await pause(20);
  killed.kill('SIGKILL');
  await once(killed, 'close');
  const known = await withDuckDb(db, (connection) => rows(connection, 'SELECT source_id FROM inputs'));
  t.true(known.length > 0 && known.length < 1000, `${known.length} files were committed before the kill`);

  proxy.gets.length = 0;
  const again = await causeline(args, { env: s3.env });
  t.is(again.code, 0, again.stderr);
  const asked = new Set(proxy.gets.filter((path) => path.endsWith('.json.gz')));
  t.is(asked.size, 1000 - known.length, 'what was committed is not read again');
  t.true(known.every(([id]) => !asked.has(String(id).replace('s3:/', ''))));
  t.true(proxy.failures > 100, `${proxy.failures} requests failed`);

  const found = await withDuckDb(db, (connection) =>
    rows(
      connection,
      'SELECT (SELECT count(*) FROM inputs)::INTEGER, (SELECT count(DISTINCT event_id) FROM cloudtrail_events)::INTEGER, (SELECT count(*) FROM cloudtrail_events)::INTEGER',
    ),
  );
  t.deepEqual(found, [[1000, 1960, 1960]]);
  t.regex(
    (await causeline(['replay', `s3://${BUCKET}/`, '--db', db, '--endpoint', s3.endpoint], { env: s3.env })).stdout,
    /1000 files left unread: read before/,
  );
  const verified = JSON.parse((await causeline(['verify', '--db', db, '--json'])).stdout);
  t.deepEqual([verified.answer, verified.log_files.verified], ['yes', 980]);
});

test.serial('an object that cannot be had is named, the rest is kept, and the next run reads it', async (t) => {
  const s3 = await s3ForTests(t);
  if (!s3) return;
  t.timeout(600_000);
  const trail = madeHours(2, { region: 'eu-north-1' });
  const lost = trail.logs[1]![0]!;
  await put(s3, trail, '');
  const proxy = await flaky(s3.endpoint, (path) => (path.endsWith(lost) ? 500 : undefined));
  t.teardown(proxy.close);
  const db = join(temporaryFolder(t), 's3.duckdb');
  const args = ['replay', `s3://${BUCKET}/AWSLogs/123456789012/CloudTrail/eu-north-1/`, '--db', db, '--endpoint'];
  const first = await causeline([...args, proxy.endpoint], { env: s3.env });
  t.is(first.code, 2);
  t.true(first.stdout.includes(`Not read: s3://${BUCKET}/${lost} cannot be read`), first.stdout);
  t.is(await withDuckDb(db, (connection) => value(connection, 'SELECT count(*)::INTEGER FROM inputs')), 3);
  const second = await causeline([...args, s3.endpoint], { env: s3.env });
  t.is(second.code, 0, second.stderr);
  t.is(await withDuckDb(db, (connection) => value(connection, 'SELECT count(*)::INTEGER FROM inputs')), 4);
});

test.serial('a time range is read by the days in the keys, from whatever folder it is asked for', async (t) => {
  const s3 = await s3ForTests(t);
  if (!s3) return;
  t.timeout(600_000);
  const trail = madeHours(30, { region: 'ap-south-1', start: '2024-03-10T00:00:00Z' });
  await put(s3, trail, '');
  const db = join(temporaryFolder(t), 's3.duckdb');
  const range = ['--from', '2024-03-10T20:00:00Z', '--to', '2024-03-10T22:00:00Z'];
  const args = ['replay', `s3://${BUCKET}`, '--db', db, '--endpoint', s3.endpoint, ...range];
  const { code, stderr } = await causeline(args, { env: s3.env });
  t.is(code, 0, stderr);
  const found = await withDuckDb(db, (connection) =>
    rows(
      connection,
      `SELECT count(*) FILTER (source_id LIKE '%/CloudTrail/%')::INTEGER, count(*) FILTER (source_id LIKE '%-Digest/%')::INTEGER FROM inputs WHERE source_id LIKE '%ap-south-1%'`,
    ),
  );
  t.deepEqual(found, [[6, 6]]); // files of 20:00 to 23:00, digests of 20:00 to 01:00
});

test.serial('keys that lie nowhere are asked for where AWS_ENDPOINT_URL_CLOUDTRAIL says', async (t) => {
  const s3 = await s3ForTests(t);
  if (!s3) return;
  t.timeout(600_000);
  const trail = madeHours(2, { region: 'us-west-2' });
  await put(s3, trail, '', false);
  const aws = await keyServer(trail.publicKeys);
  t.teardown(aws.close);
  const db = join(temporaryFolder(t), 's3.duckdb');
  const env = { ...s3.env, AWS_ENDPOINT_URL_CLOUDTRAIL: aws.endpoint };
  for (const folder of ['CloudTrail', 'CloudTrail-Digest']) {
    const args = ['replay', `s3://${BUCKET}/AWSLogs/123456789012/${folder}/us-west-2/`, '--db', db];
    const { code, stderr } = await causeline([...args, '--endpoint', s3.endpoint], { env });
    t.is(code, 0, stderr);
  }
  const verified = JSON.parse((await causeline(['verify', '--db', db, '--json'])).stdout);
  t.is(verified.log_files.verified, 4, JSON.stringify(verified));
});

test.serial(
  'a versioned bucket tells what was deleted and overwritten, also where nothing is left to be listed',
  async (t) => {
    const s3 = await s3ForTests(t);
    if (!s3) return;
    t.timeout(600_000);
    const { endpoint, env } = s3;
    const credentials = { accessKeyId: env['AWS_ACCESS_KEY_ID']!, secretAccessKey: env['AWS_SECRET_ACCESS_KEY']! };
    const client = new S3Client({ endpoint, credentials, region: env['AWS_REGION']!, forcePathStyle: true });
    const Bucket = 'versioned-logs';
    const trail = madeHours(3, { region: 'ca-central-1', bucket: Bucket });
    const gone = madeHours(1, { region: 'sa-east-1', bucket: Bucket });
    await client.send(new CreateBucketCommand({ Bucket }));
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
    const all: [key: string, body: Buffer][] = [...trail.objects, ...gone.objects];
    all.push(['public-keys.json', Buffer.from(trail.publicKeys)]);
    // moto leaves out the first version after a key marker that is no key: S3 does not
    for (const key of [...trail.objects.keys(), ...gone.objects.keys()])
      all.push([key.replace(/2024\/03\/17\/.*$/, '2024/03/16/first.txt'), Buffer.from('')]);
    for (const [Key, Body] of all)
      await client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata: trail.metadata.get(Key) ?? {} }));
    const [deleted, overwritten] = [trail.logs[0]![0]!, trail.logs[1]![0]!];
    const newest = trail.digests.at(-1)!;
    await client.send(new PutObjectCommand({ Bucket, Key: overwritten, Body: trail.objects.get(deleted)! }));
    for (const Key of [deleted, newest, ...gone.objects.keys()])
      await client.send(new DeleteObjectCommand({ Bucket, Key }));
    client.destroy();

    for (const range of [[], ['--from', '2024-03-16T00:00:00Z', '--to', '2024-03-18T00:00:00Z']]) {
      const db = join(temporaryFolder(t), 's3.duckdb');
      const { code, stderr } = await causeline(
        ['replay', `s3://${Bucket}`, '--db', db, '--endpoint', endpoint, ...range],
        { env },
      );
      t.is(code, 0, stderr);
      const files = await withDuckDb(db, (connection) =>
        rows(connection, `SELECT object, concat(state, ': ', reason) FROM integrity_files`),
      );
      const said = new Map(files as [object: string, says: string][]);
      t.regex(said.get(deleted)!, /^missing: .*a delete marker of .* hides it; 1 older version can still be read/);
      t.regex(said.get(overwritten)!, /^modified: .*1 older version can still be read/);
      t.regex(said.get(newest)!, /^missing: a delete marker/);
      for (const key of gone.objects.keys()) t.regex(said.get(key)!, /^missing: a delete marker/, key);
      t.is(said.size, 3 + gone.objects.size, JSON.stringify([...said]));
      const versions = await withDuckDb(db, (connection) =>
        rows(connection, 'SELECT count(*)::INTEGER FROM integrity_versions'),
      );
      t.deepEqual(versions, [[2 * (2 + gone.objects.size) + 1]], 'markers, what they hide, and what was overwritten');
    }
  },
);
