import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, copyFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { CauselineError } from '../../shared/errors.js';
import { sha256 } from '../../shared/hash.js';
import { readLedger } from '../../shared/store/ledger.js';
import { openStore, type Store } from '../../shared/store/store.js';
import { chainsOf, recordAll } from '../helpers/chains.js';
import { causeline } from '../helpers/cli.js';
import { finding } from '../helpers/findings.js';
import { rows, temporaryFolder } from '../helpers/store.js';

const storm = finding('storm', 'retry.storm', 0, { subject: 'service:sync' });
const puts = finding('puts', 'etcd.put_surge', 5);
const wal = finding('wal', 'etcd.wal_growth', 6);
const grown = finding('grown', 'etcd.db_growth', 7);
const steps = [
  [storm, puts],
  [storm, puts, wal],
  [storm, puts, wal, grown],
];

/** A store with a chain of three revisions, one of them recorded at a time, and its ledger. */
async function threeRevisions(t: ExecutionContext) {
  const db = join(temporaryFolder(t), 'store.duckdb');
  const store = await openStore(db);
  for (const findings of steps)
    await recordAll(
      store,
      findings,
      chainsOf(
        findings,
        findings.slice(1).map(({ id }) => ['storm', id] as const),
      ),
      { endOfInput: true },
    );
  const told = await history(store);
  store.close();
  return { db, ledger: `${db}.ledger`, told };
}

/** All that a store says was known, and when. */
async function history({ connection }: Pick<Store, 'connection'>): Promise<unknown> {
  return Promise.all(
    ['finding_history', 'chain_history', 'chain_link_history', '_store.finding_evidence'].map((relation) =>
      rows(connection, `SELECT * FROM ${relation} ORDER BY ALL`),
    ),
  );
}

async function reopened(db: string): Promise<{ told: unknown; notices: readonly string[] }> {
  const store = await openStore(db);
  const told = await history(store);
  store.close();
  return { told, notices: store.notices };
}

const linesOf = (ledger: string): string[] => readFileSync(ledger, 'utf8').trimEnd().split('\n');

/** The ledger holds these revisions, in this order, and every line follows the one before. */
async function holds(t: ExecutionContext, ledger: string, expected: readonly number[]): Promise<void> {
  const found: number[] = [];
  const read = await readLedger(ledger, ({ revision }) => void found.push(revision));
  t.is(read.brokenAt, undefined);
  t.is(read.tornBytes, 0);
  t.deepEqual(found, expected);
}

test('each line has its own checksum and that of the line before', async (t) => {
  const { ledger } = await threeRevisions(t);
  let previous = '';
  for (const [index, text] of linesOf(ledger).entries()) {
    const { checksum, ...rest } = JSON.parse(text);
    t.like(rest, { line: index + 1, previous });
    t.is(checksum, sha256(JSON.stringify(rest)));
    previous = checksum;
  }
  await holds(t, ledger, [1, 2, 3]);
});

test('opening a store and its ledger changes neither, and says nothing', async (t) => {
  const { db, ledger, told } = await threeRevisions(t);
  const before = readFileSync(ledger);
  t.deepEqual(await reopened(db), { told, notices: [] });
  t.deepEqual(readFileSync(ledger), before);
});

test('killed between the COMMIT and the append, a store has the revision, and the next start appends it', async (t) => {
  const db = join(temporaryFolder(t), 'store.duckdb');
  const script = resolve(import.meta.dirname, '../helpers/killed-before-ledger.js');
  const child = spawn(process.execPath, [script, db], { stdio: 'inherit' });
  const [, signal] = (await once(child, 'exit')) as [number | null, string];
  t.is(signal, 'SIGKILL');
  t.false(existsSync(`${db}.ledger`));
  const store = await openStore(db);
  t.deepEqual(store.notices, []);
  t.deepEqual(await rows(store.connection, 'SELECT chain_id, revision FROM chain_history'), [['chain of storm', 1n]]);
  store.close();
  await holds(t, `${db}.ledger`, [1]);
});

test('a last line that was torn is cut off, its bytes are kept, and it is completed from the store', async (t) => {
  const { db, ledger, told } = await threeRevisions(t);
  const whole = readFileSync(ledger);
  const [first, second] = linesOf(ledger) as [string, string];
  const torn = Buffer.byteLength(`${first}\n${second}\n`) + 100;
  truncateSync(ledger, torn);
  t.deepEqual(await reopened(db), {
    told,
    notices: [`The last line of ${ledger} was torn: its 100 bytes were moved to ${ledger}.torn.`],
  });
  t.deepEqual(readFileSync(ledger), whole);
  t.is(readFileSync(`${ledger}.torn`).length, 100);
});

test('a ledger cut at a line is completed; where more than the last revision was gone, that is said', async (t) => {
  const { db, ledger, told } = await threeRevisions(t);
  const whole = readFileSync(ledger);
  const [first, second] = linesOf(ledger) as [string, string];
  writeFileSync(ledger, `${first}\n${second}\n`);
  t.deepEqual(await reopened(db), { told, notices: [] }, 'this is what a crash leaves');
  t.deepEqual(readFileSync(ledger), whole);
  writeFileSync(ledger, `${first}\n`);
  const { notices } = await reopened(db);
  t.deepEqual(notices, [`${ledger} lacked 1 revision older than the last: it was cut, and completed from the store.`]);
  t.deepEqual(readFileSync(ledger), whole);
  rmSync(ledger);
  t.regex(
    (await reopened(db)).notices.join(),
    /^There was no .*: it was written anew from the store, with 3 revisions\.$/,
  );
  t.deepEqual(readFileSync(ledger), whole);
});

const edits: Readonly<Record<string, (lines: string[]) => string[]>> = {
  'a word was changed': ([first, ...rest]) => [first!.replace('found in', 'lost in'), ...rest],
  'a line was taken out': ([first, , third]) => [first!, third!],
  'lines were exchanged': ([first, second, third]) => [second!, first!, third!],
  'a line was no JSON': ([first, , third]) => [first!, 'nonsense', third!],
};

for (const [what, edit] of Object.entries(edits))
  test(`a ledger in which ${what} is kept aside and written anew from the store`, async (t) => {
    const { db, ledger, told } = await threeRevisions(t);
    const edited = `${edit(linesOf(ledger)).join('\n')}\n`;
    writeFileSync(ledger, edited);
    const { notices, told: after } = await reopened(db);
    t.regex(
      notices.join(),
      /is not as it was written from line [12] on: it was kept as .*\.ledger\.damaged-1 and written anew/,
    );
    t.is(readFileSync(`${ledger}.damaged-1`, 'utf8'), edited);
    t.deepEqual(after, told);
    await holds(t, ledger, [1, 2, 3]);
  });

test('a store that lost what it had committed takes it up from the ledger again', async (t) => {
  const { db, ledger, told } = await threeRevisions(t);
  const older = `${db}.older`;
  const store = await openStore(older);
  await recordAll(store, [], [], { endOfInput: true });
  store.close();
  copyFileSync(older, db);
  const { notices, told: after } = await reopened(db);
  t.deepEqual(notices, [`3 revisions of ${ledger} not in the store: taken up again.`]);
  t.deepEqual(after, told);
  rmSync(db);
  t.deepEqual((await reopened(db)).told, told, 'also where the file is gone');
  await holds(t, ledger, [1, 2, 3]);
});

test('the ledger of another store is refused, and nothing is changed', async (t) => {
  const one = await threeRevisions(t);
  const other = await threeRevisions(t);
  copyFileSync(other.ledger, one.ledger);
  const error = await t.throwsAsync(openStore(one.db), { instanceOf: CauselineError });
  t.is(error.code, 'unreadable_input');
  t.regex(error.message, /tells another history of chain chain of storm \(revision 1\)/);
  t.deepEqual(readFileSync(one.ledger), readFileSync(other.ledger));
  rmSync(one.ledger);
  t.deepEqual((await reopened(one.db)).told, one.told);
});

test('an append that fails half way is mended by the next one', async (t) => {
  const db = join(temporaryFolder(t), 'store.duckdb');
  const store = await openStore(db);
  await recordAll(store, [storm, puts], chainsOf([storm, puts], [['storm', 'puts']]), { endOfInput: true });
  appendFileSync(`${db}.ledger`, '{"line":2,"previous":"half a l');
  const findings = [storm, puts, wal];
  const chains = chainsOf(findings, [
    ['storm', 'puts'],
    ['storm', 'wal'],
  ]);
  await recordAll(store, findings, chains, { endOfInput: true });
  store.close();
  await holds(t, `${db}.ledger`, [1, 2]);
});

test('a writer that appends to the ledger still holds its store', async (t) => {
  const { db } = await threeRevisions(t);
  const store = await openStore(db);
  await recordAll(store, [], [], { endOfInput: true });
  const { code, stderr } = await causeline(['rebuild', '--db', db]);
  store.close();
  t.is(code, 2);
  t.regex(stderr, /^error: Another process holds /);
});
