import { bucketSpree } from '../cloudtrail/bucket-spree.js';
import { setting } from '../cloudtrail/examples.js';
import { counted, shortName } from '../cloudtrail/spree.js';

/** An ACL opened a bucket or its objects to everybody, or to everybody with an AWS account. Where ownership is enforced such a call fails (S3 user guide). */
export const s3AclChange = bucketSpree({
  kind: 's3.acl_change',
  version: 1,
  meaning: 'an ACL of a bucket or of its objects is opened to everybody',
  takes: ({ detail }) => (detail?.of === 'bucket' && detail.setting === 'acl' ? (detail.weakens ?? false) : false),
  isEnough: () => true,
  unlessRoutine: false,
  quietGap: '10m',
  maxExtent: '6h',
  finding: (spree, bucket) => ({
    severity: 'critical',
    summary: `${shortName(spree.principal)} opened ${bucket} or objects in it: ${spree.says.join('; ')}`,
    measured: { changes: spree.count, says: spree.says, scope: counted(spree.count, 'change') },
  }),
  examples: [
    {
      title: 'an object made public',
      given: [setting(0, { setting: 'acl', weakens: 'the ACL was set to public-read' })],
      fires: true,
    },
    { title: 'an owner given full control', given: [setting(0, { setting: 'acl', weakens: null })], fires: false },
    {
      title: 'a change that was refused',
      given: [
        setting(
          0,
          { setting: 'acl', weakens: 'the ACL was set to public-read' },
          { error: 'AccessControlListNotSupported' },
        ),
      ],
      fires: false,
    },
  ],
});
