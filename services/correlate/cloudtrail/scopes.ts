/** Whose folds CloudTrail's records go to. The names are entity keys, but for a role's path: policy changes name a role without it. */
export const cloudScopes = {
  principal: (arn: string): string => `principal:${withoutPath(arn)}`,
  /** What a principal was granted, and what simulations say of it: read by its fold. Who was granted rights and does nothing needs no fold. */
  rights: (arn: string): string => `rights:${withoutPath(arn)}`,
  bucket: (name: string): string => `bucket:${name}`,
  trail: (arn: string): string => `trail:${arn}`,
  account: (id: string): string => `account:${id}`,
  ip: (address: string): string => `ip:${address}`,
  /** The managed policies of an account and the policies of its groups: read by each of its principals' folds. */
  policies: (account: string): string => `policies:${account}`,
} as const;

export type CloudScope = 'principal' | 'bucket' | 'trail' | 'ip' | 'account';

const KINDS: readonly CloudScope[] = ['principal', 'bucket', 'trail', 'ip', 'account'];

/** What a scope is of; undefined for one that is none of CloudTrail's, or that only others read. */
export const cloudScopeOf = (scope: string): CloudScope | undefined =>
  KINDS.find((kind) => scope.startsWith(`${kind}:`));

export const isCloudScope = (scope: string): boolean =>
  cloudScopeOf(scope) !== undefined || scope.startsWith('policies:') || scope.startsWith('rights:');

/** Whose parts the fold over a subject reads: a principal's rights are also in what its account's policies say. */
export function scopesOf(subject: string): string[] {
  if (cloudScopeOf(subject) !== 'principal') return [subject];
  const account = accountOf(subject);
  const rights = cloudScopes.rights(subject.slice('principal:'.length));
  return [subject, rights, ...(account === undefined ? [] : [cloudScopes.policies(account)])];
}

/** The account that an ARN names. */
export const accountOf = (arn: string): string | undefined =>
  /^(?:principal:|trail:)?arn:[^:]*:[^:]*:[^:]*:(\d{12}):/.exec(arn)?.[1];

/** `arn:aws:iam::1:role/path/name` as `arn:aws:iam::1:role/name`: names are unique in an account whatever their path. */
const withoutPath = (arn: string): string =>
  arn.replace(/^(arn:[^:]*:iam::\d*:(?:role|user))\/(?:[^/]+\/)*([^/]+)$/, '$1/$2');
