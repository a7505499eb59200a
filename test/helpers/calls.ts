import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { ExecutionContext } from 'ava';
import { type Call, record } from '../../replay/generate/cloudtrail.js';
import { random } from '../../replay/generate/random.js';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import { type Correlated, correlate } from '../../services/correlate/index.js';
import type { CloudTrailRow, SimulationRow, SpanRow } from '../../shared/evidence.js';
import { emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { temporaryFolder } from './store.js';

/** The records that CloudTrail writes of these calls, with what else stands in them, as they are decoded. */
export function rowsOf(
  calls: readonly (Call & { readonly more?: Readonly<Record<string, unknown>> })[],
): CloudTrailRow[] {
  const chance = random(1);
  const Records = calls.map((call) => ({ ...(record(call, chance) as object), ...call.more }));
  const context = { origin: 'calls', gunzip: (bytes: Uint8Array) => gunzipSync(bytes) };
  return cloudtrail.decode(Buffer.from(JSON.stringify({ Records })), context).rows;
}

type Row = CloudTrailRow | SimulationRow | SpanRow;

const sourceOf = (row: Row) => ('simulatedAtMicros' in row ? 'iam' : 'spanId' in row ? 'traces' : 'cloudtrail');

/** Commits these batches one after the other, asks after each, and then what the store says. */
export async function told<Answer>(
  t: ExecutionContext,
  batches: readonly (readonly Row[])[],
  ask: (connection: DuckDBConnection, correlated: Correlated) => Promise<Answer> | Answer,
): Promise<Answer> {
  const store: Store = await openStore(join(temporaryFolder(t), 'told.duckdb'));
  try {
    let correlated: Correlated | undefined;
    for (const [index, offered] of batches.entries()) {
      const batch = emptyBatch();
      for (const row of offered) store.add(batch, sourceOf(row), 'a file', row);
      await store.commit(batch);
      correlated = await correlate(store, { endOfInput: index === batches.length - 1 });
    }
    return await ask(store.connection, correlated!);
  } finally {
    store.close();
  }
}
