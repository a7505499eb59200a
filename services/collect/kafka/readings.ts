import type { Config } from '../../../shared/config.js';
import { kafkaClient } from '../../../shared/kafka/client.js';
import type { Row, Source } from '../source.js';
import { sources } from '../sources/index.js';
import type { Reading } from './consumer.js';

/** What is to be read, with a client for each source. */
export function readingsOf(config: Config): Reading[] {
  return config.sources.map(({ name, source, topic, group, kafka }) => ({
    name,
    source: sources.find((known) => known.name === source) as unknown as Source<Row>,
    kafka: kafkaClient(kafka),
    topic,
    group,
    sessionTimeoutMs: kafka.sessionTimeoutMs,
  }));
}
