import type { DuckDBConnection, DuckDBListValue } from '@duckdb/node-api';
import type { Finding } from '../../shared/finding.js';
import type { Surroundings } from './cause.js';
import { clockOffsets } from './clocks.js';
import { clustersOf, type Instance, type Member } from './clusters.js';
import type { Gaps } from './gaps.js';
import { readParts } from './refresh.js';
import {
  BUCKET_MICROS,
  CLOCK_MICROS,
  clockOf,
  type HopsPart,
  hopsOf,
  hopsPart,
  mergeHops,
  mergeWrites,
  scopes,
  WRITERS_LOOK_BACK_MICROS,
  type WritesPart,
  writersOf,
  writesPart,
} from './rollup.js';

const ETCD = `metric LIKE 'etcd\\_%' ESCAPE '\\' AND instance IS NOT NULL`;

/**
 * Notes which members there are, whom they see as peers, and what they export, from the commits after `cursor`. True where something was not known
 * yet: facts that rules and folds rest on have changed.
 */
export async function noteMetrics(connection: DuckDBConnection, cursor: bigint): Promise<boolean> {
  const noted = [
    `INSERT INTO _store.members SELECT service, instance, unnest([json_extract_string(attributes, '$.Local'), json_extract_string(attributes, '$.Remote')])
       FROM _store.metric_points WHERE commit_seq > ${cursor} AND metric = 'etcd_network_active_peers' AND instance IS NOT NULL
     EXCEPT SELECT * FROM _store.members`,
    `INSERT INTO _store.members SELECT DISTINCT service, instance, NULL::VARCHAR FROM _store.metric_points WHERE commit_seq > ${cursor} AND ${ETCD}
     EXCEPT SELECT * FROM _store.members`,
    `INSERT INTO _store.exports SELECT DISTINCT service, instance, metric FROM _store.metric_points WHERE commit_seq > ${cursor} AND ${ETCD}
     EXCEPT SELECT * FROM _store.exports`,
    `INSERT INTO _store.go_instances SELECT DISTINCT service, instance FROM _store.metric_points
       WHERE commit_seq > ${cursor} AND metric = 'go_gc_duration_seconds' AND instance IS NOT NULL
     EXCEPT SELECT * FROM _store.go_instances`,
  ];
  let changed = false;
  for (const statement of noted) {
    const { rowsChanged } = await connection.run(statement);
    changed ||= rowsChanged > 0;
  }
  return changed;
}

/** The etcd members in evidence, as their metrics name them. */
export async function loadMembers(connection: DuckDBConnection): Promise<Member[]> {
  const rows = await connection.runAndReadAll(
    `SELECT service, instance, list(DISTINCT peer ORDER BY peer) FROM _store.members GROUP BY ALL ORDER BY service, instance`,
  );
  return rows.getRows().map(([service, instance, peers]) => ({
    service: service as string | null,
    instance: instance as string,
    peerIds: (peers as DuckDBListValue).items.filter((peer): peer is string => typeof peer === 'string'),
  }));
}

/** The instances of Go programs that are no etcd members. */
export async function loadGoInstances(connection: DuckDBConnection): Promise<Instance[]> {
  const rows = await connection.runAndReadAll(
    `SELECT service, instance FROM _store.go_instances EXCEPT SELECT service, instance FROM _store.members ORDER BY service, instance`,
  );
  return rows
    .getRows()
    .map(([service, instance]) => ({ service: service as string | null, instance: instance as string }));
}

/** What rules may ask beside these findings. */
export async function surroundingsOf(
  connection: DuckDBConnection,
  members: readonly Member[],
  gaps: Gaps,
  findings: readonly Finding[],
): Promise<Surroundings> {
  const clusters = clustersOf(members);
  const from = Math.min(...findings.map(({ startedMicros }) => startedMicros));
  const to = Math.max(...findings.map(({ endedMicros }) => endedMicros));
  const writes = await loadWrites(connection, from - WRITERS_LOOK_BACK_MICROS - BUCKET_MICROS, to);
  const offsetsIn = await loadClocks(connection, clockOf(from) - CLOCK_MICROS, clockOf(to) + CLOCK_MICROS);
  const exported = await loadExports(connection);
  const keyOf = new Map(members.map((member) => [member, clusters.keyOf(member)]));
  return {
    gaps,
    writers: (cluster, fromMicros, toMicros) => writersOf(writes, clusters, gaps, cluster, fromMicros, toMicros),
    exports: (cluster, metric) =>
      members.some((member) => keyOf.get(member) === cluster && exported.has(exportName(member, metric))),
    members: (cluster) => members.filter((member) => keyOf.get(member) === cluster).map(({ instance }) => instance),
    membersWith: (kind, cluster, fromMicros, toMicros) =>
      findings
        .filter(
          (one) =>
            one.kind === kind &&
            one.subject === cluster &&
            one.startedMicros <= toMicros &&
            one.endedMicros >= fromMicros,
        )
        .flatMap(({ member }) => member ?? []),
    clockOffset: (subject, atMicros) => offsetsIn(clockOf(atMicros)).get(subject) ?? 0,
  };
}

async function loadWrites(connection: DuckDBConnection, fromMicros: number, toMicros: number): Promise<WritesPart> {
  const whole = writesPart();
  for await (const { parts } of readParts(
    connection,
    [{ scopes: [scopes.writes], fromMicros }],
    fromMicros,
    toMicros + 1,
  ))
    for (const { part } of parts) mergeWrites(whole, part as WritesPart);
  return whole;
}

/** Clocks drift: each hour's are compared by the calls in it and in those beside it. */
async function loadClocks(
  connection: DuckDBConnection,
  fromMicros: number,
  toMicros: number,
): Promise<(hour: number) => ReadonlyMap<string, number>> {
  const byHour = new Map<number, HopsPart>();
  for await (const { bucket, parts } of readParts(
    connection,
    [{ scopes: [scopes.hops], fromMicros }],
    fromMicros,
    toMicros + 1,
  )) {
    const whole = hopsPart();
    for (const { part } of parts) mergeHops(whole, part as HopsPart);
    byHour.set(bucket, whole);
  }
  const known = new Map<number, ReadonlyMap<string, number>>();
  return (hour) => {
    const before = known.get(hour);
    if (before) return before;
    const around = [hour - CLOCK_MICROS, hour, hour + CLOCK_MICROS].flatMap((one) => byHour.get(one) ?? []);
    const offsets = clockOffsets(around.flatMap(hopsOf));
    known.set(hour, offsets);
    return offsets;
  };
}

/** Which metrics each member exports, for rules that stand in where one is missing. */
async function loadExports(connection: DuckDBConnection): Promise<ReadonlySet<string>> {
  const rows = await connection.runAndReadAll('SELECT service, instance, metric FROM _store.exports');
  return new Set(
    rows
      .getRows()
      .map(([service, instance, metric]) =>
        exportName({ service: service as string | null, instance: instance as string }, metric as string),
      ),
  );
}

const exportName = ({ service, instance }: Instance, metric: string): string =>
  `${service ?? ''}\n${instance}\n${metric}`;
