import {
  BOOLEAN,
  blobValue,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBTimestampValue,
  type DuckDBValue,
  INTEGER,
  VARCHAR,
} from '@duckdb/node-api';
import { CauselineError } from '../errors.js';
import { EVIDENCE, type EvidenceName, type EvidenceRows, type Fault, type MissedScrape } from '../evidence.js';
import { sha256 } from '../hash.js';
import { appendRows } from './append.js';
import { type EvidenceTable, evidenceTables, type Stored } from './columns.js';
import { presenceOf } from './coverage.js';
import { oneOf } from './derived.js';
import { type History, reconcile } from './history.js';
import { ledgerPath } from './ledger.js';
import { type Line, Lines, withLines } from './lines.js';
import { close, type Opened, openForWriting } from './open.js';
import { type Consumed, recordConsumed } from './positions.js';
import { SeenRows } from './seen-rows.js';
import { SeriesHashes } from './series-hashes.js';
import { freshTrail, recordTrail, type TrailFile } from './trail.js';

/** Which decoded rows go to the store together; each knows the input it came from. */
export interface Batch extends OfferedRows {
  readonly faults: SourcedFault[];
  readonly missedScrapes: Sourced<MissedScrape>[];
  /** Inputs that end in this batch. */
  readonly inputs: InputRecord[];
  /** Offsets that this batch accounts for, of each partition in their order. */
  readonly consumed: Consumed[];
  /** CloudTrail's own files that end in this batch. */
  readonly trail: TrailFile[];
  readonly lines: Lines;
}

export interface Sourced<Row> {
  readonly sourceId: string;
  readonly row: Row;
}

type Offered<Row> = Sourced<Row> | Packed<Row>;

type OfferedRows = { readonly [Name in EvidenceName]: Offered<EvidenceRows[Name]>[] };

/** A row that is ready to be written. What it was decoded to is let go: a batch holds a line, not thirty strings. */
interface Packed<Row> {
  readonly bodyHash: string;
  readonly identity: string;
  readonly timeMicros: bigint;
  /** Or the row itself, where no line can hold it. */
  readonly line: Line | Sourced<Row>;
}

export interface SourcedFault {
  readonly source: string;
  readonly origin: string;
  /** Tells two inputs of one origin apart: a topic that was made again has its messages at the same offsets. */
  readonly inputId?: string;
  readonly fault: Fault;
}

/** What an input (a file of a case) turned out to hold. */
export interface InputRecord {
  readonly source: string;
  readonly sourceId: string;
  readonly rows: number;
  readonly quarantined: number;
  readonly skipped: Readonly<Record<string, number>>;
  readonly notes: string | null;
  /** Tells what was there at another time apart (the ETag of an object). */
  readonly version?: string;
}

/** What a commit did. `commitSeq` is undefined when everything in the batch was known already and nothing was written. */
export interface Committed {
  readonly commitSeq: bigint | undefined;
  readonly stored: Readonly<Record<string, number>>;
  readonly duplicates: number;
  readonly conflicts: number;
  readonly quarantined: number;
}

/** The one writer of a store. All evidence goes through `commit`: one batch, one transaction. */
export interface Store extends Opened, History {
  readonly path: string;
  /** Which store it is, wherever the file goes. */
  readonly storeId: string;
  /** Adds a row to a batch, hashed and packed at once: the row lives no longer. */
  add(batch: Batch, source: EvidenceName, sourceId: string, row: EvidenceRows[EvidenceName]): void;
  commit(batch: Batch): Promise<Committed>;
  checkpoint(): Promise<void>;
  close(): void;
}

/** `lines`: of a batch that is committed, to be used again. */
export const emptyBatch = (lines = new Lines()): Batch => ({
  cloudtrail: [],
  traces: [],
  metrics: [],
  's3-access': [],
  iam: [],
  faults: [],
  missedScrapes: [],
  inputs: [],
  consumed: [],
  trail: [],
  lines,
});

/** Rows of evidence in a batch. */
export const evidenceIn = (batch: Batch): number => EVIDENCE.reduce((sum, name) => sum + batch[name].length, 0);

/** The file by which lines go to DuckDB. */
export const linesPath = (db: string): string => `${db}.batch`;

export async function openStore(path: string): Promise<Store> {
  const opened = await openForWriting(path);
  const { connection } = opened;
  const history = await reconcile(connection, ledgerPath(path)).catch((cause: unknown) => {
    close(opened);
    throw cause;
  });
  await connection.run('CREATE TEMP TABLE batch_keys (idx INTEGER, identity VARCHAR, body_hash VARCHAR)');
  const storeId = await storeIdOf(connection);
  const series = new SeriesHashes();
  const tables = evidenceTables((row) => series.of(row)) as unknown as Tables;
  const seen = Object.fromEntries(EVIDENCE.map((name) => [name, new SeenRows()])) as Seen;
  return {
    ...opened,
    ...history,
    path,
    storeId,
    add(batch, source, sourceId, row) {
      (batch[source] as Packed<Body>[]).push(packed(tables[source], batch.lines, { sourceId, row }));
    },
    commit: (batch) => commit({ connection, tables, seen, linesPath: linesPath(path) }, batch),
    checkpoint: async () => void (await connection.run('CHECKPOINT')),
    close: () => close(opened),
  };
}

async function storeIdOf(connection: DuckDBConnection): Promise<string> {
  return String((await connection.runAndReadAll('SELECT store_id FROM _store.identity')).getRows()[0]?.[0]);
}

/** What all rows of evidence have, where it does not matter which they are. */
interface Body {
  readonly bodyHash: string;
  readonly isPlain?: boolean;
}

type Tables = Readonly<Record<EvidenceName, EvidenceTable<Body>>>;

type Seen = Readonly<Record<EvidenceName, SeenRows>>;

interface Writer {
  readonly connection: DuckDBConnection;
  readonly tables: Tables;
  readonly seen: Seen;
  /** The file by which lines go to DuckDB. */
  readonly linesPath: string;
}

function packed<Row extends Body>(table: EvidenceTable<Row>, lines: Lines, sourced: Sourced<Row>): Packed<Row> {
  const { row } = sourced;
  return {
    bodyHash: row.bodyHash,
    identity: flat(table.identity(row)),
    timeMicros: table.timeMicros(row),
    line: lines.add(lineValues(table, sourced), row.isPlain && PLAIN.test(sourced.sourceId)) ?? sourced,
  };
}

/** As a row's own texts are where its reading says so. */
const PLAIN = /^[ -~]*$/;

/**
 * The same text, in memory of its own. V8 joins and slices texts by reference: an identity that waits for its commit would keep the
 * whole piece of a file alive from which its parts were cut. It copies them where a character is asked for.
 */
function flat(text: string): string {
  text.charCodeAt(0);
  return text;
}

function lineValues<Row>(table: EvidenceTable<Row>, { sourceId, row }: Sourced<Row>): DuckDBValue[] {
  const stored: Stored<Row> = { row, sourceId, commitSeq: 0n, ingestedAt: NO_TIME, conflicting: false };
  const values: DuckDBValue[] = [NOT_CONFLICTING];
  for (const column of table.columns) if (!column.ofCommit) values.push(column.value(stored));
  return values;
}

async function commit(writer: Writer, batch: Batch): Promise<Committed> {
  const { connection, tables, seen } = writer;
  await connection.run('BEGIN');
  try {
    const evidence: (Fresh<Body> & { readonly name: EvidenceName })[] = [];
    for (const name of EVIDENCE)
      evidence.push({ name, ...(await fresh(connection, tables[name], seen[name], batch[name] as Offered<Body>[])) });
    const faults = await freshFaults(connection, batch.faults);
    const missed = await freshMissed(connection, batch.missedScrapes);
    const inputs = await freshInputs(connection, batch.inputs);
    const trail = await freshTrail(connection, batch.trail);
    const stored = evidence.reduce((sum, { rows }) => sum + rows.length, 0);
    const rows = stored + faults.length + missed.length + inputs.length + trail.length;
    if (rows + batch.consumed.length === 0) {
      await connection.run('COMMIT');
      return {
        commitSeq: undefined,
        stored: {},
        duplicates: sum(evidence, 'duplicates'),
        conflicts: 0,
        quarantined: 0,
      };
    }
    const seq = await nextCommit(connection, rows);
    for (const { name, rows: own } of evidence) {
      if (own.length === 0) continue;
      await append(writer, tables[name], own, seq);
      const presence = presenceOf(name, seq.number);
      if (presence) await connection.run(presence);
    }
    await appendRows(
      connection,
      'quarantine',
      faults.map((fault) => [...fault, seq.number, seq.at]),
    );
    await appendRows(
      connection,
      'missed_scrapes',
      missed.map((row) => [...row, seq.number]),
    );
    await appendRows(
      connection,
      'inputs',
      inputs.map((i) => [
        i.source,
        i.sourceId,
        seq.number,
        seq.at,
        BigInt(i.rows),
        BigInt(i.quarantined),
        JSON.stringify(i.skipped),
        i.notes,
        i.version ?? null,
      ]),
    );
    await recordTrail(connection, trail, seq);
    await recordConsumed(connection, batch.consumed, seq);
    for (const { name, rows: own } of evidence) seen[name].wrote(own.map((row) => row.packed));
    await connection.run('COMMIT');
    return {
      commitSeq: seq.number,
      stored: Object.fromEntries(evidence.map(({ name, rows: own }) => [name, own.length])),
      duplicates: sum(evidence, 'duplicates'),
      conflicts: sum(evidence, 'conflicts'),
      quarantined: faults.length,
    };
  } catch (cause) {
    for (const name of EVIDENCE) seen[name].forget();
    await connection.run('ROLLBACK').catch(() => undefined);
    throw new CauselineError(
      'store_failed',
      'store',
      `A batch could not be stored and was rolled back: ${messageOf(cause)}`,
      { cause },
    );
  }
}

interface Fresh<Row> {
  readonly rows: FreshRow<Row>[];
  readonly duplicates: number;
  readonly conflicts: number;
}

interface FreshRow<Row> {
  readonly packed: Packed<Row>;
  conflicting: boolean;
}

/** The rows that the store does not have yet. One with a known identity and another body is kept, and marked. */
async function fresh<Row extends Body>(
  connection: DuckDBConnection,
  table: EvidenceTable<Row>,
  seen: SeenRows,
  offered: readonly Offered<Row>[],
): Promise<Fresh<Row>> {
  const bodies = new Set<string>();
  const identities = new Set<string>();
  const rows: FreshRow<Row>[] = [];
  const lines = new Lines();
  for (const each of offered) {
    const row = 'bodyHash' in each ? each : packed(table, lines, each);
    if (bodies.has(row.bodyHash)) continue;
    bodies.add(row.bodyHash);
    rows.push({ packed: row, conflicting: identities.has(row.identity) });
    identities.add(row.identity);
  }
  const perhaps = await seen.perhapsStored(
    connection,
    table,
    rows.map((row) => row.packed),
  );
  const known = new Set<number>();
  for (const [from, to, indices] of clusters(perhaps, (idx) => rows[idx]!.packed.timeMicros))
    for (const { idx, same } of await storedBefore(connection, table, from, to, indices, rows)) {
      if (same) known.add(idx);
      else rows[idx]!.conflicting = true;
    }
  const kept = rows.filter((_, idx) => !known.has(idx));
  return {
    rows: kept,
    duplicates: offered.length - kept.length,
    conflicts: kept.filter((row) => row.conflicting).length,
  };
}

const CLUSTER_GAP_MICROS = 600_000_000n;

/**
 * One literal window of event time per cluster of times, so that row groups outside it are never read: a single stray row would
 * otherwise widen one window over the whole store (219 ms against 16 ms in 10 M rows).
 */
function clusters(
  rows: readonly number[],
  timeMicros: (row: number) => bigint,
): [from: bigint, to: bigint, rows: number[]][] {
  const order = rows
    .map((row) => ({ row, at: timeMicros(row) }))
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.row - b.row));
  const found: [bigint, bigint, number[]][] = [];
  for (const { row, at } of order) {
    const last = found.at(-1);
    if (last && at - last[1] <= CLUSTER_GAP_MICROS) {
      last[1] = at;
      last[2].push(row);
    } else found.push([at, at, [row]]);
  }
  return found;
}

async function storedBefore<Row>(
  connection: DuckDBConnection,
  table: EvidenceTable<Row>,
  from: bigint,
  to: bigint,
  indices: readonly number[],
  rows: readonly FreshRow<Row>[],
): Promise<{ idx: number; same: boolean }[]> {
  const window = `${table.time} BETWEEN make_timestamp(${from}) AND make_timestamp(${to})`;
  const any = await connection.runAndReadAll(`SELECT 1 FROM _store.${table.table} WHERE ${window} LIMIT 1`);
  if (any.currentRowCount === 0) return [];
  await connection.run('DELETE FROM batch_keys');
  const appender = await connection.createAppender('batch_keys', 'main', 'temp');
  eachChunk(indices, (slice) => {
    const chunk = DuckDBDataChunk.create([INTEGER, VARCHAR, VARCHAR], slice.length);
    chunk.setColumns([
      slice.slice(),
      slice.map((i) => rows[i]!.packed.identity),
      slice.map((i) => rows[i]!.packed.bodyHash),
    ]);
    appender.appendDataChunk(chunk);
  });
  appender.closeSync();
  const found = await connection.runAndReadAll(
    `SELECT k.idx, bool_or(k.body_hash = e.body_hash) FROM batch_keys k
     JOIN (SELECT ${table.identitySql} AS identity, body_hash FROM _store.${table.table} WHERE ${window}) e ON e.identity = k.identity GROUP BY k.idx`,
  );
  return found.getRows().map(([idx, same]) => ({ idx: idx as number, same: same as boolean }));
}

async function freshFaults(connection: DuckDBConnection, faults: readonly SourcedFault[]): Promise<DuckDBValue[][]> {
  if (faults.length === 0) return [];
  const hashed = faults.map((sourced) => ({ ...sourced, raw: rawOf(sourced.fault), hash: faultHash(sourced) }));
  const known = await existing(connection, `SELECT fault_hash FROM _store.quarantine WHERE ${oneOf('fault_hash')}`, [
    JSON.stringify(hashed.map(({ hash }) => hash)),
  ]);
  const rows: DuckDBValue[][] = [];
  for (const { source, origin, fault, raw, hash } of hashed) {
    if (known.has(hash)) continue;
    known.add(hash);
    rows.push([hash, source, `${origin}#${fault.position}`, fault.reason, fault.detail, blobValue(raw)]);
  }
  return rows;
}

const rawOf = ({ raw }: Fault): Uint8Array => (typeof raw === 'string' ? Buffer.from(raw, 'utf8') : raw);

function faultHash({ source, origin, inputId, fault }: SourcedFault): string {
  return sha256([source, inputId ?? origin, fault.position, fault.reason, sha256(rawOf(fault))].join('\n'));
}

async function freshMissed(
  connection: DuckDBConnection,
  missed: readonly Sourced<MissedScrape>[],
): Promise<DuckDBValue[][]> {
  if (missed.length === 0) return [];
  const known = await existing(
    connection,
    `SELECT concat_ws('\n', service, instance, epoch_us(time)) FROM _store.missed_scrapes`,
  );
  const rows: DuckDBValue[][] = [];
  for (const { sourceId, row } of missed) {
    const key = [row.service, row.instance, row.timeUnixNano / 1000n].filter((part) => part !== null).join('\n');
    if (known.has(key)) continue;
    known.add(key);
    rows.push([row.service, row.instance, new DuckDBTimestampValue(row.timeUnixNano / 1000n), sourceId]);
  }
  return rows;
}

async function freshInputs(connection: DuckDBConnection, inputs: readonly InputRecord[]): Promise<InputRecord[]> {
  if (inputs.length === 0) return [];
  const names = inputs.map(({ source, sourceId, version }) =>
    [source, sourceId, ...(version ? [version] : [])].join('\n'),
  );
  const name = `concat_ws('\n', source, source_id, version)`;
  const known = await existing(connection, `SELECT ${name} FROM _store.inputs WHERE ${oneOf(name)}`, [
    JSON.stringify(names),
  ]);
  return inputs.filter((_, index) => !known.has(names[index]!));
}

async function existing(
  connection: DuckDBConnection,
  query: string,
  values: DuckDBValue[] = [],
): Promise<Set<DuckDBValue>> {
  return new Set((await connection.runAndReadAll(query, values)).getRows().map((row) => row[0]!));
}

interface CommitMark {
  readonly number: bigint;
  readonly at: DuckDBTimestampValue;
}

async function nextCommit(connection: DuckDBConnection, rows: number): Promise<CommitMark> {
  const written = await connection.runAndReadAll(
    `INSERT INTO _store.commits SELECT coalesce(max(commit_seq), 0) + 1, now()::TIMESTAMP, ${rows} FROM _store.commits RETURNING commit_seq, recorded_at`,
  );
  const [number, at] = written.getRows()[0]!;
  return { number: number as bigint, at: at as DuckDBTimestampValue };
}

/** As lines, and as chunks where no line can hold a row. */
async function append<Row>(
  { connection, linesPath }: Writer,
  table: EvidenceTable<Row>,
  rows: readonly FreshRow<Row>[],
  seq: CommitMark,
): Promise<void> {
  const lines: Line[] = [];
  const rest: Stored<Row>[] = [];
  for (const { packed, conflicting } of rows) {
    const { line } = packed;
    if ('row' in line) {
      rest.push({ ...line, commitSeq: seq.number, ingestedAt: seq.at, conflicting });
    } else {
      line.lines.bytes(line.from, line.to)[0] = (conflicting ? CONFLICTING : NOT_CONFLICTING).charCodeAt(0);
      lines.push(line);
    }
  }
  if (lines.length > 0) await appendLines(connection, table, lines, seq, linesPath);
  if (rest.length > 0) await appendChunks(connection, table, rest);
}

const NO_TIME = new DuckDBTimestampValue(0n);

/** A line starts with whether its row is conflicting: that is known last, and written over. */
const CONFLICTING = '1';
const NOT_CONFLICTING = '0';

async function appendLines<Row>(
  connection: DuckDBConnection,
  table: EvidenceTable<Row>,
  lines: readonly Line[],
  seq: CommitMark,
  path: string,
): Promise<void> {
  const columns = table.columns.filter(({ ofCommit }) => !ofCommit);
  await withLines(path, lines, [{ name: 'conflicting', type: BOOLEAN }, ...columns], (relation) =>
    connection.run(
      `INSERT INTO _store.${table.table} BY NAME
       SELECT * EXCLUDE (conflicting) REPLACE (CASE WHEN conflicting THEN concat_ws(',', flags, 'conflicting_body') ELSE flags END AS flags),
         ${seq.number} AS commit_seq, make_timestamp(${seq.at.micros}) AS ingested_at FROM ${relation}`,
    ),
  );
}

async function appendChunks<Row>(
  connection: DuckDBConnection,
  table: EvidenceTable<Row>,
  rows: readonly Stored<Row>[],
): Promise<void> {
  const appender = await connection.createAppender(table.table, '_store');
  const types = table.columns.map((column) => column.type);
  eachChunk(rows, (slice) => {
    const chunk = DuckDBDataChunk.create(types, slice.length);
    for (const [index, column] of table.columns.entries()) chunk.setColumnValues(index, slice.map(column.value));
    appender.appendDataChunk(chunk);
  });
  appender.closeSync(); // flushes: rows not flushed before COMMIT are not in the transaction
}

/** DuckDB's vector size: the most a data chunk holds. */
const CHUNK_ROWS = 2048;

function eachChunk<T>(items: readonly T[], use: (slice: readonly T[]) => void): void {
  for (let start = 0; start < items.length; start += CHUNK_ROWS) use(items.slice(start, start + CHUNK_ROWS));
}

function sum(evidence: readonly Fresh<unknown>[], field: 'duplicates' | 'conflicts'): number {
  return evidence.reduce((total, fresh) => total + fresh[field], 0);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
