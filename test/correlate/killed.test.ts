import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'ava';
import { openStore } from '../../shared/store/store.js';
import { goThrough, nightInSteps } from '../helpers/night-in-steps.js';
import { type Standing, standing } from '../helpers/standing.js';
import { rows, temporaryFolder } from '../helpers/store.js';

/** In which a revision is written, so that there is something to lose. */
const STEP = 3;

const WHERE = {
  before: 'after the evidence was committed and before it was correlated',
  inside: 'inside of the transaction of a correlation',
  after: 'after a correlation was committed and before its revisions were in the ledger',
};

const steps = nightInSteps();
let expected: Standing;

test.before('a night that nobody disturbed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'causeline-night-'));
  const store = await openStore(join(folder, 'whole.duckdb'));
  await goThrough(store, steps, true);
  expected = await standing(store.connection);
  store.close();
  rmSync(folder, { recursive: true, force: true });
});

for (const [where, words] of Object.entries(WHERE))
  test(`killed ${words}, a store that goes on says what one says that was left alone`, async (t) => {
    const folder = temporaryFolder(t);
    const db = join(folder, 'killed.duckdb');
    const script = resolve(import.meta.dirname, '../helpers/killed-in-correlate.js');
    const child = spawn(process.execPath, [script, db, String(STEP), where], { stdio: 'inherit' });
    const [, signal] = (await once(child, 'exit')) as [number | null, string];
    t.is(signal, 'SIGKILL');

    const store = await openStore(db);
    t.teardown(() => store.close());
    t.deepEqual(store.notices, []);
    await goThrough(store, steps.slice(STEP), true);
    t.deepEqual(await standing(store.connection), expected);
    t.is((expected.chains as unknown[]).length, 1);
    const [[revisions]] = (await rows(store.connection, 'SELECT count(*) FROM chain_history')) as [[bigint]];
    t.is(readFileSync(`${db}.ledger`, 'utf8').trimEnd().split('\n').length, Number(revisions));
  });
