import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where a server keeps its data. */
export interface DataFolder {
  readonly path: string;
  /** The same folder where nobody asked to keep it. */
  readonly scratch: string | undefined;
  /** Removes it unless it was asked for. */
  discard(): void;
}

/** The folder that was asked for, or a temporary one. */
export function dataFolder(server: string, wanted: string | undefined): DataFolder {
  const scratch = wanted === undefined ? mkdtempSync(join(tmpdir(), `causeline-${server}-`)) : undefined;
  const path = wanted ?? scratch!;
  mkdirSync(path, { recursive: true });
  return { path, scratch, discard: () => scratch && rmSync(scratch, { recursive: true, force: true }) };
}
