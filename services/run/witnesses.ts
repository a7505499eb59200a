import { log } from '../../shared/log.js';
import type { Head } from '../../shared/store/head.js';
import { witnessOf } from '../collect/kafka/committer.js';
import type { Reading } from '../collect/kafka/consumer.js';

/** What the consumer groups of all sources say of the store that they were committed from. A broker that does not answer says nothing. */
export async function witnesses(readings: readonly Reading[]): Promise<Head[]> {
  return (await Promise.all(readings.map(committed))).flat();
}

async function committed({ name, kafka, group, topic }: Reading): Promise<Head[]> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    const offsets = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    return offsets.flatMap(({ partitions }) => partitions.flatMap(({ metadata }) => witnessOf(metadata) ?? []));
  } catch (cause) {
    if ((cause as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') return [];
    log('warn', 'the group could not be asked how far the store was', { source: name, why: (cause as Error).message });
    return [];
  } finally {
    await admin.disconnect();
  }
}
