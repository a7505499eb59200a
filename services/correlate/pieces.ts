import type { DuckDBConnection } from '@duckdb/node-api';
import type { Span } from './item.js';
import { serviceKey } from './rollup.js';

/** A trace that was silent for longer goes on as a piece of its own: what is read again for a late span stays bounded. */
const QUIET_MICROS = 3_600_000_000;

/** A piece of more spans than this is read in its first so many: a runaway trace must not stop the rest. */
const SPANS_READ_A_PIECE = 200_000;

/** A span with the commit that brought it. */
export interface StoredSpan extends Span {
  readonly commitSeq: bigint;
}

/** Which traces to read: a temporary table `touched (trace_id, lo, hi)` (microseconds), and whether a span is one that is meant. */
export interface Touched {
  readonly all: boolean;
  readonly isTouched: (span: StoredSpan) => boolean;
}

/**
 * The pieces of traces that hold a touched span, whole, each in the order of start time. Traces are looked for in literal windows of time around
 * what was touched; a piece that may go on beyond its window is read again in a wider one.
 */
export async function* tracePieces(connection: DuckDBConnection, touched: Touched): AsyncGenerator<StoredSpan[]> {
  if (touched.all) {
    for await (const piece of pieces(connection, '')) if (piece.some(touched.isTouched)) yield piece;
    return;
  }
  for (;;) {
    const further: { traceId: string; lo: number; hi: number }[] = [];
    for (const [lo, hi] of await windows(connection)) {
      const [from, to] = [lo - QUIET_MICROS, hi + QUIET_MICROS];
      const where = `WHERE start_time BETWEEN make_timestamp(${from}) AND make_timestamp(${to}) AND trace_id IN (SELECT trace_id FROM touched WHERE lo BETWEEN ${lo} AND ${hi})`;
      for await (const piece of pieces(connection, where)) {
        if (!piece.some(touched.isTouched)) continue;
        const [first, last] = [piece[0]!.startMicros, piece.at(-1)!.startMicros];
        if (first - QUIET_MICROS < from || last + QUIET_MICROS > to)
          further.push({ traceId: piece[0]!.traceId, lo: first, hi: last });
        else yield piece;
      }
    }
    if (further.length === 0) return;
    await connection.run('DELETE FROM touched');
    for (const { traceId, lo, hi } of further)
      await connection.run('INSERT INTO touched VALUES (?, ?, ?)', [traceId, BigInt(lo), BigInt(hi)]);
  }
}

/** One window for each cluster of touched times: a stray one must not widen a window over the whole store. */
async function windows(connection: DuckDBConnection): Promise<[lo: number, hi: number][]> {
  const rows = await connection.runAndReadAll(
    `WITH marked AS (SELECT lo, hi, coalesce(lo - max(hi) OVER (ORDER BY lo, hi ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) > ${QUIET_MICROS}, true) AS apart
       FROM touched),
     islands AS (SELECT lo, hi, count(*) FILTER (apart) OVER (ORDER BY lo, hi ROWS UNBOUNDED PRECEDING) AS island FROM marked)
     SELECT min(lo)::DOUBLE, max(hi)::DOUBLE FROM islands GROUP BY island ORDER BY 1`,
  );
  return rows.getRows() as [number, number][];
}

const COLUMNS = `left(body_hash, 32), trace_id, span_id, parent_span_id, service, scope, kind, (start_unix_nano // 1000)::DOUBLE, (end_unix_nano // 1000)::DOUBLE,
  status = 'error', operation, target, target_key, rpc_status, http_status, resend_count, coalesce(exception_message, status_message), adjusted_count,
  nullif(links, '[]'), commit_seq`;

/** Traces in pieces, each in the order of start time: of two spans with one id the first is read. */
async function* pieces(connection: DuckDBConnection, where: string): AsyncGenerator<StoredSpan[]> {
  const result = await connection.stream(
    `SELECT ${COLUMNS} FROM _store.spans ${where} ORDER BY trace_id, start_unix_nano, span_id, body_hash`,
  );
  const serviceKeys = new Map<string, string>();
  let piece: StoredSpan[] = [];
  let latest = 0;
  for await (const chunk of result) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const at = (column: number) => c[column]![row]!;
      const name = `${(at(4) as string | null) ?? ''}\n${(at(5) as string | null) ?? ''}`;
      let service = serviceKeys.get(name);
      if (service === undefined) {
        service = serviceKey(at(4) as string | null, at(5) as string | null);
        serviceKeys.set(name, service);
      }
      const span: StoredSpan = {
        evidenceId: at(0) as string,
        traceId: at(1) as string,
        spanId: at(2) as string,
        parentSpanId: at(3) as string | null,
        service,
        kind: at(6) as string,
        startMicros: at(7) as number,
        endMicros: at(8) as number,
        error: at(9) as boolean,
        operation: at(10) as string,
        target: at(11) as string | null,
        targetKey: at(12) as string | null,
        rpcStatus: at(13) as string | null,
        httpStatus: at(14) as number | null,
        resendCount: at(15) as number | null,
        text: at(16) as string | null,
        scale: at(17) as number | null,
        links: linksOf(at(18) as string | null),
        commitSeq: at(19) as bigint,
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

function linksOf(text: string | null): Span['links'] {
  if (!text) return [];
  return (JSON.parse(text) as { traceId?: string; spanId?: string }[]).flatMap(({ traceId, spanId }) =>
    traceId && spanId ? [{ traceId, spanId }] : [],
  );
}
