import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Kafka, KafkaConfig } from 'kafkajs';
import { makeCertificates } from '../../infra/launch/certificates.js';
import { type KafkaOptions, type RunningKafka, startKafka } from '../../infra/launch/kafka.js';
import { FAST_CLEANUP } from '../../infra/launch/kafka-properties.js';
import { kafkaCanStart, kafkaClient, kafkaForTests } from '../helpers/kafka.js';

test.serial('what is produced is consumed', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const client = kafkaClient(kafka.brokers);
  const topic = kafka.topic('spans');
  await createTopic(client, topic);
  await produce(client, topic, ['one', 'two']);
  t.deepEqual(await consume(client, topic, 2), ['one', 'two']);
});

test.serial('a broker that was killed comes back on its ports with its records', async (t) => {
  await withKafka(t, {}, async (kafka) => {
    const client = kafkaClient(kafka.brokers);
    await createTopic(client, 'records');
    await produce(client, 'records', ['before']);
    const killed = kafka.pid();

    await kafka.kill();
    t.throws(() => process.kill(killed, 0), { code: 'ESRCH' });
    await kafka.restart();

    t.not(kafka.pid(), killed);
    await produce(client, 'records', ['after']);
    t.deepEqual(await consume(client, 'records', 2), ['before', 'after']);
  });
});

test.serial('records past their retention are gone within seconds where a test asks for it', async (t) => {
  await withKafka(t, { properties: FAST_CLEANUP }, async (kafka) => {
    const client = kafkaClient(kafka.brokers);
    await createTopic(client, 'short', { 'segment.bytes': '1048576', 'retention.bytes': '16384' });
    await produce(
      client,
      'short',
      Array.from({ length: 40 }, () => 'x'.repeat(100_000)),
    );
    t.true(await soon(async () => (await lowOffset(client, 'short')) > 0));
  });
});

test.serial('clients log in with a password, over TLS, and with a certificate', async (t) => {
  if (!(await kafkaCanStart(t))) return;
  const folder = mkdtempSync(join(tmpdir(), 'causeline-certificates-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const certificates = await makeCertificates(folder);
  await withKafka(t, { security: { users: { alice: 'wonder land' }, certificates } }, async ({ secured }) => {
    const ca = readFileSync(certificates.ca, 'utf8');
    const cert = readFileSync(certificates.clientCertificate, 'utf8');
    const key = readFileSync(certificates.clientKey, 'utf8');
    const login = { username: 'alice', password: 'wonder land' };
    const clusterOf = (at: keyof NonNullable<typeof secured>, more: Partial<KafkaConfig>) =>
      clusterId(kafkaClient([secured![at]], { retry: { retries: 0 }, ...more }));

    t.truthy(await clusterOf('sasl', { sasl: { mechanism: 'plain', ...login } }));
    t.truthy(await clusterOf('sasl', { sasl: { mechanism: 'scram-sha-256', ...login } }));
    t.truthy(await clusterOf('saslTls', { ssl: { ca }, sasl: { mechanism: 'scram-sha-512', ...login } }));
    t.truthy(await clusterOf('tls', { ssl: { ca } }));
    t.truthy(await clusterOf('mutualTls', { ssl: { ca, cert, key } }));

    const wrong = { mechanism: 'scram-sha-256', ...login, password: 'wonderland' } as const;
    await t.throwsAsync(clusterOf('sasl', { sasl: wrong }), { name: 'KafkaJSSASLAuthenticationError' });
    await t.throwsAsync(clusterOf('tls', { ssl: true }), { message: /certificate/ });
    await t.throwsAsync(clusterOf('mutualTls', { ssl: { ca } }));
  });
});

async function withKafka(
  t: ExecutionContext,
  options: KafkaOptions,
  body: (kafka: RunningKafka) => Promise<void>,
): Promise<void> {
  if (!(await kafkaCanStart(t))) return;
  const kafka = await startKafka(options);
  try {
    await body(kafka);
  } finally {
    await kafka.stop();
  }
}

async function createTopic(client: Kafka, topic: string, config: Record<string, string> = {}): Promise<void> {
  const admin = client.admin();
  await admin.connect();
  const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
  await admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }], waitForLeaders: true });
  await admin.disconnect();
}

async function produce(client: Kafka, topic: string, values: readonly string[]): Promise<void> {
  const producer = client.producer();
  await producer.connect();
  for (const value of values) await producer.send({ topic, messages: [{ value }] });
  await producer.disconnect();
}

async function consume(client: Kafka, topic: string, count: number): Promise<string[]> {
  const consumer = client.consumer({ groupId: `${topic}-reader`, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const values: string[] = [];
  await new Promise<void>((all, failed) => {
    const eachMessage = async ({ message }: { message: { value: Buffer | null } }) => {
      values.push(String(message.value));
      if (values.length === count) all();
    };
    consumer.run({ eachMessage }).catch(failed);
  });
  await consumer.disconnect();
  return values;
}

async function clusterId(client: Kafka): Promise<string> {
  const admin = client.admin();
  try {
    await admin.connect();
    return (await admin.describeCluster()).clusterId;
  } finally {
    await admin.disconnect();
  }
}

async function lowOffset(client: Kafka, topic: string): Promise<number> {
  const admin = client.admin();
  await admin.connect();
  const [partition] = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  return Number(partition!.low);
}

async function soon(holds: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 60; tries += 1) {
    if (await holds()) return true;
    await sleep(500);
  }
  return false;
}
