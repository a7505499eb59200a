import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Row, Source } from '../../services/collect/source.js';
import { sources } from '../../services/collect/sources/index.js';
import { correlate } from '../../services/correlate/index.js';
import { connectTo } from '../../shared/store/open.js';
import { emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { incident } from '../helpers/incident.js';
import { knownOf, type Message, messagesOf } from '../helpers/produced.js';
import { temporaryFolder } from '../helpers/store.js';

test('commits between the statements of a correlation are counted once, by the next one', async (t) => {
  const messages = messagesOf(incident(3, { cloudtrailRecords: 60 }));
  const parts = Array.from({ length: 24 }, (_, part) => messages.filter((_, index) => index % 24 === part));
  const beside = await stored(t, async (store) => {
    await commit(store, parts.shift()!);
    while (parts.length > 0) await correlateWhile(store, () => commit(store, parts.shift() ?? []));
  });
  const once = await stored(t, (store) => commit(store, messages));
  const known = await knownOf(beside);
  t.true(known['chains']!.length > 0);
  t.deepEqual(known, await knownOf(once));
});

async function stored(t: ExecutionContext, fill: (store: Store) => Promise<void>): Promise<string> {
  const db = join(temporaryFolder(t), 'store.duckdb');
  const store = await openStore(db);
  await fill(store);
  await correlate(store, { endOfInput: true });
  store.close();
  return db;
}

async function commit(store: Store, messages: readonly Message[]): Promise<void> {
  const batch = emptyBatch();
  for (const { source, value } of messages) {
    const decoder = sources.find(({ evidence }) => evidence === source) as unknown as Source<Row>;
    const { rows } = decoder.decode(value!, { origin: 'beside', gunzip: (bytes) => bytes });
    for (const row of rows) store.add(batch, source, 'beside', row);
  }
  await store.commit(batch);
}

/** A correlation on a connection of its own, held up before its first statements so that a commit comes between each two of them. */
async function correlateWhile(store: Store, meanwhile: () => Promise<void>): Promise<void> {
  const connection = await connectTo(store);
  let left = 4;
  for (const name of ['run', 'runAndReadAll'] as const) {
    const own = connection[name].bind(connection) as (...args: unknown[]) => Promise<never>;
    connection[name] = async (...args: unknown[]) => {
      if (left-- > 0) await meanwhile();
      return own(...args);
    };
  }
  await correlate({ ...store, connection }, { endOfInput: false });
  connection.closeSync();
}
