import type { Link, Rival, Test, Verdict } from '../../shared/chain.js';
import { humanMicros, micros } from '../../shared/duration.js';
import { type EntityType, shared } from '../../shared/entity.js';
import type { Finding } from '../../shared/finding.js';
import { groupBy } from '../../shared/group.js';
import type { Cause, Judgement, Refuted, Surroundings } from './cause.js';
import { besideOf } from './common-cause.js';
import { doseTest } from './dose.js';
import { type Gap, whatIsMissing } from './gaps.js';

/** CloudTrail's clock and ours differ by as much; spans of one host are ordered by their own clock. */
const CLOCK_MICROS = 1_000_000;

/** As far as baselines look back. */
const BASELINE_MICROS = micros('15m');

/** Confidence is a rank for sorting, not a probability: one figure a verdict, less with a rival. */
const CONFIDENCE: Readonly<Record<Verdict, number>> = { CONFIRMED: 0.95, LIKELY: 0.7, INCONCLUSIVE: 0.3 };
const RIVAL_COSTS = 0.1;

/** What each of the four tests adds to a candidate's weight; its dose adds the correlation, where both candidates have one. */
const WEIGHT: Readonly<Record<Test['outcome'], number>> = { passed: 1, tolerated: 0.5, not_made: 0.25, failed: 0 };

/** Two candidates explain an effect about as much where their weights differ by no more than this: less than one test within tolerance. */
const ABOUT_AS_MUCH = 0.25;

/** A pair that a rule judged: linked by some verdict, or refuted. */
export type Judged = { readonly link: Link } | { readonly refuted: Rival; readonly effectFindingId: string };

/**
 * Judges every pair of findings that a rule is about: proposes by time, excludes by conflicting keys, asks the rule, adds the tests of order,
 * deviation, identity and dose, then weighs rivals. Pure; the order of `findings` does not matter.
 */
export function judge(findings: readonly Finding[], causes: readonly Cause[], surroundings: Surroundings): Link[] {
  const byKind = groupBy(findings, (finding) => finding.kind);
  const judged = causes.flatMap((rule) =>
    (byKind.get(rule.from) ?? []).flatMap((cause) =>
      (byKind.get(rule.to) ?? []).flatMap((effect) => judgePair(rule, cause, effect, surroundings) ?? []),
    ),
  );
  return weighRivals(judged, new Map(findings.map((finding) => [finding.id, finding])));
}

/** What a rule says of one pair; undefined where the pair is none: too far apart in time, or keys that conflict. */
export function judgePair(
  rule: Cause,
  cause: Finding,
  effect: Finding,
  surroundings: Surroundings,
): Judged | undefined {
  const identity = identityTest(rule, cause, effect);
  if (cause.id === effect.id || identity.outcome === 'failed') return undefined;
  if (!near(rule, cause, effect, surroundings)) return undefined;
  const judgement = rule.explain(cause, effect, surroundings);
  const order = orderOf(rule, judgement, cause, effect, surroundings);
  if (judgement.outcome === 'refuted' || order.outcome === 'failed')
    return {
      refuted: rival(rule, cause, 'REFUTED', judgement.outcome === 'refuted' ? judgement.says : order.says),
      effectFindingId: effect.id,
    };
  const tests: Test[] = [
    mechanismTest(judgement),
    deviationTest(cause, effect, surroundings),
    order,
    judgement.inTrace ? inTrace(identity) : identity,
  ];
  const dose = rule.dose === 'proportional' ? doseTest(cause, effect) : undefined;
  const proven = verdictOf(tests);
  const verdict = proven === 'CONFIRMED' && dose?.outcome === 'failed' && !judgement.inTrace ? 'LIKELY' : proven;
  return {
    link: {
      rule: rule.rule,
      causeFindingId: cause.id,
      effectFindingId: effect.id,
      causeKind: cause.kind,
      effectKind: effect.kind,
      lagMs: Math.round((effect.startedMicros - cause.startedMicros) / 1000),
      verdict,
      confidence: CONFIDENCE[verdict],
      mechanism: rule.mechanism,
      ...(rule.role && { role: rule.role }),
      tests: dose ? [...tests, dose] : tests,
      rivals: [],
    },
  };
}

function near(rule: Cause, cause: Finding, effect: Finding, surroundings: Surroundings): boolean {
  if (rule.order === 'none')
    return effect.startedMicros <= cause.endedMicros && cause.startedMicros <= effect.endedMicros + micros(rule.within);
  const from = onset(cause, surroundings);
  const to = onset(effect, surroundings);
  const earliest = from.earliest - length(from) - length(to) - CLOCK_MICROS;
  return to.latest >= earliest && to.earliest <= cause.endedMicros + micros(rule.within);
}

/** When a finding can have begun: between two scrapes, before its first kept span, or by a clock that is known to be off and may be right all the same. */
interface Onset {
  readonly earliest: number;
  readonly latest: number;
  readonly clockMicros: number;
}

function onset(finding: Finding, surroundings: Surroundings): Onset {
  const ahead = surroundings.clockOffset(finding.subject, finding.startedMicros);
  return {
    earliest: finding.startedMicros - (finding.unseenMicros ?? 0) - Math.max(0, ahead),
    latest: finding.startedByMicros + Math.max(0, -ahead),
    clockMicros: Math.abs(ahead),
  };
}

const length = ({ earliest, latest }: Onset): number => latest - earliest;

function mechanismTest(judgement: Judgement): Test {
  return { test: 'mechanism', outcome: judgement.outcome, says: judgement.says };
}

function deviationTest(cause: Finding, effect: Finding, { gaps }: Surroundings): Test {
  const short = [cause, effect].filter((finding) => finding.shortBaseline);
  if (short.length > 0) {
    const missing = short.flatMap(({ subject, startedMicros }) =>
      gaps(subject, startedMicros - BASELINE_MICROS, startedMicros),
    );
    return {
      test: 'deviation',
      outcome: 'not_made',
      says: `the baseline of ${short.map((finding) => `${finding.kind} (${JSON.stringify(finding.baseline?.['seconds'] ?? 0)} s)`).join(' and ')} is shorter than its least${missing.length > 0 ? `; ${whatIsMissing(missing)}` : ''}`,
    };
  }
  return { test: 'deviation', outcome: 'passed', says: 'both left what was normal before' };
}

function orderOf(
  { order }: Cause,
  judgement: Judgement | Refuted,
  cause: Finding,
  effect: Finding,
  surroundings: Surroundings,
): Test {
  if (order === 'none')
    return { test: 'order', outcome: 'passed', says: `what is missing lies before ${cause.kind}, which took it away` };
  if (judgement.outcome === 'passed' && judgement.ordered !== undefined)
    return { test: 'order', outcome: 'passed', says: judgement.ordered };
  return orderTest(cause, effect, surroundings, judgement.outcome === 'passed' && judgement.inTrace === true);
}

/** An effect may start before its cause only within the clocks' tolerance: both onsets are intervals, and overlapping intervals are not ordered. */
function orderTest(cause: Finding, effect: Finding, surroundings: Surroundings, seenInTrace: boolean): Test {
  const lag = `${effect.kind} began ${humanMicros(effect.startedMicros - cause.startedMicros)} after ${cause.kind}`;
  if (seenInTrace) return { test: 'order', outcome: 'passed', says: `${lag}; the spans of the effect carry the cause` };
  const from = onset(cause, surroundings);
  const to = onset(effect, surroundings);
  if (to.latest < from.earliest - CLOCK_MICROS)
    return {
      test: 'order',
      outcome: 'failed',
      says: `${effect.kind} began ${humanMicros(from.earliest - to.latest)} before ${cause.kind}`,
    };
  if (to.earliest >= from.latest) return { test: 'order', outcome: 'passed', says: lag };
  const hole = [...holesAtOnset(cause, from, surroundings), ...holesAtOnset(effect, to, surroundings)];
  if (hole.length > 0)
    return {
      test: 'order',
      outcome: 'not_made',
      says: `${whatIsMissing(hole)}, where one of both began: which came first was not seen`,
    };
  const coarse = humanMicros(Math.max(length(from), length(to), CLOCK_MICROS));
  const off = Math.max(from.clockMicros, to.clockMicros);
  const why =
    off > 0
      ? `a clock is ${humanMicros(off)} off by the calls between services`
      : `${(cause.unseenMicros ?? effect.unseenMicros ?? 0) > 0 ? 'scrapes and sampling' : 'the scrapes'} cannot tell them apart`;
  return { test: 'order', outcome: 'tolerated', says: `not ordered: both began within ${coarse}, and ${why}` };
}

/** Scrapes come half a minute apart in many places: what is missing for longer leaves more open than they do. An isolated scrape does not. */
const COARSEST_SCRAPE = micros('30s');

/** What is missing between the moments between which a finding began: it made them lie so far apart. */
function holesAtOnset(finding: Finding, { earliest, latest }: Onset, { gaps }: Surroundings): Gap[] {
  return gaps(finding.subject, earliest, latest).filter(
    (gap) =>
      (gap.member === null || finding.member === null || gap.member === finding.member) &&
      gap.state !== 'missed_scrapes' &&
      gap.toMicros - gap.fromMicros > COARSEST_SCRAPE &&
      gap.fromMicros >= earliest - CLOCK_MICROS &&
      gap.toMicros <= latest + CLOCK_MICROS,
  );
}

/** A common trace decides alone. Of the other types none may conflict: two clusters can have members of one name. */
function identityTest(rule: Cause, cause: Finding, effect: Finding): Test {
  if (rule.sharedBy === 'any') return anyIdentity(rule, cause, effect);
  let both: readonly string[] = [];
  for (const type of rule.shared) {
    const common = shared(type, cause.keys, effect.keys);
    if (common === undefined) continue;
    if (common.length === 0 && type !== 'trace')
      return { test: 'identity', outcome: 'failed', says: `they name different ${type} keys` };
    if (both.length === 0) both = common;
    if (common.length > 0 && type === 'trace') break;
  }
  if (both.length > 0)
    return { test: 'identity', outcome: 'passed', says: `both are about ${both.slice(0, 3).join(', ')}` };
  return {
    test: 'identity',
    outcome: 'tolerated',
    says: `nothing says that they share ${rule.shared.join(' or ')}, and nothing contradicts it`,
  };
}

/** Each has many requests, and not all are kept: that none is in common says nothing. */
const NEVER_CONFLICT: readonly EntityType[] = ['request'];

/** One type in common is enough; all that both know being different excludes. */
function anyIdentity(rule: Cause, cause: Finding, effect: Finding): Test {
  const known = rule.shared.flatMap((type) => {
    const common = shared(type, cause.keys, effect.keys);
    return common && (common.length > 0 || !NEVER_CONFLICT.includes(type)) ? [{ type, common }] : [];
  });
  const both = known.flatMap(({ common }) => common);
  if (both.length > 0)
    return { test: 'identity', outcome: 'passed', says: `both are about ${both.slice(0, 3).join(', ')}` };
  const types = rule.shared.join(' or ');
  return known.length > 0
    ? {
        test: 'identity',
        outcome: 'failed',
        says: `they name different ${known.map(({ type }) => type).join(' and ')} keys`,
      }
    : {
        test: 'identity',
        outcome: 'tolerated',
        says: `nothing says that they share ${types}, and nothing contradicts it`,
      };
}

function inTrace(identity: Test): Test {
  return identity.outcome === 'passed'
    ? identity
    : { test: 'identity', outcome: 'passed', says: 'one trace holds both' };
}

/** DESIGN section 4: all tests passed; all but identity, or order only within tolerance; a test could not be made. */
function verdictOf(tests: readonly Test[]): Verdict {
  if (tests.some((test) => test.outcome === 'not_made')) return 'INCONCLUSIVE';
  const tolerated = tests.filter((test) => test.outcome === 'tolerated').length;
  return tolerated === 0 ? 'CONFIRMED' : tolerated === 1 ? 'LIKELY' : 'INCONCLUSIVE';
}

/**
 * Every other candidate of an effect is listed with what speaks against it, and what only has its cause in common with the effect.
 * One with another root that explains about as much, or more, lowers the verdict.
 */
function weighRivals(judged: readonly Judged[], findings: ReadonlyMap<string, Finding>): Link[] {
  const links = judged.flatMap((one) => ('link' in one ? one.link : []));
  const refutedOf = groupBy(
    judged.flatMap((one) => ('refuted' in one ? one : [])),
    (one) => one.effectFindingId,
  );
  const linksTo = groupBy(links, (link) => link.effectFindingId);
  const rootsOf = rootFinder(links.filter(({ role }) => role !== 'concealment'));
  const drivenBy = (finding: Finding) => (linksTo.get(finding.id) ?? []).filter(accepted);
  return links
    .map((link): Link => {
      const others = linksTo
        .get(link.effectFindingId)!
        .filter((other) => other.causeFindingId !== link.causeFindingId && explains(link) && explains(other));
      const ours = rootsOf(link.causeFindingId);
      const close = others.some(
        (other) =>
          accepted(other) &&
          compete(link, other) &&
          advantage(link, other) <= ABOUT_AS_MUCH &&
          !overlap(ours, rootsOf(other.causeFindingId)),
      );
      const ends = [findings.get(link.causeFindingId)!, findings.get(link.effectFindingId)!] as const;
      const rivals = [
        ...others.map((other) => asRival(other, link, findings.get(other.causeFindingId)!)),
        ...(link.role === 'concealment' ? [] : (refutedOf.get(link.effectFindingId) ?? []))
          .filter(({ refuted }) => refuted.causeFindingId !== link.causeFindingId)
          .map(({ refuted }) => refuted),
        ...besideOf(ends, [...findings.values()], drivenBy),
      ].sort((a, b) =>
        a.causeFindingId < b.causeFindingId ? -1 : a.causeFindingId > b.causeFindingId ? 1 : a.rule < b.rule ? -1 : 1,
      );
      const verdict = close && link.verdict === 'CONFIRMED' ? 'LIKELY' : link.verdict;
      return {
        ...link,
        verdict,
        confidence: Number((CONFIDENCE[verdict] - (close ? RIVAL_COSTS : 0)).toFixed(2)),
        rivals,
      };
    })
    .sort(byRuleAndEnds);
}

/** What hid an effect explains nothing of it. */
const explains = ({ role }: Link): boolean => role !== 'concealment';

/** What made an effect possible takes nothing from what brought it about, nor from another condition: each is needed. */
const compete = (a: Link, b: Link): boolean => a.role === undefined && b.role === undefined;

/** By how much a candidate explains an effect better than another one: the tests passed, and the dose where both could be compared. */
function advantage(ours: Link, theirs: Link): number {
  const weight = ({ tests }: Link) =>
    tests.reduce((sum, { test, outcome }) => sum + (test === 'dose' ? 0 : WEIGHT[outcome]), 0);
  const [dose, theirDose] = [doseOf(ours), doseOf(theirs)];
  const follows = dose === undefined || theirDose === undefined ? 0 : Math.max(0, dose) - Math.max(0, theirDose);
  return weight(ours) - weight(theirs) + follows;
}

const doseOf = ({ tests }: Link): number | undefined => tests.find(({ test }) => test === 'dose')?.value;

const byRuleAndEnds = (a: Link, b: Link): number => {
  const left = `${a.causeFindingId}\n${a.effectFindingId}\n${a.rule}`;
  const right = `${b.causeFindingId}\n${b.effectFindingId}\n${b.rule}`;
  return left < right ? -1 : left > right ? 1 : 0;
};

export const accepted = (link: Link): boolean => link.verdict !== 'INCONCLUSIVE';

/** What speaks against a candidate beside the link that it is a rival of: every test that it did not pass, and a dose that follows otherwise. */
function asRival(other: Link, link: Link, cause: Finding): Rival {
  const against = other.tests
    .filter(({ test, outcome }) => test !== 'dose' && outcome !== 'passed')
    .map(({ says }) => says);
  const [dose, theirs] = [doseOf(link), doseOf(other)];
  if (dose !== undefined && theirs !== undefined)
    against.push(
      `its dose follows ${theirs < dose ? 'less well' : theirs > dose ? 'better' : 'as well'} (${theirs.toFixed(2)} against ${dose.toFixed(2)})`,
    );
  return {
    causeFindingId: cause.id,
    kind: cause.kind,
    subject: cause.subject,
    rule: other.rule,
    outcome: other.verdict,
    says: [...against, ...(compete(other, link) ? [] : [beside(other)])].join('; ') || 'it passes the same tests',
  };
}

const beside = ({ role }: Link): string =>
  role === 'condition'
    ? 'it made the effect possible, which takes nothing from this cause'
    : 'a cause beside this condition, from which it takes nothing';

function rival(rule: Cause, cause: Finding, outcome: Rival['outcome'], says: string): Rival {
  return { causeFindingId: cause.id, kind: cause.kind, subject: cause.subject, rule: rule.rule, outcome, says };
}

/** The roots that lead to a finding over accepted links. The rules' kinds form no cycle (a test sees to it). */
function rootFinder(links: readonly Link[]): (findingId: string) => ReadonlySet<string> {
  const into = groupBy(links.filter(accepted), (link) => link.effectFindingId);
  const known = new Map<string, ReadonlySet<string>>();
  const rootsOf = (findingId: string): ReadonlySet<string> => {
    const before = known.get(findingId);
    if (before) return before;
    const causes = into.get(findingId) ?? [];
    const roots =
      causes.length === 0 ? new Set([findingId]) : new Set(causes.flatMap((link) => [...rootsOf(link.causeFindingId)]));
    known.set(findingId, roots);
    return roots;
  };
  return rootsOf;
}

function overlap(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return [...a].some((root) => b.has(root));
}
