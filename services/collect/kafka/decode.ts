import { setImmediate } from 'node:timers/promises';
import type { Fault } from '../../../shared/evidence.js';
import { gunzipBounded } from '../../../shared/inflate.js';
import { badBatchOf } from '../../../shared/kafka/bad-batch.js';
import { type Batch, emptyBatch, evidenceIn, type Store } from '../../../shared/store/store.js';
import type { Context, Row, Source } from '../source.js';
import type { Stretch } from './offsets.js';

/** A stretch without messages. */
export function decodedGaps(stretch: Stretch): DecodedStretch {
  return { ...stretch, batch: emptyBatch(), skipped: new Map(), weight: 0 };
}

/** A stretch, decoded: its rows wait in `batch`. */
export interface DecodedStretch extends Stretch {
  readonly batch: Batch;
  /** Records that were neither evidence nor faults, by why. */
  readonly skipped: ReadonlyMap<string, number>;
  /** What it takes up while it waits, in rows. */
  readonly weight: number;
}

/** Decodes the messages of a stretch into a batch, and lets others have a turn now and then. What cannot be decoded is a fault of its own message. */
export async function decodeStretch(
  store: Pick<Store, 'add'>,
  stretch: Stretch,
  source: Source<Row>,
  batch: Batch,
): Promise<DecodedStretch> {
  const { topic, topicId, cluster, partition } = stretch.of;
  const skipped = new Map<string, number>();
  const skip = (reason: string, count: number) => skipped.set(reason, (skipped.get(reason) ?? 0) + count);
  const nowUnixNano = BigInt(Date.now()) * 1_000_000n;
  let bytes = 0;
  for (const message of stretch.messages) {
    bytes += message.value?.length ?? 0;
    if (bytes > BYTES_A_TURN) {
      bytes = 0;
      await nextTurn();
    }
    const origin = `${topic}/${partition}/${message.offset}`;
    const inputId = `${cluster}/${topicId}/${partition}/${message.offset}`;
    const fail = (fault: Fault) => batch.faults.push({ source: source.evidence, origin, inputId, fault });
    const bad = badBatchOf(message);
    if (bad && bad !== 'further') fail({ reason: 'bad_batch', detail: bad.detail, raw: bad.raw, position: 0 });
    else if (message.value === null) skip('tombstone', 1);
    else {
      const decoded = decodeSafely(source, message.value, { origin, gunzip: gunzipBounded, nowUnixNano });
      for (const row of decoded.rows) store.add(batch, source.evidence, origin, row);
      for (const fault of decoded.faults) fail(fault);
      for (const row of decoded.missedScrapes ?? []) batch.missedScrapes.push({ sourceId: origin, row });
      for (const [reason, count] of decoded.skipped) skip(reason, count);
    }
  }
  return { ...stretch, batch, skipped, weight: weightOf(stretch, batch) };
}

let turn: Promise<unknown> = Promise.resolve();

/** One decodes at a time, however many partitions are read, and between two turns a commit or a correlation under way goes on with its next statement. */
function nextTurn(): Promise<unknown> {
  turn = turn.then(() => setImmediate());
  return turn;
}

/** Decoded in one go: some milliseconds. */
const BYTES_A_TURN = 64 * 1024;

/** Larger rows count as several, so that what waits is bounded in bytes too. */
const BYTES_A_ROW = 4 * 1024;

function weightOf({ messages }: Stretch, batch: Batch): number {
  const bytes = messages.reduce((sum, { value }) => sum + (value?.length ?? 0), batch.lines.size);
  return Math.max(messages.length, evidenceIn(batch), Math.ceil(bytes / BYTES_A_ROW));
}

/** A message at which a decoder stumbles costs itself alone, as any other that cannot be read. */
function decodeSafely(source: Source<Row>, value: Buffer, context: Context): ReturnType<Source<Row>['decode']> {
  try {
    return source.decode(value, context);
  } catch (cause) {
    const detail = `the decoder failed: ${cause instanceof Error ? cause.message : String(cause)}`;
    return { rows: [], faults: [{ reason: 'decoder_failed', detail, raw: value, position: 0 }], skipped: new Map() };
  }
}
