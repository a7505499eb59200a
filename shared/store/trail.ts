import {
  blobValue,
  type DuckDBBlobValue,
  type DuckDBConnection,
  DuckDBTimestampValue,
  type DuckDBValue,
} from '@duckdb/node-api';
import { sha256 } from '../hash.js';
import type { TrailLook } from '../trail-keys.js';
import { appendRows } from './append.js';
import { oneOf } from './derived.js';

/** Where CloudTrail delivered a file, and what it is: a log file, a digest that vouches for log files, or public keys that vouch for digests. */
export interface Delivered {
  /** Which evidence it belongs to: a case's name, or `s3://`. */
  readonly archive: string;
  /** Null where only a copy was read. */
  readonly bucket: string | null;
  /** The object's key, or the path of a copy that ends with it. */
  readonly path: string;
  readonly kind: 'log' | 'digest' | 'keys';
}

/** What CloudTrail writes into the metadata of a digest's object. */
export interface DigestMetadata {
  readonly signature: string | null;
  readonly signatureAlgorithm: string | null;
  readonly backfilledAt: string | null;
}

/** A file of CloudTrail as it was read. */
export interface TrailFile extends Delivered, DigestMetadata {
  readonly sourceId: string;
  /** Of the inflated content; null where it could not be read whole. */
  readonly sha256: string | null;
  /** Gzip members; 0 for a plain file. */
  readonly members: number;
  readonly fault: string | null;
  /** The inflated content of digests and keys. */
  readonly body: Uint8Array | null;
}

/** A version of a log file or of a digest that is not the current one, or a delete marker. */
export interface TrailVersion {
  readonly archive: string;
  readonly bucket: string;
  readonly path: string;
  readonly versionId: string;
  /** When it was put, or deleted. */
  readonly atMicros: number;
  readonly deleted: boolean;
  /** Nothing was put after it. */
  readonly latest: boolean;
}

/** What a versioned bucket remembers beside what lies in it. */
export const TRAIL_VERSIONS = `CREATE TABLE IF NOT EXISTS _store.trail_versions (archive VARCHAR NOT NULL, bucket VARCHAR NOT NULL, path VARCHAR NOT NULL, version_id VARCHAR NOT NULL,
  put_at TIMESTAMP NOT NULL, deleted BOOLEAN NOT NULL, latest BOOLEAN NOT NULL, recorded_at TIMESTAMP NOT NULL)`;

export const TRAIL_TABLES: readonly string[] = [
  // A file that was read again with other content or metadata is another row.
  `CREATE TABLE IF NOT EXISTS _store.trail_files (file_hash VARCHAR NOT NULL, archive VARCHAR NOT NULL, bucket VARCHAR, path VARCHAR NOT NULL, kind VARCHAR NOT NULL,
  sha256 VARCHAR, members INTEGER NOT NULL, fault VARCHAR, body BLOB, signature VARCHAR, signature_algorithm VARCHAR, backfilled_at VARCHAR,
  source_id VARCHAR NOT NULL, commit_seq BIGINT NOT NULL, recorded_at TIMESTAMP NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.trail_looks (archive VARCHAR NOT NULL, bucket VARCHAR, prefix VARCHAR NOT NULL, from_time TIMESTAMP, until_time TIMESTAMP,
  due_time TIMESTAMP, recorded_at TIMESTAMP NOT NULL)`,

  // What the digests say of the log files: computed from the two tables above, and replaced as a whole.
  `CREATE TABLE IF NOT EXISTS _store.integrity (archive VARCHAR NOT NULL, account_id VARCHAR NOT NULL, region VARCHAR NOT NULL, trail VARCHAR, chain VARCHAR,
  from_time TIMESTAMP NOT NULL, to_time TIMESTAMP NOT NULL, state VARCHAR NOT NULL, reason VARCHAR NOT NULL, digest VARCHAR, files BIGINT NOT NULL, verified BIGINT NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.integrity_files (archive VARCHAR NOT NULL, account_id VARCHAR NOT NULL, region VARCHAR NOT NULL, object VARCHAR NOT NULL,
  state VARCHAR NOT NULL, reason VARCHAR NOT NULL, digest VARCHAR, made_at TIMESTAMP NOT NULL)`,
];

/** Tables of this file that a rebuild computes anew. */
export const TRAIL_COMPUTED: readonly string[] = ['integrity', 'integrity_files'];

export const TRAIL_VIEWS: readonly string[] = [
  'CREATE OR REPLACE VIEW integrity AS SELECT * FROM _store.integrity',
  'CREATE OR REPLACE VIEW integrity_files AS SELECT * FROM _store.integrity_files',

  // Of one version the latest look counts.
  `CREATE OR REPLACE VIEW integrity_versions AS SELECT * FROM _store.trail_versions
  QUALIFY row_number() OVER (PARTITION BY archive, bucket, path, version_id ORDER BY recorded_at DESC, latest) = 1`,

  // Hours that follow each other and say the same are one row of `coverage`.
  `CREATE OR REPLACE VIEW _store.trail_coverage AS
  WITH said AS (SELECT account_id || '/' || region AS scope, concat_ws(': ', CASE chain WHEN 'backfill' THEN trail || ', backfill' ELSE trail END,
      CASE state WHEN 'verified' THEN 'signed digests name these log files, and all are as they were delivered' ELSE reason END) AS reason, state, from_time, to_time, archive, digest IS NULL AS none
    FROM _store.integrity),
  steps AS (SELECT *, (lag(to_time) OVER same IS DISTINCT FROM from_time)::INT AS starts FROM said
    WINDOW same AS (PARTITION BY archive, scope, state, reason, none ORDER BY from_time, to_time)),
  numbered AS (SELECT *, sum(starts) OVER (PARTITION BY archive, scope, state, reason, none ORDER BY from_time, to_time ROWS UNBOUNDED PRECEDING) AS run FROM steps)
  SELECT 'cloudtrail' AS source, scope, min(from_time) AS from_time, max(to_time) AS to_time, state, reason FROM numbered
  GROUP BY archive, scope, state, reason, none, run
  UNION ALL
  SELECT 'cloudtrail', account_id || '/' || region, made_at, made_at, state, concat(object, ': ', reason) FROM _store.integrity_files WHERE state = 'injected'`,
];

/** The files that the store does not have yet as they are. */
export async function freshTrail(connection: DuckDBConnection, files: readonly TrailFile[]): Promise<TrailFile[]> {
  if (files.length === 0) return [];
  const byHash = new Map(files.map((file) => [hashOf(file), file]));
  const known = await connection.runAndReadAll(`SELECT file_hash FROM _store.trail_files WHERE ${oneOf('file_hash')}`, [
    JSON.stringify([...byHash.keys()]),
  ]);
  for (const [hash] of known.getRows()) byHash.delete(hash as string);
  return [...byHash.values()];
}

function hashOf({ archive, bucket, path, kind, sha256: content, members, fault, body, ...more }: TrailFile): string {
  const { signature, signatureAlgorithm, backfilledAt } = more;
  const what = [content, members, fault, body && sha256(body), signature, signatureAlgorithm, backfilledAt];
  return sha256(JSON.stringify([archive, bucket, path, kind, ...what]));
}

/** Notes files that were read, inside the transaction of the evidence in them. */
export function recordTrail(
  connection: DuckDBConnection,
  files: readonly TrailFile[],
  commit: { readonly number: bigint; readonly at: DuckDBTimestampValue },
): Promise<void> {
  const rows = files.map((file): DuckDBValue[] => [
    hashOf(file),
    file.archive,
    file.bucket,
    file.path,
    file.kind,
    file.sha256,
    file.members,
    file.fault,
    file.body && blobValue(file.body),
    file.signature,
    file.signatureAlgorithm,
    file.backfilledAt,
    file.sourceId,
    commit.number,
    commit.at,
  ]);
  return appendRows(connection, 'trail_files', rows);
}

/** Notes what was looked through; the same look is noted once. */
export async function recordLook(connection: DuckDBConnection, look: TrailLook): Promise<void> {
  const { archive, bucket, prefix, fromMicros, untilMicros, dueMicros } = look;
  await connection.run(
    `INSERT INTO _store.trail_looks SELECT $1, $2, $3, $4::TIMESTAMP, $5::TIMESTAMP, $6::TIMESTAMP, now()::TIMESTAMP WHERE NOT EXISTS (
       FROM _store.trail_looks WHERE archive = $1 AND bucket IS NOT DISTINCT FROM $2 AND prefix = $3 AND from_time IS NOT DISTINCT FROM $4::TIMESTAMP
         AND until_time IS NOT DISTINCT FROM $5::TIMESTAMP AND due_time IS NOT DISTINCT FROM $6::TIMESTAMP)`,
    [archive, bucket, prefix, timeOf(fromMicros), timeOf(untilMicros), timeOf(dueMicros)],
  );
}

const timeOf = (micros: number | null): DuckDBTimestampValue | null =>
  micros === null ? null : new DuckDBTimestampValue(BigInt(micros));

/** Notes versions; one that is known as it is is noted once. */
export async function recordVersions(connection: DuckDBConnection, versions: readonly TrailVersion[]): Promise<void> {
  const known = new Set((await loadVersions(connection)).map((one) => JSON.stringify(one)));
  const now = new DuckDBTimestampValue(BigInt(Date.now()) * 1000n);
  const fresh = versions.filter((one) => !known.has(JSON.stringify(one)));
  await appendRows(
    connection,
    'trail_versions',
    fresh.map(({ archive, bucket, path, versionId, atMicros, deleted, latest }): DuckDBValue[] => [
      archive,
      bucket,
      path,
      versionId,
      timeOf(atMicros),
      deleted,
      latest,
      now,
    ]),
  );
}

async function loadVersions(connection: DuckDBConnection): Promise<TrailVersion[]> {
  const rows = await connection.runAndReadAll(
    `SELECT archive, bucket, path, version_id, epoch_us(put_at)::DOUBLE, deleted, latest FROM integrity_versions ORDER BY ALL`,
  );
  return rows.getRows().map(([archive, bucket, path, versionId, at, deleted, latest]) => ({
    archive: archive as string,
    bucket: bucket as string,
    path: path as string,
    versionId: versionId as string,
    atMicros: at as number,
    deleted: deleted as boolean,
    latest: latest as boolean,
  }));
}

/** Files as they were read last, and all looks. A signature that was known once stays known: a later copy may come without its metadata. */
export async function loadTrail(
  connection: DuckDBConnection,
): Promise<{ files: TrailFile[]; looks: TrailLook[]; versions: TrailVersion[] }> {
  const files = await connection.runAndReadAll(
    `SELECT archive, bucket, path, kind, last(sha256 ORDER BY commit_seq), arg_max(members, commit_seq), last(fault ORDER BY commit_seq), last(body ORDER BY commit_seq),
       arg_max(signature, commit_seq), arg_max(signature_algorithm, commit_seq), arg_max(backfilled_at, commit_seq), last(source_id ORDER BY commit_seq)
     FROM _store.trail_files GROUP BY archive, bucket, path, kind ORDER BY archive, bucket, path`,
  );
  const looks = await connection.runAndReadAll(
    `SELECT archive, bucket, prefix, epoch_us(from_time), epoch_us(until_time), epoch_us(due_time) FROM _store.trail_looks ORDER BY ALL`,
  );
  return {
    versions: await loadVersions(connection),
    files: files
      .getRows()
      .map(([archive, bucket, path, kind, hash, members, fault, body, signature, algorithm, backfilled, source]) => ({
        archive: archive as string,
        bucket: bucket as string | null,
        path: path as string,
        kind: kind as TrailFile['kind'],
        sha256: hash as string | null,
        members: members as number,
        fault: fault as string | null,
        body: body === null ? null : (body as DuckDBBlobValue).bytes,
        signature: signature as string | null,
        signatureAlgorithm: algorithm as string | null,
        backfilledAt: backfilled as string | null,
        sourceId: source as string,
      })),
    looks: looks.getRows().map(([archive, bucket, prefix, from, until, due]) => ({
      archive: archive as string,
      bucket: bucket as string | null,
      prefix: prefix as string,
      fromMicros: numberOf(from),
      untilMicros: numberOf(until),
      dueMicros: numberOf(due),
    })),
  };
}

const numberOf = (value: DuckDBValue | undefined): number | null => (value === null ? null : Number(value));

/** Replaces what was concluded from them. Rows in the tables' own column order. */
export async function recordIntegrity(
  connection: DuckDBConnection,
  rows: { readonly integrity: DuckDBValue[][]; readonly integrity_files: DuckDBValue[][] },
): Promise<void> {
  await connection.run('BEGIN');
  try {
    for (const [table, found] of Object.entries(rows)) {
      await connection.run(`DELETE FROM _store.${table}`);
      await appendRows(connection, table, found);
    }
    await connection.run('COMMIT');
  } catch (cause) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw cause;
  }
}
