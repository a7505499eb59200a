import { type ChildProcess, fork, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import kafkajs, { type Kafka, type Producer } from 'kafkajs';
import { startKafka } from '../../infra/launch/kafka.js';
import { askWriter } from '../../services/query/socket.js';
import { kafkaClient } from '../../shared/kafka/client.js';
import { createTopics } from '../../shared/kafka/topics.js';
import { chance } from './chance.js';
import { type Bounds, median, ratio, report, say } from './figures.js';
import { batchedSpansTopic, cloudtrailTopic, metricsTopic, singleSpansTopic, type TopicData } from './kafka-data.js';
import type { KafkaMeasured, KafkaStep } from './kafka-step.js';
import { NODE_FLAGS, PROGRAM } from './program.js';

/**
 * Prints one JSON line: how fast `run` brings a full topic into DuckDB, findings and chains included, beside kafkajs alone reading and parsing the same topic in the same
 * run (a ratio of 1 is as fast); how soon a record is visible in SQL while 2,000 come in each second; and whether memory stays flat while they do for two minutes.
 * Exits with 1 where a bound is not met.
 */
const RECORDS = 100_000;
const SPANS = 100_000;
const SINGLE_SPANS = 60_000;
const SCRAPES = 150;
const ROUNDS = 3;
const PARTITIONS = 3;

const RECORDS_PER_SECOND = 2_000;
const SOAK_SECONDS = 120;
const TICKS_PER_SECOND = 20;

const BOUNDS: Bounds = {
  cloudtrail_wall_ratio: { least: 0.4 },
  spans_wall_ratio: { least: 0.4 },
  single_spans_wall_ratio: { least: 0.4 },
  metrics_wall_ratio: { least: 0.4 },
  freshness_p99_s: { most: 3 },
  soak_peak_growth: { most: 1.15 },
};

let stores = 0;
const root = mkdtempSync(join(tmpdir(), 'causeline-bench-kafka-'));
process.once('exit', () => rmSync(root, { recursive: true, force: true }));
const broker = await startKafka({ properties: { 'log.retention.hours': '-1' } });
const brokers = broker.brokers.join();
const kafka = kafkaClient({ brokers: [...broker.brokers], clientId: 'bench', sessionTimeoutMs: 30_000 });
try {
  const figures = { ...(await throughput()), ...(await soak()) };
  report(figures, BOUNDS);
} finally {
  await broker.stop();
}

async function throughput(): Promise<Record<string, number>> {
  const topics = {
    cloudtrail: cloudtrailTopic('records', chance(1), RECORDS),
    spans: batchedSpansTopic('spans', chance(2), SPANS),
    single_spans: singleSpansTopic('single-spans', chance(3), SINGLE_SPANS),
    metrics: metricsTopic('scrapes', chance(4), SCRAPES),
  };
  const figures: Record<string, number> = {};
  for (const [name, data] of Object.entries(topics)) {
    await fill(kafka, data);
    const ran: KafkaMeasured[] = [];
    const parsed: KafkaMeasured[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      ran.push(await step('run', data));
      parsed.push(await step('parse', data));
    }
    figures[`${name}_wall_ratio`] = ratio(parsed, ran, ({ wallSeconds }) => wallSeconds);
    figures[`${name}_cpu_ratio`] = ratio(parsed, ran, ({ cpuSeconds }) => cpuSeconds);
    figures[`${name}_per_s`] = data.records / median(ran.map(({ wallSeconds }) => wallSeconds));
    figures[`${name}_peak_mib`] = Math.max(...ran.map(({ peakBytes }) => peakBytes)) / 2 ** 20;
  }
  return figures;
}

async function fill(client: Kafka, { topic, messages }: TopicData): Promise<void> {
  await createTopics(client, [topic], PARTITIONS);
  const producer = await connected(client);
  let part: { key?: string; value: Buffer }[] = [];
  let bytes = 0;
  const flush = async () => {
    await producer.send({ topic, acks: -1, messages: part });
    part = [];
    bytes = 0;
  };
  for (const message of messages()) {
    part.push(message);
    bytes += message.value.length;
    if (bytes > 600_000) await flush();
  }
  await flush();
  await producer.disconnect();
}

async function connected(client: Kafka): Promise<Producer> {
  const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  return producer;
}

/** A configuration that reads one topic into a new store. */
function configFor({ source, topic }: Pick<TopicData, 'source' | 'topic'>): { config: string; db: string } {
  const name = `store-${++stores}`;
  const db = join(root, `${name}.duckdb`);
  const config = join(root, `${name}.yaml`);
  const port = 20_000 + stores;
  writeFileSync(
    config,
    JSON.stringify({
      db,
      group: name,
      http: `127.0.0.1:${port}`,
      kafka: { brokers: brokers.split(',') },
      topics: { chains: `${name}.chains` },
      sources: [{ source, topic }],
    }),
  );
  return { config, db };
}

async function step(kind: KafkaStep['step'], { source, topic }: TopicData): Promise<KafkaMeasured> {
  const child = fork(fileURLToPath(new URL('./kafka-step.js', import.meta.url)), { execArgv: [...NODE_FLAGS] });
  const { config } = configFor({ source, topic });
  const measured = await new Promise<KafkaMeasured>((resolve, reject) => {
    child.once('message', (message) => resolve(message as KafkaMeasured));
    child.once('exit', (code) => reject(new Error(`${kind} of ${topic} ended with ${code}`)));
    child.send({ step: kind, brokers, source, topic, config } satisfies KafkaStep);
  });
  say(`${topic}, ${kind}: ${measured.wallSeconds.toFixed(1)} s, ${measured.cpuSeconds.toFixed(1)} CPU s`);
  return measured;
}

/** Two minutes of records as they come, asked for all the while. */
async function soak(): Promise<Record<string, number>> {
  const data = cloudtrailTopic('soak', chance(5), RECORDS_PER_SECOND * SOAK_SECONDS);
  await createTopics(kafka, [data.topic], 1); // in one partition the n-th row is the n-th message
  const { config, db } = configFor(data);
  const service = spawn(PROGRAM, ['run', '--config', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const produced: number[] = [];
  const seen: { at: number; count: number; rss: number }[] = [];
  let ended = false;
  const watching = watch(db, service, seen, () => ended && (seen.at(-1)?.count ?? 0) >= produced.length);
  await produce(data, produced);
  ended = true;
  await watching;
  service.kill('SIGTERM');
  await new Promise((done) => service.once('exit', done));
  const late = latenesses(produced, seen);
  const peakOf = (from: number, to: number) =>
    Math.max(...seen.slice(Math.floor(from * seen.length), Math.ceil(to * seen.length)).map(({ rss }) => rss));
  return {
    freshness_p50_s: quantile(late, 0.5),
    freshness_p99_s: quantile(late, 0.99),
    soak_records: produced.length,
    soak_peak_mib: peakOf(0, 1) / 1024,
    soak_peak_growth: peakOf(0.75, 1) / peakOf(0.25, 0.5),
  };
}

async function produce({ topic, messages }: TopicData, produced: number[]): Promise<void> {
  const producer = await connected(kafka);
  const started = performance.now();
  let part: { value: Buffer }[] = [];
  for (const message of messages()) {
    part.push(message);
    if (part.length < RECORDS_PER_SECOND / TICKS_PER_SECOND) continue;
    const due = started + (produced.length * 1000) / RECORDS_PER_SECOND;
    if (due > performance.now()) await pause(due - performance.now());
    for (let n = 0; n < part.length; n++) produced.push(performance.now());
    await producer.send({ topic, acks: -1, messages: part });
    part = [];
  }
  await producer.disconnect();
}

async function watch(
  db: string,
  service: ChildProcess,
  seen: { at: number; count: number; rss: number }[],
  done: () => boolean,
): Promise<void> {
  while (!done()) {
    const count = await rowsIn(db).catch(() => 0); // not up yet
    seen.push({ at: performance.now(), count, rss: rssOf(service.pid!) });
    await pause(100);
  }
}

async function rowsIn(db: string): Promise<number> {
  const parts: Buffer[] = [];
  const out = new Writable({
    write(chunk: Buffer, _, next) {
      parts.push(chunk);
      next();
    },
  });
  const query = 'SELECT count(*) AS n FROM cloudtrail_events';
  await askWriter(db, { command: 'sql', query, format: 'json' }, { width: 80, colour: false }, out);
  return (JSON.parse(Buffer.concat(parts).toString()) as { n: number }[])[0]!.n;
}

function rssOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Seconds from a message's production until a query saw it. */
function latenesses(produced: readonly number[], seen: readonly { at: number; count: number }[]): number[] {
  let next = 0;
  const late: number[] = [];
  for (const { at, count } of seen)
    for (; next < count && next < produced.length; next++) late.push((at - produced[next]!) / 1000);
  return late;
}

function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))]!;
}

function pause(millis: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, millis));
}
