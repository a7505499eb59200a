import type { DuckDBConnection } from '@duckdb/node-api';
import { Bloom, type Probes, probesOfText } from '../bloom.js';

/** A row, as far as it is needed to know whether the store has it. */
interface Keyed {
  readonly identity: string;
  readonly timeMicros: bigint;
  /** Noted here when it is asked for, as what is new is added afterwards. */
  probes?: Probes;
}

/** Where rows of one kind are: a table and its column of event time. */
interface Place {
  readonly table: string;
  readonly time: string;
}

/**
 * Which identities of one table this process has written, by ten minutes of event time: a row whose identity is not among them, in ten minutes that held nothing before, is new, and
 * the table need not be asked. Of times that held rows before, or were let go, nothing is known, and the table is asked. Nothing depends on what is held but time.
 */
export class SeenRows {
  /** By their number; null where the table had rows before. The one that was used last is the last one. */
  readonly #spans = new Map<number, Bloom | null>();

  /** The indices of the rows that the table may have already. */
  async perhapsStored(connection: DuckDBConnection, place: Place, rows: readonly Keyed[]): Promise<number[]> {
    const spans = rows.map(({ timeMicros }) => spanOf(timeMicros));
    await this.#open(connection, place, new Set(spans));
    const found: number[] = [];
    for (const [index, row] of rows.entries()) {
      row.probes = probesOfText(row.identity);
      if (this.#spans.get(spans[index]!)?.has(row.probes) !== false) found.push(index);
    }
    return found;
  }

  /** They are about to be committed: to be forgotten where that fails. */
  wrote(rows: readonly Keyed[]): void {
    for (const { identity, timeMicros, probes } of rows)
      this.#spans.get(spanOf(timeMicros))?.add(probes ?? probesOfText(identity));
    let bytes = 0;
    for (const bloom of this.#spans.values()) bytes += bloom?.bytes ?? 0;
    for (const [span, bloom] of this.#spans) {
      if (bytes <= MOST_BYTES && this.#spans.size <= MOST_SPANS) return;
      this.#spans.delete(span);
      bytes -= bloom?.bytes ?? 0;
    }
  }

  async #open(connection: DuckDBConnection, { table, time }: Place, spans: ReadonlySet<number>): Promise<void> {
    const unknown: number[] = [];
    for (const span of spans) {
      const known = this.#spans.get(span);
      if (known === undefined) unknown.push(span);
      else {
        this.#spans.delete(span);
        this.#spans.set(span, known);
      }
    }
    if (unknown.length === 0) return;
    const which = windowsOf(unknown).map(([first, last]) => {
      const from = BigInt(first) * SPAN_MICROS - EPOCH;
      const to = (BigInt(last) + 1n) * SPAN_MICROS - EPOCH - 1n;
      return `${time} BETWEEN make_timestamp(${from}) AND make_timestamp(${to})`;
    });
    const held = await connection.runAndReadAll(
      `SELECT DISTINCT ((epoch_us(${time}) + ${EPOCH}) // ${SPAN_MICROS})::DOUBLE FROM _store.${table} WHERE ${which.join(' OR ')}`,
    );
    const before = new Set(held.getRows().map(([span]) => span as number));
    for (const span of unknown) this.#spans.set(span, before.has(span) ? null : new Bloom());
  }

  /** What became of a transaction is not known: the table is asked from now on. */
  forget(): void {
    this.#spans.clear();
  }
}

const SPAN_MICROS = 600_000_000n;

/** Added to every time, so that none is negative: a multiple of the spans, 20,000 years. */
const EPOCH = SPAN_MICROS * 2n ** 30n;

const SPAN = Number(SPAN_MICROS);
const SPANS_BEFORE = Number(EPOCH / SPAN_MICROS);

function spanOf(micros: bigint): number {
  const number = Number(micros);
  return Number.isSafeInteger(number)
    ? Math.floor(number / SPAN) + SPANS_BEFORE
    : Number((micros + EPOCH) / SPAN_MICROS);
}

const MOST_BYTES = 32 * 1024 * 1024;
const MOST_SPANS = 20_000;

/** A question names so many stretches of time at most: each costs a comparison for every row group, and for every row in those that it lies in. */
const MOST_WINDOWS = 16;

/** From the first to the last of these numbers, without the widest gaps between them. */
function windowsOf(spans: readonly number[]): [first: number, last: number][] {
  const sorted = [...spans].sort((a, b) => a - b);
  const gaps = sorted
    .map((span, index) => ({ index, width: span - (sorted[index - 1] ?? span) }))
    .filter(({ width }) => width > 1)
    .sort((a, b) => b.width - a.width)
    .slice(0, MOST_WINDOWS - 1);
  const starts = [0, ...gaps.map(({ index }) => index)].sort((a, b) => a - b);
  return starts.map((start, n) => [sorted[start]!, sorted[(starts[n + 1] ?? sorted.length) - 1]!]);
}
