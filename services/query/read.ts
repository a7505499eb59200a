import type { DuckDBConnection } from '@duckdb/node-api';
import type { Link, Rival, Test, Verdict } from '../../shared/chain.js';
import { CauselineError } from '../../shared/errors.js';
import type { Figure, Kind, Severity } from '../../shared/finding.js';
import { parseMicros } from '../../shared/time.js';
import { jsonRows } from './rows.js';

/** A chain as the relations show it. Times are ISO 8601 in UTC. */
export interface ChainRow {
  readonly chain_id: string;
  readonly revision: number;
  readonly recorded_at: string;
  readonly reason: string;
  readonly ruleset: string;
  readonly supersedes: string | null;
  readonly title: string;
  readonly root_kind: Kind;
  readonly root_finding_id: string;
  readonly impact_kind: Kind;
  readonly started_at: string;
  readonly ended_at: string;
  readonly verdict: Verdict;
  readonly confidence: number;
  readonly state: string;
  readonly summary: string;
  readonly members: readonly string[];
}

export interface LinkRow {
  readonly rule: string;
  readonly cause_finding_id: string;
  readonly effect_finding_id: string;
  readonly cause_kind: Kind;
  readonly effect_kind: Kind;
  readonly lag_ms: number;
  readonly verdict: Verdict;
  readonly confidence: number;
  readonly basis: Pick<Link, 'mechanism' | 'role'> & {
    readonly tests: readonly Test[];
    readonly rivals: readonly Rival[];
  };
}

export interface FindingRow {
  readonly finding_id: string;
  readonly kind: Kind;
  readonly detector: string;
  readonly subject: string;
  readonly started_at: string;
  readonly ended_at: string;
  readonly severity: Severity;
  readonly summary: string;
  readonly measured: Readonly<Record<string, Figure>>;
  readonly baseline: Readonly<Record<string, Figure>> | null;
  readonly keys: readonly string[];
  readonly evidence_count: number;
}

/** What only hid an effect: it stands apart from causes in every picture (DESIGN.md 5.3). */
export const conceals = ({ rule }: Pick<LinkRow, 'rule'>): boolean => rule === 'concealed';

/** A chain with all that it is made of. */
export interface WholeChain extends ChainRow {
  readonly links: readonly LinkRow[];
  readonly findings: readonly FindingRow[];
}

/** What a finding is about. */
export type Subject = Pick<FindingRow, 'finding_id' | 'kind' | 'keys'>;

export async function readSubjects(connection: DuckDBConnection): Promise<Map<string, Subject>> {
  const rows = (await jsonRows(connection, 'SELECT finding_id, kind, keys FROM findings')) as unknown as Subject[];
  return new Map(rows.map((row) => [row.finding_id, row]));
}

export async function countFindings(connection: DuckDBConnection): Promise<number> {
  const [row] = await jsonRows(connection, 'SELECT count(*)::INTEGER AS n FROM findings');
  return row!['n'] as number;
}

/** Current chains, or those that were known at a moment (ISO 8601); the earliest first. */
export async function readChains(connection: DuckDBConnection, asOf?: string): Promise<ChainRow[]> {
  const relation = asOf === undefined ? 'chains' : `chains_as_of(make_timestamp(${parseMicros(asOf, 'as-of')}))`;
  return (await jsonRows(
    connection,
    `SELECT * FROM ${relation} ORDER BY started_at, chain_id`,
  )) as unknown as ChainRow[];
}

export async function readWhole(connection: DuckDBConnection, chain: ChainRow): Promise<WholeChain> {
  const links = (await jsonRows(connection, 'SELECT * FROM chain_link_history WHERE chain_id = ? AND revision = ?', [
    chain.chain_id,
    BigInt(chain.revision),
  ])) as unknown as LinkRow[];
  const findings = (await jsonRows(
    connection,
    `SELECT f.* FROM findings f WHERE list_contains(from_json(?, '["VARCHAR"]'), f.finding_id) ORDER BY started_at, kind, finding_id`,
    [JSON.stringify(chain.members)],
  )) as unknown as FindingRow[];
  return { ...chain, links: fromTheRoot(chain.root_finding_id, links, findings), findings };
}

/** Links as a reader follows them: breadth first from the root, each finding's effects in the order in which they began; then what hid some of them. */
function fromTheRoot(root: string, links: readonly LinkRow[], findings: readonly FindingRow[]): LinkRow[] {
  const began = new Map(findings.map((finding, index) => [finding.finding_id, index]));
  const inOrder = links.toSorted(
    (a, b) => began.get(a.effect_finding_id)! - began.get(b.effect_finding_id)! || (a.rule < b.rule ? -1 : 1),
  );
  const reached = new Set([root]);
  for (const id of reached)
    for (const link of inOrder) if (link.cause_finding_id === id) reached.add(link.effect_finding_id);
  const told = [...reached].flatMap((id) => inOrder.filter((link) => link.cause_finding_id === id));
  return [...told, ...inOrder.filter((link) => !told.includes(link))];
}

/** The chain with this id, or the only one whose id begins so, in its last revision: also one that was withdrawn. Throws `not_found`. */
export async function findChain(connection: DuckDBConnection, id: string): Promise<ChainRow> {
  const chains = await chainsNamed(connection, id);
  if (chains.length === 1) return chains[0]!;
  const why = chains.length === 0 ? `There is no chain ${id}` : `${chains.length} chains begin with ${id}`;
  throw new CauselineError('not_found', 'query', `${why}: 'causeline chains' lists them.`);
}

async function chainsNamed(connection: DuckDBConnection, id: string): Promise<ChainRow[]> {
  return (await jsonRows(
    connection,
    `SELECT * FROM chain_history WHERE chain_id = $id OR (length($id) >= 4 AND starts_with(chain_id, $id))
     QUALIFY row_number() OVER (PARTITION BY chain_id ORDER BY revision DESC) = 1 ORDER BY chain_id`,
    { id },
  )) as unknown as ChainRow[];
}

/** Every revision of a chain, the first one first. */
export async function readRevisionsOf(connection: DuckDBConnection, chain: ChainRow): Promise<ChainRow[]> {
  return (await jsonRows(connection, 'SELECT * FROM chain_history WHERE chain_id = ? ORDER BY revision', [
    chain.chain_id,
  ])) as unknown as ChainRow[];
}
