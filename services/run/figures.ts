import type { Partition } from '../../shared/store/positions.js';
import type { Stored } from '../collect/kafka/sink.js';
import type { Correlated } from '../correlate/index.js';

/** Counts by name: reason, source, cause. */
export class Counts {
  readonly #counts = new Map<string, number>();

  add(name: string, count: number): void {
    if (count > 0) this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  entries(): IterableIterator<[string, number]> {
    return this.#counts.entries();
  }
}

/** How far one partition is behind: offsets that the broker has and the store does not. */
export interface Lag {
  readonly partition: Partition;
  readonly behind: bigint;
}

/** What a running service counts, since it started. Telemetry reads it; nothing else depends on it. */
export class Figures {
  readonly rows = new Counts();
  readonly messages = new Counts();
  readonly quarantined = new Counts();
  readonly skipped = new Counts();
  readonly gaps = new Counts();
  readonly revisions = new Counts();
  duplicates = 0;
  conflicts = 0;
  commits = 0;
  correlations = 0;
  /** Broker time of the newest message that is stored. */
  newestMillis: number | undefined;
  lags: readonly Lag[] = [];

  stored(stored: Stored): void {
    this.commits += 1;
    this.duplicates += stored.duplicates;
    this.conflicts += stored.conflicts;
    for (const [source, count] of Object.entries(stored.stored)) this.rows.add(source, count);
    for (const { of, messages, gaps, batch, skipped } of stored.stretches) {
      this.messages.add(of.source, messages.length);
      for (const { from, to, cause } of gaps) this.gaps.add(cause, Number(to - from));
      for (const { fault } of batch.faults) this.quarantined.add(fault.reason, 1);
      for (const [reason, count] of skipped) this.skipped.add(reason, count);
      const last = messages.at(-1);
      if (last) this.newestMillis = Math.max(this.newestMillis ?? 0, Number(last.timestamp));
    }
  }

  correlated({ recorded }: Correlated): void {
    this.correlations += 1;
    for (const [kind, count] of Object.entries(recorded.chains)) this.revisions.add(kind, count);
  }
}
