import type { Batch, KafkaMessage } from 'kafkajs';
import { badBatchOf } from '../../../shared/kafka/bad-batch.js';
import type { Gap, GapCause, Partition } from '../../../shared/store/positions.js';

/** A stretch of one partition, each of its offsets accounted for: a message, or part of a gap. */
export interface Stretch {
  readonly of: Partition;
  readonly from: bigint;
  /** The first offset after it. */
  readonly next: bigint;
  readonly messages: readonly KafkaMessage[];
  readonly gaps: readonly Gap[];
}

/** What explains offsets that a fetched batch jumps over. */
export interface Jumps {
  /** The first offset that the broker still has. */
  readonly low: bigint;
  readonly compacted: boolean;
}

/** kafkajs hides control records and aborted messages from `messages`; their offsets are taken all the same. */
type Fetched = KafkaMessage & { readonly isControlRecord?: boolean };

/** All that a fetched batch holds from an offset on, control records and aborted messages too. */
function fetched(batch: Batch, from: bigint): Fetched[] {
  const all = (batch as Batch & { readonly messagesWithinOffset: readonly Fetched[] }).messagesWithinOffset;
  return all.filter(({ offset }) => BigInt(offset) >= from);
}

/** Was a batch fetched from before what is expected? kafkajs does so where the broker no longer has that offset: the topic is another, or its log was cut. */
export function startsBefore(batch: Batch, expected: bigint): boolean {
  return BigInt((batch as Batch & { readonly fetchedOffset: string }).fetchedOffset) < expected;
}

/** Jumps a batch over offsets that we expect? Then `stretches` needs to know what explains it. */
export function hasJump(batch: Batch, expected: bigint): boolean {
  let next = expected;
  return fetched(batch, expected).some(({ offset }) => {
    const jumped = BigInt(offset) !== next;
    next = BigInt(offset) + 1n;
    return jumped;
  });
}

/** A stretch is so long at most: what is decoded and waits for the store is bounded by it. */
const MOST_MESSAGES = 2_000;
const MOST_BYTES = 2 * 1024 * 1024;

/** Cuts what a batch holds from the expected offset on into stretches. What came before is known already. */
export function* stretches(
  of: Partition,
  batch: Batch,
  expected: bigint,
  jumps: Jumps | undefined,
): Generator<Stretch> {
  const visible = new Set<KafkaMessage>(batch.messages);
  let from = expected;
  let next = expected;
  let messages: KafkaMessage[] = [];
  let gaps: Gap[] = [];
  let bytes = 0;
  for (const message of fetched(batch, expected)) {
    const offset = BigInt(message.offset);
    if (offset > next) gaps.push(...jumped(next, offset, jumps));
    const cause = causeOf(message, visible);
    if (cause) addGap(gaps, offset, cause);
    else messages.push(message);
    next = offset + 1n;
    bytes += message.value?.length ?? 0;
    if (messages.length < MOST_MESSAGES && bytes < MOST_BYTES) continue;
    yield { of, from, next, messages, gaps };
    from = next;
    messages = [];
    gaps = [];
    bytes = 0;
  }
  if (next > from) yield { of, from, next, messages, gaps };
}

function causeOf(message: Fetched, visible: ReadonlySet<KafkaMessage>): GapCause | undefined {
  if (message.isControlRecord) return 'transaction_marker';
  if (!visible.has(message)) return 'aborted_transaction';
  return badBatchOf(message) === 'further' ? 'bad_batch' : undefined;
}

function addGap(gaps: Gap[], offset: bigint, cause: GapCause): void {
  const last = gaps.at(-1);
  if (last?.cause === cause && last.to === offset) gaps[gaps.length - 1] = { ...last, to: offset + 1n };
  else gaps.push({ from: offset, to: offset + 1n, cause });
}

/**
 * The offsets of a batch without a message for us, `first` to `last`, and those before it that it jumps over. It ends with the marker of its transaction; what
 * stands before the marker was aborted. Without a first offset nothing stands at `last` either.
 */
export function filteredGaps(
  expected: bigint,
  first: bigint | undefined,
  last: bigint,
  jumps: Jumps | undefined,
): Gap[] {
  if (first === undefined) return jumped(expected, last + 1n, jumps);
  const gaps = first > expected ? jumped(expected, first, jumps) : [];
  const from = first > expected ? first : expected;
  if (last > from) gaps.push({ from, to: last, cause: 'aborted_transaction' });
  gaps.push({ from: last, to: last + 1n, cause: 'transaction_marker' });
  return gaps;
}

/** Below the first offset that the broker has, retention took them; above it, compaction may have. */
function jumped(from: bigint, to: bigint, jumps: Jumps | undefined): Gap[] {
  const low = jumps?.low ?? 0n;
  const kept = low < from ? from : low > to ? to : low;
  const rest: GapCause = jumps?.compacted ? 'compaction' : 'unknown';
  return [
    ...(kept > from ? [{ from, to: kept, cause: 'retention' as const }] : []),
    ...(to > kept ? [{ from: kept, to, cause: rest }] : []),
  ];
}
