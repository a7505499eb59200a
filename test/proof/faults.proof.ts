import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import kafkajs from 'kafkajs';
import { type KafkaOptions, type RunningKafka, startKafka } from '../../infra/launch/kafka.js';
import { FAST_CLEANUP } from '../../infra/launch/kafka-properties.js';
import { random } from '../../replay/generate/random.js';
import { incident } from '../helpers/incident.js';
import { kafkaCanStart, kafkaClient, kafkaForTests } from '../helpers/kafka.js';
import { accountedFor, closing, messagesOf, Produced, poison, record } from '../helpers/produced.js';
import { catchUp, type Place, placeIn, type Service, startService, until } from '../helpers/service.js';
import { rows, temporaryFolder, withDuckDb } from '../helpers/store.js';

const records = (word: string, count: number) => Array.from({ length: count }, (_, n) => record(`${word} ${n}`));

/** Rows that the service says it has stored of CloudTrail, over its life. */
async function storedBy(service: Service): Promise<number> {
  const { text } = await service.get('/metrics');
  return Number(/^causeline_rows_total\{source="cloudtrail"\} (\d+)/m.exec(text)?.[1] ?? 0);
}

async function terminated(t: ExecutionContext, { child, ended }: Service): Promise<void> {
  child.kill('SIGTERM');
  const { code, stderr } = await ended;
  t.is(code, 0, stderr);
}

async function withOwnKafka(
  t: ExecutionContext,
  options: KafkaOptions,
  body: (kafka: RunningKafka, place: Place, options: KafkaOptions) => Promise<void>,
): Promise<void> {
  if (!(await kafkaCanStart(t))) return;
  const kafka = await startKafka(options);
  try {
    await body(
      kafka,
      placeIn(temporaryFolder(t), kafka.brokers, (word) => word),
      options,
    );
  } finally {
    await kafka.stop();
  }
}

test.serial('a broker that is killed and comes back is read on, each offset once', (t) =>
  withOwnKafka(t, {}, async (kafka, place) => {
    const before = await Produced.start(t, place);
    const service = startService(t, place);
    await before.send([...records('before', 200), poison('traces', 1), poison('metrics', 1)]);
    await until(async () => (await storedBy(service)) === 200);
    await kafka.kill();
    await until(async () => (await service.get('/readyz')).status === 503);
    t.is((await service.get('/healthz')).status, 200, 'that the broker is gone is no illness of ours');
    await kafka.restart();
    await before.send(records('after', 200));
    await until(async () => (await storedBy(service)) === 400);
    await terminated(t, service);
    await accountedFor(t, place.db, before.at);
  }),
);

test.serial('a second consumer of the group joins and leaves; what it had is read again', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  const produced = await Produced.start(t, place, { partitions: 4 });
  const service = startService(t, place);
  const chance = random(4);
  const send = (word: string) => produced.send(records(word, 200), chance);
  await send('alone');
  await until(async () => (await storedBy(service)) === 200);
  const second = kafkaClient(kafka.brokers).consumer({ groupId: `${place.group}-cloudtrail`, sessionTimeout: 6000 });
  await second.connect();
  await second.subscribe({ topics: [place.topics.cloudtrail] });
  const joined = new Promise((done) => second.on(second.events.GROUP_JOIN, done));
  await second.run({ eachMessage: async () => {} });
  await joined;
  await send('beside it');
  await second.disconnect();
  await send('alone again');
  await until(async () => (await storedBy(service)) === 600);
  await terminated(t, service);
  await accountedFor(t, place.db, produced.at);
});

test.serial('a process that stood still for longer than its session goes on', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  const produced = await Produced.start(t, place);
  const service = startService(t, place);
  await produced.send(records('before', 50));
  await until(async () => (await storedBy(service)) === 50);
  service.child.kill('SIGSTOP');
  await produced.send(records('meanwhile', 50));
  const admin = kafkaClient(kafka.brokers).admin();
  await admin.connect();
  await until(async () => (await admin.describeGroups([`${place.group}-cloudtrail`])).groups[0]!.members.length === 0);
  await admin.disconnect();
  await pause(20_000); // three sessions: as long as a consumer may say nothing
  service.child.kill('SIGCONT');
  await produced.send(records('after', 50));
  await until(async () => (await storedBy(service)) === 150);
  await terminated(t, service);
  await accountedFor(t, place.db, produced.at);
});

test.serial('what retention took unread is a gap and shown in coverage, also where nothing came after it', (t) =>
  withOwnKafka(t, { properties: FAST_CLEANUP }, async (kafka, place) => {
    const config = { 'segment.bytes': '1048576' };
    const produced = await Produced.start(t, place, { config });
    await produced.send(records('read', 10));
    await catchUp(t, place);
    const lost = new Map(produced.at);
    const admin = kafkaClient(kafka.brokers).admin();
    await admin.connect();
    await admin.fetchTopicOffsets('cloudtrail'); // deleteTopicRecords looks at what is known already
    await produced.send(records('unread', 40));
    await admin.deleteTopicRecords({ topic: 'cloudtrail', partitions: [{ partition: 0, offset: '30' }] });
    await catchUp(t, place);
    await admin.deleteTopicRecords({ topic: 'cloudtrail', partitions: [{ partition: 0, offset: '50' }] });
    await produced.send(records('later unread', 5));
    await admin.deleteTopicRecords({ topic: 'cloudtrail', partitions: [{ partition: 0, offset: '55' }] });
    await catchUp(t, place);
    await admin.disconnect();
    const gaps = [...produced.at.keys()].filter((offset) => {
      const number = Number(offset.split('/')[2]);
      return !lost.has(offset) && (number < 30 || number >= 50);
    });
    await accountedFor(t, place.db, produced.at, new Set(gaps));
    await withDuckDb(place.db, async (connection) => {
      t.deepEqual(
        await rows(connection, 'SELECT from_offset::INTEGER, to_offset::INTEGER, cause FROM kafka_gaps ORDER BY ALL'),
        [
          [10, 30, 'retention'],
          [50, 55, 'retention'],
        ],
      );
      t.true((await rows(connection, `SELECT reason FROM coverage WHERE reason ILIKE '%retention%'`)).length > 0);
    });
  }),
);

test.serial('a topic that is deleted and made again is another: all of it is read', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  const first = await Produced.start(t, place);
  const service = startService(t, place);
  await first.send(records('first', 20));
  await until(async () => (await storedBy(service)) === 20);
  const admin = kafkaClient(kafka.brokers).admin();
  await admin.connect();
  const { chains: _, ...topics } = place.topics;
  await admin.deleteTopics({ topics: Object.values(topics) });
  await until(async () => !(await admin.listTopics()).includes(place.topics.cloudtrail));
  await admin.disconnect();
  const second = await Produced.start(t, place);
  await second.send(records('second', 30));
  await until(async () => (await storedBy(service)) === 50);
  await terminated(t, service);
  await withDuckDb(place.db, async (connection) => {
    t.deepEqual(
      await rows(
        connection,
        `SELECT next_offset::INTEGER FROM kafka_positions WHERE source = 'cloudtrail' ORDER BY ALL`,
      ),
      [[20], [30]],
    );
    t.deepEqual(await rows(connection, 'SELECT * FROM kafka_gaps'), []);
  });
});

test.serial('transactions: what was committed is read, markers and aborted messages are gaps', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  await Produced.start(t, place);
  const producer = kafkaClient(kafka.brokers).producer({
    transactionalId: kafka.topic('transactions'),
    maxInFlightRequests: 1,
    idempotent: true,
  });
  await producer.connect();
  const send = async (word: string, end: 'commit' | 'abort') => {
    const transaction = await producer.transaction();
    const messages = records(word, 3).map(({ value }) => ({ value, partition: 0 }));
    await transaction.send({ topic: place.topics.cloudtrail, messages });
    await transaction[end]();
  };
  await send('kept', 'commit'); // 0-2, marker 3
  await send('not kept', 'abort'); // 4-6, marker 7
  await send('kept too', 'commit'); // 8-10, marker 11
  await send('at the end', 'abort'); // 12-14, marker 15
  await producer.disconnect();
  await catchUp(t, place);
  await withDuckDb(place.db, async (connection) => {
    t.deepEqual(
      await rows(connection, 'SELECT from_offset::INTEGER, to_offset::INTEGER, cause FROM kafka_gaps ORDER BY ALL'),
      [
        [3, 4, 'transaction_marker'],
        [4, 7, 'aborted_transaction'],
        [7, 8, 'transaction_marker'],
        [11, 12, 'transaction_marker'],
        [12, 15, 'aborted_transaction'],
        [15, 16, 'transaction_marker'],
      ],
    );
    t.deepEqual(
      await rows(connection, `SELECT event_id FROM cloudtrail_events ORDER BY ALL`),
      ['kept 0', 'kept 1', 'kept 2', 'kept too 0', 'kept too 1', 'kept too 2'].map((id) => [id]),
    );
  });
});

test.serial('what compaction took unread is a gap', (t) =>
  withOwnKafka(t, { properties: FAST_CLEANUP, dataDir: temporaryFolder(t) }, async (kafka, place, { dataDir }) => {
    const config = { 'cleanup.policy': 'compact', 'segment.ms': '100', 'min.cleanable.dirty.ratio': '0.01' };
    await Produced.start(t, place, { config });
    const producer = kafkaClient(kafka.brokers).producer();
    await producer.connect();
    const send = async (word: string, keys: number) => {
      const messages = records(word, keys).map(({ value }, key) => ({ key: String(key), value, partition: 0 }));
      await producer.send({ topic: place.topics.cloudtrail, messages });
      await pause(200); // the next batch begins a segment: the newest one is never compacted
    };
    await send('old', 10); // 0-9
    await send('new', 6); // 10-15, of the same keys as 0-5
    await send('last', 1); // 16, of the same key as 0 and 10
    await send('open', 1);
    const cleaned = join(dataDir!, 'log', 'cleaner-offset-checkpoint');
    await until(() => existsSync(cleaned) && /^cloudtrail 0 1[67]$/m.test(readFileSync(cleaned, 'utf8')));
    await producer.disconnect();
    await catchUp(t, place);
    await withDuckDb(place.db, async (connection) => {
      t.deepEqual(
        await rows(connection, 'SELECT from_offset::INTEGER, to_offset::INTEGER, cause FROM kafka_gaps ORDER BY ALL'),
        [
          [0, 6, 'compaction'],
          [10, 11, 'compaction'],
        ],
      );
      const kept = [
        'last 0',
        ...[1, 2, 3, 4, 5].map((n) => `new ${n}`),
        ...[6, 7, 8, 9].map((n) => `old ${n}`),
        'open 0',
      ];
      const found = await rows(connection, 'SELECT event_id FROM cloudtrail_events ORDER BY ALL');
      t.deepEqual(found.flat(), kept);
    });
  }),
);

test.serial('a batch that would inflate without bound is in quarantine, and costs only itself', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  const produced = await Produced.start(t, place);
  await produced.send(records('before', 3));
  const producer = kafkaClient(kafka.brokers).producer();
  await producer.connect();
  await producer.send({
    topic: place.topics.cloudtrail,
    compression: kafkajs.CompressionTypes.GZIP,
    messages: [{ value: Buffer.alloc(129 * 1024 * 1024, ' '), partition: 0 }],
  });
  await producer.disconnect();
  await produced.send(records('after', 3));
  await catchUp(t, place);
  await withDuckDb(place.db, async (connection) => {
    const quarantined = 'SELECT reason, detail, octet_length(raw) < 1048576 FROM quarantine';
    const detail = 'gzip batch cannot be inflated: Cannot create a Buffer larger than 134217728 bytes';
    t.deepEqual(await rows(connection, quarantined), [['bad_batch', detail, true]], 'kept as it came');
    const found = await rows(connection, 'SELECT event_id FROM cloudtrail_events ORDER BY ALL');
    t.deepEqual(found.flat(), ['after 0', 'after 1', 'after 2', 'before 0', 'before 1', 'before 2']);
    t.deepEqual(await rows(connection, 'SELECT * FROM kafka_gaps'), []);
  });
});

for (const codec of ['gzip', 'snappy', 'lz4', 'zstd'])
  test.serial(`batches that the broker compressed with ${codec} are read`, async (t) => {
    const kafka = await kafkaForTests(t);
    if (!kafka) return;
    const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
    const produced = await Produced.start(t, place, { config: { 'compression.type': codec } });
    await produced.send([...records('squeezed', 500), poison('cloudtrail', 1)]);
    await catchUp(t, place);
    await accountedFor(t, place.db, produced.at);
  });

/** How a store is harmed between two runs, and what the next one calls it. */
const HARMS: Readonly<Record<string, { harm(db: string, older: string): void; incident: string }>> = {
  'a deleted file': { harm: (db) => rmSync(db), incident: 'deleted' },
  'an older copy in its place': {
    harm: (db, older) => {
      copyFileSync(older, db);
      rmSync(`${db}.wal`, { force: true });
    },
    incident: 'rolled_back',
  },
  'an older copy, the file beside it gone': {
    harm: (db, older) => {
      copyFileSync(older, db);
      rmSync(`${db}.wal`, { force: true });
      rmSync(`${db}.head`);
    },
    incident: 'rolled_back',
  },
  'a write-ahead log cut short': {
    harm: (db) => truncateSync(`${db}.wal`, Math.floor(statSync(`${db}.wal`).size / 2)),
    incident: 'rolled_back',
  },
  'a write-ahead log that another wrote over': {
    harm: (db) => writeFileSync(`${db}.wal`, Buffer.alloc(4096, 0xab)),
    incident: 'rolled_back',
  },
  'a write-ahead log with garbage inside': {
    harm: (db) => {
      const log = readFileSync(`${db}.wal`);
      const middle = Math.floor(log.length / 2);
      log.fill(0xab, middle, middle + 64);
      writeFileSync(`${db}.wal`, log);
    },
    incident: 'damaged',
  },
  'a file of garbage': {
    harm: (db) => {
      writeFileSync(db, Buffer.alloc(16_384, 0xab));
      rmSync(`${db}.wal`, { force: true });
    },
    incident: 'damaged',
  },
};

for (const [title, { harm, incident: called }] of Object.entries(HARMS))
  test.serial(`${title} is noticed at start, kept, and made good from Kafka`, async (t) => {
    const kafka = await kafkaForTests(t);
    if (!kafka) return;
    const folder = temporaryFolder(t);
    const place = placeIn(folder, kafka.brokers, kafka.topic);
    const produced = await Produced.start(t, place);
    await produced.send(records('early', 30));
    await catchUp(t, place);
    const older = join(folder, 'older');
    copyFileSync(place.db, older);
    const service = startService(t, place);
    await produced.send(records('late', 30));
    await produced.send([
      ...messagesOf(incident(2, { cloudtrailRecords: 60 })).slice(0, 200),
      ...closing('2026-03-01T12:00:00Z'),
    ]);
    await until(async () => (await storedBy(service)) >= 30);
    await kafkaHasHeard(place, 60);
    service.child.kill('SIGKILL');
    await service.ended;
    harm(place.db, older);

    await catchUp(t, place);
    await accountedFor(t, place.db, produced.at);
    const incidents = await withDuckDb(place.db, (connection) => rows(connection, 'SELECT what FROM _store.incidents'));
    t.true(incidents.flat().includes(called), JSON.stringify(incidents));
    if (called !== 'deleted') {
      const kept = readdirSync(dirname(place.db)).filter((name) => name.startsWith(`${basename(place.db)}.`));
      t.true(
        kept.some((name) => /(rolled-back|damaged)-1/.test(name)),
        kept.join(),
      );
    }
    t.true(existsSync(place.db));
  });

/** The group's offsets are a witness of how far the store was. */
async function kafkaHasHeard({ brokers, group, topics }: Place, least: number): Promise<void> {
  const admin = kafkaClient(brokers).admin();
  await admin.connect();
  await until(async () => {
    const [topic] = await admin.fetchOffsets({ groupId: `${group}-cloudtrail`, topics: [topics.cloudtrail] });
    return Number(topic!.partitions[0]!.offset) >= least;
  });
  await admin.disconnect();
}
