import { bucketSpree } from '../cloudtrail/bucket-spree.js';
import { act, DAY_SECONDS, deletions } from '../cloudtrail/examples.js';
import { counted, shortName } from '../cloudtrail/spree.js';

/**
 * Twice what people delete by hand, and no more than the attacks that were recorded do (Stratus Red Team's ransomware by individual deletion removes
 * 51 objects): our choice. An administrator's ten versions are none.
 */
const LEAST_VERSIONS = 20;

/**
 * Versions of objects were deleted for good, many by one principal. CloudTrail writes DeleteObject with a version id; there is no event DeleteObjectVersion
 * (S3 user guide, "Deleting object versions"). With MFA Delete on, only the root user can do it: a role that did it shows that it was off.
 */
export const s3VersionPurge = bucketSpree({
  kind: 's3.version_purge',
  version: 2,
  meaning: `a principal permanently deletes ${LEAST_VERSIONS} versions of objects or more, and does not do so on most days`,
  takes: ({ action }) => action === 's3:DeleteObjectVersion',
  isEnough: ({ count }) => count >= LEAST_VERSIONS,
  unlessRoutine: true,
  quietGap: '5m',
  maxExtent: '6h',
  finding: (spree, bucket) => ({
    severity: 'critical',
    summary: `${shortName(spree.principal)} permanently deleted ${counted(spree.count, 'version')} in ${bucket}${
      spree.days ? `, of objects named ${daysOf(spree.days)}` : ''
    }`,
    measured: {
      versions: spree.count,
      prefixes: spree.prefixes,
      first_key: spree.firstKey,
      last_key: spree.lastKey,
      objects_from: spree.days?.from ?? null,
      objects_to: spree.days?.to ?? null,
      mfa_delete: spree.principal.endsWith(':root')
        ? 'unknown'
        : 'off: only the root user may delete versions where it is on',
    },
  }),
  examples: [
    { title: 'a role that deletes version after version', given: deletions(60), fires: true },
    { title: 'ten versions that an administrator deletes', given: deletions(10), fires: false },
    { title: 'refused deletions', given: deletions(60, { error: 'AccessDenied' }), fires: false },
    {
      title: 'delete markers, which can be taken back',
      given: deletions(60, { action: 's3:DeleteObject' }),
      fires: false,
    },
    {
      title: 'the seventh night of a job that expires versions',
      given: [0, 1, 2, 3, 4, 5, 6].flatMap((day) => deletions(day < 3 ? 19 : 36, { from: day * DAY_SECONDS })),
      fires: false,
    },
    { title: 'a settings change', given: [act(0, { action: 's3:PutBucketPolicy' })], fires: false },
  ],
});

const daysOf = ({ from, to }: { from: string; to: string }): string => (from === to ? from : `${from} to ${to}`);
