import { log } from '../../shared/log.js';
import type { Partition } from '../../shared/store/positions.js';
import type { Store } from '../../shared/store/store.js';
import { type Death, type Reading, SourceConsumer } from '../collect/kafka/consumer.js';
import type { Stretch } from '../collect/kafka/offsets.js';
import type { Sink } from '../collect/kafka/sink.js';
import { describeTopic, type Topic } from '../collect/kafka/topic.js';
import type { Lag } from './figures.js';

/** How often the broker is asked for topics that do not exist yet, for topics that were made again, and for how far it is. */
const ASK_EVERY_MS = 2_000;

/** A partition that must be read up to an offset. */
interface Goal {
  readonly partition: number;
  readonly offset: bigint;
}

/**
 * Keeps one source read: waits for its topic, starts a consumer, starts another where the topic was deleted and made again. It settles when it is stopped, and
 * throws what killed its consumer.
 */
export class Reader {
  readonly settings: Reading;
  readonly #store: Store;
  readonly #sink: Sink;
  readonly #stopped: Promise<'stopped'>;
  #stop: (word: 'stopped') => void = () => {};
  #consumer: SourceConsumer | undefined;
  #redelivered = 0;
  /** The broker said that there is no such topic. */
  #missing = false;
  lags: readonly Lag[] = [];
  /** When offsets were last stored, or there was nothing to store. */
  progressMillis = Date.now();
  /** When the broker answered last, and since when it has without a failure. */
  #answeredMillis = Date.now();
  #backMillis = Date.now();
  /** Why the broker did not answer last; undefined when it did. */
  trouble: string | undefined = 'not asked yet';

  constructor(settings: Reading, store: Store, sink: Sink) {
    this.settings = settings;
    this.#store = store;
    this.#sink = sink;
    this.#stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
  }

  /** Messages that came a second time. */
  get redelivered(): number {
    return this.#redelivered + (this.#consumer?.redelivered ?? 0);
  }

  /** Reads until it is stopped. Throws what killed the consumer for good. */
  async run(): Promise<void> {
    for (;;) {
      const topic = await this.#existing();
      if (!topic) return;
      const consumer = await SourceConsumer.start(this.settings, topic, this.#sink, this.#store);
      this.#consumer = consumer;
      const end = await this.#watch(consumer);
      await consumer.stop().catch((cause: Error) => this.#log('info', 'left its group unheard', cause));
      this.#redelivered += consumer.redelivered;
      this.#consumer = undefined;
      if (end === 'stopped') return;
      if (end !== 'renewed' && !end.again) throw end.cause;
      if (end !== 'renewed') this.#log('warn', 'reads anew', end.cause);
    }
  }

  stop(): void {
    this.#stop('stopped');
  }

  /** A stretch was stored. */
  stored(stretch: Stretch, commitSeq: bigint): void {
    if (!this.#consumer?.reads(stretch.of)) return;
    this.progressMillis = Date.now();
    this.#consumer.stored(stretch, commitSeq);
  }

  /** What the topic holds now, as goals to be read up to; none where there is no such topic. Waits for a broker that answers. */
  async goals(): Promise<Goal[]> {
    for (;;) {
      const topic = await this.#ask();
      if (topic || this.#missing)
        return [...(topic?.partitions ?? [])].map(([partition, { high }]) => ({ partition, offset: high }));
      if ((await this.#pause()) === 'stopped') return [];
    }
  }

  /** Is all of this accepted by the sink? */
  reached(goals: readonly Goal[]): boolean {
    const consumer = this.#consumer;
    return (
      goals.length === 0 || (consumer !== undefined && goals.every((g) => consumer.expected(g.partition) >= g.offset))
    );
  }

  /** How long no heartbeat was answered, where a consumer runs, while the broker answered others. */
  get silentMillis(): number {
    return this.#consumer ? this.#answeredFor(this.#consumer.lastHeartbeat) : 0;
  }

  /** How long nothing was stored while the broker answered. */
  get idleMillis(): number {
    return this.#answeredFor(this.progressMillis);
  }

  /** A broker that comes back finds consumers that still wait before they try it again: what it was away does not count. */
  #answeredFor(sinceMillis: number): number {
    return Math.max(0, this.#answeredMillis - Math.max(sinceMillis, this.#backMillis));
  }

  /** The whole process stood still for so long: that is nobody's silence. */
  forgive(millis: number): void {
    this.progressMillis += millis;
    if (this.#consumer) this.#consumer.lastHeartbeat += millis;
  }

  async #existing(): Promise<Topic | undefined> {
    for (let said = false; ; said = true) {
      const topic = await this.#ask();
      if (topic) return topic;
      if (!said) log('info', 'waits for a topic', { source: this.settings.name, topic: this.settings.topic });
      if ((await this.#pause()) === 'stopped') return undefined;
    }
  }

  async #watch(consumer: SourceConsumer): Promise<'stopped' | 'renewed' | Death> {
    for (;;) {
      const end = await Promise.race([consumer.dead, this.#pause()]);
      if (end) return end;
      const topic = await this.#ask();
      if (topic && topic.id !== consumer.topic.id) {
        log('warn', 'the topic was made again', { topic: topic.name, was: consumer.topic.id, is: topic.id });
        return 'renewed';
      }
      if (topic) this.#measure(consumer, topic);
    }
  }

  #measure(consumer: SourceConsumer, topic: Topic): void {
    this.lags = [...topic.partitions].map(([number, { high, low }]) => {
      const partition: Partition = consumer.partition(number);
      const unread = { from: consumer.expected(number), to: high };
      if (unread.from < low) unread.from = low;
      if (low === high) consumer.noteEmptied(number, low);
      return { partition, behind: unread.to > unread.from ? unread.to - unread.from : 0n };
    });
    if (this.lags.every(({ behind }) => behind === 0n)) this.progressMillis = Date.now();
  }

  async #ask(): Promise<Topic | undefined> {
    try {
      const topic = await describeTopic(this.settings.kafka, this.settings.topic);
      this.#answeredMillis = Date.now();
      if (this.trouble) this.#backMillis = this.#answeredMillis;
      this.#missing = topic === undefined;
      this.trouble = topic ? undefined : `there is no topic ${this.settings.topic}`;
      return topic;
    } catch (cause) {
      const { message } = cause as Error;
      if (this.trouble !== message) this.#log('warn', 'the broker does not answer', cause as Error);
      this.#missing = false;
      this.trouble = message;
      return undefined;
    }
  }

  #log(level: 'info' | 'warn', what: string, cause: Error): void {
    log(level, what, { source: this.settings.name, why: cause.message });
  }

  async #pause(): Promise<'stopped' | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const passed = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), ASK_EVERY_MS);
    });
    const end = await Promise.race([this.#stopped, passed]);
    clearTimeout(timer);
    return end;
  }
}
