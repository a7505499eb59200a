import { createHash } from 'node:crypto';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Chain, Link } from '../../shared/chain.js';
import { entityKey } from '../../shared/entity.js';
import type { Finding } from '../../shared/finding.js';
import { groupBy } from '../../shared/group.js';
import { sha256 } from '../../shared/hash.js';
import type { Surroundings } from './cause.js';
import { causes } from './causes/index.js';
import { buildChains } from './chains.js';
import { clockOffsets } from './clocks.js';
import { type Clusters, clustersOf, type Instance } from './clusters.js';
import type { Detector } from './detector.js';
import { detectors } from './detectors/index.js';
import { endFold, type Fold, foldAll, startFold, stepFold } from './engine.js';
import type { Scrape } from './item.js';
import { judge } from './judge.js';
import { loadExports, loadGoInstances, loadMembers, loadScrapes, loadTraces } from './load.js';

/** What the evidence in a store comes to. */
export interface Correlated {
  readonly findings: readonly Finding[];
  readonly links: readonly Link[];
  readonly chains: readonly Chain[];
}

/** The versions of all detectors and rules, as one short word. */
export const ruleset = createHash('sha256')
  .update(
    [
      ...detectors.map(({ kind, version }) => `${kind}@${version}`),
      ...causes.map(({ rule, version }) => `${rule}@${version}`),
    ]
      .sort()
      .join('\n'),
  )
  .digest('hex')
  .slice(0, 12);

/** Folds all evidence once: a pure function of what is in the store, whatever the order in which it came. */
export async function correlate(connection: DuckDBConnection): Promise<Correlated> {
  const members = await loadMembers(connection);
  const clusters = clustersOf(members);
  const traces = await loadTraces(connection);
  const findings = [
    ...traces.services.flatMap(({ subject, coveredFromMicros, items }) =>
      foldAll(ofSubject('service'), items, { subject, coveredFromMicros, clusterOf: clusters.keyOfAddress }, sha256),
    ),
    ...(await metricFindings(connection, members, clusters)),
  ];
  const offsets = clockOffsets(traces.hops);
  const surroundings: Surroundings = {
    writers: (cluster, from, to) => traces.writes.writers(clusters, cluster, from, to),
    exports: await loadExports(connection, clusters),
    members: (cluster) =>
      members.filter((member) => clusters.keyOf(member) === cluster).map(({ instance }) => instance),
    membersWith: (kind, cluster, from, to) =>
      findings
        .filter(
          (one) => one.kind === kind && one.subject === cluster && one.startedMicros <= to && one.endedMicros >= from,
        )
        .flatMap(({ member }) => member ?? []),
    clockOffset: (subject) => offsets.get(subject) ?? 0,
  };
  const links = judge(findings, causes, surroundings);
  return { findings, links, chains: buildChains(findings, links, sha256) };
}

/** Clusters and other Go services by their scrapes, each read once: a fold a cluster, and one an instance. */
async function metricFindings(
  connection: DuckDBConnection,
  members: Awaited<ReturnType<typeof loadMembers>>,
  clusters: Clusters,
): Promise<Finding[]> {
  const others = await loadGoInstances(connection);
  const findings: Finding[] = [];
  for (const [cluster, group] of groupBy(members, clusters.keyOf))
    findings.push(...(await scrapeFindings(connection, group, cluster, ofSubject('etcd'), clusters)));
  for (const [service, group] of groupBy(others, ({ service }) => service ?? ''))
    findings.push(...(await scrapeFindings(connection, group, service && entityKey('service', service), [], clusters)));
  return findings;
}

async function scrapeFindings(
  connection: DuckDBConnection,
  instances: readonly Instance[],
  whole: string,
  ofWhole: readonly Detector[],
  clusters: Clusters,
): Promise<Finding[]> {
  const ofInstance = ofSubject('instance');
  const folds = new Map<string, Fold>();
  const findings: Finding[] = [];
  const fold = (readers: readonly Detector[], scrape: Scrape, subject: string, partOf?: string) => {
    const asOf = { subject, ...(partOf && { partOf }), coveredFromMicros: scrape.atMicros };
    const known = folds.get(subject) ?? startFold(readers, { ...asOf, clusterOf: clusters.keyOfAddress });
    folds.set(subject, known);
    findings.push(...stepFold(known, scrape, sha256));
  };
  const inputs = [...ofWhole, ...ofInstance].flatMap((detector) => detector.inputs);
  for await (const scrape of loadScrapes(connection, instances, inputs)) {
    if (ofWhole.length > 0) fold(ofWhole, scrape, whole);
    fold(ofInstance, scrape, entityKey('instance', scrape.member), whole);
  }
  for (const open of folds.values()) findings.push(...endFold(open, sha256));
  return findings;
}

const ofSubject = (subject: Detector['subject']) => detectors.filter((detector) => detector.subject === subject);
