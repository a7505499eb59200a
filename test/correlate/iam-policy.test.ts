import test from 'ava';
import fc from 'fast-check';
import {
  bearingOn,
  evaluate,
  matchesText,
  reachOf,
  readPolicy,
} from '../../services/correlate/cloudtrail/iam-policy.js';
import { MANAGED_POLICIES } from '../../services/correlate/cloudtrail/managed-policies.js';

const OBJECT = 'arn:aws:s3:::logs/audit/a.json.gz';
const PURGE = 's3:DeleteObjectVersion';

type Written = Record<string, unknown>;
const policy = (...statements: readonly Written[]) => readPolicy({ Version: '2012-10-17', Statement: statements })!;
const allow = (more: Written): Written => ({ Effect: 'Allow', Action: PURGE, Resource: '*', ...more });
const deny = (more: Written): Written => ({ ...allow(more), Effect: 'Deny' });
const outcome = (...statements: readonly Written[]) => evaluate(policy(...statements), PURGE, OBJECT).outcome;

test('an allow must name the action and the resource', (t) => {
  t.is(outcome(allow({})), 'allowed');
  t.is(outcome(allow({ Action: ['s3:GetObject', 's3:DeleteObject'] })), 'not allowed');
  t.is(outcome(allow({ Resource: 'arn:aws:s3:::logs' })), 'not allowed', 'the bucket is not its objects');
  t.is(outcome(allow({ Resource: ['arn:aws:s3:::web/*', 'arn:aws:s3:::logs/*'] })), 'allowed');
  t.is(outcome(), 'not allowed');
});

test('actions match without regard to case, resources with it; both take wildcards', (t) => {
  for (const Action of ['S3:deleteobjectversion', 's3:Delete*', 's3:*', '*', 's3:DeleteObject?ersion'])
    t.is(outcome(allow({ Action })), 'allowed', Action);
  t.is(outcome(allow({ Action: 's3:DeleteObject?' })), 'not allowed');
  t.is(outcome(allow({ Resource: 'arn:aws:s3:::LOGS/*' })), 'not allowed');
  t.is(outcome(allow({ Resource: 'arn:aws:s3:::lo??/audit/*.gz' })), 'allowed');
});

test('NotAction and NotResource mean all but these', (t) => {
  const allBut = (NotAction: unknown): Written => ({ Effect: 'Allow', NotAction, Resource: '*' });
  t.is(outcome(allBut('iam:*')), 'allowed');
  t.is(outcome(allBut(['iam:*', 's3:Delete*'])), 'not allowed');
  const elsewhere = (NotResource: unknown): Written => ({ Effect: 'Allow', Action: '*', NotResource });
  t.is(outcome(elsewhere('arn:aws:s3:::web/*')), 'allowed');
  t.is(outcome(elsewhere('arn:aws:s3:::logs/*')), 'not allowed');
});

test('an explicit deny wins, whatever the order', (t) => {
  t.is(outcome(allow({}), deny({})), 'denied');
  t.is(outcome(deny({ Action: 's3:*' }), allow({})), 'denied');
  t.is(outcome(allow({}), deny({ Resource: 'arn:aws:s3:::web/*' })), 'allowed');
  t.is(outcome(allow({}), { Effect: 'Deny', NotAction: 's3:Get*', Resource: '*' }), 'denied');
});

test('conditions are reported and not evaluated: a deny that has some does not decide', (t) => {
  const Condition = { Bool: { 'aws:MultiFactorAuthPresent': 'false' } };
  const decided = evaluate(policy(allow({}), deny({ Condition })), PURGE, OBJECT);
  t.is(decided.outcome, 'allowed');
  t.deepEqual(decided.notEvaluated, ['Bool aws:MultiFactorAuthPresent']);
  const only = evaluate(policy(allow({ Condition: { IpAddress: { 'aws:SourceIp': '192.0.2.0/24' } } })), PURGE, OBJECT);
  t.deepEqual([only.outcome, only.notEvaluated], ['allowed', ['IpAddress aws:SourceIp']]);
  const beside = evaluate(policy(allow({}), allow({ Condition })), PURGE, OBJECT);
  t.deepEqual(beside.notEvaluated, [], 'an allow without conditions needs no other');
  t.is(beside.by.length, 1);
});

test('how far a statement reaches', (t) => {
  const reach = (Resource: unknown) => reachOf(policy(allow({ Resource }))[0]!);
  for (const resource of ['*', 'arn:aws:s3:::*', 'arn:aws:s3:::prod-*/*', 'arn:aws:s3:::*/builds/*'])
    t.is(reach(resource), 'every bucket', resource);
  t.is(reach('arn:aws:s3:::logs/*'), 'a whole bucket');
  t.is(reach(['arn:aws:s3:::web/builds/*', 'arn:aws:s3:::logs/*']), 'a whole bucket');
  t.is(reach('arn:aws:s3:::web/builds/*'), 'part of a bucket');
  t.is(reachOf(policy({ Effect: 'Allow', Action: '*', NotResource: 'arn:aws:s3:::logs/*' })[0]!), 'every bucket');
});

test('a document is JSON, percent-encoded JSON or an object; one that is neither cannot be read', (t) => {
  const text = JSON.stringify({ Statement: allow({}) });
  for (const document of [text, encodeURIComponent(text), JSON.parse(text)]) t.is(readPolicy(document)!.length, 1);
  for (const document of ['', '{', '%E0%A4%A', 7, null, []]) t.is(readPolicy(document), undefined);
  t.deepEqual(
    readPolicy({ Statement: [{ Effect: 'Maybe', Action: '*', Resource: '*' }, { Effect: 'Allow', Action: '*' }, 'x'] }),
    [],
  );
});

test('what bears on an action is kept, and decides as the whole does', (t) => {
  const whole = policy(
    allow({ Action: ['s3:Get*', 's3:Delete*', 'ec2:*'] }),
    allow({ Action: 'iam:PassRole' }),
    deny({ Action: 's3:DeleteBucket' }),
    { Effect: 'Allow', NotAction: ['iam:*'], Resource: '*' },
  );
  const kept = bearingOn(whole, [PURGE]);
  t.deepEqual(
    kept.map(({ actions }) => actions),
    [['s3:Delete*'], []],
  );
  t.is(evaluate(kept, PURGE, OBJECT).outcome, evaluate(whole, PURGE, OBJECT).outcome);
});

test('the known managed policies allow to purge, but for the one of CloudTrail', (t) => {
  for (const [arn, statements] of MANAGED_POLICIES)
    t.is(evaluate(statements, PURGE, OBJECT).outcome, arn.includes('CloudTrail') ? 'not allowed' : 'allowed', arn);
});

test('wildcards match as a regular expression would', (t) => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 8 });
  t.notThrows(() =>
    fc.assert(
      fc.property(letters, fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 10 }), (pattern, text) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        return matchesText(pattern, text) === expression.test(text);
      }),
      { numRuns: 2000 },
    ),
  );
});

test('a pattern of many stars is answered at once', (t) => {
  t.false(matchesText(`${'*a'.repeat(500)}b`, 'a'.repeat(5_000)));
});
