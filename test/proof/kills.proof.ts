import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { type Random, random } from '../../replay/generate/random.js';
import { incident } from '../helpers/incident.js';
import { kafkaForTests } from '../helpers/kafka.js';
import {
  accountedFor,
  closing,
  knownOf,
  type Message,
  messagesOf,
  Produced,
  poison,
  record,
  tombstone,
} from '../helpers/produced.js';
import { catchUp, type Place, placeIn, type Service, startService } from '../helpers/service.js';
import { rows, temporaryFolder, value, withDuckDb } from '../helpers/store.js';

/** `npm run test:soak` asks for more. */
const KILLS = Number(process.env['CAUSELINE_KILLS'] ?? 40);
const SEED = Number(process.env['CAUSELINE_SEED'] ?? randomInt(1_000_000));

const POINTS = ['begin', 'rows', 'commit', 'committed', 'checkpoint', 'offsets'] as const;

test('killed again and again, at any moment and at every point of a commit, nothing is lost, doubled or judged otherwise', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  t.log(`${KILLS} kills, CAUSELINE_SEED=${SEED}`);
  const chance = random(SEED);
  const place = placeIn(temporaryFolder(t), kafka.brokers, kafka.topic);
  const produced = await Produced.start(t, place, { partitions: 3 });
  const slices = sliced(night(chance), KILLS + 1);
  for (let life = 0; life < KILLS; life += 1) {
    await produced.send(slices[life]!, chance);
    await liveAndDie(t, place, produced, life, chance);
  }
  await produced.send([...slices[KILLS]!, ...closing('2026-03-01T12:00:00Z')], chance);
  await catchUp(t, place);

  await accountedFor(t, place.db, produced.at);
  await positionsAreWhole(t, place, produced);
  const clean = await knownOf(await cleanRun(t, kafka, produced));
  t.true(clean['chains']!.length > 0);
  t.deepEqual(await knownOf(place.db), clean);
});

/** Six minutes of three sources in no order, with poison in every topic, messages without a value, and messages that come twice. */
function night(chance: Random): Message[] {
  const messages = messagesOf(incident(SEED, { cloudtrailRecords: 3000 }));
  const twice = messages.filter(() => chance.between(0, 1) < 0.05);
  const bad = (['cloudtrail', 'traces', 'metrics'] as const).flatMap((source) => [
    ...Array.from({ length: 20 }, (_, number) => poison(source, number)),
    tombstone(source),
  ]);
  return [...messages, ...twice, ...bad]
    .map((message) => ({ message, at: chance.between(0, 1) }))
    .sort((a, b) => a.at - b.at)
    .map(({ message }) => message);
}

function sliced<T>(items: readonly T[], count: number): T[][] {
  const size = Math.ceil(items.length / count);
  return Array.from({ length: count }, (_, index) => items.slice(index * size, (index + 1) * size));
}

/** A killed member stays in its group until its session ends: most lives have a group of their own, as the store knows where they go on. */
const groupOf = (place: Place, life: number): Place =>
  life % 10 === 9 ? place : { ...place, group: `${place.group}.${life}` };

/** Even lives are armed, each point in turn; the others die at any moment. */
async function liveAndDie(
  t: ExecutionContext,
  place: Place,
  produced: Produced,
  life: number,
  chance: Random,
): Promise<void> {
  if (life % 2 === 1) return dieAtAnyMoment(startService(t, groupOf(place, life)), life, chance);
  const point = POINTS[(life / 2) % POINTS.length]!;
  const service = startService(t, groupOf(place, life), {
    env: {
      NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, '../helpers/armed.js')).href}`,
      CAUSELINE_KILL_AT: point,
      CAUSELINE_KILL_NTH: String(Math.floor(chance.between(1, point === 'offsets' ? 3 : 5))),
      CAUSELINE_KILL_AFTER_US: String(Math.floor(chance.between(0, 5_000))),
    },
  });
  while (service.child.exitCode === null && service.child.signalCode === null) {
    await produced.send([record(`life ${life}, ${produced.at.size}`)], chance);
    await pause(100);
  }
  const { stderr } = await service.ended;
  t.is(service.child.signalCode, 'SIGKILL', `${point}\n${stderr}`);
}

async function dieAtAnyMoment(service: Service, life: number, chance: Random): Promise<void> {
  if (life % 4 === 1) await service.saw(' reads ');
  await pause(chance.between(0, life % 4 === 1 ? 800 : 3_000));
  service.child.kill('SIGKILL');
  await service.ended;
}

/** Each partition was read from its first offset to its last. */
async function positionsAreWhole(t: ExecutionContext, place: Place, { at }: Produced): Promise<void> {
  const expected = new Map<string, number>();
  for (const offset of at.keys()) {
    const partition = offset.slice(0, offset.lastIndexOf('/'));
    expected.set(partition, (expected.get(partition) ?? 0) + 1);
  }
  const query = `SELECT topic || '/' || "partition", first_offset::INTEGER, next_offset::INTEGER, messages::INTEGER FROM kafka_positions ORDER BY ALL`;
  await withDuckDb(place.db, async (connection) => {
    t.deepEqual(
      await rows(connection, query),
      [...expected.keys()].sort().map((name) => [name, 0, expected.get(name), expected.get(name)]),
    );
    t.is(Number(await value(connection, 'SELECT count(*) FROM _store.incidents')), 0);
  });
}

/** The same messages, each once, in another store that nobody disturbs. */
async function cleanRun(
  t: ExecutionContext,
  { brokers, topic }: { brokers: readonly string[]; topic: (name: string) => string },
  { at }: Produced,
): Promise<string> {
  const place = placeIn(temporaryFolder(t), brokers, topic);
  const clean = await Produced.start(t, place);
  await clean.send([...new Set(at.values())]);
  await catchUp(t, place);
  return place.db;
}
