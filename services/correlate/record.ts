import { type DuckDBConnection, DuckDBTimestampValue, type DuckDBValue } from '@duckdb/node-api';
import type { Chain, Link } from '../../shared/chain.js';
import type { Finding } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { appendRows } from '../../shared/store/store.js';
import type { Correlated } from './index.js';

/** What a correlation changed in the store. */
export interface Recorded {
  readonly findings: { readonly added: number; readonly changed: number; readonly withdrawn: number };
  readonly chains: { readonly added: number; readonly revised: number; readonly withdrawn: number };
}

interface Mark {
  readonly seq: bigint;
  readonly at: DuckDBTimestampValue;
  readonly ruleset: string;
}

/**
 * Writes what changed, in one transaction: derived tables are append-only, the latest row is the current one, and what no longer holds is withdrawn.
 * The same result written twice changes nothing.
 */
export async function record(connection: DuckDBConnection, correlated: Correlated, ruleset: string): Promise<Recorded> {
  await connection.run('BEGIN');
  try {
    const mark = await nextMark(connection, ruleset);
    const findings = await recordFindings(connection, correlated.findings, mark);
    const chains = await recordChains(connection, correlated, mark);
    await recordParentless(connection, correlated, mark);
    await connection.run('COMMIT');
    return { findings, chains };
  } catch (cause) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw cause;
  }
}

async function nextMark(connection: DuckDBConnection, ruleset: string): Promise<Mark> {
  const rows = await connection.runAndReadAll(
    `SELECT greatest((SELECT coalesce(max(derived_seq), 0) FROM _store.findings), (SELECT coalesce(max(derived_seq), 0) FROM _store.chain_revisions),
     (SELECT coalesce(max(derived_seq), 0) FROM _store.parentless)) + 1, now()::TIMESTAMP`,
  );
  const [seq, at] = rows.getRows()[0]!;
  return { seq: seq as bigint, at: at as DuckDBTimestampValue, ruleset };
}

async function recordFindings(
  connection: DuckDBConnection,
  findings: readonly Finding[],
  mark: Mark,
): Promise<Recorded['findings']> {
  const current = await currentHashes(
    connection,
    `SELECT finding_id, content_hash FROM (SELECT finding_id, content_hash, withdrawn FROM _store.findings
     QUALIFY row_number() OVER (PARTITION BY finding_id ORDER BY derived_seq DESC) = 1) WHERE NOT withdrawn`,
  );
  const fresh = findings
    .map((finding) => ({ finding, hash: sha256(JSON.stringify(finding)) }))
    .filter(({ finding, hash }) => current.get(finding.id) !== hash);
  await appendRows(
    connection,
    'findings',
    fresh.map(({ finding, hash }) => findingRow(finding, hash, mark)),
  );
  await appendRows(
    connection,
    'finding_evidence',
    fresh.flatMap(({ finding }) =>
      finding.evidence.map(({ table, id, role }) => [finding.id, mark.seq, table, id, role]),
    ),
  );
  const kept = new Set(findings.map((finding) => finding.id));
  const gone = [...current.keys()].filter((id) => !kept.has(id));
  for (const id of gone) await withdrawFinding(connection, id, mark);
  const added = fresh.filter(({ finding }) => !current.has(finding.id)).length;
  return { added, changed: fresh.length - added, withdrawn: gone.length };
}

async function currentHashes(connection: DuckDBConnection, query: string): Promise<Map<string, string>> {
  return new Map((await connection.runAndReadAll(query)).getRows().map(([id, hash]) => [id as string, hash as string]));
}

function findingRow(finding: Finding, hash: string, mark: Mark): DuckDBValue[] {
  return [
    finding.id,
    mark.seq,
    mark.at,
    false,
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
    hash,
  ];
}

const timestamp = (micros: number): DuckDBTimestampValue => new DuckDBTimestampValue(BigInt(Math.round(micros)));

async function withdrawFinding(connection: DuckDBConnection, id: string, mark: Mark): Promise<void> {
  await connection.run(
    `INSERT INTO _store.findings SELECT * REPLACE (?::BIGINT AS derived_seq, ?::TIMESTAMP AS recorded_at, true AS withdrawn) FROM _store.findings
     WHERE finding_id = ? QUALIFY row_number() OVER (ORDER BY derived_seq DESC) = 1`,
    [mark.seq, mark.at, id],
  );
}

/** Spans whose parent is missing, by service and minute: rows that changed, and a row of none where a parent came late. */
async function recordParentless(connection: DuckDBConnection, { parentless }: Correlated, mark: Mark): Promise<void> {
  const found = await connection.runAndReadAll(
    `SELECT scope, epoch_us(minute), own, callers FROM _store.parentless
     QUALIFY row_number() OVER (PARTITION BY scope, minute ORDER BY derived_seq DESC) = 1`,
  );
  const current = new Map(
    found.getRows().map(([scope, minute, own, callers]) => [`${String(scope)}\n${String(minute)}`, [own, callers]]),
  );
  const now = new Map(
    parentless.map(({ subject, minuteMicros, own, caller }) => [
      `${subject.slice('service:'.length)}\n${minuteMicros}`,
      [BigInt(own), BigInt(caller)],
    ]),
  );
  for (const key of current.keys()) if (!now.has(key)) now.set(key, [0n, 0n]);
  const changed = [...now].filter(([key, counts]) => String(current.get(key)) !== String(counts));
  await appendRows(
    connection,
    'parentless',
    changed.map(([key, counts]) => {
      const [scope, minute] = key.split('\n') as [string, string];
      return [scope, timestamp(Number(minute)), ...counts, mark.seq];
    }),
  );
}

interface KnownChain {
  readonly id: string;
  readonly revision: bigint;
  readonly hash: string;
  readonly ruleset: string;
  readonly state: string;
  readonly members: readonly string[];
  readonly verdict: string;
}

async function recordChains(
  connection: DuckDBConnection,
  { chains }: Correlated,
  mark: Mark,
): Promise<Recorded['chains']> {
  const known = new Map((await knownChains(connection)).map((chain) => [chain.id, chain]));
  const standing = [...known.values()].filter((chain) => chain.state !== 'withdrawn');
  const fresh = chains
    .map((chain) => ({ chain, hash: sha256(JSON.stringify([chain, mark.ruleset])) }))
    .filter(({ chain, hash }) => {
      const before = known.get(chain.id);
      return before?.hash !== hash || before.state === 'withdrawn';
    });
  const gone = standing.filter((chain) => !chains.some(({ id }) => id === chain.id));
  const written = fresh.map(({ chain, hash }) => {
    const before = known.get(chain.id);
    const supersedes = before ? undefined : takesThePlaceOf(chain, gone);
    return {
      chain,
      hash,
      revision: (before?.revision ?? 0n) + 1n,
      supersedes,
      reason: reasonFor(chain, before, supersedes, mark.ruleset),
    };
  });
  await appendRows(
    connection,
    'chain_revisions',
    written.map(({ chain, hash, revision, supersedes, reason }) =>
      revisionRow(chain, hash, revision, supersedes, reason, mark),
    ),
  );
  await appendRows(
    connection,
    'chain_links',
    written.flatMap(({ chain, revision }) => chain.links.map((link) => linkRow(chain, revision, link))),
  );
  for (const chain of gone)
    await withdrawChain(connection, chain, written.find(({ supersedes }) => supersedes === chain.id)?.chain.id, mark);
  return {
    added: written.filter(({ revision }) => revision === 1n).length,
    revised: written.filter(({ revision }) => revision > 1n).length,
    withdrawn: gone.length,
  };
}

async function knownChains(connection: DuckDBConnection): Promise<KnownChain[]> {
  const rows = await connection.runAndReadAll(
    `SELECT chain_id, revision, content_hash, ruleset, state, members, verdict FROM _store.chain_revisions
     QUALIFY row_number() OVER (PARTITION BY chain_id ORDER BY revision DESC) = 1 ORDER BY chain_id`,
  );
  return rows.getRows().map(([id, revision, hash, ruleset, state, members, verdict]) => ({
    id: id as string,
    revision: revision as bigint,
    hash: hash as string,
    ruleset: ruleset as string,
    state: state as string,
    members: JSON.parse(members as string) as string[],
    verdict: verdict as string,
  }));
}

/** A new chain takes the place of the withdrawn one with which it shares the most findings; of equal ones, the smaller id. */
function takesThePlaceOf(chain: Chain, gone: readonly KnownChain[]): string | undefined {
  const overlaps = gone.map((old) => ({
    id: old.id,
    common: old.members.filter((id) => chain.members.includes(id)).length,
  }));
  return overlaps.filter(({ common }) => common > 0).sort((a, b) => b.common - a.common || (a.id < b.id ? -1 : 1))[0]
    ?.id;
}

function reasonFor(
  chain: Chain,
  before: KnownChain | undefined,
  supersedes: string | undefined,
  ruleset: string,
): string {
  if (!before) return supersedes ? `replaces chain ${supersedes}: another root` : 'found in the evidence';
  if (before.state === 'withdrawn') return 'its root stands again';
  const added = chain.members.filter((id) => !before.members.includes(id)).length;
  const removed = before.members.filter((id) => !chain.members.includes(id)).length;
  const changes = [
    before.ruleset === ruleset ? undefined : 'ruleset changed',
    added ? `more evidence added ${added} ${added === 1 ? 'finding' : 'findings'}` : undefined,
    removed ? `${removed} ${removed === 1 ? 'finding' : 'findings'} no longer belong` : undefined,
    before.verdict === chain.verdict ? undefined : `verdict ${before.verdict} became ${chain.verdict}`,
  ].filter((change) => change !== undefined);
  return changes.length > 0 ? changes.join('; ') : 'more evidence changed its figures';
}

function revisionRow(
  chain: Chain,
  hash: string,
  revision: bigint,
  supersedes: string | undefined,
  reason: string,
  mark: Mark,
): DuckDBValue[] {
  return [
    chain.id,
    revision,
    mark.seq,
    mark.at,
    reason,
    mark.ruleset,
    supersedes ?? null,
    chain.title,
    chain.rootKind,
    chain.rootFindingId,
    chain.impactKind,
    timestamp(chain.startedMicros),
    timestamp(chain.endedMicros),
    chain.verdict,
    chain.confidence,
    'sealed', // a replay that ended is the end of input
    chain.summary,
    JSON.stringify(chain.members),
    hash,
  ];
}

function linkRow(chain: Chain, revision: bigint, link: Link): DuckDBValue[] {
  const basis = JSON.stringify({ mechanism: link.mechanism, tests: link.tests, rivals: link.rivals });
  return [
    chain.id,
    revision,
    link.rule,
    link.causeFindingId,
    link.effectFindingId,
    link.causeKind,
    link.effectKind,
    BigInt(link.lagMs),
    link.verdict,
    link.confidence,
    basis,
  ];
}

async function withdrawChain(
  connection: DuckDBConnection,
  chain: KnownChain,
  successor: string | undefined,
  mark: Mark,
): Promise<void> {
  const reason = successor ? `replaced by chain ${successor}: another root` : 'the evidence no longer bears it';
  await connection.run(
    `INSERT INTO _store.chain_revisions SELECT * REPLACE (?::BIGINT AS revision, ?::BIGINT AS derived_seq, ?::TIMESTAMP AS recorded_at, ? AS reason,
     ? AS ruleset, 'withdrawn' AS state) FROM _store.chain_revisions WHERE chain_id = ? AND revision = ?`,
    [chain.revision + 1n, mark.seq, mark.at, reason, mark.ruleset, chain.id, chain.revision],
  );
}
