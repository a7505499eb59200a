import type { DuckDBConnection, DuckDBDataChunk } from '@duckdb/node-api';

/**
 * The chunks of a query's result, inside of a transaction. The next one is made while one is read: until the last was read, the connection can do nothing
 * else. Throws where the result broke off before its end.
 */
export async function* streamed(connection: DuckDBConnection, sql: string): AsyncGenerator<DuckDBDataChunk> {
  const result = await connection.stream(sql);
  let next = result.fetchChunk();
  try {
    for (let chunk = await next; chunk && chunk.rowCount > 0; chunk = await next) {
      next = result.fetchChunk();
      yield chunk;
    }
  } finally {
    await next.catch(() => undefined);
  }
  await throwIfBrokenOff(connection);
}

/**
 * To be asked after the last chunk of a streamed result: one that failed half way (no memory, an interruption, a value that cannot be converted) ends like one
 * that was read to its end, as the library does not tell (@duckdb/node-api 1.5.5-r.5). The transaction that it ran in knows.
 */
export async function throwIfBrokenOff(connection: DuckDBConnection): Promise<void> {
  await connection.run('SELECT 1').catch((cause: unknown) => {
    throw new Error(
      'the result broke off before its end: there was not enough memory, a value failed, or it was interrupted',
      { cause },
    );
  });
}
