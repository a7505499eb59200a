import { accessSync, constants, statSync } from 'node:fs';
import * as z from 'zod';
import { type Duration, micros } from '../duration.js';
import { type KnownSource, topicKey } from './settings.js';

/**
 * What a configuration must look like, once all layers lie on top of each other. From the environment everything is a text, so each
 * field takes the text too. A message completes the sentence that begins with where the value stands.
 */
export function schemaOf(sources: readonly KnownSource[]) {
  const topics = Object.fromEntries([...sources.map(topicKey), 'chains'].map((key) => [key, topic]));
  return z.strictObject({
    db: text('a file name'),
    kafka: cluster.extend({ client_id: clientId, session_timeout: sessionTimeout }),
    topics: z.strictObject(topics, map),
    sources: z
      .array(sourceOf(sources), { error: 'expected a list of sources' })
      .min(1, 'expected one source at least')
      .optional(),
    group: words(200),
    http: address,
    correlate_interval: interval,
    sigma: folder.optional(),
  });
}

export type Validated = z.output<ReturnType<typeof schemaOf>>;
export type ValidatedCluster = z.output<typeof cluster>;

const map = { error: 'expected keys and values' };

/** A text for which something holds, and what to say where it does not. */
const text = (expected: string, holds: (value: string) => boolean = (value) => value.trim() !== '') => {
  const error = `expected ${expected}`;
  return z.string({ error }).refine(holds, { error });
};

const matches = (pattern: RegExp) => (value: string) => pattern.test(value);

const address = text('host:port', isAddress);

const file = text('a file that can be read', canBeRead);

const folder = text('a folder', isFolder);

const words = (most: number) => text("letters, digits, '.', '_' and '-'", matches(new RegExp(`^[\\w.-]{1,${most}}$`)));

/** Kafka's own bounds of a topic's name. */
const topic = text("a topic: letters, digits, '.', '_' and '-', 249 at most", matches(/^(?!\.{1,2}$)[\w.-]{1,249}$/));

const clientId = text('a name');

/** What brokers accept by default: group.min.session.timeout.ms to group.max.session.timeout.ms. */
const SESSION_TIMEOUT = { least: 6_000, most: 1_800_000 };

const milliseconds = `expected milliseconds from ${SESSION_TIMEOUT.least} to ${SESSION_TIMEOUT.most}`;

const sessionTimeout = z.preprocess(
  (value) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value),
  z.int(milliseconds).min(SESSION_TIMEOUT.least, milliseconds).max(SESSION_TIMEOUT.most, milliseconds),
);

const LONGEST_INTERVAL_MICROS = micros('1h');

const interval = text('a length of time as 500ms, 2s or 1m, at most 1h', isInterval);

const brokers = z.preprocess(
  (value) => (typeof value === 'string' ? value.split(',').map((broker) => broker.trim()) : value),
  z.array(address, { error: 'expected host:port, several with commas between' }).min(1, 'expected one broker at least'),
);

const enabled = z.preprocess(
  (value) => (value === 'true' ? true : value === 'false' ? false : value),
  z.boolean({ error: 'expected true or false' }),
);

/** A rule between fields is tried whatever else is wrong: all that is wrong is said at once. */
const rule = (field: string, message: string) => ({ path: [field], error: message, when: () => true });

const ssl = z
  .strictObject({ enabled: enabled.optional(), ca: file.optional(), cert: file.optional(), key: file.optional() }, map)
  .refine(({ cert, key }) => !cert || key, rule('key', 'expected the key of the certificate'))
  .refine(({ cert, key }) => !key || cert, rule('cert', 'expected the certificate of the key'));

const sasl = z
  .strictObject(
    {
      mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512'], {
        error: 'expected plain, scram-sha-256 or scram-sha-512',
      }),
      username: text('who logs in'),
      password: text('a password').optional(),
      password_file: file.optional(),
    },
    map,
  )
  .refine((login) => login.password || login.password_file, rule('password', 'expected a password, or password_file'))
  .refine(
    (login) => !login.password || !login.password_file,
    rule('password_file', 'expected no file beside a password'),
  );

const cluster = z.strictObject(
  {
    brokers,
    client_id: clientId.optional(),
    session_timeout: sessionTimeout.optional(),
    ssl: ssl.optional(),
    sasl: sasl.optional(),
  },
  map,
);

function sourceOf(sources: readonly KnownSource[]) {
  const names = sources.map(({ name }) => name);
  return z.strictObject(
    {
      name: words(50).optional(),
      source: z.enum(names, { error: `expected one of ${names.join(', ')}` }),
      topic,
      group: words(255).optional(),
      kafka: cluster.optional(),
    },
    map,
  );
}

/** A host, an IPv4 address or an IPv6 address in brackets, and a port. */
function isAddress(value: string): boolean {
  const port = /^(?:\[[\da-fA-F:]+\]|[^\s:,/@[\]]+):(\d{1,5})$/.exec(value)?.[1];
  return port !== undefined && Number(port) <= 65_535;
}

function isInterval(value: string): boolean {
  if (!/^\d+(\.\d+)?(ms|s|m|h)$/.test(value)) return false;
  const length = micros(value as Duration);
  return length > 0 && length <= LONGEST_INTERVAL_MICROS;
}

function canBeRead(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
