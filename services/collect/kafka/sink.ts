import { EVIDENCE } from '../../../shared/evidence.js';
import { ROW_GROUP_ROWS } from '../../../shared/store/open.js';
import { type Partition, type Position, PositionMoved } from '../../../shared/store/positions.js';
import { type Batch, type Committed, emptyBatch, type Store } from '../../../shared/store/store.js';
import { isFull, isOutOfMemory, RETRY_MS } from '../../../shared/store/trouble.js';
import { traced } from '../../../shared/traced.js';
import type { Row, Source } from '../source.js';
import { type DecodedStretch, decodeStretch } from './decode.js';
import type { Stretch } from './offsets.js';

/** What the sink tells of a commit. */
export interface Stored extends Committed {
  readonly stretches: readonly DecodedStretch[];
  readonly seconds: number;
}

export interface SinkHooks {
  /** A commit waits for this before anybody is told of it. */
  afterCommit(commitSeq: bigint): Promise<void>;
  onStored(stored: Stored): void;
  /** There was not enough memory for a commit: whoever else uses the store gives way. */
  onPressure(): void;
  /** A commit failed for good; nothing is stored any more. */
  onFailed(cause: Error): void;
}

/** So many rows go into one transaction at most, so that it never takes long; two row groups and more, which are written straight into the file. */
const ROWS_A_COMMIT = 25_000;

/** So many rows are a commit; fewer wait for more, but not for long: DuckDB compresses more than a row group straight into its file, and logs less twice. */
const ROWS_WORTH_A_COMMIT = ROW_GROUP_ROWS + 1;
const LONGEST_WAIT_MS = 250;

/** Rows that may wait: reading stops while there are more. */
const ROWS_WAITING = 60_000;

/**
 * The one way from Kafka into the store. What waits while a commit is under way goes into the next one together: rows, quarantine and offsets of all partitions in one
 * transaction. It knows itself where each partition stands: what was accepted before is refused.
 */
export class Sink {
  readonly #store: Store;
  readonly #hooks: SinkHooks;
  readonly #next = new Map<string, bigint>();
  /** Lines of batches that were stored, to be used again. */
  readonly #spareLines: Batch['lines'][] = [];
  #waiting: DecodedStretch[] = [];
  #rows = 0;
  #running: Promise<void> | undefined;
  #failure: Error | undefined;
  #wake: (() => void)[] = [];
  /** Ends the wait for more rows. */
  #gathered: () => void = () => {};
  /** Somebody waits until everything is stored. */
  #hurried = 0;
  /** Why the last commit could not be made and is tried again. */
  trouble: string | undefined;
  /** It waits for room on the disk. */
  full = false;

  constructor(store: Store, hooks: SinkHooks) {
    this.#store = store;
    this.#hooks = hooks;
  }

  /** Partitions go on where the store says. */
  know(positions: readonly Position[]): void {
    for (const position of positions)
      if (!this.#next.has(keyOf(position))) this.#next.set(keyOf(position), position.next);
  }

  /** The offset that is expected next; undefined for a partition that was never read. */
  expected(partition: Partition): bigint | undefined {
    return this.#next.get(keyOf(partition));
  }

  /** Decodes a stretch into memory that an earlier one has left. */
  decode(stretch: Stretch, source: Source<Row>): Promise<DecodedStretch> {
    return decodeStretch(this.#store, stretch, source, emptyBatch(this.#spareLines.pop()));
  }

  /** Takes a stretch that begins at the expected offset; it is in the store once a later commit was told of. Throws where it does not, or a commit failed for good. */
  accept(stretch: DecodedStretch): void {
    if (this.#failure) throw this.#failure;
    const expected = this.expected(stretch.of) ?? stretch.from;
    if (stretch.from !== expected)
      throw new PositionMoved(
        `${expected} was expected of ${stretch.of.topic}/${stretch.of.partition}, not ${stretch.from}`,
      );
    this.#next.set(keyOf(stretch.of), stretch.next);
    this.#waiting.push(stretch);
    this.#rows += stretch.weight;
    if (this.#rows >= ROWS_WORTH_A_COMMIT) this.#gathered();
    this.#running ??= this.#commitAll();
  }

  /** Waits until there is room. Throws where a commit failed for good. */
  async room(): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#rows < ROWS_WAITING) return;
    await new Promise<void>((resolve) => this.#wake.push(resolve));
    await this.room();
  }

  /** Waits until all that was accepted is in the store. Throws where a commit failed for good. */
  async drained(): Promise<void> {
    this.#hurried++;
    this.#gathered();
    await this.#running;
    this.#hurried--;
    if (this.#failure) throw this.#failure;
  }

  async #commitAll(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        await this.#gather();
        await this.#commitNext();
      }
    } catch (cause) {
      this.#failure = cause as Error;
      this.#hooks.onFailed(this.#failure);
    }
    this.#running = undefined; // in one step with the last look at what waits: whoever comes after it begins anew
    this.#wakeAll();
  }

  async #gather(): Promise<void> {
    if (this.#rows >= ROWS_WORTH_A_COMMIT || this.#hurried > 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LONGEST_WAIT_MS);
      this.#gathered = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #commitNext(): Promise<void> {
    const taken = this.#take();
    const started = performance.now();
    const committed = await traced('commit', { 'causeline.stretches': taken.length }, () =>
      this.#commit(merged(taken)),
    );
    if (committed.commitSeq !== undefined) await this.#hooks.afterCommit(committed.commitSeq);
    for (const stretch of taken) this.#release(stretch);
    this.#wakeAll();
    this.#hooks.onStored({ ...committed, stretches: taken, seconds: (performance.now() - started) / 1000 });
  }

  #release(stretch: DecodedStretch): void {
    this.#rows -= stretch.weight;
    const { lines } = stretch.batch;
    if (lines.size === 0) return; // no memory to be used again
    lines.clear();
    this.#spareLines.push(lines);
  }

  #take(): DecodedStretch[] {
    let rows = 0;
    let count = 0;
    for (const stretch of this.#waiting) {
      rows += stretch.weight;
      if (count > 0 && rows > ROWS_A_COMMIT) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #commit(batch: Batch): Promise<Committed> {
    for (;;) {
      try {
        const committed = await this.#store.commit(batch);
        this.trouble = undefined;
        this.full = false;
        return committed;
      } catch (cause) {
        this.full = isFull(cause);
        if (isOutOfMemory(cause)) this.#hooks.onPressure();
        else if (!this.full) throw cause;
        this.trouble = (cause as Error).message;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

const keyOf = ({ source, cluster, topicId, partition }: Partition): string =>
  [source, cluster, topicId, partition].join('\n');

/** One batch of several: the lines of each stay where they are. */
function merged(stretches: readonly DecodedStretch[]): Batch {
  const all = emptyBatch();
  for (const { batch, of, from, next, messages, gaps } of stretches) {
    for (const name of [...EVIDENCE, 'faults', 'missedScrapes'] as const)
      for (const each of batch[name]) (all[name] as unknown[]).push(each);
    const last = messages.at(-1);
    all.consumed.push({
      ...of,
      from,
      next,
      gaps,
      messages: messages.length,
      lastMillis: last && Number(last.timestamp),
    });
  }
  return all;
}
