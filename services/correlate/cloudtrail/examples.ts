/** Builders of examples: acts and uses of a CI role, at so many seconds after EXAMPLE_START. */
import { at } from '../examples.js';
import type { Act, BucketChange, Membership, PolicyChange, Simulation, TrailChange, Use, Uses } from './act.js';
import { readPolicy } from './iam-policy.js';
import type { Selectors } from './selectors.js';

const ROLE = 'arn:aws:iam::123456789012:role/ci-deployer';

export const DAY_SECONDS = 86_400;

export function act(seconds: number, more: Partial<Act> = {}): Act {
  const id = `act-${String(seconds).padStart(6, '0')}-${more.key ?? more.eventName ?? ''}`;
  return {
    type: 'act',
    atMicros: at(seconds),
    identity: id,
    action: 's3:DeleteObjectVersion',
    eventName: 'DeleteObject',
    error: null,
    who: {
      principal: ROLE,
      caller: 'arn:aws:sts::123456789012:assumed-role/ci-deployer/run-1',
      source: '192.0.2.7',
      userAgent: 'aws-cli/2.15.0',
      account: '123456789012',
    },
    bucket: 'example',
    key: null,
    detail: null,
    request: null,
    evidenceId: id,
    ...more,
  };
}

/** So many deletions, one a second, of keys under these prefixes in turn. */
export function deletions(
  count: number,
  { from = 0, prefixes = ['audit/'], ...more }: Partial<Act> & { from?: number; prefixes?: readonly string[] } = {},
): Act[] {
  return Array.from({ length: count }, (_, index) =>
    act(from + index, {
      key: `${prefixes[Math.floor((index * prefixes.length) / count)]!}2024/03/16/${String(index).padStart(4, '0')}.json.gz`,
      ...more,
    }),
  );
}

export const setting = (seconds: number, change: Omit<BucketChange, 'of'>, more: Partial<Act> = {}): Act =>
  act(seconds, {
    action: 's3:PutBucketVersioning',
    eventName: `set ${change.setting}`,
    detail: { of: 'bucket', ...change },
    ...more,
  });

export const trail = (
  seconds: number,
  change: TrailChange['change'],
  more: Partial<Act> = {},
  selectors: Selectors | null = null,
): Act =>
  act(seconds, {
    action: 'cloudtrail:StopLogging',
    eventName: change,
    bucket: null,
    detail: { of: 'trail', change, selectors, switchedOff: [], reach: null, insights: null },
    ...more,
  });

export const grant = (seconds: number, document: unknown, more: Partial<Omit<PolicyChange, 'of'>> = {}): Act =>
  act(seconds, {
    action: 'iam:PutRolePolicy',
    eventName: 'PutRolePolicy',
    bucket: null,
    detail: {
      of: 'policy',
      change: 'grant',
      group: null,
      policy: 'inline',
      statements: readPolicy(document) ?? null,
      ...more,
    },
  });

export const USER = 'principal:arn:aws:iam::123456789012:user/ada';

export const membership = (seconds: number, change: Membership['change']): Act =>
  act(seconds, {
    action: 'iam:AddUserToGroup',
    eventName: change,
    bucket: null,
    detail: { of: 'membership', change, group: 'ops' },
  });

export const simulation = (seconds: number, more: Partial<Simulation> = {}): Simulation => ({
  type: 'simulation',
  atMicros: at(seconds),
  action: 's3:DeleteObjectVersion',
  resource: 'arn:aws:s3:::example/*',
  allowed: true,
  policies: ['ci-inline'],
  missing: [],
  evidenceId: `simulation-${seconds}-${more.resource ?? ''}`,
  ...more,
});

export const allowing = (actions: readonly string[], resources: readonly string[]): unknown => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: actions, Resource: resources }],
});

export const use = (seconds: number, action: string, more: Partial<Use> = {}): Use => ({
  action,
  bucket: null,
  outcome: 'ok',
  counts: [['123456789012', 1]],
  firstMicros: at(seconds),
  lastMicros: at(seconds),
  firstId: `use-${seconds}-${action}`,
  firstRequest: null,
  principals: [ROLE],
  callers: ['arn:aws:sts::123456789012:assumed-role/ci-deployer/run-1'],
  sources: ['192.0.2.7'],
  accounts: ['123456789012'],
  ...more,
});

/** The uses of the minute that begins then. */
export const uses = (seconds: number, list: readonly Use[]): Uses => ({
  type: 'uses',
  atMicros: at(seconds),
  uses: list,
});
