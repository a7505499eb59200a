import { constants, createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { type DuckDBConnection, DuckDBTimestampValue, type DuckDBValue } from '@duckdb/node-api';
import { sha256 } from '../../shared/hash.js';
import { loadTrail, recordIntegrity, type TrailFile } from '../../shared/store/trail.js';
import { withHistory } from './history.js';
import { type BadFile, type Interval, judge } from './judge.js';
import { publicKeys } from './keys.js';
import type { Checks, Stored } from './words.js';

/** Judges all log files of a store by the digests in it, and keeps the result for `coverage` and `causeline verify`. */
export async function verifyTrails(connection: DuckDBConnection): Promise<void> {
  const stored = await load(connection);
  if (stored.digests.length + stored.logs.length + stored.versions.length === 0) return;
  const { intervals, files } = withHistory(judge(stored, nodeChecks()), stored);
  await recordIntegrity(connection, { integrity: intervals.map(intervalRow), integrity_files: files.map(fileRow) });
}

async function load(connection: DuckDBConnection): Promise<Stored> {
  const { files, looks, versions } = await loadTrail(connection);
  const of = (kind: TrailFile['kind']) => files.filter((file) => file.kind === kind);
  return {
    logs: of('log'),
    digests: of('digest').flatMap((file) => (file.body ? [{ ...file, body: file.body }] : [])),
    keys: of('keys').flatMap(({ body }) => publicKeys(new TextDecoder().decode(body ?? undefined))),
    looked: looks,
    versions,
  };
}

/** Node's cryptography. A trail has few keys, and many digests signed with each. */
export function nodeChecks(): Checks {
  const keys = new Map<string, KeyObject | undefined>();
  const keyOf = (der: Uint8Array): KeyObject | undefined => {
    const name = sha256(der);
    if (!keys.has(name)) keys.set(name, readKey(der));
    return keys.get(name);
  };
  return {
    sha256,
    md5: (bytes) => createHash('md5').update(bytes).digest('hex'),
    signed(der, message, signatureHex) {
      const key = keyOf(der);
      if (!key) return 'bad_key';
      const padded = { key, padding: constants.RSA_PKCS1_PADDING };
      return verify('RSA-SHA256', Buffer.from(message), padded, Buffer.from(signatureHex, 'hex')) ? 'valid' : 'invalid';
    },
  };
}

function readKey(der: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(der), format: 'der', type: 'pkcs1' });
  } catch {
    return undefined;
  }
}

const timestamp = (micros: number) => new DuckDBTimestampValue(BigInt(Math.round(micros)));

function intervalRow(interval: Interval): DuckDBValue[] {
  const { archive, account, region, trail, chain, fromMicros, toMicros, state, reason, digest, files, verified } =
    interval;
  const times = [timestamp(fromMicros), timestamp(toMicros)];
  return [archive, account, region, trail, chain, ...times, state, reason, digest, BigInt(files), BigInt(verified)];
}

function fileRow({ archive, account, region, object, state, reason, digest, atMicros }: BadFile): DuckDBValue[] {
  return [archive, account, region, object, state, reason, digest, timestamp(atMicros)];
}
