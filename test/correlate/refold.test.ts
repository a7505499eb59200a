import { join } from 'node:path';
import test from 'ava';
import { correlate } from '../../services/correlate/index.js';
import type { MetricRow, SpanRow } from '../../shared/evidence.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { point, rows, span, temporaryFolder } from '../helpers/store.js';

const HOURS = 4;

const every = (seconds: number): number[] => Array.from({ length: (HOURS * 3600) / seconds }, (_, i) => i * seconds);

const scrape = (second: number): MetricRow =>
  point('etcd_mvcc_put_total', second, { kind: 'counter', value: 31.5 * second });
const request = (second: number): SpanRow => span(second + 1, second, { traceId: String(second).padStart(32, '0') });

const sourced = <Row>(given: readonly Row[]) => given.map((row) => ({ sourceId: 'a file', row }));

test('what comes hours late is folded to the next borders at which it makes no difference, and not to the end', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'hours.duckdb'));
  t.teardown(() => store.close());
  const add = async (scrapes: readonly MetricRow[], requests: readonly SpanRow[]) => {
    await store.commit({ ...emptyBatch(), metrics: sourced(scrapes), traces: sourced(requests) });
    await correlate(store, { endOfInput: false });
  };
  const late = 5400;
  const inTime = every(10).filter((second) => second !== late);
  await add(inTime.map(scrape), inTime.map(request));
  await add([scrape(late)], [request(late)]);
  const written = await rows(
    store.connection,
    `SELECT DISTINCT strftime(make_timestamp(segment), '%H:%M') FROM _store.folded WHERE run = (SELECT max(run) FROM _store.folded) ORDER BY ALL`,
  );
  t.deepEqual(written.flat(), ['03:30'], 'of four hours, the ten minutes in which it falls');
});
