import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs';
import { type RunningKafka, startKafka } from '../../infra/launch/kafka.js';
import { installKafka } from '../../infra/launch/kafka-jars.js';
import { notRun } from './not-run.js';

/** A broker that the tests of one file share: ava runs each file in a thread of its own. */
export interface TestKafka {
  readonly brokers: readonly string[];
  /** A name that no other test uses: a client that has used a deleted topic fails on others too. */
  readonly topic: (name: string) => string;
}

let own: Promise<RunningKafka> | undefined;

test.after.always('the broker of these tests stops', async () => {
  await (await own)?.stop();
});

/** The broker that `CAUSELINE_KAFKA_BROKERS` names, else one that is started here; undefined where the test cannot run. */
export async function kafkaForTests(t: ExecutionContext): Promise<TestKafka | undefined> {
  const named = process.env['CAUSELINE_KAFKA_BROKERS'];
  if (named) return { brokers: named.split(','), topic: uniqueName };
  if (!(await kafkaCanStart(t))) return undefined;
  own ??= startKafka();
  return { brokers: (await own).brokers, topic: uniqueName };
}

/** For tests that kill, restart or configure a broker and so need one of their own. */
export async function kafkaCanStart(t: ExecutionContext): Promise<boolean> {
  const { missing } = await installKafka();
  return missing === undefined || notRun(t, missing);
}

/** A quiet client, patient with a busy machine: kafkajs gives a connection a second. */
export const kafkaClient = (brokers: readonly string[], more: Partial<KafkaConfig> = {}): Kafka =>
  new Kafka({
    clientId: 'causeline-test',
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 10_000,
    ...more,
  });

const uniqueName = (name: string): string => `${name}.${randomBytes(6).toString('hex')}`;
