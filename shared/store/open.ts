import { existsSync, rmSync, statSync } from 'node:fs';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { CauselineError } from '../errors.js';
import { MIGRATIONS } from './migrations.js';

/**
 * Settings for a store that runs for months, each measured (see README.md): a rare, large checkpoint; no vacuum inside a checkpoint;
 * the newest storage format, which is what gives zstd for raw text; nothing that installs or loads an extension behind our back.
 */
export const WRITER: Readonly<Record<string, string>> = {
  storage_compatibility_version: 'latest',
  checkpoint_threshold: '256MB',
  max_vacuum_tasks: '0',
  memory_limit: '256MB',
  threads: '1',
  preserve_insertion_order: 'false',
  autoinstall_known_extensions: 'false',
  autoload_known_extensions: 'false',
};

/**
 * Rows of one row group. A batch of one source with more rows than this is compressed straight into the file; a smaller one is logged
 * first, and compressed at a checkpoint. DuckDB's own 122,880 would take 300 MB in memory; with smaller groups the file grows (see README.md).
 */
export const ROW_GROUP_ROWS = 12_288;

/** What an analyst's query may use: no file, network, extension or setting (trust.md 3), on a file opened read-only. */
const READER: Readonly<Record<string, string>> = {
  access_mode: 'READ_ONLY',
  memory_limit: '1GB',
  threads: '2',
  autoinstall_known_extensions: 'false',
  autoload_known_extensions: 'false',
  allow_community_extensions: 'false',
  allow_persistent_secrets: 'false',
};

export interface Opened {
  readonly instance: DuckDBInstance;
  readonly connection: DuckDBConnection;
}

/** Opens or creates the file for writing and brings it to the newest version. */
export async function openForWriting(path: string): Promise<Opened> {
  if (path === '' || path === ':memory:')
    throw new CauselineError('bad_usage', 'store', 'A store is a file: name one with --db.', { field: 'db' });
  // What a process that was killed at its very start leaves behind; DuckDB itself refuses it.
  if (existsSync(path) && statSync(path).isFile() && statSync(path).size === 0) rmSync(path);
  const opened = await open(':memory:', { ...WRITER, temp_directory: `${path}.tmp` });
  try {
    await attach(opened.connection, path);
    await migrate(opened.connection, path);
  } catch (cause) {
    close(opened);
    throw cause;
  }
  return opened;
}

/** Opens a file that exists for reading. Throws `store_held` where another process has it open for writing. */
export async function openForReading(path: string): Promise<Opened> {
  if (!existsSync(path))
    throw new CauselineError(
      'unreadable_input',
      'store',
      `There is no file ${path}: run 'causeline replay <case> --db ${path}' first.`,
    );
  const opened = await open(path, READER);
  try {
    const version = await storeVersion(opened.connection);
    if (!version) throw notAStore(path); // 0: a migration that was cut short
    refuseNewer(version, path);
    await readAsNewest(opened.connection, version);
  } catch (cause) {
    close(opened);
    throw cause;
  }
  return opened;
}

/** A file that an earlier Causeline wrote is brought up by the next one that writes it; until then its relations are read as far as it has them. */
async function readAsNewest(connection: DuckDBConnection, version: number): Promise<void> {
  const pending = MIGRATIONS.filter((migration) => migration.version > version);
  if (pending.length === 0) return;
  const catalogue = (await connection.runAndReadAll('SELECT current_database()')).getRows()[0]![0] as string;
  const name = `"${catalogue.replaceAll('"', '""')}"`;
  for (const statement of pending.flatMap(({ reading }) => reading?.(name) ?? [])) await connection.run(statement);
}

/** Shuts network, settings and all files but these, for good and for every connection of the instance. */
export async function lockDown(connection: DuckDBConnection, paths: readonly string[]): Promise<void> {
  const listed = paths.map((path) => `'${path.replaceAll("'", "''")}'`).join();
  await connection.run(`SET allowed_paths = [${listed}]`);
  await connection.run('SET enable_external_access = false');
  await connection.run('SET lock_configuration = true');
}

export function close({ connection, instance }: Opened): void {
  connection.closeSync();
  instance.closeSync();
}

async function open(path: string, options: Readonly<Record<string, string>>): Promise<Opened> {
  const instance = await DuckDBInstance.create(path, { ...options }).catch((cause: unknown) => {
    throw openFailure(path, cause);
  });
  const connection = await instance.connect();
  await connection.run(`SET GLOBAL TimeZone = 'UTC'`);
  return { instance, connection };
}

/** The size of row groups can be given to ATTACH only. */
async function attach(connection: DuckDBConnection, path: string): Promise<void> {
  const file = `'${path.replaceAll("'", "''")}'`;
  await connection
    .run(`ATTACH ${file} AS ${CATALOG} (TYPE duckdb, ROW_GROUP_SIZE ${ROW_GROUP_ROWS})`)
    .catch((cause: unknown) => {
      throw openFailure(path, cause);
    });
  await connection.run(`USE ${CATALOG}`);
}

const CATALOG = 'causeline';

/** One more connection to a store that is open for writing. */
export async function connectTo({ instance }: Pick<Opened, 'instance'>): Promise<DuckDBConnection> {
  const connection = await instance.connect();
  await connection.run(`USE ${CATALOG}`);
  return connection;
}

/** What an operating system says no to, and a file of a newer DuckDB, are not damaged: whatever was done about damage would make it worse. */
const REFUSED = /cannot open file|version number|no space left|out of memory/i;

function openFailure(path: string, cause: unknown): CauselineError {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (/could not set lock/i.test(message)) return storeHeld(path, { cause });
  const code = REFUSED.test(message) ? 'unreadable_input' : 'store_damaged';
  const why = `${path} cannot be opened as a DuckDB file: ${message.split('\n')[0]}`;
  return new CauselineError(code, 'store', why, { cause });
}

export function storeHeld(path: string, more: { cause?: unknown } = {}): CauselineError {
  return new CauselineError(
    'store_held',
    'store',
    `Another process holds ${path}: stop it, or work on a copy of the file.`,
    more,
  );
}

async function migrate(connection: DuckDBConnection, path: string): Promise<void> {
  const known = await storeVersion(connection);
  if (known === undefined && (await holdsTables(connection))) throw notAStore(path);
  const version = known ?? 0;
  refuseNewer(version, path);
  const pending = MIGRATIONS.filter((migration) => migration.version > version);
  if (pending.length === 0) return;
  await connection.run('BEGIN'); // all or nothing, and one write to the disk in place of one a statement
  await connection.run(
    'CREATE TABLE IF NOT EXISTS causeline_version (version INTEGER NOT NULL, migrated_at TIMESTAMP NOT NULL)',
  );
  for (const migration of pending) {
    for (const statement of migration.statements) await connection.run(statement);
    await connection.run('INSERT INTO causeline_version VALUES (?, now()::TIMESTAMP)', [migration.version]);
  }
  await connection.run('COMMIT');
  await connection.run('CHECKPOINT');
}

async function storeVersion(connection: DuckDBConnection): Promise<number | undefined> {
  const known = await connection.runAndReadAll(
    `SELECT 1 FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = 'causeline_version'`,
  );
  if (known.currentRowCount === 0) return undefined;
  const rows = (await connection.runAndReadAll('SELECT max(version) FROM causeline_version')).getRows();
  const version = rows[0]?.[0];
  return typeof version === 'number' ? version : 0;
}

/** A DuckDB file with tables of somebody else. */
async function holdsTables(connection: DuckDBConnection): Promise<boolean> {
  return (await connection.runAndReadAll('SELECT 1 FROM duckdb_tables() LIMIT 1')).currentRowCount > 0;
}

function notAStore(path: string): CauselineError {
  return new CauselineError('unreadable_input', 'store', `${path} is a DuckDB file but not a Causeline store.`);
}

function refuseNewer(version: number, path: string): void {
  const newest = MIGRATIONS.at(-1)!.version;
  if (version > newest)
    throw new CauselineError(
      'store_newer',
      'store',
      `${path} was written by a newer Causeline (store version ${version}, this one knows ${newest}): upgrade Causeline to read it.`,
    );
}
