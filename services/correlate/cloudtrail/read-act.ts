import {
  BOUNDARIES,
  type BUCKET_SETTINGS,
  type MEMBERSHIPS,
  type POLICY_CHANGES,
  POLICY_TEXTS,
  type TRAIL_CHANGES,
} from '../../../shared/cloudtrail-acts.js';
import type {
  Act,
  BucketChange,
  Detail,
  Membership,
  PolicyChange,
  PolicyText,
  TrailChange,
  TrailReach,
  Who,
} from './act.js';
import { denialsIn } from './denials.js';
import { bearingOn, readPolicy, type Statement } from './iam-policy.js';
import { cloudScopes } from './scopes.js';
import { readSelectors } from './selectors.js';

/** A record of the store, as far as acts are read from it. */
export interface ActRow {
  readonly atMicros: number;
  /** sharedEventID, else eventID, else the evidence's own id. */
  readonly identity: string;
  readonly region: string | null;
  readonly eventName: string;
  readonly action: string;
  readonly who: Who;
  readonly error: string | null;
  readonly bucket: string | null;
  readonly key: string | null;
  /** The request's id, of DeleteObjects and of what the service recorded in its course. */
  readonly request: string | null;
  /** The version was a delete marker: what it hid is there again. */
  readonly removesMarker: boolean;
  /** The record's text, where more than the columns is needed. */
  readonly raw: string | null;
  readonly evidenceId: string;
}

/** An act, and whose fold it belongs to. */
export interface ScopedAct {
  readonly scope: string;
  readonly act: Act;
}

/** Of each event a value, and of others none. */
type NamedBy<Names extends readonly string[], Value> = Readonly<Record<Names[number], Value>> &
  Readonly<Record<string, Value | undefined>>;

const SETTINGS: NamedBy<typeof BUCKET_SETTINGS, (request: Json) => BucketChange> = {
  PutBucketVersioning: versioning,
  PutBucketLifecycle: lifecycle,
  PutBucketLifecycleConfiguration: lifecycle,
  PutObjectLockConfiguration: objectLock,
  PutBucketPolicy: bucketPolicy,
  DeleteBucketPolicy: () => ({
    of: 'bucket',
    setting: 'policy',
    weakens: 'the bucket policy was deleted',
    denials: [],
  }),
  PutBucketReplication: replication,
  DeleteBucketReplication: () => ({ of: 'bucket', setting: 'replication', weakens: 'replication was removed' }),
  PutBucketLogging: logging,
  DeleteBucketPublicAccessBlock: () => ({
    of: 'bucket',
    setting: 'public access',
    weakens: 'the public access block was deleted',
  }),
  PutBucketAcl: acl,
  PutObjectAcl: acl,
};

const TRAIL: NamedBy<typeof TRAIL_CHANGES, TrailChange['change']> = {
  StartLogging: 'start',
  StopLogging: 'stop',
  CreateTrail: 'create',
  UpdateTrail: 'update',
  DeleteTrail: 'delete',
  PutEventSelectors: 'selectors',
  PutInsightSelectors: 'insights',
};

const POLICY: NamedBy<typeof POLICY_CHANGES, PolicyChange['change']> = {
  PutRolePolicy: 'grant',
  PutUserPolicy: 'grant',
  AttachRolePolicy: 'grant',
  AttachUserPolicy: 'grant',
  DeleteRolePolicy: 'revoke',
  DeleteUserPolicy: 'revoke',
  DetachRolePolicy: 'revoke',
  DetachUserPolicy: 'revoke',
  PutGroupPolicy: 'grant',
  AttachGroupPolicy: 'grant',
  DeleteGroupPolicy: 'revoke',
  DetachGroupPolicy: 'revoke',
};

const MEMBERSHIP: NamedBy<typeof MEMBERSHIPS, Membership['change']> = {
  AddUserToGroup: 'join',
  RemoveUserFromGroup: 'leave',
};

/**
 * Actions with which objects or logs are destroyed, or what protects them taken away. What IAM grants is kept as far as it bears on these, and uses of
 * them are noted for whoever makes them.
 */
export const DESTRUCTIVE: readonly string[] = [
  's3:DeleteObjectVersion',
  's3:DeleteObject',
  's3:DeleteBucket',
  's3:DeleteBucketPolicy',
  's3:PutBucketPolicy',
  's3:PutBucketVersioning',
  's3:PutLifecycleConfiguration',
  's3:PutBucketObjectLockConfiguration',
  's3:PutReplicationConfiguration',
  's3:PutBucketLogging',
  'cloudtrail:StopLogging',
  'cloudtrail:DeleteTrail',
  'cloudtrail:UpdateTrail',
  'cloudtrail:PutEventSelectors',
];

/** What a record means to the folds; undefined for one that says too little to belong anywhere. */
export function readAct(row: ActRow): ScopedAct | undefined {
  const read = row.raw === null ? deletion(row) : detailOf(row, requestIn(row.raw));
  if (!read) return undefined;
  const { scope, detail } = read;
  return {
    scope,
    act: {
      type: 'act',
      atMicros: row.atMicros,
      identity: row.identity,
      action: row.action,
      eventName: row.eventName,
      error: row.error,
      who: row.who,
      bucket: row.bucket,
      key: row.key,
      detail,
      request: row.request,
      evidenceId: row.evidenceId,
    },
  };
}

type Json = Readonly<Record<string, unknown>>;

interface Read {
  readonly scope: string;
  readonly detail: Detail | null;
}

/** Removing a delete marker destroys nothing: it is how a deleted object comes back (S3 user guide, "Managing delete markers"). */
const deletion = ({ bucket, removesMarker }: ActRow): Read | undefined =>
  bucket === null || removesMarker ? undefined : { scope: cloudScopes.bucket(bucket), detail: null };

function detailOf(row: ActRow, { request, response }: Whole): Read | undefined {
  const { eventName } = row;
  const setting = SETTINGS[eventName];
  if (setting)
    return row.bucket === null ? undefined : { scope: cloudScopes.bucket(row.bucket), detail: setting(request) };
  if (TRAIL[eventName]) return trailChange(row, TRAIL[eventName], request, response);
  if (POLICY[eventName]) return policyChange(row, POLICY[eventName], request);
  if (MEMBERSHIP[eventName]) return membership(row, MEMBERSHIP[eventName], request);
  if (BOUNDARIES.includes(eventName)) return boundary(row, request);
  return POLICY_TEXTS.includes(eventName) ? policyText(row, request, response) : undefined;
}

interface Whole {
  readonly request: Json;
  readonly response: Json;
}

function requestIn(raw: string): Whole {
  const record = objectOf(JSON.parse(raw));
  return { request: objectOf(record['requestParameters']), response: objectOf(record['responseElements']) };
}

/* ---- IAM ---- */

function policyChange(row: ActRow, change: PolicyChange['change'], request: Json): Read | undefined {
  const { account } = row.who;
  const group = textOf(request['groupName']) ?? null;
  const policy = textOf(request['policyArn']) ?? textOf(request['policyName']);
  const scope = group === null || account === null ? holderOf(row, request) : cloudScopes.policies(account);
  if (scope === undefined || policy === undefined) return undefined;
  return { scope, detail: { of: 'policy', change, group, policy, statements: kept(request['policyDocument']) } };
}

/** The rights of the role or user that a request of IAM is about. */
function holderOf({ who: { account } }: ActRow, request: Json): string | undefined {
  const role = textOf(request['roleName']);
  const name = role ?? textOf(request['userName']);
  if (name === undefined || account === null) return undefined;
  return cloudScopes.rights(`arn:aws:iam::${account}:${role === undefined ? 'user' : 'role'}/${name}`);
}

function membership(row: ActRow, change: Membership['change'], request: Json): Read | undefined {
  const group = textOf(request['groupName']);
  const scope = holderOf(row, request);
  return scope === undefined || group === undefined
    ? undefined
    : { scope, detail: { of: 'membership', change, group } };
}

function boundary(row: ActRow, request: Json): Read | undefined {
  const policy = textOf(request['permissionsBoundary']) ?? null;
  const scope = holderOf(row, request);
  const says = policy !== null || !row.eventName.startsWith('Create');
  return scope === undefined || !says ? undefined : { scope, detail: { of: 'boundary', policy } };
}

function policyText(row: ActRow, request: Json, response: Json): Read | undefined {
  const created = objectOf(response['policy']);
  const version = objectOf(response['policyVersion']);
  const arn = textOf(request['policyArn']) ?? textOf(created['arn']) ?? arnOfName(row, request);
  if (arn === undefined || row.who.account === null) return undefined;
  const detail: PolicyText = {
    of: 'policy_text',
    arn,
    version:
      textOf(request['versionId']) ??
      textOf(version['versionId']) ??
      (row.eventName === 'CreatePolicy' ? 'v1' : row.evidenceId),
    statements: row.eventName === 'SetDefaultPolicyVersion' ? null : kept(request['policyDocument']),
    isDefault: row.eventName !== 'CreatePolicyVersion' || request['setAsDefault'] === true,
  };
  return { scope: cloudScopes.policies(row.who.account), detail };
}

function arnOfName({ who }: ActRow, request: Json): string | undefined {
  const name = textOf(request['policyName']);
  return name === undefined ? undefined : `arn:aws:iam::${who.account}:policy${textOf(request['path']) ?? '/'}${name}`;
}

/** Statements as far as they bear on what is destructive. */
function kept(document: unknown): Statement[] | null {
  if (document === undefined) return null;
  const statements = readPolicy(document);
  return statements ? bearingOn(statements, DESTRUCTIVE) : null;
}

/* ---- trails ---- */

function trailChange(row: ActRow, change: TrailChange['change'], request: Json, response: Json): Read | undefined {
  const name = textOf(response['trailARN']) ?? textOf(request['trailName']) ?? textOf(request['name']);
  if (name === undefined) return undefined;
  const arn = name.startsWith('arn:')
    ? name
    : `arn:aws:cloudtrail:${row.region ?? ''}:${row.who.account ?? ''}:trail/${name}`;
  const detail: TrailChange = {
    of: 'trail',
    change,
    selectors: change === 'selectors' ? (readSelectors(request) ?? null) : null,
    switchedOff: change === 'update' ? switchedOff(request) : [],
    reach: change === 'create' || change === 'update' ? reachOf(change, request, response) : null,
    insights: change === 'insights' ? insightTypes(request) : null,
  };
  return { scope: cloudScopes.trail(arn), detail };
}

/** As the answer has it. Where only the request is known, what it leaves out is the default of a new trail (API reference, CreateTrail). */
function reachOf(change: 'create' | 'update', request: Json, response: Json): TrailReach {
  const said = (field: string, byDefault: boolean): boolean | null => {
    const value = response[field] ?? request[field];
    if (typeof value === 'boolean') return value;
    return change === 'create' ? byDefault : null;
  };
  return {
    allRegions: said('isMultiRegionTrail', false),
    globalServices: said('includeGlobalServiceEvents', true),
    organization: said('isOrganizationTrail', false),
  };
}

const insightTypes = (request: Json): string[] =>
  listOf(request['insightSelectors']).flatMap(({ insightType }) => textOf(insightType) ?? []);

function switchedOff(request: Json): string[] {
  return [
    ...(request['isMultiRegionTrail'] === false ? ['other regions are no longer recorded'] : []),
    ...(request['includeGlobalServiceEvents'] === false ? ['global services (IAM, STS) are no longer recorded'] : []),
    ...(request['enableLogFileValidation'] === false ? ['log files are no longer covered by digests'] : []),
  ];
}

/* ---- buckets ---- */

const none = (setting: BucketChange['setting']): BucketChange => ({ of: 'bucket', setting, weakens: null });
const weaker = (setting: BucketChange['setting'], weakens: string): BucketChange => ({
  of: 'bucket',
  setting,
  weakens,
});

function versioning(request: Json): BucketChange {
  const { Status, MfaDelete } = objectOf(request['VersioningConfiguration']);
  if (Status === 'Suspended')
    return weaker('versioning', 'versioning was suspended: overwrites and deletions keep nothing');
  return MfaDelete === 'Disabled' ? weaker('versioning', 'MFA Delete was switched off') : none('versioning');
}

/** Logs are kept for months at least; a rule that expires within a week empties a bucket (Stratus Red Team's lifecycle technique uses one day). */
const SHORT_DAYS = 7;

function lifecycle(request: Json): BucketChange {
  const rules = listOf(objectOf(request['LifecycleConfiguration'])['Rule']);
  const days = rules
    .filter(({ Status }) => Status !== 'Disabled')
    .flatMap((rule) => [
      numberOf(objectOf(rule['Expiration'])['Days']),
      numberOf(objectOf(rule['NoncurrentVersionExpiration'])['NoncurrentDays']),
    ])
    .filter((one): one is number => one !== undefined);
  const shortest = Math.min(...days);
  return shortest <= SHORT_DAYS
    ? weaker('lifecycle', `a lifecycle rule expires objects after ${shortest} ${shortest === 1 ? 'day' : 'days'}`)
    : none('lifecycle');
}

function objectLock(request: Json): BucketChange {
  const configuration = request['ObjectLockConfiguration'];
  return isObject(configuration) && configuration['Rule'] === undefined
    ? weaker('object lock', 'the default retention of Object Lock was removed')
    : none('object lock');
}

/** A policy that lets everybody in; whether its denials are fewer than before is for who knows what was before. */
function bucketPolicy(request: Json): BucketChange {
  const document = objectOf(
    typeof request['bucketPolicy'] === 'string' ? parsed(request['bucketPolicy']) : request['bucketPolicy'],
  );
  const statements = listOf(document['Statement']);
  const denials = statements.length === 0 ? null : denialsIn(statements);
  const everybody = statements.some(
    ({ Effect, Principal, Condition }) =>
      Effect === 'Allow' &&
      Condition === undefined &&
      (Principal === '*' || [objectOf(Principal)['AWS']].flat().includes('*')),
  );
  return { ...(everybody ? weaker('policy', 'the bucket policy lets everybody in') : none('policy')), denials };
}

function replication(request: Json): BucketChange {
  const rules = listOf(objectOf(request['ReplicationConfiguration'])['Rule']);
  const off = rules.length > 0 && rules.every(({ Status }) => Status === 'Disabled');
  return off ? weaker('replication', 'all replication rules were disabled') : none('replication');
}

function logging(request: Json): BucketChange {
  const status = request['BucketLoggingStatus'];
  return isObject(status) && status['LoggingEnabled'] === undefined
    ? weaker('logging', 'server access logging was switched off')
    : none('logging');
}

const PUBLIC_ACLS = ['public-read', 'public-read-write', 'authenticated-read'];

/** Groups of everybody, and of everybody with an AWS account (S3 user guide, "Access control list (ACL) overview"). */
const EVERYBODY = /acs\.amazonaws\.com\/groups\/global\/(AllUsers|AuthenticatedUsers)/;

function acl(request: Json): BucketChange {
  const canned = PUBLIC_ACLS.find((one) => [request['x-amz-acl']].flat().includes(one));
  if (canned !== undefined) return weaker('acl', `the ACL was set to ${canned}`);
  const grants = Object.entries(request).filter(
    ([name]) => name.startsWith('x-amz-grant-') || name === 'AccessControlPolicy',
  );
  const group = EVERYBODY.exec(JSON.stringify(grants))?.[1];
  return group ? weaker('acl', `the ACL grants to ${group}`) : none('acl');
}

/* ---- plain values ---- */

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const objectOf = (value: unknown): Json => (isObject(value) ? value : {});
const listOf = (value: unknown): Json[] => [value].flat().filter(isObject);
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'string' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
