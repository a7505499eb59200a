import test, { type ExecutionContext } from 'ava';
import {
  account,
  after,
  type Call,
  type Identity,
  object,
  service,
  session,
  user,
} from '../../replay/generate/cloudtrail.js';
import { readChains, readWhole } from '../../services/query/read.js';
import { sessionsOf } from '../../services/query/sessions.js';
import { rowsOf, told } from '../helpers/calls.js';

/** A role with a right to everything purges a bucket; who began its session is told by AssumeRole. */

const PURGE = '2024-03-17T03:15:02Z';
const usual = { ip: '192.0.2.7', userAgent: 'aws-cli/2.15.0', readOnly: false } as const;
const keyed = (role: string, name: string, accessKeyId: string): Identity => ({ ...session(role, name), accessKeyId });

const grant: Call = {
  ...usual,
  at: after(PURGE, -86_400),
  who: user('ada'),
  source: 'iam.amazonaws.com',
  name: 'PutRolePolicy',
  request: {
    roleName: 'ci-deployer',
    policyName: 'wide',
    policyDocument: JSON.stringify({ Statement: [{ Effect: 'Allow', Action: 's3:*', Resource: '*' }] }),
  },
};

const purge = (who: Identity): Call[] =>
  Array.from({ length: 30 }, (_, index) =>
    object({
      ...usual,
      who,
      at: after(PURGE, index),
      name: 'DeleteObject',
      bucket: 'logs',
      key: `a/${index}`,
      versionId: 'v',
    }),
  );

interface Assumed {
  readonly seconds?: number;
  readonly role?: string;
  readonly name?: string;
  readonly key?: string;
  readonly ip?: string;
  readonly error?: string;
  readonly more?: Readonly<Record<string, unknown>>;
}

/** An AssumeRole so many seconds before the purge. */
function assumed(
  who: Identity,
  { seconds = 60, role = 'ci-deployer', name = 'run-1', key, ip, error, more }: Assumed = {},
) {
  const arn = `arn:aws:sts::${account}:assumed-role/${role}/${name}`;
  return {
    ...usual,
    ip: ip ?? '192.0.2.30',
    at: after(PURGE, -seconds),
    who,
    source: 'sts.amazonaws.com',
    name: 'AssumeRole',
    readOnly: true,
    ...(error && { error }),
    response: error ? null : { assumedRoleUser: { arn }, ...(key && { credentials: { accessKeyId: key } }) },
    more: { eventID: `event-${seconds}`, ...more },
  };
}

/** What is said of the sessions of the only chain. */
const said = (t: ExecutionContext, who: Identity, ...calls: readonly ReturnType<typeof assumed>[]) =>
  told(t, [rowsOf([grant, ...purge(who), ...calls])], async (connection) => {
    const [chain, ...others] = await readChains(connection);
    t.deepEqual(others, []);
    return (await sessionsOf(connection, await readWhole(connection, chain!))).join('\n');
  });

const CI = keyed('ci-deployer', 'run-1', 'ASIAPURGE');
const WHO = 'assumed-role/ci-deployer/run-1 with key ASIAPURGE (iam.overreach, s3.version_purge)';

test('a session is followed by its key to who began it, from where and when', async (t) => {
  t.is(
    await said(
      t,
      CI,
      assumed(user('ada'), { key: 'ASIAPURGE' }),
      assumed(user('eve'), { key: 'ASIAOTHER', seconds: 30 }),
    ),
    `${WHO} was begun by user/ada from 192.0.2.30 at 2024-03-17 03:14:02 UTC (AssumeRole, event event-60).`,
  );
});

test('chained roles are followed to who was no session', async (t) => {
  const runner = keyed('runner', 'i-1', 'ASIARUNNER');
  const told = await said(
    t,
    CI,
    assumed(runner, { key: 'ASIAPURGE' }),
    assumed(service('ec2.amazonaws.com'), {
      role: 'runner',
      name: 'i-1',
      key: 'ASIARUNNER',
      ip: 'ec2.amazonaws.com',
      seconds: 900,
    }),
  );
  t.is(
    told,
    `${WHO} was begun by assumed-role/runner/i-1 from 192.0.2.30 at 2024-03-17 03:14:02 UTC (AssumeRole, event event-60); ` +
      'assumed-role/runner/i-1 with key ASIARUNNER was begun by ec2.amazonaws.com from ec2.amazonaws.com at 2024-03-17 03:00:02 UTC (AssumeRole, event event-900).',
  );
});

test('two sessions that assume each other are not followed for ever', async (t) => {
  const other = keyed('other', 'x', 'ASIAOTHER');
  const told = await said(
    t,
    CI,
    assumed(other, { key: 'ASIAPURGE', seconds: 60 }),
    assumed(CI, { role: 'other', name: 'x', key: 'ASIAOTHER', seconds: 60 }),
  );
  t.regex(told, /roles before that are not followed\.$/);
});

test('of a call across accounts the copy that names its caller is told, and whose account it was', async (t) => {
  const foreign = { ...user('mallory'), arn: 'arn:aws:iam::210987654321:user/mallory', accountId: '210987654321' };
  const byId = { type: 'AWSAccount', principalId: 'AIDAEXAMPLEMALLORY', accountId: '210987654321' };
  const shared = { sharedEventID: 'one' };
  const own = assumed(byId, { key: 'ASIAPURGE', more: { ...shared, eventID: 'event-a' } });
  const theirs = { ...shared, eventID: 'event-z', recipientAccountId: '210987654321' };
  const copy = assumed(foreign, { key: 'ASIAPURGE', more: theirs });
  t.regex(await said(t, CI, own, copy), /begun by user\/mallory, of account 210987654321 from .*event event-z/);
  t.regex(await said(t, CI, own), /begun by AIDAEXAMPLEMALLORY, of account 210987654321 from .*event event-a/);
});

test('where no AssumeRole is in evidence that is said, with what the records say themselves', async (t) => {
  const created = {
    ...CI,
    sessionContext: { ...(CI['sessionContext'] as object), attributes: { creationDate: '2024-03-17T03:10:00Z' } },
  };
  t.is(
    await said(
      t,
      created,
      assumed(user('ada'), { key: 'ASIAOTHER' }),
      assumed(user('ada'), { key: 'ASIAPURGE', error: 'AccessDenied', seconds: 90 }),
      assumed(user('ada'), { key: 'ASIAPURGE', seconds: -5 }),
      assumed(user('ada'), { key: 'ASIAPURGE', seconds: 40 * 3600 }),
    ),
    `${WHO} was begun by no AssumeRole that is in evidence, and 1 that gave other keys to its name: its records say that it was begun at 2024-03-17T03:10:00Z.`,
  );
});

test('a call that names no key began a session by its name alone', async (t) => {
  t.regex(await said(t, CI, assumed(user('ada'))), /begun by user\/ada .*by its name alone/);
  const { accessKeyId: _, ...nameless } = CI;
  t.regex(
    await said(t, nameless, assumed(user('ada'), { key: 'ASIAPURGE' })),
    /^assumed-role\/ci-deployer\/run-1 \(.*by its name alone/,
  );
});

test('who is no session has nothing said of sessions', async (t) => {
  const root = { ...user('ada'), type: 'IAMUser' };
  const own = { ...grant, name: 'PutUserPolicy', request: { ...grant.request, roleName: null, userName: 'ada' } };
  const none = await told(t, [rowsOf([own, ...purge(root)])], async (connection) => {
    const [chain] = await readChains(connection);
    return sessionsOf(connection, await readWhole(connection, chain!));
  });
  t.deepEqual(none, []);
});
