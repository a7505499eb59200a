import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { CauselineError } from '../../shared/errors.js';
import { close, lockDown, type Opened, openForReading } from '../../shared/store/open.js';
import { answer, type Outcome, type Question } from './answer.js';
import type { Page } from './draw.js';
import { askWriter } from './socket.js';

/** Asks a store: its file, or the running writer that holds it. */
export async function ask(db: string, question: Question, page: Page, out: Writable): Promise<Outcome> {
  const opened = await openUnlessHeld(db);
  if (!opened) return askWriter(db, question, page, out);
  const folder = mkdtempSync(join(tmpdir(), 'causeline-'));
  try {
    const exportPath = join(folder, 'rows.parquet');
    await lockDown(opened.connection, [exportPath]);
    await opened.connection.run('BEGIN TRANSACTION READ ONLY');
    return await answer(opened.connection, question, page, exportPath, out);
  } finally {
    close(opened);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function openUnlessHeld(db: string): Promise<Opened | undefined> {
  try {
    return await openForReading(db);
  } catch (cause) {
    if (cause instanceof CauselineError && cause.code === 'store_held') return undefined;
    throw cause;
  }
}
