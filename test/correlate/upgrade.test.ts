import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { correlate } from '../../services/correlate/index.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { purgeEvidence, purgeStories } from '../helpers/purge-story.js';
import { rows, temporaryFolder, value } from '../helpers/store.js';

test('what an earlier version found and this one does not is withdrawn, also where it had other rollups', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'earlier.duckdb'));
  t.teardown(() => store.close());
  const { connection } = store;
  const [story] = fc.sample(purgeStories({ versions: 40, grantedDaysBefore: 3 }), { numRuns: 1, seed: 3 });
  const batch = emptyBatch();
  for (const row of purgeEvidence(story!)) batch.cloudtrail.push({ sourceId: 'records', row });
  await store.commit(batch);
  await correlate(store, { endOfInput: true });
  const said = await rows(connection, 'SELECT finding_id FROM findings ORDER BY ALL');
  const [id] = said[0] as [string];
  for (const rollups of ['rollups', `'those of before'`]) {
    const gone = `found while it had ${rollups.replaceAll("'", '')}`;
    await connection.run(
      `INSERT INTO _store.findings SELECT * REPLACE ('${gone}' AS finding_id, replace(content::VARCHAR, '${id}', '${gone}')::JSON AS content) FROM _store.findings
       WHERE finding_id = '${id}' QUALIFY row_number() OVER (ORDER BY derived_seq DESC) = 1`,
    );
    await connection.run(
      `INSERT INTO _store.folded SELECT * REPLACE (segment + 31536000000000 AS segment, replace(found, '${id}', '${gone}') AS found) FROM _store.folded
       WHERE contains(found, '${id}')`,
    );
    await connection.run(`UPDATE _store.correlated SET rollups = ${rollups}, folds = 'those of before'`);
    t.is(await value(connection, `SELECT count(*) FROM findings WHERE finding_id = '${gone}'`), 1n);
    await correlate(store, { endOfInput: true });
    t.deepEqual(await rows(connection, 'SELECT finding_id FROM findings ORDER BY ALL'), said);
  }
});

test('acts whose text an earlier version stored beside all others are read as those that are apart', async (t) => {
  const path = join(temporaryFolder(t), 'earlier.duckdb');
  const [story] = fc.sample(purgeStories({ versions: 40, grantedDaysBefore: 3 }), { numRuns: 1, seed: 3 });
  const evidence = purgeEvidence(story!);
  const half = Math.floor(evidence.length / 2);
  const commit = async (part: typeof evidence) => {
    const store = await openStore(path);
    const batch = emptyBatch();
    for (const row of part) batch.cloudtrail.push({ sourceId: 'records', row });
    await store.commit(batch);
    return store;
  };
  const earlier = await commit(evidence.slice(0, half));
  const { connection: old } = earlier;
  t.true(((await value(old, 'SELECT count(act) FROM _store.cloudtrail_events')) as bigint) > 0n);
  const raw = 'SELECT event_id, raw FROM cloudtrail_events ORDER BY ALL';
  const texts = await rows(old, raw);
  await old.run('UPDATE _store.cloudtrail_events SET raw = act WHERE act IS NOT NULL');
  await old.run('ALTER TABLE _store.cloudtrail_events DROP COLUMN act');
  await old.run('DELETE FROM causeline_version WHERE version > 2');
  earlier.close();
  const upgraded = await commit(evidence.slice(half));
  t.teardown(() => upgraded.close());
  await correlate(upgraded, { endOfInput: true });
  t.deepEqual(
    (await rows(upgraded.connection, raw)).filter(([id]) => texts.some(([one]) => one === id)),
    texts,
  );

  const fresh = await openStore(join(temporaryFolder(t), 'fresh.duckdb'));
  t.teardown(() => fresh.close());
  for (const part of [evidence.slice(0, half), evidence.slice(half)]) {
    const batch = emptyBatch();
    for (const row of part) batch.cloudtrail.push({ sourceId: 'records', row });
    await fresh.commit(batch);
  }
  await correlate(fresh, { endOfInput: true });
  const said = 'SELECT finding_id, summary, measured, evidence_count FROM findings ORDER BY ALL';
  const found = await rows(fresh.connection, said);
  t.true(found.length > 0);
  t.deepEqual(await rows(upgraded.connection, said), found);
});
