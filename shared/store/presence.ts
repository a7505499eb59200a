import { DuckDBTimestampValue, type DuckDBValue } from '@duckdb/node-api';
import type { CloudTrailRow, MetricRow, SpanRow } from '../evidence.js';

/** The rows that a commit adds, by source. */
interface Added {
  readonly cloudtrail: readonly { readonly row: CloudTrailRow }[];
  readonly traces: readonly { readonly row: SpanRow }[];
  readonly metrics: readonly { readonly row: MetricRow }[];
}

/** What came of one scope in one bucket of time: coverage is derived from these rows, never from the evidence itself. */
interface Presence {
  readonly source: string;
  readonly scope: string;
  readonly service: string | null;
  readonly instance: string | null;
  readonly bucket: bigint;
  first: bigint;
  last: bigint;
  /** One bit for each second of the minute that holds something: how often it comes, and not how many records come together. */
  seconds: bigint;
  records: number;
  /** Spans that lost attributes, events or links before they were sent. */
  dropped: number;
  /** Spans that say how they were sampled, and for how many spans these stand. */
  scaled: number;
  standsFor: number;
}

/** A minute tells a silence of a minute or more; scrapes are a second apart or closer, and each of them counts. */
const MINUTE = 60_000_000n;
const SECOND = 1_000_000n;
const SCRAPE = 10_000n;

/** Clocks that were never set (before 2006) or that overflowed (past 2262) say nothing of when a scope was watched. */
const POSSIBLE = { from: 1_136_073_600_000_000n, to: 9_223_372_036_854_775n };

/** Rows of `_store.presence`, but for the commit. Sums, firsts and lasts: the order of commits makes no difference to what they add up to. */
export function presenceOf(added: Added): DuckDBValue[][] {
  const cells = new Map<string, Presence>();
  const note = (
    source: string,
    parts: readonly (string | null)[],
    { service = null, instance = null }: { service?: string | null; instance?: string | null },
    at: bigint,
    length: bigint,
  ): Presence | undefined => {
    if (at < POSSIBLE.from || at > POSSIBLE.to) return undefined;
    const scope = parts.filter((part) => part !== null).join('/');
    const bucket = at - (at % length);
    const key = `${source}\n${scope}\n${bucket}`;
    const cell = cells.get(key) ?? {
      source,
      scope,
      service,
      instance,
      bucket,
      first: at,
      last: at,
      seconds: 0n,
      records: 0,
      dropped: 0,
      scaled: 0,
      standsFor: 0,
    };
    cells.set(key, cell);
    if (at < cell.first) cell.first = at;
    if (at > cell.last) cell.last = at;
    cell.seconds |= 1n << ((at % MINUTE) / SECOND);
    cell.records++;
    return cell;
  };
  for (const { row } of added.cloudtrail)
    note('cloudtrail', [row.accountId, row.region], {}, row.eventTimeMicros, MINUTE);
  for (const { row } of added.traces) {
    const service = row.service ?? 'unknown_service';
    const cell = note('traces', [row.scope, service], { service }, row.startUnixNano / 1000n, MINUTE);
    if (!cell) continue;
    if (row.dropped > 0) cell.dropped++;
    if (row.adjustedCount === null) continue;
    cell.scaled++;
    cell.standsFor += row.adjustedCount;
  }
  // A target that died leaves points without a value: they are no answer to a scrape.
  for (const { row } of added.metrics)
    if (!row.flags.includes('no_recorded_value'))
      note('metrics', [row.service, row.instance], row, row.timeUnixNano / 1000n, SCRAPE);
  return [...cells.values()].map((cell) => [
    cell.source,
    cell.scope,
    cell.service,
    cell.instance,
    new DuckDBTimestampValue(cell.bucket),
    new DuckDBTimestampValue(cell.first),
    new DuckDBTimestampValue(cell.last),
    cell.seconds,
    BigInt(cell.records),
    BigInt(cell.dropped),
    BigInt(cell.scaled),
    cell.standsFor,
  ]);
}
