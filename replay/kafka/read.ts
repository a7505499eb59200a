import { randomBytes } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { type Collected, countCommitted, nothingCollected } from '../../services/collect/index.js';
import { consumerOf, type Reading } from '../../services/collect/kafka/consumer.js';
import { decodeStretch } from '../../services/collect/kafka/decode.js';
import { hasJump, type Stretch, stretches } from '../../services/collect/kafka/offsets.js';
import { describeTopic, type Topic } from '../../services/collect/kafka/topic.js';
import { registerCodecs } from '../../shared/kafka/codecs.js';
import type { Gap, Partition } from '../../shared/store/positions.js';
import { emptyBatch, type Store } from '../../shared/store/store.js';

/** Broker time, milliseconds; the start of the topic and its end as it is now where they are left out. */
export interface TimeRange {
  readonly fromMillis?: number;
  readonly toMillis?: number;
}

/** What was read of Kafka, and what could not be. */
export interface Read {
  readonly collected: Collected;
  readonly ignored: ReadonlyMap<string, number>;
}

/** Offsets of one partition that are asked for. */
interface Range {
  readonly of: Partition;
  readonly from: bigint;
  readonly to: bigint;
  next: bigint;
  rows: number;
  quarantined: number;
  readonly skipped: Record<string, number>;
  readonly gaps: Gap[];
}

/** Reads a time range of the topics into a store; nothing is committed to Kafka, and the store's own positions stay. Reading it again changes nothing. */
export async function readRange(
  store: Store,
  readings: readonly Reading[],
  range: TimeRange,
  onProgress: (messages: number) => void = () => {},
): Promise<Read> {
  registerCodecs();
  const collected = nothingCollected();
  const ignored = new Map<string, number>();
  for (const reading of readings) {
    const topic = await describeTopic(reading.kafka, reading.topic);
    if (!topic) ignored.set(`there is no topic ${reading.topic}`, 1);
    else await new TopicReader(store, reading, topic, collected, onProgress).read(range);
  }
  return { collected, ignored };
}

class TopicReader {
  readonly #store: Store;
  readonly #reading: Reading;
  readonly #topic: Topic;
  readonly #collected: Collected;
  readonly #onProgress: (messages: number) => void;
  #ranges = new Map<number, Range>();
  #messages = 0;

  constructor(
    store: Store,
    reading: Reading,
    topic: Topic,
    collected: Collected,
    onProgress: (messages: number) => void,
  ) {
    this.#store = store;
    this.#reading = reading;
    this.#topic = topic;
    this.#collected = collected;
    this.#onProgress = onProgress;
  }

  async read(range: TimeRange): Promise<void> {
    this.#ranges = await rangesOf(this.#reading, this.#topic, range);
    if (!this.#isDone()) await this.#consume();
    for (const each of this.#ranges.values()) await this.#finish(each);
  }

  #isDone(): boolean {
    return [...this.#ranges.values()].every(({ next, to }) => next >= to);
  }

  /** In a group that nobody else has and that is gone afterwards. */
  async #consume(): Promise<void> {
    const group = `${this.#reading.group}-replay-${randomBytes(6).toString('hex')}`;
    const consumer = consumerOf({ ...this.#reading, group });
    const { GROUP_JOIN, CRASH, START_BATCH_PROCESS } = consumer.events;
    const topic = this.#topic.name;
    const done = new Promise<void>((resolve, reject) => {
      const check = () => this.#isDone() && resolve();
      consumer.on(CRASH, ({ payload }) => !payload.restart && reject(payload.error));
      consumer.on(GROUP_JOIN, () => {
        for (const { of, next } of this.#ranges.values())
          consumer.seek({ topic, partition: of.partition, offset: String(next) });
      });
      consumer.on(START_BATCH_PROCESS, ({ payload: { batchSize, partition, lastOffset } }) => {
        if (batchSize === 0) this.#ranges.get(partition)!.next = BigInt(lastOffset) + 1n;
        check();
      });
      const run = async () => {
        await consumer.connect();
        await consumer.subscribe({ topics: [topic], fromBeginning: true });
        await consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
            const own = this.#ranges.get(batch.partition)!;
            const low = this.#topic.partitions.get(batch.partition)!.low;
            const jumps = hasJump(batch, own.next) ? { low, compacted: this.#topic.compacted } : undefined;
            for (const stretch of stretches(own.of, batch, own.next, jumps)) {
              if (own.next < own.to) await this.#commit(own, within(stretch, own.to));
              resolveOffset(String(stretch.next - 1n));
              await heartbeat();
            }
            resolveOffset(batch.lastOffset());
            check();
          },
        });
      };
      run().catch(reject);
    });
    try {
      await done;
    } finally {
      await consumer.disconnect();
      await deleteGroup(this.#reading.kafka, group);
    }
  }

  async #commit(own: Range, stretch: Stretch): Promise<void> {
    const { batch, skipped } = await decodeStretch(this.#store, stretch, this.#reading.source, emptyBatch());
    const { evidence } = this.#reading.source;
    countCommitted(this.#collected, await this.#store.commit(batch));
    own.next = stretch.next;
    own.rows += batch[evidence].length;
    own.quarantined += batch.faults.length;
    own.gaps.push(...stretch.gaps);
    for (const [reason, count] of skipped) own.skipped[reason] = (own.skipped[reason] ?? 0) + count;
    this.#collected.missedScrapes += batch.missedScrapes.length;
    this.#messages += stretch.messages.length;
    this.#onProgress(this.#messages);
  }

  /** The range is an input of the store, as a file is. */
  async #finish({ of, from, to, rows, quarantined, skipped, gaps }: Range): Promise<void> {
    const { evidence: source } = this.#reading.source;
    const missing = gaps.map((gap) => `offsets ${gap.from} to ${gap.to - 1n}: ${gap.cause}`);
    const sourceId = `${of.topic}/${of.partition}/${from}-${to}`;
    const batch = emptyBatch();
    batch.inputs.push({ source, sourceId, rows, quarantined, skipped, notes: missing.join('; ') || null });
    await this.#store.commit(batch);
    this.#collected.files += 1;
    this.#collected.read[source] += rows;
    this.#collected.quarantined += quarantined;
    for (const [reason, count] of Object.entries(skipped))
      this.#collected.skipped[reason] = (this.#collected.skipped[reason] ?? 0) + count;
  }
}

async function rangesOf(
  { kafka, source }: Reading,
  { cluster, name, id, partitions }: Topic,
  { fromMillis, toMillis }: TimeRange,
): Promise<Map<number, Range>> {
  const starts = fromMillis === undefined ? undefined : await offsetsAt(kafka, name, fromMillis);
  const ends = toMillis === undefined ? undefined : await offsetsAt(kafka, name, toMillis);
  return new Map(
    [...partitions].map(([partition, { low, high }]) => {
      const from = starts?.get(partition) ?? low;
      const to = ends?.get(partition) ?? high;
      const of = { source: source.evidence, cluster, topic: name, topicId: id, partition };
      return [partition, { of, from, to, next: from, rows: 0, quarantined: 0, skipped: {}, gaps: [] }];
    }),
  );
}

/** The first offset of each partition from a time on; its end where there is none. */
async function offsetsAt(kafka: Kafka, topic: string, millis: number): Promise<Map<number, bigint>> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const offsets = await admin.fetchTopicOffsetsByTimestamp(topic, millis);
    return new Map(offsets.map(({ partition, offset }) => [partition, BigInt(offset)]));
  } finally {
    await admin.disconnect();
  }
}

/** The part of a stretch before an offset. */
function within(stretch: Stretch, end: bigint): Stretch {
  if (stretch.next <= end) return stretch;
  return {
    ...stretch,
    next: end,
    messages: stretch.messages.filter(({ offset }) => BigInt(offset) < end),
    gaps: stretch.gaps.filter(({ from }) => from < end),
  };
}

async function deleteGroup(kafka: Kafka, group: string): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  await admin.deleteGroups([group]).catch(() => {}); // a broker forgets an empty group by itself
  await admin.disconnect();
}
