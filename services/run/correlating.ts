import type { DuckDBConnection } from '@duckdb/node-api';
import type { Store } from '../../shared/store/store.js';
import { type Correlated, correlate } from '../correlate/index.js';

/** A correlation under way may take so long when the service is to end. */
const GRACE_MS = 4_000;

/**
 * Correlates beside the commits, on a connection of its own: at most once in an interval, and again as long as there is something new. A commit never waits for it.
 */
export class Correlating {
  readonly #connection: DuckDBConnection;
  readonly #store: Store;
  readonly #intervalMs: number;
  readonly #onCorrelated: (correlated: Correlated, seconds: number) => void;
  #committed: bigint;
  #running: Promise<void> | undefined;
  #stopping = false;
  #wake: () => void = () => {};
  /** Up to which commit everything was correlated. */
  upTo = 0n;
  /** Settles with what made it fail. */
  readonly dead: Promise<Error>;
  #died: (cause: Error) => void = () => {};

  private constructor(
    store: Store,
    connection: DuckDBConnection,
    committed: bigint,
    intervalMs: number,
    onCorrelated: (correlated: Correlated, seconds: number) => void,
  ) {
    this.#store = store;
    this.#connection = connection;
    this.#committed = committed;
    this.#intervalMs = intervalMs;
    this.#onCorrelated = onCorrelated;
    this.dead = new Promise((resolve) => {
      this.#died = resolve;
    });
  }

  /** Starts with what was committed before and not correlated yet. */
  static async start(
    store: Store,
    intervalMs: number,
    onCorrelated: (correlated: Correlated, seconds: number) => void,
  ): Promise<Correlating> {
    const connection = await store.instance.connect();
    const found = await connection.runAndReadAll('SELECT coalesce(max(commit_seq), 0) FROM _store.commits');
    const started = new Correlating(store, connection, found.getRows()[0]![0] as bigint, intervalMs, onCorrelated);
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

  /** Waits until all that was committed is correlated. */
  async caughtUp(): Promise<void> {
    while (this.behind > 0n) {
      this.#wake();
      await this.#running;
    }
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
    this.#running ??= this.#run()
      .catch((cause: Error) => {
        if (!this.#stopping) this.#died(cause);
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #run(): Promise<void> {
    while (!this.#stopping && this.behind > 0n) {
      const started = performance.now();
      await this.#once();
      const left = this.#intervalMs - (performance.now() - started);
      if (left > 0) await this.#pause(left);
    }
  }

  async #once(): Promise<void> {
    const started = performance.now();
    const target = this.#committed;
    const correlated = await correlate(
      { connection: this.#connection, ledger: this.#store.ledger },
      { endOfInput: false },
    );
    this.upTo = target;
    this.#onCorrelated(correlated, (performance.now() - started) / 1000);
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
