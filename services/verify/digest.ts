import { type DigestKey, trailKey } from '../../shared/trail-keys.js';
import { readJson } from '../collect/formats/json.js';
import { type Checks, DUE_MICROS, type Place, type PublicKey, type State, type StoredDigest } from './words.js';

/** A log file that a digest names. */
export interface Named {
  readonly bucket: string;
  readonly key: string;
  readonly hash: string;
  readonly hashAlgorithm: string;
}

/** The digest before it in its chain. */
export interface Previous {
  readonly bucket: string;
  readonly key: string;
  readonly hash: string;
  readonly hashAlgorithm: string;
  readonly signature: string;
}

/** What a digest says. */
export interface Content {
  readonly account: string;
  readonly startMicros: number;
  readonly endMicros: number;
  /** As it stands in the digest: it is signed so. */
  readonly end: string;
  readonly bucket: string;
  readonly key: string;
  readonly fingerprint: string;
  readonly signatureAlgorithm: string;
  /** Null for the first digest after validation was turned on. */
  readonly previous: Previous | null;
  readonly logs: readonly Named[];
}

/** What is wrong, in words that can follow a colon. */
export interface Problem {
  readonly state: Extract<State, 'modified' | 'unverified'>;
  readonly reason: string;
}

export type Read = { readonly content: Content } | { readonly problem: Problem };

/** Reads a digest strictly, and checks that it lies where it says. A key that stands twice is refused: it has two stories. */
export function readDigest(stored: StoredDigest): Read {
  if (stored.fault !== null) return modified(`it is damaged: ${stored.fault}`);
  if (stored.members > 1) return modified(`it is gzip of ${stored.members} members, CloudTrail writes one`);
  const content = contentOf(stored.body);
  if (typeof content === 'string') return modified(content);
  if (!liesAt(stored, content.bucket, content.key))
    return modified(`it was moved: it says that it is s3://${content.bucket}/${content.key}`);
  return { content };
}

const modified = (reason: string): Read => ({ problem: { state: 'modified', reason } });

/** A case folder may hold a bucket under any folder, and files that were unpacked. */
export function liesAt(place: Place, bucket: string, key: string): boolean {
  if (place.bucket !== null) return place.bucket === bucket && place.path === key;
  const path = unpacked(place.path);
  const name = unpacked(key);
  return path === name || path.endsWith(`/${name}`);
}

export const unpacked = (path: string): string => path.replace(/\.gz$/, '');

function contentOf(body: Uint8Array): Content | string {
  let value: unknown;
  try {
    value = readJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)).value;
  } catch (error) {
    return `it is not JSON that all read alike: ${(error as Error).message}`;
  }
  try {
    return digestContent(value as Json);
  } catch (error) {
    return (error as Error).message;
  }
}

type Json = Readonly<Record<string, unknown>>;

/** Throws an Error whose message names the field that is not as it must be. */
function digestContent(json: Json): Content {
  const end = text(json, 'digestEndTime');
  const logs = json['logFiles'];
  if (!Array.isArray(logs)) throw new Error('its logFiles is no list');
  return {
    account: text(json, 'awsAccountId'),
    startMicros: time(text(json, 'digestStartTime'), 'digestStartTime'),
    endMicros: time(end, 'digestEndTime'),
    end,
    bucket: text(json, 'digestS3Bucket'),
    key: text(json, 'digestS3Object'),
    fingerprint: text(json, 'digestPublicKeyFingerprint'),
    signatureAlgorithm: text(json, 'digestSignatureAlgorithm'),
    previous: previousOf(json),
    logs: logs.map((log: Json) => ({
      bucket: text(log, 's3Bucket'),
      key: text(log, 's3Object'),
      hash: text(log, 'hashValue'),
      hashAlgorithm: text(log, 'hashAlgorithm'),
    })),
  };
}

function text(json: Json, field: string): string {
  const value = json?.[field];
  if (typeof value !== 'string') throw new Error(`it has no ${field}`);
  return value;
}

function time(value: string, field: string): number {
  const millis = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(millis)) throw new Error(`its ${field} is no time`);
  return millis * 1000;
}

const PREVIOUS = [
  'previousDigestS3Bucket',
  'previousDigestS3Object',
  'previousDigestHashValue',
  'previousDigestHashAlgorithm',
  'previousDigestSignature',
] as const;

function previousOf(json: Json): Previous | null {
  if (PREVIOUS.every((field) => (json[field] ?? null) === null)) return null;
  const [bucket, key, hash, hashAlgorithm, signature] = PREVIOUS.map((field) => text(json, field));
  return { bucket: bucket!, key: key!, hash: hash!, hashAlgorithm: hashAlgorithm!, signature: signature! };
}

/** A digest whose content could be read, with what is needed to judge it. */
interface Signed {
  readonly stored: StoredDigest;
  readonly content: Content;
  readonly hash: string;
}

/**
 * What speaks against a digest's signature; undefined where it is valid. `carried` is the signature that the next digest of the chain holds: it
 * is as good as the object's own metadata, since it is verified with the same key.
 */
export function signatureProblem(
  { stored, content, hash }: Signed,
  carried: string | undefined,
  keys: readonly PublicKey[],
  checks: Checks,
): Problem | undefined {
  const unverified = (reason: string): Problem => ({ state: 'unverified', reason });
  const { signatureAlgorithm } = content;
  for (const algorithm of [signatureAlgorithm, stored.signatureAlgorithm ?? ALGORITHM])
    if (algorithm !== ALGORITHM)
      return unverified(`its signature algorithm is '${algorithm}', ${ALGORITHM} is the only one known`);
  const signature = stored.signature ?? carried;
  if (signature === undefined)
    return unverified("its signature is not known: it is in the object's metadata, and in the next digest");
  if (!HEX.test(signature)) return { state: 'modified', reason: 'its signature is not hexadecimal' };
  const key = keys.find(({ fingerprint }) => fingerprint === content.fingerprint);
  if (!key) return unverified(`there is no public key with the fingerprint ${content.fingerprint}`);
  if (checks.md5(key.der) !== key.fingerprint)
    return unverified(`the public key ${key.fingerprint} is another key than its fingerprint says`);
  if (!inForce(key, signedAt(stored, content)))
    return unverified(`the public key ${key.fingerprint} was not in force at ${content.end}`);
  const verdict = checks.signed(key.der, stringToSign(content, hash), signature);
  if (verdict === 'bad_key') return unverified(`the public key ${key.fingerprint} is no RSA key`);
  return verdict === 'valid' ? undefined : { state: 'modified', reason: 'its signature does not fit its content' };
}

const ALGORITHM = 'SHA256withRSA';
const HEX = /^(?:[0-9a-f]{2})+$/i;

/** CloudTrail user guide, "CloudTrail digest file structure": the signature covers these four lines. */
export function stringToSign({ end, bucket, key, previous }: Content, hash: string): string {
  return [end, `${bucket}/${key}`, hash, previous?.signature ?? 'null'].join('\n');
}

/** A backfill digest is signed when it is made, long after what it covers; its metadata says when. */
function signedAt({ backfilledAt }: StoredDigest, { endMicros }: Content): number {
  const millis = backfilledAt === null ? Number.NaN : Date.parse(backfilledAt);
  return Number.isNaN(millis) ? endMicros : millis * 1000;
}

/** A digest is signed some time after its end, and so perhaps with a key that came into force after it. */
function inForce({ fromMicros, toMicros }: PublicKey, atMicros: number): boolean {
  return fromMicros <= atMicros + DUE_MICROS && atMicros <= toMicros;
}

/** What is wrong between a digest and the one that the next digest says was there. */
export function linkProblem({ stored, hash }: Pick<Signed, 'stored' | 'hash'>, next: Previous): Problem | undefined {
  if (next.hashAlgorithm !== HASH_ALGORITHM)
    return {
      state: 'unverified',
      reason: `the next digest hashes it with '${next.hashAlgorithm}', ${HASH_ALGORITHM} is the only one known`,
    };
  if (next.hash !== hash) return { state: 'modified', reason: 'the next digest recorded another content' };
  if (stored.signature !== null && stored.signature.toLowerCase() !== next.signature.toLowerCase())
    return { state: 'modified', reason: 'the next digest recorded another signature' };
  return undefined;
}

export const HASH_ALGORITHM = 'SHA-256';

/** The name of a stored digest; undefined where it lies under no digest's name. */
export function digestKeyOf({ path }: Place): DigestKey | undefined {
  const key = trailKey(path);
  return key?.kind === 'digest' ? key : undefined;
}
