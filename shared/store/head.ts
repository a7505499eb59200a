import { existsSync, readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CauselineError } from '../errors.js';

/**
 * How far a store has come, in a file beside it: its id and its last commit, written and synced after each COMMIT. DuckDB opens a file whose write-ahead log was cut
 * short, or that was put back from an older copy, without a word; this file then says more than the store.
 */
export interface Head {
  readonly storeId: string;
  readonly commitSeq: bigint;
}

export const headPath = (db: string): string => `${db}.head`;

/** Undefined where there is none, or none that can be read. */
export function readHead(db: string): Head | undefined {
  if (!existsSync(headPath(db))) return undefined;
  const [, storeId, commitSeq] = /^(\S+) (\d+)\n/.exec(readFileSync(headPath(db), 'utf8')) ?? [];
  return storeId && commitSeq ? { storeId, commitSeq: BigInt(commitSeq) } : undefined;
}

/** Keeps the file open: a commit waits for it. */
export class HeadFile {
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** Throws where it cannot be written. */
  static async open(db: string): Promise<HeadFile> {
    const path = headPath(db);
    const file = await open(path, existsSync(path) ? 'r+' : 'w+').catch((cause: unknown) => unwritable(path, cause));
    return new HeadFile(path, file);
  }

  /** Throws where it cannot be written. */
  async write({ storeId, commitSeq }: Head): Promise<void> {
    try {
      await this.#file.write(`${storeId} ${String(commitSeq).padStart(20, '0')}\n`, 0);
      await this.#file.datasync();
    } catch (cause) {
      unwritable(this.#path, cause);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

function unwritable(path: string, cause: unknown): never {
  throw new CauselineError('unreadable_input', 'store', `${path} cannot be written: ${(cause as Error).message}.`, {
    cause,
  });
}
