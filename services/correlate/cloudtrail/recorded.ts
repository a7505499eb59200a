import { groupBy } from '../../../shared/group.js';
import { accountOf } from './scopes.js';
import { leftOut, type Selectors, selectedBy } from './selectors.js';
import { type Cell, cellsOf, type Kind, kindsOf, kindWords } from './trail-cells.js';
import type { Since, TrailState } from './trail-history.js';

/** A trail in evidence, and what is known of it. */
export interface Trail {
  readonly arn: string;
  readonly history: readonly TrailState[];
}

type RecordedState = 'recorded' | 'unknown' | 'selector_excluded' | 'not_subscribed' | 'logging_stopped';

/** What the trails in evidence, taken together, make of one part of an account's events over one time. */
export interface Recorded {
  /** Null: every account of which no trail is in evidence. */
  readonly account: string | null;
  /** Null: every region that has no rows of its own. */
  readonly region: string | null;
  readonly cell: Cell;
  /** Which operations of it, in words. */
  readonly operations: string;
  /** Null: before everything that is known. */
  readonly fromMicros: number | null;
  /** Null: until something else is known. */
  readonly toMicros: number | null;
  readonly state: RecordedState;
  readonly reason: string;
  /** Trails that record it. */
  readonly trails: readonly string[];
  /** Names of all trails that were asked. */
  readonly asked: readonly string[];
  /** The event since which it is so. */
  readonly since: Since | null;
}

/**
 * What trails record, by account, region, category, resource and time. Something is recorded where one trail records it, and unrecorded only where every
 * trail in evidence leaves it out. A pure function of the acts on trails.
 */
export function recordedBy(trails: readonly Trail[]): Recorded[] {
  // Of a trail that nobody changed (every call failed) nothing is known, not even that it is there. One of no known account is nobody's.
  const inOrder = trails.filter(({ history }) => history.length > 1).sort((a, b) => (a.arn < b.arn ? -1 : 1));
  const shared = inOrder.filter(({ history }) => history.some(({ reach }) => reach.organization === true));
  const byAccount = groupBy(inOrder, ({ arn }) => accountOf(arn));
  byAccount.delete(undefined);
  return [
    ...[...byAccount].flatMap(([account, own]) => ofAccount(account!, [...new Set([...own, ...shared])])),
    ...ofAccount(null, shared),
  ];
}

function ofAccount(account: string | null, trails: readonly Trail[]): Recorded[] {
  const selectors = trails.flatMap(({ history }) => history.flatMap((state) => state.selectors ?? []));
  const partition = /^arn:([^:]+):/.exec(trails[0]?.arn ?? '')?.[1] ?? 'aws';
  const cells = cellsOf([...selectors, ...globalSources(trails)], partition);
  return regionsOf(trails).flatMap((region) =>
    cells.flatMap((cell) => ofCell({ account, region, cell, trails, kinds: kindsOf(cell, selectors, partition) })),
  );
}

/** Global services write their events in us-east-1 (CloudTrail user guide, "About global service events"). */
const GLOBAL_REGION = 'us-east-1';
const GLOBAL_SOURCES = ['cloudfront.amazonaws.com', 'iam.amazonaws.com', 'sts.amazonaws.com'];

const leavesGlobalOut = ({ reach }: TrailState): boolean => reach.globalServices === false;

/** Where some trail leaves global services out, they are a cell of their own. */
function globalSources(trails: readonly Trail[]): Selectors[] {
  if (!trails.some(({ history }) => history.some(leavesGlobalOut))) return [];
  const leaves = { readWriteType: 'All', includeManagementEvents: true, dataResources: [] } as const;
  return [{ basic: [{ ...leaves, excludeManagementEventSources: GLOBAL_SOURCES }], advanced: [] }];
}

const homeOf = (arn: string): string => arn.split(':')[3] ?? '';
const trailName = (arn: string): string => arn.slice(arn.lastIndexOf('/') + 1);

function regionsOf(trails: readonly Trail[]): (string | null)[] {
  const homes = trails.map(({ arn }) => homeOf(arn));
  const global = trails.some(({ history }) => history.some(leavesGlobalOut)) ? [GLOBAL_REGION] : [];
  return [...[...new Set([...homes, ...global])].sort(), null];
}

interface Part {
  readonly account: string | null;
  readonly region: string | null;
  readonly cell: Cell;
  readonly trails: readonly Trail[];
  readonly kinds: readonly Kind[];
}

function ofCell(part: Part): Recorded[] {
  const { account, region, cell, kinds } = part;
  const asked = part.trails.map(({ arn }) => trailName(arn));
  const alike = [...groupBy(kinds, treatmentBy(part.trails)).values()];
  const stretches = alike.flatMap((some) => stretchesOf(part, some[0]!).map((stretch) => ({ some, stretch })));
  return [...groupBy(stretches, ({ stretch }) => JSON.stringify(stretch)).values()].map((same): Recorded => {
    const operations = kindWords(
      kinds.filter((kind) => same.some(({ some }) => some.includes(kind))),
      kinds,
    );
    return { account, region, cell, operations, asked, ...same[0]!.stretch };
  });
}

/** What all selectors that ever were in force make of a kind of operation: those that fare alike have one history. */
function treatmentBy(trails: readonly Trail[]): (kind: Kind) => string {
  const all = [...new Set(trails.flatMap(({ history }) => history.flatMap(({ selectors }) => selectors ?? [])))];
  return ({ operation }) =>
    JSON.stringify(all.map((selectors) => selectedBy(selectors, operation) ?? leftOut(selectors, operation)));
}

type Stretch = Pick<Recorded, 'fromMicros' | 'toMicros' | 'state' | 'reason' | 'trails' | 'since'>;

/** One kind of operation over time: times that say the same are one. */
function stretchesOf(part: Part, kind: Kind): Stretch[] {
  const changes = part.trails
    .flatMap((trail, index) =>
      trail.history.map((state) => ({ index, fromMicros: state.fromMicros, said: judged(trail, state, part, kind) })),
    )
    .sort((a, b) => (a.fromMicros ?? Number.NEGATIVE_INFINITY) - (b.fromMicros ?? Number.NEGATIVE_INFINITY));
  const current: (Said | undefined)[] = [];
  const found: { said: Combined; fromMicros: number | null }[] = [];
  for (const [fromMicros, together] of [[null, []] as const, ...groupBy(changes, (change) => change.fromMicros)]) {
    for (const { index, said } of together) current[index] = said;
    const said = combined(current.filter((one) => one !== undefined));
    if (found.at(-1)?.fromMicros === fromMicros) found.pop();
    if (found.length === 0 || !same(found.at(-1)!.said, said)) found.push({ said, fromMicros });
  }
  return found.map(({ said, fromMicros }, index) => ({
    fromMicros,
    toMicros: found[index + 1]?.fromMicros ?? null,
    ...said,
  }));
}

const same = (a: Combined, b: Combined): boolean =>
  a.state === b.state &&
  a.reason === b.reason &&
  a.since?.evidenceId === b.since?.evidenceId &&
  a.trails.join() === b.trails.join();

/* ---- one trail ---- */

interface Said {
  readonly arn: string;
  readonly state: RecordedState;
  readonly why: string;
  readonly since: Since | null;
}

/** What one trail makes of it; undefined for a trail that was not there yet. */
function judged({ arn }: Trail, state: TrailState, { region, cell }: Part, kind: Kind): Said | undefined {
  if (state.logging === 'absent') return undefined;
  const name = trailName(arn);
  const said = (outcome: RecordedState, why: string, since: Since | null): Said => ({
    arn,
    state: outcome,
    why,
    since,
  });
  const elsewhere = region !== homeOf(arn) && state.reach.allRegions !== true;
  if (elsewhere && state.reach.allRegions === false)
    return said(
      'not_subscribed',
      `${name} records ${homeOf(arn)} alone${sinceWords(state.reachSince)}`,
      state.reachSince,
    );
  if (state.logging === 'stopped' || state.logging === 'deleted')
    return said('logging_stopped', stoppedWords(name, state), state.loggingSince);
  if (leavesGlobalOut(state) && region === GLOBAL_REGION && GLOBAL_SOURCES.includes(cell.resource ?? ''))
    return said(
      'selector_excluded',
      `${name} leaves the events of global services out${sinceWords(state.reachSince)}`,
      state.reachSince,
    );
  const found = cell.category === 'Insight' ? insight(said, name, state) : selection(said, name, state, kind);
  return elsewhere && found.state === 'recorded'
    ? said('unknown', `whether ${name} of ${homeOf(arn)} records other regions is not in evidence`, null)
    : found;
}

type Say = (state: RecordedState, why: string, since: Since | null) => Said;

function selection(
  said: Say,
  name: string,
  { selectors, selectorsSince, logging }: TrailState,
  { operation }: Kind,
): Said {
  if (selectors === null) return said('unknown', `what ${name} selects is not in evidence`, selectorsSince);
  const by = selectedBy(selectors, operation);
  if (by !== undefined) {
    const doubt = logging === 'unknown' ? '; whether it was logging is told by the records alone' : '';
    return said('recorded', `${name} records it by ${by}${sinceWords(selectorsSince)}${doubt}`, selectorsSince);
  }
  const { asked, why } = leftOut(selectors, operation);
  return said(
    asked ? 'selector_excluded' : 'not_subscribed',
    `${name} does not record it${sinceWords(selectorsSince)} (${why})`,
    selectorsSince,
  );
}

function insight(said: Say, name: string, state: TrailState): Said {
  const { insights, insightsSince } = state;
  if (insights === null) return said('unknown', `whether ${name} has Insights is not in evidence`, null);
  return insights.length > 0
    ? said('recorded', `${name} has Insights (${insights.join(', ')})${sinceWords(insightsSince)}`, insightsSince)
    : said('not_subscribed', `${name} has no Insights${sinceWords(insightsSince)}`, insightsSince);
}

const stoppedWords = (name: string, { logging, loggingSince }: TrailState): string =>
  `${name} was ${logging}${byWords(loggingSince)}`;

const sinceWords = (since: Since | null): string => (since === null ? '' : ` since ${eventWords(since)}`);
const byWords = (since: Since | null): string => (since === null ? '' : ` by ${eventWords(since)}`);
const eventWords = (since: Since): string =>
  `${since.eventName} at ${new Date(since.atMicros / 1000).toISOString().slice(0, 19)}Z`;

/* ---- all of them ---- */

type Combined = Omit<Stretch, 'fromMicros' | 'toMicros'>;

/** CloudTrail applies changes when they have spread (user guide, "Managing data consistency in CloudTrail"). */
const FUZZY = 'changes take effect within minutes';

function combined(said: readonly Said[]): Combined {
  const of = (state: RecordedState) => said.filter((one) => one.state === state);
  const words = (some: readonly Said[]) => [...new Set(some.map(({ why }) => why))].join('; ');
  const recording = of('recorded');
  if (recording.length > 0)
    return {
      state: 'recorded',
      reason: words(recording),
      trails: recording.map(({ arn }) => arn),
      since: recording[0]!.since,
    };
  const unknown = of('unknown');
  if (said.length === 0 || unknown.length > 0)
    return {
      state: 'unknown',
      reason: unknown.length > 0 ? words(unknown) : 'no event in evidence says what a trail records',
      trails: [],
      since: null,
    };
  const last = said.toSorted((a, b) => (b.since?.atMicros ?? 0) - (a.since?.atMicros ?? 0))[0]!;
  return {
    state: last.state,
    reason: `not recorded by the trails in evidence: ${words(said)}; ${FUZZY}`,
    trails: [],
    since: last.since,
  };
}
