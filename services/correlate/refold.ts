import { deserialize, serialize } from 'node:v8';
import { blobValue, type DuckDBBlobValue, type DuckDBConnection, type DuckDBValue } from '@duckdb/node-api';
import type { Finding } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { appendRows } from '../../shared/store/append.js';
import type { Detector } from './detector.js';
import { type Around, endFold, enterSegment, type Fold, startFold, stepFold } from './engine.js';
import type { Item } from './item.js';
import { readParts } from './refresh.js';
import {
  type MemberPart,
  mergeService,
  SEGMENT_MICROS,
  type ServicePart,
  scrapesOf,
  segmentOf,
  serviceItems,
  servicePart,
} from './rollup.js';

/** One subject and who folds over it. */
export interface Subject {
  /** Of its own, in the store. */
  readonly name: string;
  readonly detectors: readonly Detector[];
  readonly around: Around;
  /** Scopes of the rollups that its items are in. */
  readonly scopes: readonly string[];
  readonly of: 'service' | 'scrapes';
}

/** Findings of a subject before and after a refold, as far as it went. */
export interface Refolded {
  readonly before: readonly Finding[];
  readonly after: readonly Finding[];
}

/** What is open where the evidence ends comes after every segment. */
const TAIL = 9_000_000_000_000_000;

/** What was written of a segment: the hash of the state after it, where a later one has begun, and what was found in it. */
interface Folded {
  readonly stateHash: string | null;
  readonly findings: string;
}

/**
 * Folds a subject anew from the last border before the first dirty bucket, until a border after the last one at which the state is what it was.
 * Cost follows what changed; the result is that of folding everything.
 */
export async function refold(
  connection: DuckDBConnection,
  subject: Subject,
  dirty: { readonly fromMicros: number; readonly toMicros: number },
  run: bigint,
): Promise<Refolded> {
  const { detectors, around } = subject;
  const { known, border } = await takeUp(connection, subject.name, segmentOf(dirty.fromMicros));
  const rows: DuckDBValue[][] = [];
  const written: DuckDBValue[][] = [];
  const before: Finding[] = [];
  const after: Finding[] = [];
  const leave = (segment: number, state: Uint8Array | null, findings: readonly Finding[]): string | null => {
    const old = known.get(segment);
    known.delete(segment);
    before.push(...(old ? (JSON.parse(old.findings) as Finding[]) : []));
    after.push(...findings);
    const text = JSON.stringify(findings);
    const hash = state && sha256(state);
    if (old?.findings !== text || old.stateHash !== hash) rows.push([subject.name, BigInt(segment), run, hash, text]);
    if (state && old?.stateHash !== hash) {
      written.push([subject.name, BigInt(segment), hash, blobValue(state)]);
      hold(hash!, state);
    }
    return old?.stateHash ?? null;
  };

  const fold: Fold = border.state ? (deserialize(border.state) as Fold) : startFold(detectors);
  let segment: number | undefined;
  let findings: Finding[] = [];
  let agreed = false;
  for await (const { bucket, firstMicros, items } of itemsOf(connection, subject, border.next)) {
    if (segmentOf(bucket) !== segment) {
      if (segment !== undefined) {
        const state = serialize(fold);
        const stood = leave(segment, state, findings);
        agreed = segment >= segmentOf(dirty.toMicros) && stood === sha256(state);
        if (agreed) break;
      }
      segment = segmentOf(bucket);
      findings = [];
      enterSegment(fold, segment);
    }
    fold.coveredFromMicros = Math.min(fold.coveredFromMicros, firstMicros);
    for (const item of items) findings.push(...stepFold(detectors, fold, item, around, sha256));
  }
  if (!agreed) {
    if (segment !== undefined) leave(segment, null, findings);
    leave(TAIL, null, endFold(detectors, fold, around, sha256));
  }
  const reached = agreed ? segment! : Number.POSITIVE_INFINITY;
  for (const emptied of [...known.keys()].filter((one) => one < reached)) leave(emptied, null, []);
  await appendRows(connection, 'folded', rows);
  await appendRows(connection, 'fold_states', written);
  return { before, after };
}

/** The findings that stand and are not over before a moment. */
export async function standingFindings(connection: DuckDBConnection, fromMicros: number): Promise<Finding[]> {
  // What ended at a moment was emitted in its segment or later: there the quiet after it was seen.
  const since = Number.isFinite(fromMicros) ? `WHERE segment >= ${segmentOf(fromMicros)}` : '';
  const rows = await connection.runAndReadAll(
    `SELECT findings FROM (SELECT findings FROM _store.folded ${since} QUALIFY row_number() OVER (PARTITION BY subject, segment ORDER BY run DESC) = 1)
     WHERE findings <> '[]'`,
  );
  return rows.getRows().flatMap(([findings]) => JSON.parse(findings as string) as Finding[]);
}

/** A subject that is no more: what it found is gone. */
export async function forget(connection: DuckDBConnection, name: string, run: bigint): Promise<Finding[]> {
  const known = await foldedFrom(connection, name, Number.NEGATIVE_INFINITY);
  await appendRows(
    connection,
    'folded',
    [...known].map(([segment]) => [name, BigInt(segment), run, null, '[]']),
  );
  return [...known.values()].flatMap(({ findings }) => JSON.parse(findings) as Finding[]);
}

/** Borders are looked for so far back first: where a subject was silent for longer, in all that was written. */
const LOOK_BACK_MICROS = 6 * 3_600_000_000;

/** The last written state before a segment, where to go on from it, and what was written from there on. */
async function takeUp(connection: DuckDBConnection, name: string, segment: number) {
  const looks = Number.isFinite(segment) ? [segment - LOOK_BACK_MICROS, Number.NEGATIVE_INFINITY] : [];
  for (const from of looks) {
    const known = await foldedFrom(connection, name, from);
    const [at, before] = [...known].findLast(([one, { stateHash }]) => one < segment && stateHash !== null) ?? [];
    if (at === undefined) continue;
    for (const earlier of known.keys()) if (earlier <= at) known.delete(earlier);
    return {
      known,
      border: { state: await stateOf(connection, name, at, before!.stateHash!), next: at + SEGMENT_MICROS },
    };
  }
  const known = await foldedFrom(connection, name, Number.NEGATIVE_INFINITY);
  return { known, border: { state: undefined, next: Number.NEGATIVE_INFINITY } };
}

/** The states last written or read, by their hashes: whose they are makes no difference. */
const states = new Map<string, Uint8Array>();
const STATES_HELD = 256;

function hold(hash: string, state: Uint8Array): void {
  if (states.size >= STATES_HELD) states.delete(states.keys().next().value!);
  states.set(hash, state);
}

async function stateOf(connection: DuckDBConnection, name: string, segment: number, hash: string): Promise<Uint8Array> {
  const held = states.get(hash);
  if (held) return held;
  const found = await connection.runAndReadAll(
    `SELECT state FROM _store.fold_states WHERE segment = ${segment} AND subject = ${literal(name)} AND hash = '${hash}' LIMIT 1`,
  );
  const { bytes } = found.getRows()[0]![0] as DuckDBBlobValue;
  hold(hash, bytes);
  return bytes;
}

async function foldedFrom(
  connection: DuckDBConnection,
  name: string,
  fromMicros: number,
): Promise<Map<number, Folded>> {
  const rows = await connection.runAndReadAll(
    `SELECT segment::DOUBLE, state_hash, findings FROM _store.folded WHERE subject = ${literal(name)} ${Number.isFinite(fromMicros) ? `AND segment >= ${fromMicros}` : ''}
     QUALIFY row_number() OVER (PARTITION BY segment ORDER BY run DESC) = 1 ORDER BY segment`,
  );
  return new Map(
    rows
      .getRows()
      .map(([segment, stateHash, findings]) => [
        segment as number,
        { stateHash: stateHash as string | null, findings: findings as string },
      ]),
  );
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

interface Items {
  readonly bucket: number;
  /** When the subject was first watched in the bucket. */
  readonly firstMicros: number;
  readonly items: readonly Item[];
}

async function* itemsOf(connection: DuckDBConnection, subject: Subject, fromMicros: number): AsyncGenerator<Items> {
  const to = Number.POSITIVE_INFINITY;
  if (subject.of === 'service')
    for await (const { bucket, parts } of readParts(connection, subject.scopes, fromMicros, to)) {
      const whole = servicePart();
      for (const { part } of parts) mergeService(whole, part as ServicePart);
      yield { bucket, firstMicros: whole.firstMicros, items: serviceItems(whole) };
    }
  else
    for await (const { bucket, parts } of readParts(connection, subject.scopes, fromMicros, to)) {
      const items = scrapesOf(
        parts.map(({ scope, part }) => ({ member: scope.slice(scope.indexOf('\n') + 1), part: part as MemberPart })),
      );
      yield { bucket, firstMicros: items[0]?.atMicros ?? Number.POSITIVE_INFINITY, items };
    }
}
