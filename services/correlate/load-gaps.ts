import type { DuckDBConnection } from '@duckdb/node-api';
import { entityKey } from '../../shared/entity.js';
import type { Clusters } from './clusters.js';
import type { Gap } from './gaps.js';

/** What evidence is about: a member's scrapes, a service's spans. */
export interface Scope {
  readonly source: string;
  readonly scope: string;
  readonly service: string | null;
  readonly instance: string | null;
}

/** What is missing of clusters and services. */
export async function loadGaps(connection: DuckDBConnection, clusters: Clusters): Promise<Gap[]> {
  const rows = await connection.runAndReadAll(
    `SELECT source, scope, service, instance, state, epoch_us(from_time)::DOUBLE, epoch_us(to_time)::DOUBLE FROM _store.gaps
     WHERE source = 'traces' OR instance IS NOT NULL ORDER BY ALL`,
  );
  return rows.getRows().map(([source, scope, service, instance, state, fromMicros, toMicros]): Gap => {
    const of = { source, scope, service, instance } as Scope;
    return {
      subject: subjectOf(of, clusters),
      member: of.source === 'metrics' ? of.instance : null,
      state: state as Gap['state'],
      fromMicros: fromMicros as number,
      toMicros: toMicros as number,
    };
  });
}

/** The entity key of whom a gap is about. */
export function subjectOf({ source, scope, service, instance }: Scope, clusters: Clusters): string {
  return source === 'metrics' ? clusters.keyOf({ service, instance: instance! }) : entityKey('service', scope);
}
