import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';

/** Appends rows given as values in the table's own column order. */
export async function appendRows(
  connection: DuckDBConnection,
  table: string,
  rows: readonly DuckDBValue[][],
): Promise<void> {
  if (rows.length === 0) return;
  const appender = await connection.createAppender(table, '_store');
  const types = Array.from({ length: appender.columnCount }, (_, index) => appender.columnType(index));
  for (const row of rows) {
    for (const [index, value] of row.entries())
      if (value === null) appender.appendNull();
      else appender.appendValue(value, types[index]);
    appender.endRow();
  }
  appender.closeSync();
}
