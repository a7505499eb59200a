import type { DuckDBDataChunk, DuckDBResult } from '@duckdb/node-api';

/** A result's chunks. The next one is made while one is read: until the last was read, the connection can do nothing else. */
export async function* chunksOf(result: Pick<DuckDBResult, 'fetchChunk'>): AsyncGenerator<DuckDBDataChunk> {
  let next = result.fetchChunk();
  try {
    for (let chunk = await next; chunk && chunk.rowCount > 0; chunk = await next) {
      next = result.fetchChunk();
      yield chunk;
    }
  } finally {
    await next.catch(() => undefined);
  }
}
