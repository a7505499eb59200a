import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { CauselineError } from '../../shared/errors.js';

/** A server that is running as a process of its own. */
export interface Server {
  readonly pid: number;
  /** Resolves when the process has ended, however it ended. */
  readonly ended: Promise<void>;
  /** SIGTERM, and SIGKILL if that did not end it in time. */
  stop(): Promise<void>;
  /** SIGKILL: what a crash or a lost machine looks like from outside. */
  kill(): Promise<void>;
}

export interface Program {
  /** As a person would call it: `Kafka`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** A folder that ends with the process if our own process dies before it can tidy up. */
  readonly scratch?: string | undefined;
  /** Resolves when the server answers. */
  readonly ready: (watch: Watch) => Promise<void>;
}

/** What `ready` may wait for. */
export interface Watch {
  /** Until the server prints a line that holds this. */
  readonly lineWith: (text: string) => Promise<void>;
  /** Aborted when waiting has become vain: the server ended, or the time is over. */
  readonly signal: AbortSignal;
}

const READY_WITHIN_MS = 120_000;
const STOP_WITHIN_MS = 15_000;
const LAST_LINES = 20;

/**
 * Starts a server, waits until it answers, and sees to it that it ends with us.
 * Throws `not_available` with the server's last words when it ends, or does not answer, before it is ready.
 */
export async function startServer(program: Program): Promise<Server> {
  const child = spawnGuarded(program);
  const ended = untilEnded(child);
  const printed = watchLines(child);
  const server: Server = {
    pid: child.pid ?? 0,
    ended,
    stop: () => stop(child, ended),
    kill: () => {
      child.kill('SIGKILL');
      return ended;
    },
  };
  try {
    await becomesReady(program, printed.lineWith, ended);
  } catch (cause) {
    await server.kill();
    throw notReady(program, cause, printed.last);
  }
  return server;
}

/**
 * No server may outlive us, even after a SIGKILL, and no operating system offers that to all of Node's platforms. So a
 * shell gets the reading end (3) of a pipe that only we can write to, and becomes the server itself, so that our child's pid is
 * the server's. Its watcher reads: a line means that the server has ended and all is well; the end of the pipe means that we
 * are gone, and the server has to go too.
 */
const GUARD = `
server=$$
(
  read -r _ <&3 && exit 0
  kill -TERM "$server"
  tries=0
  while kill -0 "$server" && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -KILL "$server"
  [ -z "$CAUSELINE_SCRATCH" ] || rm -rf "$CAUSELINE_SCRATCH"
) >/dev/null 2>&1 &
exec "$@" 3<&-
`;

function spawnGuarded({ command, args, scratch }: Program): ChildProcess {
  const child = spawn('sh', ['-c', GUARD, 'sh', command, ...args], {
    // A group of its own: Ctrl-C in a terminal reaches us alone, and we stop the servers in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, CAUSELINE_SCRATCH: scratch ?? '' },
  });
  const watcher = child.stdio[3] as Writable;
  watcher.on('error', () => {}); // it may be gone before we are
  child.on('exit', () => watcher.end('ended\n'));
  return child;
}

function untilEnded(child: ChildProcess): Promise<void> {
  return new Promise((done) => {
    child.once('exit', () => done());
    child.once('error', () => done());
  });
}

/** What the server prints must be read, or it would block on a full pipe; the last lines explain a failed start. */
function watchLines(child: ChildProcess) {
  const last: string[] = [];
  const waiting = new Map<string, () => void>();
  const read = (line: string) => {
    last.push(line);
    if (last.length > LAST_LINES) last.shift();
    for (const [text, found] of waiting) if (line.includes(text)) found();
  };
  for (const stream of [child.stdout!, child.stderr!]) createInterface({ input: stream }).on('line', read);
  const lineWith = (text: string) => new Promise<void>((found) => void waiting.set(text, found));
  return { last, lineWith };
}

async function becomesReady(program: Program, lineWith: Watch['lineWith'], ended: Promise<void>): Promise<void> {
  const vain = new AbortController();
  const giveUp = (why: string) => vain.abort(new Error(`${program.name} ${why}`));
  const timer = setTimeout(() => giveUp(`did not answer within ${READY_WITHIN_MS / 1000} s`), READY_WITHIN_MS);
  void ended.then(() => giveUp('ended while it started'));
  const aborted = new Promise<never>((_, fail) => {
    vain.signal.addEventListener('abort', () => fail(vain.signal.reason));
  });
  try {
    await Promise.race([program.ready({ lineWith, signal: vain.signal }), aborted]);
  } finally {
    clearTimeout(timer);
  }
}

async function stop(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  await ended;
  clearTimeout(timer);
}

function notReady({ name }: Program, cause: unknown, last: readonly string[]): CauselineError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const words = last.length === 0 ? 'It printed nothing.' : `It printed:\n${last.join('\n')}`;
  return new CauselineError('not_available', name, `${why}. ${words}`, { cause });
}
