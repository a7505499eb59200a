import { type Cause, notMade, passed, refuted, texts } from '../cause.js';

/** What stands between a principal that has the right and the loss of versions, and what only keeps a copy or a trace of them. */
const GUARDS = /MFA Delete|Object Lock|replication|no other denies s3:DeleteObjectVersion/;

/** What may have stood between them: what the policy denied is not in evidence, or what it now allows was not evaluated. */
const MAY_GUARD = /policy was deleted|policy lets everybody in/;

export const weakenedProtectionPermitsPurge: Cause = {
  rule: 'weakened-protection-permits-purge',
  version: 2,
  from: 's3.protection_weakened',
  to: 's3.version_purge',
  within: '24h',
  shared: ['bucket'],
  mechanism:
    "MFA Delete, Object Lock's retention and a policy that denies each refuse the deletion of a version, and a replica outlives it; taken away, nothing does (S3 user guide, Object Lock, MFA delete, Replication).",
  dose: 'none',
  role: 'condition',
  explain(weakened) {
    const says = texts(weakened, 'says');
    const guards = says.filter((one) => GUARDS.test(one));
    if (guards.length > 0) return passed(`${guards.join('; ')}, before the versions were deleted`);
    const unknown = says.filter((one) => MAY_GUARD.test(one));
    return unknown.length > 0
      ? notMade(`${unknown.join('; ')}, and that it had kept versions from being deleted is not in evidence`)
      : refuted('what was weakened neither refuses a deletion nor outlives it; deletions by lifecycle are no calls');
  },
  examples: [
    {
      title: 'MFA Delete switched off',
      cause: { subject: 'bucket:logs', keys: ['bucket:logs'], measured: { says: ['MFA Delete was switched off'] } },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role'] },
      links: true,
    },
    {
      title: 'a bucket policy that no longer denies it',
      cause: {
        subject: 'bucket:logs',
        keys: ['bucket:logs'],
        measured: {
          says: [
            'the bucket policy lost 1 of its 2 denials (KeepVersions), and no other denies s3:DeleteObjectVersion',
          ],
        },
      },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role'] },
      links: true,
    },
    {
      title: 'a bucket policy that lost a denial of something else',
      cause: {
        subject: 'bucket:logs',
        keys: ['bucket:logs'],
        measured: { says: ['the bucket policy lost 1 of its 2 denials (TlsOnly)'] },
      },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role'] },
      links: false,
    },
    {
      title: 'a bucket policy of which nobody knows what it denied',
      cause: { subject: 'bucket:logs', keys: ['bucket:logs'], measured: { says: ['the bucket policy was deleted'] } },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role'] },
      links: false,
    },
    {
      title: 'another bucket',
      cause: { subject: 'bucket:web', keys: ['bucket:web'], measured: { says: ['MFA Delete was switched off'] } },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role'] },
      links: false,
    },
    {
      title: 'a lifecycle rule, which deletes without a call',
      cause: {
        subject: 'bucket:logs',
        keys: ['bucket:logs'],
        measured: { says: ['a lifecycle rule expires objects after 1 day'] },
      },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role'] },
      links: false,
    },
  ],
};
