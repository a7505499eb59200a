import test from 'ava';
import fc from 'fast-check';
import type { Batch } from 'kafkajs';
import { filteredGaps, hasJump, type Stretch, startsBefore, stretches } from '../../services/collect/kafka/offsets.js';
import type { Gap } from '../../shared/store/positions.js';

const of = { source: 'cloudtrail', cluster: 'c', topic: 't', topicId: 'id', partition: 0 };

/** What may stand at an offset: a message, one of an aborted transaction, a marker, or nothing. */
type Slot = 'message' | 'aborted' | 'marker' | 'none';

/** A batch as kafkajs hands it out: `messages` is without what it hides. */
function batchOf(first: bigint, slots: readonly Slot[], fetchedOffset = first): Batch {
  const all = slots.flatMap((slot, index) =>
    slot === 'none' ? [] : [{ offset: String(first + BigInt(index)), slot, isControlRecord: slot === 'marker' }],
  );
  const within = all.filter(({ offset }) => BigInt(offset) >= fetchedOffset);
  return {
    fetchedOffset: String(fetchedOffset),
    messages: within.filter(({ slot }) => slot === 'message'),
    messagesWithinOffset: within,
  } as unknown as Batch;
}

/** The offsets that stretches account for, each with what it was counted as. */
function counted(found: readonly Stretch[]): [bigint, string][] {
  return found.flatMap(({ messages, gaps }): [bigint, string][] => [
    ...messages.map(({ offset }): [bigint, string] => [BigInt(offset), 'message']),
    ...gaps.flatMap(offsetsOf),
  ]);
}

const offsetsOf = ({ from, to, cause }: Gap): [bigint, string][] =>
  Array.from({ length: Number(to - from) }, (_, index) => [from + BigInt(index), cause]);

const slots = fc.array(fc.constantFrom<Slot>('message', 'message', 'message', 'aborted', 'marker', 'none'), {
  maxLength: 5000,
  size: 'max',
});

test('stretches account for each offset of a batch exactly once, in order', (t) => {
  fc.assert(
    fc.property(slots, fc.bigInt(0n, 100n), fc.bigInt(0n, 200n), fc.bigInt(0n, 300n), (given, first, expected, low) => {
      const batch = batchOf(first, given);
      const found = [...stretches(of, batch, expected, { low, compacted: false })];
      const last = given.findLastIndex((slot) => slot !== 'none');
      const end = first + BigInt(last + 1);
      const all = counted(found).sort(([a], [b]) => Number(a - b));
      const wanted = end > expected ? Number(end - expected) : 0;
      t.deepEqual(
        all.map(([offset]) => offset),
        Array.from({ length: wanted }, (_, index) => expected + BigInt(index)),
      );
      for (const [offset, as] of all) {
        const slot = offset < first ? 'none' : given[Number(offset - first)]!;
        t.is(
          as,
          {
            message: 'message',
            aborted: 'aborted_transaction',
            marker: 'transaction_marker',
            none: offset < low ? 'retention' : 'unknown',
          }[slot],
        );
      }
      let next = expected;
      for (const stretch of found) {
        t.is(stretch.from, next);
        next = stretch.next;
      }
    }),
    { numRuns: 60 },
  );
});

test('what is missing is only asked for where something is missing', (t) => {
  t.false(hasJump(batchOf(10n, ['message', 'marker', 'aborted']), 10n));
  t.false(hasJump(batchOf(10n, ['message', 'message']), 11n), 'the first of a batch is known already');
  t.true(hasJump(batchOf(10n, ['message', 'none', 'message']), 10n));
  t.true(hasJump(batchOf(10n, ['message']), 9n));
});

test('a compacted topic lost nothing, retention did', (t) => {
  const [stretch] = [...stretches(of, batchOf(10n, ['message', 'none', 'message']), 3n, { low: 5n, compacted: true })];
  t.deepEqual(stretch!.gaps, [
    { from: 3n, to: 5n, cause: 'retention' },
    { from: 5n, to: 10n, cause: 'compaction' },
    { from: 11n, to: 12n, cause: 'compaction' },
  ]);
});

test('a batch fetched from before what is expected is noticed: the log is another, or was cut', (t) => {
  t.true(startsBefore(batchOf(0n, ['message']), 5n));
  t.false(startsBefore(batchOf(3n, ['message', 'message', 'message'], 5n), 5n));
});

test('a batch without a message for us is its marker, and aborted before', (t) => {
  t.deepEqual(filteredGaps(5n, 5n, 8n, undefined), [
    { from: 5n, to: 8n, cause: 'aborted_transaction' },
    { from: 8n, to: 9n, cause: 'transaction_marker' },
  ]);
  t.deepEqual(filteredGaps(5n, undefined, 6n, { low: 0n, compacted: true }), [
    { from: 5n, to: 7n, cause: 'compaction' },
  ]);
});
