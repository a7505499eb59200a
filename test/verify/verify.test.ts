import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { replayCase } from '../../replay/replay.js';
import { ask } from '../../services/query/ask.js';
import { stringToSign } from '../../services/verify/digest.js';
import { nodeChecks } from '../../services/verify/index.js';
import { publicKeys } from '../../services/verify/keys.js';
import { causeline } from '../helpers/cli.js';
import { corpus, testWith } from '../helpers/data.js';
import { rows, temporaryFolder, withDuckDb } from '../helpers/store.js';
import { edit, type MadeTrail, madeHours, makeTrail, trailKeys, writeTrailCase } from '../helpers/trail.js';

interface Said {
  readonly outcome: string;
  readonly answer: string;
  readonly log_files: Record<string, number>;
  readonly intervals: {
    state: string;
    reason: string;
    from_time: string;
    to_time: string;
    region: string;
    trail: string | null;
  }[];
  readonly files: { state: string; object: string; reason: string }[];
  readonly db: string;
}

/** What `causeline verify` says of a case with these trails. */
async function verified(t: ExecutionContext, trails: readonly MadeTrail[], window?: string): Promise<Said> {
  const folder = temporaryFolder(t);
  writeTrailCase(join(folder, 'case'), trails, window);
  const db = join(folder, 'trail.duckdb');
  await replayCase(join(folder, 'case'), db, { nowUnixNano: 1_800_000_000_000_000_000n });
  const out = new PassThrough();
  const outcome = await ask(db, { command: 'verify', json: true }, { width: 100, colour: false }, out);
  return { outcome, db, ...JSON.parse(String(out.read())) };
}

const states = (said: Said): string[] => [...new Set(said.intervals.map(({ state }) => state))].sort();

/** The answer is no, and the one reason that is given matches. */
function isNo(t: ExecutionContext, said: Said, state: string, reason: RegExp): void {
  t.is(said.outcome, 'no');
  t.is(said.answer, 'no');
  const found = [...said.intervals, ...said.files].filter((one) => one.state === state);
  t.true(
    found.some((one) => reason.test(one.reason)),
    JSON.stringify([said.intervals, said.files], null, 1),
  );
}

test('a whole chain of digests is verified, hour by hour, and `coverage` says so', async (t) => {
  const trail = madeHours(3);
  trail.hour([]);
  const said = await verified(t, [trail]);
  t.is(said.outcome, 'done');
  t.is(said.answer, 'yes');
  t.deepEqual(states(said), ['verified', 'verified_empty']);
  t.deepEqual(said.log_files, { read: 6, verified: 6, modified: 0, injected: 0, missing: 0, not_verified: 0 });
  const coverage = await withDuckDb(said.db, (connection) =>
    rows(
      connection,
      `SELECT scope, state, from_time::VARCHAR, to_time::VARCHAR FROM coverage WHERE state LIKE 'verified%' ORDER BY ALL`,
    ),
  );
  t.deepEqual(coverage, [
    ['123456789012/eu-west-1', 'verified', '2024-03-17 00:00:00', '2024-03-17 03:00:00'],
    ['123456789012/eu-west-1', 'verified_empty', '2024-03-17 03:00:00', '2024-03-17 04:00:00'],
  ]);
});

test('the signature of a digest without metadata is taken from the next one; the newest cannot be verified', async (t) => {
  const trail = madeHours(3);
  trail.metadata.clear();
  const said = await verified(t, [trail]);
  isNo(t, said, 'unverified', /signature is not known/);
  t.is(said.log_files['verified'], 4);
});

test('a log file that is gone is missing', async (t) => {
  const trail = madeHours(3);
  trail.objects.delete(trail.logs[1]![0]!);
  const said = await verified(t, [trail]);
  isNo(t, said, 'missing', /1 of 2 log files are missing/);
  t.is(said.log_files['missing'], 1);
  t.is(said.files[0]!.object, trail.logs[1]![0]!);
});

test('a log file of other content is modified, also where a gzip member was appended', async (t) => {
  const trail = madeHours(2);
  edit(trail, trail.logs[0]![0]!, (text) => text.replace('192.0.2.1', '192.0.2.9'));
  const appended = trail.logs[1]![0]!;
  trail.objects.set(appended, Buffer.concat([trail.objects.get(appended)!, gzipSync(' ')]));
  const said = await verified(t, [trail]);
  isNo(t, said, 'modified', /not what the digest recorded/);
  isNo(t, said, 'modified', /2 members/);
  t.is(said.log_files['modified'], 2);
});

test('a log file that no digest names was injected', async (t) => {
  const trail = madeHours(5);
  const [real] = trail.logs[1]!;
  trail.objects.set(real!.replace('_unique', '_forged'), trail.objects.get(real!)!);
  isNo(t, await verified(t, [trail]), 'injected', /no digest names it/);
});

test('a digest that was changed does not fit its signature', async (t) => {
  const trail = madeHours(3);
  edit(trail, trail.digests[1]!, (text) => text.replace(/"logFiles":.*$/, '"logFiles":[]}'));
  isNo(t, await verified(t, [trail]), 'modified', /signature does not fit/);
});

test('a digest with a name that stands twice, or that was moved, is modified', async (t) => {
  const twice = madeHours(2);
  edit(twice, twice.digests[0]!, (text) => text.replace('"logFiles"', '"logFiles":[],"logFiles"'));
  isNo(t, await verified(t, [twice]), 'modified', /JSON that all read alike/);
  const moved = madeHours(2);
  const from = moved.digests[1]!;
  const to = from.replace('T020000Z', 'T030000Z');
  moved.objects.set(to, moved.objects.get(from)!);
  moved.metadata.set(to, moved.metadata.get(from)!);
  isNo(t, await verified(t, [moved]), 'modified', /was moved/);
});

test('a digest that is gone leaves an interval that is missing; one that is put in is injected', async (t) => {
  const gone = madeHours(4);
  gone.objects.delete(gone.digests[1]!);
  gone.metadata.delete(gone.digests[1]!);
  const said = await verified(t, [gone]);
  isNo(t, said, 'missing', /digest .* is missing/);
  const hole = said.intervals.find(({ state }) => state === 'missing')!;
  t.is(`${hole.from_time} ${hole.to_time}`, '2024-03-17T01:00:00.000Z 2024-03-17T02:00:00.000Z');

  const keys = trailKeys();
  const forked = madeHours(4, { keys });
  const other = madeHours(1, { keys, start: '2024-03-17T00:30:00Z' }); // validly signed, and in nobody's chain
  for (const [key, content] of other.objects) if (key.includes('Digest')) forked.objects.set(key, content);
  for (const [key, metadata] of other.metadata) forked.metadata.set(key, metadata);
  isNo(t, await verified(t, [forked]), 'injected', /no digest of its chain names/);
});

test('a chain that was started anew leaves a gap', async (t) => {
  const trail = madeHours(2);
  trail.hour([1], { restart: 3 });
  const said = await verified(t, [trail]);
  isNo(t, said, 'unverified', /started anew/);
  const gap = said.intervals.find(({ state }) => state === 'unverified')!;
  t.is(`${gap.from_time} ${gap.to_time}`, '2024-03-17T02:00:00.000Z 2024-03-17T05:00:00.000Z');
});

test('digests that stop too early leave the end unverified', async (t) => {
  const byLogs = madeHours(6);
  for (const key of byLogs.digests.slice(2)) {
    byLogs.objects.delete(key);
    byLogs.metadata.delete(key);
  }
  isNo(t, await verified(t, [byLogs]), 'unverified', /log files go on/);

  const keys = trailKeys();
  const short = madeHours(2, { keys });
  isNo(t, await verified(t, [short, madeHours(6, { keys, region: 'us-east-1' })]), 'unverified', /another region/);
  isNo(
    t,
    await verified(t, [short], "window: { from: '2024-03-17T00:00:00Z', to: '2024-03-17T05:00:00Z' }\n"),
    'unverified',
    /asked for/,
  );
});

test('without a key, with a key of another time or another algorithm nothing is verified', async (t) => {
  const keyless = { ...madeHours(2), publicKeys: '{"PublicKeyList":[]}' };
  isNo(t, await verified(t, [keyless]), 'unverified', /no public key with the fingerprint/);
  isNo(t, await verified(t, [madeHours(2, { validTo: '2024-03-10T00:00:00Z' })]), 'unverified', /not in force/);
  const other = makeTrail();
  other.hour([1], { algorithm: 'SHA1withRSA' });
  isNo(t, await verified(t, [other]), 'unverified', /SHA1withRSA/);
  const weak = makeTrail();
  weak.hour([1], { says: { digestSignatureAlgorithm: 'sha256withrsa' } });
  isNo(t, await verified(t, [weak]), 'unverified', /sha256withrsa/);
});

test('what the next digest recorded must be what lies there, and how it hashed it must be known', async (t) => {
  const trail = madeHours(1);
  trail.hour([1], { says: { previousDigestHashValue: '0'.repeat(64) } });
  isNo(t, await verified(t, [trail]), 'modified', /recorded another content/);
  const hashed = madeHours(1);
  hashed.hour([1], { says: { previousDigestHashAlgorithm: 'MD5' } });
  isNo(t, await verified(t, [hashed]), 'unverified', /MD5/);
  const signed = madeHours(2);
  const [first, second] = signed.digests;
  const copied = { ...signed.metadata.get(first!)!, signature: signed.metadata.get(second!)!['signature']! };
  signed.metadata.set(first!, copied);
  isNo(t, await verified(t, [signed]), 'modified', /signature/);
});

test('a backfill digest has a chain of its own, and names what others did not', async (t) => {
  const trail = madeHours(3);
  trail.hour([1], { backfill: true });
  const said = await verified(t, [trail]);
  t.is(said.answer, 'yes');
  t.is(said.log_files['verified'], 7);
});

test('what digests cannot speak of is not covered: older files, and those that no digest is due for', async (t) => {
  const trail = madeHours(3);
  for (const key of [trail.digests[0]!, trail.digests[2]!]) {
    trail.objects.delete(key);
    trail.metadata.delete(key);
  }
  const said = await verified(t, [trail]);
  t.deepEqual([said.outcome, said.answer], ['done', 'yes']);
  t.deepEqual(
    said.intervals.filter(({ trail: name }) => name === null).map(({ state, reason }) => [state, reason]),
    [
      ['not_covered', 'older than the first digest'],
      ['not_covered', 'so new that the digest which names it is not due yet'],
    ],
  );
  t.is(said.log_files['not_verified'], 4);
});

test('without digests there is nothing to verify, and the answer is not no', async (t) => {
  const trail = madeHours(1);
  trail.objects.delete(trail.digests[0]!);
  trail.metadata.clear();
  const said = await verified(t, [trail]);
  t.deepEqual([said.outcome, said.answer], ['done', 'nothing_to_verify']);
});

test('a second replay changes nothing, and `verify` reads well', async (t) => {
  const folder = temporaryFolder(t);
  const trail = madeHours(3);
  trail.objects.delete(trail.logs[1]![0]!);
  writeTrailCase(join(folder, 'case'), [trail]);
  const db = join(folder, 'trail.duckdb');
  const counts = () =>
    withDuckDb(db, (connection) =>
      rows(
        connection,
        `SELECT (SELECT count(*) FROM _store.trail_files), (SELECT count(*) FROM _store.trail_looks), (SELECT count(*) FROM integrity), (SELECT max(commit_seq) FROM _store.commits)`,
      ),
    );
  await causeline(['replay', join(folder, 'case'), '--db', db]);
  const before = await counts();
  await causeline(['replay', join(folder, 'case'), '--db', db]);
  t.deepEqual(await counts(), before);
  const { code, stdout } = await causeline(['verify', '--db', db]);
  t.is(code, 1);
  t.regex(stdout, /^No: evidence was changed, is missing/);
  t.regex(stdout, /missing {2}123456789012 eu-west-1 main/);
  t.true(
    stdout.split('\n').every((line) => line.length <= 140),
    stdout,
  );
});

testWith(corpus, 'CAUSELINE_CORPUS', "AWS's own samples: keys, string to sign", (t, data) => {
  const read = (file: string) => readFileSync(join(data, 'cloudtrail/digest_and_docs', file), 'utf8');
  const keys = publicKeys(read('cloudtrail-log-file-custom-validation.0.json'));
  t.is(keys.length, 3);
  const checks = nodeChecks();
  const usable = keys.map(({ der, fingerprint }) => [
    checks.md5(der) === fingerprint,
    checks.signed(der, 'x', 'ab'.repeat(256)),
  ]);
  t.deepEqual(usable.slice(0, 2), [
    [true, 'invalid'],
    [true, 'invalid'],
  ]);
  const { string_to_sign: samples } = JSON.parse(read('awscli_vectors.json'));
  for (const { digestEndTime, digestS3Bucket, digestS3Object, inflated_digest_utf8, expected } of samples) {
    const content = { end: digestEndTime, bucket: digestS3Bucket, key: digestS3Object, previous: null };
    t.is(stringToSign(content as never, checks.sha256(Buffer.from(inflated_digest_utf8))), expected);
  }
});
