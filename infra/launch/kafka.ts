import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { CauselineError } from '../../shared/errors.js';
import { run } from './command.js';
import { type DataFolder, dataFolder } from './data-folder.js';
import { installKafka } from './kafka-jars.js';
import {
  brokerProperties,
  type Ports,
  type Properties,
  propertiesFile,
  SECURED_LISTENERS,
  type SecuredListener,
  type Security,
  scramUsers,
} from './kafka-properties.js';
import { freePorts } from './ports.js';
import { type Server, startServer } from './server.js';

export interface KafkaOptions {
  /** Where its data stay; without one they go when it stops. */
  readonly dataDir?: string;
  readonly port?: number;
  readonly controllerPort?: number;
  /** Opens the listeners of `SECURED_LISTENERS` beside the plain one. */
  readonly security?: Security;
  /** Added to server.properties, or in place of what stands there. */
  readonly properties?: Properties;
}

export interface RunningKafka {
  /** What a client without security connects to: `['127.0.0.1:29092']`. */
  readonly brokers: readonly string[];
  readonly port: number;
  /** What each secured listener's clients connect to; undefined without `security`. */
  readonly secured: Readonly<Record<SecuredListener, string>> | undefined;
  /** The broker's own process; another after each restart. */
  pid(): number;
  /** SIGKILL. Ports and data stay for `restart`. */
  kill(): Promise<void>;
  /** Stops it, if it runs, and starts it again on the same ports and data. */
  restart(): Promise<void>;
  /** Ends it for good, and its data with it unless they had a `dataDir`. */
  stop(): Promise<void>;
}

/**
 * Starts a real Kafka broker on 127.0.0.1 and waits until it answers: 3 to 6 s, 200 MB; the first time on a machine also
 * `installKafka`. Throws `not_available` where it cannot be had.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<RunningKafka> {
  const installed = await installKafka();
  if (installed.missing !== undefined) throw new CauselineError('not_available', 'kafka', installed.missing);
  const ports = await choosePorts(options);
  const broker: Broker = { jars: installed.jars, data: dataFolder('kafka', options.dataDir), ports, options };
  try {
    return running(broker, await boot(broker));
  } catch (cause) {
    broker.data.discard();
    throw cause;
  }
}

interface Broker {
  readonly jars: string;
  readonly data: DataFolder;
  readonly ports: Ports;
  readonly options: KafkaOptions;
}

const address = (port: number): string => `127.0.0.1:${port}`;

function running(broker: Broker, first: Server): RunningKafka {
  const { ports, data } = broker;
  let server = first;
  return {
    brokers: [address(ports.client)],
    port: ports.client,
    secured: ports.secured && mapValues(ports.secured, address),
    pid: () => server.pid,
    kill: () => server.kill(),
    restart: async () => {
      await server.stop();
      server = await boot(broker);
    },
    stop: async () => {
      await server.stop();
      data.discard();
    },
  };
}

async function choosePorts({ port, controllerPort, security }: KafkaOptions): Promise<Ports> {
  const names = security ? (Object.keys(SECURED_LISTENERS) as SecuredListener[]) : [];
  const [client, controller, ...more] = await freePorts(2 + names.length);
  return {
    client: port ?? client!,
    controller: controllerPort ?? controller!,
    ...(security && {
      secured: Object.fromEntries(names.map((name, i) => [name, more[i]!])) as Record<SecuredListener, number>,
    }),
  };
}

async function boot(broker: Broker): Promise<Server> {
  const { data, jars, ports } = broker;
  const settings = writeProperties(broker);
  if (!existsSync(join(data.path, 'log/meta.properties'))) await format(broker, settings);
  return startServer({
    name: 'Kafka',
    command: 'java',
    args: ['-Xms64m', '-Xmx256m', ...JAVA, '-cp', join(jars, '*'), 'kafka.Kafka', settings],
    scratch: data.scratch,
    ready: async ({ lineWith }) => {
      await lineWith('Kafka Server started');
      await answers(ports.client);
    },
  });
}

/** A small heap that starts fast, and a log that says no more than that it has started, and errors. */
const JAVA = [
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
  '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
];

function writeProperties({ data, ports, options }: Broker): string {
  const file = join(data.path, 'server.properties');
  const properties = { ...brokerProperties(join(data.path, 'log'), ports, options.security), ...options.properties };
  writeFileSync(file, propertiesFile(properties), { mode: 0o600 });
  return file;
}

async function format({ jars, options }: Broker, settings: string): Promise<void> {
  const users = options.security ? scramUsers(options.security).flatMap((user) => ['-S', user]) : [];
  const tool = ['-Xmx96m', ...JAVA, '-cp', join(jars, '*'), 'kafka.tools.StorageTool'];
  await run('java', [...tool, 'format', '-t', clusterId(), '-c', settings, ...users]);
}

/** A random UUID as Kafka writes one: base64url, and no `-` in front, which would read as a flag. */
function clusterId(): string {
  const bytes = randomBytes(16);
  bytes[0]! &= 0x7f;
  return bytes.toString('base64url');
}

/** The log line comes a moment before the broker serves; only an answer shows that it does. */
async function answers(port: number): Promise<void> {
  const client = new Kafka({
    clientId: 'causeline-launcher',
    brokers: [address(port)],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 10_000,
    retry: { initialRetryTime: 100, retries: 10 },
  });
  const admin = client.admin();
  await admin.connect();
  try {
    await admin.describeCluster();
  } finally {
    await admin.disconnect();
  }
}

const mapValues = <K extends string, V, W>(record: Readonly<Record<K, V>>, change: (value: V) => W): Record<K, W> =>
  Object.fromEntries(Object.entries<V>(record).map(([key, value]) => [key, change(value)])) as Record<K, W>;
