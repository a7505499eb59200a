import { randomBytes } from 'node:crypto';
import type { KafkaMessage } from 'kafkajs';

/**
 * A record batch that cannot be inflated, in the form of one that can: its first record holds the batch as it came, the others stand for its further offsets.
 * kafkajs reads as many records as the batch's header says, and tells nobody how many; so there are more than a batch has.
 */

/** What a bad batch was. */
export interface BadBatch {
  readonly codec: string;
  readonly detail: string;
  readonly raw: Uint8Array;
}

/** Nobody outside this process can write records that look so. */
const FIRST = randomBytes(16);
const FURTHER = randomBytes(16);

export function replacement(codec: string, compressed: Uint8Array, cause: Error): Buffer {
  const detail = Buffer.from(`${codec} batch cannot be inflated: ${cause.message}`);
  const value = Buffer.concat([length(detail.length), detail, compressed]);
  return Buffer.concat([record(0, FIRST, value), further()]);
}

/** What this message stands for, where a batch was bad: the batch, or an offset inside of one. */
export function badBatchOf({ key, value }: KafkaMessage): BadBatch | 'further' | undefined {
  if (key?.length !== FIRST.length || key.equals(FURTHER)) return key?.equals(FURTHER) ? 'further' : undefined;
  if (!key.equals(FIRST) || !value) return undefined;
  const end = 4 + value.readUInt32BE(0);
  const detail = value.toString('utf8', 4, end);
  return { codec: detail.split(' ')[0]!, detail, raw: value.subarray(end) };
}

/** Records of 50 bytes in 1 MiB that was deflated tenfold. */
const MOST_RECORDS = 200_000;

let furtherRecords: Buffer | undefined;

function further(): Buffer {
  furtherRecords ??= Buffer.concat(Array.from({ length: MOST_RECORDS }, (_, index) => record(index + 1, FURTHER)));
  return furtherRecords;
}

/** A record (Kafka's message format v2) without timestamp or headers. */
function record(offsetDelta: number, key: Buffer, value?: Buffer): Buffer {
  const body = [
    Buffer.from([0]), // attributes
    zigzag(0), // timestamp delta
    zigzag(offsetDelta),
    zigzag(key.length),
    key,
    ...(value ? [zigzag(value.length), value] : [zigzag(-1)]),
    zigzag(0), // headers
  ];
  const size = body.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([zigzag(size), ...body]);
}

function length(size: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(size);
  return bytes;
}

/** A varint of a signed number, zigzag encoded. */
function zigzag(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
