import { join } from 'node:path';
import test from 'ava';
import { streamed } from '../../shared/store/chunks.js';
import { openStore } from '../../shared/store/store.js';
import { temporaryFolder } from '../helpers/store.js';

const numbers = (failing: number) =>
  `SELECT CASE WHEN i = ${failing} THEN error('no such number') ELSE i END::DOUBLE FROM range(100000) t(i)`;

async function read(path: string, query: string): Promise<number> {
  const store = await openStore(path);
  try {
    await store.connection.run('BEGIN');
    let rows = 0;
    for await (const chunk of streamed(store.connection, query)) rows += chunk.rowCount;
    return rows;
  } finally {
    store.close();
  }
}

test('a result is read whole', async (t) => {
  t.is(await read(join(temporaryFolder(t), 'whole.duckdb'), numbers(-1)), 100_000);
});

test('a result that breaks off is no whole one, wherever it does', async (t) => {
  for (const at of [0, 2_047, 2_048, 50_000, 99_999])
    await t.throwsAsync(read(join(temporaryFolder(t), 'broken.duckdb'), numbers(at)), undefined, String(at));
});
