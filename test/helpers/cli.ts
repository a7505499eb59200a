import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';

/** The built command line that belongs to this build of the tests. */
const main = resolve(import.meta.dirname, '../../services/main.js');

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Starts `causeline <args>` as a process of its own; its output is piped, as in a script. */
export function start(args: readonly string[], { env = {}, cwd }: Options = {}): ChildProcess {
  const { CAUSELINE_DB: _, ...inherited } = process.env;
  return spawn(process.execPath, [main, ...args], {
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd && { cwd }),
  });
}

export function causeline(args: readonly string[], options?: Options): Promise<Ended> {
  return ended(start(args, options));
}

export function ended(child: ChildProcess): Promise<Ended> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (piece: Buffer) => out.push(piece));
  child.stderr?.on('data', (piece: Buffer) => err.push(piece));
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (code) => done({ code, stdout: String(Buffer.concat(out)), stderr: String(Buffer.concat(err)) }));
  });
}
