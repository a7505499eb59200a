import { bucketSpree } from '../cloudtrail/bucket-spree.js';
import { deletions } from '../cloudtrail/examples.js';
import { counted, shortName } from '../cloudtrail/spree.js';

/** As many as make a purge (s3-version-purge.ts). */
const LEAST_KEYS = 20;

/** Each DeleteObjects takes up to 1,000 keys and names none (S3 user guide, "CloudTrail logging of Delete Multiple Objects"): two hold more than one page. */
const LEAST_CALLS_WITHOUT_KEYS = 2;
const KEYS_A_CALL = 1000;

/** Objects were deleted, many by one principal: one by one, or up to a thousand a call. In a versioned bucket that leaves delete markers. */
export const s3BulkDelete = bucketSpree({
  kind: 's3.bulk_delete',
  version: 1,
  meaning: `a principal deletes ${LEAST_KEYS} objects or more, or calls DeleteObjects ${LEAST_CALLS_WITHOUT_KEYS} times, and does not do so on most days`,
  takes: ({ action, eventName }) => action === 's3:DeleteObject' || eventName === 'DeleteObjects',
  isEnough: ({ count, keyless }) => keyless >= LEAST_CALLS_WITHOUT_KEYS || count - keyless >= LEAST_KEYS,
  unlessRoutine: true,
  quietGap: '5m',
  maxExtent: '6h',
  finding: (spree, bucket) => {
    const named = spree.count - spree.keyless;
    const parts = [
      ...(named > 0 ? [`${counted(named, 'object')} by name`] : []),
      ...(spree.keyless > 0
        ? [`up to ${spree.keyless * KEYS_A_CALL} in ${counted(spree.keyless, 'call')} that name no key`]
        : []),
    ];
    return {
      severity: 'warning',
      summary: `${shortName(spree.principal)} deleted ${parts.join(' and ')} in ${bucket}`,
      measured: {
        objects: named,
        calls_without_keys: spree.keyless,
        keys: spree.keyless > 0 ? 'unknown: DeleteObjects names none; S3 server access logs may' : 'named',
        prefixes: spree.prefixes,
        first_key: spree.firstKey,
        last_key: spree.lastKey,
        recoverable: 'where the bucket is versioned: delete markers hide objects, and can be removed',
      },
    };
  },
  examples: [
    { title: 'objects one by one', given: deletions(60, { action: 's3:DeleteObject' }), fires: true },
    { title: 'batches without keys', given: [0, 1].map((s) => batch(s)), fires: true },
    { title: 'one batch', given: [batch(0)], fires: false },
    { title: 'ten objects', given: deletions(10, { action: 's3:DeleteObject' }), fires: false },
    { title: 'versions, which are another kind', given: deletions(60), fires: false },
  ],
});

function batch(seconds: number) {
  return { ...deletions(1, { from: seconds, action: 's3:DeleteObject', eventName: 'DeleteObjects' })[0]!, key: null };
}
