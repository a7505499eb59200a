import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openCase } from '../../replay/case.js';
import { collectFiles } from '../../services/collect/index.js';
import { correlate, ruleset } from '../../services/correlate/index.js';
import { rebuild } from '../../services/run/rebuild.js';
import { openStore } from '../../shared/store/store.js';
import { causeline } from '../helpers/cli.js';
import { root } from '../helpers/data.js';
import { rows, temporaryFolder, value, withDuckDb } from '../helpers/store.js';

const { files } = openCase(join(root, 'replay/cases/storage-avalanche'));

/** Evidence that comes in a step, what judges it, and whether it was the last. */
interface Step {
  readonly comes: (path: string) => boolean;
  /** The ruleset of this build, where no other is named. */
  readonly judgedBy?: string;
  readonly endOfInput?: boolean;
}

/** The bundled incident, delivered in steps: each is collected, judged and recorded as a running Causeline would. */
async function deliver(db: string, steps: readonly Step[]): Promise<void> {
  for (const { comes, judgedBy = ruleset, endOfInput = false } of steps) {
    const store = await openStore(db);
    const own = files.filter(({ id }) => comes(id));
    await collectFiles(store, own, { nowUnixNano: BigInt(Date.now()) * 1_000_000n });
    await correlate(store, { endOfInput, ruleset: judgedBy });
    store.close();
  }
}

const nothing = () => false;
const metrics = (path: string) => path.includes('/metrics/');
const gateway = (path: string) => path.includes('api-gateway');
const sync = (path: string) => path.includes('config-sync');
const others = (path: string) => path.includes('/traces/') && !gateway(path) && !sync(path);

const shared = mkdtempSync(join(tmpdir(), 'causeline-history-'));
/** Traces, then metrics, then its end; another ruleset; and the gateway's traces when everything was sealed. */
const revised = join(shared, 'revised.duckdb');
/** All but the traces of the service where it began, then these. */
const replaced = join(shared, 'replaced.duckdb');

test.before('evidence comes in steps', async () => {
  await deliver(revised, [
    { comes: (path) => others(path) || sync(path), judgedBy: 'older rules' },
    { comes: metrics, judgedBy: 'older rules' },
    { comes: nothing, judgedBy: 'older rules', endOfInput: true },
    { comes: nothing },
    { comes: gateway, endOfInput: true },
  ]);
  await deliver(replaced, [
    { comes: (path) => metrics(path) || others(path) || gateway(path), endOfInput: true },
    { comes: sync, endOfInput: true },
  ]);
});

test.after.always(() => rmSync(shared, { recursive: true, force: true }));

const ask = (db: string, query: string): Promise<unknown[][]> =>
  withDuckDb(db, (connection) => rows(connection, query));

const inOneLine = (text: string): string => text.replaceAll(/\s+/g, ' ');

/** When this revision was recorded, as SQL. */
const recordedAt = (revision: number, rootKind: string): string =>
  `(SELECT recorded_at FROM chain_history WHERE revision = ${revision} AND root_kind = '${rootKind}')`;

test.serial('an answer changes by revisions that say what came, and what it came to', async (t) => {
  const found = await ask(revised, 'SELECT revision, state, verdict, reason FROM chain_history ORDER BY revision');
  const expected: [string, string, RegExp][] = [
    ['provisional', 'CONFIRMED', /^found in the evidence$/],
    [
      'provisional',
      'LIKELY',
      /^scrapes that came .* after revision 1 added etcd\.db_growth, etcd\.put_surge, etcd\.quota_exhausted, etcd\.wal_growth and go\.gc_pressure; .*joined; .*verdict CONFIRMED became LIKELY$/,
    ],
    ['sealed', 'LIKELY', /^the input has ended: sealed$/],
    ['sealed', 'LIKELY', /^ruleset changed$/],
    [
      'sealed',
      'LIKELY',
      /^evidence after sealing reopened it: spans that came .* after revision 4 added http\.error_burst; .*sealed again$/,
    ],
  ];
  t.is(found.length, expected.length);
  for (const [index, [state, verdict, reason]] of expected.entries()) {
    t.deepEqual(found[index]!.slice(0, 3), [BigInt(index + 1), state, verdict]);
    t.regex(String(found[index]![3]), reason);
  }
});

test.serial('what was known at a time is what is answered for that time', async (t) => {
  const known = (at: string) => ask(revised, `SELECT revision, state FROM chains_as_of(${at})`);
  const kindsKnown = async (at: string) =>
    (await ask(revised, `SELECT DISTINCT kind FROM timeline_as_of(${at}) ORDER BY kind`)).flat();
  const began = recordedAt(1, 'go.module_fetch_failure');
  t.deepEqual(await known(`${began} - INTERVAL 1 MICROSECOND`), []);
  t.deepEqual(await kindsKnown(`${began} - INTERVAL 1 MICROSECOND`), []);
  for (const revision of [1, 2, 3, 4, 5]) {
    const [[found]] = (await known(recordedAt(revision, 'go.module_fetch_failure'))) as [[bigint]];
    t.is(Number(found), revision);
  }
  t.deepEqual(await kindsKnown(began), ['go.module_fetch_failure', 'http.error_burst', 'retry.storm']);
  t.true((await kindsKnown('now()::TIMESTAMP')).includes('etcd.quota_exhausted'));
  const links = await ask(
    revised,
    'SELECT revision, count(*) FROM chain_link_history GROUP BY revision ORDER BY revision',
  );
  t.deepEqual(
    links.map(([revision]) => Number(revision)),
    [1, 2, 3, 4, 5],
  );
});

test.serial('a chain that takes the place of another names it, and both say why', async (t) => {
  const [[old, oldState], [current, , supersedes]] = (await ask(
    replaced,
    `SELECT chain_id, state, supersedes, reason FROM chain_history QUALIFY row_number() OVER (PARTITION BY chain_id ORDER BY revision DESC) = 1
     ORDER BY root_kind`,
  )) as [[string, string, string, string], [string, string, string, string]];
  t.is(oldState, 'withdrawn');
  t.is(supersedes, old);
  const before = await ask(replaced, `SELECT root_kind FROM chains_as_of(${recordedAt(1, 'etcd.put_surge')})`);
  t.deepEqual(before, [['etcd.put_surge']]);
  t.deepEqual(await ask(replaced, 'SELECT chain_id FROM chains'), [[current]]);

  const now = await causeline(['explain', current, '--db', replaced]);
  t.is(now.code, 0, now.stderr);
  const section = now.stdout.split('How the answer changed\n')[1]!;
  t.true(
    inOneLine(section).includes(`LIKELY, sealed: replaces chain ${old}: an earlier root; spans that came`),
    section,
  );
  const then = await causeline(['explain', old, '--db', replaced]);
  t.is(then.code, 0);
  t.true(inOneLine(then.stdout).includes(` withdrawn: replaced by chain ${current}: an earlier root`));
  t.true([...section.split('\n'), ...then.stdout.split('\n')].every((line) => line.length <= 100));
});

test.serial('explain says what a provisional chain waits for', async (t) => {
  const db = join(temporaryFolder(t), 'provisional.duckdb');
  await deliver(db, [{ comes: (path) => sync(path) || others(path) }]);
  const [[chain]] = (await ask(db, 'SELECT chain_id FROM chains')) as [[string]];
  const { stdout } = await causeline(['explain', chain, '--db', db]);
  t.regex(
    inOneLine(stdout),
    /Provisional: evidence of its time may still come from traces prod\/config-api \(newest 2026-\S+ \S+ UTC, may come 2m late\), /,
  );
  const sealed = (await ask(revised, 'SELECT chain_id FROM chains'))[0]![0] as string;
  t.false((await causeline(['explain', sealed, '--db', revised])).stdout.includes('Provisional'));
});

/** All that a store holds but for where it computed it: evidence, what was concluded, and what was known when. */
const CONTENT = [
  'spans',
  'metric_points',
  'cloudtrail_events',
  'quarantine',
  'inputs',
  '_store.commits',
  '_store.missed_scrapes',
  'chains',
  'chain_links',
  'chain_history',
  'chain_link_history',
].map((relation) => `SELECT count(*), sum(hash(r)::HUGEINT) FROM ${relation} r`);

async function contents(db: string): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const query of CONTENT) found.push(await ask(db, query));
  const findings = await ask(db, 'SELECT * EXCLUDE (derived_seq, recorded_at) FROM findings ORDER BY finding_id');
  const told = await ask(
    db,
    `SELECT h.revision, f.kind, f.finding_id, f.summary FROM chain_history h JOIN finding_history f ON f.recorded_at <= h.recorded_at
     AND list_contains(from_json(h.members, '["VARCHAR"]'), f.finding_id) ORDER BY ALL`,
  );
  return [...found, findings, told];
}

function copied(t: ExecutionContext, from: string): string {
  const db = join(temporaryFolder(t), "it's a copy.duckdb");
  copyFileSync(from, db);
  copyFileSync(`${from}.ledger`, `${db}.ledger`);
  return db;
}

test.serial('a rebuild has the same evidence, answer and history, and keeps the old file', async (t) => {
  for (const from of [revised, replaced]) {
    const db = copied(t, from);
    const before = await contents(db);
    const ledger = readFileSync(`${db}.ledger`, 'utf8');
    const { kept, copied: evidence, revisions, recorded } = await rebuild(db);
    t.is(kept, `${db}.before-rebuild-1`);
    t.is(evidence['metric_points'], 79_751);
    t.is(revisions, ledger.trimEnd().split('\n').length);
    t.deepEqual(recorded.chains, { added: 0, revised: 0, withdrawn: 0 });
    t.deepEqual(await contents(db), before);
    t.deepEqual(await contents(kept), before);
    t.is(readFileSync(`${db}.ledger`, 'utf8'), ledger);
    t.false(existsSync(`${db}.rebuilding`));
  }
});

test.serial(
  'what a rebuild judges by other rules is a revision like any other; computed rows that were lost are back',
  async (t) => {
    const db = join(temporaryFolder(t), 'old.duckdb');
    await deliver(db, [{ comes: () => true, judgedBy: 'older rules', endOfInput: true }]);
    await withDuckDb(db, (connection) => connection.run('DELETE FROM _store.findings'));
    for (const [number, says] of [
      /^Judged anew: 0 chains added, 1 revised, 0 withdrawn; /m,
      /^Judged anew: the same chains\.$/m,
    ].entries()) {
      const { code, stdout, stderr } = await causeline(['rebuild', '--db', db]);
      t.is(code, 0, stderr);
      t.regex(stdout, says);
      t.true(stdout.endsWith(`${db} is the new file; the old one is ${db}.before-rebuild-${number + 1}.\n`));
    }
    t.deepEqual(await ask(db, 'SELECT state, reason FROM chains'), [['sealed', 'ruleset changed']]);
    t.deepEqual(await ask(db, 'SELECT count(*) FROM findings'), [[9n]]);
  },
);

test.serial('a rebuild says in one line what to do where the file is gone or cannot be read', async (t) => {
  const db = copied(t, revised);
  const cases: [() => void, RegExp][] = [
    [() => rmSync(db), /^error: There is no file .*, but its ledger holds 5 revisions: replay the evidence with --db /],
    [
      () => writeFileSync(db, 'no database '.repeat(2000)),
      /^error: .* cannot be opened as a DuckDB file, but its ledger holds 5 revisions: move the file away and replay/,
    ],
    [() => rmSync(`${db}.ledger`), /^error: .* cannot be opened as a DuckDB file, and no ledger beside it/],
    [() => rmSync(db), /^error: There is no file .*, and no ledger beside it/],
  ];
  for (const [spoil, says] of cases) {
    spoil();
    const { code, stdout, stderr } = await causeline(['rebuild', '--db', db]);
    t.is(code, 2);
    t.is(stdout, '');
    t.regex(stderr, says);
    t.is(stderr.trimEnd().split('\n').length, 1);
  }
});

test.serial('a store that is replayed anew beside its ledger goes on with its history', async (t) => {
  const db = copied(t, replaced);
  const history = await ask(db, 'SELECT chain_id, revision, recorded_at FROM chain_history ORDER BY ALL');
  rmSync(db);
  const { code, stderr } = await causeline(['replay', join(root, 'replay/cases/storage-avalanche'), '--db', db]);
  t.is(code, 0);
  t.regex(stderr, /^notice: 3 revisions of .*\.ledger not in the store: taken up again\.\n$/);
  const now = await ask(db, 'SELECT chain_id, revision, recorded_at FROM chain_history ORDER BY ALL');
  t.deepEqual(now.slice(0, 1), history.slice(0, 1));
  for (const revision of history) t.true(now.some((one) => String(one) === String(revision)));
  t.is(await withDuckDb(db, (connection) => value(connection, 'SELECT count(*) FROM chains')), 1n);
});
