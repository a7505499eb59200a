import { mkdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { causeline } from '../helpers/cli.js';
import { incident } from '../helpers/incident.js';
import { kafkaClient, kafkaForTests } from '../helpers/kafka.js';
import { accountedFor, closing, messagesOf, Produced, poison, record } from '../helpers/produced.js';
import { catchUp, type Place, placeIn, startService, until } from '../helpers/service.js';
import { rows, temporaryFolder, value, withDuckDb } from '../helpers/store.js';

interface Prepared {
  readonly place: Place;
  readonly produced: Produced;
}

async function prepared(t: ExecutionContext): Promise<Prepared | undefined> {
  const kafka = await kafkaForTests(t);
  if (!kafka) return undefined;
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  return { place, produced: await Produced.start(t, place, { partitions: 2 }) };
}

async function sql(place: Place, query: string) {
  return causeline(['sql', query, '--db', place.db, '--format', 'json']);
}

async function answer(place: Place, query: string): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await sql(place, query);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

const countOf = async (place: Place, table: string): Promise<number> =>
  Number((await answer(place, `SELECT count(*) AS n FROM ${table}`))[0]!['n']);

test.serial('SIGTERM stores what was read, tells Kafka how far, leaves the group, and is code 0', async (t) => {
  const ready = await prepared(t);
  if (!ready) return;
  const { place, produced } = ready;
  const service = startService(t, place);
  await service.saw('source=cloudtrail topic=');
  await produced.send(Array.from({ length: 50 }, (_, number) => record(`event ${number}`)));
  await until(async () => (await countOf(place, 'cloudtrail_events')) === 50);
  await produced.send([record('the last')]);
  await until(async () => (await countOf(place, 'cloudtrail_events')) === 51);
  service.child.kill('SIGTERM');
  const { code, stderr } = await service.ended;
  t.is(code, 0, stderr);

  const admin = kafkaClient(place.brokers).admin();
  await admin.connect();
  const groupId = `${place.group}-cloudtrail`;
  const { groups } = await admin.describeGroups([groupId]);
  t.deepEqual(
    groups.map(({ state, members }) => [state, members.length]),
    [['Empty', 0]],
  );
  const [topic] = await admin.fetchOffsets({ groupId, topics: [place.topics.cloudtrail] });
  await admin.disconnect();
  await withDuckDb(place.db, async (connection) => {
    const positions = await rows(
      connection,
      `SELECT "partition" || ' ' || next_offset FROM kafka_positions WHERE source = 'cloudtrail' ORDER BY ALL`,
    );
    t.deepEqual(
      topic!.partitions.map(({ partition, offset }) => `${partition} ${offset}`).sort(),
      positions.flat(),
      'the offsets that Kafka knows are those of the store',
    );
    const store = String(await value(connection, 'SELECT store_id FROM _store.identity'));
    for (const { metadata } of topic!.partitions) t.regex(metadata!, new RegExp(`^causeline ${store} \\d+$`));
  });
  await accountedFor(t, place.db, produced.at);
});

test.serial('while it runs, the other commands ask it: read-only, by a socket for its owner alone', async (t) => {
  const ready = await prepared(t);
  if (!ready) return;
  const { place, produced } = ready;
  const service = startService(t, place);
  await produced.send([...messagesOf(incident(5, { cloudtrailRecords: 60 })), ...closing('2026-03-01T12:00:00Z')]);
  await service.saw(' runs ');
  await until(async () => (await answer(place, 'SELECT 1 FROM chains')).length > 0);

  t.is(statSync(`${place.db}.sock`).mode & 0o777, 0o600);
  const chains = await causeline(['chains', '--db', place.db, '--json']);
  t.is(chains.code, 0, chains.stderr);
  const [chain] = JSON.parse(chains.stdout) as { chain_id: string }[];
  const explained = await causeline(['explain', chain!.chain_id, '--db', place.db]);
  t.is(explained.code, 0, explained.stderr);
  t.regex(explained.stdout, /retry/);
  const unknown = await causeline(['explain', 'ffffffff', '--db', place.db]);
  t.is(unknown.code, 1);
  const coverage = await causeline(['coverage', '--db', place.db, '--category', 'Management', '--json']);
  t.is(coverage.code, 0, coverage.stderr);
  t.true((JSON.parse(coverage.stdout) as unknown[]).length > 0);

  for (const query of [
    'DELETE FROM _store.spans',
    'DROP VIEW spans',
    'CREATE TABLE x (y INTEGER)',
    `COPY spans TO '${place.db}.stolen'`,
    `SELECT * FROM read_text('/etc/hostname')`,
    `ATTACH '${place.db}.other'`,
    'SET memory_limit = "1GB"',
    'CHECKPOINT',
    'SELECT 1; DELETE FROM _store.spans',
  ]) {
    const refused = await sql(place, query);
    t.is(refused.code, 2, `${query}\n${refused.stdout}`);
  }
  service.child.kill('SIGTERM');
  t.is((await service.ended).code, 0);
});

test.serial('queries that never end do not keep commits from going on', async (t) => {
  const ready = await prepared(t);
  if (!ready) return;
  const { place, produced } = ready;
  const service = startService(t, place);
  await service.saw('source=cloudtrail topic=');
  await produced.send([record('before')]);
  const stored = async () =>
    Number(/^causeline_rows_total\{source="cloudtrail"\} (\d+)/m.exec((await service.get('/metrics')).text)?.[1] ?? 0);
  await until(async () => (await stored()) === 1);
  const heavy = 'SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 3';
  let ended = 0;
  const asked = Array.from({ length: 5 }, async () => {
    await sql(place, heavy);
    ended += 1;
  });
  for (let number = 0; number < 20; number += 1) {
    await produced.send([record(`beside ${number}`)]);
    await until(async () => (await stored()) === number + 2);
  }
  t.is(ended, 0, 'all were under way while twenty commits were made');
  service.child.kill('SIGTERM');
  t.is((await service.ended).code, 0);
  await Promise.all(asked);
});

test.serial('a second run on the same file says that another process holds it', async (t) => {
  const ready = await prepared(t);
  if (!ready) return;
  const first = startService(t, ready.place);
  await first.saw(' runs ');
  const second = await startService(t, ready.place).ended;
  t.is(second.code, 2);
  t.regex(second.stderr, /Another process holds/);
  t.is((await first.get('/healthz')).status, 200);
});

test.serial('without a broker it stays up, is not ready and says why; SIGTERM ends it all the same', async (t) => {
  const place = placeIn(temporaryFolder(t), ['127.0.0.1:9'], (word) => word);
  const service = startService(t, place);
  await service.saw('the broker does not answer');
  t.is((await service.get('/healthz')).status, 200);
  await until(async () => /^cloudtrail: .*127\.0\.0\.1:9/m.test((await service.get('/readyz')).text));
  t.is((await service.get('/readyz')).status, 503);
  service.child.kill('SIGTERM');
  t.is((await service.ended).code, 0);
});

test.serial('it waits for topics that do not exist yet, then reads them from their beginning', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  const service = startService(t, place);
  await service.saw('waits for a topic');
  await until(async () => /there is no topic/.test((await service.get('/readyz')).text));
  const produced = await Produced.start(t, place);
  await produced.send([record('first'), poison('cloudtrail', 1)]);
  await until(async () => (await service.get('/readyz')).status === 200);
  let text = '';
  await until(async () => {
    ({ text } = await service.get('/metrics'));
    return (
      /^causeline_correlations_total [1-9]/m.test(text) &&
      /^causeline_dirty_commits 0/m.test(text) &&
      text.includes('causeline_lag_offsets{')
    );
  });
  for (const name of [
    'messages_total{source="cloudtrail"} 2',
    'rows_total{source="cloudtrail"} 1',
    'duplicates_total 0',
    'redelivered_total 0',
    'quarantined_total{reason="bad_json"} 1',
    'commit_duration_seconds_count',
    'commit_duration_seconds_bucket{le="2.5"}',
    'freshness_seconds',
  ])
    t.true(text.includes(`causeline_${name}`), `${name}\n${text}`);
  t.is((await service.get('/elsewhere')).status, 404);
  service.child.kill('SIGTERM');
  t.is((await service.ended).code, 0);
  await accountedFor(t, place.db, produced.at);
});

test.serial('its own spans and metrics go out by OTLP where a standard variable asks for it', async (t) => {
  const ready = await prepared(t);
  if (!ready) return;
  const { place, produced } = ready;
  const received = new Map<string, string>();
  const collector = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      received.set(request.url!, (received.get(request.url!) ?? '') + Buffer.concat(parts).toString('latin1'));
      response.end();
    });
  });
  await new Promise<void>((done) => collector.listen(0, '127.0.0.1', done));
  t.teardown(() => collector.close());
  const { port } = collector.address() as AddressInfo;
  const service = startService(t, place, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` } });
  await service.saw('source=cloudtrail topic=');
  await produced.send([record('traced')]);
  await until(async () => (await countOf(place, 'cloudtrail_events')) === 1);
  service.child.kill('SIGTERM');
  const { code, stderr } = await service.ended;
  t.is(code, 0, stderr);
  t.regex(received.get('/v1/traces') ?? '', /causeline[\s\S]*commit/);
  t.regex(received.get('/v1/metrics') ?? '', /causeline\.rows/);
});

test.serial('a store that cannot be written ends it with code 1, also where no message follows', async (t) => {
  const ready = await prepared(t);
  if (!ready) return;
  const { place, produced } = ready;
  const service = startService(t, place);
  await service.saw('source=cloudtrail topic=');
  mkdirSync(`${place.db}.batch`);
  mkdirSync(join(`${place.db}.batch`, 'in the way'));
  await produced.send([record('nobody takes this')]);
  const { code, stderr } = await service.ended;
  t.is(code, 1, stderr);
  t.regex(stderr, /error +ends, to be started anew: A batch could not be stored/);
});

test.serial(
  'revisions go to a topic as CloudEvents, each at least once over restarts, by ids that follow from them',
  async (t) => {
    const ready = await prepared(t);
    if (!ready) return;
    const { place, produced } = ready;
    await produced.send(messagesOf(incident(5, { cloudtrailRecords: 60 })));
    await catchUp(t, place);
    await produced.send(closing('2026-03-01T12:00:00Z'));
    await catchUp(t, place);
    const recorded = await withDuckDb(place.db, (connection) =>
      rows(connection, `SELECT chain_id || '/r' || revision FROM chain_history ORDER BY ALL`),
    );
    t.true(recorded.length >= 2);
    const events = await eventsOf(place, recorded.length);
    t.deepEqual(events.map(({ id }) => id).sort(), recorded.flat());
    for (const { specversion, type, subject, data } of events) {
      t.is(specversion, '1.0');
      t.is(type, 'causeline.chain.revision');
      t.is(subject, data.chain.id);
    }
  },
);

interface ChainEvent {
  readonly specversion: string;
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly data: { readonly chain: { readonly id: string } };
}

async function eventsOf({ brokers, topics, group }: Place, count: number): Promise<ChainEvent[]> {
  const consumer = kafkaClient(brokers).consumer({ groupId: `${group}-events`, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topics.chains], fromBeginning: true });
  const events: ChainEvent[] = [];
  await consumer.run({ eachMessage: async ({ message }) => void events.push(JSON.parse(String(message.value))) });
  await until(() => events.length >= count);
  await consumer.disconnect();
  return events;
}
