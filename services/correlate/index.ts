import { createHash } from 'node:crypto';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Chain, Link } from '../../shared/chain.js';
import type { Finding } from '../../shared/finding.js';
import { groupBy } from '../../shared/group.js';
import { sha256 } from '../../shared/hash.js';
import type { Surroundings } from './cause.js';
import { causes } from './causes/index.js';
import { buildChains } from './chains.js';
import { clockOffsets } from './clocks.js';
import { type Clusters, clustersOf } from './clusters.js';
import { detectors } from './detectors/index.js';
import { endFold, foldAll, startFold, stepFold } from './engine.js';
import { type Gaps, gapsOf } from './gaps.js';
import { judge } from './judge.js';
import { loadExports, loadMembers, loadScrapes, loadTraces, type ParentlessSpans } from './load.js';
import { loadGaps } from './load-gaps.js';

/** What the evidence in a store comes to. */
export interface Correlated {
  readonly findings: readonly Finding[];
  readonly links: readonly Link[];
  readonly chains: readonly Chain[];
  readonly parentless: readonly ParentlessSpans[];
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
  const gaps = gapsOf(await loadGaps(connection, clusters));
  const traces = await loadTraces(connection);
  const findings = [
    ...traces.services.flatMap(({ subject, coveredFromMicros, items }) =>
      foldAll(
        ofSubject('service'),
        items,
        { subject, coveredFromMicros, gaps: gaps(subject, -Infinity, Infinity), clusterOf: clusters.keyOfAddress },
        sha256,
      ),
    ),
    ...(await etcdFindings(connection, members, clusters, gaps)),
  ];
  const offsets = clockOffsets(traces.hops);
  const surroundings: Surroundings = {
    writers: (cluster, from, to) => traces.writes.writers(clusters, gaps, cluster, from, to),
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
    gaps,
  };
  const links = judge(findings, causes, surroundings);
  return { findings, links, chains: buildChains(findings, links, sha256), parentless: traces.parentless };
}

async function etcdFindings(
  connection: DuckDBConnection,
  members: Awaited<ReturnType<typeof loadMembers>>,
  clusters: Clusters,
  gaps: Gaps,
): Promise<Finding[]> {
  const readers = ofSubject('etcd');
  const inputs = readers.flatMap((detector) => detector.inputs);
  const findings: Finding[] = [];
  for (const [subject, group] of groupBy(members, clusters.keyOf)) {
    let fold: ReturnType<typeof startFold> | undefined;
    for await (const scrape of loadScrapes(connection, group, inputs)) {
      fold ??= startFold(readers, {
        subject,
        coveredFromMicros: scrape.atMicros,
        gaps: gaps(subject, -Infinity, Infinity),
        clusterOf: clusters.keyOfAddress,
      });
      findings.push(...stepFold(fold, scrape, sha256));
    }
    if (fold) findings.push(...endFold(fold, sha256));
  }
  return findings;
}

const ofSubject = (subject: 'etcd' | 'service') => detectors.filter((detector) => detector.subject === subject);
