import { Kafka, type LogEntry, logLevel } from 'kafkajs';
import type { KafkaSettings } from '../config.js';
import { log } from '../log.js';

/** A client of a cluster. kafkajs' own warnings and errors go to our log. */
export function kafkaClient({ brokers, clientId, ssl, sasl }: KafkaSettings): Kafka {
  return new Kafka({
    brokers,
    clientId,
    ...(ssl && { ssl: { ...ssl } }),
    ...(sasl && { sasl }),
    connectionTimeout: 5_000,
    logLevel: logLevel.WARN,
    logCreator: () => report,
  } as ConstructorParameters<typeof Kafka>[0]);
}

/** Each answer with an error code is one line to kafkajs, also where it asks again: what came of it is logged by whoever asked. */
const SINGLE_ANSWER = /^Response /;

/** kafkajs says the same of every try: once in so long is enough. */
const AGAIN_MS = 60_000;
const said = new Map<string, number>();

function report({ level, log: { message, ...more } }: LogEntry): void {
  const now = Date.now();
  if (SINGLE_ANSWER.test(message) || now - (said.get(message) ?? 0) < AGAIN_MS) return;
  if (said.size > 1_000) said.clear();
  said.set(message, now);
  const fields: Record<string, unknown> = {};
  for (const name of ['broker', 'groupId', 'topic', 'partition', 'error'])
    if (more[name] !== undefined) fields[name] = more[name];
  log(level === logLevel.ERROR ? 'error' : 'warn', `kafka: ${message}`, fields);
}
