import type { Act } from '../cloudtrail/act.js';
import { bucketSpree } from '../cloudtrail/bucket-spree.js';
import { act, deletions } from '../cloudtrail/examples.js';
import { counted, type Spree, shortName } from '../cloudtrail/spree.js';

/** As many as make a purge (s3-version-purge.ts). */
const LEAST_KEYS = 20;

/** Each DeleteObjects takes up to 1,000 keys and names none (S3 user guide, "CloudTrail logging of Delete Multiple Objects"): two hold more than one page. */
const LEAST_CALLS_WITHOUT_KEYS = 2;
const KEYS_A_CALL = 1000;

/**
 * Objects were deleted, many by one principal: one by one, or up to a thousand a call. In a versioned bucket that leaves delete markers. Which keys a call of
 * DeleteObjects took is known where the service recorded its deletions, and is declared unknown otherwise.
 */
export const s3BulkDelete = bucketSpree({
  kind: 's3.bulk_delete',
  version: 2,
  meaning: `a principal deletes ${LEAST_KEYS} objects or more, or calls DeleteObjects ${LEAST_CALLS_WITHOUT_KEYS} times, and does not do so on most days`,
  takes: ({ action, eventName }) => action === 's3:DeleteObject' || eventName === 'DeleteObjects',
  isEnough: (spree) => unknownCalls(spree) >= LEAST_CALLS_WITHOUT_KEYS || spree.count - spree.keyless >= LEAST_KEYS,
  unlessRoutine: true,
  quietGap: '5m',
  maxExtent: '6h',
  finding: (spree, bucket) => {
    const named = spree.count - spree.keyless;
    const unknown = unknownCalls(spree);
    const parts = [
      ...(named > 0 ? [`${counted(named, 'object')} by name`] : []),
      ...(unknown > 0 ? [`up to ${unknown * KEYS_A_CALL} in ${counted(unknown, 'call')} that name no key`] : []),
    ];
    return {
      severity: 'warning',
      summary: `${shortName(spree.principal)} deleted ${parts.join(' and ')} in ${bucket}`,
      measured: {
        objects: named,
        calls_without_keys: unknown,
        calls_with_keys_of_the_service: spree.keyless - unknown,
        keys: unknown > 0 ? 'unknown: DeleteObjects names none; S3 server access logs may' : 'named',
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
    {
      title: 'a batch whose keys the service recorded, in whatever order of the second',
      given: [...inCourse(30, 'a'), batch(0, 'a')],
      fires: true,
    },
    {
      title: 'batches whose few keys the service recorded',
      given: [batch(0, 'a'), ...inCourse(3, 'a'), batch(1, 'b'), ...inCourse(3, 'b', 1)],
      fires: false,
    },
    { title: 'one batch', given: [batch(0)], fires: false },
    { title: 'ten objects', given: deletions(10, { action: 's3:DeleteObject' }), fires: false },
    { title: 'versions, which are another kind', given: deletions(60), fires: false },
  ],
});

/** Calls of which nobody says what they took. */
const unknownCalls = ({ keyless, named }: Spree): number => Math.max(0, keyless - named.length);

function batch(seconds: number, request: string | null = null): Act {
  return act(seconds, { action: 's3:DeleteObject', eventName: 'DeleteObjects', request });
}

/** What the service says that it deleted in the course of a call. */
function inCourse(count: number, request: string, seconds = 0): Act[] {
  const who = {
    principal: 's3.amazonaws.com',
    caller: 's3.amazonaws.com',
    source: null,
    userAgent: null,
    account: null,
  };
  return Array.from({ length: count }, (_, index) =>
    act(seconds, { action: 's3:DeleteObject', key: `audit/${request}${index}`, request, who }),
  );
}
