import type { Act, LogFile, Prefixes, Simulation, Use, Uses } from './act.js';

/** What CloudTrail's records of one bucket of time come to, for one principal, bucket, trail or address. */
export interface CloudPart {
  readonly acts: Act[];
  readonly uses: Use[];
  readonly prefixes: string[];
  readonly simulations: Simulation[];
  /** Log files that were promised, and the names of those that were read. */
  readonly promised: Omit<LogFile, 'type' | 'read'>[];
  readonly read: string[];
}

export const cloudPart = (): CloudPart => ({
  acts: [],
  uses: [],
  prefixes: [],
  simulations: [],
  promised: [],
  read: [],
});

/** The items of one bucket of time, whatever parts they came in: copies of an event count once, uses of one kind are one. */
export function cloudItems(
  bucketMicros: number,
  parts: readonly CloudPart[],
): (Act | Uses | Prefixes | LogFile | Simulation)[] {
  const uses = mergedUses(parts.flatMap((part) => part.uses));
  const prefixes = [...new Set(parts.flatMap((part) => part.prefixes))].sort();
  return [
    ...(prefixes.length > 0 ? [{ type: 'prefixes' as const, atMicros: bucketMicros, prefixes }] : []),
    ...(uses.length > 0 ? [{ type: 'uses' as const, atMicros: bucketMicros, uses }] : []),
    ...timely([...distinct(parts.flatMap((part) => part.acts)), ...parts.flatMap((part) => part.simulations)]),
    ...logFiles(parts),
  ];
}

/** In the order of time, then of ids. */
const timely = <Item extends Act | Simulation>(items: readonly Item[]): Item[] =>
  items.toSorted((a, b) => a.atMicros - b.atMicros || (a.evidenceId < b.evidenceId ? -1 : 1));

/** Of copies the one that names its caller by an ARN, then the one with the smaller id. */
function distinct(acts: readonly Act[]): Act[] {
  const byIdentity = new Map<string, Act>();
  for (const act of acts) {
    const known = byIdentity.get(act.identity);
    if (!known || rank(act) < rank(known)) byIdentity.set(act.identity, act);
  }
  return [...byIdentity.values()];
}

/** Each promised file once, by the first of the records that promise it. */
function logFiles(parts: readonly CloudPart[]): LogFile[] {
  const read = new Set(parts.flatMap((part) => part.read));
  const byName = new Map<string, LogFile>();
  for (const promised of parts.flatMap((part) => part.promised)) {
    const known = byName.get(promised.name);
    if (!known || promised.evidenceId < known.evidenceId)
      byName.set(promised.name, { type: 'log_file', ...promised, read: read.has(promised.name) });
  }
  return [...byName.values()].sort((a, b) => a.atMicros - b.atMicros || (a.name < b.name ? -1 : 1));
}

const rank = ({ who, evidenceId }: Act): string => `${who.principal.startsWith('arn:') ? 0 : 1}${evidenceId}`;

function mergedUses(uses: readonly Use[]): Use[] {
  const merged = new Map<string, Use>();
  for (const use of uses) {
    const name = `${use.action}\n${use.bucket ?? ''}\n${use.outcome}`;
    const known = merged.get(name);
    merged.set(name, known ? sum(known, use) : use);
  }
  return [...merged].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, use]) => use);
}

function sum(a: Use, b: Use): Use {
  const first = a.firstMicros < b.firstMicros || (a.firstMicros === b.firstMicros && a.firstId < b.firstId) ? a : b;
  return {
    ...first,
    counts: added([...a.counts, ...b.counts]),
    lastMicros: Math.max(a.lastMicros, b.lastMicros),
    principals: extremes(a.principals, b.principals),
    callers: extremes(a.callers, b.callers),
    sources: extremes(a.sources, b.sources),
    accounts: extremes(a.accounts, b.accounts),
  };
}

function added(counts: Use['counts']): Use['counts'] {
  const byAccount = new Map<string, number>();
  for (const [account, records] of counts) byAccount.set(account, (byAccount.get(account) ?? 0) + records);
  return [...byAccount].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The least and the greatest text. */
export function extremes(...lists: readonly (readonly string[])[]): string[] {
  const all = [...new Set(lists.flat())].sort();
  return all.length <= 2 ? all : [all[0]!, all.at(-1)!];
}
