import type { DuckDBConnection } from '@duckdb/node-api';
import type { Chain } from '../../shared/chain.js';
import type { Finding } from '../../shared/finding.js';
import { awaited } from '../../shared/lateness.js';
import {
  appendFindings,
  appendJudged,
  appendRevisions,
  type ChainState,
  oneOf,
  type Revision,
  readFindings,
  readRevisions,
  readWholeRevisions,
} from '../../shared/store/derived.js';
import type { Store } from '../../shared/store/store.js';
import { advanceWatermarks, type Watermarks } from '../../shared/store/watermarks.js';
import { arrivalsAfter } from './arrivals.js';
import { claimOf, reasonFor, withdrawalReason } from './reasons.js';
import { mostShared } from './supersedes.js';

/** What was judged anew, and what came of it. Findings and chains that it does not name are left as they stand. */
export interface Change {
  /** Findings that hold, whether they are new, changed or as before. */
  readonly findings: readonly Finding[];
  /** Ids of recorded findings that hold no longer. */
  readonly goneFindings: readonly string[];
  /** Chains that stand, whether they are new, changed or as before. */
  readonly chains: readonly Chain[];
  /** Ids of recorded chains that stand no longer. */
  readonly goneChains: readonly string[];
}

export interface RecordOptions {
  /** Nothing more is to come: a replay that is complete. All chains are sealed. */
  readonly endOfInput: boolean;
  /** The evidence that was judged: that of the commits up to this one. All commits, where it is not given. */
  readonly commitSeq?: bigint;
}

/** What a correlation changed in the store. A chain that was sealed counts as revised. */
export interface Recorded {
  readonly findings: { readonly added: number; readonly changed: number; readonly withdrawn: number };
  readonly chains: { readonly added: number; readonly revised: number; readonly withdrawn: number };
}

interface Mark {
  readonly derivedSeq: number;
  readonly recordedMicros: number;
  readonly commitSeq: number;
  readonly ruleset: string;
}

/** While a chain is provisional, a change of its extent alone is a revision at most so often. */
const EXTENT_EVERY_MICROS = 60_000_000;

/**
 * Writes what changed, in one transaction, and then its revisions to the ledger. Derived tables are append-only: the latest row is the current one, and
 * what no longer holds is withdrawn. The same change written twice changes nothing. Chains whose end all sources have passed are sealed, also where
 * the change does not name them. What `judge` itself writes is part of the transaction.
 */
export async function record(
  { connection, ledger }: Pick<Store, 'connection' | 'ledger'>,
  judge: () => Promise<Change>,
  ruleset: string,
  options: RecordOptions,
): Promise<Recorded> {
  await connection.run('BEGIN');
  let mark: Mark;
  let recorded: Recorded;
  try {
    const change = await judge();
    mark = await nextMark(connection, ruleset, options.commitSeq);
    const watermarks = await advanceWatermarks(connection, BigInt(mark.commitSeq), options.endOfInput);
    const findings = await recordFindings(connection, change, mark);
    const chains = await recordChains(connection, change, mark, watermarks);
    recorded = { findings, chains };
    await connection.run('COMMIT');
  } catch (cause) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw cause;
  }
  const { added, revised, withdrawn } = recorded.chains;
  if (added + revised + withdrawn > 0)
    await ledger.append(await readWholeRevisions(connection, 'r.derived_seq = ?', [BigInt(mark.derivedSeq)]));
  return recorded;
}

async function nextMark(connection: DuckDBConnection, ruleset: string, commitSeq: bigint | undefined): Promise<Mark> {
  const last = (table: string) => `(SELECT coalesce(max(derived_seq), 0) FROM _store.${table})`;
  const found = await connection.runAndReadAll(
    `SELECT greatest(${['findings', 'judged_chains', 'chain_revisions'].map(last).join()}) + 1, epoch_us(now()::TIMESTAMP),
     (SELECT coalesce(max(commit_seq), 0) FROM _store.commits)`,
  );
  const [seq, at, head] = found.getRows()[0]!;
  return { derivedSeq: Number(seq), recordedMicros: Number(at), commitSeq: Number(commitSeq ?? head), ruleset };
}

async function recordFindings(
  connection: DuckDBConnection,
  { findings, goneFindings }: Change,
  mark: Mark,
): Promise<Recorded['findings']> {
  const named = JSON.stringify([...findings.map(({ id }) => id), ...goneFindings]);
  const before = new Map(
    (await readFindings(connection, oneOf('finding_id'), [named])).map((finding) => [finding.id, finding]),
  );
  const fresh = findings.filter((finding) => !same(finding, before.get(finding.id)));
  const gone = goneFindings.flatMap((id) => before.get(id) ?? []);
  const { derivedSeq, recordedMicros } = mark;
  await appendFindings(connection, [
    ...fresh.map((finding) => ({ finding, derivedSeq, recordedMicros, withdrawn: false })),
    ...gone.map((finding) => ({ finding, derivedSeq, recordedMicros, withdrawn: true })),
  ]);
  const added = fresh.filter(({ id }) => !before.has(id)).length;
  return { added, changed: fresh.length - added, withdrawn: gone.length };
}

/** As they are recorded. */
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** A chain that is in the store: its latest revision, and how it was judged last, which only figures can tell apart. */
interface Known extends Revision {
  readonly judged: Chain;
}

async function recordChains(
  connection: DuckDBConnection,
  change: Change,
  mark: Mark,
  watermarks: Watermarks,
): Promise<Recorded['chains']> {
  const known = await knownChains(connection, [...change.chains.map(({ id }) => id), ...change.goneChains]);
  const gone = change.goneChains.flatMap((id) => known.get(id) ?? []).filter(stands);
  const judged = [...change.chains, ...notNamed(change, known)];
  const written: Revision[] = [];
  for (const chain of judged) {
    const before = known.get(chain.id);
    const state = stateOf(chain, watermarks);
    if (!isDue(chain, state, before, mark)) continue;
    const replaced = before && stands(before) ? undefined : mostShared(chain, gone);
    written.push({
      ...mark,
      chain,
      state,
      revision: (before?.revision ?? 0) + 1,
      supersedes: replaced?.chain.id ?? before?.supersedes ?? null,
      reason: reasonFor(chain, before, {
        state,
        ended: watermarks.ended,
        ruleset: mark.ruleset,
        replaced,
        ...(await circumstances(connection, chain, replaced ?? before)),
      }),
    });
  }
  const withdrawn = gone.map((old) => withdrawal(old, judged, written, mark));
  await appendJudged(connection, freshlyJudged(judged, known, mark));
  await appendRevisions(connection, [...written, ...withdrawn]);
  const added = written.filter(({ revision }) => revision === 1).length;
  return { added, revised: written.length - added, withdrawn: gone.length };
}

function stateOf({ endedMicros }: Chain, { ended, newest }: Watermarks): 'sealed' | 'provisional' {
  return ended || awaited(endedMicros, newest).length === 0 ? 'sealed' : 'provisional';
}

const stands = ({ state }: { readonly state: ChainState }): boolean => state !== 'withdrawn';

/** The latest revisions of these chains, and of all that are provisional. */
async function knownChains(connection: DuckDBConnection, ids: readonly string[]): Promise<Map<string, Known>> {
  const latest = await readRevisions(
    connection,
    `(r.chain_id, r.revision) IN (SELECT (chain_id, max(revision)) FROM _store.chain_revisions GROUP BY chain_id)
     AND (r.state = 'provisional' OR ${oneOf('r.chain_id')})`,
    [JSON.stringify(ids)],
  );
  const found = await connection.runAndReadAll(
    `SELECT chain_id, arg_max(content, derived_seq) FROM _store.judged_chains WHERE ${oneOf('chain_id')} GROUP BY chain_id`,
    [JSON.stringify(latest.map(({ chain }) => chain.id))],
  );
  const judged = new Map(found.getRows().map(([id, content]) => [id, JSON.parse(content as string) as Chain]));
  return new Map(
    latest.map((revision) => [revision.chain.id, { ...revision, judged: judged.get(revision.chain.id)! }]),
  );
}

/** Provisional chains that were not judged now, as they were judged last: their end may have passed meanwhile. */
function notNamed(change: Change, known: ReadonlyMap<string, Known>): Chain[] {
  const named = new Set([...change.chains.map(({ id }) => id), ...change.goneChains]);
  return [...known.values()].filter(({ chain }) => !named.has(chain.id)).map(({ judged }) => judged);
}

/**
 * Whether a chain needs a revision: its claim, state or ruleset changed; its extent did, and the last revision is a minute old; or anything at all
 * of a sealed chain. Figures of a provisional chain wait for the next one, at the latest for its seal.
 */
function isDue(chain: Chain, state: ChainState, before: Known | undefined, mark: Mark): boolean {
  if (!before || !stands(before) || before.ruleset !== mark.ruleset) return true;
  if (before.state === 'sealed') return !same(chain, before.chain);
  if (state === 'sealed' || !same(claimOf(chain), claimOf(before.chain))) return true;
  const extent = ({ startedMicros, endedMicros }: Chain) => [startedMicros, endedMicros];
  return (
    !same(extent(chain), extent(before.chain)) && mark.recordedMicros - before.recordedMicros >= EXTENT_EVERY_MICROS
  );
}

/** The findings of a chain, and what of their evidence came after a revision. */
async function circumstances(connection: DuckDBConnection, chain: Chain, since: Revision | undefined) {
  if (!since) return { findings: [], arrivals: [] };
  const findings = await readFindings(connection, oneOf('finding_id'), [JSON.stringify(chain.members)]);
  return { findings, arrivals: await arrivalsAfter(connection, findings, since.commitSeq) };
}

function withdrawal(old: Known, judged: readonly Chain[], written: readonly Revision[], mark: Mark): Revision {
  const successor = mostShared(
    old.chain,
    written.filter(({ supersedes }) => supersedes === old.chain.id),
  );
  const heir = successor
    ? undefined
    : mostShared(
        old.chain,
        judged.map((chain) => ({ chain })),
      );
  return {
    ...old,
    ...mark,
    revision: old.revision + 1,
    state: 'withdrawn',
    reason: withdrawalReason(old, mark.ruleset, successor?.chain, heir?.chain),
  };
}

function freshlyJudged(judged: readonly Chain[], known: ReadonlyMap<string, Known>, { derivedSeq }: Mark) {
  return judged.filter((chain) => !same(chain, known.get(chain.id)?.judged)).map((chain) => ({ chain, derivedSeq }));
}
