import { type Collected, collectFiles } from '../services/collect/index.js';
import { type Correlated, correlate } from '../services/correlate/index.js';
import { openStore } from '../shared/store/store.js';
import { openCase } from './case.js';

/** What a replay did, and what the evidence in the store came to. */
export interface Replayed {
  readonly case: string;
  readonly title: string | undefined;
  readonly db: string;
  /** What had to be mended when the store was opened. */
  readonly notices: readonly string[];
  readonly collected: Collected;
  readonly ignored: ReadonlyMap<string, number>;
  readonly correlated: Correlated;
}

export type Progress = (step: 'collect' | 'correlate', done: number, of: number) => void;

/** Replays a case folder into a store: evidence, findings, links, chains. Replaying it again changes nothing. */
export async function replayCase(
  folder: string,
  db: string,
  options: { nowUnixNano: bigint; onProgress?: Progress },
): Promise<Replayed> {
  const { name, title, files, ignored } = openCase(folder);
  const store = await openStore(db);
  try {
    const collected = await collectFiles(store, files, {
      nowUnixNano: options.nowUnixNano,
      onProgress: (done, of) => options.onProgress?.('collect', done, of),
    });
    options.onProgress?.('correlate', 0, 1);
    const correlated = await correlate(store, { endOfInput: true });
    await store.checkpoint();
    return { case: name, title, db, notices: store.notices, collected, ignored, correlated };
  } finally {
    store.close();
  }
}
