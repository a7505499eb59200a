import { type Duration, micros } from '../../../shared/duration.js';
import { entityKey } from '../../../shared/entity.js';
import type { EvidenceRef } from '../../../shared/finding.js';
import { EVIDENCE_KEPT } from '../evidence-of.js';
import { type Act, topPrefix } from './act.js';

/** CloudTrail cuts times to the second: what happened at 03:15:02 began before 03:15:03. */
export const SECOND_MICROS = 999_999;

/**
 * Acts of one kind by one principal that follow each other within the quiet gap. What it comes to is added up, and no act is kept: a purge of a million
 * versions is as small as one of twenty.
 */
export interface Spree {
  readonly principal: string;
  readonly firstMicros: number;
  lastMicros: number;
  count: number;
  /** Attempts that were refused meanwhile. */
  refused: number;
  readonly ids: string[];
  lastId: string;
  readonly callers: string[];
  readonly sources: string[];
  readonly accounts: string[];
  readonly agents: string[];
  readonly prefixes: string[];
  /** Calls that name no key (DeleteObjects). */
  keyless: number;
  /** Of those the requests in whose course deletions with keys were recorded, each once. */
  readonly named: string[];
  firstKey: string | null;
  lastKey: string | null;
  /** The least and greatest day that keys name, as `2024-03-16`. */
  days: { from: string; to: string } | null;
  /** What acts said, each once. */
  readonly says: string[];
  readonly cut: number;
  continues: boolean;
}

export interface SpreeState {
  readonly open: Map<string, Spree>;
  /** What each principal did on the days before: [principal, [[day, count], …]]. */
  readonly usual: Map<string, [day: number, count: number][]>;
}

/** Of callers, addresses and programs no more than this are named. */
const NAMED = 20;
const PREFIXES_NAMED = 100;
const CALLS_NAMED = 1_000;

export interface SpreeLimits {
  readonly quietGap: Duration;
  readonly maxExtent: Duration;
}

/** Groups acts by principal. `step` returns the sprees that have ended, each with whether its principal does as much on most days. */
export function sprees(limits: SpreeLimits) {
  const quietGap = micros(limits.quietGap);
  const maxExtent = micros(limits.maxExtent);
  const close = (state: SpreeState, ended: readonly Spree[]): Ended[] =>
    ended.map((spree) => {
      state.open.delete(spree.principal);
      const routine = isRoutine(state.usual.get(spree.principal) ?? [], spree);
      note(state, spree);
      return { spree, routine };
    });
  return {
    start: (): SpreeState => ({ open: new Map(), usual: new Map() }),
    /** Ends what has been quiet for long enough at a moment. */
    pass: (state: SpreeState, atMicros: number): Ended[] =>
      close(
        state,
        [...state.open.values()].filter(({ lastMicros }) => atMicros - lastMicros > quietGap),
      ),
    add(state: SpreeState, act: Act, says?: string): Ended[] {
      const open = state.open.get(act.who.principal);
      const tooLong = open && act.atMicros - open.firstMicros >= maxExtent;
      if (tooLong) open.continues = true;
      const ended = tooLong ? close(state, [open]) : [];
      const spree = state.open.get(act.who.principal) ?? begin(act, tooLong ? open.cut + 1 : 0);
      state.open.set(act.who.principal, spree);
      take(spree, act, says);
      return ended;
    },
    refused(state: SpreeState, act: Act): void {
      const open = state.open.get(act.who.principal);
      if (open) open.refused++;
    },
    /** In the course of a call that named no key, the service recorded one. */
    names(state: SpreeState, { who, request }: Act): void {
      addText(state.open.get(who.principal)?.named ?? [], request, CALLS_NAMED);
    },
    end: (state: SpreeState): Ended[] => close(state, [...state.open.values()]),
  };
}

export interface Ended {
  readonly spree: Spree;
  /** Its principal did at least half as much on most of the days before. */
  readonly routine: boolean;
}

function begin(act: Act, cut: number): Spree {
  return {
    principal: act.who.principal,
    firstMicros: act.atMicros,
    lastMicros: act.atMicros,
    count: 0,
    refused: 0,
    ids: [],
    lastId: act.evidenceId,
    callers: [],
    sources: [],
    accounts: [],
    agents: [],
    prefixes: [],
    keyless: 0,
    named: [],
    firstKey: act.key,
    lastKey: act.key,
    days: null,
    says: [],
    cut,
    continues: false,
  };
}

function take(spree: Spree, act: Act, says: string | undefined): void {
  const { who, key } = act;
  spree.count++;
  spree.lastMicros = Math.max(spree.lastMicros, act.atMicros);
  spree.lastId = act.evidenceId;
  if (spree.ids.length <= EVIDENCE_KEPT) spree.ids.push(act.evidenceId);
  addText(spree.callers, who.caller);
  addText(spree.sources, who.source);
  addText(spree.accounts, who.account);
  addText(spree.agents, who.userAgent);
  addText(spree.says, says ?? null);
  if (key === null) {
    spree.keyless++;
    return;
  }
  addText(spree.prefixes, topPrefix(key), PREFIXES_NAMED);
  spree.lastKey = key;
  const day = dayIn(key);
  if (day !== undefined) spree.days = hull(spree.days, day);
}

function addText(texts: string[], text: string | null, most = NAMED): void {
  if (text !== null && texts.length < most && !texts.includes(text)) texts.push(text);
}

function hull(days: Spree['days'], day: string): NonNullable<Spree['days']> {
  const inOrder = [...(days ? [days.from, days.to] : []), day].sort();
  return { from: inOrder[0]!, to: inOrder.at(-1)! };
}

/** The day in a key such as `AWSLogs/1/CloudTrail/eu-west-1/2024/03/16/…` or `app/2024-03-16/…`. */
function dayIn(key: string): string | undefined {
  const [, year, month, day] = /(?:^|\D)(20\d\d)[-/](0[1-9]|1[0-2])[-/](0[1-9]|[12]\d|3[01])(?:\D|$)/.exec(key) ?? [];
  return year && `${year}-${month}-${day}`;
}

/* ---- what is usual ---- */

const DAY_MICROS = 86_400_000_000;
const DAYS_LOOKED_BACK = 7;

/** Done on so many of the seven days before, it is routine: a job that runs on every working day has been seen often enough by its fourth. */
const LEAST_DAYS = 3;

function isRoutine(usual: readonly (readonly [day: number, count: number])[], spree: Spree): boolean {
  return isUsual(usual, spree.firstMicros, spree.count);
}

/** Whether on most days before a moment there was at least half as much of it. */
export function isUsual(
  usual: readonly (readonly [day: number, count: number])[],
  atMicros: number,
  much: number,
): boolean {
  const today = Math.floor(atMicros / DAY_MICROS);
  const days = usual.filter(([day, count]) => day < today && day >= today - DAYS_LOOKED_BACK && count >= much / 2);
  return days.length >= LEAST_DAYS;
}

function note({ usual }: SpreeState, { principal, firstMicros, count }: Spree): void {
  usual.set(principal, noted(usual.get(principal) ?? [], firstMicros, count));
  const weekAgo = Math.floor(firstMicros / DAY_MICROS) - DAYS_LOOKED_BACK;
  for (const [other, days] of usual) if (days.every(([day]) => day < weekAgo)) usual.delete(other);
}

/** The days before and that of a moment, the most of each; what is older than a week is let go. */
export function noted(
  usual: readonly [day: number, count: number][],
  atMicros: number,
  much: number,
): [day: number, count: number][] {
  const today = Math.floor(atMicros / DAY_MICROS);
  const kept = usual.filter(([day]) => day >= today - DAYS_LOOKED_BACK && day !== today);
  const before = usual.find(([day]) => day === today)?.[1] ?? 0;
  return [...kept, [today, Math.max(before, much)]];
}

/* ---- what findings are made of ---- */

/** Its first acts and its last one. */
export function evidenceOfSpree({ ids, lastId }: Spree): EvidenceRef[] {
  return evidenceFrom(ids.at(-1) === lastId ? ids : [...ids, lastId]);
}

export function evidenceFrom(ids: readonly string[]): EvidenceRef[] {
  const distinct = [...new Set(ids)];
  return distinct.map((id, index) => ({
    table: 'cloudtrail_events',
    id,
    role: index === 0 ? 'first' : index === distinct.length - 1 ? 'last' : 'member',
  }));
}

/** Whom and what a finding can be joined on. A source that is a service's name is no address. */
export function cloudKeys(who: {
  readonly principals: readonly string[];
  readonly callers?: readonly string[];
  readonly sources: readonly string[];
  readonly accounts: readonly string[];
}): string[] {
  const all = [
    ...[...who.principals, ...(who.callers ?? [])].map((arn) => entityKey('principal', arn)),
    ...who.sources.filter(isAddress).map((address) => entityKey('ip', address)),
    ...who.accounts.map((account) => entityKey('account', account)),
  ];
  return [...new Set(all)];
}

export const isAddress = (source: string): boolean => /^[0-9a-f.:]+$/i.test(source) && /[.:]/.test(source);

/** `role/ci-deployer` of an ARN, for sentences. */
export const shortName = (arn: string): string => arn.replace(/^arn:[^:]*:(?:iam|sts)::\d*:/, '');

/** `3 versions`, `1 version`. */
export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
