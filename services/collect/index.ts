import { readFileSync, statSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { Decoded, Fault } from '../../shared/evidence.js';
import { GzipError, gunzipBounded, inflateFile } from '../../shared/inflate.js';
import { ROW_GROUP_ROWS } from '../../shared/store/open.js';
import { type Batch, type Committed, emptyBatch, type Store } from '../../shared/store/store.js';
import type { Context, EvidenceName, Row, Source } from './source.js';
import { sources } from './sources/index.js';

/** One file of a case, and which source reads it. */
export interface InputFile {
  readonly source: EvidenceName;
  readonly path: string;
  /** Where it lies inside the case: what evidence cites as its source. */
  readonly id: string;
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
}

export const nothingCollected = (): Collected => ({
  files: 0,
  read: { cloudtrail: 0, traces: 0, metrics: 0 },
  stored: { cloudtrail: 0, traces: 0, metrics: 0 },
  duplicates: 0,
  conflicts: 0,
  quarantined: 0,
  missedScrapes: 0,
  skipped: {},
});

/** Adds what a commit did. */
export function countCommitted(totals: Collected, committed: Committed): void {
  for (const [source, count] of Object.entries(committed.stored)) totals.stored[source as EvidenceName] += count;
  totals.duplicates += committed.duplicates;
  totals.conflicts += committed.conflicts;
}

/** More than a row group, which DuckDB then writes straight to the file; still more would cost memory. */
const ROWS_A_COMMIT = ROW_GROUP_ROWS + 1;

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
  files: readonly InputFile[],
  options: { nowUnixNano: bigint; onProgress?: (done: number, of: number) => void },
): Promise<Collected> {
  const collector = new Collector(store);
  let next = files[0] && opened(files[0]);
  try {
    for (const [index, file] of files.entries()) {
      const current = next ?? opened(file);
      const after = files[index + 1];
      next = after && opened(after);
      await collectFile(collector, file, current, options.nowUnixNano);
      options.onProgress?.(index + 1, files.length);
    }
    await collector.end();
  } finally {
    await next?.close();
    await collector.settled();
  }
  return collector.totals;
}

/** A file that is being inflated. */
interface OpenedFile {
  readonly pieces: AsyncIterable<Buffer>;
  /** Gzip members so far. */
  members(): number;
  close(): Promise<void>;
}

/** Pieces of at most 192 KiB: 2 MiB of the file that is decoded, and of the one after it. */
const PIECES_AHEAD = 10;

/** Starts at once: an async generator queues the calls that are made before it has an answer. */
function opened(file: InputFile): OpenedFile {
  const inflated = inflateFile(file.path);
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
  const decoder = sourceOf(file).file(contextOf(file, nowUnixNano));
  const tally = collector.begin(file);
  try {
    for await (const piece of input.pieces) {
      tally.add(decoder.push(piece));
      await setImmediate(); // the commit under way goes on with its next statement
      await collector.commitIfFull();
    }
  } catch (cause) {
    if (!(cause instanceof GzipError)) throw cause;
    tally.add(decoder.end());
    tally.add(brokenFile(file, cause));
    collector.finish(file, tally, cause.message);
    return;
  }
  tally.add(decoder.end());
  const notes =
    input.members() > 1 && file.source === 'cloudtrail'
      ? `gzip of ${input.members()} members: CloudTrail delivers one`
      : null;
  collector.finish(file, tally, notes);
  await collector.commitIfFull();
}

function sourceOf(file: InputFile): Source<Row> {
  return sources.find(({ name }) => name === file.source) as unknown as Source<Row>;
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

/** The rows before the damage are evidence; the file as it came is kept beside them. */
function brokenFile(file: InputFile, cause: GzipError): Decoded<Row> {
  const size = statSync(file.path).size;
  const kept = size <= LARGEST_KEPT_BYTES;
  const detail = `${cause.message} What came before it was read${kept ? '' : `; the file of ${size} bytes is too large to be kept here`}.`;
  const fault: Fault = {
    reason: cause.code === 'TOO_LARGE' ? 'too_large' : 'bad_gzip',
    detail,
    raw: kept ? readFileSync(file.path) : '',
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

  finish(file: InputFile, tally: Tally, notes: string | null): void {
    const { rows, quarantined, skipped } = tally;
    this.#batch.inputs.push({ source: file.source, sourceId: file.id, rows, quarantined, skipped, notes });
    this.totals.files++;
    this.totals.read[file.source] += rows;
    this.totals.quarantined += quarantined;
    for (const [reason, count] of Object.entries(skipped))
      this.totals.skipped[reason] = (this.totals.skipped[reason] ?? 0) + count;
  }

  async commitIfFull(): Promise<void> {
    const { cloudtrail, traces, metrics } = this.#batch;
    if (cloudtrail.length + traces.length + metrics.length >= ROWS_A_COMMIT) await this.commit();
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
