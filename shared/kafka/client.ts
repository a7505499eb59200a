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

function report({ level, log: { message, ...more } }: LogEntry): void {
  if (SINGLE_ANSWER.test(message)) return;
  const fields: Record<string, unknown> = {};
  for (const name of ['broker', 'groupId', 'topic', 'partition', 'error'])
    if (more[name] !== undefined) fields[name] = more[name];
  log(level === logLevel.ERROR ? 'error' : 'warn', `kafka: ${message}`, fields);
}
