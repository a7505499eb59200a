import type { DuckDBConnection } from '@duckdb/node-api';
import { entityKey } from '../../shared/entity.js';
import { groupBy } from '../../shared/group.js';
import { appendRows } from '../../shared/store/append.js';
import type { Clusters } from './clusters.js';
import type { Interval } from './components.js';
import type { Gap } from './gaps.js';

/** What coverage says is missing of clusters and services. */
export async function loadGaps(connection: DuckDBConnection, clusters: Clusters): Promise<Gap[]> {
  const rows = await connection.runAndReadAll(
    `SELECT source, scope, service, instance, state, epoch_us(from_time)::DOUBLE, epoch_us(to_time)::DOUBLE FROM _store.gaps
     WHERE source = 'traces' OR instance IS NOT NULL ORDER BY ALL`,
  );
  return rows.getRows().map(([source, scope, service, instance, state, fromMicros, toMicros]): Gap => {
    const member = source === 'metrics' ? (instance as string) : null;
    return {
      subject:
        member === null
          ? entityKey('service', scope as string)
          : clusters.keyOf({ service: service as string | null, instance: member }),
      member,
      state: state as Gap['state'],
      fromMicros: fromMicros as number,
      toMicros: toMicros as number,
    };
  });
}

/** Notes what is missing now, and says of which subjects something else was noted before: from when to when. */
export async function noteGaps(
  connection: DuckDBConnection,
  gaps: readonly Gap[],
  run: bigint,
): Promise<Map<string, Interval>> {
  const rows = await connection.runAndReadAll(
    'SELECT subject, gaps FROM _store.known_gaps QUALIFY row_number() OVER (PARTITION BY subject ORDER BY run DESC) = 1',
  );
  const before = new Map(rows.getRows().map(([subject, text]) => [subject as string, text as string]));
  const now = new Map(
    [...groupBy(gaps, ({ subject }) => subject)].map(([subject, own]) => [subject, JSON.stringify(own)]),
  );
  const changed = new Map<string, Interval>();
  for (const subject of new Set([...before.keys(), ...now.keys()])) {
    const [old, fresh] = [before.get(subject) ?? '[]', now.get(subject) ?? '[]'];
    if (old !== fresh) changed.set(subject, extentOfChange(old, fresh));
  }
  await appendRows(
    connection,
    'known_gaps',
    [...changed.keys()].map((subject) => [run, subject, now.get(subject) ?? '[]']),
  );
  return changed;
}

/** From the first gap that only one of the two has to the last one. */
function extentOfChange(old: string, fresh: string): Interval {
  const [before, now] = [old, fresh].map((text) => (JSON.parse(text) as Gap[]).map((gap) => JSON.stringify(gap)));
  const different = [...before!.filter((gap) => !now!.includes(gap)), ...now!.filter((gap) => !before!.includes(gap))];
  const gaps = different.map((text) => JSON.parse(text) as Gap);
  return {
    fromMicros: Math.min(...gaps.map(({ fromMicros }) => fromMicros)),
    toMicros: Math.max(...gaps.map(({ toMicros }) => toMicros)),
  };
}
