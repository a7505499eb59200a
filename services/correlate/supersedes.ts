import type { Chain } from '../../shared/chain.js';

/**
 * Of other chains the one that shares the most findings with this one; of equal ones that with the smaller id; none where nothing is shared. A chain
 * that begins to stand supersedes such a one among those that are withdrawn with it. History only: nothing is judged by it.
 */
export function mostShared<Other extends { readonly chain: Chain }>(
  chain: Chain,
  others: readonly Other[],
): Other | undefined {
  const members = new Set(chain.members);
  return others
    .map((other) => ({ other, shared: other.chain.members.filter((id) => members.has(id)).length }))
    .filter(({ shared }) => shared > 0)
    .sort((a, b) => b.shared - a.shared || (a.other.chain.id < b.other.chain.id ? -1 : 1))[0]?.other;
}
