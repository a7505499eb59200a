import { micros } from '../../../shared/duration.js';
import { entityKey, entityType } from '../../../shared/entity.js';
import type { FindingDraft } from '../../../shared/finding.js';
import { callsOf, recordsOf, type Use } from '../cloudtrail/act.js';
import { DAY_SECONDS, use, uses } from '../cloudtrail/examples.js';
import { cloudKeys, evidenceFrom, isUsual, noted, SECOND_MICROS, shortName } from '../cloudtrail/spree.js';
import { detector } from '../detector.js';
import { EVIDENCE_KEPT } from '../evidence-of.js';
import type { Item } from '../item.js';

/** A scan is one sitting. */
const WINDOW_MICROS = micros('10m');
const MAX_EXTENT_MICROS = micros('6h');

/**
 * Our choice of what is wide: a console user opens a handful of services in ten minutes and is refused in one or two of them; a scan asks each service in
 * turn whatever it is told. An address is known only by what it was refused, and counts where several principals came from it: else it is theirs.
 */
const LEAST = { services: 5, operations: 10, refusedOperations: 5, refusedServices: 3, principals: 2 } as const;

interface Seen {
  readonly action: string;
  readonly refused: boolean;
  readonly firstMicros: number;
  lastMicros: number;
  readonly id: string;
  readonly request: string | null;
  calls: number;
  records: number;
  principals: readonly string[];
  callers: readonly string[];
  sources: readonly string[];
  accounts: readonly string[];
}

interface State {
  /** What was tried in the last ten minutes, or since the scan began. */
  seen: Seen[];
  /** Where a scan is under way, its number of cuts. */
  open: { cut: number } | null;
  /** The widest ten minutes of each day before. */
  usual: [day: number, width: number][];
}

/** Services that the examples' scans ask. */
const SERVICES = ['s3', 'iam', 'ec2', 'rds', 'kms', 'sts'] as const;

/** One principal, or several from one address, try many operations of many services within minutes, and are refused many. */
export const accessEnumeration = detector<State>({
  kind: 'access.enumeration',
  version: 2,
  meaning: `${LEAST.operations} reading operations of ${LEAST.services} services within ten minutes, ${LEAST.refusedOperations} of them refused by ${LEAST.refusedServices} services, by a principal (or an address of several) that does not look around as widely on most days`,
  subject: 'principal',
  over: ['principal', 'ip'],
  inputs: [{ of: 'uses' }],
  start: () => ({ seen: [], open: null, usual: [] }),
  step(state, item, { subject }) {
    if (item.type !== 'uses') return [];
    const found = pass(state, item.atMicros, subject);
    for (const one of item.uses) if (looksAround(one)) see(state, one);
    state.seen.sort((a, b) => a.firstMicros - b.firstMicros || (a.id < b.id ? -1 : 1));
    if (!state.open) openWhereWide(state, item.atMicros, subject);
    state.usual = noted(state.usual, item.atMicros, widthOf(within(state.seen, item.atMicros)));
    return found;
  },
  end: (state, { subject }) => close(state, subject, false),
  examples: [
    { title: 'a scan of many services', given: scan(0), fires: true },
    { title: 'a scan that is refused nowhere', given: scan(0, []), fires: false },
    { title: 'one service that refuses a lot', given: [uses(0, refusals('ec2', 12))], fires: false },
    { title: 'the same over a day', given: slowScan(), fires: false },
    {
      title: 'an inventory that looks at everything every day',
      given: [0, 1, 2, 3, 4].flatMap((day) => scan(day * DAY_SECONDS, day < 4 ? [] : SERVICES)),
      fires: false,
    },
  ],
});

/** Writing is no looking around, unless it was refused. A call that failed otherwise was allowed. */
const looksAround = ({ action, outcome }: Use): boolean =>
  outcome === 'denied' || /^[^:]+:(?:List|Describe|Get|Head|Search|Lookup|BatchGet)/.test(action);

/** A scan that is under way has each operation once. Before it each minute stands for itself, so that it begins where it began. */
function see({ seen, open }: State, one: Use): void {
  const { action, outcome, firstId } = one;
  const refused = outcome === 'denied';
  const known = open && seen.find((other) => other.action === action && other.refused === refused);
  if (known) {
    known.lastMicros = Math.max(known.lastMicros, one.lastMicros);
    known.calls += callsOf(one);
    known.records += recordsOf(one);
    known.principals = together(known.principals, one.principals);
    known.callers = together(known.callers, one.callers);
    known.sources = together(known.sources, one.sources);
    return;
  }
  const { firstMicros, lastMicros, firstRequest: request, principals, callers, sources, accounts } = one;
  const [calls, records] = [callsOf(one), recordsOf(one)];
  seen.push({
    action,
    refused,
    firstMicros,
    lastMicros,
    id: firstId,
    request,
    calls,
    records,
    principals,
    callers,
    sources,
    accounts,
  });
}

const NAMED = 20;
const together = (a: readonly string[], b: readonly string[]): string[] =>
  [...new Set([...a, ...b])].sort().slice(0, NAMED);

/** What the time that went by ends: a scan after ten quiet minutes, or at its greatest extent. */
function pass(state: State, atMicros: number, subject: string): FindingDraft[] {
  const last = Math.max(...state.seen.map(({ lastMicros }) => lastMicros));
  if (!state.open) {
    state.seen = within(state.seen, atMicros);
    return [];
  }
  if (atMicros - last > WINDOW_MICROS) return close(state, subject, false);
  if (atMicros - state.seen[0]!.firstMicros < MAX_EXTENT_MICROS) return [];
  const { cut } = state.open;
  const found = close(state, subject, true);
  state.open = { cut: cut + 1 };
  return found;
}

const within = (seen: readonly Seen[], atMicros: number): Seen[] =>
  seen.filter(({ lastMicros }) => atMicros - lastMicros <= WINDOW_MICROS);

const serviceOf = ({ action }: Pick<Seen, 'action'>): string => action.slice(0, action.indexOf(':'));
const widthOf = (seen: readonly Seen[]): number => new Set(seen.map(({ action }) => action)).size;
const servicesOf = (seen: readonly Seen[]): string[] => [...new Set(seen.map(serviceOf))].sort();

function openWhereWide(state: State, atMicros: number, subject: string): void {
  const { seen } = state;
  const refused = seen.filter((one) => one.refused);
  const principals = new Set(seen.flatMap((one) => one.principals));
  const wide =
    widthOf(seen) >= (entityType(subject) === 'ip' ? LEAST.refusedOperations : LEAST.operations) &&
    servicesOf(seen).length >= (entityType(subject) === 'ip' ? LEAST.refusedServices : LEAST.services) &&
    widthOf(refused) >= LEAST.refusedOperations &&
    servicesOf(refused).length >= LEAST.refusedServices &&
    (entityType(subject) !== 'ip' || principals.size >= LEAST.principals);
  if (wide && !isUsual(state.usual, atMicros, widthOf(seen))) state.open = { cut: 0 };
}

function close(state: State, subject: string, continues: boolean): FindingDraft[] {
  const { open, seen } = state;
  state.open = null;
  state.seen = [];
  if (!open || seen.length === 0) return [];
  const refused = seen.filter((one) => one.refused);
  const named = (of: (one: Seen) => readonly string[]) => [...new Set(seen.flatMap(of))].sort().slice(0, NAMED);
  const who = {
    principals: named(({ principals }) => principals),
    callers: named(({ callers }) => callers),
    sources: named(({ sources }) => sources),
    accounts: named(({ accounts }) => accounts),
  };
  const name = entityType(subject) === 'ip' ? subject.slice(3) : shortName(who.principals[0]!);
  const own = entityType(subject) === 'ip' ? subject : `principal:${who.principals[0]!}`;
  const services = servicesOf(seen);
  return [
    {
      subject: own,
      member: null,
      startedMicros: seen[0]!.firstMicros,
      startedByMicros: seen[0]!.firstMicros + SECOND_MICROS,
      endedMicros: Math.max(...seen.map(({ lastMicros }) => lastMicros)),
      cut: open.cut,
      continues,
      severity: 'warning',
      summary: `${name} tried ${widthOf(seen)} operations of ${services.length} services${
        who.sources.length > 0 ? ` from ${who.sources.join(', ')}` : ''
      }, ${widthOf(refused)} of which were refused`,
      measured: {
        operations: widthOf(seen),
        services,
        refused_operations: widthOf(refused),
        refused_services: servicesOf(refused),
        s3_operations: [
          ...new Set(seen.map(({ action }) => action).filter((action) => action.startsWith('s3:'))),
        ].sort(),
        calls: seen.reduce((sum, { calls }) => sum + calls, 0),
        principals: who.principals,
        sessions: who.callers,
        sources: who.sources,
      },
      baseline: { widest_operations: Math.max(0, ...usualBefore(state, seen[0]!.firstMicros)) },
      shortBaseline: false,
      keys: [...new Set([own, ...cloudKeys(who), ...requestsOf(seen)])],
      evidence: evidenceFrom(seen.map(({ id }) => id).slice(0, EVIDENCE_KEPT)),
      evidenceCount: seen.reduce((sum, { records }) => sum + records, 0),
    },
  ];
}

/** The first request of each operation: as many as evidence is kept of. */
const requestsOf = (seen: readonly Seen[]): string[] =>
  seen.flatMap(({ request }) => (request === null ? [] : [entityKey('request', request)])).slice(0, EVIDENCE_KEPT);

function usualBefore({ usual }: State, atMicros: number): number[] {
  const today = Math.floor(atMicros / micros('24h'));
  return usual.filter(([day]) => day < today).map(([, width]) => width);
}

/* ---- examples ---- */

/** Two operations of each service; some of the services refuse. */
function scan(seconds: number, refusing: readonly string[] = SERVICES.slice(1)): Item[] {
  return [
    uses(
      seconds,
      SERVICES.flatMap((service, index) =>
        ['ListThings', 'DescribeThings'].map((name) =>
          use(seconds + index, `${service}:${name}`, { outcome: refusing.includes(service) ? 'denied' : 'ok' }),
        ),
      ),
    ),
  ];
}

function refusals(service: string, count: number): Use[] {
  return Array.from({ length: count }, (_, index) => use(index, `${service}:Describe${index}`, { outcome: 'denied' }));
}

function slowScan(): Item[] {
  return SERVICES.map((service, index) =>
    uses(index * 3600, [use(index * 3600, `${service}:ListThings`, { outcome: 'denied' })]),
  );
}
