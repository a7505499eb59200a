import type { Kafka } from 'kafkajs';

/** Makes the topics that are missing; by default with as many partitions as the broker gives. */
export async function createTopics(kafka: Kafka, topics: readonly string[], numPartitions?: number): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const known = await admin.listTopics();
    const missing = topics.filter((topic) => !known.includes(topic));
    if (missing.length === 0) return;
    await admin.createTopics({
      topics: missing.map((topic) => ({ topic, ...(numPartitions && { numPartitions }) })),
      waitForLeaders: true,
    });
  } finally {
    await admin.disconnect();
  }
}
