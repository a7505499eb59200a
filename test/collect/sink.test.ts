import { join } from 'node:path';
import test from 'ava';
import { decodedGaps } from '../../services/collect/kafka/decode.js';
import { Sink } from '../../services/collect/kafka/sink.js';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import { openStore } from '../../shared/store/store.js';
import { record } from '../helpers/produced.js';
import { temporaryFolder, value } from '../helpers/store.js';

test('memory in which a stretch was decoded is used for the next one, whatever lies between them', async (t) => {
  const store = await openStore(join(temporaryFolder(t), 'store.duckdb'));
  t.teardown(() => store.close());
  const sink = new Sink(store, {
    afterCommit: async () => {},
    onStored: () => {},
    onPressure: () => {},
    onFailed: (cause) => t.fail(cause.message),
  });
  const of = { source: 'cloudtrail', cluster: 'c', topic: 'records', topicId: 'id', partition: 0 };
  const memory = new Set<unknown>();
  for (let offset = 0n; offset < 20n; offset += 2n) {
    const at = { key: null, timestamp: '0', attributes: 0, offset: String(offset), headers: {} };
    const messages = [{ ...at, value: record(`event ${offset}`).value }];
    const decoded = await sink.decode({ of, from: offset, next: offset + 1n, messages, gaps: [] }, cloudtrail);
    memory.add(decoded.batch.lines);
    sink.accept(decoded);
    const [from, to] = [offset + 1n, offset + 2n];
    sink.accept(decodedGaps({ of, from, next: to, messages: [], gaps: [{ from, to, cause: 'aborted_transaction' }] }));
    await sink.drained();
  }
  t.is(memory.size, 1);
  t.is(await value(store.connection, 'SELECT count(*)::INTEGER FROM cloudtrail_events'), 10);
});
