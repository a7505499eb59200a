import { createHash, type Hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { CauselineError } from '../../shared/errors.js';
import { type Decoded, EVIDENCE, type EvidenceName, type Fault } from '../../shared/evidence.js';
import { GzipError, gunzipBounded, inflateFile } from '../../shared/inflate.js';
import { ROW_GROUP_ROWS } from '../../shared/store/open.js';
import { type Batch, type Committed, emptyBatch, evidenceIn, type Store } from '../../shared/store/store.js';
import type { Delivered, DigestMetadata, TrailFile } from '../../shared/store/trail.js';
import type { Context, Row } from './source.js';
import { sourceNamed } from './sources/index.js';

/** One file of a case, or one object of a bucket, and which source reads it. */
export interface InputFile {
  readonly source: EvidenceName;
  /** Starts to read it. A stream that fails with a CauselineError fails this file alone. */
  open(): Readable;
  /** Where it lies inside the case, or its URL: what evidence cites as its source. */
  readonly id: string;
  /** Tells what lay there at another time apart. */
  readonly version?: string;
  /** Where CloudTrail delivered it. Digests and keys are kept whole, and hold no evidence of their own. */
  readonly delivered?: Delivered;
  /** Asked when the file has been read. */
  readonly metadata?: () => DigestMetadata;
  readonly cluster?: string;
  readonly instance?: string;
  readonly scrapeUnixMs?: number;
}

/** What became of all input: read + quarantined + skipped is everything that was in it. */
export interface Collected {
  files: number;
  readonly read: Record<EvidenceName, number>;
  readonly stored: Record<EvidenceName, number>;
  duplicates: number;
  conflicts: number;
  quarantined: number;
  missedScrapes: number;
  readonly skipped: Record<string, number>;
  /** CloudTrail digests. */
  digests: number;
  /** Files that could not be read to their end, and why: another run tries them again. */
  readonly failed: { readonly id: string; readonly reason: string }[];
}

export const nothingCollected = (): Collected => ({
  files: 0,
  read: noneOfAll(),
  stored: noneOfAll(),
  duplicates: 0,
  conflicts: 0,
  quarantined: 0,
  missedScrapes: 0,
  skipped: {},
  digests: 0,
  failed: [],
});

const noneOfAll = () => Object.fromEntries(EVIDENCE.map((name) => [name, 0])) as Record<EvidenceName, number>;

/** Adds what a commit did. */
export function countCommitted(totals: Collected, committed: Committed): void {
  for (const [source, count] of Object.entries(committed.stored)) totals.stored[source as EvidenceName] += count;
  totals.duplicates += committed.duplicates;
  totals.conflicts += committed.conflicts;
}

/** More than a row group, which DuckDB then writes straight to the file; still more would cost memory. */
const ROWS_A_COMMIT = ROW_GROUP_ROWS + 1;

/** A commit holds so many files at most: what a killed replay has to read again. */
const FILES_A_COMMIT = 200;

const NO_METADATA: DigestMetadata = { signature: null, signatureAlgorithm: null, backfilledAt: null };

/** Batches decoded ahead of the store: a checkpoint takes as long as decoding three. */
const BATCHES_WAITING = 3;

/** A damaged file is kept whole in quarantine up to this size; a larger one stays where its coordinates say. */
const LARGEST_KEPT_BYTES = 64 * 1024 * 1024;

/**
 * Decodes files in their order and commits them in batches: rows, faults and the file's own record in one transaction.
 * While this thread decodes, others inflate what comes next and write the batch before: so much is in memory at most.
 */
export async function collectFiles(
  store: Store,
  files: Iterable<InputFile> | AsyncIterable<InputFile>,
  options: { nowUnixNano: bigint; onProgress?: (done: number) => void },
): Promise<Collected> {
  const collector = new Collector(store);
  const listed = iteratorOf(files);
  let next = await nextOpened(listed);
  try {
    for (let done = 1; next; done++) {
      const [file, current]: Opening = next;
      next = await nextOpened(listed);
      await collectFile(collector, file, current, options.nowUnixNano);
      options.onProgress?.(done);
    }
    await collector.end();
  } finally {
    await next?.[1].close();
    await listed.return(undefined);
    await collector.settled();
  }
  return collector.totals;
}

type Opening = [file: InputFile, input: OpenedFile];

async function* iteratorOf(files: Iterable<InputFile> | AsyncIterable<InputFile>): AsyncGenerator<InputFile> {
  yield* files;
}

async function nextOpened(files: AsyncIterator<InputFile>): Promise<Opening | undefined> {
  const { value, done } = await files.next();
  return done ? undefined : [value, opened(value)];
}

/** A file that is being inflated. */
interface OpenedFile {
  readonly pieces: AsyncIterable<Buffer>;
  /** Gzip members so far. */
  members(): number;
  close(): Promise<void>;
}

/** Pieces of at most 96 KiB: 1 MiB of the file that is decoded, and of the one after it, where they are not small. */
const PIECES_AHEAD = 10;

/** Starts at once: an async generator queues the calls that are made before it has an answer. */
function opened(file: InputFile): OpenedFile {
  const inflated = inflateFile(file.open());
  const source = inflated[Symbol.asyncIterator]();
  const asked: Promise<IteratorResult<Buffer>>[] = [];
  const ask = () => {
    const answer = source.next();
    answer.catch(() => {}); // it fails where it is awaited
    asked.push(answer);
  };
  for (let count = 0; count < PIECES_AHEAD; count++) ask();
  const close = async () => void (await source.return?.());
  const pieces: AsyncIterator<Buffer> = {
    next() {
      ask();
      return asked.shift()!;
    },
    async return() {
      await close();
      return { value: undefined, done: true };
    },
  };
  return { pieces: { [Symbol.asyncIterator]: () => pieces }, members: () => inflated.members, close };
}

async function collectFile(
  collector: Collector,
  file: InputFile,
  input: OpenedFile,
  nowUnixNano: bigint,
): Promise<void> {
  if (file.delivered && file.delivered.kind !== 'log') return keepFile(collector, file, file.delivered, input);
  const decoder = sourceNamed(file.source).file(contextOf(file, nowUnixNano));
  const tally = collector.begin(file);
  const hash = file.delivered && createHash('sha256');
  try {
    for await (const piece of input.pieces) {
      hash?.update(piece);
      tally.add(decoder.push(piece));
      await setImmediate(); // the commit under way goes on with its next statement
      await collector.commitIfFull();
    }
  } catch (cause) {
    if (cause instanceof CauselineError) return collector.fail(file, cause);
    if (!(cause instanceof GzipError)) throw cause;
    tally.add(decoder.end());
    const damaged = await brokenFile(file, cause);
    if (damaged instanceof CauselineError) return collector.fail(file, damaged);
    tally.add(damaged);
    collector.keep(file, { sha256: null, members: input.members(), fault: cause.message, body: null });
    collector.finish(file, tally, cause.message);
    return;
  }
  tally.add(decoder.end());
  const members = input.members();
  const notes =
    members > 1 && file.source === 'cloudtrail' ? `gzip of ${members} members: CloudTrail delivers one` : null;
  collector.keep(file, { sha256: digestOf(hash), members, fault: null, body: null });
  collector.finish(file, tally, notes);
  await collector.commitIfFull();
}

const digestOf = (hash: Hash | undefined): string | null => hash?.digest('hex') ?? null;

/** Digests are under a megabyte; one that inflates to more than this is none. */
const LARGEST_DIGEST_BYTES = 64 * 1024 * 1024;

/** Keeps a digest, or public keys, whole: they are judged when all is there. */
async function keepFile(collector: Collector, file: InputFile, { kind }: Delivered, input: OpenedFile): Promise<void> {
  const tally = collector.begin(file);
  const pieces: Buffer[] = [];
  let size = 0;
  let fault: string | null = null;
  try {
    for await (const piece of input.pieces) {
      size += piece.length;
      if (size > LARGEST_DIGEST_BYTES) throw new GzipError('TOO_LARGE', `It is of over ${LARGEST_DIGEST_BYTES} bytes`);
      pieces.push(piece);
    }
  } catch (cause) {
    if (cause instanceof CauselineError) return collector.fail(file, cause);
    if (!(cause instanceof GzipError)) throw cause;
    fault = cause.message;
  } finally {
    await input.close();
  }
  const body = Buffer.concat(fault === null ? pieces : []);
  collector.keep(file, { sha256: null, members: input.members(), fault, body });
  if (kind === 'digest') collector.totals.digests++;
  collector.finish(file, tally, kind === 'digest' ? 'a digest' : 'public keys');
}

function contextOf(file: InputFile, nowUnixNano: bigint): Context {
  const { cluster, instance, scrapeUnixMs } = file;
  return {
    origin: file.id,
    gunzip: gunzipBounded,
    nowUnixNano,
    ...(cluster && { cluster }),
    ...(instance && { instance }),
    ...(scrapeUnixMs && { scrapeUnixMs }),
  };
}

/** The rows before the damage are evidence, those of a member whose checksum is wrong only where it was too large to be held until then; the file as it came is kept beside them. An error where it could not be read again. */
async function brokenFile(file: InputFile, cause: GzipError): Promise<Decoded<Row> | CauselineError> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of file.open()) {
      size += (piece as Buffer).length;
      if (size > LARGEST_KEPT_BYTES) break;
      pieces.push(piece as Buffer);
    }
  } catch (error) {
    if (error instanceof CauselineError) return error;
    throw error;
  }
  const kept = size <= LARGEST_KEPT_BYTES;
  const read = cause.isDoubtful ? 'What it held was read, and may be wrong anywhere' : 'What came before it was read';
  const detail = `${cause.message} ${read}${kept ? '' : `; the file of over ${LARGEST_KEPT_BYTES} bytes is too large to be kept here`}.`;
  const fault: Fault = {
    reason: cause.code === 'TOO_LARGE' ? 'too_large' : 'bad_gzip',
    detail,
    raw: kept ? Buffer.concat(pieces) : '',
    position: 0,
  };
  return { rows: [], faults: [fault], skipped: new Map() };
}

/** What one file turned out to hold; rows and faults go straight to the batch. */
class Tally {
  rows = 0;
  quarantined = 0;
  readonly skipped: Record<string, number> = {};
  readonly #add: (decoded: Decoded<Row>) => void;

  constructor(add: (decoded: Decoded<Row>) => void) {
    this.#add = add;
  }

  add(decoded: Decoded<Row>): void {
    this.rows += decoded.rows.length;
    this.quarantined += decoded.faults.length;
    for (const [reason, count] of decoded.skipped) this.skipped[reason] = (this.skipped[reason] ?? 0) + count;
    this.#add(decoded);
  }
}

/** Gathers decoded rows into batches and commits them. */
class Collector {
  readonly totals: Collected = nothingCollected();
  readonly #store: Store;
  #batch: Batch = emptyBatch();
  /** Commits that have not ended, the oldest first; one that failed stays, and fails all after it. */
  readonly #waiting: Promise<void>[] = [];
  readonly #spareLines: Batch['lines'][] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  begin(file: InputFile): Tally {
    return new Tally((decoded) => {
      for (const row of decoded.rows) this.#store.add(this.#batch, file.source, file.id, row);
      for (const fault of decoded.faults) this.#batch.faults.push({ source: file.source, origin: file.id, fault });
      for (const row of decoded.missedScrapes ?? []) this.#batch.missedScrapes.push({ sourceId: file.id, row });
      this.totals.missedScrapes += decoded.missedScrapes?.length ?? 0;
    });
  }

  /** Notes what was delivered, where CloudTrail delivered it. */
  keep(file: InputFile, read: Pick<TrailFile, 'sha256' | 'members' | 'fault' | 'body'>): void {
    const { delivered, id: sourceId, metadata } = file;
    if (delivered) this.#batch.trail.push({ ...delivered, sourceId, ...(metadata?.() ?? NO_METADATA), ...read });
  }

  /** What it held so far is evidence; that it was read is not noted. */
  fail({ id }: InputFile, { message: reason }: CauselineError): void {
    this.totals.failed.push({ id, reason });
  }

  finish(file: InputFile, tally: Tally, notes: string | null): void {
    const { rows, quarantined, skipped } = tally;
    const { source, id: sourceId, version } = file;
    this.#batch.inputs.push({ source, sourceId, rows, quarantined, skipped, notes, ...(version && { version }) });
    this.totals.files++;
    this.totals.read[file.source] += rows;
    this.totals.quarantined += quarantined;
    for (const [reason, count] of Object.entries(skipped))
      this.totals.skipped[reason] = (this.totals.skipped[reason] ?? 0) + count;
  }

  async commitIfFull(): Promise<void> {
    if (evidenceIn(this.#batch) >= ROWS_A_COMMIT || this.#batch.inputs.length >= FILES_A_COMMIT) await this.commit();
  }

  /** Starts to commit, or waits for the batches before it; fails where one of them failed. */
  async commit(): Promise<void> {
    if (this.#waiting.length >= BATCHES_WAITING) await this.#waiting[0];
    const batch = this.#batch;
    this.#batch = emptyBatch(this.#spareLines.pop());
    const committing = this.#commitAfter(this.#waiting.at(-1), batch);
    committing.catch(() => {}); // it is awaited later, and fails there
    this.#waiting.push(committing);
  }

  async #commitAfter(before: Promise<void> | undefined, batch: Batch): Promise<void> {
    await before;
    countCommitted(this.totals, await this.#store.commit(batch));
    void this.#waiting.shift();
    batch.lines.clear();
    this.#spareLines.push(batch.lines);
  }

  /** Commits what is left and waits for it; fails where a commit failed. */
  async end(): Promise<void> {
    await this.commit();
    await this.#waiting.at(-1);
  }

  /** Waits for the commits under way; never fails. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#waiting);
  }
}
