import type { Consumer } from 'kafkajs';
import { log } from '../../../shared/log.js';

/** Kafka learns of stored offsets so often: they are a witness beside the store, not what reading goes on from. */
const EVERY_MS = 500;

/**
 * Commits offsets to Kafka after DuckDB has them, with the store's id and commit number as metadata: should the file lose commits, the group still says how far it was.
 * An offset that cannot be committed (the group is rebalancing) goes with the next.
 */
export class Committer {
  readonly #consumer: Consumer;
  readonly #topic: string;
  readonly #storeId: string;
  readonly #waiting = new Map<number, { offset: bigint; commitSeq: bigint }>();
  #running: Promise<void> | undefined;
  #ended = false;

  constructor(consumer: Consumer, topic: string, storeId: string) {
    this.#consumer = consumer;
    this.#topic = topic;
    this.#storeId = storeId;
  }

  note(partition: number, offset: bigint, commitSeq: bigint): void {
    this.#waiting.set(partition, { offset, commitSeq });
    this.#running ??= this.#commitWaiting();
  }

  /** Commits what is left. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#running;
    await this.#commit();
  }

  async #commitWaiting(): Promise<void> {
    while (this.#waiting.size > 0 && !this.#ended) {
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
      await this.#commit();
    }
    this.#running = undefined;
  }

  async #commit(): Promise<void> {
    const offsets = [...this.#waiting].map(([partition, { offset, commitSeq }]) => ({
      topic: this.#topic,
      partition,
      offset: String(offset),
      metadata: metadataOf({ storeId: this.#storeId, commitSeq }),
    }));
    if (offsets.length === 0) return;
    const taken = new Map(this.#waiting);
    this.#waiting.clear();
    try {
      await this.#consumer.commitOffsets(offsets);
    } catch (cause) {
      for (const [partition, each] of taken) if (!this.#waiting.has(partition)) this.#waiting.set(partition, each);
      log('info', 'offsets not committed to Kafka yet', { topic: this.#topic, why: (cause as Error).message });
    }
  }
}

/** What a committed offset says of the store that it stands in. */
export interface Witness {
  readonly storeId: string;
  readonly commitSeq: bigint;
}

const metadataOf = ({ storeId, commitSeq }: Witness): string => `causeline ${storeId} ${commitSeq}`;

export function witnessOf(metadata: string | null | undefined): Witness | undefined {
  const [, storeId, commitSeq] = /^causeline (\S+) (\d+)$/.exec(metadata ?? '') ?? [];
  return storeId && commitSeq ? { storeId, commitSeq: BigInt(commitSeq) } : undefined;
}
