import test from 'ava';
import { type AlertFilter, contradictions } from '../../services/query/contradictions.js';

const purge = {
  kind: 's3.version_purge' as const,
  subject: 'bucket:logs',
  started_at: '2024-03-16T19:15:02Z',
  measured: { versions: 540, principal: 'arn:aws:iam::123456789012:role/ci', user_agents: ['aws-cli/2.15.21 Python'] },
};

const filter = (pattern: string): AlertFilter => ({
  event_name: 'PutMetricFilter',
  at: '2024-03-11T02:20:19Z',
  name: 'deletions',
  pattern,
});

const against = (filters: readonly AlertFilter[]) =>
  contradictions([purge], filters).flatMap(({ supports, says }) => (supports ? [] : [says.split(/[:(]/)[0]!.trim()]));

test('a purge of versions was no recursive removal, and MFA Delete was not on', (t) => {
  t.deepEqual(against([]), ['`aws s3 rm --recursive` cannot have done it', 'MFA Delete was not on']);
});

test('an alert on a name that CloudTrail never writes could not fire; one on the right name is not named', (t) => {
  t.is(against([filter('{ $.eventName = "DeleteObjectVersion" }')]).length, 3);
  t.is(against([filter('{ $.eventName = "DeleteObject" }')]).length, 2);
  t.is(against([filter('{ ($.eventName = "DeleteObjectVersion") || ($.eventName = "DeleteObject") }')]).length, 2);
});

test('nothing is said of MFA Delete where the root user deleted', (t) => {
  const measured = { ...purge.measured, principal: 'arn:aws:iam::123456789012:root' };
  t.false(contradictions([{ ...purge, measured }], []).some(({ says }) => says.startsWith('MFA')));
});

test('a chain of other things has no such story', (t) => {
  t.deepEqual(contradictions([{ ...purge, kind: 'retry.storm' }], [filter('DeleteObjectVersion')]), []);
});
