/** Records of CloudTrail that detectors read one by one: acts. Their text is stored apart from that of all others, so that it is found without reading those. */

/** Deletions of objects. */
export const DELETIONS = ['DeleteObject', 'DeleteObjectVersion', 'DeleteObjects'] as const;

/** S3 calls that change what protects a bucket or who may read it. */
export const BUCKET_SETTINGS = [
  'PutBucketVersioning',
  'PutBucketLifecycle',
  'PutBucketLifecycleConfiguration',
  'PutObjectLockConfiguration',
  'PutBucketPolicy',
  'DeleteBucketPolicy',
  'PutBucketReplication',
  'DeleteBucketReplication',
  'PutBucketLogging',
  'DeleteBucketPublicAccessBlock',
  'PutBucketAcl',
  'PutObjectAcl',
] as const;

export const TRAIL_CHANGES = [
  'StartLogging',
  'StopLogging',
  'CreateTrail',
  'UpdateTrail',
  'DeleteTrail',
  'PutEventSelectors',
  'PutInsightSelectors',
] as const;

export const POLICY_CHANGES = [
  'PutRolePolicy',
  'PutUserPolicy',
  'AttachRolePolicy',
  'AttachUserPolicy',
  'DeleteRolePolicy',
  'DeleteUserPolicy',
  'DetachRolePolicy',
  'DetachUserPolicy',
  'PutGroupPolicy',
  'AttachGroupPolicy',
  'DeleteGroupPolicy',
  'DetachGroupPolicy',
] as const;

export const MEMBERSHIPS = ['AddUserToGroup', 'RemoveUserFromGroup'] as const;

/** A role or user may be made with a permissions boundary, or get one later. */
export const BOUNDARIES: readonly string[] = [
  'CreateRole',
  'CreateUser',
  'PutRolePermissionsBoundary',
  'PutUserPermissionsBoundary',
  'DeleteRolePermissionsBoundary',
  'DeleteUserPermissionsBoundary',
];

export const POLICY_TEXTS: readonly string[] = ['CreatePolicy', 'CreatePolicyVersion', 'SetDefaultPolicyVersion'];

/** Events of which more than the columns is needed, by the service that writes them. */
export const READ_WHOLE: readonly (readonly [eventSource: string, eventNames: readonly string[]])[] = [
  ['s3.amazonaws.com', BUCKET_SETTINGS],
  ['cloudtrail.amazonaws.com', TRAIL_CHANGES],
  ['iam.amazonaws.com', [...POLICY_CHANGES, ...MEMBERSHIPS, ...BOUNDARIES, ...POLICY_TEXTS]],
];

const ACTS = new Map(
  [...READ_WHOLE, ['s3.amazonaws.com', [...BUCKET_SETTINGS, ...DELETIONS]] as const].map(([source, names]) => [
    source,
    new Set<string | null>(names),
  ]),
);

export const isAct = ({
  eventSource,
  eventName,
}: {
  readonly eventSource: string | null;
  readonly eventName: string | null;
}): boolean => ACTS.get(eventSource ?? '')?.has(eventName) ?? false;
