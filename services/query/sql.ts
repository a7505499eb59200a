import { createReadStream, rmSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type DuckDBConnection, StatementType } from '@duckdb/node-api';
import Table from 'cli-table3';
import { CauselineError } from '../../shared/errors.js';
import { throwIfBrokenOff } from '../../shared/store/chunks.js';
import { printable } from './printable.js';
import { type JsonValue, valueParts } from './rows.js';

export const FORMATS = ['table', 'json', 'csv', 'parquet'] as const;
export type Format = (typeof FORMATS)[number];

/** Runs one read-only statement, inside of a transaction, and writes the rows. Throws `bad_query` with DuckDB's own sentence. */
export async function writeSql(
  connection: DuckDBConnection,
  query: string,
  format: Format,
  exportPath: string,
  out: Writable,
): Promise<void> {
  if (format === 'parquet') return writeParquet(connection, query, exportPath, out);
  await WRITERS[format](await answer(connection, query), out);
}

/** The rows of an answer, a part at a time, each row's values in the order of the columns. */
interface Answer {
  readonly columns: readonly string[];
  /** The same with each name once: what a JSON object can hold. */
  readonly keys: readonly string[];
  readonly parts: AsyncIterable<JsonValue[][]>;
}

const WRITERS: Readonly<Record<Exclude<Format, 'parquet'>, (answer: Answer, out: Writable) => Promise<void>>> = {
  json: writeJson,
  csv: writeCsv,
  table: writeTable,
};

async function answer(connection: DuckDBConnection, query: string): Promise<Answer> {
  await checked(connection, query);
  const result = await described(() => connection.stream(query));
  return {
    columns: result.columnNames(),
    keys: result.deduplicatedColumnNames(),
    parts: describedParts(connection, valueParts(result)),
  };
}

async function* describedParts(
  connection: DuckDBConnection,
  parts: AsyncGenerator<JsonValue[][]>,
): AsyncGenerator<JsonValue[][]> {
  for (let part = await described(() => parts.next()); !part.done; part = await described(() => parts.next()))
    yield part.value;
  await described(() => throwIfBrokenOff(connection));
}

/** One statement that only reads. The file is open read-only and the settings are locked: this is for the clear sentence. */
async function checked(connection: DuckDBConnection, query: string): Promise<void> {
  await described(async () => {
    if (query.trim() === '') throw new Error('one statement is expected, none was given');
    const statements = await connection.extractStatements(query);
    if (statements.count !== 1) throw new Error(`one statement is expected, ${statements.count} were given`);
    const statement = await statements.prepare(0);
    const type = statement.statementType;
    statement.destroySync();
    if (type !== StatementType.SELECT && type !== StatementType.EXPLAIN)
      throw new Error('only SELECT and EXPLAIN are answered: the store is evidence');
    const refused = (await functionsIn(connection, query)).find((name) => REFUSED.has(name));
    if (refused) throw new Error(`${refused}() is not answered: it changes how DuckDB works, or hides a statement`);
  });
}

/** Functions that a SELECT may call and that do more than read, and those that run SQL out of a text. */
const REFUSED: ReadonlySet<string> = new Set([
  'checkpoint',
  'disable_logging',
  'disable_profiling',
  'enable_logging',
  'enable_profiling',
  'force_checkpoint',
  'json_execute_serialized_sql',
  'query',
  'truncate_duckdb_logs',
  'write_log',
]);

/** The word itself with its options, after any comments. */
const EXPLAIN = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*explain\b(?:\s+analyze\b|\s*\([^)]*\))?/i;

/** The names of the functions in a SELECT, or in the one that is explained, as DuckDB's own parser sees them. */
async function functionsIn(connection: DuckDBConnection, query: string): Promise<string[]> {
  const select = query.replace(EXPLAIN, '');
  const parsed = await connection.runAndReadAll('SELECT json_serialize_sql(?::VARCHAR)::VARCHAR', [select]);
  const tree = String(parsed.getRows()[0]?.[0]);
  if (!tree.startsWith('{"error":false')) throw new Error('only SELECT and EXPLAIN of a SELECT are answered');
  return [...tree.matchAll(/"function_name":"([^"]+)"/g)].map(([, name]) => name!.toLowerCase());
}

async function described<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const lines = (cause instanceof Error ? cause.message : String(cause))
      .split('\n')
      .filter((line) => line.trim() !== '');
    throw new CauselineError('bad_query', 'sql', `The query was not answered: ${lines.slice(0, 2).join(' ')}`, {
      cause,
    });
  }
}

async function writeJson({ keys, parts }: Answer, out: Writable): Promise<void> {
  let first = true;
  for await (const part of parts)
    for (const row of part) {
      const named = Object.fromEntries(row.map((value, column) => [keys[column]!, value]));
      out.write(`${first ? '[' : ',\n '}${JSON.stringify(named)}`);
      first = false;
    }
  out.write(first ? '[]\n' : ']\n');
}

async function writeCsv({ columns, parts }: Answer, out: Writable): Promise<void> {
  out.write(`${columns.map(csvCell).join(',')}\r\n`);
  for await (const part of parts) for (const row of part) out.write(`${row.map(csvCell).join(',')}\r\n`);
}

/** RFC 4180. A text that a spreadsheet would run as a formula gets a leading apostrophe: fields hold what attackers sent. */
function csvCell(value: JsonValue): string {
  if (typeof value === 'string' && /^[=+\-@\t\r]/.test(value) && !NEGATIVE.test(value))
    return `"'${value.replaceAll('"', '""')}"`;
  const text = plain(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A number that JSON cannot hold comes as a text. */
const NEGATIVE = /^-(\d+(\.\d+)?|infinity)$/i;

const plain = (value: JsonValue): string =>
  value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);

/** A table keeps this many rows; more belong in a file. */
const TABLE_ROWS = 1000;
const CELL_CHARACTERS = 60;

async function writeTable({ columns, parts }: Answer, out: Writable): Promise<void> {
  const shown: JsonValue[][] = [];
  let count = 0;
  for await (const part of parts) {
    count += part.length;
    shown.push(...part.slice(0, Math.max(0, TABLE_ROWS - shown.length)));
  }
  const table = new Table({ head: columns.map(cut), style: { head: [], border: [], compact: true } });
  for (const row of shown) table.push(row.map((value) => cut(plain(value))));
  out.write(
    `${table.toString()}\n${count} ${count === 1 ? 'row' : 'rows'}${count > shown.length ? `, the first ${shown.length} shown` : ''}\n`,
  );
}

function cut(text: string): string {
  const safe = printable(text);
  return safe.length > CELL_CHARACTERS ? `${safe.slice(0, CELL_CHARACTERS - 1)}…` : safe;
}

/** Parquet is written by DuckDB itself, into the one file that is open to it, then passed on. */
async function writeParquet(connection: DuckDBConnection, query: string, path: string, out: Writable): Promise<void> {
  await checked(connection, query);
  try {
    await described(() =>
      connection.run(`COPY (${query.replace(/;\s*$/, '')}\n) TO '${path.replaceAll("'", "''")}' (FORMAT parquet)`),
    );
    await pipeline(createReadStream(path), out, { end: false });
  } finally {
    rmSync(path, { force: true });
  }
}
