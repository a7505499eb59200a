import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below the ranges that Linux and macOS hand to outgoing connections: while a server is down for a restart, a client that tries
 * its port again and again must not be given that very port as its own, which would keep the server from coming back.
 */
const FIRST = 20_000;
const LAST = 29_999;
const TRIES = 100;

/** So many ports of 127.0.0.1 on which nobody listens. */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let tries = 0; found.size < count && tries < TRIES; tries += 1) {
    const port = randomInt(FIRST, LAST + 1);
    if (await isFree(port)) found.add(port);
  }
  if (found.size < count) throw new Error(`no free ports between ${FIRST} and ${LAST}`);
  return [...found];
}

/** Whether a server could listen on this port of 127.0.0.1 now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const probe = createServer();
    probe.once('error', () => answer(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => answer(true)));
  });
}
