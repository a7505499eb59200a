import test, { type ExecutionContext } from 'ava';
import { account, after, type Call, object, user } from '../../replay/generate/cloudtrail.js';
import { rowsOf, told } from '../helpers/calls.js';

/** Ada deletes 30 versions; what she may do is told by records of days before. */

const START = '2024-03-14T09:00:00Z';
const ADMIN = { who: user('root-admin'), ip: '192.0.2.50', userAgent: 'aws-cli/2.15.0', readOnly: false } as const;
const ADA = { ...ADMIN, who: user('ada') } as const;
const policyDocument = JSON.stringify({ Statement: [{ Effect: 'Allow', Action: 's3:Delete*', Resource: '*' }] });

const iam = (hours: number, name: string, request: Readonly<Record<string, unknown>>): Call => ({
  ...ADMIN,
  at: after(START, hours * 3600),
  source: 'iam.amazonaws.com',
  name,
  request,
});

const purge: readonly Call[] = Array.from({ length: 30 }, (_, index) =>
  object({
    ...ADA,
    at: after(START, 72 * 3600 + index),
    name: 'DeleteObject',
    bucket: 'logs',
    key: `a/${index}`,
    versionId: 'v',
  }),
);

const overreachOf = (t: ExecutionContext, calls: readonly Call[]) =>
  told(t, [rowsOf([...calls, ...purge])], (_, { findings }) => findings.find(({ kind }) => kind === 'iam.overreach'));

const groupName = 'ops';
const inline = iam(0, 'PutGroupPolicy', { groupName, policyName: 'wide', policyDocument });
const joins = iam(1, 'AddUserToGroup', { groupName, userName: 'ada' });

test('a policy of a group counts since its user joined, and both records stand behind it', async (t) => {
  const found = await overreachOf(t, [inline, joins]);
  t.like(found?.measured, {
    policy: 'wide of group ops',
    granted_at: after(START, 3600),
    granted_by: `arn:aws:iam::${account}:user/root-admin`,
  });
  t.is(found?.evidenceCount, 32);
  const late = await overreachOf(t, [joins, { ...inline, at: after(START, 7200) }]);
  t.like(late?.measured, { granted_at: after(START, 7200) });
});

test('a managed policy of a group is read by its own text', async (t) => {
  const policyArn = `arn:aws:iam::${account}:policy/team/wide`;
  const attach = iam(0, 'AttachGroupPolicy', { groupName, policyArn });
  t.is(await overreachOf(t, [attach, joins]), undefined, 'its text is not known');
  const text = iam(2, 'CreatePolicyVersion', { policyArn, policyDocument, setAsDefault: true });
  t.like((await overreachOf(t, [attach, joins, text]))?.measured, { policy: `${policyArn} of group ops` });
});

const over: Readonly<Record<string, Call>> = {
  'its user left': iam(3, 'RemoveUserFromGroup', { groupName, userName: 'ada' }),
  'its policy was deleted': iam(3, 'DeleteGroupPolicy', { groupName, policyName: 'wide' }),
};

for (const [why, change] of Object.entries(over))
  test(`a policy of a group grants nothing after ${why}`, async (t) => {
    t.is(await overreachOf(t, [inline, joins, change]), undefined);
    t.truthy(await overreachOf(t, [inline, joins, { ...change, error: 'AccessDenied' }]), 'unless that was refused');
  });

test('who is in another group, or a role, has nothing of a group', async (t) => {
  t.is(await overreachOf(t, [inline, iam(1, 'AddUserToGroup', { groupName: 'dev', userName: 'ada' })]), undefined);
  t.is(await overreachOf(t, [inline, iam(1, 'AddUserToGroup', { groupName, userName: 'eve' })]), undefined);
});

test('a permissions boundary is named as not evaluated, while there is one', async (t) => {
  const permissionsBoundary = `arn:aws:iam::${account}:policy/limits`;
  const put = iam(2, 'PutUserPermissionsBoundary', { userName: 'ada', permissionsBoundary });
  t.like((await overreachOf(t, [inline, joins, put]))?.measured, { boundary_not_evaluated: permissionsBoundary });
  const made = iam(-1, 'CreateUser', { userName: 'ada', permissionsBoundary });
  t.like((await overreachOf(t, [made, inline, joins]))?.measured, { boundary_not_evaluated: permissionsBoundary });
  const taken = iam(3, 'DeleteUserPermissionsBoundary', { userName: 'ada' });
  t.like((await overreachOf(t, [inline, joins, put, taken]))?.measured, { boundary_not_evaluated: null });
});
