import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { installEtcd } from '../../infra/launch/etcd-binary.js';
import { isFree } from '../../infra/launch/ports.js';
import { kafkaCanStart, kafkaClient } from '../helpers/kafka.js';

const stack = join(import.meta.dirname, '../../infra/stack.js');

test('npm run stack says where Kafka answers and what to try, and Ctrl-C stops it', async (t) => {
  if (!(await kafkaCanStart(t))) return;
  await installEtcd();
  const child = spawn(process.execPath, [stack], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said = await saidUntil(child, 'Ctrl-C stops all.');

  t.true(Math.max(...said.map((line) => line.length)) <= 80);
  const [address] = valuesOf(said, 'CAUSELINE_KAFKA_BROKERS');
  const admin = kafkaClient([address!]).admin();
  await admin.connect();
  t.deepEqual(await admin.listTopics(), []);
  await admin.disconnect();
  t.true(said.includes('  npx causeline run'));

  child.kill('SIGINT');

  t.deepEqual(await once(child, 'exit'), [0, null]);
  for (const port of [...valuesOf(said, 'CAUSELINE_KAFKA_BROKERS'), ...valuesOf(said, 'ETCDCTL_ENDPOINTS')])
    t.true(await isFree(Number(port.split(':').at(-1))), `${port} is still taken`);
});

test('npm run stack says what a machine lacks, and that nothing was started', async (t) => {
  const child = spawn(process.execPath, [stack], { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: '/nowhere' } });
  const said = await saidUntil(child);
  t.regex(said.join(' '), /Kafka is not started: Kafka needs Java 17 or newer/);
  t.regex(said.join(' '), /etcd is not started: there is neither `etcd` nor `go`/);
  t.true(Math.max(...said.map((line) => line.length)) <= 80);
  t.is(child.exitCode, 1);
});

/** What it prints, until a line, or until it ends. */
async function saidUntil(child: ChildProcess, last?: string): Promise<string[]> {
  const said: string[] = [];
  const ended = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout! })) {
    said.push(line);
    if (line === last) return said;
  }
  await ended;
  return said;
}

const valuesOf = (said: readonly string[], variable: string): string[] =>
  said.flatMap((line) => line.split(`  export ${variable}=`).slice(1));
