import type { DuckDBConnection } from '@duckdb/node-api';
import { type EntityType, entityKey } from '../../shared/entity.js';
import { groupBy } from '../../shared/group.js';
import { Recent } from '../../shared/recent.js';
import { streamed } from '../../shared/store/chunks.js';
import type { Span } from './item.js';
import { serviceKey } from './rollup.js';
import { type Range, type SeenTraces, within } from './seen-traces.js';

/** A trace that was silent for longer goes on as a piece of its own: what is read again for a late span stays bounded. */
const QUIET_MICROS = 3_600_000_000;

const HOUR_MICROS = 3_600_000_000;

/** A piece of more spans than this is read in its first so many: a runaway trace must not stop the rest. */
const SPANS_READ_A_PIECE = 200_000;

/** A span, and whether a commit after the last correlated one brought it. */
export interface StoredSpan extends Span {
  readonly isNew: boolean;
}

/**
 * Which pieces are meant: all of them, or those with a span of which this is true. The traces of these are in a temporary table
 * `touched (trace_id, lo, hi)`, with the times between which to look for them (microseconds).
 */
export type Wanted = 'all' | ((span: StoredSpan) => boolean);

/** Where pieces are read, after which commit a span is new, and where those of touched traces may be that are not. */
export interface Spans {
  readonly connection: DuckDBConnection;
  readonly cursor: bigint;
  readonly seen: SeenTraces;
}

/**
 * The wanted pieces of traces, each whole, once, and in the order of start time. They are looked for in literal windows of time; a piece that may go
 * on beyond its window is read again in a wider one.
 */
export async function* tracePieces(spans: Spans, wanted: Wanted): AsyncGenerator<StoredSpan[]> {
  const cut: Cut[] = [];
  if (wanted === 'all') yield* slicedPieces(spans, cut);
  else yield* touchedPieces(spans, (piece) => piece.some(wanted), cut);
  while (cut.length > 0) {
    const again = groupBy(cut.splice(0), ({ traceId }) => traceId);
    await touchAgain(spans.connection, [...again.values()].flat());
    const isAgain = (piece: StoredSpan[]) =>
      again.get(piece[0]!.traceId)!.some(({ lo }) => piece[0]!.startMicros <= lo && lo <= piece.at(-1)!.startMicros);
    yield* touchedPieces(spans, isAgain, cut);
  }
}

/** What a window showed of a piece that may go on outside of it. */
interface Cut {
  readonly traceId: string;
  readonly lo: number;
  readonly hi: number;
}

/** So many spans are sorted at once, at the least: what an hour holds is not divided. */
const SPANS_A_SLICE = 100_000;

/** All pieces, hours after hours: by the slice in which they begin. Neither memory nor what is sorted at once grows with the store. */
async function* slicedPieces(spans: Spans, cut: Cut[]): AsyncGenerator<StoredSpan[]> {
  const all = await slices(spans.connection);
  for (const [lo, hi] of all) {
    const which =
      all.length === 1 ? '' : `AND trace_id IN (SELECT trace_id FROM _store.spans WHERE ${within([lo, hi])})`;
    const begins = ([first]: StoredSpan[]) => first!.startMicros >= lo && first!.startMicros <= hi;
    const around = widened([lo, hi]);
    yield* piecesAround(spans, around, [`${within(around)} ${which}`], begins, cut);
  }
}

async function slices(connection: DuckDBConnection): Promise<[lo: number, hi: number][]> {
  const hours = await connection.runAndReadAll(
    `SELECT epoch_us(time_bucket(INTERVAL 1 HOUR, start_time))::DOUBLE AS hour, count(*)::DOUBLE FROM _store.spans GROUP BY hour ORDER BY hour`,
  );
  const found: [lo: number, hi: number][] = [];
  let spans = SPANS_A_SLICE;
  for (const [hour, count] of hours.getRows() as [number, number][]) {
    if (spans >= SPANS_A_SLICE) {
      found.push([hour, hour]);
      spans = 0;
    }
    found.at(-1)![1] = hour + HOUR_MICROS - 1;
    spans += count;
  }
  return found;
}

async function* touchedPieces(
  spans: Spans,
  isWanted: (piece: StoredSpan[]) => boolean,
  cut: Cut[],
): AsyncGenerator<StoredSpan[]> {
  for (const window of await windows(spans.connection)) {
    const touched = `FROM touched WHERE lo BETWEEN ${window[0]} AND ${window[1]}`;
    const around = widened(window);
    const which = await placesOf(spans, touched, around);
    const traces = `trace_id IN (SELECT trace_id ${touched})`;
    yield* piecesAround(
      spans,
      around,
      which.map((where) => `${where} AND ${traces}`),
      isWanted,
      cut,
    );
  }
}

/** Where the spans of touched traces are: among new ones, and among older ones only where some were seen. */
async function placesOf({ connection, cursor, seen }: Spans, touched: string, around: Range): Promise<string[]> {
  const rows = await connection.runAndReadAll(`SELECT DISTINCT trace_id ${touched}`);
  const traceIds = rows.getRows().map(([traceId]) => traceId as string);
  const ranges = await seen.ranges(connection, cursor, around, traceIds);
  return [
    `${within(around)} AND commit_seq > ${cursor}`,
    ...ranges.map((range) => `${within(range)} AND commit_seq <= ${cursor}`),
  ];
}

const widened = ([lo, hi]: Range): Range => [lo - QUIET_MICROS, hi + QUIET_MICROS];

async function touchAgain(connection: DuckDBConnection, cut: readonly Cut[]): Promise<void> {
  await connection.run('DELETE FROM touched');
  for (const { traceId, lo, hi } of cut)
    await connection.run('INSERT INTO touched VALUES (?, ?, ?)', [traceId, BigInt(lo), BigInt(hi)]);
}

/** The wanted pieces of the spans of which one of these is true, all that lie between two moments; `cut` gets those that may go on outside. */
async function* piecesAround(
  spans: Spans,
  [from, to]: Range,
  which: readonly string[],
  isWanted: (piece: StoredSpan[]) => boolean,
  cut: Cut[],
): AsyncGenerator<StoredSpan[]> {
  for await (const piece of pieces(spans, which)) {
    if (!isWanted(piece)) continue;
    const [first, last] = [piece[0]!.startMicros, piece.at(-1)!.startMicros];
    if (first - QUIET_MICROS < from || last + QUIET_MICROS > to)
      cut.push({ traceId: piece[0]!.traceId, lo: first, hi: last });
    else yield piece;
  }
}

/** One window for each cluster of touched times: a stray one must not widen a window over the whole store. */
async function windows(connection: DuckDBConnection): Promise<Range[]> {
  const rows = await connection.runAndReadAll(
    `WITH marked AS (SELECT lo, hi, coalesce(lo - max(hi) OVER (ORDER BY lo, hi ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) > ${QUIET_MICROS}, true) AS apart
       FROM touched),
     islands AS (SELECT lo, hi, count(*) FILTER (apart) OVER (ORDER BY lo, hi ROWS UNBOUNDED PRECEDING) AS island FROM marked)
     SELECT min(lo)::DOUBLE, max(hi)::DOUBLE FROM islands GROUP BY island ORDER BY 1`,
  );
  return rows.getRows() as unknown as Range[];
}

/**
 * What AWS knows a span by: the request's id (`aws.request_id`; instrumentations before it wrote `aws.request.id` and `aws.requestId`), and who asked, where
 * that is an ARN (`enduser.id`, `user.id`, `aws.principal.arn`).
 */
const ACTS = [
  entityOf('request', ['aws.request_id', 'aws.request.id', 'aws.requestId']),
  entityOf('principal', ['enduser.id', 'user.id', 'aws.principal.arn'], 'arn:%:iam:%', 'arn:%:sts:%'),
];

/** The first of some attributes as an entity key, in SQL; NULL where it is not like one of the patterns. */
function entityOf(type: EntityType, names: readonly string[], ...patterns: readonly string[]): string {
  const value = `coalesce(${names.map((name) => `attributes->>'$."${name}"'`).join()})`;
  const like = patterns.map((pattern) => `${value} LIKE '${pattern}'`).join(' OR ');
  return like === '' ? `'${type}:' || ${value}` : `CASE WHEN ${like} THEN '${type}:' || ${value} END`;
}

/**
 * Reading a text from DuckDB costs more than cutting it: the ids, which hold no space, come as one, and what many spans have in common comes as another, which is taken
 * apart once.
 */
const COLUMNS = `concat_ws(' ', left(body_hash, 32), trace_id, span_id, parent_span_id), (start_unix_nano // 1000)::DOUBLE, (end_unix_nano // 1000)::DOUBLE,
  json_array(service, scope, kind, status = 'error', operation, target, target_key, rpc_status, http_status, resend_count)::VARCHAR,
  coalesce(exception_message, status_message), adjusted_count, nullif(links, '[]'),
  CASE WHEN coalesce(exception_message, status_message) IS NOT NULL THEN json_extract(resource, '$."host.ip"')::VARCHAR END,
  CASE WHEN (contains(attributes, '"aws.request') OR contains(attributes, '":"arn:')) AND json_valid(attributes) THEN concat_ws(chr(31), ${ACTS.join()}) END`;

type Common = Pick<
  StoredSpan,
  'service' | 'kind' | 'error' | 'operation' | 'target' | 'targetKey' | 'rpcStatus' | 'httpStatus' | 'resendCount'
>;

/** What many spans have in common, taken apart. */
function commonOf(text: string): Common {
  const [service, scope, kind, error, operation, target, targetKey, rpcStatus, httpStatus, resendCount] = JSON.parse(
    text,
  ) as [
    string | null,
    string | null,
    string,
    boolean,
    string,
    string | null,
    string | null,
    string | null,
    number | null,
    number | null,
  ];
  return {
    service: serviceKey(service, scope),
    kind,
    error,
    operation,
    target,
    targetKey,
    rpcStatus,
    httpStatus,
    resendCount,
  };
}

/** Traces in pieces, each in the order of start time: of two spans with one id the first is read. */
async function* pieces({ connection, cursor }: Spans, which: readonly string[]): AsyncGenerator<StoredSpan[]> {
  const spans = which.map((where) => `SELECT * FROM _store.spans WHERE ${where}`).join(' UNION ALL ');
  const chunks = streamed(
    connection,
    `SELECT ${COLUMNS}, commit_seq > ${cursor} FROM (${spans}) ORDER BY trace_id, start_unix_nano, span_id, body_hash`,
  );
  const common = new Recent<Common>(); // of spans that have all of it in common the same object
  let piece: StoredSpan[] = [];
  let latest = 0;
  for await (const chunk of chunks) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const at = (column: number) => c[column]![row]!;
      const [evidenceId, traceId, spanId, parentSpanId] = (at(0) as string).split(' ') as [
        string,
        string,
        string,
        string?,
      ];
      const span: StoredSpan = {
        evidenceId,
        traceId,
        spanId,
        parentSpanId: parentSpanId ?? null,
        ...common.of(at(3) as string, commonOf),
        startMicros: at(1) as number,
        endMicros: at(2) as number,
        text: at(4) as string | null,
        scale: at(5) as number | null,
        links: linksOf(at(6) as string | null),
        joins: addressesOf(at(7) as string | null),
        acts: (at(8) as string | null)?.split('\u001f').filter((key) => key !== '') ?? [],
        isNew: at(9) as boolean,
      };
      if (piece[0] && (piece[0].traceId !== span.traceId || span.startMicros - latest > QUIET_MICROS)) {
        yield piece;
        piece = [];
      }
      latest = span.startMicros;
      if (piece.length < SPANS_READ_A_PIECE) piece.push(span);
    }
  }
  if (piece.length > 0) yield piece;
}

/** Addresses that many hosts have: loopback, link-local, and the bridge of a container engine. */
const EVERY_HOSTS = /^(?:127\.|169\.254\.|172\.17\.0\.1$|::1$|fe80:)/i;

/** `host.ip` of a resource: one address, or a list. */
function addressesOf(text: string | null): string[] {
  if (!text) return [];
  return [JSON.parse(text) as unknown]
    .flat()
    .filter((address): address is string => typeof address === 'string' && !EVERY_HOSTS.test(address))
    .map((address) => entityKey('ip', address));
}

function linksOf(text: string | null): Span['links'] {
  if (!text) return [];
  return (JSON.parse(text) as { traceId?: string; spanId?: string }[]).flatMap(({ traceId, spanId }) =>
    traceId && spanId ? [{ traceId, spanId }] : [],
  );
}
