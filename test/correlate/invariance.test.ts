import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type Correlated, correlate } from '../../services/correlate/index.js';
import type { MetricRow, SpanRow } from '../../shared/evidence.js';
import type { Finding } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { type Batch, emptyBatch, openStore } from '../../shared/store/store.js';
import { type Standing, standing } from '../helpers/standing.js';
import { temporaryFolder } from '../helpers/store.js';
import { Chance, type Evidence, evidenceOf, importWrites, type Story, shuffled, stories } from '../helpers/story.js';

type Row = { readonly span: SpanRow } | { readonly point: MetricRow };

const rowsOf = (...evidence: readonly Evidence[]): Row[] =>
  evidence.flatMap(({ spans, points }) => [...spans.map((span) => ({ span })), ...points.map((point) => ({ point }))]);

/** What a store comes to that was given these batches, one commit each. */
async function correlated(t: ExecutionContext, batches: readonly (readonly Row[])[]): Promise<Correlated> {
  const store = await openStore(join(temporaryFolder(t), 'night.duckdb'));
  try {
    for (const rows of batches) await store.commit(batchOf(rows));
    return await correlate(store, { endOfInput: true });
  } finally {
    store.close();
  }
}

/** What a store says in the end that was asked after every batch, and whose process ended after some. */
async function correlatedInSteps(
  t: ExecutionContext,
  batches: readonly (readonly Row[])[],
  restart = false,
): Promise<Standing> {
  const path = join(temporaryFolder(t), 'night.duckdb');
  let store = await openStore(path);
  try {
    for (const [index, rows] of batches.entries()) {
      await store.commit(batchOf(rows));
      if (restart && index % 2 === 1) {
        store.close();
        store = await openStore(path);
      }
      await correlate(store, { endOfInput: index === batches.length - 1 });
    }
    return await standing(store.connection);
  } finally {
    store.close();
  }
}

function batchOf(rows: readonly Row[]): Batch {
  const batch = emptyBatch();
  for (const row of rows)
    if ('span' in row) batch.traces.push({ sourceId: 'spans', row: row.span });
    else batch.metrics.push({ sourceId: 'scrapes', row: row.point });
  return batch;
}

/** Everything that is said, as JSON says it. */
const said = (result: Correlated): unknown => JSON.parse(JSON.stringify(result));

function split<T>(items: readonly T[], parts: number): T[][] {
  const length = Math.ceil(items.length / parts);
  return Array.from({ length: parts }, (_, part) => items.slice(part * length, (part + 1) * length));
}

/** A failure names the seed and the smallest story that shows it. */
const holds = (t: ExecutionContext, property: fc.IRawProperty<unknown>, numRuns: number) =>
  t.notThrowsAsync(async () => fc.assert(property, { numRuns }));

const kindsOf = (findings: readonly Finding[]): string[] => findings.map(({ kind }) => kind);

/** The kinds of a chain's members. */
function membersOf({ findings }: Correlated, chain: Correlated['chains'][number]): Finding[] {
  return chain.members.map((id) => findings.find((finding) => finding.id === id)!);
}

const membersIn = ({ chains }: Correlated): string[] => chains.map(({ members }) => members.join());

const calm = { troubles: {} };

test('the evidence alone decides: not its order, its batches, or how often it was delivered', async (t) => {
  await holds(
    t,
    fc.asyncProperty(stories(), fc.nat(), fc.integer({ min: 2, max: 7 }), async (story, seed, parts) => {
      const rows = rowsOf(evidenceOf(story));
      const again = shuffled(rows, seed).slice(0, Math.ceil(rows.length / 10));
      const inOrder = await correlated(t, [rows]);
      const backwards = await correlated(t, [rows.toReversed()]);
      const inPieces = await correlated(t, split(shuffled([...rows, ...again], seed + 1), parts));
      assert.deepEqual(said(backwards), said(inOrder));
      assert.deepEqual(said(inPieces), said(inOrder));
    }),
    4,
  );
});

test('asked after every commit, a store says in the end what it says when asked once', async (t) => {
  await holds(
    t,
    fc.asyncProperty(
      stories(),
      fc.nat(),
      fc.integer({ min: 2, max: 9 }),
      fc.boolean(),
      async (story, seed, parts, late) => {
        const rows = rowsOf(evidenceOf(story)).sort((a, b) => timeOf(a) - timeOf(b));
        const again = shuffled(rows, seed).slice(0, Math.ceil(rows.length / 10));
        const once = await correlatedInSteps(t, [rows]);
        const arriving = late ? delayed([...rows, ...again], seed) : shuffled([...rows, ...again], seed + 1);
        assert.deepEqual(await correlatedInSteps(t, split(arriving, parts), late), once);
      },
    ),
    4,
  );
});

test('a writer that becomes known late takes the surge from the storm, though no finding changes', async (t) => {
  const [story] = fc.sample(
    stories({ happens: 'storm', form: 'siblings', reachesQuota: false, environment: 'prod', ...calm }),
    {
      numRuns: 1,
      seed: 7,
    },
  );
  const told = evidenceOf(story!);
  const imported = importWrites(story!);
  const early = await correlatedInSteps(t, [rowsOf(told)]);
  const late = await correlatedInSteps(t, [rowsOf(told), rowsOf(imported)]);
  assert.deepEqual(late, await correlatedInSteps(t, [rowsOf(told, imported)]));
  t.deepEqual(late.findings, early.findings);
  const rules = ({ links }: Standing) => (links as { rule: string }[]).map(({ rule }) => rule);
  t.true(rules(early).includes('retry-storm-raises-etcd-puts'));
  t.false(rules(late).includes('retry-storm-raises-etcd-puts'));
});

const timeOf = (row: Row): number => Number(('span' in row ? row.span.endUnixNano : row.point.timeUnixNano) / 1000n);

/** In the order of time, but one in five by up to a day later. */
function delayed(rows: readonly Row[], seed: number): Row[] {
  const chance = new Chance(seed);
  return rows
    .map((row) => ({ row, at: timeOf(row) + (chance.next() < 0.2 ? 10 ** (4 + 7 * chance.next()) : 0) }))
    .sort((a, b) => a.at - b.at)
    .map(({ row }) => row);
}

test('every finding and every chain has an id of its own, whatever became of scrapes and spans', async (t) => {
  await holds(
    t,
    fc.asyncProperty(stories(), async (story) => {
      const { findings, chains } = await correlated(t, [rowsOf(evidenceOf(story))]);
      for (const ids of [findings.map(({ id }) => id), chains.map(({ id }) => id)])
        assert.equal(new Set(ids).size, ids.length);
      for (const finding of findings) {
        assert.ok(finding.startedMicros <= finding.startedByMicros, finding.summary);
        assert.doesNotMatch(finding.summary, /NaN|undefined|Infinity/);
        assert.ok(!Object.values(finding.measured).some(Number.isNaN), finding.summary);
      }
    }),
    4,
  );
});

test('a retry storm leads from the failed downloads to the puts that its loops write', async (t) => {
  await holds(
    t,
    fc.asyncProperty(stories({ happens: 'storm', ...calm }), async (story) => {
      const result = await correlated(t, [rowsOf(evidenceOf(story))]);
      assert.equal(result.chains.length, 1, kindsOf(result.findings).join());
      const [chain] = result.chains;
      const kinds = kindsOf(membersOf(result, chain!));
      // Passes without a link, of which only some are kept, show no trace and may show no interval.
      const shown = story.form !== 'roots' || (story.scale ?? 1) === 1;
      const roots = ['go.module_fetch_failure', ...(shown ? [] : ['retry.storm'])];
      assert.ok(roots.includes(chain!.rootKind), chain!.rootKind);
      for (const kind of ['retry.storm', 'etcd.put_surge', 'etcd.wal_growth', 'etcd.db_growth'])
        assert.ok(kinds.includes(kind), kind);
      assert.equal(kinds.includes('etcd.quota_exhausted'), story.reachesQuota);
      assert.equal(chain!.impactKind === 'http.error_burst', story.reachesQuota);
    }),
    4,
  );
});

test('a slow disk and a lost leader each lead to the requests that they fail', async (t) => {
  const root = { 'slow disk': 'etcd.slow_fsync', 'leader loss': 'etcd.leader_lost' } as const;
  await holds(
    t,
    fc.asyncProperty(
      fc.constantFrom('slow disk' as const, 'leader loss' as const).chain((happens) => stories({ happens, ...calm })),
      async (story) => {
        const result = await correlated(t, [rowsOf(evidenceOf(story))]);
        assert.deepEqual(
          result.chains.map(({ rootKind, impactKind }) => [rootKind, impactKind]),
          [[root[story.happens as keyof typeof root], 'http.error_burst']],
          kindsOf(result.findings).join(),
        );
      },
    ),
    4,
  );
});

test('a quiet night has no finding and no chain', async (t) => {
  await holds(
    t,
    fc.asyncProperty(stories({ happens: 'nothing', ...calm }), async (story) => {
      const { findings, links, chains } = await correlated(t, [rowsOf(evidenceOf(story))]);
      assert.deepEqual({ findings, links, chains }, { findings: [], links: [], chains: [] });
    }),
    4,
  );
});

test('two incidents on two clusters at once are two chains that share nothing', async (t) => {
  const one: Partial<Story> = { ...calm, cluster: 'orders', prefix: 'orders-' };
  const other: Partial<Story> = { ...calm, cluster: 'config-store', prefix: '', environment: 'prod' };
  await holds(
    t,
    fc.asyncProperty(
      stories({ ...one, happens: 'slow disk' }),
      fc.constantFrom('storm' as const, 'leader loss' as const).chain((happens) => stories({ ...other, happens })),
      async (slow, loud) => {
        const result = await correlated(t, [rowsOf(evidenceOf(slow), evidenceOf(loud))]);
        const alone = [
          await correlated(t, [rowsOf(evidenceOf(slow))]),
          await correlated(t, [rowsOf(evidenceOf(loud))]),
        ];
        assert.equal(result.chains.length, 2);
        assert.deepEqual(membersIn(result).sort(), alone.flatMap(membersIn).sort());
      },
    ),
    4,
  );
});

test('a service name that two environments share never joins them', async (t) => {
  await holds(
    t,
    fc.asyncProperty(stories({ happens: 'storm', form: 'roots', environment: 'prod', ...calm }), async (story) => {
      const { spans, points } = evidenceOf(story);
      const downloads = new Set(spans.filter(({ operation }) => operation === 'go mod download').map((s) => s.traceId));
      const apart = spans.map((span) =>
        downloads.has(span.traceId)
          ? { ...span, scope: 'staging', bodyHash: sha256(`staging ${span.bodyHash}`) }
          : span,
      );
      const result = await correlated(t, [rowsOf({ spans: apart, points })]);
      assert.ok(kindsOf(result.findings).includes('go.module_fetch_failure'));
      assert.ok(!result.links.some(({ rule }) => rule === 'fetch-failure-starts-retry-storm'));
      assert.deepEqual(
        result.chains.map(({ rootKind }) => rootKind),
        ['retry.storm'],
      );
    }),
    4,
  );
});
