import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { replayCase } from '../../replay/replay.js';
import { iam } from '../../services/collect/sources/iam.js';
import type { CloudTrailRow, SimulationRow } from '../../shared/evidence.js';
import type { Finding } from '../../shared/finding.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { told } from '../helpers/calls.js';
import { type PurgeStory, purgeEvidence, purgeStories } from '../helpers/purge-story.js';
import { type Standing, standing } from '../helpers/standing.js';
import { rows, temporaryFolder, withDuckDb } from '../helpers/store.js';
import { shuffled } from '../helpers/story.js';

/** Simulations of ci-deployer, who purges `logs` at 03:15:02 on 17 March: so many days before, and after. */
const ROLE = 'arn:aws:iam::123456789012:role/ci-deployer';
const LOGS = 'arn:aws:s3:::logs/*';

interface Asked {
  readonly at: string;
  readonly decision?: string;
  readonly resource?: string;
  readonly missing?: readonly string[];
}

function document({ at, decision = 'allowed', resource = LOGS, missing = [] }: Asked) {
  const one = { EvalResourceName: resource, MatchedStatements: [{ SourcePolicyId: 'ci-inline' }] };
  const result = { ...one, EvalActionName: 's3:deleteobjectversion', EvalDecision: decision };
  return {
    PolicySourceArn: ROLE,
    SimulatedAt: at,
    EvaluationResults: [{ ...result, MissingContextValues: missing }],
  };
}

function simulations(...asked: readonly Asked[]): SimulationRow[] {
  const decoder = iam.file({ origin: 'iam/ci.json', gunzip: (bytes) => gunzipSync(bytes) });
  decoder.push(Buffer.from(asked.map((one) => JSON.stringify(document(one))).join('\n')));
  return decoder.end().rows;
}

interface Told {
  readonly standing: Standing;
  readonly overreaches: readonly Finding[];
}

const rightsIn = (t: ExecutionContext, batches: readonly (readonly (CloudTrailRow | SimulationRow)[])[]) =>
  told(t, batches, async (connection): Promise<Told> => {
    const said = await standing(connection);
    const overreaches = (said.findings as Finding[]).filter(({ kind }) => kind === 'iam.overreach');
    return { standing: said, overreaches };
  });

/** A purge by a right whose grant is not in evidence. */
const STORY: Partial<PurgeStory> = {
  versions: 30,
  secondsBetween: 1,
  grantedDaysBefore: null,
  scans: false,
  trail: 'watching',
  mfaOff: false,
  copies: false,
  empties: false,
  conflictEvery: null,
};

const [plain] = fc.sample(purgeStories(STORY), { numRuns: 1, seed: 3 });
const purge = purgeEvidence(plain!);

test('a right that was simulated days before its use is an overreach, and says what it was not told', async (t) => {
  t.deepEqual((await rightsIn(t, [purge])).overreaches, [], 'without it nothing is known of the right');
  const asked = { at: '2024-03-14T09:00:00Z', missing: ['aws:SourceIp'] };
  const { overreaches, standing: said } = await rightsIn(t, [[...purge, ...simulations(asked)]]);
  const [overreach] = overreaches;
  t.is(overreaches.length, 1);
  t.like(overreach!.measured, {
    action: 's3:DeleteObjectVersion',
    calls: 30,
    backed_by: 'simulation',
    granted_at: null,
    simulated: [`allowed on ${LOGS} at 2024-03-14T09:00:00Z by ci-inline, without a value for aws:SourceIp`],
    conditions_not_evaluated: ['no value for aws:SourceIp'],
  });
  t.true(overreach!.evidence.some(({ table }) => table === 'iam_simulations'));
  t.like(said.links, [{ rule: 'overreach-permits-purge', verdict: 'CONFIRMED' }]);
});

test('a simulation after the purge, and one of another time that a change has overtaken, say nothing of it', async (t) => {
  const after = simulations({ at: '2024-03-17T03:15:03Z' });
  t.deepEqual((await rightsIn(t, [[...purge, ...after]])).overreaches, []);
  const [granted] = fc.sample(purgeStories({ ...STORY, grantedDaysBefore: 1, managed: false }), {
    numRuns: 1,
    seed: 3,
  });
  const { overreaches } = await rightsIn(t, [
    [...purgeEvidence(granted!), ...simulations({ at: '2024-03-14T09:00:00Z' })],
  ]);
  t.like(overreaches[0]?.measured, { backed_by: 'policy', simulated: [] });
});

test('a policy in evidence and a simulation after it both stand behind a right', async (t) => {
  const [granted] = fc.sample(purgeStories({ ...STORY, grantedDaysBefore: 3, managed: false }), {
    numRuns: 1,
    seed: 3,
  });
  const both = [...purgeEvidence(granted!), ...simulations({ at: '2024-03-16T09:00:00Z', decision: 'explicitDeny' })];
  const { overreaches } = await rightsIn(t, [both]);
  t.like(overreaches[0]?.measured, {
    backed_by: 'policy',
    simulated: [`denied on ${LOGS} at 2024-03-16T09:00:00Z by ci-inline`],
  });
});

test('simulations that come shuffled, split, late and twice say what they say at once', async (t) => {
  const times = fc.constantFrom('2024-03-13T00:00:00Z', '2024-03-16T00:00:00Z', '2024-03-17T03:14:59Z', '2024-03-18');
  const asked = fc.record({
    at: times,
    decision: fc.constantFrom('allowed', 'allowed', 'implicitDeny'),
    resource: fc.constantFrom(LOGS, '*', 'arn:aws:s3:::web/*', 'arn:aws:s3:::logs/a'),
  });
  const property = fc.asyncProperty(
    purgeStories({ ...STORY, secondsBetween: 7 }).map((story) => ({
      ...story,
      grantedDaysBefore: story.seed % 2 === 0 ? null : 1,
    })),
    fc.array(asked, { maxLength: 5 }),
    fc.nat(),
    async (story, simulated, seed) => {
      const all = [...purgeEvidence(story), ...simulations(...simulated)];
      const [first, second] = [shuffled(all, seed), shuffled(all, seed + 1)];
      const half = Math.ceil(all.length / 2);
      const inPieces = await rightsIn(t, [first.slice(0, half), first.slice(half), second.slice(0, half)]);
      assert.deepEqual(inPieces.standing, (await rightsIn(t, [all])).standing);
    },
  );
  await t.notThrowsAsync(async () => fc.assert(property, { numRuns: 10 }));
});

/** A case folder with these files in iam/. */
function caseWith(folder: string, files: Readonly<Record<string, unknown>>): string {
  mkdirSync(join(folder, 'case/iam'), { recursive: true });
  mkdirSync(join(folder, 'case/cloudtrail'));
  writeFileSync(join(folder, 'case/case.yaml'), 'name: simulated\n');
  const Records = purge.map(({ raw }) => JSON.parse(raw) as unknown);
  writeFileSync(join(folder, 'case/cloudtrail/records.json'), JSON.stringify({ Records }));
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(folder, 'case/iam', name), typeof content === 'string' ? content : JSON.stringify(content));
  return join(folder, 'case');
}

test('a case holds simulations; one that says too little is in quarantine and costs nothing else', async (t) => {
  const folder = temporaryFolder(t);
  const db = join(folder, 'case.duckdb');
  const { PolicySourceArn: _, ...nobody } = document({ at: '2024-03-15T00:00:00Z' });
  const replay = () =>
    replayCase(
      caseWith(folder, { 'ci.json': document({ at: '2024-03-16T00:00:00Z' }), 'nobody.json': nobody, 'no.txt': 'x' }),
      db,
      { nowUnixNano: 1_800_000_000_000_000_000n },
    );
  const { collected, ignored, correlated } = await replay();
  t.is(collected.stored.iam, 1);
  t.is(collected.quarantined, 1);
  t.is(
    [...ignored.values()].reduce((sum, count) => sum + count, 0),
    1,
  );
  t.deepEqual(
    correlated.chains.map(({ rootKind }) => rootKind),
    ['iam.overreach'],
  );
  await withDuckDb(db, async (connection) => {
    t.deepEqual(await rows(connection, `SELECT source, origin, reason FROM quarantine`), [
      ['iam', 'simulated/iam/nobody.json#0', 'bad_record'],
    ]);
    const told = await rows(connection, `SELECT message FROM timeline WHERE evidence_table = 'iam_simulations'`);
    t.deepEqual(told, [[`${ROLE} s3:deleteobjectversion ${LOGS} allowed`]]);
  });
});

test('a store that was written before there were simulations takes them', async (t) => {
  const path = join(temporaryFolder(t), 'before.duckdb');
  (await openStore(path)).close();
  await withDuckDb(path, async (connection) => {
    await connection.run('DROP VIEW iam_simulations');
    await connection.run('DROP TABLE _store.iam_simulations');
    await connection.run('DELETE FROM causeline_version WHERE version > 1');
  });
  const store = await openStore(path);
  const batch = emptyBatch();
  for (const row of simulations({ at: '2024-03-16T00:00:00Z' })) store.add(batch, 'iam', 'a file', row);
  t.deepEqual((await store.commit(batch)).stored['iam'], 1);
  t.deepEqual(await rows(store.connection, 'SELECT principal_arn, decision FROM iam_simulations'), [[ROLE, 'allowed']]);
  store.close();
});
