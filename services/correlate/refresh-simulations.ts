import type { DuckDBConnection } from '@duckdb/node-api';
import type { CloudPart } from './cloudtrail/part.js';
import { DESTRUCTIVE } from './cloudtrail/read-act.js';
import { cloudScopes } from './cloudtrail/scopes.js';
import { bucketOf } from './rollup.js';

/** Brings new simulations of destructive actions into the rollups of the principals that they are about. */
export async function refreshSimulations(
  connection: DuckDBConnection,
  cursor: bigint,
  partAt: (scope: string, bucket: number) => CloudPart,
): Promise<void> {
  const rows = await connection.runAndReadAll(
    `SELECT left(body_hash, 32), epoch_us(simulated_at)::DOUBLE, principal_arn, action, resource, decision = 'allowed', policies, missing_context
     FROM _store.iam_simulations WHERE commit_seq > ${cursor} AND list_contains(string_split($destructive, ' '), lower(action))`,
    { destructive: [...ACTIONS.keys()].join(' ') },
  );
  for (const [id, at, principal, action, resource, allowed, policies, missing] of rows.getRows() as Row[])
    partAt(cloudScopes.rights(principal), bucketOf(at)).simulations.push({
      type: 'simulation',
      atMicros: at,
      action: ACTIONS.get(action.toLowerCase())!,
      resource,
      allowed,
      policies: JSON.parse(policies) as string[],
      missing: JSON.parse(missing) as string[],
      evidenceId: id,
    });
}

type Row = [string, number, string, string, string, boolean, string, string];

/** The simulator takes a name in any case, and gives it back as it was asked. */
const ACTIONS: ReadonlyMap<string, string> = new Map(DESTRUCTIVE.map((action) => [action.toLowerCase(), action]));
