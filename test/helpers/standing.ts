import type { DuckDBConnection } from '@duckdb/node-api';
import { standing as standingIn } from '../../services/correlate/refold.js';
import { overRollups } from '../../services/correlate/refresh.js';
import type { Finding } from '../../shared/finding.js';

export type Standing = { readonly [Relation in 'findings' | 'chains' | 'links']: unknown };

/** What stands, history and the moments of recording apart. */
export async function standing(connection: DuckDBConnection): Promise<Standing> {
  const rows = async (query: string) => (await connection.runAndReadAll(query)).getRowObjectsJson();
  const said = await standingIn<Finding>(connection, overRollups, Number.NEGATIVE_INFINITY);
  return {
    findings: said.sort((a, b) => (a.id < b.id ? -1 : 1)),
    chains: await rows('SELECT * EXCLUDE (revision, recorded_at, reason, supersedes) FROM chains ORDER BY chain_id'),
    links: await rows(
      'SELECT * EXCLUDE (revision) FROM chain_links ORDER BY chain_id, cause_finding_id, effect_finding_id, rule',
    ),
  };
}
