import test from 'ava';
import { startEtcd } from '../../infra/launch/etcd.js';
import { installEtcd } from '../../infra/launch/etcd-binary.js';
import { notRun } from '../helpers/not-run.js';

test('etcd stores what is put and counts it in its metrics', async (t) => {
  t.timeout(300_000, 'the first time etcd may have to be built');
  const { missing } = await installEtcd();
  if (missing !== undefined) return notRun(t, missing);
  const etcd = await startEtcd();
  try {
    const key = Buffer.from('/config/routes').toString('base64');
    const value = Buffer.from('a').toString('base64');
    await call(`${etcd.endpoint}/v3/kv/put`, { key, value });
    t.like(await call(`${etcd.endpoint}/v3/kv/range`, { key }), { kvs: [{ key, value }] });
    const metrics = await (await fetch(`${etcd.endpoint}/metrics`)).text();
    t.regex(metrics, /^etcd_mvcc_put_total [1-9]/m);
  } finally {
    await etcd.stop();
  }
});

async function call(url: string, body: object): Promise<unknown> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  return answer.json();
}
