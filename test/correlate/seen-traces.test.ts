import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBResult } from '@duckdb/node-api';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { correlate } from '../../services/correlate/index.js';
import { SeenTraces } from '../../services/correlate/seen-traces.js';
import type { SpanRow } from '../../shared/evidence.js';
import { emptyBatch, openStore, type Store } from '../../shared/store/store.js';
import { standing } from '../helpers/standing.js';
import { span, temporaryFolder } from '../helpers/store.js';

const MINUTE = 60_000_000;

const traceIdOf = (trace: number): string => createHash('md5').update(`trace ${trace}`).digest('hex');

const spanOf = (trace: number, id: number, second: number, more: Partial<SpanRow> = {}): SpanRow =>
  span(id, second, { traceId: traceIdOf(trace), ...more });

const micros = ({ startUnixNano }: SpanRow): number => Number(startUnixNano / 1000n);

async function withStore(t: ExecutionContext, use: (store: Store) => Promise<void>): Promise<void> {
  const store = await openStore(join(temporaryFolder(t), 'seen.duckdb'));
  try {
    await use(store);
  } finally {
    store.close();
  }
}

async function commit(store: Store, rows: readonly SpanRow[]): Promise<void> {
  const batch = emptyBatch();
  for (const row of rows) batch.traces.push({ sourceId: 'spans', row });
  await store.commit(batch);
}

/** The minutes in which one of these spans is, as ranges inside of two moments. */
function truth(rows: readonly SpanRow[], traces: ReadonlySet<string>, [from, to]: readonly [number, number]) {
  const minutes = new Set<number>();
  for (const row of rows) {
    const minute = Math.floor(micros(row) / MINUTE) * MINUTE;
    if (traces.has(row.traceId) && minute + MINUTE > from && minute <= to) minutes.add(minute);
  }
  const ranges: [number, number][] = [];
  for (const minute of [...minutes].sort((a, b) => a - b))
    if (ranges.at(-1)?.[1] === minute - 1) ranges.at(-1)![1] = minute + MINUTE - 1;
    else ranges.push([minute, minute + MINUTE - 1]);
  return ranges.map(([first, last]) => [Math.max(first, from), Math.min(last, to)]);
}

const stories = fc.array(
  fc.record({
    spans: fc.array(fc.tuple(fc.nat(5), fc.nat(9_000)), { minLength: 1, maxLength: 12 }),
    /** What became of the correlation after the commit: none, one that came to nothing, one that holds. */
    correlation: fc.constantFrom('none', 'in vain', 'holds'),
    asked: fc.record({ traces: fc.subarray([0, 1, 2, 3, 4, 5, 6]), from: fc.nat(9_000), seconds: fc.nat(5_000) }),
  }),
  { minLength: 1, maxLength: 8 },
);

test('it says where the spans of traces are, whatever was asked, taken up or rolled back before', async (t) => {
  await t.notThrowsAsync(async () =>
    fc.assert(
      fc.asyncProperty(stories, (story) =>
        withStore(t, async (store) => {
          const seen = new SeenTraces();
          const start = micros(spanOf(0, 1, 0));
          const known: SpanRow[] = [];
          let waiting: SpanRow[] = [];
          let [cursor, newest, id] = [0n, 0n, 0];
          for (const { spans, correlation, asked } of story) {
            const rows = spans.map(([trace, second]) => spanOf(trace, ++id, second));
            await commit(store, rows);
            waiting.push(...rows);
            newest += 1n;
            if (correlation === 'none') continue;
            const window = [start + asked.from * 1e6, start + (asked.from + asked.seconds) * 1e6] as const;
            const traceIds = asked.traces.map(traceIdOf);
            assert.deepEqual(
              await seen.ranges(store.connection, cursor, window, traceIds),
              truth(known, new Set(traceIds), window),
            );
            await seen.advance(store.connection, cursor, newest);
            if (correlation === 'in vain') continue;
            known.push(...waiting);
            waiting = [];
            cursor = newest;
          }
        }),
      ),
      { numRuns: 15 },
    ),
  );
});

test('what could not be read to its end is not held', (t) =>
  withStore(t, async (store) => {
    const { connection } = store;
    const rows = Array.from({ length: 5_000 }, (_, id) => spanOf(id, id + 1, 1));
    await commit(store, rows);
    const seen = new SeenTraces();
    const window = [micros(rows[0]!) - MINUTE, micros(rows[0]!) + MINUTE] as const;
    const ask = (by: DuckDBConnection) => seen.ranges(by, 1n, window, [rows.at(-1)!.traceId]);
    await t.throwsAsync(ask(failing(connection)), { message: 'broken off' });
    t.deepEqual(await ask(connection), truth(rows, new Set([rows.at(-1)!.traceId]), window));
  }));

/** The connection, but that its results break off after the first chunk. */
function failing(connection: DuckDBConnection): DuckDBConnection {
  const stream = async (query: string) => {
    const result = await connection.stream(query);
    let chunks = 0;
    const fetchChunk = () => (chunks++ === 0 ? result.fetchChunk() : Promise.reject(new Error('broken off')));
    return { fetchChunk } as unknown as DuckDBResult;
  };
  return { stream } as unknown as DuckDBConnection;
}

test('a trace that goes on for hours is read whole, however its spans and those of others come', async (t) => {
  const call = { kind: 'client' as const, operation: 'etcdserverpb.KV/Put', service: 'config-api' };
  const steps = [
    [spanOf(1, 1, 0, { kind: 'server', service: 'config-api' }), spanOf(2, 1, 10)],
    [spanOf(1, 2, 3_000, { parentSpanId: '1'.padStart(16, '0'), ...call })],
    [spanOf(1, 3, 6_000, { parentSpanId: '2'.padStart(16, '0'), ...call }), spanOf(3, 1, 20)],
    [spanOf(2, 2, 6_010), spanOf(1, 4, 9_000, { parentSpanId: '3'.padStart(16, '0'), ...call })],
  ];
  const told = async (commits: readonly SpanRow[][]) => {
    let said: unknown;
    await withStore(t, async (store) => {
      for (const rows of commits) {
        await commit(store, rows);
        await correlate(store, { endOfInput: false });
      }
      const { connection } = store;
      const kept = await connection.runAndReadAll(
        'SELECT scope, minute, sum(own), sum(callers) FROM _store.parentless GROUP BY ALL HAVING sum(own) + sum(callers) <> 0 ORDER BY ALL',
      );
      said = [await standing(connection), kept.getRowsJson()];
    });
    return said;
  };
  const once = await told([steps.flat()]);
  t.deepEqual(await told(steps), once);
  t.deepEqual(await told(steps.toReversed()), once);
});
