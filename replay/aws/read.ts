import type { S3Client } from '@aws-sdk/client-s3';
import { type Collected, collectFiles } from '../../services/collect/index.js';
import { CauselineError } from '../../shared/errors.js';
import type { Store } from '../../shared/store/store.js';
import { recordLook, recordVersions } from '../../shared/store/trail.js';
import { cloudtrailClient, s3Client } from './clients.js';
import { publicKeysOf } from './keys.js';
import { lookupPages } from './lookup.js';
import { objectsOf, S3_ARCHIVE, type Wanted } from './objects.js';
import { versionsOf } from './versions.js';

/** What is asked for, microseconds, and the time at which it is. */
export interface Asked {
  readonly fromMicros: number | null;
  readonly toMicros: number | null;
  readonly endpoint: string | undefined;
  readonly nowUnixNano: bigint;
}

export interface ReadOfAws {
  readonly collected: Collected;
  readonly ignored: ReadonlyMap<string, number>;
}

const HOUR_MICROS = 3_600_000_000;

/** Reads the objects under `s3://bucket/prefix` into a store. What was committed before is not read again. */
export async function readS3(
  store: Store,
  url: string,
  asked: Asked,
  onProgress: (done: number) => void,
): Promise<ReadOfAws> {
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(url) ?? [];
  if (!bucket)
    throw new CauselineError('bad_usage', 'replay', `${url} names no bucket: s3://bucket/prefix is expected.`);
  const { fromMicros, toMicros, nowUnixNano } = asked;
  const ignored = new Map<string, number>();
  const leave = (reason: string) => void ignored.set(reason, (ignored.get(reason) ?? 0) + 1);
  const client = s3Client(asked.endpoint);
  try {
    const known = await inputsLike(store, `s3://${bucket}/`);
    const isKnown = (id: string, version: string) => known.has(`${id}\n${version}`);
    const files = objectsOf(client, { bucket, prefix, fromMicros, toMicros }, isKnown, leave);
    const collected = await collectFiles(store, files, { nowUnixNano, onProgress });
    await readKeys(store, asked, leave);
    await readVersions(store, client, { bucket, prefix, fromMicros, toMicros }, leave);
    const due = Number(nowUnixNano / 1000n) - 2 * HOUR_MICROS;
    await recordLook(store.connection, {
      archive: S3_ARCHIVE,
      bucket,
      prefix,
      fromMicros,
      untilMicros: toMicros === null ? null : toMicros + HOUR_MICROS,
      dueMicros: toMicros === null ? null : Math.min(toMicros, due),
    });
    return { collected, ignored };
  } finally {
    client.destroy();
  }
}

/** Who may read objects may not be let to list their versions: then what was overwritten or deleted leaves no trace here. */
async function readVersions(
  store: Store,
  client: S3Client,
  wanted: Wanted,
  leave: (reason: string) => void,
): Promise<void> {
  try {
    await recordVersions(store.connection, await versionsOf(client, wanted));
  } catch (cause) {
    if (!(cause instanceof CauselineError)) throw cause;
    leave(`older versions and delete markers were not seen (${cause.message})`);
  }
}

/** Asks AWS for the public keys of the regions that have digests; another server than AWS has none. */
async function readKeys(
  store: Store,
  { endpoint, nowUnixNano }: Asked,
  leave: (reason: string) => void,
): Promise<void> {
  if (endpoint && !process.env['AWS_ENDPOINT_URL_CLOUDTRAIL']) return;
  const found = await store.connection.runAndReadAll(
    `SELECT DISTINCT split_part(path[strpos(path, '/CloudTrail-Digest/') + 19:], '/', 1) FROM _store.trail_files WHERE kind = 'digest' AND archive = '${S3_ARCHIVE}' ORDER BY ALL`,
  );
  for (const [region] of found.getRows() as [string][]) {
    const client = cloudtrailClient(undefined, region);
    try {
      const now = new Date(Number(nowUnixNano / 1_000_000n));
      await collectFiles(store, [await publicKeysOf(client, region, new Date('2013-11-01T00:00:00Z'), now)], {
        nowUnixNano,
      });
    } catch (cause) {
      leave(`the public keys of ${region} could not be had (${(cause as Error).name}: ${(cause as Error).message})`);
    } finally {
      client.destroy();
    }
  }
}

/** Reads event history (LookupEvents) into a store. Hours that were committed before are not asked for again. */
export async function readLookup(store: Store, asked: Asked, onProgress: (done: number) => void): Promise<ReadOfAws> {
  const { fromMicros, toMicros, endpoint, nowUnixNano } = asked;
  const ignored = new Map<string, number>();
  const client = cloudtrailClient(endpoint, undefined, 1);
  try {
    const known = await inputsLike(store, 'cloudtrail:lookup/');
    const millis = (micros: number | null) => (micros === null ? undefined : Math.floor(micros / 1000));
    const range = {
      fromMillis: millis(fromMicros),
      toMillis: millis(toMicros),
      nowMillis: Number(nowUnixNano / 1_000_000n),
    };
    const leave = (reason: string) => void ignored.set(reason, (ignored.get(reason) ?? 0) + 1);
    const pages = lookupPages(client, range, (id) => known.has(id), leave);
    return { collected: await collectFiles(store, pages, { nowUnixNano, onProgress }), ignored };
  } finally {
    client.destroy();
  }
}

async function inputsLike({ connection }: Store, beginning: string): Promise<Set<string>> {
  const found = await connection.runAndReadAll(
    `SELECT concat_ws('\n', source_id, version) FROM _store.inputs WHERE starts_with(source_id, $1)`,
    [beginning],
  );
  return new Set(found.getRows().map(([id]) => id as string));
}
