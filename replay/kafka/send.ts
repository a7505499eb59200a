import kafkajs, { type Kafka, type Producer } from 'kafkajs';
import { groupBy } from '../../shared/group.js';
import { inParts } from '../../shared/kafka/parts.js';
import { createTopics } from '../../shared/kafka/topics.js';
import { type Case, openCase } from '../case.js';
import { type CaseMessage, messagesOf } from './messages.js';

/** What was sent. */
export interface Sent {
  readonly case: string;
  readonly messages: Readonly<Record<string, number>>;
  readonly ignored: ReadonlyMap<string, number>;
}

/** `max`, or so many times as fast as it happened. */
export type Speed = 'max' | number;

/** A topic that is missing is made with so many partitions. */
const PARTITIONS = 3;

/** Messages that are gathered before they go out. */
const AT_ONCE = 200;

/**
 * Drives a case through its topics. Event times stay as they are; the broker's own times are those of sending. With `max` files follow each other as they are read; paced, all
 * messages are held in memory and sent in the order of their event times.
 */
export async function sendCase(
  folder: string,
  kafka: Kafka,
  topics: Readonly<Record<string, string>>,
  options: { speed: Speed; onProgress?: (sent: number) => void },
): Promise<Sent> {
  const opened = withTopics(openCase(folder), topics);
  await createTopics(kafka, Object.values(topics), PARTITIONS);
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  try {
    const messages: Record<string, number> = {};
    let sent = 0;
    for await (const part of partsOf(opened, options.speed)) {
      await send(producer, topics, part);
      for (const { source } of part) messages[source] = (messages[source] ?? 0) + 1;
      sent += part.length;
      options.onProgress?.(sent);
    }
    return { case: opened.name, messages, ignored: opened.ignored };
  } finally {
    await producer.disconnect();
  }
}

/** A case less the files that no topic is for: they are counted with those that nobody reads. */
function withTopics(opened: Case, topics: Readonly<Record<string, string>>): Case {
  const files = opened.files.filter(({ source }) => topics[source] !== undefined);
  const left = opened.files.length - files.length;
  const ignored = new Map(opened.ignored);
  if (left > 0) ignored.set('no topic is for them: they come in a case folder alone', left);
  return { ...opened, files, ignored };
}

async function* partsOf(opened: Case, speed: Speed): AsyncGenerator<CaseMessage[]> {
  if (speed === 'max') yield* gathered(all(opened));
  else yield* paced(opened, speed);
}

async function* all({ files }: Case): AsyncGenerator<CaseMessage> {
  for (const file of files) yield* messagesOf(file);
}

async function* gathered(messages: AsyncIterable<CaseMessage>): AsyncGenerator<CaseMessage[]> {
  let part: CaseMessage[] = [];
  for await (const message of messages) {
    part.push(message);
    if (part.length < AT_ONCE) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}

/** Messages that are due are sent together, so often. */
const TICK_MS = 100;

async function* paced(opened: Case, speed: number): AsyncGenerator<CaseMessage[]> {
  const timed: { message: CaseMessage; at: number }[] = [];
  let at = 0; // what says no time of its own goes with what came before it
  for await (const message of all(opened)) {
    at = message.atMicros ?? at;
    timed.push({ message, at });
  }
  timed.sort((a, b) => a.at - b.at);
  const first = timed.find((each) => each.at > 0)?.at ?? 0;
  const started = performance.now();
  for (let next = 0; next < timed.length; ) {
    const due = first + (performance.now() - started) * 1000 * speed;
    const from = next;
    while (next < timed.length && next - from < AT_ONCE && timed[next]!.at <= due) next += 1;
    if (next > from) yield timed.slice(from, next).map(({ message }) => message);
    else await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
}

async function send(
  producer: Producer,
  topics: Readonly<Record<string, string>>,
  part: readonly CaseMessage[],
): Promise<void> {
  for (const [source, messages] of groupBy(part, (message) => message.source))
    for (const few of inParts(messages))
      await producer.send({
        topic: topics[source]!,
        acks: -1,
        compression: kafkajs.CompressionTypes.GZIP,
        messages: few.map(({ value }) => ({ value })),
      });
}
