import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openSound } from '../../services/run/sound.js';
import { CauselineError } from '../../shared/errors.js';
import { HeadFile } from '../../shared/store/head.js';
import { rows, temporaryFolder } from '../helpers/store.js';

const nobody = async () => [];

test('a file that may not be opened is not damaged: it is left where it is', async (t) => {
  const folder = temporaryFolder(t);
  const db = join(folder, 'store.duckdb');
  mkdirSync(db);
  for (const path of [db, join(folder, 'nowhere/store.duckdb')])
    await t.throwsAsync(openSound(path, nobody), {
      instanceOf: CauselineError,
      code: 'unreadable_input',
      message: /cannot be opened as a DuckDB file: .*(Is a directory|No such file)/,
    });
  t.deepEqual(readdirSync(folder), ['store.duckdb']);
});

test('a damaged file is set aside, and that is in the store that takes its place', async (t) => {
  const folder = temporaryFolder(t);
  const db = join(folder, 'store.duckdb');
  writeFileSync(db, 'no DuckDB file\n'.repeat(1000));
  const store = await openSound(db, nobody);
  t.deepEqual(
    (await rows(store.connection, 'SELECT what FROM incidents')).map(([what]) => what),
    ['damaged'],
  );
  store.close();
  t.true(existsSync(`${db}.damaged-1`));
});

test('a file beside the store that cannot be written is said by its name', async (t) => {
  const db = join(temporaryFolder(t), 'store.duckdb');
  mkdirSync(`${db}.head`);
  await t.throwsAsync(HeadFile.open(db), {
    code: 'unreadable_input',
    message: /store\.duckdb\.head cannot be written: EISDIR/,
  });
});

test('a witness that fails before the file is open fails the opening, and nothing else', async (t) => {
  const db = join(temporaryFolder(t), 'store.duckdb');
  await t.throwsAsync(
    openSound(db, () => Promise.reject(new Error('no answer'))),
    { message: 'no answer' },
  );
});
