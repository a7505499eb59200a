import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  GetObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { InputFile } from '../../services/collect/index.js';
import { CauselineError } from '../../shared/errors.js';
import { trailKey } from '../../shared/trail-keys.js';
import { digestMetadata } from '../case.js';

/** Objects of a bucket; times are microseconds. */
export interface Wanted {
  readonly bucket: string;
  readonly prefix: string;
  readonly fromMicros: number | null;
  readonly toMicros: number | null;
}

interface Listed {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
}

/** All buckets are one archive: a chain of digests may go on in another bucket. */
export const S3_ARCHIVE = 's3://';

const HOUR_MICROS = 3_600_000_000;

/** Records come to S3 some minutes after their time; a digest at its hour's end, and it may be late by two. */
const LATE_MICROS = { log: HOUR_MICROS, digest: 3 * HOUR_MICROS };

/** Objects that are being downloaded ahead of the one that is decoded. */
const AHEAD = 8;

/** So much of an object is asked for at once: AHEAD times this is in memory at most. */
const RANGE_BYTES = 8 * 1024 * 1024;

/** Tries of one range, each of several requests: a body that is cut off is asked for again. */
const TRIES = 5;

/**
 * The objects under a prefix that are evidence, in the order of their keys, each with its download under way. `isKnown` tells
 * what need not be read again, `leave` is told of what is not read and why.
 */
export async function* objectsOf(
  client: S3Client,
  wanted: Wanted,
  isKnown: (id: string, version: string) => boolean,
  leave: (reason: string) => void,
): AsyncGenerator<InputFile> {
  const queue: InputFile[] = [];
  for await (const listed of list(client, wanted)) {
    const reason = isKnown(urlOf(wanted, listed), listed.etag)
      ? 'read before, and not changed since'
      : unread(wanted, listed);
    if (reason) leave(reason);
    else queue.push(inputOf(client, wanted, listed));
    if (queue.length >= AHEAD) yield queue.shift()!;
  }
  yield* queue;
}

const urlOf = ({ bucket }: Wanted, { key }: Listed): string => `s3://${bucket}/${key}`;

const isKeys = (key: string): boolean => /(?:^|\/)public-keys\.json$/.test(key);

/** Why an object is no evidence of what is asked for. */
function unread({ fromMicros, toMicros }: Wanted, { key }: Listed): string | undefined {
  if (isKeys(key) || trailKey(key)) return undefined;
  if (!/\.json(\.gz)?$/.test(key)) return 'no .json or .json.gz';
  if ((fromMicros ?? toMicros) !== null) return 'its name says no time';
  return key.includes('/CloudTrail-Digest/') ? 'no digest has such a name' : undefined;
}

/** Its download starts here. */
function inputOf(client: S3Client, wanted: Wanted, listed: Listed): InputFile {
  const { key: path, etag: version } = listed;
  const { bucket } = wanted;
  const download = new Download(client, bucket, listed);
  const kind = isKeys(path) ? 'keys' : trailKey(path)?.kind;
  return {
    source: 'cloudtrail',
    id: urlOf(wanted, listed),
    version,
    open: () => download.open(),
    metadata: () => digestMetadata(download.metadata),
    ...(kind && { delivered: { archive: S3_ARCHIVE, bucket, path, kind } }),
  };
}

/* ---- what is there ---- */

/**
 * A time range is found in the keys: each region's folder is listed from its first day on and left after its last one, so
 * that years beside it cost nothing. Without one, or below such a folder, all is listed.
 */
async function* list(client: S3Client, wanted: Wanted): AsyncGenerator<Listed> {
  yield* inRange(wanted, {
    below: (prefix, after) =>
      pages(client, { Bucket: wanted.bucket, Prefix: prefix, ...(after && { StartAfter: after }) }),
    async *folders(prefix) {
      for await (const answer of answers(client, { Bucket: wanted.bucket, Prefix: prefix, Delimiter: '/' }))
        yield { folders: answer.CommonPrefixes, listed: listedIn(answer) };
    },
  });
}

/** A way of listing a bucket: of objects, or of their versions. */
export interface Way<T extends { readonly key: string }> {
  /** All below a prefix, in the order of keys, after one of them. */
  below(prefix: string, after: string | undefined): AsyncIterable<T>;
  /** The folders and objects right below a prefix. */
  folders(prefix: string): AsyncIterable<{
    readonly folders: readonly { readonly Prefix?: string | undefined }[] | undefined;
    readonly listed: readonly T[];
  }>;
}

/** What lies in the range that is wanted, by whatever way. */
export async function* inRange<T extends { readonly key: string }>(wanted: Wanted, way: Way<T>): AsyncGenerator<T> {
  const { prefix, fromMicros, toMicros } = wanted;
  if (fromMicros === null && toMicros === null) {
    yield* way.below(prefix, undefined);
    return;
  }
  for await (const folder of regionFolders(way, prefix)) {
    if ('key' in folder) yield folder;
    else yield* ofRange(wanted, way, folder.folder);
  }
}

async function* ofRange<T extends { readonly key: string }>(
  { fromMicros, toMicros }: Wanted,
  way: Way<T>,
  folder: string,
): AsyncGenerator<T> {
  for await (const listed of way.below(folder, fromMicros === null ? undefined : folder + dayOf(fromMicros))) {
    const key = trailKey(listed.key);
    if (!key || (fromMicros !== null && key.atMicros < fromMicros)) continue;
    const until = toMicros === null ? Number.POSITIVE_INFINITY : toMicros + LATE_MICROS[key.kind];
    if (key.atMicros <= until) yield listed;
    else if (dayOf(key.atMicros) > dayOf(until)) return;
  }
}

const dayOf = (micros: number): string => new Date(micros / 1000).toISOString().slice(0, 10).replaceAll('-', '/');

const REGION_FOLDER = /(?:^|\/)AWSLogs\/(?:o-[a-z0-9]+\/)?\d{12}\/CloudTrail(?:-[A-Za-z]+)?\/[a-z0-9-]+\/$/;
const ON_THE_WAY = /(?:^|\/)AWSLogs\/(?:o-[a-z0-9]+\/)?(?:\d{12}\/(?:CloudTrail(?:-[A-Za-z]+)?\/)?)?$/;
const BELOW = /(?:^|\/)AWSLogs\/(?:o-[a-z0-9]+\/)?\d{12}\/CloudTrail(?:-[A-Za-z]+)?\/[a-z0-9-]+\/./;

/** Folders above AWSLogs/ that are looked into, so many levels deep. */
const MOST_ABOVE = 4;

async function* regionFolders<T extends { readonly key: string }>(
  way: Way<T>,
  prefix: string,
  depth = 0,
): AsyncGenerator<T | { readonly folder: string }> {
  if (REGION_FOLDER.test(prefix) || BELOW.test(prefix)) {
    yield { folder: prefix };
    return;
  }
  const above = !prefix.includes('AWSLogs/');
  if (above ? depth > MOST_ABOVE : !ON_THE_WAY.test(prefix) && prefix.endsWith('/')) return;
  const folders: string[] = [];
  for await (const { folders: found, listed } of way.folders(prefix)) {
    for (const { Prefix } of found ?? []) if (Prefix) folders.push(Prefix);
    for (const one of listed) if (one.key.endsWith('public-keys.json')) yield one;
  }
  for (const folder of folders) yield* regionFolders(way, folder, depth + 1);
}

interface Listing {
  readonly Bucket: string;
  readonly Prefix: string;
  readonly Delimiter?: string;
  readonly StartAfter?: string;
}

async function* pages(client: S3Client, listing: Listing): AsyncGenerator<Listed> {
  for await (const answer of answers(client, listing)) yield* listedIn(answer);
}

async function* answers(client: S3Client, listing: Listing): AsyncGenerator<ListObjectsV2CommandOutput> {
  let token: string | undefined;
  do {
    const command = () => new ListObjectsV2Command({ ...listing, ...(token && { ContinuationToken: token }) });
    const answer = await tried(() => client.send(command()), `The list of s3://${listing.Bucket}/${listing.Prefix}`);
    yield answer;
    token = answer.IsTruncated ? answer.NextContinuationToken : undefined;
  } while (token);
}

function listedIn({ Contents = [] }: ListObjectsV2CommandOutput): Listed[] {
  return Contents.flatMap(({ Key: key, Size: size = 0, ETag = '' }) =>
    key === undefined || key.endsWith('/') ? [] : [{ key, size, etag: ETag.replaceAll('"', '') }],
  );
}

/* ---- what is in it ---- */

/** One object, in ranges; the first is asked for at once. */
class Download {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #listed: Listed;
  #first: Promise<Buffer> | undefined;
  metadata: Record<string, string> | undefined;

  constructor(client: S3Client, bucket: string, listed: Listed) {
    this.#client = client;
    this.#bucket = bucket;
    this.#listed = listed;
    this.#first = this.#range(0);
    this.#first.catch(() => {}); // it fails where it is read
  }

  open(): Readable {
    return Readable.from(this.#pieces(), { objectMode: false });
  }

  async *#pieces(): AsyncGenerator<Buffer> {
    const first = this.#first ?? this.#range(0);
    this.#first = undefined;
    yield await first;
    for (let at = RANGE_BYTES; at < this.#listed.size; at += RANGE_BYTES) yield await this.#range(at);
  }

  /** Of the object as it was listed: one that was overwritten meanwhile is not mixed with it. */
  #range(from: number): Promise<Buffer> {
    const { key, size, etag } = this.#listed;
    const whole = size <= RANGE_BYTES;
    const command = () =>
      new GetObjectCommand({
        Bucket: this.#bucket,
        Key: key,
        IfMatch: `"${etag}"`,
        ...(!whole && { Range: `bytes=${from}-${Math.min(size, from + RANGE_BYTES) - 1}` }),
      });
    return tried(async () => {
      const { Body, Metadata } = await this.#client.send(command());
      this.metadata = Metadata;
      const bytes = Buffer.from(await Body!.transformToByteArray());
      if (bytes.length !== (whole ? size : Math.min(RANGE_BYTES, size - from)))
        throw new Error('the answer was cut off');
      return bytes;
    }, `s3://${this.#bucket}/${key}`);
  }
}

/** Tries again what may be better the next time; throws CauselineError when it is not. */
export async function tried<T>(request: () => Promise<T>, what: string): Promise<T> {
  for (let tries = 1; ; ) {
    try {
      return await request();
    } catch (cause) {
      const { name, message, $metadata } = cause as Error & {
        $metadata?: { httpStatusCode?: number; attempts?: number };
      };
      tries += ($metadata?.attempts ?? 1) > 1 ? 2 : 1; // the SDK has tried it several times already
      const status = $metadata?.httpStatusCode ?? 500;
      const final = status >= 400 && status < 500 && status !== 408 && status !== 429;
      if (tries > TRIES || final)
        throw new CauselineError('unreadable_input', 's3', `${what} cannot be read: ${name}: ${message}`, { cause });
      await sleep(200 * 2 ** tries);
    }
  }
}
