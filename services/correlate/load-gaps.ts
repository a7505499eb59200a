import type { DuckDBConnection } from '@duckdb/node-api';
import { entityKey } from '../../shared/entity.js';
import type { Clusters } from './clusters.js';
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
