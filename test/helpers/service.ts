import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { type Ended, ended, start } from './cli.js';

/** A `causeline run` as a process of its own. */
export interface Service {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves at the first line on stderr that holds this text, now or later. Rejects with all lines where the process ends without it. */
  saw(text: string): Promise<string>;
  /** Asks the HTTP side. */
  get(path: string): Promise<{ readonly status: number; readonly text: string }>;
}

/** Where a service reads and writes: names that no other test uses. */
export interface Place {
  readonly brokers: readonly string[];
  readonly db: string;
  readonly group: string;
  readonly topics: Readonly<Record<'cloudtrail' | 'traces' | 'metrics' | 'chains', string>>;
}

/** Topics and group of one test, in a folder of its own. */
export function placeIn(folder: string, brokers: readonly string[], name: (word: string) => string): Place {
  const topics = {
    cloudtrail: name('cloudtrail'),
    traces: name('spans'),
    metrics: name('metrics'),
    chains: name('chains'),
  };
  return { brokers, db: join(folder, 'store.duckdb'), group: name('group'), topics };
}

/** The shortest session that brokers take by default, and correlation as often as possible. */
export function environment({ brokers, db, group, topics }: Place): Record<string, string> {
  return {
    CAUSELINE_DB: db,
    CAUSELINE_KAFKA_BROKERS: brokers.join(),
    CAUSELINE_KAFKA_SESSION_TIMEOUT: '6000',
    CAUSELINE_GROUP: group,
    CAUSELINE_TOPIC_CLOUDTRAIL: topics.cloudtrail,
    CAUSELINE_TOPIC_SPANS: topics.traces,
    CAUSELINE_TOPIC_METRICS: topics.metrics,
    CAUSELINE_TOPIC_CHAINS: topics.chains,
    CAUSELINE_CORRELATE_INTERVAL: '100ms',
    CAUSELINE_HTTP: '127.0.0.1:0',
  };
}

/** Starts a service; the test's end is its end too. */
export function startService(
  t: Pick<ExecutionContext, 'teardown'>,
  place: Place,
  { args = [], env = {} }: { args?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
): Service {
  const child = start(['run', ...args], { env: { ...environment(place), ...env } });
  const end = ended(child);
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const each of waiting) each();
  };
  createInterface({ input: child.stderr! }).on('line', (line) => {
    lines.push(line);
    wake();
  });
  let over = false;
  child.on('close', () => {
    over = true;
    wake();
  });
  const saw = (text: string) =>
    new Promise<string>((found, missed) => {
      const look = () => {
        const line = lines.find((each) => each.includes(text));
        if (line === undefined && !over) return;
        waiting.delete(look);
        if (line === undefined) missed(new Error(`ended without '${text}':\n${lines.join('\n')}`));
        else found(line);
      };
      waiting.add(look);
      look();
    });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await end;
  });
  return {
    child,
    ended: end,
    saw,
    get: async (path) => {
      const address = /http=(\S+)/.exec(await saw(' runs '))?.[1];
      const url = `http://${address}${path}`;
      const again = () => fetch(url); // a kept connection may have been closed meanwhile
      const response = await fetch(url)
        .catch(again)
        .catch((cause: unknown) => {
          throw new Error(`${path} was not answered:\n${lines.join('\n')}`, { cause });
        });
      return { status: response.status, text: await response.text() };
    },
  };
}

/** Reads everything that the topics hold, correlates it and ends. */
export async function catchUp(
  t: ExecutionContext,
  place: Place,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { code, stderr } = await startService(t, place, { args: ['--until-caught-up'], env }).ended;
  t.is(code, 0, stderr);
  return stderr;
}

/** Waits until something holds: how long that takes is the machine's affair, and a test that waits in vain is ended by ava. */
export async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50));
}
