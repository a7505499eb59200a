import { existsSync, renameSync } from 'node:fs';
import { rebuild } from '../../replay/rebuild.js';
import { CauselineError } from '../../shared/errors.js';
import { log } from '../../shared/log.js';
import { type Head, readHead } from '../../shared/store/head.js';
import { freeName } from '../../shared/store/ledger.js';
import { openStore, type Store } from '../../shared/store/store.js';

/**
 * Opens a store and asks its witnesses (the file beside it, the offsets that consumer groups committed) whether it still holds all that it said it holds.
 * A file that lost commits, or cannot be opened, is set aside under another name; what it holds is copied into a new one, the rest comes again from Kafka,
 * and the incident is in the store. Throws where another process holds the file.
 */
export async function openSound(db: string, witnesses: () => Promise<readonly Head[]>): Promise<Store> {
  const head = readHead(db);
  const existed = existsSync(db);
  const store = await opened(db);
  const stands = await lastCommit(store);
  const all = [...(head ? [head] : []), ...(await witnesses())];
  const ahead = all.filter(({ storeId, commitSeq }) => storeId === store.storeId && commitSeq > stands);
  if (ahead.length > 0) return remade(db, store, stands, ahead);
  if (head && head.storeId !== store.storeId)
    await incident(
      store,
      existed ? 'replaced' : 'deleted',
      `${db} was store ${head.storeId} at commit ${head.commitSeq}; ${
        existed ? `it is store ${store.storeId} now` : 'the file was gone, and made anew'
      }.`,
    );
  return store;
}

async function opened(db: string): Promise<Store> {
  try {
    return await openStore(db);
  } catch (cause) {
    if (!(cause instanceof CauselineError) || !/cannot be opened/.test(cause.message)) throw cause;
    const kept = asideWithLog(db, 'damaged');
    const store = await openStore(db);
    await incident(store, 'damaged', `${cause.message} It was kept as ${kept}.`);
    return store;
  }
}

/** The file and its write-ahead log keep what they hold, under another name. */
function asideWithLog(db: string, word: string): string {
  const kept = freeName(db, word);
  renameSync(db, kept);
  if (existsSync(`${db}.wal`)) renameSync(`${db}.wal`, `${kept}.wal`);
  return kept;
}

/** A store that goes on from fewer commits is another store: what witnesses said of the old one must not be held against it. */
async function remade(db: string, store: Store, stands: bigint, ahead: readonly Head[]): Promise<Store> {
  const { storeId } = store;
  const last = ahead.map(({ commitSeq }) => commitSeq).sort((a, b) => Number(b - a))[0];
  store.close();
  const { kept } = await rebuild(db, 'rolled-back');
  const fresh = await openStore(db);
  await fresh.connection.run('UPDATE _store.identity SET store_id = uuid()::VARCHAR');
  await incident(
    fresh,
    'rolled_back',
    `${db} held ${stands} commits of ${last}: it was kept as ${kept} (store ${storeId}), and what it lost is read again from Kafka.`,
  );
  fresh.close();
  return openStore(db);
}

async function incident(store: Store, what: string, detail: string): Promise<void> {
  log('warn', detail, { incident: what });
  await store.connection.run('INSERT INTO _store.incidents VALUES (now()::TIMESTAMP, $1, $2)', [what, detail]);
}

async function lastCommit({ connection }: Store): Promise<bigint> {
  const found = await connection.runAndReadAll('SELECT coalesce(max(commit_seq), 0) FROM _store.commits');
  return found.getRows()[0]![0] as bigint;
}
