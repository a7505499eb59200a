import {
  type DuckDBAppender,
  type DuckDBBlobValue,
  type DuckDBConnection,
  type DuckDBTimestampValue,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBValue,
} from '@duckdb/node-api';

/** Appends rows given as values in the table's own column order. */
export async function appendRows(
  connection: DuckDBConnection,
  table: string,
  rows: readonly DuckDBValue[][],
): Promise<void> {
  if (rows.length === 0) return;
  const appender = await connection.createAppender(table, '_store');
  const columns = Array.from({ length: appender.columnCount }, (_, index) => appending(appender.columnType(index)));
  for (const row of rows) {
    for (const [index, value] of row.entries())
      if (value === null) appender.appendNull();
      else columns[index]!(appender, value);
    appender.endRow();
  }
  appender.closeSync();
}

type Append = (appender: DuckDBAppender, value: DuckDBValue) => void;

/**
 * A value is appended as what it is. `appendValue` would make an object of DuckDB's own of each, which holds a copy until the garbage is collected, and no collector knows
 * how large it is.
 */
function appending(type: DuckDBType): Append {
  switch (type.typeId) {
    case DuckDBTypeId.VARCHAR:
      return (appender, value) => appender.appendVarchar(value as string);
    case DuckDBTypeId.BLOB:
      return (appender, value) => appender.appendBlob((value as DuckDBBlobValue).bytes);
    case DuckDBTypeId.BOOLEAN:
      return (appender, value) => appender.appendBoolean(value as boolean);
    case DuckDBTypeId.INTEGER:
      return (appender, value) => appender.appendInteger(value as number);
    case DuckDBTypeId.BIGINT:
      return (appender, value) => appender.appendBigInt(value as bigint);
    case DuckDBTypeId.UBIGINT:
      return (appender, value) => appender.appendUBigInt(value as bigint);
    case DuckDBTypeId.DOUBLE:
      return (appender, value) => appender.appendDouble(value as number);
    case DuckDBTypeId.TIMESTAMP:
      return (appender, value) => appender.appendTimestamp(value as DuckDBTimestampValue);
    default:
      return (appender, value) => appender.appendValue(value, type);
  }
}
