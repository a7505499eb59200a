import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { startServer } from '../../infra/launch/server.js';

const module = join(import.meta.dirname, '../../infra/launch/server.js');

test('a server ends when the process that started it is killed, and so do its temporary files', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'causeline-server-'));
  const code = `
    const { startServer } = await import(${JSON.stringify(module)});
    const server = await startServer({ name: 'sleep', command: 'sleep', args: ['600'], scratch: ${JSON.stringify(scratch)}, ready: async () => {} });
    console.log(server.pid);
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  t.true(isRunning(Number(line)));

  parent.kill('SIGKILL');

  t.true(await soon(() => !isRunning(Number(line))));
  t.true(await soon(() => !existsSync(scratch)));
});

test('a server that ends by itself keeps its files: it may be started again', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'causeline-server-'));
  const server = await startServer({ name: 'sleep', command: 'sleep', args: ['600'], scratch, ready: async () => {} });
  t.teardown(() => rmSync(scratch, { recursive: true }));
  await server.kill();
  await sleep(300);
  t.true(existsSync(scratch));
});

test('a server that does not start says why, in its own words', async (t) => {
  const failing = startServer({
    name: 'Kafka',
    command: 'sh',
    args: ['-c', 'echo "the disk is full" >&2; exit 1'],
    ready: ({ lineWith }) => lineWith('started'),
  });
  await t.throwsAsync(failing, { code: 'not_available', message: /Kafka ended while it started.*the disk is full/s });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function soon(holds: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 100; tries += 1) {
    if (holds()) return true;
    await sleep(100);
  }
  return false;
}
