import { humanMicros, micros } from '../../../shared/duration.js';
import { entityKey } from '../../../shared/entity.js';
import type { FindingDraft } from '../../../shared/finding.js';
import { type Act, callsOf, type PolicyText, recordsOf, type Use } from '../cloudtrail/act.js';
import { act, allowing, grant, membership, simulation, USER, use, uses } from '../cloudtrail/examples.js';
import { matchesText, reachOf, readPolicy, type Statement } from '../cloudtrail/iam-policy.js';
import { DESTRUCTIVE } from '../cloudtrail/read-act.js';
import {
  addSimulation,
  changeRights,
  forgetSimulations,
  iamDetail,
  isTakenAway,
  noRights,
  type Right,
  type Rights,
  widestRight,
} from '../cloudtrail/rights.js';
import { cloudKeys, counted, evidenceFrom, SECOND_MICROS, shortName } from '../cloudtrail/spree.js';
import { detector } from '../detector.js';

/** Uses that follow each other within an hour are one overreach: it links to what was done with the right then, and not to a trial of days before. */
const QUIET_MICROS = micros('1h');
const MAX_EXTENT_MICROS = micros('6h');
const MINUTE_MICROS = 60_000_000;

interface Open {
  readonly action: string;
  readonly firstMicros: number;
  lastMicros: number;
  calls: number;
  records: number;
  readonly ids: string[];
  readonly right: Right;
  buckets: string[];
  callers: string[];
  sources: string[];
  accounts: string[];
  principal: string;
  readonly cut: number;
}

interface State {
  readonly rights: Rights;
  /** Uses of the last minute: a grant of the same minute may come after them in the order of items. */
  pending: Use[];
  readonly open: Map<string, Open>;
  /** When each action was first used under each policy. */
  readonly firstUse: Map<string, number>;
}

/**
 * A principal uses a right to destroy that reaches further than part of one bucket: a policy change in evidence gave it (its own, or that of a group that it
 * joined), or a simulation before the use said so. The finding begins with the use; grant and simulation may be days older, and are facts in its evidence.
 * Who had a right before the evidence begins is not known without a simulation, and not found.
 */
export const iamOverreach = detector<State>({
  kind: 'iam.overreach',
  version: 2,
  meaning:
    'a principal uses a right to destroy objects or logs that a policy or a simulation in evidence grants for a whole bucket or more (for deletions that leave a marker: for every bucket)',
  subject: 'principal',
  inputs: [{ of: 'acts' }, { of: 'uses' }, { of: 'simulations' }],
  start: () => ({ rights: noRights(), pending: [], open: new Map(), firstUse: new Map() }),
  step(state, item, { subject }) {
    const found = settle(state, item.atMicros - MINUTE_MICROS);
    forgetSimulations(state.rights, item.atMicros - MINUTE_MICROS);
    found.push(...closeQuiet(state, item.atMicros));
    if (item.type === 'uses') state.pending.push(...item.uses.filter(isDestructive));
    if (item.type === 'simulation') addSimulation(state.rights, item);
    const detail = item.type === 'act' ? iamDetail(item) : undefined;
    if (item.type !== 'act' || !detail) return found;
    if (isTakenAway(detail)) found.push(...settle(state, item.atMicros));
    changeRights(state.rights, item, detail, subject.includes(':user/'));
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
    {
      title: 'a policy of a group that the user joined',
      subject: USER,
      given: [grant(0, wide(), { group: 'ops' }), membership(60, 'join'), ...purging(600)],
      fires: true,
    },
    {
      title: 'a policy of a group that the user left before',
      subject: USER,
      given: [grant(0, wide(), { group: 'ops' }), membership(60, 'join'), membership(120, 'leave'), ...purging(600)],
      fires: false,
    },
    {
      title: 'a policy of a group that the user is not known to be in',
      subject: USER,
      given: [grant(0, wide(), { group: 'ops' }), ...purging(600)],
      fires: false,
    },
    {
      title: 'a group policy that was taken back',
      subject: USER,
      given: [
        grant(0, wide(), { group: 'ops' }),
        membership(60, 'join'),
        grant(120, undefined, { group: 'ops', change: 'revoke' }),
        ...purging(600),
      ],
      fires: false,
    },
    { title: 'a right that was simulated days before', given: [simulation(0), ...purging(3 * 86_400)], fires: true },
    { title: 'a right that was simulated after its use', given: [...purging(0), simulation(600)], fires: false },
    { title: 'a simulation that denies', given: [simulation(0, { allowed: false }), ...purging(600)], fires: false },
    {
      title: 'a simulation of one key',
      given: [simulation(0, { resource: 'arn:aws:s3:::example/builds/a.zip' }), ...purging(600)],
      fires: false,
    },
    {
      title: 'a simulation of another bucket',
      given: [simulation(0, { resource: 'arn:aws:s3:::other/*' }), ...purging(600)],
      fires: false,
    },
    {
      title: 'a simulation that a later one contradicts',
      given: [simulation(0), simulation(60, { allowed: false }), ...purging(600)],
      fires: false,
    },
    {
      title: 'a simulation that a change of policies has overtaken',
      given: [simulation(0), grant(60, undefined, { policy: 'ci-inline', change: 'revoke' }), ...purging(600)],
      fires: false,
    },
  ],
});

const isDestructive = ({ action, outcome }: Use): boolean => outcome === 'ok' && DESTRUCTIVE.includes(action);

/* ---- what the principal may do ---- */

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
  const right = widestRight(state.rights, one, resourceOf(one), reachesTooFar);
  return right ? open(state, one, right) : [];
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

function open(state: State, one: Use, right: Right): FindingDraft[] {
  const name = nameOf({ action: one.action, right });
  const known = state.open.get(name);
  const tooLong = known && one.firstMicros - known.firstMicros >= MAX_EXTENT_MICROS;
  const found = tooLong ? close(state, [known], true) : [];
  const firstMicros = Math.max(one.firstMicros, right.atMicros);
  if (!state.firstUse.has(name)) state.firstUse.set(name, firstMicros);
  const running = state.open.get(name) ?? {
    action: one.action,
    firstMicros,
    lastMicros: one.lastMicros,
    calls: 0,
    records: 0,
    ids: [],
    right,
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

/** A right, told from others by what grants it. */
const nameOf = ({ action, right }: Pick<Open, 'action' | 'right'>): string =>
  `${action}\n${right.by === 'policy' ? '' : 'simulated: '}${right.name}`;

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
    const name = nameOf(one);
    state.open.delete(name);
    return draft(one, state.firstUse.get(name)!, continues);
  });
}

function draft(one: Open, firstUseMicros: number, continues: boolean): FindingDraft {
  const subject = entityKey('principal', one.principal);
  const { right } = one;
  const { statement } = right;
  const reach = one.action.startsWith('s3:') ? reachOf(statement) : 'every trail';
  return {
    subject,
    member: nameOf(one).replace('\n', ' '),
    startedMicros: one.firstMicros,
    startedByMicros: one.firstMicros + SECOND_MICROS,
    endedMicros: Math.max(one.firstMicros, one.lastMicros),
    cut: one.cut,
    continues,
    severity: reach === 'part of a bucket' ? 'warning' : 'critical',
    summary: `${shortName(one.principal)} used ${one.action} (${counted(one.calls, 'call')}), ${grantOf(one, reach)}`,
    measured: {
      action: one.action,
      calls: one.calls,
      buckets: one.buckets,
      policy: right.name,
      backed_by: right.by,
      granted_at: right.by === 'policy' ? iso(right.atMicros) : null,
      granted_by: right.grantedBy,
      simulated: right.simulations.map(simulated),
      first_use_at: iso(firstUseMicros),
      reach,
      allowed_by: [...statement.actions, ...statement.notActions.map((action) => `all but ${action}`)],
      resources: [...statement.resources, ...statement.notResources.map((arn) => `all but ${arn}`)],
      conditions_not_evaluated: right.notEvaluated,
      boundary_not_evaluated: right.boundary,
      sessions: one.callers,
    },
    baseline: null,
    shortBaseline: false,
    keys: [
      subject,
      ...one.buckets.map((bucket) => entityKey('bucket', bucket)),
      ...cloudKeys({ ...one, principals: [one.principal] }),
    ].filter((key, index, keys) => keys.indexOf(key) === index),
    evidence: [
      ...evidenceFrom([...right.records, ...one.ids]),
      ...right.simulations.map(({ evidenceId }) => ({
        table: 'iam_simulations' as const,
        id: evidenceId,
        role: 'member' as const,
      })),
    ],
    evidenceCount: one.records + right.records.length + right.simulations.length,
  };
}

function grantOf({ right, firstMicros }: Open, reach: string): string {
  const before = firstMicros > right.atMicros ? `, ${humanMicros(firstMicros - right.atMicros)} before` : '';
  return right.by === 'policy'
    ? `which policy ${right.name} allows for ${reach} since ${iso(right.atMicros)}${before}`
    : `which a simulation at ${iso(right.atMicros)}${before && `${before},`} found allowed for ${reach} (${right.name})`;
}

/** `allowed on arn:aws:s3:::logs/* at 2024-03-16T09:00:00Z by ci-inline, without a value for aws:SourceIp`. */
function simulated({ allowed, resource, atMicros, policies, missing }: Right['simulations'][number]): string {
  return [
    `${allowed ? 'allowed' : 'denied'} on ${resource} at ${iso(atMicros)}`,
    ...(policies.length > 0 ? [` by ${policies.join(', ')}`] : []),
    ...(missing.length > 0 ? [`, without a value for ${missing.join(', ')}`] : []),
  ].join('');
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
