import { type DuckDBConnection, DuckDBTimestampValue, type DuckDBValue } from '@duckdb/node-api';
import { appendRows } from './append.js';
import { literal } from './literal.js';

/** One partition of one topic, as a source of evidence reads it. A topic that was deleted and made again has another id, and is another topic. */
export interface Partition {
  readonly source: string;
  readonly cluster: string;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
}

/**
 * Why offsets hold no message for us. `retention`: deleted before they were read. `bad_batch`: part of a compressed
 * batch that cannot be inflated, which is whole in quarantine at its first offset. `unknown`: missing from a topic that is neither compacted nor transactional.
 * The others lose nothing.
 */
export type GapCause =
  | 'retention'
  | 'bad_batch'
  | 'unknown'
  | 'compaction'
  | 'transaction_marker'
  | 'aborted_transaction';

/** The causes by which evidence may have been lost. */
export const LOSSES: readonly GapCause[] = ['retention', 'bad_batch', 'unknown'];

export interface Gap {
  readonly from: bigint;
  /** The first offset after it. */
  readonly to: bigint;
  readonly cause: GapCause;
}

/** Offsets that a batch accounts for: messages and gaps, from the expected offset to the next one. */
export interface Consumed extends Partition {
  readonly from: bigint;
  readonly next: bigint;
  readonly messages: number;
  readonly gaps: readonly Gap[];
  /** Broker time of the last message; undefined where there are only gaps. */
  readonly lastMillis: number | undefined;
}

/** Where reading goes on. */
export interface Position extends Partition {
  readonly next: bigint;
}

export const POSITION_TABLES: readonly string[] = [
  // A row a partition, brought up to date by each commit: [first_offset, next_offset) without its gaps is what was read.
  `CREATE TABLE IF NOT EXISTS _store.kafka_positions (source VARCHAR NOT NULL, cluster VARCHAR NOT NULL, topic VARCHAR NOT NULL, topic_id VARCHAR NOT NULL,
  "partition" INTEGER NOT NULL, first_offset BIGINT NOT NULL, next_offset BIGINT NOT NULL, messages BIGINT NOT NULL, last_at TIMESTAMP, commit_seq BIGINT NOT NULL)`,

  `CREATE TABLE IF NOT EXISTS _store.kafka_gaps (source VARCHAR NOT NULL, cluster VARCHAR NOT NULL, topic VARCHAR NOT NULL, topic_id VARCHAR NOT NULL,
  "partition" INTEGER NOT NULL, from_offset BIGINT NOT NULL, to_offset BIGINT NOT NULL, cause VARCHAR NOT NULL, from_time TIMESTAMP, to_time TIMESTAMP,
  recorded_at TIMESTAMP NOT NULL, commit_seq BIGINT NOT NULL)`,

  // Up to which recording revisions were sent on.
  'CREATE TABLE IF NOT EXISTS _store.published (derived_seq BIGINT NOT NULL)',
];

export const POSITION_VIEWS: readonly string[] = [
  'CREATE OR REPLACE VIEW kafka_positions AS SELECT * FROM _store.kafka_positions',
  'CREATE OR REPLACE VIEW kafka_gaps AS SELECT * FROM _store.kafka_gaps',
];

/** Somebody else moved a position meanwhile: two processes read one topic into one store. */
export class PositionMoved extends Error {}

/** Notes what a commit read, inside its transaction. Throws PositionMoved where the store does not stand at `from`. */
export async function recordConsumed(
  connection: DuckDBConnection,
  consumed: readonly Consumed[],
  commit: { readonly number: bigint; readonly at: DuckDBTimestampValue },
): Promise<void> {
  if (consumed.length === 0) return;
  const positions = await storedPositions(connection);
  const fresh = new Map<string, Moved>();
  const moved = new Map<string, Moved>();
  const gaps: DuckDBValue[][] = [];
  for (const each of consumed) {
    const key = keyOf(each).join('\n');
    const before = positions.get(key);
    if (before && before.next !== each.from)
      throw new PositionMoved(
        `${each.topic}/${each.partition} stands at offset ${before.next}, ${each.from} was expected`,
      );
    for (const { from, to, cause } of each.gaps)
      gaps.push([
        ...keyOf(each),
        from,
        to,
        cause,
        before?.lastAt ?? null,
        timeOf(each.lastMillis),
        commit.at,
        commit.number,
      ]);
    positions.set(key, { next: each.next, lastAt: timeOf(each.lastMillis) ?? before?.lastAt ?? null });
    const where = before && !fresh.has(key) ? moved : fresh;
    const { first = each.from, messages = 0 } = where.get(key) ?? {};
    where.set(key, { of: each, first, messages: messages + each.messages });
  }
  const standing = ({ of }: Moved) => positions.get(keyOf(of).join('\n'))!;
  const begun = [...fresh.values()].map((each): DuckDBValue[] => {
    const { next, lastAt } = standing(each);
    return [...keyOf(each.of), each.first, next, BigInt(each.messages), lastAt, commit.number];
  });
  await appendRows(connection, 'kafka_positions', begun);
  const advanced = [...moved.values()].map((each) => ({ ...each, ...standing(each) }));
  if (advanced.length > 0) await advance(connection, advanced, commit.number);
  await appendRows(connection, 'kafka_gaps', gaps);
}

/** What a commit reads of one partition. */
interface Moved {
  readonly of: Partition;
  readonly first: bigint;
  readonly messages: number;
}

const keyOf = ({ source, cluster, topic, topicId, partition }: Partition) => [
  source,
  cluster,
  topic,
  topicId,
  partition,
];

const timeOf = (millis: number | undefined) =>
  millis === undefined ? null : new DuckDBTimestampValue(BigInt(millis) * 1000n);

/** Where a partition stands. */
interface Standing {
  readonly next: bigint;
  readonly lastAt: DuckDBTimestampValue | null;
}

async function storedPositions(connection: DuckDBConnection): Promise<Map<string, Standing>> {
  const found = await connection.runAndReadAll(
    `SELECT concat_ws('\n', source, cluster, topic, topic_id, "partition"), next_offset, last_at FROM _store.kafka_positions`,
  );
  const rows = found.getRows() as [string, bigint, DuckDBTimestampValue | null][];
  return new Map(rows.map(([key, next, lastAt]) => [key, { next, lastAt }]));
}

async function advance(
  connection: DuckDBConnection,
  moved: readonly (Moved & Standing)[],
  commitSeq: bigint,
): Promise<void> {
  const values = moved.map(({ of, next, messages, lastAt }) => {
    const names = [of.source, of.cluster, of.topic, of.topicId].map(literal).join();
    const time = lastAt ? `make_timestamp(${lastAt.micros})` : 'NULL::TIMESTAMP';
    return `(${names}, ${of.partition}, ${next}, ${messages}, ${time})`;
  });
  await connection.run(
    `UPDATE _store.kafka_positions AS p SET next_offset = m.next, messages = p.messages + m.messages, last_at = m.last_at, commit_seq = ${commitSeq}
     FROM (VALUES ${values.join()}) m(source, cluster, topic, topic_id, part, next, messages, last_at)
     WHERE p.source = m.source AND p.cluster = m.cluster AND p.topic = m.topic AND p.topic_id = m.topic_id AND p."partition" = m.part`,
  );
}

/** Where a source's partitions stand. */
export async function positionsOf(connection: DuckDBConnection, source: string): Promise<Position[]> {
  const found = await connection.runAndReadAll(
    `SELECT cluster, topic, topic_id, "partition", next_offset FROM _store.kafka_positions WHERE source = $1 ORDER BY ALL`,
    [source],
  );
  return found.getRows().map(([cluster, topic, topicId, partition, next]) => ({
    source,
    cluster: cluster as string,
    topic: topic as string,
    topicId: topicId as string,
    partition: partition as number,
    next: next as bigint,
  }));
}
