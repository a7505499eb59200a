import { bucketSpree } from '../cloudtrail/bucket-spree.js';
import { setting } from '../cloudtrail/examples.js';
import { shortName } from '../cloudtrail/spree.js';

/**
 * What protects a bucket's objects was taken away: versioning suspended or MFA Delete off, a lifecycle rule that expires within a week, Object Lock's
 * default retention removed, a policy deleted or open to everybody, replication or access logging off. One change is enough.
 */
export const s3ProtectionWeakened = bucketSpree({
  kind: 's3.protection_weakened',
  version: 1,
  meaning:
    'versioning, MFA Delete, Object Lock, replication, logging, lifecycle or the policy of a bucket protects it less than before',
  takes: ({ detail }) => (detail?.of === 'bucket' && detail.setting !== 'acl' ? (detail.weakens ?? false) : false),
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
    { title: 'versioning enabled', given: [setting(0, { setting: 'versioning', weakens: null })], fires: false },
    {
      title: 'a suspension that was refused',
      given: [setting(0, { setting: 'versioning', weakens: 'versioning was suspended' }, { error: 'AccessDenied' })],
      fires: false,
    },
  ],
});
