import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Files } from '../../replay/generate/files.js';
import { random } from '../../replay/generate/random.js';
import { causeline, ended, start } from '../helpers/cli.js';
import { incident, writeCase } from '../helpers/incident.js';
import { rows, temporaryFolder, value, withDuckDb } from '../helpers/store.js';

/** So much that a replay makes several commits. */
const night = incident(7, { cloudtrailRecords: 20_000 });

/** What a store holds, but for what says when it was learnt. Evidence as a count and a hash of all rows, results in full. */
const RELATIONS: Readonly<Record<string, string>> = {
  cloudtrail_events: hashed('SELECT * EXCLUDE (commit_seq, ingested_at) FROM cloudtrail_events'),
  spans: hashed('SELECT * EXCLUDE (commit_seq, ingested_at) FROM spans'),
  metric_points: hashed('SELECT * EXCLUDE (commit_seq, ingested_at) FROM metric_points'),
  quarantine: hashed('SELECT * EXCLUDE (commit_seq, recorded_at) FROM quarantine'),
  inputs: 'SELECT * EXCLUDE (commit_seq, recorded_at) FROM inputs ORDER BY ALL',
  findings: 'SELECT * EXCLUDE (derived_seq, recorded_at) FROM findings ORDER BY ALL',
  finding_evidence: 'SELECT * FROM finding_evidence ORDER BY ALL',
  chains: 'SELECT * EXCLUDE (revision, reason, recorded_at, supersedes) FROM chains ORDER BY ALL',
  chain_links: 'SELECT * EXCLUDE (revision) FROM chain_links ORDER BY ALL',
  coverage: 'SELECT * FROM coverage ORDER BY ALL',
  timeline: hashed('SELECT * FROM timeline'),
};

function hashed(query: string): string {
  return `SELECT count(*), sum(hash(r)::HUGEINT) FROM (${query}) r`;
}

function contents(db: string): Promise<Record<string, unknown[][]>> {
  return withDuckDb(db, async (connection) => {
    const found: Record<string, unknown[][]> = {};
    for (const [relation, query] of Object.entries(RELATIONS)) found[relation] = await rows(connection, query);
    return found;
  });
}

/** Rows of every table, the last commit and every revision: what a replay of nothing new must leave as it is. */
function history(db: string): Promise<unknown> {
  return withDuckDb(db, async (connection) => {
    const tables = await rows(
      connection,
      `SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary ORDER BY ALL`,
    );
    const counts: Record<string, unknown> = {};
    for (const table of tables.flat().map(String))
      counts[table] = await value(connection, `SELECT count(*) FROM ${table}`);
    const revisions = await rows(connection, 'SELECT chain_id, revision, recorded_at::VARCHAR FROM chain_history');
    return { counts, revisions, lastCommit: await value(connection, 'SELECT max(commit_seq) FROM _store.commits') };
  });
}

async function replay(t: ExecutionContext, folder: string, db: string) {
  const { code, stdout, stderr } = await causeline(['replay', folder, '--db', db, '--json']);
  t.is(code, 0, stderr);
  return JSON.parse(stdout);
}

/** The case, and the store of one replay that nobody disturbed. */
const shared = mkdtempSync(join(tmpdir(), 'causeline-night-'));
const path = join(shared, 'night');
const whole = join(shared, 'whole.duckdb');

test.before('a clean replay', async () => {
  writeCase(path, night);
  const { code, stderr } = await causeline(['replay', path, '--db', whole, '--json']);
  if (code !== 0) throw new Error(stderr);
});

test.after.always(() => rmSync(shared, { recursive: true, force: true }));

/** A folder of the test's own, with the store of the clean replay in it. */
function copied(t: ExecutionContext): { folder: string; db: string } {
  const folder = temporaryFolder(t);
  const db = join(folder, 'copy.duckdb');
  copyFileSync(whole, db);
  return { folder, db };
}

const size = (path: string) => (existsSync(path) ? statSync(path).size : 0);
const written = (db: string) => size(db) + size(`${db}.wal`);

test.serial('killed again and again at any moment, a replay ends as one that was left alone', async (t) => {
  const folder = temporaryFolder(t);
  const expected = await contents(whole);
  t.is(expected.findings!.length, 3);
  t.is(expected.chains!.length, 1);
  t.true(Number(await withDuckDb(whole, (c) => value(c, 'SELECT max(commit_seq) FROM _store.commits'))) >= 4);

  const chance = random(0x9111);
  const fullSize = size(whole);
  let kills = 0;
  for (let store = 0; kills < 6; store += 1) {
    const db = join(folder, `killed-${store}.duckdb`);
    let finished = false;
    // Of the first store also the creation is cut short; later ones are killed while they write what an earlier life began.
    for (let life = 0; !finished && life < 5 && kills < 6; life += 1) {
      const child = start(['replay', path, '--db', db]);
      const end = ended(child);
      const target = written(db) + fullSize * chance.between(0, life % 2 === 0 ? 0.4 : 1.2);
      const lingersMs = chance.between(0, life === 0 ? 40 : 700);
      while (child.exitCode === null && written(db) <= target) await pause(2);
      await pause(lingersMs);
      finished = !child.kill('SIGKILL');
      const { code } = await end;
      finished ||= code === 0;
      if (finished) break;
      kills += 1;
      await holdsWholeCommits(t, db);
    }
    await replay(t, path, db);
    t.deepEqual(await contents(db), expected, `store ${store}`);
  }
  t.true(kills >= 6);
});

/** A store can be asked at once, or says that it is none yet; what is in it are whole commits. */
async function holdsWholeCommits(t: ExecutionContext, db: string): Promise<void> {
  const counted = ['cloudtrail_events', 'spans', 'metric_points', 'inputs'].map(
    (name) => `(SELECT count(*) FROM ${name})`,
  );
  const query = `SELECT ${counted.join(' + ')} AS found, (SELECT coalesce(sum(rows), 0) FROM _store.commits) AS committed`;
  const { code, stdout, stderr } = await causeline(['sql', query, '--db', db, '--format', 'json']);
  if (code === 0) {
    const [{ found, committed }] = JSON.parse(stdout);
    t.is(found, committed);
  } else {
    t.is(code, 2);
    t.regex(stderr, /There is no file|not a Causeline store|not a valid DuckDB/);
  }
}

test.serial('replaying twice changes nothing at all', async (t) => {
  const { db } = copied(t);
  const before = await history(db);
  const again = await replay(t, path, db);
  t.deepEqual(await history(db), before);
  t.deepEqual(again.collected.stored, { cloudtrail: 0, traces: 0, metrics: 0, 's3-access': 0, iam: 0 });
  const read: number[] = Object.values(again.collected.read);
  t.is(
    again.collected.duplicates,
    read.reduce((sum, count) => sum + count, 0),
  );
  t.deepEqual(again.recorded, {
    findings: { added: 0, changed: 0, withdrawn: 0 },
    chains: { added: 0, revised: 0, withdrawn: 0 },
  });
});

const part = (keep: (file: string) => boolean): Files => new Map([...night].filter(([file]) => keep(file)));

const [traces, others] = [part((file) => file.startsWith('traces/')), part((file) => !file.startsWith('traces/'))];
const EARLIER = /^(traces|metrics)\/[012][./]|trail_[012]\./;
const [earlier, later] = [part((file) => EARLIER.test(file)), part((file) => !EARLIER.test(file))];

const orders: Readonly<Record<string, readonly [Files, Files]>> = {
  'its traces, then the rest of it,': [traces, others],
  'all but its traces, then them,': [others, traces],
  'its later minutes, then the earlier ones,': [later, earlier],
};

for (const [what, parts] of Object.entries(orders))
  test.serial(`replaying ${what} ends as replaying it whole`, async (t) => {
    const folder = temporaryFolder(t);
    const db = join(folder, 'parts.duckdb');
    for (const [index, files] of parts.entries()) {
      t.true(files.size > 0);
      await replay(t, writeCase(join(folder, `part-${index}`), files), db);
    }
    t.deepEqual(await contents(db), await contents(whole));
  });

test.serial('the same files read from a folder with other names for them are known already', async (t) => {
  const { folder, db } = copied(t);
  const renamed = new Map([...night].map(([path, content]) => [path.replace(/(\w+)\.json/, '$1-copy.json'), content]));
  const copy = await replay(t, writeCase(join(folder, 'copy'), renamed), db);
  t.deepEqual(copy.collected.stored, { cloudtrail: 0, traces: 0, metrics: 0, 's3-access': 0, iam: 0 });
  t.is(copy.recorded.chains.revised, 0);
});

test.serial('bad input is kept with a reason, the rest is stored, and the replay is no failure', async (t) => {
  const folder = temporaryFolder(t);
  const some = part((file) => /^(traces|metrics)\/[01][./]/.test(file));
  const bad = writeCase(join(folder, 'bad'), some);
  const intact = night.get('traces/3/config-sync.jsonl.gz')!;
  const cut = intact.subarray(0, intact.length - 500);
  const lines = `{"resourceSpans":[]}\n{"resourceSpans": nonsense\nplain text\n{"resourceSpans":[]}\n`;
  writeCase(
    bad,
    new Map([
      ['traces/cut.jsonl.gz', cut],
      ['traces/lines.jsonl', Buffer.from(lines)],
      ['traces/notes.txt', Buffer.from('not for us')],
      ['traces/no-gzip.jsonl.gz', Buffer.from('{"resourceSpans":[]}\n')],
      ['metrics/empty.jsonl', Buffer.alloc(0)],
      ['cloudtrail/empty.json', Buffer.alloc(0)],
      ['cloudtrail/bytes.json', Buffer.from([0xff, 0xfe, 0, 1, 2])],
    ]),
  );
  symlinkSync(join(path, 'traces/3'), join(bad, 'traces/linked'));
  writeFileSync(join(bad, 'README.md'), 'beside the case: nobody counts it');
  const db = join(folder, 'bad.duckdb');
  const { collected, ignored } = await replay(t, bad, db);
  t.true(collected.stored.traces > 1000 && collected.stored.metrics > 100);
  t.deepEqual(Object.values(ignored), [1, 1]);
  t.regex(Object.keys(ignored).sort().join(), /^links are not followed,unknown ending/);
  const kept = await withDuckDb(db, (connection) =>
    rows(
      connection,
      `SELECT source, split_part(origin, '#', 1), reason, octet_length(raw) FROM quarantine WHERE origin NOT LIKE '%cut%' ORDER BY ALL`,
    ),
  );
  t.deepEqual(
    kept.map(([source, origin]) => [source, origin]),
    [
      ['cloudtrail', 'incident/cloudtrail/bytes.json'],
      ['cloudtrail', 'incident/cloudtrail/empty.json'],
      ['traces', 'incident/traces/lines.jsonl'],
      ['traces', 'incident/traces/lines.jsonl'],
    ],
  );
  const damaged = await withDuckDb(db, (connection) =>
    rows(connection, `SELECT detail, raw FROM quarantine WHERE reason = 'bad_gzip'`),
  );
  t.is(damaged.length, 1);
  t.regex(String(damaged[0]![0]), /cut short/);
  t.true(Buffer.from(damaged[0]![1] as Uint8Array).equals(cut));
  t.is(collected.quarantined, Number(await withDuckDb(db, (c) => value(c, 'SELECT count(*) FROM quarantine'))));

  const before = await history(db);
  await replay(t, bad, db);
  t.deepEqual(await history(db), before);
});
