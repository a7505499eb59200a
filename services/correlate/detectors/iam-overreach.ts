import { humanMicros, micros } from '../../../shared/duration.js';
import { entityKey } from '../../../shared/entity.js';
import type { FindingDraft } from '../../../shared/finding.js';
import { type Act, callsOf, type PolicyChange, type PolicyText, recordsOf, type Use } from '../cloudtrail/act.js';
import { act, allowing, grant, use, uses } from '../cloudtrail/examples.js';
import { type Decision, evaluate, matchesText, reachOf, readPolicy, type Statement } from '../cloudtrail/iam-policy.js';
import { MANAGED_POLICIES } from '../cloudtrail/managed-policies.js';
import { DESTRUCTIVE } from '../cloudtrail/read-act.js';
import { cloudKeys, counted, evidenceFrom, SECOND_MICROS, shortName } from '../cloudtrail/spree.js';
import { detector } from '../detector.js';

/** Uses that follow each other within an hour are one overreach: it links to what was done with the right then, and not to a trial of days before. */
const QUIET_MICROS = micros('1h');
const MAX_EXTENT_MICROS = micros('6h');
const MINUTE_MICROS = 60_000_000;

/** A policy that the principal has: since when, by which record, and what it says where that is its own. */
interface Held {
  readonly atMicros: number;
  readonly id: string;
  readonly by: string;
  readonly statements: readonly Statement[] | null;
}

interface Open {
  readonly action: string;
  readonly firstMicros: number;
  lastMicros: number;
  calls: number;
  records: number;
  readonly ids: string[];
  readonly policy: string;
  readonly held: Held;
  readonly decision: Decision;
  buckets: string[];
  callers: string[];
  sources: string[];
  accounts: string[];
  principal: string;
  readonly cut: number;
}

interface State {
  /** Policies by name or ARN. */
  readonly held: Map<string, Held>;
  /** Versions of managed policies by ARN: the default one's text. */
  readonly texts: Map<string, { readonly versions: Map<string, readonly Statement[]>; current: string }>;
  /** Uses of the last minute: a grant of the same minute may come after them in the order of items. */
  pending: Use[];
  readonly open: Map<string, Open>;
  /** When each action was first used under each policy. */
  readonly firstUse: Map<string, number>;
}

/**
 * A principal uses a right to destroy that a policy change in evidence gave it, and that reaches further than part of one bucket. The finding begins with
 * the use; the grant may be days older, and is a fact in its evidence. Who had a right before the evidence begins is not known, and not found.
 */
export const iamOverreach = detector<State>({
  kind: 'iam.overreach',
  version: 1,
  meaning:
    'a principal uses a right to destroy objects or logs that a policy in evidence grants for a whole bucket or more (for deletions that leave a marker: for every bucket)',
  subject: 'principal',
  inputs: [{ of: 'acts' }, { of: 'uses' }],
  start: () => ({ held: new Map(), texts: new Map(), pending: [], open: new Map(), firstUse: new Map() }),
  step(state, item) {
    const found = settle(state, item.atMicros - MINUTE_MICROS);
    found.push(...closeQuiet(state, item.atMicros));
    if (item.type === 'uses') state.pending.push(...item.uses.filter(isDestructive));
    if (item.type === 'act' && item.error === null && item.detail?.of === 'policy')
      found.push(...changePolicy(state, item, item.detail));
    if (item.type === 'act' && item.error === null && item.detail?.of === 'policy_text') setText(state, item.detail);
    return found;
  },
  end: (state) => [...settle(state, Number.POSITIVE_INFINITY), ...close(state, [...state.open.values()])],
  examples: [
    {
      title: 'a right to every version, used days later',
      given: [grant(0, wide()), ...purging(3 * 86_400)],
      fires: true,
    },
    {
      title: 'a right within one prefix',
      given: [grant(0, allowing(['s3:Delete*'], ['arn:aws:s3:::example/builds/*'])), ...purging(600)],
      fires: false,
    },
    { title: 'a right that is never used', given: [grant(0, wide())], fires: false },
    {
      title: 'a right that was taken back',
      given: [grant(0, wide()), grant(60, undefined, { change: 'revoke' }), ...purging(600)],
      fires: false,
    },
    { title: 'refused uses', given: [grant(0, wide()), ...purging(600, 'denied')], fires: false },
    {
      title: 'a right denied by another policy',
      given: [
        grant(0, wide()),
        grant(
          1,
          { Statement: { Effect: 'Deny', Action: 's3:DeleteObjectVersion', Resource: '*' } },
          { policy: 'guard' },
        ),
        ...purging(600),
      ],
      fires: false,
    },
    {
      title: 'a managed policy whose text is known',
      given: [
        grant(0, undefined, { policy: 'arn:aws:iam::aws:policy/AdministratorAccess', statements: null }),
        ...purging(600),
      ],
      fires: true,
    },
    {
      title: 'a policy of the account, whose new version says more',
      given: [
        grant(0, undefined, { policy: 'arn:aws:iam::123456789012:policy/ci', statements: null }),
        policyText(60, wide()),
        ...purging(600),
      ],
      fires: true,
    },
  ],
});

const isDestructive = ({ action, outcome }: Use): boolean => outcome === 'ok' && DESTRUCTIVE.includes(action);

/* ---- what the principal may do ---- */

function changePolicy(
  state: State,
  { atMicros, evidenceId, who }: Act,
  { change, policy, statements }: PolicyChange,
): FindingDraft[] {
  if (change === 'grant') {
    state.held.set(policy, { atMicros, id: evidenceId, by: who.principal, statements });
    return [];
  }
  const found = settle(state, atMicros);
  state.held.delete(policy);
  return found;
}

function setText(state: State, { arn, version, statements, isDefault }: PolicyText): void {
  const text = state.texts.get(arn) ?? { versions: new Map<string, readonly Statement[]>(), current: version };
  state.texts.set(arn, text);
  if (statements) text.versions.set(version, statements);
  if (isDefault) text.current = version;
}

/** What a policy says as far as it was seen: its own text, the account's, or AWS's. */
function statementsOf(state: State, policy: string, { statements }: Held): readonly Statement[] {
  const text = state.texts.get(policy);
  return statements ?? text?.versions.get(text.current) ?? MANAGED_POLICIES.get(policy) ?? [];
}

/** Uses before a moment, judged by what was granted until they ended. */
function settle(state: State, untilMicros: number): FindingDraft[] {
  const ready = state.pending.filter(({ firstMicros }) => firstMicros <= untilMicros);
  if (ready.length === 0) return [];
  state.pending = state.pending.filter(({ firstMicros }) => firstMicros > untilMicros);
  return ready
    .toSorted((a, b) => a.firstMicros - b.firstMicros || (a.firstId < b.firstId ? -1 : 1))
    .flatMap((one) => judge(state, one));
}

function judge(state: State, one: Use): FindingDraft[] {
  const resource = resourceOf(one);
  const held = [...state.held].filter(([, { atMicros }]) => atMicros <= one.lastMicros);
  const decision = evaluate(
    held.flatMap(([name, policy]) => statementsOf(state, name, policy)),
    one.action,
    resource,
  );
  if (decision.outcome !== 'allowed') return [];
  const granting = held
    .filter(([name, policy]) => statementsOf(state, name, policy).some((statement) => decision.by.includes(statement)))
    .sort(([, a], [, b]) => b.atMicros - a.atMicros);
  const [name, policy] = granting[0]!;
  const statement = statementsOf(state, name, policy).find((other) => decision.by.includes(other))!;
  return reachesTooFar(statement, one.action) ? open(state, one, name, policy, decision) : [];
}

const resourceOf = ({ action, bucket }: Use): string =>
  bucket === null ? '*' : `arn:aws:s3:::${bucket}${action.startsWith('s3:DeleteObject') ? '/any-key' : ''}`;

/** What cannot be taken back must not be allowed for a whole bucket; what leaves a marker, or changes a setting that can be set again, not for all of them. */
function reachesTooFar(statement: Statement, action: string): boolean {
  if (action.startsWith('cloudtrail:'))
    return (
      statement.notResources.length > 0 || statement.resources.some((one) => matchesText(one, 'arn:aws:cloudtrail:any'))
    );
  const reach = reachOf(statement);
  return reach === 'every bucket' || (reach === 'a whole bucket' && action === 's3:DeleteObjectVersion');
}

/* ---- what it did with it ---- */

function open(state: State, one: Use, policy: string, held: Held, decision: Decision): FindingDraft[] {
  const name = `${one.action}\n${policy}`;
  const known = state.open.get(name);
  const tooLong = known && one.firstMicros - known.firstMicros >= MAX_EXTENT_MICROS;
  const found = tooLong ? close(state, [known], true) : [];
  const firstMicros = Math.max(one.firstMicros, held.atMicros);
  if (!state.firstUse.has(name)) state.firstUse.set(name, firstMicros);
  const running = state.open.get(name) ?? {
    action: one.action,
    firstMicros,
    lastMicros: one.lastMicros,
    calls: 0,
    records: 0,
    ids: [],
    policy,
    held,
    decision,
    buckets: [],
    callers: [],
    sources: [],
    accounts: [],
    principal: one.principals[0]!,
    cut: tooLong ? known.cut + 1 : 0,
  };
  state.open.set(name, running);
  running.lastMicros = Math.max(running.lastMicros, one.lastMicros);
  running.calls += callsOf(one);
  running.records += recordsOf(one);
  if (running.ids.length < NAMED) running.ids.push(one.firstId);
  running.buckets = together(running.buckets, one.bucket === null ? [] : [one.bucket]);
  running.callers = together(running.callers, one.callers);
  running.sources = together(running.sources, one.sources);
  running.accounts = together(running.accounts, one.accounts);
  return found;
}

const NAMED = 20;
const together = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set([...a, ...b])].sort().slice(0, NAMED);

function closeQuiet(state: State, atMicros: number): FindingDraft[] {
  return close(
    state,
    [...state.open.values()].filter(({ lastMicros }) => atMicros - lastMicros > QUIET_MICROS + MINUTE_MICROS),
  );
}

function close(state: State, ended: readonly Open[], continues = false): FindingDraft[] {
  return ended.map((one) => {
    const name = `${one.action}\n${one.policy}`;
    state.open.delete(name);
    return draft(one, state.firstUse.get(name)!, continues);
  });
}

function draft(one: Open, firstUseMicros: number, continues: boolean): FindingDraft {
  const subject = entityKey('principal', one.principal);
  const { held, decision, policy } = one;
  const [statement] = decision.by;
  const reach = one.action.startsWith('s3:') ? reachOf(statement!) : 'every trail';
  return {
    subject,
    member: `${one.action} ${policy}`,
    startedMicros: one.firstMicros,
    startedByMicros: one.firstMicros + SECOND_MICROS,
    endedMicros: Math.max(one.firstMicros, one.lastMicros),
    cut: one.cut,
    continues,
    severity: reach === 'part of a bucket' ? 'warning' : 'critical',
    summary: `${shortName(one.principal)} used ${one.action} (${counted(one.calls, 'call')}), which policy ${policy} allows for ${reach} since ${iso(held.atMicros)}${
      one.firstMicros > held.atMicros ? `, ${humanMicros(one.firstMicros - held.atMicros)} before` : ''
    }`,
    measured: {
      action: one.action,
      calls: one.calls,
      buckets: one.buckets,
      policy,
      granted_at: iso(held.atMicros),
      granted_by: held.by,
      first_use_at: iso(firstUseMicros),
      reach,
      allowed_by: [...statement!.actions, ...statement!.notActions.map((action) => `all but ${action}`)],
      resources: [...statement!.resources, ...statement!.notResources.map((arn) => `all but ${arn}`)],
      conditions_not_evaluated: decision.notEvaluated,
      sessions: one.callers,
    },
    baseline: null,
    shortBaseline: false,
    keys: [
      subject,
      ...one.buckets.map((bucket) => entityKey('bucket', bucket)),
      ...cloudKeys({ ...one, principals: [one.principal] }),
    ].filter((key, index, keys) => keys.indexOf(key) === index),
    evidence: evidenceFrom([held.id, ...one.ids]),
    evidenceCount: one.records + 1,
  };
}

const iso = (micros: number): string => `${new Date(micros / 1000).toISOString().slice(0, 19)}Z`;

/* ---- examples ---- */

function wide(): unknown {
  return allowing(['s3:GetObject', 's3:Delete*'], ['arn:aws:s3:::example/*']);
}

function purging(seconds: number, outcome: Use['outcome'] = 'ok') {
  return [uses(seconds, [use(seconds + 1, 's3:DeleteObjectVersion', { bucket: 'example', outcome })])];
}

function policyText(seconds: number, document: unknown): Act {
  const text: PolicyText = {
    of: 'policy_text',
    arn: 'arn:aws:iam::123456789012:policy/ci',
    version: 'v2',
    statements: readPolicy(document)!,
    isDefault: true,
  };
  return act(seconds, { eventName: 'CreatePolicyVersion', detail: text });
}
