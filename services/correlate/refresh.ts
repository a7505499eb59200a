import { deserialize, serialize } from 'node:v8';
import {
  blobValue,
  type DuckDBBlobValue,
  type DuckDBConnection,
  type DuckDBListValue,
  DuckDBTimestampValue,
  type DuckDBValue,
} from '@duckdb/node-api';
import { appendRows } from '../../shared/store/append.js';
import { streamed } from '../../shared/store/chunks.js';
import { literal } from '../../shared/store/literal.js';
import { type CloudPart, cloudPart } from './cloudtrail/part.js';
import { isCloudScope } from './cloudtrail/scopes.js';
import type { Input } from './item.js';
import { type Spans, type StoredSpan, tracePieces } from './pieces.js';
import { type Bucket, type Kept, type Scoped, type Since, sinceThen } from './refold.js';
import { refreshCloudTrail } from './refresh-cloudtrail.js';
import { refreshSimulations } from './refresh-simulations.js';
import {
  addHops,
  addRequest,
  addWrite,
  BUCKET_MICROS,
  bucketOf,
  CLOCK_MICROS,
  clockOf,
  type HopsPart,
  hopsPart,
  type MemberPart,
  memberPart,
  type Part,
  SEGMENT_MICROS,
  type ServicePart,
  scopes,
  servicePart,
  type WritesPart,
  writesPart,
} from './rollup.js';
import type { SeenTraces } from './seen-traces.js';
import { readTrace, type TraceItems } from './traces.js';

/** 2006: a span that says it is older (or has no time, which reads as 1970) says nothing of when its service was watched. */
const POSSIBLE_FROM_MICROS = 1_136_073_600_000_000;

/** Buckets by scope. */
export type Dirty = Map<string, Set<number>>;

/**
 * Brings the rollups up to the newest commit: reads the evidence of the commits after `cursor`, and of older evidence only the traces that it belongs
 * to. Evidence rows carry their commit, so what is dirty is in the store from the moment it is committed: a crash loses no mark.
 */
export async function refresh(
  { reader, writer }: Connections,
  seen: SeenTraces,
  cursor: bigint,
  run: bigint,
  inputs: readonly Input[],
): Promise<Dirty> {
  const dirty: Dirty = new Map();
  const put = async (parts: Parts, whole: boolean) => {
    let rows: DuckDBValue[][] = [];
    for (const [scope, bucket, part] of parts.taken()) {
      rows.push([scope, BigInt(bucket), run, whole, blobValue(serialize(part))]);
      dirty.set(scope, (dirty.get(scope) ?? new Set<number>()).add(bucket));
      if (rows.length < ROLLUPS_AT_ONCE) continue;
      await appendRows(writer, 'rollups', rows);
      rows = [];
    }
    await appendRows(writer, 'rollups', rows);
  };
  const parts = new Parts((full) => put(full, false));
  const orphans = new Parentless();
  const spans = { connection: reader, cursor, seen };
  const stale = await refreshTraces(spans, parts, orphans);
  await refreshScrapes(reader, cursor, inputs, parts);
  await refreshCloudTrail(reader, cursor, parts);
  await refreshSimulations(reader, cursor, (scope, bucket) => parts.at(scope, bucket) as CloudPart);
  await put(parts, false);
  for (const places of inGroups([...stale.values()].sort(byTime), STALE_AT_ONCE))
    await put(await rebuild(spans, places), true);
  await appendRows(writer, 'parentless', orphans.rows());
  return dirty;
}

/** A part may hold a thousand acts: so many are serialized and appended in one go. */
const ROLLUPS_AT_ONCE = 500;

/** Two connections to one store: a connection that streams can do nothing else, so what is read from the one is appended by the other meanwhile. */
export interface Connections {
  /** Sees what is committed: evidence. */
  readonly reader: DuckDBConnection;
  /** In whose transaction everything is written, and seen. */
  readonly writer: DuckDBConnection;
}

/** The parts of some scopes, bucket by bucket in the order of time. */
export async function* readParts(
  connection: DuckDBConnection,
  since: readonly Since[],
  fromMicros: number,
  toMicros: number,
): AsyncGenerator<Bucket<Part>> {
  const chunks = streamed(
    connection,
    `SELECT bucket::DOUBLE, scope, whole, payload FROM _store.rollups WHERE ${sinceThen('bucket', since, fromMicros)} AND bucket < ${toMicros}
     ORDER BY bucket, scope, run, whole`,
  );
  const wanted = new Set(since.flatMap(({ scopes: some }) => some));
  let current: { bucket: number; parts: Scoped<Part>[] } | undefined;
  for await (const chunk of chunks) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const bucket = c[0]![row] as number;
      const scope = c[1]![row] as string;
      if (!wanted.has(scope)) continue;
      if (current && current.bucket !== bucket) {
        yield current;
        current = undefined;
      }
      current ??= { bucket, parts: [] };
      if (c[2]![row] as boolean) current.parts = current.parts.filter((part) => part.scope !== scope);
      current.parts.push({ scope, part: deserialize((c[3]![row] as DuckDBBlobValue).bytes) as Part });
    }
  }
  if (current) yield current;
}

/** Folds over rollups. */
export const overRollups: Kept<Part> = {
  folded: 'folded',
  states: 'fold_states',
  segmentMicros: SEGMENT_MICROS,
  read: readParts,
  async next(connection, since, fromMicros) {
    const rows = await connection.runAndReadAll(
      `SELECT min(bucket)::DOUBLE FROM _store.rollups WHERE ${sinceThen('bucket', since, fromMicros)}`,
    );
    return (rows.getRows()[0]![0] as number | null) ?? undefined;
  },
};

/** What a commit adds is one part a bucket; what a whole archive adds is several, so that little of it is held. */
const MOST_ADDED = 100_000;

/** Parts to be written, by scope and bucket. */
class Parts {
  readonly #parts = new Map<string, Map<number, Part>>();
  readonly #full: ((full: Parts) => Promise<void>) | undefined;
  #added = 0;

  constructor(full?: (full: Parts) => Promise<void>) {
    this.#full = full;
  }

  /** To be called after so many additions: what is held is let go when it is much. */
  async added(count: number): Promise<void> {
    this.#added += count;
    if (this.#added >= MOST_ADDED) await this.#full?.(this);
  }

  at(scope: string, bucket: number): Part {
    const buckets = this.#parts.get(scope) ?? new Map<number, Part>();
    this.#parts.set(scope, buckets);
    const known = buckets.get(bucket);
    if (known) return known;
    const fresh = emptyPart(scope);
    buckets.set(bucket, fresh);
    return fresh;
  }

  /** All that is held, which is let go. */
  *taken(): Generator<[scope: string, bucket: number, part: Part]> {
    for (const [scope, buckets] of this.#parts) {
      for (const [bucket, part] of buckets) yield [scope, bucket, part];
      this.#parts.delete(scope);
    }
    this.#added = 0;
  }
}

function emptyPart(scope: string): Part {
  if (scope === scopes.writes) return writesPart();
  if (scope === scopes.hops) return hopsPart();
  if (isCloudScope(scope)) return cloudPart();
  return scope.startsWith('member:') ? memberPart() : servicePart();
}

/* ---- traces ---- */

/** One thing that a trace says, and where it goes. */
interface Entry {
  readonly scope: string;
  readonly bucket: number;
  readonly says: unknown;
  readonly add: (part: Part) => void;
}

interface Place {
  readonly scope: string;
  readonly bucket: number;
}

const placeOf = (scope: string, bucket: number): string => `${scope}\n${bucket}`;

/**
 * Adds what new spans say. Where a late span changes what its trace said before, the buckets in which it said so are returned: they are stale, and are
 * made anew from evidence.
 */
async function refreshTraces(spans: Spans, parts: Parts, orphans: Parentless): Promise<Map<string, Place>> {
  const stale = new Map<string, Place>();
  const isNew = (span: StoredSpan) => span.isNew;
  const isFirst = spans.cursor === 0n;
  await touch(spans.connection, isFirst ? 'false' : `commit_seq > ${spans.cursor}`);
  for await (const piece of tracePieces(spans, isFirst ? 'all' : isNew)) {
    const before = piece.filter((span) => !isNew(span));
    const said = new Map<string, number>();
    const places = new Map<string, Place>();
    const [earlier, now] = [before.length > 0 ? readTrace(before) : undefined, readTrace(piece)];
    orphans.add(now, 1);
    if (earlier) {
      orphans.add(earlier, -1);
      for (const entry of entriesOf(earlier)) {
        const text = textOf(entry);
        said.set(text, (said.get(text) ?? 0) + 1);
        places.set(text, entry);
      }
    }
    for (const entry of entriesOf(now)) {
      const text = before.length > 0 ? textOf(entry) : '';
      const count = said.get(text) ?? 0;
      if (count > 0) said.set(text, count - 1);
      else entry.add(parts.at(entry.scope, entry.bucket));
    }
    for (const [text, count] of said) {
      const { scope, bucket } = places.get(text)!;
      if (count > 0) stale.set(placeOf(scope, bucket), { scope, bucket });
    }
    for (const span of piece)
      if (isNew(span)) watched(parts.at(span.service, bucketOf(span.startMicros)) as ServicePart, span);
    await parts.added(piece.length);
  }
  return stale;
}

const MINUTE_MICROS = 60_000_000;

/** Spans whose parent is not in evidence, by service and minute: what new spans add to, or take from, their number. */
class Parentless {
  readonly #counts = new Map<string, { own: number; caller: number }>();

  add({ parentless }: TraceItems, times: 1 | -1): void {
    for (const { service, item } of parentless) {
      const key = `${service}\n${Math.floor(item.atMicros / MINUTE_MICROS) * MINUTE_MICROS}`;
      const known = this.#counts.get(key) ?? { own: 0, caller: 0 };
      known[item.parent] += times;
      this.#counts.set(key, known);
    }
  }

  rows(): DuckDBValue[][] {
    return [...this.#counts]
      .filter(([, { own, caller }]) => own !== 0 || caller !== 0)
      .map(([key, { own, caller }]) => {
        const [service, minute] = key.split('\n') as [string, string];
        return [
          service.slice('service:'.length),
          new DuckDBTimestampValue(BigInt(minute)),
          BigInt(own),
          BigInt(caller),
        ];
      });
  }
}

async function touch(connection: DuckDBConnection, which: string): Promise<void> {
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE touched AS SELECT trace_id, min(start_unix_nano // 1000)::BIGINT AS lo, max(start_unix_nano // 1000)::BIGINT AS hi
     FROM _store.spans WHERE ${which} GROUP BY trace_id`,
  );
}

const textOf = ({ scope, bucket, says }: Entry): string => JSON.stringify([scope, bucket, says]);

function watched(part: ServicePart, span: StoredSpan): void {
  if (span.startMicros >= POSSIBLE_FROM_MICROS) part.firstMicros = Math.min(part.firstMicros, span.startMicros);
}

function* entriesOf({ requests, attempts, failures, writes, hops }: TraceItems): Generator<Entry> {
  for (const { service, item } of requests)
    yield at(service, bucketOf(item.atMicros), item, (part) => addRequest(part as ServicePart, item));
  for (const { service, item } of attempts)
    yield at(service, bucketOf(item.atMicros), item, (part) => (part as ServicePart).attempts.push(item));
  for (const { service, item } of failures)
    yield at(service, bucketOf(item.atMicros), item, (part) => (part as ServicePart).failures.push(item));
  for (const { service, item } of writes)
    yield at(scopes.writes, bucketOf(item.atMicros), [service, item], (part) =>
      addWrite(part as WritesPart, service, item),
    );
  for (const hop of hops)
    yield at(scopes.hops, clockOf(hop.sentMicros), hop, (part) =>
      addHops(part as HopsPart, `${hop.caller}\n${hop.callee}`, [hop]),
    );
}

const at = (scope: string, bucket: number, says: unknown, add: Entry['add']): Entry => ({ scope, bucket, says, add });

/** So many stale buckets are made anew at once. */
const STALE_AT_ONCE = 1_000;

function* inGroups<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

const byTime = (a: Place, b: Place): number => a.bucket - b.bucket;

/** Stale buckets, made anew from all traces that have a span in them. */
async function rebuild(spans: Spans, places: readonly Place[]): Promise<Parts> {
  const stale = new Set(places.map(({ scope, bucket }) => placeOf(scope, bucket)));
  const windows = windowsOf(places);
  await touch(
    spans.connection,
    windows
      .flatMap(([from, to]) =>
        ['start_time', 'end_time'].map(
          (column) => `${column} BETWEEN make_timestamp(${from}) AND make_timestamp(${to})`,
        ),
      )
      .join(' OR '),
  );
  const inside = (micros: number) => windows.some(([from, to]) => micros >= from && micros <= to);
  const isTouched = ({ startMicros, endMicros }: StoredSpan) => inside(startMicros) || inside(endMicros);
  const parts = new Parts();
  for (const { scope, bucket } of places) parts.at(scope, bucket); // one that says nothing any more is empty
  for await (const piece of tracePieces(spans, isTouched)) {
    for (const entry of entriesOf(readTrace(piece)))
      if (stale.has(placeOf(entry.scope, entry.bucket))) entry.add(parts.at(entry.scope, entry.bucket));
    for (const span of piece) {
      const bucket = bucketOf(span.startMicros);
      if (stale.has(placeOf(span.service, bucket))) watched(parts.at(span.service, bucket) as ServicePart, span);
    }
  }
  return parts;
}

/** When something of these buckets may have happened: times that touch are one. */
function windowsOf(places: readonly Place[]): [from: number, to: number][] {
  const found: [from: number, to: number][] = [];
  for (const { scope, bucket } of places) {
    const to = bucket + (scope === scopes.hops ? CLOCK_MICROS : BUCKET_MICROS) - 1;
    const last = found.at(-1);
    if (last && bucket <= last[1] + 1) last[1] = Math.max(last[1], to);
    else found.push([bucket, to]);
  }
  return found;
}

/* ---- scrapes ---- */

async function refreshScrapes(
  connection: DuckDBConnection,
  cursor: bigint,
  inputs: readonly Input[],
  parts: Parts,
): Promise<void> {
  const chunks = streamed(
    connection,
    `SELECT service, instance, (time_unix_nano // 1000)::DOUBLE, metric, attributes, value, bounds, counts, sum, count, left(body_hash, 32) FROM _store.metric_points
     WHERE commit_seq > ${cursor} AND instance IS NOT NULL AND (${seriesFilter(inputs)})`,
  );
  for await (const chunk of chunks) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const at = (column: number) => c[column]![row]!;
      const atMicros = at(2) as number;
      const part = parts.at(scopes.member(at(0) as string | null, at(1) as string), bucketOf(atMicros)) as MemberPart;
      part.rows.push({
        atMicros,
        metric: at(3) as string,
        attributes: at(4) as string,
        value: (at(5) as number | null) ?? Number.NaN,
        bounds: numbers(at(6)),
        counts: numbers(at(7)),
        sum: at(8) as number | null,
        count: at(9) as number | null,
        evidenceId: at(10) as string,
      });
    }
    await parts.added(chunk.rowCount);
  }
}

const numbers = (value: DuckDBValue): number[] | null =>
  value === null ? null : [...((value as DuckDBListValue).items as number[])];

function seriesFilter(inputs: readonly Input[]): string {
  const filters = new Set<string>();
  for (const input of inputs) {
    if (input.of !== 'series') continue;
    const labels = Object.entries(input.where ?? {}).map(
      ([label, value]) => `json_extract_string(attributes, '$."${label}"') = ${literal(value)}`,
    );
    filters.add([`metric = ${literal(input.metric)}`, ...labels].join(' AND '));
  }
  return [...filters].map((filter) => `(${filter})`).join(' OR ') || 'false';
}
