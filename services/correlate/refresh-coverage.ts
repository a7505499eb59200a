import { type DuckDBConnection, DuckDBTimestampValue, type DuckDBValue, listValue } from '@duckdb/node-api';
import { groupBy } from '../../shared/group.js';
import { noteTrailHours, recordRecorded } from '../../shared/store/trail-coverage.js';
import type { Act } from './cloudtrail/act.js';
import { type CloudPart, cloudItems } from './cloudtrail/part.js';
import { type Recorded, recordedBy, type Trail } from './cloudtrail/recorded.js';
import { trailHistory } from './cloudtrail/trail-history.js';
import { type Dirty, readParts } from './refresh.js';

/**
 * Brings what `coverage` says of CloudTrail up to the newest commit: in which hours there are records of what, and, where an act on a trail is new,
 * what trails record. Such acts are rare, so all of them are read again.
 */
export async function refreshCoverage(
  connection: DuckDBConnection,
  cursor: bigint,
  dirty: Dirty,
  everything: boolean,
): Promise<void> {
  await noteTrailHours(connection, cursor);
  const changed = [...dirty.keys()].some((scope) => scope.startsWith(TRAIL));
  if (!changed && !everything && cursor > 0n) return;
  await recordRecorded(connection, recordedBy(await loadTrails(connection)).map(recordedRow));
}

const TRAIL = 'trail:';

/** The trails that somebody acted on, by the evidence that was correlated. */
export async function loadTrails(connection: DuckDBConnection): Promise<Trail[]> {
  const rows = await connection.runAndReadAll(
    `SELECT DISTINCT scope FROM _store.rollups WHERE starts_with(scope, '${TRAIL}') ORDER BY scope`,
  );
  const scopes = rows.getRows().map(([scope]) => scope as string);
  if (scopes.length === 0) return [];
  const acts: { scope: string; act: Act }[] = [];
  const all = [{ scopes, fromMicros: Number.NEGATIVE_INFINITY }];
  for await (const { bucket, parts } of readParts(connection, all, Number.NEGATIVE_INFINITY, Number.MAX_SAFE_INTEGER))
    for (const [scope, own] of groupBy(parts, (part) => part.scope))
      for (const item of cloudItems(
        bucket,
        own.map(({ part }) => part as CloudPart),
      ))
        if (item.type === 'act') acts.push({ scope, act: item });
  return [...groupBy(acts, ({ scope }) => scope)].map(([scope, own]) => ({
    arn: scope.slice(TRAIL.length),
    history: trailHistory(own.map(({ act }) => act)),
  }));
}

const timeOf = (micros: number | null): DuckDBTimestampValue | null =>
  micros === null ? null : new DuckDBTimestampValue(BigInt(micros));

function recordedRow(recorded: Recorded, number: number): DuckDBValue[] {
  const { account, region, cell, operations, fromMicros, toMicros, state, reason, trails, asked, since } = recorded;
  return [
    BigInt(number),
    account,
    region,
    cell.category,
    cell.resourceType,
    cell.resource,
    listValue([...cell.besides]),
    operations,
    timeOf(fromMicros),
    timeOf(toMicros),
    state,
    reason,
    listValue([...trails]),
    listValue([...asked]),
    since?.evidenceId ?? null,
  ];
}
