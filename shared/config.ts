import { readFileSync } from 'node:fs';
import type * as z from 'zod';
import { type Given, type Layered, layered, type Path, valueAt } from './config/layers.js';
import { schemaOf, type Validated, type ValidatedCluster } from './config/schema.js';
import { type KnownSource, type Setting, settingsOf, topicKey } from './config/settings.js';
import { type Duration, micros } from './duration.js';
import { CauselineError } from './errors.js';

/** How Causeline runs. Every field has a value; files that it names were read. */
export interface Config {
  /** The DuckDB file. */
  readonly db: string;
  /** The cluster of the topic of chains, and of the sources that name no other. */
  readonly kafka: KafkaSettings;
  /** What is read: one consumer group each. */
  readonly sources: readonly SourceSettings[];
  /** Where revisions of chains are written to. */
  readonly chainsTopic: string;
  /** Prefix of the consumer groups. */
  readonly group: string;
  /** `host:port` of health and metrics. */
  readonly http: string;
  readonly correlateIntervalMs: number;
  /** A folder of Sigma rules. */
  readonly sigma: string | undefined;
}

/** How a cluster is reached; the first four are fields of kafkajs' own configuration. */
export interface KafkaSettings {
  readonly brokers: string[];
  readonly clientId: string;
  /** TLS, with the contents of the PEM files; an empty object trusts the system's CAs. */
  readonly ssl?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly sasl?: {
    readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
    readonly username: string;
    readonly password: string;
  };
  readonly sessionTimeoutMs: number;
}

export interface SourceSettings {
  /** Unique; the source's own name unless the file says otherwise. */
  readonly name: string;
  /** Which source decodes it: a name of the index of sources. */
  readonly source: string;
  readonly topic: string;
  /** The whole name of its consumer group. */
  readonly group: string;
  readonly kafka: KafkaSettings;
}

/**
 * The configuration of these flags, this environment and this file, for the sources of the index.
 * Throws `bad_config` that names every wrong field, one a line: where it stands and what was expected.
 */
export function loadConfig(sources: readonly KnownSource[], given: Given): Config {
  return readConfig(sources, given).config;
}

/** The same with what `causeline config` prints: the values before files are read, and who set them. */
export function readConfig(sources: readonly KnownSource[], given: Given): Read {
  const settings = settingsOf(sources);
  const layers = layered(settings, given);
  const parsed = schemaOf(sources).safeParse(layers.tree, { reportInput: true });
  const faults = [...(parsed.error?.issues.flatMap(faultsOf) ?? []), ...sourceFaults(layers, sources)];
  if (!parsed.data || faults.length > 0) throw badConfig(faults, layers, settings);
  return { config: resolve(parsed.data, sources), valid: parsed.data, originOf: layers.originOf };
}

interface Read {
  readonly config: Config;
  readonly valid: Validated;
  readonly originOf: Layered['originOf'];
}

/** The DuckDB file that a command works on, by the same precedence; the rest of the configuration may be wrong. */
export function databaseFile(
  { db, config }: { db?: string; config?: string },
  env: Given['env'] = process.env,
): string {
  const settings = settingsOf([]).filter(({ key }) => key === 'db');
  const { tree } = layered(settings, { flags: { db }, env, file: config });
  if (typeof tree['db'] === 'string' && tree['db'].trim() !== '') return tree['db'];
  throw new CauselineError('bad_config', 'config', `${config}: db: expected a file name.`, { field: 'db' });
}

/** A path in the tree and what is wrong there. */
interface Fault {
  readonly path: Path;
  readonly says: string;
  /** The wrong value, where it is one that can be shown. */
  readonly got?: unknown;
}

function faultsOf(issue: z.core.$ZodIssue): Fault[] {
  const path = issue.path as (string | number)[];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path: [...path, key], says: 'is not known' }));
  return [{ path, says: issue.message, got: issue.input }];
}

/** What the list of sources must keep to as a whole. */
function sourceFaults({ tree, originOf }: Layered, known: readonly KnownSource[]): Fault[] {
  if (!Array.isArray(tree['sources'])) return [];
  const idle = known
    .map((source): Path => ['topics', topicKey(source)])
    .filter((path) => originOf(path) !== undefined)
    .map((path) => ({ path, says: 'has no effect beside `sources`, where each names its topic' }));
  const names = tree['sources'].map((source) => valueAt(source, ['name']) ?? valueAt(source, ['source']));
  const topics = tree['sources'].map((source) => [valueAt(source, ['topic']), valueAt(source, ['kafka', 'brokers'])]);
  return [
    ...idle,
    ...repeated(names).map((index) => ({
      path: ['sources', index, 'name'],
      says: `expected another name than '${String(names[index])}', which an earlier source has`,
    })),
    ...repeated(topics.map((topic) => JSON.stringify(topic))).map((index) => ({
      path: ['sources', index, 'topic'],
      says: 'expected a topic that no earlier source reads',
    })),
  ];
}

const repeated = (values: readonly unknown[]): number[] =>
  values.flatMap((value, index) => (value !== undefined && values.indexOf(value) < index ? [index] : []));

/** Fills in what follows from the rest, and reads the files. */
function resolve(valid: Validated, known: readonly KnownSource[]): Config {
  const { kafka: common, topics, sources, group } = valid;
  const listed: Listed[] =
    sources ?? known.map((source) => ({ source: source.name, topic: topics[topicKey(source)]! }));
  return {
    db: valid.db,
    kafka: clusterSettings(common, common),
    sources: listed.map((given) => ({
      name: given.name ?? given.source,
      source: given.source,
      topic: given.topic,
      group: given.group ?? `${group}-${given.name ?? given.source}`,
      kafka: clusterSettings(given.kafka ?? common, common),
    })),
    chainsTopic: topics['chains']!,
    group,
    http: valid.http,
    correlateIntervalMs: micros(valid.correlate_interval as Duration) / 1000,
    sigma: valid.sigma,
  };
}

type Listed = NonNullable<Validated['sources']>[number];

/** A cluster of a source's own takes over no login and no certificate: a secret goes to nobody for whom it was not given. */
function clusterSettings(own: ValidatedCluster, common: Validated['kafka']): KafkaSettings {
  const ssl = own.ssl && tlsOf(own.ssl);
  const sasl = own.sasl && loginOf(own.sasl);
  return {
    brokers: own.brokers,
    clientId: own.client_id ?? common.client_id,
    ...(ssl && { ssl }),
    ...(sasl && { sasl }),
    sessionTimeoutMs: own.session_timeout ?? common.session_timeout,
  };
}

function tlsOf({ enabled, ...files }: NonNullable<ValidatedCluster['ssl']>): KafkaSettings['ssl'] {
  const named = Object.entries(files).filter((entry): entry is [string, string] => entry[1] !== undefined);
  if (!(enabled ?? named.length > 0)) return undefined;
  return Object.fromEntries(named.map(([key, file]) => [key, readFileSync(file, 'utf8')]));
}

function loginOf(login: NonNullable<ValidatedCluster['sasl']>): NonNullable<KafkaSettings['sasl']> {
  const { mechanism, username, password, password_file: file } = login;
  return { mechanism, username, password: password ?? readFileSync(file!, 'utf8').replace(/\r?\n$/, '') };
}

function badConfig(faults: readonly Fault[], layers: Layered, settings: readonly Setting[]): CauselineError {
  const lines = faults.map((fault) => lineOf(fault, layers, settings));
  return new CauselineError('bad_config', 'config', lines.join('\n'), { field: written(faults[0]!.path) });
}

/** `CAUSELINE_HTTP: expected host:port, got 'localhost'`. */
function lineOf({ path, says, got }: Fault, { originOf }: Layered, settings: readonly Setting[]): string {
  const setting = settings.find(({ key }) => key.split('.').every((part, index) => path[index] === part));
  // What is missing is missing where the rest of its map stands.
  const origin = originOf(path) ?? originOf(path.slice(0, -1));
  const shown = isScalar(got) && path.at(-1) !== 'password' ? `, got '${got}'` : '';
  return `${placeOf(path, origin, setting)}: ${says}${shown}`;
}

const isScalar = (value: unknown): value is string | number | boolean =>
  ['string', 'number', 'boolean'].includes(typeof value);

/** The flag or variable that said it; else the file and the key; else both names of what nobody has set. */
function placeOf(path: Path, origin: string | undefined, setting: Setting | undefined): string {
  if (origin !== undefined && (origin === setting?.variable || origin.startsWith('--'))) return origin;
  if (origin !== undefined) return `${origin}: ${written(path)}`;
  return setting ? `${written(path)} or ${setting.variable}` : written(path);
}

/** `sources[1].topic` */
const written = (path: Path): string =>
  path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
