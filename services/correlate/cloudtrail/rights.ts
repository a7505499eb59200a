import type { Act, Boundary, Membership, PolicyChange, PolicyText, Simulation, Use } from './act.js';
import { evaluate, type Statement } from './iam-policy.js';
import { MANAGED_POLICIES } from './managed-policies.js';

/** A policy that a principal or a group has, or a group that a user is in: since when, and by which record. */
interface Since {
  readonly atMicros: number;
  readonly id: string;
  readonly by: string;
}

interface Held extends Since {
  /** What it says where that is its own. */
  readonly statements: readonly Statement[] | null;
}

interface Simulated {
  readonly simulation: Simulation;
  /** When policies changed after it: from then on it says nothing. */
  untilMicros: number | null;
}

/** What is known of what a principal may do: facts that may be days older than what they explain. */
export interface Rights {
  /** Its own policies by name or ARN. */
  readonly held: Map<string, Held>;
  /** Policies of the account's groups, by group and then by name or ARN. */
  readonly groups: Map<string, Map<string, Held>>;
  readonly memberOf: Map<string, Since>;
  /** Versions of managed policies by ARN: the default one's text. */
  readonly texts: Map<string, { readonly versions: Map<string, readonly Statement[]>; current: string }>;
  boundary: string | null;
  simulations: Simulated[];
}

export const noRights = (): Rights => ({
  held: new Map(),
  groups: new Map(),
  memberOf: new Map(),
  texts: new Map(),
  boundary: null,
  simulations: [],
});

/** A right that was used, and how it is known. */
export interface Right {
  /** The policy that grants it, and where it is not its own, whose it is. */
  readonly name: string;
  readonly statement: Statement;
  /** A policy in evidence was evaluated, or IAM's simulator had said so. */
  readonly by: 'policy' | 'simulation';
  /** Since when, or as of when it was simulated. */
  readonly atMicros: number;
  /** Who granted it; null for what was simulated. */
  readonly grantedBy: string | null;
  /** Records that grant it. */
  readonly records: readonly string[];
  readonly notEvaluated: readonly string[];
  readonly boundary: string | null;
  /** The latest simulations of it before its use, a resource each. */
  readonly simulations: readonly Simulation[];
}

type IamDetail = PolicyChange | PolicyText | Membership | Boundary;

const IAM_DETAILS: readonly string[] = ['policy', 'policy_text', 'membership', 'boundary'];

/** The change of rights that an act is; undefined for another one, and for one that failed. */
export function iamDetail({ error, detail }: Act): IamDetail | undefined {
  return error === null && detail && IAM_DETAILS.includes(detail.of) ? (detail as IamDetail) : undefined;
}

/** Whether a change takes rights away: what was used before it is to be judged before it is taken in. */
export const isTakenAway = (detail: IamDetail): boolean =>
  'change' in detail && (detail.change === 'revoke' || detail.change === 'leave');

/** Takes in a change; groups are kept for users only, as nobody else can be in one. */
export function changeRights(rights: Rights, act: Act, detail: IamDetail, isUser: boolean): void {
  outdate(rights, act.atMicros, detail);
  if (detail.of === 'policy_text') setText(rights, detail);
  else if (detail.of === 'boundary') rights.boundary = detail.policy;
  else if (detail.of === 'membership')
    setOrDelete(rights.memberOf, detail.group, detail.change === 'join', sinceOf(act));
  else if (detail.group === null || isUser) {
    const held = { ...sinceOf(act), statements: detail.statements };
    setOrDelete(policiesOf(rights, detail.group), detail.policy, detail.change === 'grant', held);
  }
}

const sinceOf = ({ atMicros, evidenceId, who }: Act): Since => ({ atMicros, id: evidenceId, by: who.principal });

function setOrDelete<Value>(map: Map<string, Value>, name: string, set: boolean, value: Value): void {
  if (set) map.set(name, value);
  else map.delete(name);
}

function policiesOf({ held, groups }: Rights, group: string | null): Map<string, Held> {
  if (group === null) return held;
  const policies = groups.get(group) ?? new Map<string, Held>();
  groups.set(group, policies);
  return policies;
}

function setText({ texts }: Rights, { arn, version, statements, isDefault }: PolicyText): void {
  const text = texts.get(arn) ?? { versions: new Map<string, readonly Statement[]>(), current: version };
  texts.set(arn, text);
  if (statements) text.versions.set(version, statements);
  if (isDefault) text.current = version;
}

export function addSimulation({ simulations }: Rights, simulation: Simulation): void {
  simulations.push({ simulation, untilMicros: null });
}

/** Simulations that changed policies have overtaken. Of a policy of others, or of a group, it is known by whether it decided one. */
function outdate({ simulations, held, memberOf }: Rights, atMicros: number, detail: IamDetail): void {
  const concerns = ({ policies }: Simulation): boolean => {
    if (detail.of === 'policy_text') return held.has(detail.arn) || policies.includes(nameOf(detail.arn));
    if (detail.of !== 'policy' || detail.group === null) return true;
    return memberOf.has(detail.group) || policies.includes(nameOf(detail.policy));
  };
  for (const one of simulations) if (one.untilMicros === null && concerns(one.simulation)) one.untilMicros = atMicros;
}

/** As the simulator names a policy: an inline one by its name, a managed one by the end of its ARN. */
const nameOf = (policy: string): string => policy.slice(policy.lastIndexOf('/') + 1);

/** Simulations before a moment are let go where they are overtaken, or a later one of the same right was made before it. */
export function forgetSimulations(rights: Rights, beforeMicros: number): void {
  rights.simulations = rights.simulations.filter(
    ({ simulation: { action, resource, atMicros }, untilMicros }) =>
      (untilMicros === null || untilMicros > beforeMicros) &&
      !rights.simulations.some(
        ({ simulation: other }) =>
          other.action === action &&
          other.resource === resource &&
          other.atMicros > atMicros &&
          other.atMicros <= beforeMicros,
      ),
  );
}

/** The right that a call used, as far as it is known, and only where one of its statements is wide: by the policy that granted it last, else by a simulation. */
export function widestRight(
  rights: Rights,
  use: Use,
  resource: string,
  isWide: (statement: Statement, action: string) => boolean,
): Right | undefined {
  const { action } = use;
  const simulations = simulationsOf(rights, use, (one) => covers(one.resource, resource));
  const shared = { boundary: rights.boundary, simulations };
  const held = heldAt(rights, use.lastMicros);
  const decision = evaluate(
    held.flatMap(({ statements }) => statements),
    action,
    resource,
  );
  const decides = (statement: Statement) => decision.outcome === 'allowed' && decision.by.includes(statement);
  const granting = held.find(({ statements }) => statements.some(decides));
  const statement = granting?.statements.find(decides);
  if (granting && statement && isWide(statement, action)) {
    const { name, atMicros, by, ids } = granting;
    const { notEvaluated } = decision;
    return { ...shared, name, statement, by: 'policy', atMicros, grantedBy: by, records: ids, notEvaluated };
  }
  return simulations
    .filter(({ allowed }) => allowed)
    .map((one) => simulatedRight(one, shared))
    .find(({ statement: simulated }) => isWide(simulated, action));
}

/** A simulated resource stands for all that its wildcards match. */
const covers = (simulated: string, resource: string): boolean =>
  evaluate([allowing('any', simulated)], 'any', resource).outcome === 'allowed';

const allowing = (action: string, resource: string): Statement => ({
  effect: 'Allow',
  actions: [action],
  notActions: [],
  resources: [resource],
  notResources: [],
  conditions: [],
});

function simulatedRight(simulation: Simulation, shared: Pick<Right, 'boundary' | 'simulations'>): Right {
  const { action, resource, atMicros, policies, missing } = simulation;
  return {
    ...shared,
    name: policies.join(', ') || 'a policy that the simulation does not name',
    statement: allowing(action, resource),
    by: 'simulation',
    atMicros,
    grantedBy: null,
    records: [],
    notEvaluated: missing.map((key) => `no value for ${key}`),
  };
}

/** The latest of each resource before a call, which no change of policies has overtaken by then. Of two that contradict each other, the one that denies. */
function simulationsOf(
  { simulations }: Rights,
  { action, firstMicros }: Use,
  isAbout: (simulation: Simulation) => boolean,
): Simulation[] {
  const latest = new Map<string, Simulation>();
  for (const { simulation, untilMicros } of simulations) {
    const { resource, atMicros, allowed } = simulation;
    if (simulation.action !== action || atMicros > firstMicros || !isAbout(simulation)) continue;
    if (untilMicros !== null && untilMicros <= firstMicros) continue;
    const known = latest.get(resource);
    const isLater = !known || atMicros > known.atMicros || (atMicros === known.atMicros && known.allowed && !allowed);
    if (isLater) latest.set(resource, simulation);
  }
  return [...latest.values()].sort((a, b) => b.atMicros - a.atMicros || (a.resource < b.resource ? -1 : 1));
}

interface Granted {
  readonly name: string;
  readonly statements: readonly Statement[];
  readonly atMicros: number;
  readonly by: string;
  readonly ids: readonly string[];
}

/** Its own policies and those of its groups until a moment, the newest first. A group's counts since both were there: it, and the membership. */
function heldAt(rights: Rights, untilMicros: number): Granted[] {
  const own = [...rights.held].map(([name, held]) => granted(rights, name, name, [held], held));
  const groups = [...rights.memberOf].flatMap(([group, since]) =>
    [...(rights.groups.get(group) ?? [])].map(([name, held]) =>
      granted(rights, name, `${name} of group ${group}`, [held, since], held),
    ),
  );
  return [...own, ...groups]
    .filter(({ atMicros }) => atMicros <= untilMicros)
    .sort((a, b) => b.atMicros - a.atMicros || (a.name < b.name ? -1 : 1));
}

function granted(rights: Rights, policy: string, name: string, since: readonly Since[], held: Held): Granted {
  const last = since.reduce((a, b) => (b.atMicros > a.atMicros ? b : a));
  const { atMicros, by } = last;
  return { name, statements: statementsOf(rights, policy, held), atMicros, by, ids: since.map(({ id }) => id) };
}

/** What a policy says as far as it was seen: its own text, the account's, or AWS's. */
function statementsOf({ texts }: Rights, policy: string, { statements }: Held): readonly Statement[] {
  const text = texts.get(policy);
  return statements ?? text?.versions.get(text.current) ?? MANAGED_POLICIES.get(policy) ?? [];
}
