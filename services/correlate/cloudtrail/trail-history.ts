import { groupBy } from '../../../shared/group.js';
import type { Act, TrailChange, TrailReach } from './act.js';
import { DEFAULT_SELECTORS, type Selectors } from './selectors.js';

/** The event that a fact is known from. */
export interface Since {
  readonly atMicros: number;
  readonly eventName: string;
  readonly evidenceId: string;
}

/** What is known of a trail from one moment to the next; a fact holds until another one. */
export interface TrailState {
  /** Null: before everything that is known of it. */
  readonly fromMicros: number | null;
  /** Absent: not made yet, or made and never started. */
  readonly logging: 'unknown' | 'on' | 'stopped' | 'deleted' | 'absent';
  readonly loggingSince: Since | null;
  /** Null: not in evidence. */
  readonly selectors: Selectors | null;
  readonly selectorsSince: Since | null;
  readonly insights: readonly string[] | null;
  readonly insightsSince: Since | null;
  readonly reach: TrailReach;
  readonly reachSince: Since | null;
}

const NOTHING_KNOWN: TrailState = {
  fromMicros: null,
  logging: 'unknown',
  loggingSince: null,
  selectors: null,
  selectorsSince: null,
  insights: null,
  insightsSince: null,
  reach: { allRegions: null, globalServices: null, organization: null },
  reachSince: null,
};

/**
 * A trail's states in the order of time, from the acts on it in whatever order. What failed changed nothing, and what says again what holds changes
 * nothing either. Times are cut to the second: where acts of one second contradict each other, what holds after them is unknown.
 */
export function trailHistory(acts: readonly Act[]): TrailState[] {
  const done = acts.filter(({ error, detail }) => error === null && detail?.of === 'trail');
  const seconds = [...groupBy(done, ({ atMicros }) => atMicros)].sort(([a], [b]) => a - b);
  const born = seconds[0]?.[1].some(({ detail }) => changeOf(detail)?.change === 'create');
  const states: TrailState[] = [born ? { ...NOTHING_KNOWN, logging: 'absent' } : NOTHING_KNOWN];
  for (const [atMicros, together] of seconds) {
    const before = states.at(-1)!;
    const after = { ...afterSecond(before, together.toSorted(inOrder)), fromMicros: atMicros };
    if (!same(before, after)) states.push(after);
  }
  return states;
}

/** What held at a moment; null is before everything that is known. */
export const stateAt = (history: readonly TrailState[], atMicros: number | null): TrailState =>
  history.findLast(({ fromMicros }) => fromMicros === null || (atMicros !== null && fromMicros <= atMicros))!;

const changeOf = (detail: Act['detail']): TrailChange | undefined => (detail?.of === 'trail' ? detail : undefined);

/** A trail is made before anything else is done to it. */
const inOrder = (a: Act, b: Act): number =>
  rankOf(a) - rankOf(b) || (a.evidenceId < b.evidenceId ? -1 : a.evidenceId > b.evidenceId ? 1 : 0);
const rankOf = ({ detail }: Act): number => (changeOf(detail)?.change === 'create' ? 0 : 1);

const same = (a: TrailState, b: TrailState): boolean =>
  JSON.stringify({ ...a, fromMicros: 0 }) === JSON.stringify({ ...b, fromMicros: 0 });

function afterSecond(before: TrailState, acts: readonly Act[]): TrailState {
  return withoutContradictions(acts.reduce(afterAct, before), acts);
}

function afterAct(state: TrailState, act: Act): TrailState {
  const { change, selectors, insights, reach } = changeOf(act.detail)!;
  const since: Since = { atMicros: act.atMicros, eventName: act.eventName, evidenceId: act.evidenceId };
  switch (change) {
    case 'create':
      return {
        ...NOTHING_KNOWN,
        logging: 'absent', // until StartLogging
        loggingSince: since,
        selectors: DEFAULT_SELECTORS,
        selectorsSince: since,
        insights: [],
        insightsSince: since,
        reach: reach ?? NOTHING_KNOWN.reach,
        reachSince: since,
      };
    case 'start':
      return logging(state, 'on', since);
    case 'stop':
      return logging(state, 'stopped', since);
    case 'delete':
      return logging(state, 'deleted', since);
    case 'selectors':
      return text(state.selectors) === text(selectors) ? state : { ...state, selectors, selectorsSince: since };
    case 'insights':
      return text(state.insights) === text(insights) ? state : { ...state, insights, insightsSince: since };
    case 'update':
      return updated(state, reach, since);
  }
}

const logging = (state: TrailState, now: TrailState['logging'], since: Since): TrailState =>
  state.logging === now ? state : { ...state, logging: now, loggingSince: since };

/** What an update does not say stays as it is. */
function updated(state: TrailState, now: TrailReach | null, since: Since): TrailState {
  const reach: TrailReach = {
    allRegions: now?.allRegions ?? state.reach.allRegions,
    globalServices: now?.globalServices ?? state.reach.globalServices,
    organization: now?.organization ?? state.reach.organization,
  };
  return text(reach) === text(state.reach) ? state : { ...state, reach, reachSince: since };
}

const text = (value: unknown): string => JSON.stringify(value);

function withoutContradictions(state: TrailState, acts: readonly Act[]): TrailState {
  const changes = acts.map(({ detail }) => changeOf(detail)!);
  const said = (values: readonly unknown[]) => new Set(values.map(text)).size > 1;
  const of = (change: TrailChange['change']) => changes.filter((one) => one.change === change);
  const logged = changes.filter(({ change }) => change === 'start' || change === 'stop' || change === 'delete');
  const reborn = of('create').length > 0 && of('delete').length > 0;
  return {
    ...state,
    ...((said(logged.map(({ change }) => change)) || reborn) && { logging: 'unknown' as const }),
    ...(said(of('selectors').map(({ selectors }) => selectors)) && { selectors: null }),
    ...(said(of('insights').map(({ insights }) => insights)) && { insights: null }),
  };
}
