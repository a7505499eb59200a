import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { ExecutionContext } from 'ava';
import kafkajs, { type Producer } from 'kafkajs';
import type { Files } from '../../replay/generate/files.js';
import type { Random } from '../../replay/generate/random.js';
import { kafkaClient } from './kafka.js';
import type { Place } from './service.js';
import { rows, withDuckDb } from './store.js';

export type SourceName = 'cloudtrail' | 'traces' | 'metrics';

/** A message, and what must become of it by how it was made. */
export interface Message {
  readonly source: SourceName;
  readonly value: Buffer | null;
  /** Rows of evidence that it holds; none in poison, which must be in quarantine, nor in a message without a value. */
  readonly rows: number;
}

const TABLES = { cloudtrail: 'cloudtrail_events', traces: 'spans', metrics: 'metric_points' } as const;

/** The files of a case as messages, counted without any of the product's code. */
export function messagesOf(files: Files): Message[] {
  return [...files].flatMap(([path, content]) => {
    const text = String(path.endsWith('.gz') ? gunzipSync(content) : content);
    if (path.startsWith('cloudtrail/'))
      return (JSON.parse(text).Records as object[]).map((record) => message('cloudtrail', JSON.stringify(record), 1));
    const lines = text.split('\n').filter((line) => line !== '');
    return path.startsWith('traces/')
      ? lines.map((line) => message('traces', line, lengths(line, 'spans')))
      : lines.map((line) => message('metrics', line, lengths(line, 'dataPoints')));
  });
}

export const message = (source: SourceName, text: string, rows: number): Message => ({
  source,
  value: Buffer.from(text),
  rows,
});

export const poison = (source: SourceName, number: number): Message => message(source, `{"poison ${number}`, 0);

export const tombstone = (source: SourceName): Message => ({ source, value: null, rows: 0 });

/** A CloudTrail record like no other. */
export function record(id: string, at = '2026-03-01T02:00:00Z'): Message {
  const text = JSON.stringify({
    eventVersion: '1.11',
    eventID: id,
    eventTime: at,
    eventSource: 's3.amazonaws.com',
    eventName: 'GetObject',
    awsRegion: 'eu-west-1',
    recipientAccountId: '111122223333',
    userIdentity: { type: 'AssumedRole', arn: 'arn:aws:sts::111122223333:assumed-role/reader/x' },
  });
  return message('cloudtrail', text, 1);
}

/** A span and a point hours after everything else: what happened before is awaited no longer, and its chains are sealed. */
export function closing(at: string): Message[] {
  const nanos = `${Date.parse(at)}000000`;
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'closing' } }] };
  const span = {
    traceId: '5b8efff798038103d269b633813fc60c',
    spanId: 'eee19b7ec3c1b174',
    name: 'last',
    kind: 1,
    startTimeUnixNano: nanos,
    endTimeUnixNano: nanos,
  };
  const gauge = { dataPoints: [{ timeUnixNano: nanos, asDouble: 1 }] };
  const spans = { resourceSpans: [{ resource, scopeSpans: [{ spans: [span] }] }] };
  const metrics = [{ name: 'go_goroutines', gauge }];
  const points = { resourceMetrics: [{ resource, scopeMetrics: [{ metrics }] }] };
  return [
    record('closing', at),
    message('traces', JSON.stringify(spans), 1),
    message('metrics', JSON.stringify(points), 1),
  ];
}

export function lengths(line: string, list: string): number {
  let sum = 0;
  JSON.parse(line, (key, value: unknown) => {
    if (key === list) sum += (value as unknown[]).length;
    return value;
  });
  return sum;
}

/** All that a test sent, by where it went: `topic/partition/offset`. */
export class Produced {
  readonly at = new Map<string, Message>();
  readonly #place: Place;
  readonly #partitions: number;
  readonly #producer: Producer;

  private constructor(place: Place, partitions: number) {
    this.#place = place;
    this.#partitions = partitions;
    this.#producer = kafkaClient(place.brokers).producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    });
  }

  /** Makes the topics, with settings of their own where a test asks for them. */
  static async start(
    t: Pick<ExecutionContext, 'teardown'>,
    place: Place,
    { partitions = 1, config = {} }: { partitions?: number; config?: Readonly<Record<string, string>> } = {},
  ): Promise<Produced> {
    const admin = kafkaClient(place.brokers).admin();
    await admin.connect();
    const { chains: _, ...topics } = place.topics;
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
    await admin.createTopics({
      topics: Object.values(topics).map((topic) => ({ topic, numPartitions: partitions, configEntries })),
      waitForLeaders: true,
    });
    await admin.disconnect();
    const started = new Produced(place, partitions);
    await started.#producer.connect();
    t.teardown(() => started.#producer.disconnect());
    return started;
  }

  /** Each message to a partition that chance names; the first where there is none. */
  async send(messages: readonly Message[], chance?: Random): Promise<void> {
    const groups = new Map<string, Message[]>();
    for (const each of messages) {
      const partition = chance ? Math.floor(chance.between(0, this.#partitions)) : 0;
      const key = `${this.#place.topics[each.source]}/${partition}`;
      groups.set(key, [...(groups.get(key) ?? []), each]);
    }
    for (const [key, group] of groups) for (const part of inParts(group)) await this.#sendPart(key, part);
  }

  async #sendPart(key: string, part: readonly Message[]): Promise<void> {
    const [topic, partition] = key.split('/');
    const [sent] = await this.#producer.send({
      topic: topic!,
      acks: -1,
      messages: part.map(({ value }) => ({ value, partition: Number(partition) })),
    });
    for (const [index, each] of part.entries()) this.at.set(`${key}/${Number(sent!.baseOffset) + index}`, each);
  }
}

/** A broker takes 1 MiB at once by default. */
const MOST_BYTES = 500_000;

function* inParts(messages: readonly Message[]): Generator<Message[]> {
  let part: Message[] = [];
  let bytes = 0;
  for (const each of messages) {
    const size = each.value?.length ?? 0;
    if (part.length > 0 && bytes + size > MOST_BYTES) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(each);
    bytes += size;
  }
  yield part;
}

/** What a store holds for each offset, asked of DuckDB alone. */
interface Held {
  readonly rows: ReadonlyMap<string, number>;
  readonly quarantined: ReadonlyMap<string, number>;
  readonly gaps: readonly string[];
}

async function heldBy(connection: DuckDBConnection): Promise<Held> {
  const counts = async (query: string) =>
    new Map((await rows(connection, query)).map(([name, count]) => [String(name), Number(count)]));
  const perTable = Object.values(TABLES).map((table) => `SELECT source_id, count(*) AS n FROM ${table} GROUP BY 1`);
  const gaps = await rows(
    connection,
    `SELECT topic || '/' || "partition" || '/' || unnest(range(from_offset, to_offset)) FROM kafka_gaps`,
  );
  return {
    rows: await counts(perTable.join(' UNION ALL ')),
    quarantined: await counts(`SELECT regexp_replace(origin, '#.*', ''), count(*) FROM quarantine GROUP BY 1`),
    gaps: gaps.map(([offset]) => String(offset)),
  };
}

/**
 * Counts by what was sent: every offset in exactly one of rows, quarantine and gaps (`gaps` names those that must be), a message that came several times in the rows of exactly
 * one of its offsets, and nothing else in the store.
 */
export async function accountedFor(
  t: ExecutionContext,
  db: string,
  sent: ReadonlyMap<string, Message>,
  gaps: ReadonlySet<string> = new Set(),
): Promise<void> {
  await withDuckDb(db, async (connection) => {
    const held = await heldBy(connection);
    t.deepEqual([...held.gaps].sort(), [...gaps].sort(), 'offsets in gaps');
    const carriers = new Map<string, { rows: number; stored: number[] }>();
    const wrong: string[] = [];
    for (const [offset, { value, rows: expected }] of sent) {
      const stored = held.rows.get(offset) ?? 0;
      const quarantined = held.quarantined.get(offset) ?? 0;
      if (gaps.has(offset) ? stored + quarantined > 0 : quarantined !== (value !== null && expected === 0 ? 1 : 0))
        wrong.push(`${offset}: ${stored} rows, ${quarantined} in quarantine`);
      if (expected === 0 || value === null || gaps.has(offset)) continue;
      const key = createHash('sha256').update(value).digest('hex');
      const carrier = carriers.get(key) ?? { rows: expected, stored: [] };
      if (stored > 0) carrier.stored.push(stored);
      carriers.set(key, carrier);
    }
    t.deepEqual(wrong, []);
    const lost = [...carriers.values()].filter(({ rows, stored }) => stored.length !== 1 || stored[0] !== rows);
    t.deepEqual(lost, [], 'messages that are not whole in the rows of one offset');
    const strange = [...held.rows.keys(), ...held.quarantined.keys()].filter((offset) => !sent.has(offset));
    t.deepEqual(strange, [], 'offsets that nobody sent');
    for (const table of Object.values(TABLES)) {
      const [[twice]] = (await rows(connection, `SELECT count(*) - count(DISTINCT evidence_id) FROM ${table}`)) as [
        [bigint],
      ];
      t.is(Number(twice), 0, `rows of ${table} that are there twice`);
    }
  });
}

/** Evidence and results of a store, without what says when and by which offset it came. */
const RELATIONS: Readonly<Record<string, string>> = {
  cloudtrail_events: hashed('SELECT * EXCLUDE (commit_seq, ingested_at, source_id) FROM cloudtrail_events'),
  spans: hashed('SELECT * EXCLUDE (commit_seq, ingested_at, source_id) FROM spans'),
  metric_points: hashed('SELECT * EXCLUDE (commit_seq, ingested_at, source_id) FROM metric_points'),
  findings: 'SELECT * EXCLUDE (derived_seq, recorded_at) FROM findings ORDER BY ALL',
  finding_evidence: 'SELECT * FROM finding_evidence ORDER BY ALL',
  chains: 'SELECT * EXCLUDE (revision, reason, recorded_at, supersedes) FROM chains ORDER BY ALL',
  chain_links: 'SELECT * EXCLUDE (revision) FROM chain_links ORDER BY ALL',
};

function hashed(query: string): string {
  return `SELECT count(*), sum(hash(r)::HUGEINT) FROM (${query}) r`;
}

export function knownOf(db: string): Promise<Record<string, unknown[][]>> {
  return withDuckDb(db, async (connection) => {
    const found: Record<string, unknown[][]> = {};
    for (const [relation, query] of Object.entries(RELATIONS)) found[relation] = await rows(connection, query);
    return found;
  });
}
