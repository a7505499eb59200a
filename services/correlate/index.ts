import type { DuckDBConnection } from '@duckdb/node-api';
import type { Chain, Link } from '../../shared/chain.js';
import { entityKey } from '../../shared/entity.js';
import type { Finding } from '../../shared/finding.js';
import { groupBy } from '../../shared/group.js';
import { sha256 } from '../../shared/hash.js';
import { KEPT_BY_CORRELATE } from '../../shared/store/migrations.js';
import { connectTo } from '../../shared/store/open.js';
import type { Store } from '../../shared/store/store.js';
import { causes } from './causes/index.js';
import { buildChains } from './chains.js';
import { cloudScopeOf, isCloudScope, scopesOf } from './cloudtrail/scopes.js';
import { type Clusters, clustersOf, type Instance, type Member } from './clusters.js';
import { componentsOf, type Interval, LONGEST_REACH, meet, reachOf } from './components.js';
import { foldsOver, type SubjectType } from './detector.js';
import { detectors } from './detectors/index.js';
import { type Gaps, gapsOf } from './gaps.js';
import { judge } from './judge.js';
import { loadGoInstances, loadMembers, noteMetrics, surroundingsOf } from './load.js';
import { loadGaps, subjectOf } from './load-gaps.js';
import { type Change, type Recorded, record } from './record.js';
import { forget, type Refolded, refold, standing } from './refold.js';
import { type Connections, type Dirty, overRollups, refresh } from './refresh.js';
import { refreshCoverage } from './refresh-coverage.js';
import { type ChangedGap, refreshGaps } from './refresh-gaps.js';
import { BUCKET_MICROS, CLOCK_MICROS, scopes, WRITERS_LOOK_BACK_MICROS } from './rollup.js';
import { type SeenTraces, seenTracesOf } from './seen-traces.js';
import { foldingOf, type Subject } from './subject.js';

/** What a correlation judged: everything that the commits since the last one can have changed, and what came of it. */
export interface Correlated extends Judged {
  readonly recorded: Recorded;
}

interface Judged extends Change {
  readonly links: readonly Link[];
}

/** The versions of all detectors and rules, as one short word. */
export const ruleset = shortHash([
  ...detectors.map(({ kind, version }) => `${kind}@${version}`),
  ...causes.map(({ rule, version }) => `${rule}@${version}`),
]);

const inputs = detectors.flatMap((detector) => detector.inputs);

/** What rollups hold; raised with whatever changes how a trace is read. With another one they are made anew from evidence. */
const ROLLUPS = shortHash(['rollups@6', ...inputs.map((input) => JSON.stringify(input))]);

function shortHash(words: readonly string[]): string {
  return sha256([...words].sort().join('\n')).slice(0, 12);
}

export interface CorrelateOptions {
  /** Nothing more is to come: a replay that is complete. All chains are sealed. */
  readonly endOfInput: boolean;
  /** By which ruleset, where it is not this program's. */
  readonly ruleset?: string;
}

/**
 * Brings findings, links and chains up to the newest commit, in one transaction. What they come to is a pure function of the evidence in the store,
 * whatever the order, number and size of the commits; only history depends on those. Cost follows what the commits since the last correlation touched.
 */
export async function correlate(
  store: Pick<Store, 'instance' | 'connection' | 'ledger'>,
  { endOfInput, ruleset: by = ruleset }: CorrelateOptions,
): Promise<Correlated> {
  const connections = { reader: await connectTo(store), writer: store.connection };
  let judged = nothingNew;
  const advanced = async () => {
    judged = await advance(connections, seenTracesOf(store.instance), await sameSnapshot(connections), by);
    return judged;
  };
  try {
    const recorded = await record(store, advanced, by, { endOfInput });
    return { ...judged, recorded };
  } finally {
    connections.reader.closeSync();
  }
}

/**
 * Lets both connections see the store as it is after the same commit, which is the answer: evidence may be committed beside a correlation. The writer's
 * transaction has just begun.
 */
async function sameSnapshot({ reader, writer }: Connections): Promise<bigint> {
  for (;;) {
    const newest = await newestCommit(writer);
    await reader.run('BEGIN TRANSACTION');
    if ((await newestCommit(reader)) === newest) return newest;
    for (const connection of [reader, writer]) await connection.run('ROLLBACK');
    await writer.run('BEGIN TRANSACTION');
  }
}

/** Up to which commit everything was correlated, and by what. */
interface Cursor {
  readonly run: bigint;
  readonly seq: bigint;
  readonly rollups: string;
  readonly folds: string;
}

async function advance(connections: Connections, seen: SeenTraces, newest: bigint, by: string): Promise<Judged> {
  const { writer: connection } = connections;
  const last = await lastCursor(connection);
  if (last.rollups !== ROLLUPS)
    for (const table of KEPT_BY_CORRELATE) await connection.run(`DELETE FROM _store.${table}`);
  const from = last.rollups === ROLLUPS ? last.seq : 0n;
  const forgotten = last.rollups === ROLLUPS ? [] : await allFindings(connection);
  const factsChanged = await noteMetrics(connection, from);
  const members = await loadMembers(connection);
  const others = await loadGoInstances(connection);
  const folds = shortHash([by, ...[...members, ...others].map((instance) => JSON.stringify(instance))]);
  const everything = folds !== last.folds;
  if (newest === from && !everything) return nothingNew;
  const run = last.run + 1n;
  const dirty = await refresh(connections, seen, from, run, inputs);
  await seen.advance(connections.reader, from, newest);
  await refreshCoverage(connection, from, dirty, everything);
  const clusters = clustersOf(members);
  const gapsChanged = extentsOf(await refreshGaps(connection, from, run), clusters);
  const gaps = gapsOf(await loadGaps(connection, clusters));
  const touchedScopes = everything
    ? await allScopes(connection)
    : [...dirty.keys(), ...gapsChanged.keys(), ...(await readersOfRights(connection, dirty))];
  const subjects = subjectsOf(members, others, gaps, new Set(touchedScopes));
  const touched = subjects.flatMap((subject) => {
    const extent = everything ? ALWAYS : hull(extentOf(subject.scopes, dirty), gapsChanged.get(subject.name));
    return extent ? [{ folding: foldingOf(subject, sha256), dirty: extent }] : [];
  });
  const refolded = await refold(connection, overRollups, touched, run);
  if (everything) refolded.push(await forgetOthers(connection, subjects, run));
  const seeds =
    everything || factsChanged ? [ALWAYS] : [...refolded.flatMap(changesOf), ...surroundingsIn(dirty, gapsChanged)];
  const { findings, links, chains } = await judgeAgain(connection, seeds, members, gaps);
  const standing = new Set(refolded.flatMap(({ after }) => after.map(({ id }) => id)));
  const before = new Set([...forgotten, ...refolded.flatMap((one) => one.before.map(({ id }) => id))]);
  const gone = [...before].filter((id) => !standing.has(id));
  await connection.run('INSERT INTO _store.correlated VALUES (?, ?, ?, ?)', [run, newest, ROLLUPS, folds]);
  const goneChains = await chainsWithout(connection, chains, [...gone, ...findings.map(({ id }) => id)]);
  return { findings, goneFindings: gone, links, chains, goneChains };
}

/** Standing chains that had one of these findings and are none of those that were built of them now. */
async function chainsWithout(
  connection: DuckDBConnection,
  built: readonly Chain[],
  findingIds: readonly string[],
): Promise<string[]> {
  const judged = new Set(findingIds);
  const ids = new Set(built.map(({ id }) => id));
  const standing = await connection.runAndReadAll('SELECT chain_id, members FROM chains ORDER BY chain_id');
  return standing
    .getRows()
    .filter(
      ([id, members]) =>
        !ids.has(id as string) && (JSON.parse(members as string) as string[]).some((one) => judged.has(one)),
    )
    .map(([id]) => id as string);
}

const ALWAYS: Interval = { fromMicros: Number.NEGATIVE_INFINITY, toMicros: Number.POSITIVE_INFINITY };

const nothingNew: Judged = { findings: [], goneFindings: [], links: [], chains: [], goneChains: [] };

async function lastCursor(connection: DuckDBConnection): Promise<Cursor> {
  const rows = await connection.runAndReadAll(
    'SELECT run, seq, rollups, folds FROM _store.correlated ORDER BY run DESC LIMIT 1',
  );
  const [run, seq, rollups, folds] = rows.getRows()[0] ?? [0n, 0n, '', ''];
  return { run: run as bigint, seq: seq as bigint, rollups: rollups as string, folds: folds as string };
}

async function newestCommit(connection: DuckDBConnection): Promise<bigint> {
  const rows = await connection.runAndReadAll('SELECT coalesce(max(commit_seq), 0) FROM _store.commits');
  return rows.getRows()[0]![0] as bigint;
}

/** What stands where the folds that found it were thrown away. */
async function allFindings(connection: DuckDBConnection): Promise<string[]> {
  const rows = await connection.runAndReadAll('SELECT finding_id FROM findings ORDER BY finding_id');
  return rows.getRows().map(([id]) => id as string);
}

async function allScopes(connection: DuckDBConnection): Promise<string[]> {
  const rows = await connection.runAndReadAll('SELECT DISTINCT scope FROM _store.rollups ORDER BY scope');
  return rows.getRows().map(([scope]) => scope as string);
}

/** Services that some of these scopes are of, all clusters, and every instance of a Go program. */
function subjectsOf(
  members: readonly Member[],
  others: readonly Instance[],
  gaps: Gaps,
  names: ReadonlySet<string>,
): Subject[] {
  const always = (subject: string) => gaps(subject, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY);
  const clusters = clustersOf(members);
  const { keyOfAddress: clusterOf, keyOf } = clusters;
  const instance = (one: Instance, partOf: string): Subject => {
    const scope = scopes.member(one.service, one.instance);
    const subject = entityKey('instance', one.instance);
    const around = { subject, ...(partOf && { partOf }), gaps: [], clusterOf };
    return { name: scope, detectors: readersOf('instance'), around, scopes: [scope], of: 'scrapes' };
  };
  return [
    ...[...names]
      .filter((name) => name.startsWith('service:'))
      .sort()
      .map((name): Subject => {
        const around = { subject: name, gaps: always(name), clusterOf };
        return { name, detectors: readersOf('service'), around, scopes: [scopes.service(name)], of: 'service' };
      }),
    ...[...groupBy(members, keyOf)].map(([name, group]): Subject => {
      const own = group.map((member) => scopes.member(member.service, member.instance));
      return {
        name,
        detectors: readersOf('etcd'),
        around: { subject: name, gaps: always(name), clusterOf },
        scopes: own,
        of: 'scrapes',
      };
    }),
    ...members.map((member) => instance(member, keyOf(member))),
    ...others.map((other) => instance(other, other.service ? entityKey('service', other.service) : '')),
    ...[...names].sort().flatMap(cloudSubject),
  ];
}

/** A principal, bucket, trail, address or account. */
function cloudSubject(name: string): Subject[] {
  const type = cloudScopeOf(name);
  if (!type) return [];
  const around = { subject: name, gaps: [], clusterOf: (target: string) => target };
  return [{ name, detectors: readersOf(type), around, scopes: scopesOf(name), of: 'cloudtrail' }];
}

/** The principals whose rights changed, or their account's policies. */
async function readersOfRights(connection: DuckDBConnection, dirty: Dirty): Promise<string[]> {
  const changed = new Set([...dirty.keys()].filter((scope) => isCloudScope(scope) && !cloudScopeOf(scope)));
  if (changed.size === 0) return [];
  const scopes = await allScopes(connection);
  return scopes.filter(
    (scope) => cloudScopeOf(scope) === 'principal' && scopesOf(scope).some((one) => changed.has(one)),
  );
}

const readersOf = (type: SubjectType) => detectors.filter((detector) => foldsOver(detector, type));

function extentOf(names: readonly string[], dirty: Dirty): Interval | undefined {
  const buckets = names.flatMap((name) => [...(dirty.get(name) ?? [])]);
  if (buckets.length === 0) return undefined;
  return buckets.reduce<Interval>(
    ({ fromMicros, toMicros }, bucket) => ({
      fromMicros: Math.min(fromMicros, bucket),
      toMicros: Math.max(toMicros, bucket),
    }),
    { fromMicros: Number.POSITIVE_INFINITY, toMicros: Number.NEGATIVE_INFINITY },
  );
}

function hull(a: Interval | undefined, b: Interval | undefined): Interval | undefined {
  if (!a || !b) return a ?? b;
  return { fromMicros: Math.min(a.fromMicros, b.fromMicros), toMicros: Math.max(a.toMicros, b.toMicros) };
}

/** From the first gap of a subject that has changed to the last one. */
function extentsOf(changed: readonly ChangedGap[], clusters: Clusters): Map<string, Interval> {
  const extents = new Map<string, Interval>();
  for (const gap of changed) {
    const subject = subjectOf(gap, clusters);
    extents.set(subject, hull(extents.get(subject), gap)!);
  }
  return extents;
}

/** Subjects that are no more: what they found is gone. */
async function forgetOthers(
  connection: DuckDBConnection,
  subjects: readonly Subject[],
  run: bigint,
): Promise<Refolded<Finding>> {
  const names = new Set(subjects.map(({ name }) => name));
  const before = await forget<Finding>(connection, overRollups, (name) => !names.has(name), run);
  return { name: 'others', before, after: [] };
}

/** When a finding that changed stood, before and after. */
function changesOf({ before, after }: Refolded<Finding>): Interval[] {
  const text = (finding: Finding) => JSON.stringify(finding);
  const [old, fresh] = [new Set(before.map(text)), new Set(after.map(text))];
  return [...before.filter((one) => !fresh.has(text(one))), ...after.filter((one) => !old.has(text(one)))].map((one) =>
    reachOf(one),
  );
}

/** When what rules ask beside the findings may have changed: who wrote (also before), how clocks stood, and what is missing. */
function surroundingsIn(dirty: Dirty, gapsChanged: ReadonlyMap<string, Interval>): Interval[] {
  const writes = [...(dirty.get(scopes.writes) ?? [])].map((bucket) => ({
    fromMicros: bucket,
    toMicros: bucket + BUCKET_MICROS + WRITERS_LOOK_BACK_MICROS,
  }));
  const hops = [...(dirty.get(scopes.hops) ?? [])].map((hour) => ({
    fromMicros: hour - CLOCK_MICROS,
    toMicros: hour + 2 * CLOCK_MICROS,
  }));
  const gaps = [...gapsChanged.values()].map(({ fromMicros, toMicros }) => ({
    fromMicros,
    toMicros: toMicros + WRITERS_LOOK_BACK_MICROS,
  }));
  return [...writes, ...hops, ...gaps];
}

/** Judges every group of findings that one of the seeds meets. */
async function judgeAgain(
  connection: DuckDBConnection,
  seeds: readonly Interval[],
  members: readonly Member[],
  gaps: Gaps,
): Promise<Pick<Correlated, 'findings' | 'links' | 'chains'>> {
  const groups = await groupsMeeting(connection, seeds);
  const findings = groups.flat();
  if (findings.length === 0) return { findings, links: [], chains: [] };
  const surroundings = await surroundingsOf(connection, members, gaps, findings);
  const links: Link[] = [];
  const chains: Chain[] = [];
  for (const group of groups) {
    const judged = judge(group, causes, surroundings);
    links.push(...judged);
    chains.push(...buildChains(group, judged, sha256));
  }
  return { findings, links, chains };
}

/** The groups as of now, found in ever wider windows until none reaches beyond its window. */
async function groupsMeeting(connection: DuckDBConnection, seeds: readonly Interval[]): Promise<Finding[][]> {
  let from = Math.min(...seeds.map(({ fromMicros }) => fromMicros));
  for (;;) {
    if (seeds.length === 0) return [];
    // What ended at a moment was emitted in its segment or later: there the quiet after it was seen.
    const findings = await standing<Finding>(connection, overRollups, from - CLOCK_MICROS - LONGEST_REACH);
    const groups = componentsOf(findings).filter((group) =>
      group.some((one) => seeds.some((seed) => meet(reachOf(one), seed))),
    );
    const reaches = Math.min(from, ...groups.flat().map((one) => reachOf(one).fromMicros));
    if (reaches >= from) return groups;
    from = reaches;
  }
}
