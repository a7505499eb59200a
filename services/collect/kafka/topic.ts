import kafkajs, { type Kafka } from 'kafkajs';
import { topicIds } from '../../../shared/kafka/topic-ids.js';
import type { Partition, Position } from '../../../shared/store/positions.js';

/** A topic as the broker has it now. */
export interface Topic {
  readonly cluster: string;
  readonly name: string;
  readonly id: string;
  readonly compacted: boolean;
  readonly partitions: ReadonlyMap<number, Bounds>;
}

/** The first offset that a partition still has, and the one that its next message will get. */
export interface Bounds {
  readonly low: bigint;
  readonly high: bigint;
}

/** Asks the broker; undefined where there is no such topic (yet). */
export async function describeTopic(kafka: Kafka, name: string): Promise<Topic | undefined> {
  const id = (await topicIds(kafka, [name])).get(name);
  if (id === undefined) return undefined;
  const admin = kafka.admin();
  await admin.connect();
  try {
    const { clusterId } = await admin.describeCluster();
    return {
      cluster: clusterId,
      name,
      id,
      compacted: await isCompacted(admin, name),
      partitions: boundsOf(await admin.fetchTopicOffsets(name)),
    };
  } finally {
    await admin.disconnect();
  }
}

type Admin = ReturnType<Kafka['admin']>;

function boundsOf(offsets: Awaited<ReturnType<Admin['fetchTopicOffsets']>>): Map<number, Bounds> {
  return new Map(offsets.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]));
}

/** Who may not read the topic's settings does not know. */
async function isCompacted(admin: Admin, name: string): Promise<boolean> {
  const type = kafkajs.ConfigResourceTypes.TOPIC;
  const configNames = ['cleanup.policy'];
  const answer = await admin
    .describeConfigs({ includeSynonyms: false, resources: [{ type, name, configNames }] })
    .catch(() => undefined);
  return answer?.resources[0]?.configEntries.some(({ configValue }) => configValue.includes('compact')) ?? false;
}

/**
 * Which partition of which topic this is, for the store. Where the log now ends before what was read already (an unclean election threw messages away), offsets are
 * given a second time: from then on it counts as another topic, `<id>+1`, and is read from its beginning.
 */
export function partitionOf(topic: Topic, source: string, partition: number, known: readonly Position[]): Partition {
  const { cluster, name, id } = topic;
  const own = known.filter((each) => each.partition === partition && each.topicId.split('+')[0] === id);
  const last = own.toSorted((a, b) => generationOf(a) - generationOf(b)).at(-1);
  const high = topic.partitions.get(partition)?.high;
  const wasCut = last !== undefined && high !== undefined && last.next > high;
  const generation = (last ? generationOf(last) : 0) + (wasCut ? 1 : 0);
  return { source, cluster, topic: name, topicId: generation === 0 ? id : `${id}+${generation}`, partition };
}

const generationOf = ({ topicId }: Position): number => Number(topicId.split('+')[1] ?? 0);
