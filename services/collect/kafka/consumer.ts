import kafkajs, { type Consumer, type EachBatchPayload, type Kafka } from 'kafkajs';
import { log } from '../../../shared/log.js';
import { type Gap, type Partition, type Position, positionsOf } from '../../../shared/store/positions.js';
import type { Store } from '../../../shared/store/store.js';
import type { Row, Source } from '../source.js';
import { Committer } from './committer.js';
import { decodedGaps } from './decode.js';
import { filteredGaps, hasJump, type Jumps, type Stretch, startsBefore, stretches } from './offsets.js';
import type { Sink } from './sink.js';
import { describeTopic, partitionOf, type Topic } from './topic.js';

const { KafkaJSError } = kafkajs;

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

/** What ended a consumer. `again`: another one may go on, from where the store stands, once the broker was asked how the topic is now. */
export interface Death {
  readonly cause: Error;
  readonly again: boolean;
}

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
  /** What is under way in each partition: kafkajs tells of batches without a message for us beside the others. */
  readonly #turns = new Map<number, Promise<void>>();
  #stopping: Promise<void> | undefined;
  #died: (death: Death) => void = () => {};
  /** Settles with what killed the consumer. */
  readonly dead: Promise<Death> = new Promise((resolve) => {
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

  /** Joins the group and begins to read. A broker that does not let it is its death. */
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
    await started.#run().catch((cause: Error) => started.#died({ cause, again: isPassing(cause) }));
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

  /** Where reading of a partition begins that the store does not know. */
  #firstOf(number: number): bigint {
    return this.topic.partitions.get(number)?.low ?? 0n;
  }

  /** A partition that holds nothing, and lost what was expected next: no batch will tell of it. */
  noteEmptied(number: number, low: bigint): void {
    this.#aside(number, async () => {
      const from = this.expected(number);
      if (from < low) this.#accept(number, from, low, [{ from, to: low, cause: 'retention' }]);
    });
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
    this.#stopping = this.#tellKafka();
    await this.#stopping;
    await this.#consumer.disconnect();
  }

  /** While it is still in the group: who has left it can commit nothing. */
  async #tellKafka(): Promise<void> {
    await this.#sink.drained().catch(() => {}); // the service hears of it too
    await this.#committer.end();
  }

  async #run(): Promise<void> {
    const consumer = this.#consumer;
    const { GROUP_JOIN, CRASH, HEARTBEAT, START_BATCH_PROCESS } = consumer.events;
    consumer.on(GROUP_JOIN, ({ payload }) => this.#seek(payload.memberAssignment[this.topic.name] ?? []));
    consumer.on(CRASH, ({ payload }) => this.#died({ cause: payload.error, again: isPassing(payload.error) }));
    consumer.on(HEARTBEAT, () => {
      this.lastHeartbeat = Date.now();
    });
    consumer.on(START_BATCH_PROCESS, ({ payload }) => {
      if (payload.batchSize === 0) this.#aside(payload.partition, async () => this.#skip(payload));
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [this.topic.name], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
      eachBatch: (payload) => this.#inTurn(payload.batch.partition, () => this.#read(payload)),
    });
  }

  /** The store knows where reading goes on, whatever the group says. */
  #seek(partitions: readonly number[]): void {
    for (const partition of partitions) {
      const offset = this.expected(partition);
      if (this.#sink.expected(this.partition(partition)) === undefined) this.#accept(partition, offset, offset, []);
      this.#consumer.seek({ topic: this.topic.name, partition, offset: String(offset) });
    }
    log('info', 'reads', { source: this.settings.name, topic: this.topic.name, partitions: partitions.join() });
  }

  /** One after the other in each partition. What fails ends the consumer: kafkajs knows what to do about its own errors, and would try all others for ever. */
  #inTurn(partition: number, work: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(partition) ?? Promise.resolve()).then(work);
    const settled = turn.catch((cause: Error) => {
      if (cause instanceof TopicMoved) this.#died({ cause, again: true });
      else if (!(cause instanceof KafkaJSError)) this.#died({ cause, again: false });
    });
    this.#turns.set(partition, settled);
    return turn;
  }

  /** In turn too, but kafkajs does not wait for it. */
  #aside(partition: number, work: () => Promise<void>): void {
    this.#inTurn(partition, work).catch((cause: Error) => this.#died({ cause, again: true }));
  }

  async #read({ batch, resolveOffset, heartbeat, isRunning, isStale }: EachBatchPayload): Promise<void> {
    const expected = this.expected(batch.partition);
    if (startsBefore(batch, expected)) await this.#stillHolds(batch.partition, expected);
    this.redelivered += batch.messages.filter(({ offset }) => BigInt(offset) < expected).length;
    const jumps = hasJump(batch, expected) ? await this.#jumps(batch.partition) : undefined;
    for (const stretch of stretches(this.partition(batch.partition), batch, expected, jumps)) {
      await this.#room(heartbeat);
      if (this.#stopping) return this.#stopping;
      const decoded = await this.#sink.decode(stretch, this.settings.source);
      if (this.#stopping) return this.#stopping;
      if (!isRunning() || isStale()) return;
      this.#sink.accept(decoded);
      resolveOffset(String(stretch.next - 1n));
      await heartbeat();
    }
    resolveOffset(batch.lastOffset());
  }

  #accept(partition: number, from: bigint, next: bigint, gaps: readonly Gap[]): void {
    this.#sink.accept(decodedGaps({ of: this.partition(partition), from, next, messages: [], gaps }));
  }

  /** While the store is behind, the consumer reads no more but stays in its group. */
  async #room(heartbeat: () => Promise<void>): Promise<void> {
    const room = this.#sink.room().then(() => true);
    while (!this.#stopping && !(await Promise.race([room, sleep(this.settings.sessionTimeoutMs / 10)])))
      await heartbeat();
  }

  /** What explains that offsets are missing: asked now, as retention goes on. */
  async #jumps(partition: number): Promise<Jumps> {
    const { low = 0n } = (await this.#topicNow()).partitions.get(partition) ?? {};
    return { low, compacted: this.topic.compacted };
  }

  /** Throws where the log of a partition was cut below what was read of it. */
  async #stillHolds(partition: number, expected: bigint): Promise<void> {
    const { high = 0n } = (await this.#topicNow()).partitions.get(partition) ?? {};
    if (high < expected) throw new TopicMoved(`${this.topic.name}/${partition} ends at ${high}, before ${expected}`);
  }

  async #topicNow(): Promise<Topic> {
    const now = await describeTopic(this.settings.kafka, this.topic.name);
    if (now?.id === this.topic.id) return now;
    throw new TopicMoved(`${this.topic.name} was deleted or made again`);
  }

  /** A batch of control records and aborted messages alone, or whose messages were all compacted away. */
  async #skip({ partition, firstOffset, lastOffset }: Filtered): Promise<void> {
    const from = this.expected(partition);
    const last = BigInt(lastOffset);
    if (last < from || this.#stopping) return;
    const first = firstOffset === null ? undefined : BigInt(firstOffset);
    const jumps = first === from ? undefined : await this.#jumps(partition);
    this.#accept(partition, from, last + 1n, filteredGaps(from, first, last, jumps));
  }
}

/** What kafkajs tells of a batch that it hands to nobody. */
interface Filtered {
  readonly partition: number;
  /** Null where there is none at or after the offset that was asked for. */
  readonly firstOffset: string | null;
  readonly lastOffset: string;
}

/** The topic is no longer the one that was read. */
class TopicMoved extends Error {}

/** As kafkajs itself sees it when a consumer crashes. */
function isPassing(cause: Error): boolean {
  if (cause.name === 'KafkaJSNumberOfRetriesExceeded') return true;
  let origin = cause;
  while (origin.cause instanceof Error) origin = origin.cause;
  return origin instanceof KafkaJSError && origin.retriable;
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
    // Whoever reads starts another one. One that started itself again beside it would keep its partitions, and read nothing.
    retry: { retries: RETRIES, restartOnFailure: async () => false },
  });
}

/** kafkajs' own default. */
const RETRIES = 5;

function sleep(millis: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), millis));
}
