import type { DuckDBConnection } from '@duckdb/node-api';
import type { EvidenceTableName, Finding } from '../../shared/finding.js';
import { oneOf } from '../../shared/store/derived.js';
import type { Arrival } from './reasons.js';

const TIMES: Readonly<Record<EvidenceTableName, string>> = {
  cloudtrail_events: 'event_time',
  spans: 'start_time',
  metric_points: 'time',
  iam_simulations: 'simulated_at',
};

/** What of these findings' evidence came with a later commit than this one, and how long after it happened. */
export async function arrivalsAfter(
  connection: DuckDBConnection,
  findings: readonly Finding[],
  commitSeq: number,
): Promise<Arrival[]> {
  const arrivals: Arrival[] = [];
  for (const [table, time] of Object.entries(TIMES) as [EvidenceTableName, string][]) {
    const came = await cameAfter(connection, table, time, idsIn(findings, table), commitSeq);
    for (const { id, evidence } of findings) {
      const own = evidence.flatMap((ref) => (ref.table === table ? (came.get(ref.id) ?? []) : []));
      if (own.length === 0) continue;
      arrivals.push({
        findingId: id,
        table,
        lateMicros: Math.max(...own.map(({ lateMicros }) => lateMicros)),
        ingestedMicros: Math.max(...own.map(({ ingestedMicros }) => ingestedMicros)),
      });
    }
  }
  return arrivals;
}

const idsIn = (findings: readonly Finding[], table: EvidenceTableName): string[] =>
  findings.flatMap(({ evidence }) => evidence.filter((ref) => ref.table === table).map(({ id }) => id));

async function cameAfter(
  connection: DuckDBConnection,
  table: EvidenceTableName,
  time: string,
  ids: readonly string[],
  commitSeq: number,
) {
  if (ids.length === 0) return new Map<string, { lateMicros: number; ingestedMicros: number }>();
  const found = await connection.runAndReadAll(
    `SELECT left(body_hash, 32), epoch_us(ingested_at) - epoch_us(${time}), epoch_us(ingested_at) FROM _store.${table}
     WHERE commit_seq > ${commitSeq} AND ${oneOf('left(body_hash, 32)')}`,
    [JSON.stringify(ids)],
  );
  return new Map(
    found
      .getRows()
      .map(([id, late, ingested]) => [id as string, { lateMicros: Number(late), ingestedMicros: Number(ingested) }]),
  );
}
