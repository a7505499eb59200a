import { copyFileSync, existsSync, linkSync, renameSync, rmSync } from 'node:fs';
import { CauselineError } from '../../shared/errors.js';
import { copyEvidence, type EvidenceCopied } from '../../shared/store/copy.js';
import { freeName, ledgerPath, readLedger, syncFolder } from '../../shared/store/ledger.js';
import { openStore } from '../../shared/store/store.js';
import { correlate } from '../correlate/index.js';
import type { Recorded } from '../correlate/record.js';
import { verifyTrails } from '../verify/index.js';

/** What a rebuild did. */
export interface Rebuilt {
  readonly db: string;
  /** The file as it was before. */
  readonly kept: string;
  readonly notices: readonly string[];
  readonly copied: EvidenceCopied;
  /** Revisions that the ledger kept. */
  readonly revisions: number;
  readonly recorded: Recorded;
}

/**
 * Makes a store again: the evidence of the old file, the history of the ledger, and findings, links and chains judged anew. The old file stays under
 * another name, `<db>.<keptAs>-<n>`. Killed at any moment, the store is the old one or the new one.
 */
export async function rebuild(db: string, keptAs = 'before-rebuild'): Promise<Rebuilt> {
  const notices = await completeLedger(db);
  const fresh = `${db}.rebuilding`; // a rebuild that was killed may have left one
  for (const left of ['', '.wal', '.tmp', '.ledger']) rmSync(fresh + left, { force: true, recursive: true });
  const revisions = await revisionsIn(ledgerPath(db));
  if (revisions > 0) copyFileSync(ledgerPath(db), ledgerPath(fresh));
  const made = await remake(fresh, db);
  const kept = await swap(db, fresh, keptAs);
  return { db, kept, notices, revisions, ...made };
}

/** Opens the store once, so that the ledger has all that it holds. Throws what there is to do where it cannot be opened. */
async function completeLedger(db: string): Promise<readonly string[]> {
  if (!existsSync(db)) throw await notThere(db, `There is no file ${db}`);
  try {
    const store = await openStore(db);
    await store.checkpoint(); // its log must not stay behind for the file that takes its place
    store.close();
    return store.notices;
  } catch (cause) {
    if (cause instanceof CauselineError && cause.code === 'store_damaged')
      throw await notThere(db, `${db} cannot be opened as a DuckDB file`);
    throw cause;
  }
}

async function notThere(db: string, what: string): Promise<CauselineError> {
  const revisions = await revisionsIn(ledgerPath(db));
  const way =
    revisions === 0
      ? 'and no ledger beside it: replay the evidence into it.'
      : `but its ledger holds ${revisions} ${revisions === 1 ? 'revision' : 'revisions'}: ${
          existsSync(db) ? 'move the file away and ' : ''
        }replay the evidence with --db ${db}, the ledger's history is taken up then.`;
  return new CauselineError('unreadable_input', 'store', `${what}, ${way}`);
}

async function revisionsIn(ledger: string): Promise<number> {
  let count = 0;
  await readLedger(ledger, () => void count++);
  return count;
}

/** A store that opens takes up the ledger beside it; evidence and a correlation of all of it follow. */
async function remake(fresh: string, old: string): Promise<Pick<Rebuilt, 'copied' | 'recorded'>> {
  const store = await openStore(fresh);
  try {
    const copied = await copyEvidence(store.connection, old);
    await verifyTrails(store.connection);
    const { recorded } = await correlate(store, { endOfInput: false }); // where it had ended, the store still says so
    await store.checkpoint();
    return { copied, recorded };
  } finally {
    store.close();
  }
}

/** The store's name changes its file in one step. A ledger that stays behind for a crash between is completed at the next start. */
async function swap(db: string, fresh: string, keptAs: string): Promise<string> {
  const kept = freeName(db, keptAs);
  try {
    linkSync(db, kept);
  } catch {
    renameSync(db, kept); // a file system without hard links
  }
  if (existsSync(`${db}.wal`)) renameSync(`${db}.wal`, `${kept}.wal`);
  renameSync(fresh, db);
  if (existsSync(ledgerPath(fresh))) renameSync(ledgerPath(fresh), ledgerPath(db));
  await syncFolder(db);
  return kept;
}
