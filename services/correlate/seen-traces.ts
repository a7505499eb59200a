import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { Bloom, probesOfNumber } from '../../shared/bloom.js';
import { streamed } from '../../shared/store/chunks.js';

const MINUTE_MICROS = 60_000_000;

/** Microseconds, both included. */
export type Range = readonly [fromMicros: number, toMicros: number];

/**
 * In which minutes traces have spans: "no" is certain, "perhaps" nearly always right. The spans of a trace are looked for hours around it; where
 * memory says that there are none, the store is not read. Nothing depends on what is held but time: what is missing is read from the store.
 */
export class SeenTraces {
  /** By the minute's start; the one that was asked for last is the last one. */
  readonly #minutes = new Map<number, Bloom>();
  /** Spans of later commits are not in here. */
  #upTo = 0n;

  /** The ranges of time, between two moments, in which these traces may have spans of commits up to `cursor`. */
  async ranges(
    connection: DuckDBConnection,
    cursor: bigint,
    [from, to]: Range,
    traceIds: readonly string[],
  ): Promise<Range[]> {
    if (to - from > MOST_MINUTES * MINUTE_MICROS) return [[from, to]];
    this.#goOnFrom(cursor);
    await this.#hold(connection, minuteOf(from), minuteOf(to));
    const probes = traceIds.map((traceId) => probesOfNumber(keyOf(traceId)));
    const hit: number[] = [];
    for (let minute = minuteOf(from); minute <= to; minute += MINUTE_MICROS) {
      const filter = this.#minutes.get(minute)!;
      if (probes.some((each) => filter.has(each))) hit.push(minute);
    }
    this.#letGo();
    return rangesOf(hit).map(([first, last]) => [Math.max(first, from), Math.min(last, to)]);
  }

  /** Takes up the spans of the commits after `cursor`: what was said up to it is said up to `newest` from now on. */
  async advance(connection: DuckDBConnection, cursor: bigint, newest: bigint): Promise<void> {
    this.#goOnFrom(cursor);
    if (this.#minutes.size > 0) await read(connection, `commit_seq > ${cursor}`, this.#minutes);
    this.#upTo = newest;
  }

  /** A correlation that came to nothing, or another program's, leaves the store elsewhere. */
  #goOnFrom(cursor: bigint): void {
    if (this.#upTo !== cursor) this.#minutes.clear();
    this.#upTo = cursor;
  }

  async #hold(connection: DuckDBConnection, from: number, to: number): Promise<void> {
    const missing = new Map<number, Bloom>();
    for (let minute = from; minute <= to; minute += MINUTE_MICROS) {
      const known = this.#minutes.get(minute);
      if (!known) missing.set(minute, new Bloom());
      else {
        this.#minutes.delete(minute);
        this.#minutes.set(minute, known);
      }
    }
    const which = rangesOf([...missing.keys()])
      .map(within)
      .join(' OR ');
    if (which) await read(connection, `commit_seq <= ${this.#upTo} AND (${which})`, missing);
    for (const [minute, filter] of missing) this.#minutes.set(minute, filter); // not before all of it was read
  }

  #letGo(): void {
    let bytes = [...this.#minutes.values()].reduce((sum, filter) => sum + filter.bytes, 0);
    for (const [minute, filter] of this.#minutes) {
      if (bytes <= MOST_BYTES) return;
      this.#minutes.delete(minute);
      bytes -= filter.bytes;
    }
  }
}

/** Adds the traces of some spans to the filters of their minutes. */
async function read(connection: DuckDBConnection, which: string, filters: ReadonlyMap<number, Bloom>): Promise<void> {
  const chunks = streamed(
    connection,
    `SELECT DISTINCT epoch_us(date_trunc('minute', start_time))::DOUBLE, coalesce(TRY_CAST('0x' || right(trace_id, ${KEY_DIGITS}) AS UBIGINT), 0)::DOUBLE FROM _store.spans WHERE ${which}`,
  );
  for await (const chunk of chunks) {
    const [minutes, keys] = chunk.getColumns() as [number[], number[]];
    for (const [row, minute] of minutes.entries()) filters.get(minute)?.add(probesOfNumber(keys[row]!));
  }
}

/** More are not looked into: reading all of such a time at once costs less. */
const MOST_MINUTES = 12 * 60;

const MOST_BYTES = 64 * 1024 * 1024;

const stores = new WeakMap<DuckDBInstance, SeenTraces>();

/** Of one store, as long as it is open. */
export function seenTracesOf(instance: DuckDBInstance): SeenTraces {
  const known = stores.get(instance) ?? new SeenTraces();
  stores.set(instance, known);
  return known;
}

/** A condition on `start_time`. */
export const within = ([from, to]: Range): string =>
  `start_time BETWEEN make_timestamp(${from}) AND make_timestamp(${to})`;

const minuteOf = (micros: number): number => Math.floor(micros / MINUTE_MICROS) * MINUTE_MICROS;

/** Minutes in their order, those side by side as one. */
function rangesOf(minutes: readonly number[]): Range[] {
  const found: [number, number][] = [];
  for (const minute of minutes) {
    const last = found.at(-1);
    if (last && minute === last[1] + 1) last[1] += MINUTE_MICROS;
    else found.push([minute, minute + MINUTE_MICROS - 1]);
  }
  return found;
}

/** The end of a trace's id as a number: so many hexadecimal digits are exact in a double. Ids of another form, which no decoder lets in, would be as one. */
const KEY_DIGITS = 13;

const keyOf = (traceId: string): number => Number(`0x${traceId.slice(-KEY_DIGITS)}`) || 0;
