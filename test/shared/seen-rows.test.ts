import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { Bloom, probesOfNumber, probesOfText } from '../../shared/bloom.js';
import type { CloudTrailRow } from '../../shared/evidence.js';
import { emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { event, rows, temporaryFolder } from '../helpers/store.js';

const SPAN_SECONDS = 600;

/** An event has one time; another error code is another body. */
const eventOf = (id: number, span: number, body: number): CloudTrailRow =>
  event(`e${span}-${id}`, span * SPAN_SECONDS + id, { errorCode: `body ${body}` });

const batchOf = (events: readonly CloudTrailRow[]) => {
  const batch = emptyBatch();
  for (const row of events) batch.cloudtrail.push({ sourceId: 'a file', row });
  return batch;
};

/** A row that DuckDB refuses: the whole batch comes to nothing. */
const REFUSED = event('refused', 0, { eventTimeMicros: 2n ** 63n - 1n });

const step = fc.record({
  events: fc.array(fc.tuple(fc.nat(4), fc.nat(3), fc.nat(1)), { maxLength: 8 }),
  how: fc.constantFrom('committed', 'refused', 'opened again', 'committed', 'committed'),
});

test('what the store has is told from what is new, whatever was written, refused or opened again before', async (t) => {
  await t.notThrowsAsync(async () =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => goThrough(t, steps)),
      { numRuns: 15 },
    ),
  );
});

async function goThrough(t: ExecutionContext, steps: readonly { events: [number, number, number][]; how: string }[]) {
  const path = join(temporaryFolder(t), 'seen.duckdb');
  let store = await openStore(path);
  const bodies = new Set<string>();
  const identities = new Set<string>();
  try {
    for (const { events, how } of steps) {
      const offered = events.map(([id, span, body]) => eventOf(id, span, body));
      if (how === 'refused') {
        await assert.rejects(store.commit(batchOf([...offered, REFUSED])));
        continue;
      }
      if (how === 'opened again') {
        store.close();
        store = await openStore(path);
      }
      const fresh = new Map(offered.filter(({ bodyHash }) => !bodies.has(bodyHash)).map((row) => [row.bodyHash, row]));
      let conflicts = 0;
      for (const { bodyHash, eventId } of fresh.values()) {
        if (identities.has(eventId!)) conflicts++;
        identities.add(eventId!);
        bodies.add(bodyHash);
      }
      const { duplicates, conflicts: told } = await store.commit(batchOf(offered));
      assert.deepEqual({ duplicates, told }, { duplicates: offered.length - fresh.size, told: conflicts });
    }
    const stored = await rows(store.connection, 'SELECT body_hash FROM cloudtrail_events ORDER BY body_hash');
    assert.deepEqual(stored.flat(), [...bodies].sort());
  } finally {
    store.close();
  }
}

test('records of more stretches of time than are held are known again, and times before 1970 are', async (t) => {
  const path = join(temporaryFolder(t), 'seen.duckdb');
  const store: Store = await openStore(path);
  const early = event('early', 0, { eventTimeMicros: -1n });
  const many = [early, ...Array.from({ length: 20_500 }, (_, span) => eventOf(0, span, 0))];
  t.is((await store.commit(batchOf(many))).duplicates, 0);
  const again = await store.commit(batchOf([early, eventOf(0, 20_499, 0), eventOf(0, 0, 0), eventOf(1, 0, 0)]));
  t.is(again.duplicates, 3);
  t.is(again.stored['cloudtrail'], 1);
  store.close();
});

test('a Bloom filter knows all that was added, and hardly anything else', (t) => {
  const bloom = new Bloom();
  const keys = Array.from({ length: 100_000 }, (_, n) => n);
  for (const key of keys)
    bloom.add(key % 2 === 0 ? probesOfNumber(key * 2 ** 20) : probesOfText(`account/event-${key}`));
  t.true(
    keys.every((key) =>
      bloom.has(key % 2 === 0 ? probesOfNumber(key * 2 ** 20) : probesOfText(`account/event-${key}`)),
    ),
  );
  const wrong = keys.filter(
    (key) => bloom.has(probesOfNumber(key * 2 ** 20 + 1)) || bloom.has(probesOfText(`another/event-${key}`)),
  );
  t.true(wrong.length <= 10, `${wrong.length} of ${2 * keys.length}`);
  t.true(bloom.bytes < 16 * keys.length);
});

test('a Bloom filter takes millions of keys', (t) => {
  const bloom = new Bloom();
  const keys = Array.from({ length: 1_500_000 }, (_, n) => n);
  for (const key of keys) bloom.add(probesOfNumber(key));
  t.true(keys.every((key) => bloom.has(probesOfNumber(key))));
  t.false(bloom.has(probesOfNumber(keys.length + 1)));
});
