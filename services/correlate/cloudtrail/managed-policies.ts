import type { Statement } from './iam-policy.js';

const allow = (actions: readonly string[]): Statement => ({
  effect: 'Allow',
  actions,
  notActions: [],
  resources: ['*'],
  notResources: [],
  conditions: [],
});

const allowAllBut = (notActions: readonly string[]): Statement => ({ ...allow([]), notActions });

/**
 * AWS managed policies that let their holder destroy objects or logs, as far as they bear on that (AWS managed policy reference guide). Attaching another
 * AWS managed policy tells nothing here. AmazonS3FullAccess also has `s3-object-lambda:*`; PowerUserAccess leaves out only identities.
 */
export const MANAGED_POLICIES: ReadonlyMap<string, readonly Statement[]> = new Map([
  ['arn:aws:iam::aws:policy/AdministratorAccess', [allow(['*'])]],
  ['arn:aws:iam::aws:policy/PowerUserAccess', [allowAllBut(['iam:*', 'organizations:*', 'account:*'])]],
  ['arn:aws:iam::aws:policy/AmazonS3FullAccess', [allow(['s3:*', 's3-object-lambda:*'])]],
  ['arn:aws:iam::aws:policy/AWSCloudTrail_FullAccess', [allow(['cloudtrail:*'])]],
]);
