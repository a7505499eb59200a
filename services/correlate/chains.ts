import type { Chain, Link, Verdict } from '../../shared/chain.js';
import { humanMicros, micros } from '../../shared/duration.js';
import type { Finding } from '../../shared/finding.js';
import { groupBy } from '../../shared/group.js';
import { accepted } from './judge.js';

/** A chain holds at most so much event time from the latest moment at which its root can have begun. */
const EXTENT_MICROS = micros('24h');

const RANK: Readonly<Record<Verdict, number>> = { CONFIRMED: 2, LIKELY: 1, INCONCLUSIVE: 0 };

/**
 * Builds chains: from each finding that has an accepted effect and no accepted cause, everything that accepted links reach. An effect of two roots
 * stands in both chains. What concealed a member stands beside the chain: it chooses no root, and its time is not the chain's. Links to findings outside the extent are left out, and the chain says that it continues;
 * a root left without any link is no chain. Pure; ids come from content.
 */
export function buildChains(
  findings: readonly Finding[],
  links: readonly Link[],
  hash: (text: string) => string,
): Chain[] {
  const byId = new Map(findings.map((finding) => [finding.id, finding]));
  const strong = links.filter((link) => accepted(link) && link.role !== 'concealment');
  const hiding = groupBy(
    links.filter((link) => accepted(link) && link.role === 'concealment'),
    (link) => link.effectFindingId,
  );
  const from = groupBy(strong, (link) => link.causeFindingId);
  const effects = new Set(strong.map((link) => link.effectFindingId));
  return [...from.keys()]
    .filter((id) => !effects.has(id))
    .sort()
    .flatMap((root) => chainFrom(byId.get(root)!, byId, from, hiding, hash) ?? []);
}

function chainFrom(
  root: Finding,
  byId: ReadonlyMap<string, Finding>,
  from: ReadonlyMap<string, readonly Link[]>,
  hiding: ReadonlyMap<string, readonly Link[]>,
  hash: (text: string) => string,
): Chain | undefined {
  const latest = root.startedByMicros + EXTENT_MICROS;
  const { members, links, continues } = reach(root, byId, from, latest);
  if (links.length === 0) return undefined;
  const hidden = members.flatMap((id) => hiding.get(id) ?? []);
  const findings = members.filter((id) => byId.get(id)!.kind !== 'audit.log_gap').map((id) => byId.get(id)!);
  const path = pathToImpact(root.id, links, byId);
  const impact = byId.get(path.at(-1)!.effectFindingId)!;
  const weakest = path.reduce((weak, link) => (RANK[link.verdict] < RANK[weak.verdict] ? link : weak));
  const endedMicros = Math.max(...findings.map((finding) => finding.endedMicros));
  return {
    id: hash(`chain\n${root.id}`).slice(0, 32),
    rootFindingId: root.id,
    rootKind: root.kind,
    impactFindingId: impact.id,
    impactKind: impact.kind,
    members: [...members, ...hidden.map(({ causeFindingId }) => causeFindingId).filter(isFirst)],
    links: [...links, ...hidden],
    startedMicros: root.startedMicros,
    endedMicros,
    verdict: weakest.verdict,
    confidence: Math.min(...path.map((link) => link.confidence)),
    title: `${root.kind} of ${root.subject} led to ${impact.kind} of ${impact.subject}`,
    summary: `${root.summary}; over ${path.length} ${path.length === 1 ? 'link' : 'links'} in ${humanMicros(impact.startedMicros - root.startedMicros)}: ${impact.summary}${
      continues ? '; it continues after 24 h' : ''
    }`,
    continues,
  };
}

const isFirst = (id: string, index: number, ids: readonly string[]): boolean => ids.indexOf(id) === index;

function reach(
  root: Finding,
  byId: ReadonlyMap<string, Finding>,
  from: ReadonlyMap<string, readonly Link[]>,
  latestMicros: number,
) {
  const members = new Set([root.id]);
  const links: Link[] = [];
  let continues = false;
  const open = [root.id];
  for (let at = open.shift(); at !== undefined; at = open.shift())
    for (const link of from.get(at) ?? []) {
      if (byId.get(link.effectFindingId)!.startedMicros > latestMicros) {
        continues = true;
        continue;
      }
      links.push(link);
      if (members.has(link.effectFindingId)) continue;
      members.add(link.effectFindingId);
      open.push(link.effectFindingId);
    }
  const inOrder = [...members].sort(
    (a, b) => byId.get(a)!.startedMicros - byId.get(b)!.startedMicros || (a < b ? -1 : 1),
  );
  return { members: inOrder, links: links.sort((a, b) => place(inOrder, a) - place(inOrder, b)), continues };
}

/** Links stand in the order of their causes, then of their effects. */
function place(inOrder: readonly string[], link: Link): number {
  return inOrder.indexOf(link.causeFindingId) * inOrder.length + inOrder.indexOf(link.effectFindingId);
}

/**
 * The impact is the last finding of the longest path from the root: what the incident came to. Of equally long paths the one whose weakest link
 * is strongest, then the worse end, then the earlier; what is left is decided by kind and id.
 */
function pathToImpact(rootId: string, links: readonly Link[], byId: ReadonlyMap<string, Finding>): readonly Link[] {
  const from = groupBy(links, (link) => link.causeFindingId);
  const best = new Map<string, readonly Link[]>();
  const longest = (id: string): readonly Link[] => {
    const known = best.get(id);
    if (known) return known;
    const paths = (from.get(id) ?? []).map((link) => [link, ...longest(link.effectFindingId)]);
    const chosen = paths.reduce<readonly Link[]>(
      (chosen, path) => (chosen.length === 0 || better(path, chosen, byId) ? path : chosen),
      [],
    );
    best.set(id, chosen);
    return chosen;
  };
  return longest(rootId);
}

const SEVERITY = { info: 0, warning: 1, critical: 2 } as const;

function better(a: readonly Link[], b: readonly Link[], byId: ReadonlyMap<string, Finding>): boolean {
  const ends = [byId.get(a.at(-1)!.effectFindingId)!, byId.get(b.at(-1)!.effectFindingId)!] as const;
  const weakest = (path: readonly Link[]) => Math.min(...path.map((link) => RANK[link.verdict]));
  const differences = [
    a.length - b.length,
    weakest(a) - weakest(b),
    SEVERITY[ends[0].severity] - SEVERITY[ends[1].severity],
    ends[1].startedMicros - ends[0].startedMicros,
  ];
  const decisive = differences.find((difference) => difference !== 0);
  return decisive === undefined ? `${ends[0].kind} ${ends[0].id}` < `${ends[1].kind} ${ends[1].id}` : decisive > 0;
}
