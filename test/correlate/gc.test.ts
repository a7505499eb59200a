import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Correlated, correlate } from '../../services/correlate/index.js';
import type { MetricRow } from '../../shared/evidence.js';
import { sha256 } from '../../shared/hash.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { point, temporaryFolder } from '../helpers/store.js';

/** Scrapes every 10 s for ten minutes of a process that collects so many times a second. */
function collector(service: string | null, instance: string, perSecond: (second: number) => number): MetricRow[] {
  let count = 500;
  return Array.from({ length: 60 }, (_, index) => {
    count += 10 * perSecond(10 * index);
    const more = { kind: 'summary' as const, value: null, bounds: [0.5], counts: [0.0003] };
    const total = { sum: count * 0.0003, count: Math.round(count) };
    return point('go_gc_duration_seconds', 10 * index, { ...more, ...total, service, instance });
  });
}

const busy = (second: number): number => (second >= 200 && second < 400 ? 5 : 0.3);

const etcdMember = (service: string, instance: string): MetricRow[] =>
  Array.from({ length: 60 }, (_, index) => point('etcd_server_has_leader', 10 * index, { service, instance }));

async function correlated(t: ExecutionContext, points: readonly MetricRow[]): Promise<Correlated> {
  const store = await openStore(join(temporaryFolder(t), 'gc.duckdb'));
  try {
    await store.commit({ ...emptyBatch(), metrics: points.map((row) => ({ sourceId: 'scrapes', row })) });
    return await correlate(store, { endOfInput: true });
  } finally {
    store.close();
  }
}

test('every Go process has its own: members of a cluster, instances of a service, one without a service', async (t) => {
  const { findings, chains } = await correlated(t, [
    ...etcdMember('store', 'store-0'),
    ...collector('store', 'store-0', busy),
    ...collector('store', 'store-1', () => 0.3),
    ...collector('api', 'api-7f9c', busy),
    ...collector(null, '10.0.0.7:9100', busy),
  ]);
  t.deepEqual(findings.map(({ kind, keys }) => [kind, ...keys].join(' ')).sort(), [
    'go.gc_pressure instance:10.0.0.7:9100',
    'go.gc_pressure instance:api-7f9c service:api',
    'go.gc_pressure instance:store-0 etcd:store',
  ]);
  t.regex(findings[0]!.summary, /GC cycles\/s against 0\.3 before/);
  t.deepEqual(chains, []);
});

test('instances of one name in two services are two', async (t) => {
  const { findings } = await correlated(t, [...collector('a', 'node-0', busy), ...collector('b', 'node-0', busy)]);
  t.is(new Set(findings.map(({ id }) => id)).size, 2);
});

test('a restart and a gap in the scrapes are no pressure', async (t) => {
  const restarted = collector('api', 'api-0', () => 0.3).map((row, index) =>
    index < 30 ? row : { ...row, count: row.count! - 500, bodyHash: sha256(`${row.bodyHash} restarted`) },
  );
  const gap = collector('api', 'api-1', busy).filter((_, index) => index < 20 || index >= 55);
  t.deepEqual((await correlated(t, [...restarted, ...gap])).findings, []);
});
