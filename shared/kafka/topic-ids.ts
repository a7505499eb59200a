import type { Kafka } from 'kafkajs';

/**
 * The ids of topics: a topic that is deleted and made again keeps its name and gets another id. They came with Kafka 2.8 (KIP-516), in Metadata requests of version 10;
 * kafkajs 2.2.4 speaks version 6 and has no call for a request of one's own, so this one is put into its cluster, which brings the connection, TLS and SASL.
 */
export async function topicIds(kafka: Kafka, topics: readonly string[]): Promise<Map<string, string>> {
  const cluster = clusterOf(kafka);
  await cluster.connect();
  try {
    await cluster.refreshMetadata();
    const broker = await cluster.findControllerBroker();
    return await broker.connectionPool.send(metadata(topics));
  } finally {
    await cluster.disconnect();
  }
}

interface Cluster {
  connect(): Promise<void>;
  refreshMetadata(): Promise<void>;
  disconnect(): Promise<void>;
  findControllerBroker(): Promise<{ connectionPool: { send<T>(protocol: Protocol<T>): Promise<T> } }>;
}

interface Protocol<T> {
  readonly request: {
    readonly apiKey: number;
    readonly apiVersion: number;
    readonly apiName: string;
    encode(): Promise<{ readonly buf: Buffer; readonly buffer: Buffer }>;
  };
  readonly response: { decode(bytes: Buffer): Promise<T>; parse(decoded: T): Promise<T> };
}

/** kafkajs keeps the way to its cluster under a symbol of its own. */
function clusterOf(kafka: Kafka): Cluster {
  const symbol = Object.getOwnPropertySymbols(kafka).find(({ description }) =>
    description?.endsWith('Kafka:createCluster'),
  );
  const create = (kafka as unknown as Record<symbol, (options: object) => Cluster>)[symbol!]!;
  return create({ allowAutoTopicCreation: false });
}

const METADATA = 3;
const VERSION = 10;

const metadata = (topics: readonly string[]): Protocol<Map<string, string>> => ({
  request: {
    apiKey: METADATA,
    apiVersion: VERSION,
    apiName: 'Metadata',
    encode: async () => {
      const bytes = request(topics);
      return { buf: bytes, buffer: bytes };
    },
  },
  response: { decode: async (bytes) => response(bytes), parse: async (decoded) => decoded },
});

/** Compact lengths are one more than the length; 0 ends what has no tagged fields. */
function request(topics: readonly string[]): Buffer {
  const parts = [NONE, unsigned(topics.length + 1)]; // the header's tagged fields come first
  for (const topic of topics) parts.push(NO_ID, unsigned(Buffer.byteLength(topic) + 1), Buffer.from(topic), NONE);
  parts.push(Buffer.from([0, 0, 0]), NONE); // do not create it, no authorized operations
  return Buffer.concat(parts);
}

const NONE = Buffer.from([0]);
const NO_ID = Buffer.alloc(16);

function unsigned(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** Topics that do not exist are left out. */
function response(bytes: Buffer): Map<string, string> {
  const reader = new Reader(bytes);
  reader.tagged();
  reader.skip(4); // throttle time
  reader.each(() => {
    reader.skip(4);
    reader.text();
    reader.skip(4);
    reader.text();
    reader.tagged();
  });
  reader.text(); // cluster id
  reader.skip(4); // controller
  const ids = new Map<string, string>();
  reader.each(() => {
    const error = reader.int16();
    const name = reader.text();
    const id = reader.uuid();
    reader.skip(1);
    reader.each(() => {
      reader.skip(2 + 4 + 4 + 4);
      for (let list = 0; list < 3; list++) reader.each(() => reader.skip(4));
      reader.tagged();
    });
    reader.skip(4);
    reader.tagged();
    if (error === 0) ids.set(name, id);
  });
  return ids;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  skip(size: number): void {
    this.#at += size;
  }

  int16(): number {
    this.#at += 2;
    return this.#bytes.readInt16BE(this.#at - 2);
  }

  text(): string {
    const size = Math.max(0, this.#unsigned() - 1);
    this.#at += size;
    return this.#bytes.toString('utf8', this.#at - size, this.#at);
  }

  uuid(): string {
    this.#at += 16;
    const hex = this.#bytes.toString('hex', this.#at - 16, this.#at);
    return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
  }

  each(item: () => void): void {
    for (let left = this.#unsigned() - 1; left > 0; left--) item();
  }

  tagged(): void {
    for (let left = this.#unsigned(); left > 0; left--) {
      this.#unsigned();
      this.skip(this.#unsigned());
    }
  }

  #unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
}
