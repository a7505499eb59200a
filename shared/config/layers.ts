import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { CauselineError } from '../errors.js';
import type { Setting } from './settings.js';

export type Path = readonly (string | number)[];
export type Tree = { [key: string]: unknown };

/** Where settings come from, the strongest first. */
export interface Given {
  /** By key, what the command line says: `{ db: 'x.duckdb' }`. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The YAML file that `--config` names. */
  readonly file?: string | undefined;
}

/** All layers on top of each other, not yet validated, and who set what. */
export interface Layered {
  readonly tree: Tree;
  /** What a person calls the place that set this path (`--db`, `CAUSELINE_DB`, `causeline.yaml`); undefined for a default. */
  readonly originOf: (path: Path) => string | undefined;
}

/** Flag, then environment variable, then YAML, then default. Throws `bad_config` for a file that cannot be read. */
export function layered(settings: readonly Setting[], { flags = {}, env = {}, file }: Given): Layered {
  const tree = file === undefined ? {} : readYaml(file);
  const inFile = structuredClone(tree);
  const origins = new Map<string, string>();
  for (const { key, variable, default: usual } of settings) {
    const [value, origin] = flags[key] !== undefined ? [flags[key], `--${key}`] : [env[variable], variable];
    if (value !== undefined && value !== '') {
      if (put(tree, key.split('.'), value)) origins.set(key, origin);
    } else if (usual !== undefined && valueAt(tree, key.split('.')) === undefined) put(tree, key.split('.'), usual);
  }
  const originOf = (path: Path) =>
    [...origins].find(([key]) => key.split('.').every((part, i) => path[i] === part))?.[1] ??
    (file !== undefined && valueAt(inFile, path) !== undefined ? file : undefined);
  return { tree, originOf };
}

export function valueAt(tree: unknown, path: Path): unknown {
  let value = tree;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Tree)[part];
  }
  return value;
}

/** Puts a value into maps; where something else stands in the way, that stays, to be named as wrong. */
function put(tree: Tree, [first, ...rest]: readonly string[], value: string): boolean {
  if (rest.length === 0) {
    tree[first!] = value;
    return true;
  }
  tree[first!] ??= {};
  const inner = tree[first!];
  return isMap(inner) && put(inner, rest, value);
}

const isMap = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

function readYaml(file: string): Tree {
  const tree = withoutNulls(parsed(file) ?? {});
  if (!isMap(tree)) throw badFile(file, 'must hold keys and values, as `db: ./causeline.duckdb`');
  return tree;
}

function parsed(file: string): unknown {
  const text = readText(file);
  try {
    return parse(text, { logLevel: 'error' });
  } catch (cause) {
    throw badFile(file, `is not YAML: ${(cause as Error).message.split('\n')[0]!.replace(/[.:]$/, '')}`, cause);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw badFile(file, `cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
  }
}

/** A key whose value is commented out (`kafka:` alone) says nothing. */
function withoutNulls(value: unknown): unknown {
  if (!isMap(value)) return Array.isArray(value) ? value.map(withoutNulls) : value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null)
      .map(([key, inner]) => [key, withoutNulls(inner)]),
  );
}

const badFile = (file: string, says: string, cause?: unknown): CauselineError =>
  new CauselineError('bad_config', 'config', `${file} ${says}.`, { cause });
