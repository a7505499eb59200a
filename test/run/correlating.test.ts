import { join } from 'node:path';
import test from 'ava';
import { Correlating } from '../../services/run/correlating.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { event, temporaryFolder } from '../helpers/store.js';

test('a correlation that lacks memory is tried again, others give way, and in the end it gives up', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'small.duckdb'));
  const batch = emptyBatch();
  for (let n = 0; n < 20_000; n++) batch.cloudtrail.push({ sourceId: 'a file', row: event(`e${n}`, n) });
  await store.commit(batch);
  let pressed = 0;
  const start = (givesUpMs: number) => {
    const hooks = { onCorrelated: () => {}, onPressure: () => void pressed++ };
    return Correlating.start(store, 1, hooks, givesUpMs);
  };
  await store.connection.run(`SET memory_limit = '1MB'`);
  const failing = await start(1);
  t.regex((await failing.dead).message, /out of memory|broke off/i);
  t.true(pressed > 0);
  await failing.stop();

  const waiting = await start(60_000);
  while (!waiting.trouble) await new Promise((resolve) => setTimeout(resolve, 20));
  await store.connection.run(`SET memory_limit = '256MB'`);
  await waiting.caughtUp();
  t.deepEqual({ behind: waiting.behind, trouble: waiting.trouble }, { behind: 0n, trouble: undefined });
  await waiting.stop();
  store.close();
});
