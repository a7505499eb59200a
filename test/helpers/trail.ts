import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

/** A trail that delivers log files and signs digests of them, as CloudTrail does, with a fresh key. */
export interface MadeTrail {
  /** Objects by key; what a test takes away, changes or adds. */
  readonly objects: Map<string, Buffer>;
  /** Metadata by key. */
  readonly metadata: Map<string, Record<string, string>>;
  /** Digests, oldest first. */
  readonly digests: string[];
  /** Log files of each digest. */
  readonly logs: string[][];
  /** Keys as `aws cloudtrail list-public-keys` prints them. */
  readonly publicKeys: string;
  /** Adds a digest; `logs` are numbers of records. */
  hour(logs: readonly number[], more?: HourOptions): string;
}

interface HourOptions {
  /** Begins a new chain, so many hours later. */
  readonly restart?: number;
  readonly backfill?: boolean;
  /** What the digest says otherwise. */
  readonly says?: Readonly<Record<string, unknown>>;
  readonly algorithm?: string;
}

const ACCOUNT = '123456789012';
const HOUR = 3_600_000;
export const BUCKET = 'audit-logs';

interface TrailOptions {
  readonly region?: string;
  readonly start?: string;
  readonly keys?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  readonly validTo?: string;
  readonly bucket?: string;
}

export const trailKeys = () => generateKeyPairSync('rsa', { modulusLength: 2048 });

export function makeTrail({
  region = 'eu-west-1',
  start = '2024-03-17T00:00:00Z',
  keys = trailKeys(),
  validTo,
  bucket = BUCKET,
}: TrailOptions = {}): MadeTrail {
  const der = keys.publicKey.export({ format: 'der', type: 'pkcs1' });
  const fingerprint = createHash('md5').update(der).digest('hex');
  const objects = new Map<string, Buffer>();
  const metadata = new Map<string, Record<string, string>>();
  const digests: string[] = [];
  const logs: string[][] = [];
  const last: { standard: Previous | undefined; backfill: Previous | undefined } = {
    standard: undefined,
    backfill: undefined,
  };
  let now = Date.parse(start);
  let number = 0;

  function log(atMillis: number, records: number): { key: string; hash: string } {
    const stamp = `${compact(atMillis).slice(0, 13)}Z`;
    const key = `AWSLogs/${ACCOUNT}/CloudTrail/${region}/${day(atMillis)}/${ACCOUNT}_CloudTrail_${region}_${stamp}_unique${++number}.json.gz`;
    const content = JSON.stringify({
      Records: Array.from({ length: records }, (_, index) => record(`${region}-${number}-${index}`, atMillis, region)),
    });
    objects.set(key, gzipSync(content));
    return { key, hash: sha256(content) };
  }

  function hour(
    counts: readonly number[],
    { restart, backfill = false, says = {}, algorithm = 'SHA256withRSA' }: HourOptions = {},
  ): string {
    if (restart !== undefined) now += restart * HOUR;
    const from = backfill ? now - HOUR : now;
    const end = from + HOUR;
    const files = counts.map((records, index) => log(from + ((index + 1) * HOUR) / (counts.length + 2), records));
    logs.push(files.map(({ key }) => key));
    const chain = backfill ? 'backfill' : 'standard';
    const before = restart === undefined ? last[chain] : undefined;
    const key = `AWSLogs/${ACCOUNT}/CloudTrail-Digest/${region}/${day(end)}/${ACCOUNT}_CloudTrail-Digest_${region}_main_eu-west-1_${compact(end)}${backfill ? '_backfill' : ''}.json.gz`;
    const content = {
      awsAccountId: ACCOUNT,
      digestStartTime: iso(from),
      digestEndTime: iso(end),
      digestS3Bucket: bucket,
      digestS3Object: key,
      digestPublicKeyFingerprint: fingerprint,
      digestSignatureAlgorithm: 'SHA256withRSA',
      newestEventTime: files.length === 0 ? null : iso(end),
      oldestEventTime: files.length === 0 ? null : iso(from),
      previousDigestS3Bucket: before ? bucket : null,
      previousDigestS3Object: before?.key ?? null,
      previousDigestHashValue: before?.hash ?? null,
      previousDigestHashAlgorithm: before ? 'SHA-256' : null,
      previousDigestSignature: before?.signature ?? null,
      logFiles: files.map(({ key: s3Object, hash: hashValue }) => ({
        s3Bucket: bucket,
        s3Object,
        hashValue,
        hashAlgorithm: 'SHA-256',
        newestEventTime: iso(end),
        oldestEventTime: iso(from),
      })),
      ...says,
    };
    const text = JSON.stringify(content);
    const message = [
      content.digestEndTime,
      `${content.digestS3Bucket}/${content.digestS3Object}`,
      sha256(text),
      before?.signature ?? 'null',
    ].join('\n');
    const signature = sign('RSA-SHA256', Buffer.from(message), keys.privateKey).toString('hex');
    objects.set(key, gzipSync(text));
    metadata.set(key, {
      signature,
      'signature-algorithm': algorithm,
      ...(backfill && { 'backfill-generation-timestamp': iso(end + HOUR) }),
    });
    digests.push(key);
    last[chain] = { key, hash: sha256(text), signature };
    if (!backfill) now = end;
    return key;
  }

  const validity = { ValidityStartTime: '2024-03-01T00:00:00Z', ValidityEndTime: validTo ?? '2024-04-01T00:00:00Z' };
  const publicKeys = JSON.stringify({
    PublicKeyList: [{ Value: der.toString('base64'), Fingerprint: fingerprint, ...validity }],
  });
  return { objects, metadata, digests, logs, publicKeys, hour };
}

interface Previous {
  readonly key: string;
  readonly hash: string;
  readonly signature: string;
}

/** A trail of so many hours with two log files each. */
export function madeHours(count: number, options: TrailOptions = {}): MadeTrail {
  const trail = makeTrail(options);
  for (let hour = 0; hour < count; hour++) trail.hour([2, 1]);
  return trail;
}

/** Writes what the bucket holds into a case folder, with the metadata of its digests beside them. */
export function writeTrailCase(folder: string, trails: readonly MadeTrail[], window = ''): void {
  writeIn(folder, 'case.yaml', `name: trail\n${window}`);
  for (const { objects, metadata, publicKeys } of trails) {
    writeIn(folder, 'cloudtrail/public-keys.json', publicKeys);
    for (const [key, content] of objects) {
      writeIn(folder, `cloudtrail/${key}`, content);
      const Metadata = metadata.get(key);
      if (Metadata) writeIn(folder, `cloudtrail/${key}.metadata.json`, JSON.stringify({ Metadata }));
    }
  }
}

function writeIn(folder: string, path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

/** Changes the text of an object. */
export function edit({ objects }: MadeTrail, key: string, change: (text: string) => string): void {
  objects.set(key, gzipSync(change(gunzipSync(objects.get(key)!).toString())));
}

const record = (id: string, atMillis: number, awsRegion: string) => ({
  eventVersion: '1.11',
  userIdentity: { type: 'IAMUser', arn: `arn:aws:iam::${ACCOUNT}:user/ann` },
  eventTime: iso(atMillis - 60_000),
  eventSource: 's3.amazonaws.com',
  eventName: 'GetObject',
  awsRegion,
  sourceIPAddress: '192.0.2.1',
  requestParameters: { bucketName: 'data', key: id },
  responseElements: null,
  eventID: id,
  eventType: 'AwsApiCall',
  recipientAccountId: ACCOUNT,
});

const iso = (millis: number): string => new Date(millis).toISOString().replace('.000Z', 'Z');
const compact = (millis: number): string => iso(millis).replaceAll(/[-:]/g, '');
const day = (millis: number): string => iso(millis).slice(0, 10).replaceAll('-', '/');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
