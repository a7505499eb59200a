import type { DuckDBConnection } from '@duckdb/node-api';
import { CompressionTypes, type Kafka, Partitioners, type Producer } from 'kafkajs';
import { inParts } from '../../shared/kafka/parts.js';
import { createTopics } from '../../shared/kafka/topics.js';
import { log } from '../../shared/log.js';
import { readWholeRevisions, type WholeRevision } from '../../shared/store/derived.js';
import { connectTo } from '../../shared/store/open.js';
import type { Store } from '../../shared/store/store.js';

/** What a chain's revision looks like on Kafka: CloudEvents 1.0, structured mode. */
export interface ChainEvent {
  readonly specversion: '1.0';
  /** Chain and revision: the same one has the same id, however often it is sent. */
  readonly id: string;
  readonly source: string;
  readonly type: 'causeline.chain.revision';
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: 'application/json';
  readonly data: WholeRevision;
}

const RETRY_MS = 5_000;

/** Sends each revision to a topic at least once, in the order in which they were recorded; the store knows up to which they were sent. */
export class Publisher {
  readonly #kafka: Kafka;
  readonly #topic: string;
  readonly #storeId: string;
  readonly #connection: DuckDBConnection;
  readonly #producer: Producer;
  #connected = false;
  #wanted = false;
  #attempt: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;

  private constructor(kafka: Kafka, topic: string, storeId: string, connection: DuckDBConnection) {
    this.#kafka = kafka;
    this.#topic = topic;
    this.#storeId = storeId;
    this.#connection = connection;
    this.#producer = kafka.producer({
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
    });
  }

  static async open(kafka: Kafka, topic: string, store: Store): Promise<Publisher> {
    return new Publisher(kafka, topic, store.storeId, await connectTo(store));
  }

  /** There may be something to send; it is sent beside everything else. */
  note(): void {
    this.#wanted = true;
    if (!this.#retry) this.#attempt ??= this.#sendWanted();
  }

  /** Waits until all that is recorded was sent, or could not be: then it is tried again, by the next start too. */
  async attempted(): Promise<void> {
    await this.#attempt;
  }

  async stop(): Promise<void> {
    clearTimeout(this.#retry);
    await Promise.race([this.#attempt, new Promise((resolve) => setTimeout(resolve, RETRY_MS / 2))]);
    if (this.#connected) await this.#producer.disconnect();
    this.#connection.closeSync();
  }

  async #sendWanted(): Promise<void> {
    while (this.#wanted && !this.#retry) {
      this.#wanted = false;
      await this.#sendNew().catch((cause: Error) => this.#later(cause));
    }
    this.#attempt = undefined; // in one step with the last look at what is wanted
  }

  #later(cause: Error): void {
    log('warn', 'revisions not sent to Kafka yet', { topic: this.#topic, why: cause.message });
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.note();
    }, RETRY_MS).unref();
  }

  async #sendNew(): Promise<void> {
    const found = await this.#connection.runAndReadAll('SELECT coalesce(max(derived_seq), 0) FROM _store.published');
    const revisions = await readWholeRevisions(this.#connection, 'r.derived_seq > ?', [
      found.getRows()[0]![0] as bigint,
    ]);
    if (revisions.length === 0) return;
    await this.#connect();
    for (const part of inParts(revisions.map((revision) => this.#messageOf(revision))))
      await this.#producer.send({ topic: this.#topic, acks: -1, compression: CompressionTypes.GZIP, messages: part });
    const last = Math.max(...revisions.map(({ derivedSeq }) => derivedSeq));
    await this.#sentUpTo(BigInt(last));
  }

  #messageOf(revision: WholeRevision): { key: string; value: string; headers: Record<string, string> } {
    return {
      key: revision.chain.id,
      value: JSON.stringify(chainEvent(revision, this.#storeId)),
      headers: { 'content-type': 'application/cloudevents+json; charset=UTF-8' },
    };
  }

  async #sentUpTo(derivedSeq: bigint): Promise<void> {
    await this.#connection.run('INSERT INTO _store.published VALUES ($1)', [derivedSeq]);
    await this.#connection.run('DELETE FROM _store.published WHERE derived_seq < $1', [derivedSeq]);
  }

  async #connect(): Promise<void> {
    if (this.#connected) return;
    await createTopics(this.#kafka, [this.#topic]);
    await this.#producer.connect();
    this.#connected = true;
  }
}

export function chainEvent(revision: WholeRevision, storeId: string): ChainEvent {
  return {
    specversion: '1.0',
    id: `${revision.chain.id}/r${revision.revision}`,
    source: `urn:causeline:store:${storeId}`,
    type: 'causeline.chain.revision',
    subject: revision.chain.id,
    time: new Date(revision.recordedMicros / 1000).toISOString(),
    datacontenttype: 'application/json',
    data: revision,
  };
}
