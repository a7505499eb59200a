import { type Cause, passed, refuted, texts } from '../cause.js';

/** What stands between a principal that has the right and the loss of versions, and what only keeps a copy or a trace of them. */
const GUARDS = /MFA Delete|Object Lock|policy|replication|versioning/;

export const weakenedProtectionPermitsPurge: Cause = {
  rule: 'weakened-protection-permits-purge',
  version: 1,
  from: 's3.protection_weakened',
  to: 's3.version_purge',
  within: '24h',
  shared: ['bucket'],
  mechanism:
    "MFA Delete, Object Lock's retention and a policy that denies each refuse the deletion of a version, and a replica outlives it; taken away, nothing does (S3 user guide, Object Lock, MFA delete, Replication).",
  dose: 'none',
  role: 'condition',
  explain(weakened) {
    const guards = texts(weakened, 'says').filter((one) => GUARDS.test(one));
    return guards.length > 0
      ? passed(`${guards.join('; ')}, before the versions were deleted`)
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
