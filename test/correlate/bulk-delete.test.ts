import test, { type ExecutionContext } from 'ava';
import { after, object, session } from '../../replay/generate/cloudtrail.js';
import { rowsOf, told } from '../helpers/calls.js';
import { shuffled } from '../helpers/story.js';

/** DeleteObjects, and what S3 recorded of it by itself: records of the service, with the request id of the call. */

const AT = '2024-03-17T03:15:02Z';
const usual = { who: session('cleaner', 'x'), ip: '192.0.2.7', userAgent: 'aws-cli/2.15.0', readOnly: false } as const;

const call = (requestID: string, seconds = 0) => ({
  ...object({ ...usual, at: after(AT, seconds), name: 'DeleteObjects', bucket: 'web', request: { delete: '' } }),
  more: { requestID },
});

const recorded = (requestID: string, count: number, versionId?: string) =>
  Array.from({ length: count }, (_, index) => {
    const key = `${'abc'[index % 3]}/${requestID}-${index}`;
    return {
      ...object({ ...usual, at: AT, name: 'DeleteObject', bucket: 'web' }),
      request: null,
      more: {
        requestID,
        eventType: 'AwsServiceEvent',
        userIdentity: { accountId: '123456789012', invokedBy: 's3.amazonaws.com' },
        serviceEventDetails: { bucketName: 'web', key, ...(versionId && { versionId }) },
      },
    };
  });

type Found = { readonly kind: string } & Readonly<Record<string, unknown>>;

const found = (t: ExecutionContext, calls: Parameters<typeof rowsOf>[0]) =>
  told(t, [shuffled(rowsOf(calls), 1)], (_, { findings }) =>
    findings.map(({ kind, measured }): Found => ({ kind, ...measured })),
  );

test('calls of DeleteObjects say that their keys are unknown', async (t) => {
  const [bulk, ...others] = await found(t, [call('one'), call('two', 3)]);
  t.deepEqual(others, []);
  t.like(bulk, { kind: 's3.bulk_delete', objects: 0, calls_without_keys: 2, calls_with_keys_of_the_service: 0 });
  t.regex(String(bulk!['keys']), /^unknown/);
});

test('where the service recorded what a call deleted, its keys are known and its caller deleted them', async (t) => {
  // which of a second's records comes first is decided by ids
  for (const request of ['one', 'two', 'three', 'four']) {
    const [bulk, ...others] = await found(t, [call(request), ...recorded(request, 30)]);
    t.deepEqual(others, []);
    t.like(bulk, {
      kind: 's3.bulk_delete',
      principal: 'arn:aws:iam::123456789012:role/cleaner',
      objects: 30,
      calls_without_keys: 0,
      calls_with_keys_of_the_service: 1,
      keys: 'named',
    });
    t.is((bulk!['prefixes'] as readonly string[]).length, 3);
  }
});

test('of several calls only those without such records are unknown', async (t) => {
  const [bulk] = await found(t, [call('one'), ...recorded('one', 30), call('two', 5)]);
  t.like(bulk, { objects: 30, calls_without_keys: 1, calls_with_keys_of_the_service: 1 });
});

test('versions that a call deleted are a purge by its caller', async (t) => {
  const purges = await found(t, [call('one'), ...recorded('one', 30, 'v1')]);
  t.like(purges, [{ kind: 's3.version_purge', principal: 'arn:aws:iam::123456789012:role/cleaner', versions: 30 }]);
});

test('a pipeline that empties a bucket by DeleteObjects is found by what the service recorded', async (t) => {
  const ci = { ...call('one'), who: session('ci-deployer', 'run-1') };
  const kinds = (await found(t, [ci, ...recorded('one', 30)])).map(({ kind }) => kind);
  t.deepEqual(kinds.toSorted(), ['pipeline.unguarded_delete', 's3.bulk_delete']);
});

test('what the service deleted in the course of a call that is not in evidence is not laid at anybody’s door', async (t) => {
  t.like(await found(t, recorded('one', 30)), [{ kind: 's3.bulk_delete', principal: 's3.amazonaws.com', objects: 30 }]);
});
