import type { DuckDBConnection } from '@duckdb/node-api';
import { COMPUTED } from './migrations.js';
import { END_OF_INPUT } from './watermarks.js';

/** Rows of evidence, by table. */
export type EvidenceCopied = Readonly<Record<string, number>>;

const OLD = 'before_rebuild';

/**
 * Copies all that cannot be computed from another store into this one, an empty one, and keeps that file from being written meanwhile. It must be open
 * nowhere else in this process (a second instance of one file drops its lock).
 */
export async function copyEvidence(connection: DuckDBConnection, from: string): Promise<EvidenceCopied> {
  await connection.run(`ATTACH '${from.replaceAll("'", "''")}' AS ${OLD} (READ_ONLY)`);
  await connection.run('SET preserve_insertion_order = true'); // row groups stay narrow in time
  await connection.run('DELETE FROM _store.identity'); // it becomes that store
  const copied: Record<string, number> = {};
  for (const table of await keptTables(connection)) {
    const rows = await connection.runAndReadAll(
      `INSERT INTO _store.${table} BY NAME SELECT * FROM ${OLD}._store.${table}`,
    );
    copied[table] = Number(rows.getRows()[0]?.[0] ?? 0);
  }
  await connection.run(
    `INSERT INTO _store.watermarks SELECT * FROM ${OLD}._store.watermarks WHERE source = '${END_OF_INPUT}'`,
  );
  return copied;
}

async function keptTables(connection: DuckDBConnection): Promise<string[]> {
  const found = await connection.runAndReadAll(
    `SELECT table_name FROM duckdb_tables() WHERE database_name = '${OLD}' AND schema_name = '_store' ORDER BY table_name`,
  );
  return found.getRows().flatMap(([name]) => (COMPUTED.has(name as string) ? [] : [name as string]));
}
