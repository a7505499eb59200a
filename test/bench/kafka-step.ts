import { randomBytes } from 'node:crypto';
import { consumerOf } from '../../services/collect/kafka/consumer.js';
import { describeTopic } from '../../services/collect/kafka/topic.js';
import { sourceNamed, topicSources } from '../../services/collect/sources/index.js';
import { run, SERVICES } from '../../services/run/run.js';
import { loadConfig } from '../../shared/config.js';
import { kafkaClient } from '../../shared/kafka/client.js';
import { registerCodecs } from '../../shared/kafka/codecs.js';
import { decoder } from '../helpers/otlp-messages.js';

/** One measured step; it runs in a process of its own, so that time and memory are its alone. */
export interface KafkaStep {
  readonly step: 'run' | 'parse';
  readonly brokers: string;
  readonly source: 'cloudtrail' | 'traces' | 'metrics';
  readonly topic: string;
  readonly config: string;
}

export interface KafkaMeasured {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

process.once('message', (step: KafkaStep) => {
  measured(step).then(
    (result) => process.send?.(result, () => process.exit(0)),
    (error) => {
      process.stderr.write(`${String((error as Error).stack)}\n`);
      process.exit(1);
    },
  );
});

async function measured(step: KafkaStep): Promise<KafkaMeasured> {
  const start = process.hrtime.bigint();
  const before = process.cpuUsage();
  await (step.step === 'run' ? service(step) : parsed(step));
  const { user, system } = process.cpuUsage(before);
  return {
    wallSeconds: Number(process.hrtime.bigint() - start) / 1e9,
    cpuSeconds: (user + system) / 1e6,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** The service from its start until all of the topic is stored and correlated. */
async function service({ config }: KafkaStep): Promise<void> {
  const code = await run(loadConfig(topicSources, { env: {}, file: config }), {
    services: new Set(SERVICES),
    untilCaughtUp: true,
  });
  if (code !== 0) throw new Error(`run ended with ${code}`);
}

/** kafkajs alone, with the service's settings: every message read and parsed, and let go. */
async function parsed({ brokers, topic, source }: KafkaStep): Promise<void> {
  const kafka = kafkaClient({ brokers: brokers.split(','), clientId: 'bench', sessionTimeoutMs: 30_000 });
  registerCodecs();
  const { partitions } = (await describeTopic(kafka, topic))!;
  const left = new Map([...partitions].map(([partition, { high }]) => [partition, high]));
  const group = `bench-${randomBytes(6).toString('hex')}`;
  const consumer = consumerOf({
    name: source,
    source: sourceNamed(source),
    kafka,
    topic,
    group,
    sessionTimeoutMs: 30_000,
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await new Promise<void>((done, fail) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error));
    consumer
      .run({
        autoCommit: false,
        partitionsConsumedConcurrently: 4,
        eachBatch: async ({ batch }) => {
          for (const { value } of batch.messages) PARSE[source](value!);
          if (BigInt(batch.lastOffset()) + 1n >= left.get(batch.partition)!) left.delete(batch.partition);
          if ([...left.values()].every((high) => high === 0n)) done();
        },
      })
      .catch(fail);
  });
  await consumer.disconnect();
}

/** What the field's usual parsers make of a message: JSON.parse, and protobufjs with OTLP's schema. */
const PARSE: Readonly<Record<KafkaStep['source'], (value: Buffer) => unknown>> = {
  cloudtrail: (value) => JSON.parse(value.toString()),
  traces: decoder('TracesData'),
  metrics: decoder('MetricsData'),
};
