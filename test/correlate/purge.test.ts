import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type Correlated, correlate } from '../../services/correlate/index.js';
import type { CloudTrailRow, SpanRow } from '../../shared/evidence.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { purgeEvidence, purgeStories } from '../helpers/purge-story.js';
import { type Standing, standing } from '../helpers/standing.js';
import { span, temporaryFolder } from '../helpers/store.js';
import { shuffled } from '../helpers/story.js';

/** What a store says that was given these batches, one commit each, and asked after every one or only in the end. */
async function told(
  t: ExecutionContext,
  batches: readonly (readonly CloudTrailRow[])[],
  askAfterEach: boolean,
  spans: readonly SpanRow[] = [],
): Promise<{ standing: Standing; correlated: Correlated }> {
  const store = await openStore(join(temporaryFolder(t), 'days.duckdb'));
  try {
    let correlated: Correlated | undefined;
    for (const [index, rows] of batches.entries()) {
      const batch = emptyBatch();
      for (const row of rows) batch.cloudtrail.push({ sourceId: 'records', row });
      if (index === 0) for (const row of spans) batch.traces.push({ sourceId: 'spans', row });
      await store.commit(batch);
      const last = index === batches.length - 1;
      if (last || askAfterEach) correlated = await correlate(store, { endOfInput: last });
    }
    return { standing: await standing(store.connection), correlated: correlated! };
  } finally {
    store.close();
  }
}

function split<T>(items: readonly T[], parts: number): T[][] {
  const length = Math.ceil(items.length / parts);
  return Array.from({ length: parts }, (_, part) => items.slice(part * length, (part + 1) * length));
}

const holds = (t: ExecutionContext, property: fc.IRawProperty<unknown>, numRuns: number) =>
  t.notThrowsAsync(async () => fc.assert(property, { numRuns }));

test('records that come shuffled, split, late and twice say what they say at once', async (t) => {
  await holds(
    t,
    fc.asyncProperty(purgeStories(), fc.nat(), fc.integer({ min: 2, max: 7 }), async (story, seed, parts) => {
      const rows = purgeEvidence(story);
      const again = shuffled(rows, seed).slice(0, Math.ceil(rows.length / 10));
      const once = await told(t, [rows], false);
      const inPieces = await told(t, split(shuffled([...rows, ...again], seed + 1), parts), true);
      assert.deepEqual(inPieces.standing, once.standing);
    }),
    8,
  );
});

test('a purge has the causes that the story has, and no other', async (t) => {
  await holds(
    t,
    fc.asyncProperty(purgeStories({ secondsBetween: 1, conflictEvery: null }), async (story) => {
      const { correlated } = await told(t, [purgeEvidence(story)], false);
      const purge = correlated.findings.find(({ kind }) => kind === 's3.version_purge');
      assert.equal(purge !== undefined, story.versions >= 20);
      if (!purge) return;
      assert.equal(purge.measured['versions'], story.versions, 'copies in two accounts count once');
      const used = correlated.findings.find(
        ({ kind, keys }) => kind === 'iam.overreach' && keys.includes(purge.subject),
      );
      if (used) assert.equal(used.measured['calls'], story.versions, 'also as uses of a right');
      const rules = correlated.links
        .filter(({ effectFindingId, verdict }) => effectFindingId === purge.id && verdict !== 'INCONCLUSIVE')
        .map(({ rule, causeKind }) => `${rule} ${causeKind}`);
      assert.deepEqual(rules.sort(), [
        ...(story.trail === 'blind' ? ['concealed audit.blind_spot'] : []),
        ...(story.trail === 'stopped' ? ['concealed audit.logging_impaired'] : []),
        ...(story.scans ? ['enumeration-precedes-purge access.enumeration'] : []),
        ...(story.grantedDaysBefore === null ? [] : ['overreach-permits-purge iam.overreach']),
        ...(story.mfaOff ? ['weakened-protection-permits-purge s3.protection_weakened'] : []),
      ]);
      const roots = correlated.chains.map(({ rootKind }) => rootKind);
      assert.ok(!roots.some((kind) => kind.startsWith('audit.')), 'what hid the purge chooses no root');
    }),
    8,
  );
});

/** Purges that are found where each record of a deleted version reads otherwise in one place. */
async function purgesWhere(t: ExecutionContext, from: string, to: string): Promise<number> {
  const [story] = fc.sample(purgeStories({ versions: 40, copies: false, conflictEvery: null }), {
    numRuns: 1,
    seed: 9,
  });
  const rows = purgeEvidence(story!).map((row) =>
    row.versionId === null ? row : { ...row, raw: row.raw.replace(from, to) },
  );
  t.true(rows.some(({ raw }) => raw.includes('x-amz-delete-marker')));
  const { correlated } = await told(t, [rows], false);
  return correlated.findings.filter(({ kind }) => kind === 's3.version_purge').length;
}

test('delete markers that are removed bring objects back: that is no purge', async (t) => {
  const marked = '"responseElements":{"x-amz-delete-marker":"true"}';
  t.is(await purgesWhere(t, '"responseElements":null', marked), 0);
});

test('a purge does not pass for a removal of delete markers by a query parameter that S3 ignores', async (t) => {
  const asked = '"requestParameters":{"x-amz-delete-marker":"true",';
  t.is(await purgesWhere(t, '"requestParameters":{', asked), 1);
});

test('what hid a purge stands in its chains, beside what brought it about', async (t) => {
  const [story] = fc.sample(
    purgeStories({ versions: 40, trail: 'blind', grantedDaysBefore: 3, scans: false, mfaOff: false, empties: false }),
    { numRuns: 1, seed: 3 },
  );
  const { correlated } = await told(t, [purgeEvidence(story!)], false);
  const [chain, ...others] = correlated.chains;
  t.deepEqual(others, []);
  t.is(chain!.rootKind, 'iam.overreach');
  t.is(chain!.impactKind, 's3.version_purge');
  t.deepEqual(
    chain!.links.map(({ rule }) => rule),
    ['overreach-permits-purge', 'concealed'],
  );
  const hidden = correlated.findings.find(({ kind }) => kind === 'audit.blind_spot')!;
  t.true(chain!.members.includes(hidden.id));
  t.true(chain!.startedMicros > hidden.startedMicros, 'its time is not the chain’s');
});

test('what a caller writes into its user agent stays there, whatever it writes', async (t) => {
  const [story] = fc.sample(purgeStories({ versions: 40, grantedDaysBefore: 3, conflictEvery: null }), {
    numRuns: 1,
    seed: 5,
  });
  const rows = purgeEvidence(story!);
  const telling = async (userAgent: string) => {
    const { correlated } = await told(t, [rows.map((row) => ({ ...row, userAgent }))], false);
    return JSON.stringify(correlated).replaceAll(JSON.stringify(userAgent).slice(1, -1), 'curl');
  };
  t.is(await telling('a\u001f999999999999\u001fb'), await telling('curl'));
});

interface Called {
  readonly service: string;
  readonly attributes: Readonly<Record<string, string | null>>;
}

const FAILURES = {
  'go.checksum_mismatch': 'verifying example.com/plugins/geo@v1.4.2: checksum mismatch',
  'vendor.tampered':
    'go: inconsistent vendoring: example.com/plugins/geo@v1.4.2: is marked as explicit in vendor/modules.txt, but not explicitly required in go.mod',
};

for (const [kind, text] of Object.entries(FAILURES))
  test(`${kind} in a build leads to the scan from its address, and on to the purge`, async (t) => {
    const [story] = fc.sample(
      purgeStories({
        versions: 40,
        trail: 'watching',
        grantedDaysBefore: null,
        scans: true,
        mfaOff: false,
        empties: false,
      }),
      { numRuns: 1, seed: 5 },
    );
    const rows = purgeEvidence(story!);
    const build = (hostIp: string): SpanRow => {
      const startUnixNano = BigInt(Date.parse('2024-03-17T02:40:00Z')) * 1_000_000n;
      const times = { startUnixNano, endUnixNano: startUnixNano + 1_000_000_000n };
      const failed = { kind: 'internal' as const, httpStatus: null, status: 'error' as const, exceptionMessage: text };
      return span(1, 0, {
        ...times,
        ...failed,
        service: 'ci',
        name: 'go build',
        operation: 'go build',
        resource: hostIp,
      });
    };
    /** A call of AWS in the trace of the build. */
    const called = ({ service, attributes }: Called): SpanRow => {
      const startUnixNano = BigInt(Date.parse('2024-03-17T02:40:05Z')) * 1_000_000n;
      const times = { startUnixNano, endUnixNano: startUnixNano + 1_000_000n };
      return span(2, 0, { ...times, kind: 'client', service, attributes: JSON.stringify(attributes) });
    };
    const rootOf = async (resource: string, call?: Called) => {
      const spans = [build(resource), ...(call ? [called(call)] : [])];
      const { correlated } = await told(t, [rows], false, spans);
      return correlated.chains.map(({ rootKind, impactKind }) => [rootKind, impactKind]);
    };
    t.deepEqual(await rootOf('{"host.ip":["127.0.0.1","10.22.8.146"]}'), [[kind, 's3.version_purge']]);
    const scan = rows.find(({ readOnly, errorCode }) => readOnly && errorCode !== null)!;
    const said = { service: 'ci', attributes: { 'aws.request_id': scan.requestId } };
    t.deepEqual(await rootOf('{"host.ip":"10.22.9.1"}', said), [[kind, 's3.version_purge']], 'by a request');
    const asked = { ...said, attributes: { 'enduser.id': scan.sessionIssuerArn } };
    t.deepEqual(await rootOf('{"host.ip":"10.22.9.1"}', asked), [[kind, 's3.version_purge']], 'by a principal');
    const another = { ...said, service: 'web' };
    t.deepEqual(await rootOf('{"host.ip":"10.22.9.1"}', another), [['access.enumeration', 's3.version_purge']]);
    const unknown = { ...said, attributes: { 'aws.request_id': 'another', 'enduser.id': 'ada' } };
    t.deepEqual(await rootOf('{"host.ip":"10.22.9.1"}', unknown), [['access.enumeration', 's3.version_purge']]);
    t.deepEqual(await rootOf('{"host.ip":"10.22.9.1"}'), [['access.enumeration', 's3.version_purge']]);
  });
