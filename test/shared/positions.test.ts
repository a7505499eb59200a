import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { HeadFile, headPath, readHead } from '../../shared/store/head.js';
import { type Consumed, type Gap, positionsOf } from '../../shared/store/positions.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { event, rows, temporaryFolder, value } from '../helpers/store.js';

const partition = { source: 'cloudtrail', cluster: 'c', topic: 'trail', topicId: 'id', partition: 3 };

const consumed = (from: bigint, next: bigint, gaps: readonly Gap[] = []): Consumed => ({
  ...partition,
  from,
  next,
  messages: Number(next - from) - gaps.reduce((sum, gap) => sum + Number(gap.to - gap.from), 0),
  gaps,
  lastMillis: 1_772_330_400_000,
});

test('rows, gaps and the next offset are one transaction; a commit from elsewhere than where the store stands is none', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'store.duckdb'));
  const offer = (id: string, ...parts: Consumed[]) => {
    const batch = { ...emptyBatch(), consumed: parts };
    store.add(batch, 'cloudtrail', id, event(id));
    return store.commit(batch);
  };
  await offer('a', consumed(7n, 10n));
  await offer('b', consumed(10n, 20n, [{ from: 12n, to: 15n, cause: 'compaction' }]), consumed(20n, 21n));
  for (const from of [20n, 22n]) {
    const error = await t.throwsAsync(offer('c', consumed(from, 30n)), { message: /stands at offset 21/ });
    t.is((error.cause as Error).constructor.name, 'PositionMoved');
  }
  t.deepEqual(await positionsOf(store.connection, 'cloudtrail'), [{ ...partition, next: 21n }]);
  t.deepEqual(await positionsOf(store.connection, 'traces'), []);
  t.is(await value(store.connection, 'SELECT count(*) FROM cloudtrail_events'), 2n);
  t.deepEqual(await rows(store.connection, 'SELECT first_offset, next_offset, messages FROM kafka_positions'), [
    [7n, 21n, 11n],
  ]);
  t.deepEqual(await rows(store.connection, 'SELECT from_offset, to_offset, cause FROM kafka_gaps'), [
    [12n, 15n, 'compaction'],
  ]);
  store.close();
});

test('the file beside a store says how far it came, and nothing where it cannot be read', async (t) => {
  const db = join(temporaryFolder(t), 'store.duckdb');
  t.is(readHead(db), undefined);
  const head = await HeadFile.open(db);
  t.is(readHead(db), undefined, 'not written yet');
  await head.write({ storeId: 'one', commitSeq: 12_345n });
  await head.write({ storeId: 'one', commitSeq: 12_346n });
  await head.close();
  t.deepEqual(readHead(db), { storeId: 'one', commitSeq: 12_346n });
  writeFileSync(headPath(db), readFileSync(headPath(db)).subarray(0, 9));
  t.is(readHead(db), undefined, 'torn');
});
