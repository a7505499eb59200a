import { buildChains } from '../../services/correlate/chains.js';
import { type Change, type Recorded, record } from '../../services/correlate/record.js';
import type { Chain, Verdict } from '../../shared/chain.js';
import type { EvidenceRef, Finding } from '../../shared/finding.js';
import type { Store } from '../../shared/store/store.js';
import { link } from './findings.js';
import { rows } from './store.js';

/** The chains of findings that are linked so: cause, effect, verdict. A chain's id is its root's after `chain of `. */
export function chainsOf(
  findings: readonly Finding[],
  pairs: readonly (readonly [string, string, Verdict?])[],
): Chain[] {
  const named = (id: string) => findings.find((finding) => finding.id === id)!;
  const links = pairs.map(([cause, effect, verdict = 'LIKELY']) => link(named(cause), named(effect), verdict));
  return buildChains(findings, links, (text) => `chain of ${text.split('\n')[1]}`);
}

/** Records these as all that the evidence comes to. */
export async function recordAll(
  store: Store,
  findings: readonly Finding[],
  chains: readonly Chain[],
  { endOfInput = false, ruleset = 'rules' } = {},
): Promise<Recorded> {
  return record(store, () => changeOfAll(store, { findings, chains }), ruleset, { endOfInput });
}

/** The change that makes these the only findings and chains of a store. */
async function changeOfAll(
  { connection }: Store,
  { findings, chains }: Pick<Change, 'findings' | 'chains'>,
): Promise<Change> {
  const missing = async (query: string, kept: readonly { readonly id: string }[]) => {
    const ids = new Set(kept.map(({ id }) => id));
    return (await rows(connection, query)).map(([id]) => id as string).filter((id) => !ids.has(id));
  };
  return {
    findings,
    goneFindings: await missing('SELECT finding_id FROM findings ORDER BY finding_id', findings),
    chains,
    goneChains: await missing('SELECT chain_id FROM chains ORDER BY chain_id', chains),
  };
}

export const change = (given: Partial<Change>): Change => ({
  findings: [],
  goneFindings: [],
  chains: [],
  goneChains: [],
  ...given,
});

export interface Told {
  readonly chain: string;
  readonly revision: number;
  readonly state: string;
  readonly reason: string;
}

/** Every revision, in the order in which they were recorded. */
export async function told(store: Pick<Store, 'connection'>): Promise<Told[]> {
  const found = await rows(
    store.connection,
    'SELECT chain_id, revision, state, reason FROM _store.chain_revisions ORDER BY derived_seq, state = $$withdrawn$$, chain_id, revision',
  );
  return found.map(([chain, revision, state, reason]) => ({
    chain: String(chain),
    revision: Number(revision),
    state: String(state),
    reason: String(reason),
  }));
}

export const ref = (table: EvidenceRef['table'], bodyHash: string): EvidenceRef => ({
  table,
  id: bodyHash.slice(0, 32),
  role: 'member',
});
