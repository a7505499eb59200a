import { type DuckDBConnection, DuckDBTimestampValue, type DuckDBValue } from '@duckdb/node-api';
import type { Chain, Link } from '../chain.js';
import type { Finding } from '../finding.js';
import { groupBy } from '../group.js';
import { appendRows } from './append.js';

/** A finding as it stood from one recording on. */
export interface StoredFinding {
  readonly finding: Finding;
  readonly derivedSeq: number;
  readonly recordedMicros: number;
  readonly withdrawn: boolean;
}

export type ChainState = 'provisional' | 'sealed' | 'withdrawn';

/** One revision of a chain: what was claimed, since when, and why. */
export interface Revision {
  readonly chain: Chain;
  readonly revision: number;
  readonly state: ChainState;
  readonly reason: string;
  readonly supersedes: string | null;
  readonly ruleset: string;
  readonly recordedMicros: number;
  readonly derivedSeq: number;
  /** The evidence that it was judged on: that of the commits up to this one. */
  readonly commitSeq: number;
}

/** A revision with its findings as they stood, and those of the revision before it. */
export interface WholeRevision extends Revision {
  readonly findings: readonly StoredFinding[];
}

export async function appendFindings(connection: DuckDBConnection, findings: readonly StoredFinding[]): Promise<void> {
  await appendRows(connection, 'findings', findings.map(findingRow));
  await appendRows(
    connection,
    'finding_evidence',
    findings
      .filter(({ withdrawn }) => !withdrawn)
      .flatMap(({ finding, derivedSeq }) =>
        finding.evidence.map(({ table, id, role }) => [finding.id, BigInt(derivedSeq), table, id, role]),
      ),
  );
}

function findingRow({ finding, derivedSeq, recordedMicros, withdrawn }: StoredFinding): DuckDBValue[] {
  return [
    finding.id,
    BigInt(derivedSeq),
    timestamp(recordedMicros),
    withdrawn,
    finding.kind,
    finding.detector,
    finding.subject,
    finding.member,
    timestamp(finding.startedMicros),
    timestamp(finding.endedMicros),
    finding.severity,
    finding.summary,
    JSON.stringify({
      ...finding.measured,
      onset_uncertainty_ms: (finding.startedByMicros - finding.startedMicros + (finding.unseenMicros ?? 0)) / 1000,
    }),
    finding.baseline === null ? null : JSON.stringify({ ...finding.baseline, short: finding.shortBaseline }),
    JSON.stringify(finding.keys),
    finding.continues,
    BigInt(finding.evidenceCount),
    JSON.stringify(finding),
  ];
}

const timestamp = (micros: number): DuckDBTimestampValue => new DuckDBTimestampValue(BigInt(Math.round(micros)));

/** A chain as it was judged; the revision that claims it is written beside it, or not at all where only figures changed. */
export async function appendJudged(
  connection: DuckDBConnection,
  judged: readonly { readonly chain: Chain; readonly derivedSeq: number }[],
): Promise<void> {
  await appendRows(
    connection,
    'judged_chains',
    judged.map(({ chain, derivedSeq }) => [chain.id, BigInt(derivedSeq), JSON.stringify(chain)]),
  );
}

export async function appendRevisions(connection: DuckDBConnection, revisions: readonly Revision[]): Promise<void> {
  await appendRows(connection, 'chain_revisions', revisions.map(revisionRow));
  await appendRows(
    connection,
    'chain_links',
    revisions
      .filter(({ state }) => state !== 'withdrawn')
      .flatMap(({ chain, revision }) => chain.links.map((link) => linkRow(chain, revision, link))),
  );
}

function revisionRow({ chain, ...claimed }: Revision): DuckDBValue[] {
  return [
    chain.id,
    BigInt(claimed.revision),
    BigInt(claimed.derivedSeq),
    timestamp(claimed.recordedMicros),
    claimed.reason,
    claimed.ruleset,
    claimed.supersedes,
    chain.title,
    chain.rootKind,
    chain.rootFindingId,
    chain.impactKind,
    timestamp(chain.startedMicros),
    timestamp(chain.endedMicros),
    chain.verdict,
    chain.confidence,
    claimed.state,
    chain.summary,
    JSON.stringify(chain.members),
    BigInt(claimed.commitSeq),
  ];
}

function linkRow(chain: Chain, revision: number, link: Link): DuckDBValue[] {
  return [
    chain.id,
    BigInt(revision),
    link.rule,
    link.causeFindingId,
    link.effectFindingId,
    link.causeKind,
    link.effectKind,
    BigInt(link.lagMs),
    link.verdict,
    link.confidence,
    JSON.stringify({ mechanism: link.mechanism, role: link.role, tests: link.tests, rivals: link.rivals }),
  ];
}

/** Current findings, whole, as they were recorded. `where` is a condition on the columns of `_store.findings`, such as `finding_id = ?`. */
export async function readFindings(
  connection: DuckDBConnection,
  where = 'true',
  values: DuckDBValue[] = [],
): Promise<Finding[]> {
  const found = await connection.runAndReadAll(
    `SELECT content FROM (SELECT * FROM _store.findings QUALIFY row_number() OVER (PARTITION BY finding_id ORDER BY derived_seq DESC) = 1)
     WHERE NOT withdrawn AND (${where}) ORDER BY finding_id`,
    values,
  );
  return found.getRows().map(([content]) => JSON.parse(content as string) as Finding);
}

/** A condition that a column's value is one of these. */
export const oneOf = (column: string): string => `${column} IN (SELECT unnest(from_json(?, '["VARCHAR"]')))`;

/** Revisions that a condition on `_store.chain_revisions` (as `r`) names, in the order in which they were recorded. */
export async function readRevisions(
  connection: DuckDBConnection,
  where: string,
  values: DuckDBValue[] = [],
): Promise<Revision[]> {
  const found = await connection.runAndReadAll(
    `SELECT j.content, r.revision, r.state, r.reason, r.supersedes, r.ruleset, epoch_us(r.recorded_at), r.derived_seq, r.commit_seq
     FROM _store.chain_revisions r JOIN _store.judged_chains j ON j.chain_id = r.chain_id AND j.derived_seq <= r.derived_seq
     WHERE ${where}
     QUALIFY row_number() OVER (PARTITION BY r.chain_id, r.revision ORDER BY j.derived_seq DESC) = 1
     ORDER BY r.derived_seq, r.chain_id, r.revision`,
    values,
  );
  return found.getRows().map(([content, revision, state, reason, supersedes, ruleset, recorded, seq, commit]) => ({
    chain: JSON.parse(content as string) as Chain,
    revision: Number(revision),
    state: state as ChainState,
    reason: reason as string,
    supersedes: supersedes as string | null,
    ruleset: ruleset as string,
    recordedMicros: Number(recorded),
    derivedSeq: Number(seq),
    commitSeq: Number(commit),
  }));
}

/** The same with all findings that speak in them. */
export async function readWholeRevisions(
  connection: DuckDBConnection,
  where: string,
  values: DuckDBValue[] = [],
): Promise<WholeRevision[]> {
  const revisions = await readRevisions(connection, where, values);
  const found = await connection.runAndReadAll(
    `WITH wanted AS (SELECT * FROM _store.chain_revisions r WHERE ${where}),
     spoken AS (SELECT chain_id, revision, derived_seq, members FROM wanted
       UNION ALL SELECT w.chain_id, w.revision, w.derived_seq, b.members FROM wanted w
       JOIN _store.chain_revisions b ON b.chain_id = w.chain_id AND b.revision = w.revision - 1),
     ids AS (SELECT DISTINCT chain_id, revision, derived_seq, unnest(from_json(members, '["VARCHAR"]')) AS finding_id FROM spoken)
     SELECT i.chain_id, i.revision, f.content, f.derived_seq, epoch_us(f.recorded_at), f.withdrawn
     FROM ids i JOIN _store.findings f ON f.finding_id = i.finding_id AND f.derived_seq <= i.derived_seq
     QUALIFY row_number() OVER (PARTITION BY i.chain_id, i.revision, i.finding_id ORDER BY f.derived_seq DESC) = 1
     ORDER BY f.finding_id`,
    values,
  );
  const findings = groupBy(found.getRows(), ([chain, revision]) => revisionKey(chain as string, Number(revision)));
  return revisions.map((revision) => ({
    ...revision,
    findings: (findings.get(revisionKey(revision.chain.id, revision.revision)) ?? []).map(
      ([, , content, seq, recorded, withdrawn]) => ({
        finding: JSON.parse(content as string) as Finding,
        derivedSeq: Number(seq),
        recordedMicros: Number(recorded),
        withdrawn: withdrawn as boolean,
      }),
    ),
  }));
}

export const revisionKey = (chainId: string, revision: number): string => `${chainId} r${revision}`;
