import type { TrailVersion } from '../../shared/store/trail.js';
import type { TrailLook } from '../../shared/trail-keys.js';

/**
 * What can be said of a stretch of time, or of one log file:
 *
 * | state            | means                                                                                             |
 * |------------------|---------------------------------------------------------------------------------------------------|
 * | `verified`       | a digest with a valid signature names it, and its content is what was signed                      |
 * | `verified_empty` | a digest with a valid signature says that nothing was delivered                                   |
 * | `unverified`     | it cannot be told: no signature, no key, a gap in the chain of digests, its end missing           |
 * | `missing`        | a digest, or the next digest, names it, and it is not there                                       |
 * | `modified`       | its content, or its place, is not what was signed                                                 |
 * | `injected`       | it lies where signed digests name all that was delivered, and none names it                       |
 * | `not_covered`    | no digest can be expected to speak of it: before the first one, none due yet, outside what was read |
 */
export type State = 'verified' | 'verified_empty' | 'unverified' | 'missing' | 'modified' | 'injected' | 'not_covered';

/** Where an object lay. Of a case folder the bucket is not known: `path` is the path below `cloudtrail/` and ends with the object's key. */
export interface Place {
  /** Which evidence it belongs to: a case's name, or `s3://`; one knows nothing of the other. */
  readonly archive: string;
  readonly bucket: string | null;
  readonly path: string;
}

/** A log file that was read. */
export interface StoredLog extends Place {
  /** SHA-256 of the inflated content, lower-case hex; null where it could not be read whole. */
  readonly sha256: string | null;
  /** Gzip members; 0 for a plain file. */
  readonly members: number;
  readonly fault: string | null;
}

/** A digest that was read; `body` inflated. The last three are metadata of the S3 object. */
export interface StoredDigest extends Place {
  readonly body: Uint8Array;
  readonly members: number;
  readonly fault: string | null;
  readonly signature: string | null;
  readonly signatureAlgorithm: string | null;
  readonly backfilledAt: string | null;
}

/** A public key of CloudTrail, as ListPublicKeys gives it. */
export interface PublicKey {
  /** As the answer says it. */
  readonly fingerprint: string;
  /** PKCS#1, DER. */
  readonly der: Uint8Array;
  readonly fromMicros: number;
  readonly toMicros: number;
}

export interface Stored {
  readonly logs: readonly StoredLog[];
  readonly digests: readonly StoredDigest[];
  readonly keys: readonly PublicKey[];
  readonly looked: readonly TrailLook[];
  /** What a versioned bucket remembers beside what lies in it. */
  readonly versions: readonly TrailVersion[];
}

/** Cryptography, handed in: this folder's judgement is pure. Digests in lower-case hex. */
export interface Checks {
  sha256(bytes: Uint8Array): string;
  md5(bytes: Uint8Array): string;
  /** RSASSA-PKCS1-v1_5 with SHA-256; `bad_key` where the key is none. */
  signed(der: Uint8Array, message: string, signatureHex: string): 'valid' | 'invalid' | 'bad_key';
}

export const HOUR_MICROS = 3_600_000_000;

/** Digests come hourly, and one is delivered some time after the end of what it covers; AWS's own validator allows so much. */
export const DUE_MICROS = 2 * HOUR_MICROS;
