import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { causeline, type Ended, ended, start } from './helpers/cli.js';
import { root } from './helpers/data.js';
import { incident, writeCase } from './helpers/incident.js';
import { temporaryFolder, withDuckDb } from './helpers/store.js';

const folder = mkdtempSync(join(tmpdir(), 'causeline-cli-'));
const night = join(folder, 'night');
const db = join(folder, 'night.duckdb');
let replayed: Ended;

interface Chain {
  readonly chain_id: string;
  readonly recorded_at: string;
}

test.before('an incident is replayed', async () => {
  writeCase(night, incident(11, { cloudtrailRecords: 60 }), 'a night');
  replayed = await causeline(['replay', night, '--db', db, '--json']);
});

test.after.always(() => rmSync(folder, { recursive: true, force: true }));

const chains = async (...args: string[]): Promise<Chain[]> => {
  const { code, stdout, stderr } = await causeline(['chains', '--db', db, '--json', ...args]);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
};

/** One clear line on stderr, nothing on stdout, and no stack. */
function refusedWith(t: ExecutionContext, { code, stdout, stderr }: Ended, expected: number, says: RegExp): void {
  t.is(code, expected, stderr);
  t.regex(stderr, says);
  t.is(stderr.trimEnd().split('\n').length, 1, stderr);
  t.notRegex(stderr, / at .*\.js:/);
  t.is(stdout, '');
}

const longest = (text: string) => Math.max(...text.split('\n').map((line) => Array.from(line).length));

test.serial('replay --json prints one JSON document, exits 0 and says nothing else when piped', (t) => {
  t.is(replayed.code, 0);
  t.is(replayed.stderr, '');
  const document = JSON.parse(replayed.stdout);
  t.is(document.case, 'a night');
  t.is(document.db, db);
  t.like(document.collected, { files: 24, quarantined: 0, duplicates: 0, read: { cloudtrail: 60 } });
  t.is(document.chains.length, 1);
  t.is(document.findings, 3);
  t.true(document.chains[0].links.length > 0 && document.chains[0].findings.length > 0);
});

test.serial('replay tells people what it read, draws the chains, and names commands that work', async (t) => {
  const own = join(temporaryFolder(t), 'own.duckdb');
  const { code, stdout, stderr } = await causeline(['replay', night, '--db', own]);
  t.is(code, 0);
  t.is(stderr, '', 'no progress when piped');
  t.notRegex(stdout, /(?!\n)\p{Cc}/u, 'no colour, no cursor moves');
  t.regex(
    stdout,
    /^a night\nRead 60 CloudTrail records, \d+ spans, \d+ metric points, 0 known already; 0 quarantined\.$/m,
  );
  t.regex(stdout, /3 findings, 1 chain\./);
  const [chain] = /npx causeline explain ([0-9a-f]{8})/.exec(stdout)!.slice(1);
  t.is((await causeline(['explain', chain!, '--db', own])).code, 0);
});

test.serial('a bundled case replays to its chain', async (t) => {
  const own = join(temporaryFolder(t), 'quiet.duckdb');
  const { code, stdout } = await causeline(['replay', join(root, 'replay/cases/quiet-night'), '--db', own, '--json']);
  t.is(code, 0);
  t.like(JSON.parse(stdout), { case: 'quiet-night', chains: [] });
  const none = await causeline(['chains', '--db', own]);
  t.is(none.code, 0, 'an empty answer is an answer');
  t.regex(none.stdout, /^No chain/);
  t.is((await causeline(['chains', '--db', own, '--json'])).stdout.trim(), '[]');
});

test.serial('--help fits 100 columns and names every command; so does the help of each command', async (t) => {
  const { code, stdout } = await causeline(['--help']);
  t.is(code, 0);
  t.true(longest(stdout) <= 100);
  for (const command of ['replay', 'chains', 'explain', 'sql', 'deletions', 'verify', 'rebuild', 'config']) {
    t.regex(stdout, new RegExp(`^  ${command}\\b`, 'm'));
    const help = await causeline([command, '--help']);
    t.is(help.code, 0);
    t.true(longest(help.stdout) <= 100);
    if (command !== 'config') t.regex(help.stdout, /--db <file>/);
    t.regex(help.stdout, /--config <file>/);
  }
});

test.serial('--version prints the version of the package', async (t) => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  t.deepEqual(await causeline(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
});

const badUsage: Readonly<Record<string, { args: readonly string[]; says: RegExp }>> = {
  'no command': { args: [], says: /a command is expected; see 'causeline --help'/ },
  'an unknown command': { args: ['nonsense'], says: /unknown command 'nonsense'/ },
  'a missing argument': { args: ['replay'], says: /missing required argument 'case'/ },
  'an unknown option': { args: ['chains', '--nope'], says: /unknown option '--nope'/ },
  'an unknown format': {
    args: ['sql', 'SELECT 1', '--format', 'xml'],
    says: /'xml' is invalid.*table, json, csv, parquet/,
  },
  'too many arguments': { args: ['explain', 'a', 'b'], says: /too many arguments/ },
  'a bad time': { args: ['chains', '--db', db, '--as-of', 'yesterday'], says: /--as-of takes an ISO 8601 time/ },
  'a time that is no time': { args: ['chains', '--db', db, '--as-of', '2026-13-01T00:00:00Z'], says: /--as-of takes/ },
  'a day that no month has': { args: ['chains', '--db', db, '--as-of', '2026-02-30'], says: /--as-of takes/ },
  'a time of another kind': { args: ['chains', '--db', db, '--as-of', '17/03/2024 03:05'], says: /--as-of takes/ },
  'a query with a syntax error': {
    args: ['sql', 'selec 1', '--db', db],
    says: /^error: The query was not answered: .*syntax/,
  },
  'a query that writes': { args: ['sql', 'DROP VIEW spans', '--db', db], says: /^error: The query was not answered/ },
  'a query of several lines that fails': { args: ['sql', 'SELECT 1,\n nope\nFROM spans', '--db', db], says: /nope/ },
  'a store in memory': { args: ['replay', night, '--db', ':memory:'], says: /name one with --db/ },
};

for (const [what, { args, says }] of Object.entries(badUsage))
  test.serial(`${what} is bad usage: exit 2 and one line`, async (t) => refusedWith(t, await causeline(args), 2, says));

test.serial('a case that is not there, or that says no name, is unreadable input and makes no store', async (t) => {
  const own = temporaryFolder(t);
  const file = join(own, 'x.duckdb');
  const missing = await causeline(['replay', join(own, 'absent'), '--db', file]);
  refusedWith(t, missing, 2, /There is no case folder/);
  const made = (name: string, yaml?: string) => {
    mkdirSync(join(own, name));
    if (yaml !== undefined) writeFileSync(join(own, name, 'case.yaml'), yaml);
    return join(own, name);
  };
  const given: [string, RegExp][] = [
    [made('bare'), /holds no case\.yaml/],
    [made('empty', ''), /must have a name/],
    [made('nameless', 'title: x\n'), /must have a name/],
    [made('numbered', 'name: 7\n'), /must have a name/],
    [made('blank', 'name: "  "\n'), /must have a name/],
    [made('broken', 'name: [\n'), /is not YAML/],
  ];
  for (const [path, says] of given) refusedWith(t, await causeline(['replay', path, '--db', file]), 2, says);
  const notFolder = await causeline(['replay', join(own, 'numbered', 'case.yaml'), '--db', file]);
  refusedWith(t, notFolder, 2, /There is no case folder/);
  t.false(existsSync(file));
});

test.serial('an unknown key in case.yaml is ignored, and a case of nothing is a case', async (t) => {
  const own = temporaryFolder(t);
  writeFileSync(join(own, 'case.yaml'), 'name: bare\nseverity: high\nwindow: nonsense\n');
  const { code, stdout } = await causeline(['replay', own, '--db', join(own, 'x.duckdb'), '--json']);
  t.is(code, 0);
  t.like(JSON.parse(stdout), { case: 'bare', chains: [], findings: 0 });
});

test.serial('a reading command never creates the file', async (t) => {
  const own = temporaryFolder(t);
  const absent = join(own, 'absent.duckdb');
  for (const args of [['chains'], ['explain', 'abcd'], ['sql', 'SELECT 1']])
    refusedWith(t, await causeline([...args, '--db', absent]), 2, /There is no file .*absent\.duckdb/);
  refusedWith(t, await causeline(['chains'], { cwd: own }), 2, /There is no file \.\/causeline\.duckdb/);
  t.deepEqual(readdirSync(own), []);
});

test.serial('a file that is no store is unreadable input for every command', async (t) => {
  const own = temporaryFolder(t);
  const text = join(own, 'text.duckdb');
  writeFileSync(text, 'notes '.repeat(5000));
  for (const args of [['chains'], ['sql', 'SELECT 1'], ['replay', night]])
    refusedWith(t, await causeline([...args, '--db', text]), 2, /cannot be opened as a DuckDB file/);
});

test.serial('a store that another process holds is named as the reason', async (t) => {
  const own = join(temporaryFolder(t), 'held.duckdb');
  copyFileSync(db, own);
  await withDuckDb(own, async () => {
    refusedWith(t, await causeline(['chains', '--db', own]), 2, /Another process holds .*held\.duckdb/);
  });
});

test.serial('a store whose insides are broken is reported as a bug: exit 70', async (t) => {
  const own = join(temporaryFolder(t), 'broken.duckdb');
  copyFileSync(db, own);
  await withDuckDb(own, (connection) => connection.run('DROP VIEW chains'));
  const { code, stdout, stderr } = await causeline(['chains', '--db', own]);
  t.is(code, 70);
  t.is(stdout, '');
  t.regex(stderr, /^error: this is a bug in Causeline/);
});

test.serial(
  'the database is the flag, else CAUSELINE_DB, else what --config says, else ./causeline.duckdb',
  async (t) => {
    const own = temporaryFolder(t);
    const env = { CAUSELINE_DB: db };
    t.is((await causeline(['chains'], { env, cwd: own })).code, 0);
    const flag = await causeline(['chains', '--db', 'other.duckdb'], { env, cwd: own });
    refusedWith(t, flag, 2, /There is no file other\.duckdb/);
    writeFileSync(join(own, 'causeline.yaml'), `db: ${JSON.stringify(db)}\n`);
    t.is((await causeline(['chains', '--config', 'causeline.yaml'], { cwd: own })).code, 0);
    const variable = { env: { CAUSELINE_DB: 'other.duckdb' }, cwd: own };
    t.is((await causeline(['chains', '--config', 'causeline.yaml'], variable)).code, 2);
    copyFileSync(db, join(own, 'causeline.duckdb'));
    t.is((await causeline(['chains'], { cwd: own })).code, 0);
  },
);

test.serial('a store may have any name, also one of our own words', async (t) => {
  const own = temporaryFolder(t);
  for (const name of ['store', "it's a clock"]) {
    const file = join(own, `${name}.duckdb`);
    copyFileSync(db, file);
    t.is((await causeline(['replay', night, '--db', file])).code, 0, name);
    t.is((await causeline(['sql', 'SELECT count(*) FROM timeline', '--db', file])).code, 0, name);
  }
});

test.serial('chains lists a chain, as text and as a document', async (t) => {
  const [chain, ...others] = await chains();
  t.deepEqual(others, []);
  t.like(chain, { revision: 1, root_kind: 'retry.storm', state: 'sealed', reason: 'found in the evidence' });
  const { stdout } = await causeline(['chains', '--db', db]);
  t.regex(stdout, new RegExp(`^${chain!.chain_id.slice(0, 8)}  \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d  LIKELY`));
});

test.serial(
  'chains --as-of shows what was known: nothing before the replay, the chain from its own instant on',
  async (t) => {
    const [chain] = await chains();
    const learnt = chain!.recorded_at;
    const micros = /\.(\d{3})(\d{3})?Z$/.exec(learnt)!;
    const before = new Date(Date.parse(learnt) - 1).toISOString();
    const instant = new Date(Date.parse(learnt));
    t.deepEqual(await chains('--as-of', before), []);
    t.is((await chains('--as-of', learnt)).length, 1, `to the microsecond: ${micros[0]}`);
    t.is((await chains('--as-of', '2999-01-01')).length, 1);
    const zoned = (hours: number) =>
      new Date(instant.getTime() + 60_000 + hours * 3_600_000).toISOString().slice(0, 19);
    t.is((await chains('--as-of', `${zoned(2)}+02:00`)).length, 1, 'a minute later, as Paris writes it');
    t.deepEqual(await chains('--as-of', `${zoned(-2)}+02:00`), []);
    t.regex((await causeline(['chains', '--db', db, '--as-of', before])).stdout, /^No chain was known at /);
  },
);

test.serial('a time without a zone is UTC, wherever the machine stands', async (t) => {
  const [chain] = await chains();
  const later = new Date(Date.parse(chain!.recorded_at) + 60_000).toISOString().slice(0, 19);
  for (const TZ of ['UTC', 'Asia/Tokyo', 'America/Los_Angeles']) {
    const { stdout } = await causeline(['chains', '--db', db, '--json', '--as-of', later], { env: { TZ } });
    t.is(JSON.parse(stdout).length, 1, TZ);
  }
});

test.serial('explain takes a unique beginning of an id, and says why and what was not covered', async (t) => {
  const [chain] = await chains();
  const whole = await causeline(['explain', chain!.chain_id, '--db', db]);
  t.is(whole.code, 0);
  t.is((await causeline(['explain', chain!.chain_id.slice(0, 4), '--db', db])).stdout, whole.stdout);
  for (const word of [
    'retry.storm',
    'etcd.put_surge',
    'mechanism',
    'What was not covered',
    'Verdict LIKELY',
    'How the answer changed',
  ])
    t.true(whole.stdout.includes(word), word);
  t.true(longest(whole.stdout) <= 120);
});

test.serial('an unknown chain id is a no: exit 1', async (t) => {
  for (const id of ['no-such-chain', '0000', 'a', ''])
    refusedWith(t, await causeline(['explain', id, '--db', db]), 1, /^error: There is no chain/);
});

test.serial('sql answers in each format, and an empty answer is exit 0', async (t) => {
  const sql = (query: string, format: string) => causeline(['sql', query, '--db', db, '--format', format]);
  t.deepEqual(await sql('SELECT 7 AS seven', 'json'), { code: 0, stdout: '[{"seven":7}]\n', stderr: '' });
  t.deepEqual(await sql('SELECT 7 AS seven', 'csv'), { code: 0, stdout: 'seven\r\n7\r\n', stderr: '' });
  t.deepEqual(await sql('SELECT * FROM chains WHERE false', 'json'), { code: 0, stdout: '[]\n', stderr: '' });
  t.true((await sql('SELECT 7 AS seven', 'parquet')).stdout.startsWith('PAR1'));
  t.regex((await sql('SELECT kind FROM findings', 'table')).stdout, /retry\.storm[\s\S]*3 rows/);
});

test.serial('a reader who stops reading is no error', async (t) => {
  const child = start(['sql', 'SELECT * FROM spans', '--db', db, '--format', 'json']);
  child.stdout!.once('data', () => child.stdout!.destroy());
  t.is((await ended(child)).code, 0);
});
