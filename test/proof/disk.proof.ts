import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startKafka } from '../../infra/launch/kafka.js';
import { kafkaCanStart, kafkaForTests } from '../helpers/kafka.js';
import { notRun } from '../helpers/not-run.js';
import { accountedFor, Produced, poison, record } from '../helpers/produced.js';
import { catchUp, placeIn, startService, until } from '../helpers/service.js';
import { rows, temporaryFolder, withDuckDb } from '../helpers/store.js';

const MIB = 1024 * 1024;

test.serial('a full disk holds it up and says so; once there is room it goes on, and nothing is lost', async (t) => {
  const kafka = await kafkaForTests(t);
  if (!kafka) return;
  const disk = smallDisk(t, 24);
  if (!disk) return;
  const place = placeIn(disk, kafka.brokers, kafka.topic);
  const produced = await Produced.start(t, place);
  await produced.send([record('before')]);
  await catchUp(t, place);
  const ballast = join(disk, 'ballast');
  fill(ballast);
  const service = startService(t, place);
  await produced.send(Array.from({ length: 4000 }, (_, number) => record(`${number} ${'x'.repeat(1500)}`)));
  await until(async () => /the store cannot be written/.test((await service.get('/readyz')).text));
  t.is((await service.get('/healthz')).status, 200);
  rmSync(ballast);
  await until(async () => (await service.get('/readyz')).status === 200);
  await until(async () =>
    /^causeline_rows_total\{source="cloudtrail"\} 4000$/m.test((await service.get('/metrics')).text),
  );
  service.child.kill('SIGTERM');
  const { code, stderr } = await service.ended;
  t.is(code, 0, stderr);
  await accountedFor(t, place.db, produced.at);
});

/** A disk of so many MiB of its own; undefined where nothing can be mounted. */
function smallDisk(t: ExecutionContext, size: number): string | undefined {
  const folder = join(temporaryFolder(t), 'disk');
  mkdirSync(folder);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}m`, 'tmpfs', folder], { stdio: 'pipe' });
  } catch (cause) {
    notRun(t, `no small disk can be mounted: ${(cause as Error).message.split('\n')[1] ?? ''}`);
    return undefined;
  }
  t.teardown(() => execFileSync('umount', ['-l', folder]));
  return folder;
}

/** Leaves next to no room. */
function fill(file: string): void {
  for (const size of [MIB, 64 * 1024])
    try {
      for (;;) writeFileSync(file, Buffer.alloc(size), { flag: 'a' });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOSPC') throw cause;
    }
}

test.serial('a compressed batch that went bad on the broker is in quarantine, and costs only itself', async (t) => {
  if (!(await kafkaCanStart(t))) return;
  const dataDir = temporaryFolder(t);
  const kafka = await startKafka({ dataDir });
  t.teardown(() => kafka.stop());
  const place = placeIn(temporaryFolder(t), kafka.brokers, (word) => word);
  const produced = await Produced.start(t, place, { config: { 'compression.type': 'gzip' } });
  for (const word of ['first', 'second', 'third'])
    await produced.send(Array.from({ length: 20 }, (_, number) => record(`${word} ${number}`)));
  process.kill(kafka.pid(), 'SIGTERM');
  await until(() => hasEnded(kafka.pid()));
  damageSecondBatch(join(dataDir, 'log', `${place.topics.cloudtrail}-0`, '00000000000000000000.log'));
  await kafka.restart();
  await catchUp(t, place);

  const at = (offset: number) => `${place.topics.cloudtrail}/0/${offset}`;
  const further = Array.from({ length: 19 }, (_, index) => at(21 + index));
  const sent = new Map([...produced.at, [at(20), poison('cloudtrail', 20)]]);
  await accountedFor(t, place.db, sent, new Set(further));
  await withDuckDb(place.db, async (connection) => {
    const found = await rows(connection, 'SELECT reason, origin FROM quarantine');
    t.deepEqual(found, [['bad_batch', `${at(20)}#0`]]);
    t.deepEqual(await rows(connection, 'SELECT DISTINCT cause FROM kafka_gaps'), [['bad_batch']]);
  });
});

function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

/** A batch begins with its first offset (8 bytes) and its length (4); its records begin 61 bytes in. */
function damageSecondBatch(file: string): void {
  const log = readFileSync(file);
  const second = 12 + log.readInt32BE(8);
  log.fill(0xab, second + 61 + 20, second + 61 + 60);
  writeFileSync(file, log);
}
