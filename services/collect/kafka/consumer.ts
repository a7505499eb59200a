import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import { log } from '../../../shared/log.js';
import { type Partition, type Position, positionsOf } from '../../../shared/store/positions.js';
import type { Store } from '../../../shared/store/store.js';
import type { Row, Source } from '../source.js';
import { Committer } from './committer.js';
import { filteredGaps, hasJump, type Jumps, type Stretch, stretches } from './offsets.js';
import type { Sink } from './sink.js';
import { describeTopic, partitionOf, type Topic } from './topic.js';

/** What one source reads, and as whom. */
export interface Reading {
  readonly name: string;
  readonly source: Source<Row>;
  readonly kafka: Kafka;
  readonly topic: string;
  readonly group: string;
  readonly sessionTimeoutMs: number;
}

/** A long wait for the broker's answer delays a rebalance and the end by as much. */
const MAX_WAIT_MS = 200;

const BYTES_A_PARTITION = 2 * 1024 * 1024;

/** Partitions of one source that are decoded and stored side by side. */
const PARTITIONS_AT_ONCE = 4;

/**
 * Reads one topic into the sink, from where the store stands, in a consumer group of its own. It lives until it is stopped, dies, or its topic is made anew.
 */
export class SourceConsumer {
  readonly settings: Reading;
  readonly topic: Topic;
  readonly #sink: Sink;
  readonly #consumer: Consumer;
  readonly #committer: Committer;
  readonly #partitions = new Map<number, Partition>();
  readonly #known: readonly Position[];
  /** Batches of control records and aborted messages alone, which kafkajs does not hand out. */
  readonly #filtered = new Map<number, Promise<void>>();
  #died: (cause: Error) => void = () => {};
  /** Settles with what killed the consumer. */
  readonly dead: Promise<Error> = new Promise((resolve) => {
    this.#died = resolve;
  });
  /** Messages that came a second time and were left out. */
  redelivered = 0;
  lastHeartbeat = Date.now();

  private constructor(settings: Reading, topic: Topic, sink: Sink, storeId: string, known: readonly Position[]) {
    this.settings = settings;
    this.topic = topic;
    this.#sink = sink;
    this.#known = known;
    this.#consumer = consumerOf(settings);
    this.#committer = new Committer(this.#consumer, topic.name, storeId);
  }

  /** Joins the group and begins to read. */
  static async start(
    settings: Reading,
    topic: Topic,
    sink: Sink,
    store: Pick<Store, 'connection' | 'storeId'>,
  ): Promise<SourceConsumer> {
    const known = (await positionsOf(store.connection, settings.source.evidence)).filter(
      ({ cluster }) => cluster === topic.cluster,
    );
    sink.know(known);
    const started = new SourceConsumer(settings, topic, sink, store.storeId, known);
    await started.#run();
    return started;
  }

  /** The partition's name in the store. */
  partition(number: number): Partition {
    const known = this.#partitions.get(number);
    if (known) return known;
    const fresh = partitionOf(this.topic, this.settings.source.evidence, number, this.#known);
    this.#partitions.set(number, fresh);
    return fresh;
  }

  /** The offset that is expected next. A partition that was never read begins with what the broker has. */
  expected(number: number): bigint {
    return this.#sink.expected(this.partition(number)) ?? this.#firstOf(number);
  }

  /** Where reading of a partition begins that the store does not know: behind what an earlier generation of it held. */
  #firstOf(number: number): bigint {
    const bounds = this.topic.partitions.get(number);
    if (!bounds) return 0n;
    return this.partition(number).topicId.includes('+') ? bounds.high : bounds.low;
  }

  /** A stretch of this consumer was stored. */
  stored({ of, next }: Stretch, commitSeq: bigint): void {
    this.#committer.note(of.partition, next, commitSeq);
  }

  reads({ source, cluster, topic }: Partition): boolean {
    return source === this.settings.source.evidence && cluster === this.topic.cluster && topic === this.topic.name;
  }

  /** Stops reading, tells Kafka what is stored, and leaves the group. */
  async stop(): Promise<void> {
    await this.#consumer.stop();
    await this.#sink.drained().catch(() => {}); // who waits for the sink hears of it
    await this.#committer.end();
    await this.#consumer.disconnect();
  }

  async #run(): Promise<void> {
    const consumer = this.#consumer;
    const { GROUP_JOIN, CRASH, HEARTBEAT, START_BATCH_PROCESS } = consumer.events;
    consumer.on(GROUP_JOIN, ({ payload }) => this.#seek(payload.memberAssignment[this.topic.name] ?? []));
    consumer.on(CRASH, ({ payload }) => {
      if (!payload.restart) this.#died(payload.error);
    });
    consumer.on(HEARTBEAT, () => {
      this.lastHeartbeat = Date.now();
    });
    consumer.on(START_BATCH_PROCESS, ({ payload }) => {
      if (payload.batchSize === 0 && payload.firstOffset !== null) this.#skipFiltered(payload);
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [this.topic.name], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
      eachBatch: (payload) => this.#read(payload),
    });
  }

  /** The store knows where reading goes on, whatever the group says. */
  #seek(partitions: readonly number[]): void {
    for (const partition of partitions)
      this.#consumer.seek({ topic: this.topic.name, partition, offset: String(this.expected(partition)) });
    log('info', 'reads', { source: this.settings.name, topic: this.topic.name, partitions: partitions.join() });
  }

  async #read({ batch, resolveOffset, heartbeat, isRunning, isStale }: EachBatchPayload): Promise<void> {
    await this.#filtered.get(batch.partition);
    const expected = this.expected(batch.partition);
    this.redelivered += batch.messages.filter(({ offset }) => BigInt(offset) < expected).length;
    const jumps = hasJump(batch, expected) ? await this.#jumps(batch.partition) : undefined;
    for (const stretch of stretches(this.partition(batch.partition), batch, expected, jumps)) {
      await this.#room(heartbeat);
      if (!isRunning() || isStale()) return;
      this.#sink.accept(this.#sink.decode(stretch, this.settings.source));
      resolveOffset(String(stretch.next - 1n));
      await heartbeat();
    }
    resolveOffset(batch.lastOffset());
  }

  /** While the store is behind, the consumer reads no more but stays in its group. */
  async #room(heartbeat: () => Promise<void>): Promise<void> {
    const room = this.#sink.room().then(() => true);
    while (!(await Promise.race([room, sleep(this.settings.sessionTimeoutMs / 10)]))) await heartbeat();
  }

  /** What explains that offsets are missing: asked now, as retention goes on. */
  async #jumps(partition: number): Promise<Jumps> {
    const now = await describeTopic(this.settings.kafka, this.topic.name);
    return { low: now?.partitions.get(partition)?.low ?? 0n, compacted: this.topic.compacted };
  }

  #skipFiltered(filtered: { partition: number; firstOffset: string; lastOffset: string }): void {
    const before = this.#filtered.get(filtered.partition) ?? Promise.resolve();
    this.#filtered.set(filtered.partition, this.#acceptFiltered(before, filtered));
  }

  async #acceptFiltered(
    before: Promise<void>,
    { partition, firstOffset, lastOffset }: { partition: number; firstOffset: string; lastOffset: string },
  ): Promise<void> {
    await before;
    const from = this.expected(partition);
    const marker = BigInt(lastOffset);
    if (marker < from) return;
    const jumps = BigInt(firstOffset) > from ? await this.#jumps(partition) : undefined;
    const gaps = filteredGaps(from, BigInt(firstOffset), marker, jumps);
    const stretch = { of: this.partition(partition), from, next: marker + 1n, messages: [], gaps };
    this.#sink.accept(this.#sink.decode(stretch, this.settings.source));
  }
}

export function consumerOf({ kafka, group, sessionTimeoutMs }: Reading): Consumer {
  return kafka.consumer({
    groupId: group,
    sessionTimeout: sessionTimeoutMs,
    rebalanceTimeout: 2 * sessionTimeoutMs,
    heartbeatInterval: Math.max(100, sessionTimeoutMs / 10),
    maxWaitTimeInMs: MAX_WAIT_MS,
    maxBytesPerPartition: BYTES_A_PARTITION,
    allowAutoTopicCreation: false,
  });
}

function sleep(millis: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), millis));
}
