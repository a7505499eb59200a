import test, { type ExecutionContext } from 'ava';
import { after, type Call, object, session, user } from '../../replay/generate/cloudtrail.js';
import { rowsOf, told } from '../helpers/calls.js';

/** Ada changes the policy of a bucket, and a role deletes its versions. */

const PURGE = '2024-03-17T03:15:02Z';
const usual = { ip: '192.0.2.50', userAgent: 'aws-cli/2.15.0', readOnly: false } as const;
const purge = Array.from({ length: 30 }, (_, index) =>
  object({
    ...usual,
    who: session('cleaner', 'x'),
    at: after(PURGE, index),
    name: 'DeleteObject',
    bucket: 'logs',
    key: `a/${index}`,
    versionId: 'v',
  }),
);

const deny = (Sid: string, Action: string) => ({
  Sid,
  Effect: 'Deny',
  Principal: '*',
  Action,
  Resource: 'arn:aws:s3:::logs/*',
});
const KEEP = deny('KeepVersions', 's3:DeleteObjectVersion');
const ACL = deny('NoAcl', 's3:PutObjectAcl');

const call = (seconds: number, name: string, statements?: readonly unknown[]): Call => ({
  ...usual,
  who: user('ada'),
  at: after(PURGE, seconds),
  source: 's3.amazonaws.com',
  name,
  request: {
    bucketName: 'logs',
    ...(statements && { bucketPolicy: { Version: '2012-10-17', Statement: statements } }),
  },
});

const put = (seconds: number, ...statements: readonly unknown[]) => call(seconds, 'PutBucketPolicy', statements);

/** What was weakened, and how sure it is that it let the purge happen. */
const weakened = (t: ExecutionContext, ...batches: readonly (readonly Call[])[]) =>
  told(t, batches.map(rowsOf), (_, { findings, links }) =>
    findings
      .filter(({ kind }) => kind === 's3.protection_weakened')
      .map(({ id, measured }) => [
        measured['says'],
        links.find(({ causeFindingId }) => causeFindingId === id)?.verdict,
      ]),
  );

const LOST = 'the bucket policy lost 1 of its 2 denials (KeepVersions), and no other denies s3:DeleteObjectVersion';

test('a bucket policy that lost what kept versions from being deleted let a purge happen', async (t) => {
  const [before, now] = [put(-10 * 86_400, KEEP, ACL), put(-600, ACL)];
  t.deepEqual(await weakened(t, [before, now, ...purge]), [[[LOST], 'CONFIRMED']]);
  t.deepEqual(await weakened(t, [now, ...purge], [before]), [[[LOST], 'CONFIRMED']], 'also when it is known later');
});

test('nothing is claimed where the policy before is not in evidence, or was put back', async (t) => {
  t.deepEqual(await weakened(t, [put(-600, ACL), ...purge]), []);
  t.deepEqual(await weakened(t, [put(-900, KEEP, ACL), put(-600, ACL, KEEP), ...purge]), []);
});

test('a denial of something else that was lost did not let versions be deleted', async (t) => {
  const lost = 'the bucket policy lost 1 of its 2 denials (NoAcl)';
  t.deepEqual(await weakened(t, [put(-900, KEEP, ACL), put(-600, KEEP), ...purge]), [[[lost], undefined]]);
});

test('what a deleted policy denied decides, where it is known', async (t) => {
  const gone = call(-600, 'DeleteBucketPolicy');
  t.deepEqual(await weakened(t, [gone, ...purge]), [[['the bucket policy was deleted'], 'INCONCLUSIVE']]);
  const all = 'the bucket policy lost 1 of its 1 denial (KeepVersions), and no other denies s3:DeleteObjectVersion';
  t.deepEqual(await weakened(t, [put(-900, KEEP), gone, ...purge]), [
    [[`the bucket policy was deleted; ${all}`], 'CONFIRMED'],
  ]);
});
