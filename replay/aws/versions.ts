import {
  GetBucketVersioningCommand,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { TrailVersion } from '../../shared/store/trail.js';
import { trailKey } from '../../shared/trail-keys.js';
import { inRange, S3_ARCHIVE, tried, type Wanted } from './objects.js';

/**
 * What the bucket remembers of log files and digests beside what lies there now: older versions of them, and delete markers. None where versioning was
 * never switched on. Folders whose objects are all deleted are found too.
 */
export async function versionsOf(client: S3Client, wanted: Wanted): Promise<TrailVersion[]> {
  const { bucket: Bucket } = wanted;
  const what = `Whether s3://${Bucket} is versioned`;
  const { Status } = await tried(() => client.send(new GetBucketVersioningCommand({ Bucket })), what);
  if (Status === undefined) return [];
  const found: TrailVersion[] = [];
  const versions = inRange(wanted, {
    async *below(Prefix, KeyMarker) {
      for await (const answer of answers(client, { Bucket, Prefix, ...(KeyMarker && { KeyMarker }) }))
        yield* versionsIn(answer, Bucket);
    },
    async *folders(Prefix) {
      for await (const answer of answers(client, { Bucket, Prefix, Delimiter: '/' }))
        yield { folders: answer.CommonPrefixes, listed: [] };
    },
  });
  for await (const { version } of versions) if (trailKey(version.path)) found.push(version);
  return found;
}

interface Listing {
  readonly Bucket: string;
  readonly Prefix: string;
  readonly Delimiter?: string;
  readonly KeyMarker?: string;
}

async function* answers(client: S3Client, listing: Listing): AsyncGenerator<ListObjectVersionsCommandOutput> {
  let from: { readonly KeyMarker?: string; readonly VersionIdMarker?: string } = {};
  for (let more = true; more; ) {
    const command = () => new ListObjectVersionsCommand({ ...listing, ...from });
    const what = `The versions of s3://${listing.Bucket}/${listing.Prefix}`;
    const answer = await tried(() => client.send(command()), what);
    yield answer;
    const { NextKeyMarker, NextVersionIdMarker, IsTruncated } = answer;
    more = IsTruncated === true;
    from = {
      ...(NextKeyMarker && { KeyMarker: NextKeyMarker }),
      ...(NextVersionIdMarker && { VersionIdMarker: NextVersionIdMarker }),
    };
  }
}

/** In the order of keys: S3 gives versions and delete markers in lists of their own. */
function versionsIn({ Versions = [], DeleteMarkers = [] }: ListObjectVersionsCommandOutput, bucket: string) {
  const all = [
    ...Versions.filter(({ IsLatest }) => IsLatest === false).map((one) => ({ ...one, deleted: false })),
    ...DeleteMarkers.map((one) => ({ ...one, deleted: true })),
  ];
  return all
    .flatMap(({ Key, VersionId, LastModified, IsLatest = false, deleted }) => {
      if (Key === undefined || VersionId === undefined || LastModified === undefined) return [];
      const atMicros = LastModified.getTime() * 1000;
      const version: TrailVersion = {
        archive: S3_ARCHIVE,
        bucket,
        path: Key,
        versionId: VersionId,
        atMicros,
        deleted,
        latest: IsLatest,
      };
      return [{ key: Key, version }];
    })
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}
