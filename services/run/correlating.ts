import type { DuckDBConnection } from '@duckdb/node-api';
import { connectTo } from '../../shared/store/open.js';
import type { Store } from '../../shared/store/store.js';
import { isFull, isOutOfMemory, RETRY_MS } from '../../shared/store/trouble.js';
import { traced } from '../../shared/traced.js';
import { type Correlated, correlate } from '../correlate/index.js';

export interface CorrelatingHooks {
  onCorrelated(correlated: Correlated, seconds: number): void;
  /** There was not enough memory: whoever else uses the store gives way. */
  onPressure(): void;
}

/** What keeps failing for so long for want of memory, or breaks off for a cause that DuckDB does not tell, is no pressure of others. */
const GIVES_UP_MS = 300_000;

/** A correlation under way may take so long when the service is to end. */
const GRACE_MS = 4_000;

/**
 * Correlates beside the commits, on a connection of its own: at most once in an interval and half of the time, and again as long as there is something new. A commit never waits for it.
 */
export class Correlating {
  readonly #connection: DuckDBConnection;
  readonly #store: Store;
  readonly #intervalMs: number;
  readonly #hooks: CorrelatingHooks;
  readonly #givesUpMs: number;
  /** When the first of the last correlations that failed did. */
  #failingSince: number | undefined;
  #committed: bigint;
  #running: Promise<void> | undefined;
  #stopping = false;
  /** Somebody waits for the end: no pause between two correlations. */
  #hurried = false;
  #wake: () => void = () => {};
  /** Up to which commit everything was correlated. */
  upTo = 0n;
  /** Why the last correlation came to nothing and is tried again. */
  trouble: string | undefined;
  /** Settles with what made it fail. */
  readonly dead: Promise<Error>;
  #died: (cause: Error) => void = () => {};

  private constructor(
    store: Store,
    connection: DuckDBConnection,
    committed: bigint,
    intervalMs: number,
    hooks: CorrelatingHooks,
    givesUpMs: number,
  ) {
    this.#store = store;
    this.#connection = connection;
    this.#committed = committed;
    this.#intervalMs = intervalMs;
    this.#hooks = hooks;
    this.#givesUpMs = givesUpMs;
    this.dead = new Promise((resolve) => {
      this.#died = resolve;
    });
  }

  /** Starts with what was committed before and not correlated yet. */
  static async start(
    store: Store,
    intervalMs: number,
    hooks: CorrelatingHooks,
    givesUpMs = GIVES_UP_MS,
  ): Promise<Correlating> {
    const connection = await connectTo(store);
    const found = await connection.runAndReadAll('SELECT coalesce(max(commit_seq), 0) FROM _store.commits');
    const started = new Correlating(store, connection, found.getRows()[0]![0] as bigint, intervalMs, hooks, givesUpMs);
    started.#begin();
    return started;
  }

  /** There is a new commit. */
  note(commitSeq: bigint): void {
    this.#committed = commitSeq;
    this.#begin();
  }

  /** Commits that are not correlated yet. */
  get behind(): bigint {
    return this.#committed - this.upTo;
  }

  /** Waits until all that was committed is correlated, or nothing is correlated any more. */
  async caughtUp(): Promise<void> {
    this.#hurried = true;
    this.#wake();
    while (this.#running) await this.#running;
  }

  /** Ends soon: what is left is correlated at the next start, for its marks are in the store. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake();
    const late = setTimeout(() => this.#connection.interrupt(), GRACE_MS);
    await this.#running;
    clearTimeout(late);
    this.#connection.closeSync();
  }

  #begin(): void {
    if (this.behind > 0n && !this.#stopping) this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    try {
      while (!this.#stopping && this.behind > 0n) {
        const started = performance.now();
        await this.#once();
        const took = performance.now() - started;
        if (!this.#hurried) await this.#pause(Math.max(this.#intervalMs - took, took));
      }
    } catch (cause) {
      if (!this.#stopping) this.#died(cause as Error);
      this.#stopping = true;
    }
    this.#running = undefined; // in one step with the last look at what is behind: whoever comes after it begins anew
  }

  async #once(): Promise<void> {
    const started = performance.now();
    const target = this.#committed;
    const { instance, ledger } = this.#store;
    const store = { instance, ledger, connection: this.#connection };
    try {
      const correlated = await traced('correlate', {}, () => correlate(store, { endOfInput: false }));
      this.trouble = undefined;
      this.#failingSince = undefined;
      this.upTo = target;
      this.#hooks.onCorrelated(correlated, (performance.now() - started) / 1000);
    } catch (cause) {
      if (isFull(cause)) this.#failingSince = undefined;
      else if (isOutOfMemory(cause) && !this.#hasFailedLong()) this.#hooks.onPressure();
      else throw cause;
      this.trouble = (cause as Error).message;
      await this.#pause(RETRY_MS);
    }
  }

  #hasFailedLong(): boolean {
    this.#failingSince ??= performance.now();
    return performance.now() - this.#failingSince >= this.#givesUpMs;
  }

  async #pause(millis: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, millis);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
