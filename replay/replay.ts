import { type Collected, collectFiles } from '../services/collect/index.js';
import type { Reading } from '../services/collect/kafka/consumer.js';
import { type Correlated, correlate } from '../services/correlate/index.js';
import { verifyTrails } from '../services/verify/index.js';
import { openStore, type Store } from '../shared/store/store.js';
import { recordLook } from '../shared/store/trail.js';
import type { TrailLook } from '../shared/trail-keys.js';
import type { Asked } from './aws/read.js';
import { type Case, openCase } from './case.js';
import type { TimeRange } from './kafka/read.js';

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

interface ReplayOptions {
  readonly nowUnixNano: bigint;
  readonly onProgress?: Progress;
}

/** Replays a case folder into a store: evidence, findings, links, chains. Replaying it again changes nothing. */
export async function replayCase(folder: string, db: string, options: ReplayOptions): Promise<Replayed> {
  const { name, title, files, digests, window, ignored } = openCase(folder);
  const collect = async (store: Store) => {
    const all = [...files, ...digests];
    const collected = await collectFiles(store, all, {
      nowUnixNano: options.nowUnixNano,
      onProgress: (done) => options.onProgress?.('collect', done, all.length),
    });
    if (digests.length > 0) await recordLook(store.connection, lookOf(name, window));
    return { collected, ignored };
  };
  return { case: name, title, db, ...(await replayed(db, collect, options.onProgress)) };
}

/** All that is in the folder was read; digests should reach the end of what the case is about. */
function lookOf(archive: string, { fromMicros, toMicros }: Case['window']): TrailLook {
  return { archive, bucket: null, prefix: '', fromMicros, untilMicros: null, dueMicros: toMicros };
}

/** Replays what the topics hold of a time range. */
export async function replayKafka(
  readings: readonly Reading[],
  range: TimeRange,
  db: string,
  onProgress?: Progress,
): Promise<Replayed> {
  const { readRange } = await import('./kafka/read.js'); // who replays a folder needs no client of Kafka
  const collect = (store: Store) =>
    readRange(store, readings, range, (messages) => onProgress?.('collect', messages, messages));
  return { case: 'kafka:', title: undefined, db, ...(await replayed(db, collect, onProgress)) };
}

/** Replays the CloudTrail objects of a bucket, or event history: `s3://bucket/prefix` or `cloudtrail:lookup`. */
export async function replayAws(from: string, db: string, asked: Asked, onProgress?: Progress): Promise<Replayed> {
  const { readLookup, readS3 } = await import('./aws/read.js'); // the SDK is for who needs it
  const progress = (done: number) => onProgress?.('collect', done, done);
  const collect = (store: Store) =>
    from === 'cloudtrail:lookup' ? readLookup(store, asked, progress) : readS3(store, from, asked, progress);
  return { case: from, title: undefined, db, ...(await replayed(db, collect, onProgress)) };
}

type Collect = (store: Store) => Promise<Pick<Replayed, 'collected' | 'ignored'>>;

async function replayed(db: string, collect: Collect, onProgress: Progress | undefined) {
  const store = await openStore(db);
  try {
    const collected = await collect(store);
    await verifyTrails(store.connection);
    onProgress?.('correlate', 0, 1);
    const correlated = await correlate(store, { endOfInput: true });
    await store.checkpoint();
    return { notices: store.notices, ...collected, correlated };
  } finally {
    store.close();
  }
}
