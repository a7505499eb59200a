import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { originOf } from '../../services/query/origin.js';
import type { FindingRow } from '../../services/query/read.js';
import type { Kind } from '../../shared/finding.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { point, span, temporaryFolder } from '../helpers/store.js';

const from = <Row>(given: readonly Row[]) => given.map((row) => ({ sourceId: 'a file', row }));

/** Ten scrapes of the store, and so many client spans a second of a service, from 02:05:00 to 02:06:40. */
async function origin(
  t: ExecutionContext,
  root: FindingRow,
  writer?: { service: string; perSecond: number; errors?: boolean },
  gap = false,
): Promise<string> {
  const store = await openStore(join(temporaryFolder(t), 'origin.duckdb'));
  try {
    const writes = Array.from({ length: 100 * (writer?.perSecond ?? 0) }, (_, index) =>
      span(index + 1, 300 + Math.floor(index / writer!.perSecond), {
        service: writer!.service,
        kind: 'client',
        operation: 'etcdserverpb.KV/Put',
        target: 'config-store-0:2379',
        status: writer!.errors ? 'error' : 'unset',
      }),
    );
    const scrapes = Array.from({ length: 60 }, (_, index) =>
      point('etcd_mvcc_put_total', 10 * index, { value: index }),
    );
    await store.commit({ ...emptyBatch(), traces: from(writes), metrics: from(scrapes) });
    if (gap)
      await store.connection.run(
        `CREATE OR REPLACE VIEW coverage AS SELECT 'metrics' AS source, 'config-store/config-store-0' AS scope,
         TIMESTAMP '2026-03-01 02:00:00' AS from_time, TIMESTAMP '2026-03-01 02:10:00' AS to_time, 'collected' AS state, '' AS reason,
         NULL::VARCHAR AS account_id, NULL::VARCHAR AS category, NULL::VARCHAR AS resource
         UNION ALL SELECT 'metrics', 'config-store/config-store-0', TIMESTAMP '2026-03-01 02:04:00', TIMESTAMP '2026-03-01 02:04:50', 'gap', 'no scrape for 50 s', NULL, NULL, NULL
         UNION ALL SELECT 'metrics', 'other/other-0', TIMESTAMP '2026-03-01 02:04:00', TIMESTAMP '2026-03-01 02:04:50', 'gap', 'another store', NULL, NULL, NULL`,
      );
    return await originOf(store.connection, root);
  } finally {
    store.close();
  }
}

function root(kind: Kind, measured: FindingRow['measured'] = {}): FindingRow {
  return {
    finding_id: 'a root',
    kind,
    detector: `${kind}@1`,
    subject: 'etcd:config-store',
    started_at: '2026-03-01T02:05:00.000000Z',
    ended_at: '2026-03-01T02:06:40.000000Z',
    severity: 'warning',
    summary: '',
    measured: { members: ['config-store-0'], ...measured },
    baseline: null,
    keys: ['etcd:config-store'],
    evidence_count: 1,
  };
}

const surge = root('etcd.put_surge', { extra_puts_per_s: 10 });

test('a slow disk whose log was watched begins without a cause, in covered evidence', async (t) => {
  t.regex(await origin(t, root('etcd.slow_fsync')), /^No cause found in covered evidence: .*etcd\.wal_growth.*metrics/);
});

test('where the scrapes of its own store are missing the cause lies outside the evidence', async (t) => {
  const says = await origin(t, root('etcd.slow_fsync'), undefined, true);
  t.regex(says, /^The cause lies outside the evidence: metrics of config-store\/config-store-0 are missing/);
  t.notRegex(says, /another store/);
});

test('a surge of a time without traces has its cause outside the evidence', async (t) => {
  t.regex(await origin(t, surge), /^The cause lies outside the evidence: there are no traces of that time/);
});

test('a surge whose writer is known and does nothing that is found: it says who wrote', async (t) => {
  const says = await origin(t, surge, { service: 'import', perSecond: 9 });
  t.regex(says, /^The cause lies outside the evidence: service:prod\/import wrote 9 puts\/s more than before, of 10/);
});

test('a surge whose writes stand in no span has a writer that is not known', async (t) => {
  for (const writer of [
    { service: 'api', perSecond: 1 },
    { service: 'api', perSecond: 9, errors: true },
  ])
    t.regex(await origin(t, surge, writer), /^The cause lies outside the evidence: .*who wrote them is not known/);
});

test('what no rule knows a cause of was not looked for', async (t) => {
  t.regex(await origin(t, root('etcd.leader_lost')), /^The cause lies outside the evidence: no rule knows/);
});
