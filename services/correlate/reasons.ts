import type { Chain, Link } from '../../shared/chain.js';
import { humanMicros, micros } from '../../shared/duration.js';
import type { EvidenceTableName, Finding } from '../../shared/finding.js';
import { groupBy } from '../../shared/group.js';
import type { ChainState, Revision } from '../../shared/store/derived.js';

/** Evidence of a finding that came after a revision was recorded. */
export interface Arrival {
  readonly findingId: string;
  readonly table: EvidenceTableName;
  /** The longest time between an event and its ingestion. */
  readonly lateMicros: number;
  readonly ingestedMicros: number;
}

export interface Circumstances {
  readonly state: ChainState;
  /** The input has ended: that sealed it, not the sources' watermarks. */
  readonly ended: boolean;
  readonly ruleset: string;
  /** The chain whose place it takes. */
  readonly replaced: Revision | undefined;
  /** The chain's own, as they are now. */
  readonly findings: readonly Finding[];
  readonly arrivals: readonly Arrival[];
}

/** What a chain claims, in a form to compare: without figures, and without its extent. */
export function claimOf({ rootFindingId, impactFindingId, members, links, verdict, continues }: Chain): unknown {
  const linked = links.map(({ rule, causeFindingId, effectFindingId, verdict }) => [
    rule,
    causeFindingId,
    effectFindingId,
    verdict,
  ]);
  return [rootFindingId, impactFindingId, members.toSorted(), linked.sort(byText), verdict, continues];
}

const byText = (a: readonly string[], b: readonly string[]): number => (a.join() < b.join() ? -1 : 1);

/** Why a revision was written, in words. Of what is in the store alone: the same history has the same reasons. */
export function reasonFor(chain: Chain, before: Revision | undefined, now: Circumstances): string {
  if (now.replaced)
    return [
      `replaces chain ${now.replaced.chain.id}: ${whichRoot(chain, now.replaced.chain)}`,
      ...added(now.replaced, now),
    ].join('; ');
  if (!before) return 'found in the evidence';
  if (before.state === 'withdrawn') return 'its root stands again';
  const sameRules = before.ruleset === now.ruleset;
  const changes = changesOf(chain, before, now, sameRules);
  const reopened = before.state === 'sealed' && sameRules;
  return [
    ...(sameRules ? [] : ['ruleset changed']),
    ...(reopened ? [`evidence after sealing reopened it: ${changes.join('; ')}`] : changes),
    ...(reopened && now.state === 'sealed' ? ['sealed again'] : turn(before.state, now)),
  ].join('; ');
}

const whichRoot = (chain: Chain, old: Chain): string =>
  chain.startedMicros < old.startedMicros
    ? 'an earlier root'
    : chain.startedMicros > old.startedMicros
      ? 'a later root'
      : 'another root';

/** Why a chain stands no longer. */
export function withdrawalReason(
  old: Revision,
  ruleset: string,
  successor: Chain | undefined,
  heir: Chain | undefined,
): string {
  const why = successor
    ? `replaced by chain ${successor.id}: ${whichRoot(successor, old.chain)}`
    : heir
      ? `its findings are part of chain ${heir.id}`
      : 'the evidence no longer bears it';
  return old.ruleset === ruleset ? why : `ruleset changed; ${why}`;
}

function turn(before: ChainState, { state, ended }: Circumstances): string[] {
  if (before === state) return [];
  if (state === 'sealed') return [`${ended ? 'the input has ended' : 'every source has passed its end'}: sealed`];
  return ['provisional until every source has passed its end'];
}

function changesOf(chain: Chain, before: Revision, now: Circumstances, sameRules: boolean): string[] {
  const grown = added(before, now);
  const others = [...removed(chain, before.chain), ...relinked(chain, before.chain), ...rejudged(chain, before.chain)];
  if (grown.length > 0 || !sameRules) return [...grown, ...others];
  const came = now.arrivals.length > 0 ? evidence(now.arrivals, before) : 'more evidence';
  if (others.length > 0) return [`${came} changed it: ${others.join('; ')}`];
  if (chain.startedMicros !== before.chain.startedMicros || chain.endedMicros !== before.chain.endedMicros)
    return [`${came} changed its extent`];
  return JSON.stringify(chain) === JSON.stringify(before.chain) ? [] : [`${came} changed its figures`];
}

/** Which findings are new in a chain, by the source whose evidence brought them. */
function added(before: Revision, { findings, arrivals }: Circumstances): string[] {
  const known = new Set(before.chain.members);
  const fresh = findings.filter(({ id }) => !known.has(id));
  const brought = groupBy(
    arrivals.filter(({ findingId }) => !known.has(findingId)),
    ({ table }) => table,
  );
  const explained = new Set([...brought.values()].flat().map(({ findingId }) => findingId));
  const kindsOf = (ids: ReadonlySet<string>) => kinds(fresh.filter(({ id }) => ids.has(id)));
  const joined = fresh.filter(({ id }) => !explained.has(id));
  return [
    ...[...brought.values()].map(
      (came) => `${evidence(came, before)} added ${kindsOf(new Set(came.map(({ findingId }) => findingId)))}`,
    ),
    ...(joined.length > 0 ? [`${kinds(joined)} joined`] : []),
  ];
}

const WORDS: Readonly<Record<EvidenceTableName, string>> = {
  cloudtrail_events: 'CloudTrail records',
  spans: 'spans',
  metric_points: 'scrapes',
  iam_simulations: 'IAM simulations',
};

/** Sooner than this is not worth a word. */
const LATE_MICROS = micros('1m');

/** Beyond it evidence was not late but read afterwards: an archive. Then it says after what it came. */
const LATEST_MICROS = micros('24h');

function evidence(arrivals: readonly Arrival[], since: Revision): string {
  return list(
    [...groupBy(arrivals, ({ table }) => table)].map(([table, came]) => {
      const words = WORDS[table];
      const late = Math.max(...came.map(({ lateMicros }) => lateMicros));
      if (late < LATE_MICROS) return `new ${words}`;
      if (late <= LATEST_MICROS) return `${words} delivered up to ${humanMicros(late)} late`;
      const after = Math.max(...came.map(({ ingestedMicros }) => ingestedMicros)) - since.recordedMicros;
      return `${words} that came ${humanMicros(after)} after revision ${since.revision}`;
    }),
  );
}

function kinds(findings: readonly Finding[]): string {
  return list(
    [...groupBy(findings, ({ kind }) => kind)]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([kind, those]) => (those.length === 1 ? kind : `${those.length} × ${kind}`)),
  );
}

const list = (parts: readonly string[]): string =>
  parts.length < 2 ? parts.join() : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)!}`;

function removed(chain: Chain, before: Chain): string[] {
  const count = before.members.filter((id) => !chain.members.includes(id)).length;
  return count === 0
    ? []
    : [`${count} ${count === 1 ? 'finding no longer belongs' : 'findings no longer belong'} to it`];
}

/** Links between findings that were in it before. */
function relinked(chain: Chain, before: Chain): string[] {
  const both = new Set(before.members.filter((id) => chain.members.includes(id)));
  const inside = (links: readonly Link[]) =>
    new Map(
      links
        .filter((link) => both.has(link.causeFindingId) && both.has(link.effectFindingId))
        .map((link) => [`${link.rule} ${link.causeFindingId} ${link.effectFindingId}`, link]),
    );
  const [old, current] = [inside(before.links), inside(chain.links)];
  const named = ({ causeKind, effectKind }: Link) => `${causeKind} -> ${effectKind}`;
  return [
    ...[...current].filter(([key]) => !old.has(key)).map(([, link]) => `link ${named(link)} is new`),
    ...[...old].filter(([key]) => !current.has(key)).map(([, link]) => `link ${named(link)} is gone`),
    ...[...current]
      .filter(([key, { verdict }]) => old.has(key) && old.get(key)!.verdict !== verdict)
      .map(([, link]) => `link ${named(link)} became ${link.verdict}`),
  ];
}

function rejudged(chain: Chain, before: Chain): string[] {
  return [
    ...(chain.impactFindingId === before.impactFindingId ? [] : [`its impact is now ${chain.impactKind}`]),
    ...(chain.verdict === before.verdict ? [] : [`verdict ${before.verdict} became ${chain.verdict}`]),
  ];
}
