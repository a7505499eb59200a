import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Where servers are kept once they were fetched or built. */
export const cacheFolder = (): string => join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'causeline');

/**
 * The folder `name` of the cache, filled by `fill` if it is not there. It is filled under another name and then renamed, so
 * that a half-filled one is never found, and by one process at a time, because package managers' own caches do not bear
 * two that fetch the same.
 */
export async function madeOnce(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const cache = cacheFolder();
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const unlock = await lock(`${folder}.lock`);
  try {
    if (!existsSync(folder)) await fillAndRename(folder, fill);
  } finally {
    unlock();
  }
  return folder;
}

async function fillAndRename(folder: string, fill: (folder: string) => Promise<void>): Promise<void> {
  const unfinished = mkdtempSync(`${folder}.`);
  try {
    await fill(unfinished);
    if (!existsSync(folder)) renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** A file that holds the pid of who has the lock; one whose process is gone counts for nothing. */
async function lock(file: string): Promise<() => void> {
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (isStale(file)) rmSync(file, { force: true });
      else await sleep(200);
    }
  }
}

function isStale(file: string): boolean {
  try {
    // Two threads of one process share a pid, so a lock of our own pid may well be held.
    const pid = Number(readFileSync(file, 'utf8'));
    if (pid === 0) return Date.now() - statSync(file).mtimeMs > 5000; // made, but not yet written
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
