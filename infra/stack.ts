import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEtcd } from './launch/etcd.js';
import { installEtcd } from './launch/etcd-binary.js';
import { startKafka } from './launch/kafka.js';
import { installKafka } from './launch/kafka-jars.js';
import { isFree } from './launch/ports.js';

/**
 * `npm run stack`: starts what this machine can, says what it cannot and why, and stops all of it on Ctrl-C. Topics are not made:
 * `causeline run` waits for them, and `causeline replay --to-kafka` makes them.
 */
const USAGE = `npm run stack [-- --data FOLDER]

Starts Kafka and etcd without Docker, for trying Causeline out. Without --data
their data are gone when it stops.
`;

const WIDTH = 80;

/** Where Causeline and etcd's tools look without being told. */
const USUAL_PORT = { kafka: 9092, etcd: 2379 };

interface Stoppable {
  stop(): Promise<void>;
}

const running: Stoppable[] = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stopAll());

const { data, help } = readArguments();
if (help) print(USAGE.trimEnd());
else await startAll();

async function startAll(): Promise<void> {
  print('Starting Kafka and etcd; what is missing is fetched once, which takes minutes.');
  const started = await Promise.all([tellOf('Kafka', kafka), tellOf('etcd', etcd)]);
  if (started.includes(true)) print('', 'Ctrl-C stops all.');
  else process.exitCode = 1;
}

/** Starts one of them, and says that it answers and what to do with it, or why it does not. */
async function tellOf(name: string, start: () => Promise<string[] | { missing: string }>): Promise<boolean> {
  const outcome = await start().catch((cause: Error) => ({ missing: cause.message }));
  if (Array.isArray(outcome)) print('', `${name} answers.`, ...outcome);
  else print('', ...folded(`${name} is not started: ${outcome.missing}.`));
  return Array.isArray(outcome);
}

async function kafka(): Promise<string[] | { missing: string }> {
  const { missing } = await installKafka();
  if (missing !== undefined) return { missing };
  const started = await startKafka(await placeOf('kafka'));
  running.push(started);
  return [
    `  export CAUSELINE_KAFKA_BROKERS=${started.brokers.join(',')}`,
    'After that line try next, each in a terminal of its own:',
    '  npx causeline run',
    '  npx causeline replay replay/cases/storage-avalanche --to-kafka',
    '  npx causeline chains',
  ];
}

async function etcd(): Promise<string[] | { missing: string }> {
  const { missing } = await installEtcd();
  if (missing !== undefined) return { missing };
  const started = await startEtcd(await placeOf('etcd'));
  running.push(started);
  return [`  export ETCDCTL_ENDPOINTS=${started.endpoint}`, `Its metrics: ${started.endpoint}/metrics`];
}

/** The usual port where nobody else has it, else any; and its part of the data folder. */
async function placeOf(server: 'kafka' | 'etcd'): Promise<{ port?: number; dataDir?: string }> {
  const port = USUAL_PORT[server];
  return { ...((await isFree(port)) && { port }), ...(data !== undefined && { dataDir: join(data, server) }) };
}

async function stopAll(): Promise<void> {
  // What is still starting ends with this process: its shell sees to that.
  await Promise.all(running.map((server) => server.stop()));
  print('', 'Stopped.');
  process.exit();
}

function readArguments(): { data?: string | undefined; help?: boolean | undefined } {
  try {
    return parseArgs({ options: { data: { type: 'string' }, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (cause) {
    process.stderr.write(`error: ${(cause as Error).message}\n`);
    process.exit(2);
  }
}

function print(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Words of any length in lines that fit. */
function folded(text: string): string[] {
  const lines = [''];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1)!;
    if (line !== '' && line.length + 1 + word.length > WIDTH) lines.push(`  ${word}`);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
