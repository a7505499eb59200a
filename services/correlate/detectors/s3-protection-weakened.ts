import type { Act, BucketChange } from '../cloudtrail/act.js';
import { bucketSpree } from '../cloudtrail/bucket-spree.js';
import { denialsIn, lostDenials, PURGES, unguarded } from '../cloudtrail/denials.js';
import { setting } from '../cloudtrail/examples.js';
import { counted, shortName } from '../cloudtrail/spree.js';

const GUARD = {
  Sid: 'KeepVersions',
  Effect: 'Deny',
  Principal: '*',
  Action: 's3:Delete*',
  Resource: 'arn:aws:s3:::example/*',
};
const TLS = { ...GUARD, Sid: 'TlsOnly', Action: 's3:*', Condition: { Bool: { 'aws:SecureTransport': 'false' } } };
const BOTH = { ...GUARD, Sid: 'Keep', Action: ['s3:PutBucketPolicy', 's3:*'], Principal: { AWS: '*' } };

/**
 * What protects a bucket's objects was taken away: versioning suspended or MFA Delete off, a lifecycle rule that expires within a week, Object Lock's
 * default retention removed, a policy deleted, open to everybody or with fewer denials than the one put before, replication or access logging off. One
 * change is enough.
 */
export const s3ProtectionWeakened = bucketSpree({
  kind: 's3.protection_weakened',
  version: 2,
  meaning:
    'versioning, MFA Delete, Object Lock, replication, logging, lifecycle or the policy of a bucket protects it less than before',
  takes({ detail }, before) {
    if (detail?.of !== 'bucket' || detail.setting === 'acl') return false;
    const says = [detail.weakens, lossOf(detail, before)].filter((one) => one !== null);
    return says.length > 0 && says.join('; ');
  },
  isEnough: () => true,
  unlessRoutine: false,
  quietGap: '10m',
  maxExtent: '6h',
  finding: (spree, bucket) => ({
    severity: 'warning',
    summary: `${shortName(spree.principal)} weakened ${bucket}: ${spree.says.join('; ')}`,
    measured: { changes: spree.count, says: spree.says },
  }),
  examples: [
    {
      title: 'versioning suspended',
      given: [setting(0, { setting: 'versioning', weakens: 'versioning was suspended' })],
      fires: true,
    },
    {
      title: 'a bucket policy that denies less than the one before it',
      given: [policy(0, [GUARD, TLS]), policy(86_400, [TLS])],
      fires: true,
    },
    { title: 'a bucket policy that denies as much', given: [policy(0, [TLS]), policy(60, [TLS])], fires: false },
    {
      title: 'a bucket policy whose denials became one',
      given: [policy(0, [GUARD, TLS]), policy(60, [BOTH])],
      fires: false,
    },
    { title: 'a bucket policy that denies more', given: [policy(0, [TLS]), policy(60, [GUARD, TLS])], fires: false },
    { title: 'one without denials, after none that is known', given: [policy(0, [])], fires: false },
    {
      title: 'a policy with fewer denials that was refused',
      given: [policy(0, [GUARD, TLS]), policy(60, [TLS], 'AccessDenied')],
      fires: false,
    },
    {
      title: 'one that is measured by the last that was put, and not by one that was refused',
      given: [policy(0, [TLS]), policy(60, [GUARD, TLS], 'AccessDenied'), policy(120, [TLS])],
      fires: false,
    },
    { title: 'versioning enabled', given: [setting(0, { setting: 'versioning', weakens: null })], fires: false },
    {
      title: 'a suspension that was refused',
      given: [setting(0, { setting: 'versioning', weakens: 'versioning was suspended' }, { error: 'AccessDenied' })],
      fires: false,
    },
  ],
});

/** In words; null where nothing is lost, or what was denied before is not in evidence. */
function lossOf({ denials }: BucketChange, before: BucketChange | undefined): string | null {
  const known = before?.denials ?? null;
  if (!denials || known === null) return null;
  const lost = lostDenials(known, denials);
  if (lost.length === 0) return null;
  const names = lost.map(({ name }) => name).join(', ');
  return `the bucket policy lost ${lost.length} of its ${counted(known.length, 'denial')} (${names})${unguarded(lost, denials) ? `, and no other denies ${PURGES}` : ''}`;
}

function policy(
  seconds: number,
  statements: readonly Readonly<Record<string, unknown>>[],
  error: string | null = null,
): Act {
  return setting(
    seconds,
    { setting: 'policy', weakens: null, denials: denialsIn(statements) },
    { eventName: 'PutBucketPolicy', error },
  );
}
