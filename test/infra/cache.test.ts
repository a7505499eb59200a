import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { cacheFolder, madeOnce } from '../../infra/launch/cache.js';
import { temporaryFolder } from '../helpers/store.js';

function emptyCache(t: ExecutionContext): void {
  process.env['XDG_CACHE_HOME'] = temporaryFolder(t); // this thread's own copy of the environment
}

test.serial('many who ask at once get one folder, filled once', async (t) => {
  emptyCache(t);
  let filled = 0;
  const fill = async (folder: string) => {
    filled += 1;
    writeFileSync(join(folder, 'server'), 'whole');
  };
  const folders = await Promise.all([1, 2, 3].map(() => madeOnce('server-1', fill)));
  t.is(filled, 1);
  t.is(new Set(folders).size, 1);
  t.is(readFileSync(join(folders[0]!, 'server'), 'utf8'), 'whole');
});

test.serial('what could not be filled leaves nothing behind, and is tried again', async (t) => {
  emptyCache(t);
  const failing = madeOnce('server-1', async () => {
    throw new Error('no network');
  });
  await t.throwsAsync(failing, { message: 'no network' });
  t.deepEqual(readdirSync(cacheFolder()), []);
  t.true((await madeOnce('server-1', async () => {})).endsWith('server-1'));
});

test.serial('a process that died while it filled the folder keeps nobody waiting', async (t) => {
  emptyCache(t);
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const lock = join(cacheFolder(), 'server-1.lock');
  mkdirSync(dirname(lock), { recursive: true });
  writeFileSync(lock, String(dead));
  t.true((await madeOnce('server-1', async () => {})).endsWith('server-1'));
});
