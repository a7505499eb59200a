import type { Config } from '../../../shared/config.js';
import { kafkaClient } from '../../../shared/kafka/client.js';
import { sourceNamed } from '../sources/index.js';
import type { Reading } from './consumer.js';

/** What is to be read, with a client for each source. */
export function readingsOf(config: Config): Reading[] {
  return config.sources.map(({ name, source, topic, group, kafka }) => ({
    name,
    source: sourceNamed(source),
    kafka: kafkaClient(kafka),
    topic,
    group,
    sessionTimeoutMs: kafka.sessionTimeoutMs,
  }));
}
