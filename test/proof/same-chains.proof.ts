import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openCase } from '../../replay/case.js';
import { random } from '../../replay/generate/random.js';
import { messagesOf } from '../../replay/kafka/messages.js';
import { correlate } from '../../services/correlate/index.js';
import { openStore } from '../../shared/store/store.js';
import { causeline } from '../helpers/cli.js';
import { recordings, root, testWith } from '../helpers/data.js';
import { kafkaForTests } from '../helpers/kafka.js';
import { metricsByOracle, tracesByOracle } from '../helpers/otlp-messages.js';
import { lengths, type Message, Produced } from '../helpers/produced.js';
import { catchUp, placeIn } from '../helpers/service.js';
import { rows, temporaryFolder, value, withDuckDb } from '../helpers/store.js';

const CASES = readdirSync(join(root, 'replay/cases'), { withFileTypes: true }).filter((entry) => entry.isDirectory());

/** Findings, links and chains. */
const JUDGED = {
  findings: 'SELECT * EXCLUDE (derived_seq, recorded_at) FROM findings ORDER BY ALL',
  finding_evidence: 'SELECT * FROM finding_evidence ORDER BY ALL',
  chains: 'SELECT * EXCLUDE (revision, reason, recorded_at, supersedes) FROM chains ORDER BY ALL',
  chain_links: 'SELECT * EXCLUDE (revision) FROM chain_links ORDER BY ALL',
};

async function judged(db: string): Promise<Record<string, unknown[][]>> {
  return withDuckDb(db, async (connection) => {
    const found: Record<string, unknown[][]> = {};
    for (const [relation, query] of Object.entries(JUDGED)) found[relation] = await rows(connection, query);
    return found;
  });
}

async function messagesOfCase(folder: string): Promise<Message[]> {
  const messages: Message[] = [];
  for (const file of openCase(folder).files)
    for await (const { source, value } of messagesOf(file))
      if (source !== 's3-access' && source !== 'iam') messages.push({ source, value, rows: 1 }); // no topic is for them
  return messages;
}

/** Orders in which the messages of a case may come. */
const ORDERS: Readonly<Record<string, (messages: readonly Message[]) => Message[]>> = {
  'as they are': (messages) => [...messages],
  'the last first': (messages) => messages.toReversed(),
  shuffled: (messages) => {
    const chance = random(7);
    return messages
      .map((message) => ({ message, at: chance.between(0, 1) }))
      .sort((a, b) => a.at - b.at)
      .map(({ message }) => message);
  },
};

for (const { name } of CASES)
  test.serial(`${name}: through Kafka in any order, what replay finds`, async (t) => {
    const kafka = await kafkaForTests(t);
    if (!kafka) return;
    const folder = join(root, 'replay/cases', name);
    const replayed = join(temporaryFolder(t), 'replayed.duckdb');
    const { code, stderr } = await causeline(['replay', folder, '--db', replayed]);
    t.is(code, 0, stderr);
    const messages = await messagesOfCase(folder);
    for (const [order, arranged] of Object.entries(ORDERS)) {
      const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
      const produced = await Produced.start(t, place, { partitions: 3 });
      await produced.send(arranged(messages), random(11));
      await catchUp(t, place);
      await sayThatItHasEnded(place.db);
      t.deepEqual(await judged(place.db), await judged(replayed), order);
    }
  });

/** A replay has an end, a topic has none: until then figures of a provisional chain wait for its next revision. */
async function sayThatItHasEnded(db: string): Promise<void> {
  const store = await openStore(db);
  await correlate(store, { endOfInput: true });
  store.close();
}

testWith(
  recordings,
  'CAUSELINE_RECORDINGS',
  'what a real collector wrote to Kafka is consumed whole',
  async (t, data) => {
    const kafka = await kafkaForTests(t);
    if (!kafka) return;
    for (const [spans, points] of [
      ['otlp_spans', 'otlp_metrics'],
      ['otlp_spans_json', 'otlp_metrics_json'],
    ] as const) {
      const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
      const produced = await Produced.start(t, place);
      const sent = [...recorded(data, 'traces', spans), ...recorded(data, 'metrics', points)];
      t.true(sent.length > 10);
      await produced.send(sent);
      await catchUp(t, place);
      await wholeOf(t, place.db, sent);
    }
  },
);

/** Values as they stood on a topic, and how much is in them, by protobufjs or JSON.parse. */
function recorded(data: string, source: 'traces' | 'metrics', topic: string): Message[] {
  const folder = join(data, 'collector/kafka', topic);
  const oracle = source === 'traces' ? tracesByOracle : metricsByOracle;
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const value = readFileSync(join(folder, name));
      const text = topic.endsWith('_json') ? String(value) : JSON.stringify(oracle(value));
      return { source, value, rows: lengths(text, source === 'traces' ? 'spans' : 'dataPoints') };
    });
}

async function wholeOf(t: ExecutionContext, db: string, sent: readonly Message[]): Promise<void> {
  await withDuckDb(db, async (connection) => {
    const spans = sent.filter(({ source }) => source === 'traces').reduce((sum, { rows }) => sum + rows, 0);
    t.is(Number(await value(connection, 'SELECT count(*) FROM spans')), spans);
    t.true(Number(await value(connection, 'SELECT count(*) FROM metric_points')) > 0);
    t.deepEqual(await rows(connection, 'SELECT * FROM quarantine'), []);
    t.deepEqual(await rows(connection, 'SELECT * FROM kafka_gaps'), []);
    t.is(Number(await value(connection, 'SELECT sum(messages) FROM kafka_positions')), sent.length);
  });
}
