import { createReadStream, existsSync } from 'node:fs';
import { appendFile, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { sha256 } from '../hash.js';
import type { WholeRevision } from './derived.js';

/**
 * The ledger of revisions: a file beside the store to which each revision is appended, with its findings as they stood, once DuckDB has committed it.
 * What was once said cannot be computed again, so it must not depend on one file. Lines are JSON and name the line before by its checksum:
 * what is changed, taken out or cut short inside is seen. Nobody signs it: who can write the file can write all of it anew.
 */
export interface Ledger {
  readonly path: string;
  /** Writes the lines and waits until they are on the disk. */
  append(revisions: readonly WholeRevision[]): Promise<void>;
}

interface Line {
  readonly line: number;
  /** The checksum of the line before; empty in the first. */
  readonly previous: string;
  readonly revision: WholeRevision;
  readonly checksum: string;
}

/** Where the sound part of a ledger ends: what the next line builds on. */
interface End {
  lines: number;
  checksum: string;
  bytes: number;
}

export const ledgerPath = (db: string): string => `${db}.ledger`;

/** A ledger that goes on after `end`. What a failed append left undone or half done is mended by the next. */
export function ledgerAt(path: string, end: End): Ledger {
  let unwritten: WholeRevision[] = [];
  return {
    path,
    append: async (revisions) => {
      unwritten.push(...revisions);
      if (unwritten.length === 0) return;
      const next = { ...end };
      const text = unwritten.map((revision) => lineAfter(next, revision)).join('');
      await appendDurably(path, end.bytes, text);
      Object.assign(end, next);
      unwritten = [];
    },
  };
}

function lineAfter(end: End, revision: WholeRevision): string {
  const unsigned = { line: end.lines + 1, previous: end.checksum, revision };
  const checksum = sha256(JSON.stringify(unsigned));
  const text = `${JSON.stringify({ ...unsigned, checksum })}\n`;
  end.lines += 1;
  end.checksum = checksum;
  end.bytes += Buffer.byteLength(text);
  return text;
}

async function appendDurably(path: string, bytes: number, text: string): Promise<void> {
  const created = !existsSync(path);
  const file = await open(path, 'a');
  try {
    await file.truncate(bytes);
    await file.appendFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  if (created) await syncFolder(path);
}

/** A new name is on the disk once its folder is. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** What a ledger turned out to be. */
export interface LedgerRead {
  /** Where its lines end, the last one torn off. */
  readonly end: End;
  /** Bytes of a last line that was not written to its end: a crash while it was appended. */
  readonly tornBytes: number;
  /** The first line that is not as it was written, or does not follow the one before. */
  readonly brokenAt: number | undefined;
}

/** Reads a ledger, gives each sound line's revision to `use`, and says what is wrong with the rest. */
export async function readLedger(
  path: string,
  use: (revision: WholeRevision) => void | Promise<void>,
): Promise<LedgerRead> {
  const end: End = { lines: 0, checksum: '', bytes: 0 };
  let brokenAt: number | undefined;
  let tornBytes = 0;
  for await (const { text, whole } of existsSync(path) ? linesOf(path) : []) {
    if (!whole) {
      tornBytes = (await stat(path)).size - end.bytes;
      break;
    }
    const line = sound(text);
    if (line) await use(line.revision);
    if (!line || line.previous !== end.checksum) brokenAt ??= end.lines + 1;
    end.lines += 1;
    end.checksum = line?.checksum ?? '';
    end.bytes += Buffer.byteLength(text) + 1;
  }
  return { end, tornBytes, brokenAt };
}

async function* linesOf(path: string): AsyncGenerator<{ text: string; whole: boolean }> {
  let rest = '';
  for await (const piece of createReadStream(path, 'utf8')) {
    const parts = (rest + String(piece)).split('\n');
    rest = parts.pop()!;
    for (const text of parts) yield { text, whole: true };
  }
  if (rest !== '') yield { text: rest, whole: false };
}

function sound(text: string): Line | undefined {
  try {
    const { checksum, ...unsigned } = JSON.parse(text) as Line;
    return sha256(JSON.stringify(unsigned)) === checksum ? { ...unsigned, checksum } : undefined;
  } catch {
    return undefined;
  }
}

/** Cuts the torn last line off; its bytes stay in `<ledger>.torn`. */
export async function cutTorn(path: string, { end, tornBytes }: LedgerRead): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const torn = Buffer.alloc(tornBytes);
    await file.read(torn, 0, tornBytes, end.bytes);
    await appendFile(`${path}.torn`, torn);
    await file.truncate(end.bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The file keeps what it holds under another name, `<path>.<word>-<n>`, which is the answer. */
export async function setAside(path: string, word: string): Promise<string> {
  const aside = freeName(path, word);
  await rename(path, aside);
  return aside;
}

export function freeName(path: string, word: string): string {
  let number = 1;
  while (existsSync(`${path}.${word}-${number}`)) number += 1;
  return `${path}.${word}-${number}`;
}
