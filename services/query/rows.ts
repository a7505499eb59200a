import {
  DuckDBArrayType,
  DuckDBArrayValue,
  type DuckDBConnection,
  DuckDBDecimalValue,
  DuckDBListType,
  DuckDBListValue,
  DuckDBMapType,
  DuckDBMapValue,
  type DuckDBResult,
  DuckDBStructType,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBType,
  type DuckDBValue,
} from '@duckdb/node-api';

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonRow = Record<string, JsonValue>;

/**
 * Rows as JSON: whole numbers as numbers where they are safe, else as strings; TIMESTAMP as ISO 8601 with Z; JSON, LIST and STRUCT as JSON values;
 * NaN and infinities, which JSON lacks, as strings.
 */
export async function jsonRows(
  connection: DuckDBConnection,
  sql: string,
  values: DuckDBValue[] | Record<string, DuckDBValue> = [],
): Promise<JsonRow[]> {
  const result = await connection.run(sql, values);
  const names = result.deduplicatedColumnNames();
  const rows: JsonRow[] = [];
  for await (const part of valueParts(result))
    for (const row of part) rows.push(Object.fromEntries(row.map((value, column) => [names[column]!, value])));
  return rows;
}

/** The rows of a result, a chunk at a time, each row's values in the order of the columns. */
export async function* valueParts(result: DuckDBResult): AsyncGenerator<JsonValue[][]> {
  const types = result.columnTypes();
  for await (const chunk of result)
    yield chunk.getRows().map((row) => row.map((value, column) => jsonValue(value, types[column])));
}

function jsonValue(value: DuckDBValue, type: DuckDBType | undefined): JsonValue {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') return type?.alias === 'JSON' ? (JSON.parse(value) as JsonValue) : value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  if (value instanceof DuckDBDecimalValue)
    return Number.isSafeInteger(Number(value.value)) ? value.toDouble() : value.toString();
  const instant = microsOf(value);
  if (instant !== undefined) return isoMicros(instant);
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue)
    return value.items.map((item) => jsonValue(item, itemType(type)));
  if (value instanceof DuckDBStructValue)
    return Object.fromEntries(
      Object.entries(value.entries).map(([name, entry]) => [name, jsonValue(entry, entryType(type, name))]),
    );
  if (value instanceof DuckDBMapValue) return mapValue(value, type instanceof DuckDBMapType ? type : undefined);
  return String(value);
}

function itemType(type: DuckDBType | undefined): DuckDBType | undefined {
  return type instanceof DuckDBListType || type instanceof DuckDBArrayType ? type.valueType : undefined;
}

function entryType(type: DuckDBType | undefined, name: string): DuckDBType | undefined {
  return type instanceof DuckDBStructType ? type.entryTypes[type.entryNames.indexOf(name)] : undefined;
}

function mapValue(map: DuckDBMapValue, type: DuckDBMapType | undefined): JsonValue {
  return Object.fromEntries(map.entries.map(({ key, value }) => [String(key), jsonValue(value, type?.valueType)]));
}

function microsOf(value: DuckDBValue): bigint | undefined {
  if (value instanceof DuckDBTimestampValue || value instanceof DuckDBTimestampTZValue) return value.micros;
  if (value instanceof DuckDBTimestampNanosecondsValue) return value.nanos / 1000n;
  if (value instanceof DuckDBTimestampMillisecondsValue) return value.millis * 1000n;
  if (value instanceof DuckDBTimestampSecondsValue) return value.seconds * 1_000_000n;
  return undefined;
}

/** Microseconds since 1970 as ISO 8601: milliseconds unless there is more to say. */
function isoMicros(micros: bigint): string {
  const rest = ((micros % 1000n) + 1000n) % 1000n;
  const millis = Number((micros - rest) / 1000n);
  if (Math.abs(millis) > 8.64e15) return micros > 0n ? 'infinity' : '-infinity';
  const text = new Date(millis).toISOString();
  return rest === 0n ? text : text.replace('Z', `${String(rest).padStart(3, '0')}Z`);
}
