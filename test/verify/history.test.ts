import test from 'ava';
import { withHistory } from '../../services/verify/history.js';
import type { BadFile } from '../../services/verify/judge.js';
import type { TrailVersion } from '../../shared/store/trail.js';

/** A log file of a bucket, and what the bucket remembers of it. */

const path =
  'AWSLogs/123456789012/CloudTrail/eu-west-1/2024/03/17/123456789012_CloudTrail_eu-west-1_20240317T0300Z_a.json.gz';
const at = (time: string): number => Date.parse(`2024-03-17T${time}Z`) * 1000;

const version = (versionId: string, more: Partial<TrailVersion> = {}): TrailVersion => ({
  archive: 's3://',
  bucket: 'audit-logs',
  path,
  versionId,
  atMicros: at('03:05:00'),
  deleted: false,
  latest: false,
  ...more,
});

const marker = version('m', { atMicros: at('04:00:00'), deleted: true, latest: true });

const bad = (state: BadFile['state']): BadFile => ({
  archive: 's3://',
  account: '123456789012',
  region: 'eu-west-1',
  object: path,
  state,
  reason: 'a log file that a digest names',
  digest: 'the digest',
  atMicros: at('03:00:00'),
});

const log = { archive: 's3://', bucket: 'audit-logs', path, sha256: '0', members: 1, fault: null };
const told = (files: readonly BadFile[], versions: readonly TrailVersion[], logs: readonly (typeof log)[] = []) =>
  withHistory({ intervals: [], files }, { logs, digests: [], keys: [], looked: [], versions }).files.map(
    ({ state, reason }) => `${state}: ${reason}`,
  );

test('a file that is missing or changed says what of it can still be read', (t) => {
  t.deepEqual(told([bad('missing')], [version('1'), version('2', { atMicros: at('03:06:00') }), marker]), [
    'missing: a log file that a digest names; a delete marker of 2024-03-17T04:00:00Z hides it; 2 older versions can still be read, the last of 2024-03-17T03:06:00Z',
  ]);
  t.deepEqual(told([bad('modified')], [version('1')], [log]), [
    'modified: a log file that a digest names; 1 older version can still be read, the last of 2024-03-17T03:05:00Z',
  ]);
  t.deepEqual(told([bad('missing')], [marker]), [
    'missing: a log file that a digest names; a delete marker of 2024-03-17T04:00:00Z hides it; no older version is left',
  ]);
});

test('a file that a delete marker hides is missing, though no digest misses it', (t) => {
  t.deepEqual(told([], [version('1'), marker]), [
    'missing: a delete marker of 2024-03-17T04:00:00Z hides it; 1 older version can still be read, the last of 2024-03-17T03:05:00Z',
  ]);
});

test('what was overwritten with what was signed, or was put back, is as it should be', (t) => {
  t.deepEqual(told([], [version('1')], [log]), []);
  t.deepEqual(told([], [version('1'), { ...marker, latest: false }], [log]), []);
  t.deepEqual(told([], [marker], [log]), [], 'it was read before it was deleted');
});

test('another bucket, case or object has a history of its own', (t) => {
  const others = [version('1', { archive: 'case' }), version('2', { path: path.replace('_a.', '_b.') })];
  t.deepEqual(told([bad('missing')], others), ['missing: a log file that a digest names']);
  t.is(told([], [marker], [{ ...log, bucket: 'another' }]).length, 1);
  t.deepEqual(told([], [{ ...marker, path: 'notes.txt' }]), [], 'no file of CloudTrail');
});
