import { existsSync, renameSync } from 'node:fs';
import { CauselineError } from '../../shared/errors.js';
import { log } from '../../shared/log.js';
import { type Head, readHead } from '../../shared/store/head.js';
import { freeName } from '../../shared/store/ledger.js';
import { openStore, type Store } from '../../shared/store/store.js';
import { rebuild } from './rebuild.js';

/**
 * Opens a store and asks its witnesses (the file beside it, the offsets that consumer groups committed) whether it still holds all that it said it holds.
 * A file that lost commits, or is damaged, is set aside under another name; what it holds is copied into a new one, the rest comes again from Kafka,
 * and the incident is in the store. Throws where another process holds the file, or it may not be opened.
 */
export async function openSound(db: string, witnesses: () => Promise<readonly Head[]>): Promise<Store> {
  const head = readHead(db);
  const existed = existsSync(db);
  const asked = witnesses(); // beside opening the file
  asked.catch(() => {}); // it is heard below
  const { store, madeAnew } = await opened(db);
  const stands = await lastCommit(store);
  const all = [...(head ? [head] : []), ...(await asked)];
  const ahead = all.filter(({ storeId, commitSeq }) => storeId === store.storeId && commitSeq > stands);
  if (ahead.length > 0) return remade(db, store, stands, ahead);
  if (head && head.storeId !== store.storeId && !madeAnew)
    await incident(
      store,
      existed ? 'replaced' : 'deleted',
      `${db} was store ${head.storeId} at commit ${head.commitSeq}; ${
        existed ? `it is store ${store.storeId} now` : 'the file was gone, and made anew'
      }.`,
    );
  return store;
}

interface OpenedStore {
  readonly store: Store;
  /** The file could not be opened, and was made anew. */
  readonly madeAnew: boolean;
}

async function opened(db: string): Promise<OpenedStore> {
  try {
    return { store: await openStore(db), madeAnew: false };
  } catch (cause) {
    if (!(cause instanceof CauselineError) || cause.code !== 'store_damaged') throw cause;
    const withoutLog = await openedWithoutLog(db, cause.message);
    return withoutLog
      ? { store: withoutLog, madeAnew: false }
      : { store: await anew(db, cause.message), madeAnew: true };
  }
}

/** The file as it was at its last checkpoint, where its write-ahead log is what cannot be read; the log keeps what it holds under another name. */
async function openedWithoutLog(db: string, why: string): Promise<Store | undefined> {
  const log = `${db}.wal`;
  if (!existsSync(log)) return undefined;
  const kept = `${freeName(db, 'damaged')}.wal`;
  renameSync(log, kept);
  try {
    const store = await openStore(db);
    await incident(store, 'damaged', `${why} Without its write-ahead log, kept as ${kept}, it can.`);
    return store;
  } catch {
    renameSync(kept, log);
    return undefined;
  }
}

/** The file and its write-ahead log keep what they hold, under another name. */
async function anew(db: string, why: string): Promise<Store> {
  const kept = freeName(db, 'damaged');
  renameSync(db, kept);
  if (existsSync(`${db}.wal`)) renameSync(`${db}.wal`, `${kept}.wal`);
  const store = await openStore(db);
  await incident(store, 'damaged', `${why} It was kept as ${kept}.`);
  return store;
}

/** A store that goes on from fewer commits is another store: what witnesses said of the old one must not be held against it. */
async function remade(db: string, store: Store, stands: bigint, ahead: readonly Head[]): Promise<Store> {
  const { storeId } = store;
  const last = ahead.map(({ commitSeq }) => commitSeq).sort((a, b) => Number(b - a))[0];
  await store.checkpoint();
  store.close();
  const { kept } = await rebuild(db, 'rolled-back');
  const fresh = await openStore(db);
  await fresh.connection.run('UPDATE _store.identity SET store_id = uuid()::VARCHAR');
  await incident(
    fresh,
    'rolled_back',
    `${db} held ${stands} commits of ${last}: it was kept as ${kept} (store ${storeId}), and what it lost is read again from Kafka.`,
  );
  await fresh.checkpoint();
  fresh.close();
  return openStore(db);
}

async function incident(store: Store, what: string, detail: string): Promise<void> {
  log('warn', detail, { incident: what });
  await store.connection.run('INSERT INTO _store.incidents VALUES (now()::TIMESTAMP, $1, $2)', [what, detail]);
}

export async function lastCommit({ connection }: Store): Promise<bigint> {
  const found = await connection.runAndReadAll('SELECT coalesce(max(commit_seq), 0) FROM _store.commits');
  return found.getRows()[0]![0] as bigint;
}
