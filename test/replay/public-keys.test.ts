import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { cloudtrailClient } from '../../replay/aws/clients.js';
import { publicKeysOf } from '../../replay/aws/keys.js';
import { replayCase } from '../../replay/replay.js';
import { collectFiles } from '../../services/collect/index.js';
import { verifyTrails } from '../../services/verify/index.js';
import { openStore } from '../../shared/store/store.js';
import { keyServer } from '../helpers/public-keys.js';
import { rows, temporaryFolder } from '../helpers/store.js';
import { madeHours, writeTrailCase } from '../helpers/trail.js';

process.env['AWS_ACCESS_KEY_ID'] ??= 'key';
process.env['AWS_SECRET_ACCESS_KEY'] ??= 'secret';

const NOW = new Date('2024-03-18T00:00:00Z');

/** States of the digests of a trail without keys, before and after ListPublicKeys is asked of a server that has them. */
async function judged(
  t: ExecutionContext,
  from: string,
  trail = madeHours(2),
): Promise<[before: unknown, after: unknown]> {
  const folder = temporaryFolder(t);
  writeTrailCase(join(folder, 'case'), [{ ...trail, publicKeys: '{"PublicKeyList":[]}' }]);
  const db = join(folder, 'keys.duckdb');
  await replayCase(join(folder, 'case'), db, { nowUnixNano: BigInt(NOW.getTime()) * 1_000_000n });
  const server = await keyServer(trail.publicKeys);
  const client = cloudtrailClient(server.endpoint, 'eu-west-1');
  const store = await openStore(db);
  try {
    const states = async () => (await rows(store.connection, 'SELECT DISTINCT state FROM integrity')).flat();
    const before = await states();
    const file = await publicKeysOf(client, 'eu-west-1', new Date(from), NOW);
    await collectFiles(store, [file], { nowUnixNano: BigInt(NOW.getTime()) * 1_000_000n });
    await verifyTrails(store.connection);
    return [before, await states()];
  } finally {
    store.close();
    client.destroy();
    server.close();
  }
}

test('the keys that ListPublicKeys gives, page by page and through throttling, verify digests', async (t) => {
  t.deepEqual(await judged(t, '2013-11-01T00:00:00Z'), [['unverified'], ['verified']]);
});

test('a key of another time, which AWS does not list, verifies nothing', async (t) => {
  const old = madeHours(2, { validTo: '2024-03-10T00:00:00Z' });
  t.deepEqual(await judged(t, '2024-03-15T00:00:00Z', old), [['unverified'], ['unverified']]);
});

test('who may not ask for keys is told so', async (t) => {
  const server = await keyServer(madeHours(1).publicKeys, true);
  t.teardown(server.close);
  const client = cloudtrailClient(server.endpoint, 'eu-west-1');
  await t.throwsAsync(publicKeysOf(client, 'eu-west-1', new Date(0), NOW), { name: 'AccessDeniedException' });
  t.is(server.asked(), 1, 'a refusal is not tried again');
});
