import type { DuckDBConnection } from '@duckdb/node-api';
import type { Newest } from '../lateness.js';

/** Where each source stands: a function of the evidence up to a commit. */
export interface Watermarks {
  readonly newest: readonly Newest[];
  /** Nothing more is to come: a replay was complete, and nothing came after it. */
  readonly ended: boolean;
}

/** The source of the row that says that the input ended at its commit. */
export const END_OF_INPUT = 'end of input';

/** Times that are impossible say nothing of how far a source has come. */
const PLAUSIBLE = `(flags IS NULL OR NOT regexp_matches(flags, '\\b(future_time|impossible_time|zero_time)\\b'))`;

const SOURCES: Readonly<Record<string, { table: string; scope: string; time: string }>> = {
  cloudtrail: { table: 'cloudtrail_events', scope: `concat_ws('/', account_id, region)`, time: 'event_time' },
  traces: { table: 'spans', scope: `concat_ws('/', scope, service)`, time: 'start_time' },
  metrics: { table: 'metric_points', scope: `concat_ws('/', service, instance)`, time: 'time' },
};

/** So many rows are kept before those that later ones have passed are dropped. */
const ROWS_KEPT = 50_000;

/**
 * Reads the evidence of the commits that it has not read yet, up to `commitSeq`, and keeps the running maxima, inside the caller's transaction.
 * `endOfInput` notes that this commit was the last.
 */
export async function advanceWatermarks(
  connection: DuckDBConnection,
  commitSeq: bigint,
  endOfInput: boolean,
): Promise<Watermarks> {
  const read = await readUpTo(connection);
  if (commitSeq > read) await raise(connection, read, commitSeq);
  if (endOfInput && !(await hasEnded(connection, commitSeq)))
    await connection.run(`INSERT INTO _store.watermarks VALUES ('${END_OF_INPUT}', '', NULL, ${commitSeq})`);
  return { newest: await newestOf(connection), ended: await hasEnded(connection, commitSeq) };
}

async function readUpTo(connection: DuckDBConnection): Promise<bigint> {
  const found = await connection.runAndReadAll(
    `SELECT coalesce(max(commit_seq), 0) FROM _store.watermarks WHERE source <> '${END_OF_INPUT}'`,
  );
  return found.getRows()[0]![0] as bigint;
}

/** A row for each scope that got newer, and one that says how far was read. */
async function raise(connection: DuckDBConnection, read: bigint, commitSeq: bigint): Promise<void> {
  const seen = Object.entries(SOURCES).map(
    ([source, { table, scope, time }]) =>
      `SELECT '${source}' AS source, ${scope} AS scope, max(${time}) AS greatest FROM _store.${table}
       WHERE commit_seq > ${read} AND commit_seq <= ${commitSeq} AND ${PLAUSIBLE} GROUP BY ALL`,
  );
  await connection.run(
    `INSERT INTO _store.watermarks SELECT s.source, s.scope, s.greatest, ${commitSeq} FROM (${seen.join(' UNION ALL ')}) s
     LEFT JOIN (${NEWEST}) w ON w.source = s.source AND w.scope = s.scope WHERE w.greatest IS NULL OR s.greatest > w.greatest
     UNION ALL SELECT '', '', NULL, ${commitSeq}`,
  );
  await dropPassed(connection, commitSeq);
}

const NEWEST = `SELECT source, scope, max(greatest) AS greatest FROM _store.watermarks WHERE greatest IS NOT NULL GROUP BY ALL`;

/** Maxima only grow: what a later row has passed is needed no more, and the table stays small. */
async function dropPassed(connection: DuckDBConnection, commitSeq: bigint): Promise<void> {
  const found = await connection.runAndReadAll('SELECT count(*) FROM _store.watermarks');
  if ((found.getRows()[0]![0] as bigint) < ROWS_KEPT) return;
  await connection.run(
    `DELETE FROM _store.watermarks w WHERE commit_seq < ${commitSeq} AND (greatest IS NULL
     OR greatest < (SELECT max(greatest) FROM _store.watermarks n WHERE n.source = w.source AND n.scope = w.scope))`,
  );
}

/** The newest plausible event time of each scope, as far as it was read. */
export async function newestOf(connection: DuckDBConnection): Promise<Newest[]> {
  const found = await connection.runAndReadAll(
    `SELECT source, scope, epoch_us(greatest) FROM (${NEWEST}) ORDER BY source, scope`,
  );
  return found.getRows().map(([source, scope, at]) => ({
    source: source as string,
    scope: scope as string,
    atMicros: Number(at),
  }));
}

async function hasEnded(connection: DuckDBConnection, commitSeq: bigint): Promise<boolean> {
  const found = await connection.runAndReadAll(
    `SELECT 1 FROM _store.watermarks WHERE source = '${END_OF_INPUT}' AND commit_seq = ${commitSeq}`,
  );
  return found.currentRowCount > 0;
}
