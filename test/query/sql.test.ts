import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { ask } from '../../services/query/ask.js';
import type { Format } from '../../services/query/sql.js';
import { CauselineError } from '../../shared/errors.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { event, point, rows, span, temporaryFolder, withDuckDb } from '../helpers/store.js';

const folder = mkdtempSync(join(tmpdir(), 'causeline-sql-'));
const db = join(folder, 'store.duckdb');
const from = <Row>(given: readonly Row[]) => given.map((row) => ({ sourceId: 'a file', row }));

test.before('a small store', async () => {
  const store = await openStore(db);
  await store.commit({
    ...emptyBatch(),
    cloudtrail: from([event('e1', 1, { objectKey: '=cmd()', userAgent: 'a "quoted", agent\nof two lines' })]),
    traces: from(Array.from({ length: 3000 }, (_, index) => span(index + 1, index, { httpStatus: 200 + (index % 3) }))),
    metrics: from([
      point('etcd_h', 0, { kind: 'histogram', bounds: [1], counts: [1, 2], value: Number.NaN }),
      point('etcd_g', 0, { attributes: '{"a":{"b":[1,null,"x"]}}' }),
    ]),
  });
  store.close();
});

test.after.always(() => rmSync(folder, { recursive: true, force: true }));

async function answer(query: string, format: Format = 'json'): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const out = new Writable({
    write(piece: Buffer, _, done) {
      pieces.push(Buffer.from(piece));
      done();
    },
  });
  await ask(db, { command: 'sql', query, format }, { width: 80, colour: false }, out);
  return Buffer.concat(pieces);
}

const json = async (query: string) => JSON.parse(String(await answer(query)));
const text = async (query: string, format: Format) => String(await answer(query, format));

/** A query as a user writes it, its one value as JSON shows it. */
const values: Readonly<Record<string, unknown>> = {
  '42::BIGINT': 42,
  '9007199254740991::BIGINT': 9007199254740991,
  '9007199254740992::BIGINT': '9007199254740992',
  '-9007199254740993::BIGINT': '-9007199254740993',
  '18446744073709551615::UBIGINT': '18446744073709551615',
  '(SELECT sum(n) FROM (VALUES (9223372036854775807::BIGINT), (1)) v(n))': '9223372036854775808',
  '(SELECT sum(n) FROM (VALUES (1::BIGINT), (2)) v(n))': 3,
  '1.50::DECIMAL(5, 2)': 1.5,
  '12345678901234567890.12::DECIMAL(38, 2)': '12345678901234567890.12',
  '0.1': 0.1,
  "'nan'::DOUBLE": 'NaN',
  "'-inf'::DOUBLE": '-Infinity',
  NULL: null,
  true: true,
  "'é😀'": 'é😀',
  "TIMESTAMP '2024-03-17 03:05:00'": '2024-03-17T03:05:00.000Z',
  "TIMESTAMP '2024-03-17 03:05:00.123456'": '2024-03-17T03:05:00.123456Z',
  "TIMESTAMP '1969-12-31 23:59:59.999999'": '1969-12-31T23:59:59.999999Z',
  "TIMESTAMP 'infinity'": 'infinity',
  "TIMESTAMPTZ '2024-03-17 03:05:00+02'": '2024-03-17T01:05:00.000Z',
  "TIMESTAMP_S '2024-03-17 03:05:00'": '2024-03-17T03:05:00.000Z',
  "DATE '2024-03-17'": '2024-03-17',
  "TIME '03:05:00'": '03:05:00',
  "'\\xFF\\x00a'::BLOB": '\\xFF\\x00a',
  '\'{"a": [1, {"b": null}]}\'::JSON': { a: [1, { b: null }] },
  '\'"text"\'::JSON': 'text',
  "[TIMESTAMP '2024-03-17 03:05:00', NULL]": ['2024-03-17T03:05:00.000Z', null],
  '[[\'{"a": 1}\'::JSON], []]': [[{ a: 1 }], []],
  "{'at': [TIMESTAMP '2024-03-17'], 'n': 9007199254740993, 'j': '[1]'::JSON}": {
    at: ['2024-03-17T00:00:00.000Z'],
    n: '9007199254740993',
    j: [1],
  },
  "MAP {'k': [1, 2]}": { k: [1, 2] },
  '[1, 2]::INTEGER[2]': [1, 2],
};

for (const [expression, expected] of Object.entries(values))
  test.serial(`json: ${expression}`, async (t) => {
    t.deepEqual(await json(`SELECT ${expression} AS v`), [{ v: expected }]);
  });

test.serial('json is one array of row objects, also of no rows and of many', async (t) => {
  t.is(await text('SELECT 1 WHERE false', 'json'), '[]\n');
  const spans = await json('SELECT span_id, attributes, flags, start_time FROM spans ORDER BY start_time');
  t.is(spans.length, 3000);
  t.deepEqual(spans[0], {
    span_id: '0000000000000001',
    attributes: { 'http.route': '/' },
    flags: [],
    start_time: '2026-03-01T02:00:00.000Z',
  });
  t.deepEqual(await json("SELECT value, counts, attributes FROM metric_points WHERE metric = 'etcd_h'"), [
    { value: 'NaN', counts: [1, 2], attributes: {} },
  ]);
});

test.serial('a name that two columns share loses neither of them', async (t) => {
  const [row] = await json('SELECT 1 AS n, 2 AS n');
  t.deepEqual(Object.values(row), [1, 2]);
  t.is(await text('SELECT 1 AS n, 2 AS n', 'csv'), 'n,n\r\n1,2\r\n');
});

test.serial('columns keep their order and stand under their own name, also where the name is a number', async (t) => {
  const query = `PIVOT (SELECT service, http_status FROM spans) ON http_status IN (202, 200) USING count(*)`;
  t.is(await text(query, 'csv'), 'service,202,200\r\napi,1000,1000\r\n');
  t.is(await text(`SELECT 'x' AS b, 'y' AS "1"`, 'csv'), 'b,1\r\nx,y\r\n');
  t.regex(await text(`SELECT 'x' AS b, 'y' AS "1"`, 'table'), /│ b │ 1 │[\s\S]*│ x │ y │/);
});

test.serial('csv is quoted by RFC 4180, and a text that a spreadsheet would run is made harmless', async (t) => {
  t.is(
    await text('SELECT object_key, user_agent, NULL AS nothing, true AS yes FROM cloudtrail_events', 'csv'),
    'object_key,user_agent,nothing,yes\r\n"\'=cmd()","a ""quoted"", agent\nof two lines",,true\r\n',
  );
  for (const start of ['=', '+', '-', '@', '\t', '\r'])
    t.is(await text(`SELECT '${start}1+1' AS v`, 'csv'), `v\r\n"'${start}1+1"\r\n`, JSON.stringify(start));
  t.is(await text(`SELECT 1 AS "=1+1"`, 'csv'), `"'=1+1"\r\n1\r\n`);
});

test.serial('csv leaves numbers alone, negative ones too', async (t) => {
  const query = `SELECT -5 AS a, -1.5 AS b, -9223372036854775807::BIGINT AS c, '-inf'::DOUBLE AS d, -12345678901234567890.12::DECIMAL(38, 2) AS e`;
  t.is(await text(query, 'csv'), 'a,b,c,d,e\r\n-5,-1.5,-9223372036854775807,-Infinity,-12345678901234567890.12\r\n');
});

test.serial('csv of no rows is its header', async (t) => {
  t.is(await text('SELECT span_id, name FROM spans WHERE false', 'csv'), 'span_id,name\r\n');
});

test.serial('a table counts its rows, cuts long texts and shows no control characters', async (t) => {
  t.regex(await text('SELECT 7 AS seven', 'table'), /│ seven │[\s\S]*│ 7 +│[\s\S]*\n1 row\n$/);
  t.regex(await text('SELECT span_id FROM spans', 'table'), /\n3000 rows, the first 1000 shown\n$/);
  t.regex(await text('SELECT 1 AS n WHERE false', 'table'), /│ n │[\s\S]*\n0 rows\n$/);
  const shown = await text(
    `SELECT 'a' || chr(27) || '[31mred' || chr(8238) || chr(10) || repeat('x', 100) AS v`,
    'table',
  );
  t.notRegex(shown, /(?!\n)\p{Cc}|\u202e/u);
  t.true(shown.split('\n').every((line) => line.length < 80));
});

test.serial('parquet is read back by DuckDB with its types', async (t) => {
  const query = `SELECT span_id, start_time, start_unix_nano, attributes, flags FROM spans ORDER BY span_id; `;
  const file = join(temporaryFolder(t), 'rows.parquet');
  writeFileSync(file, await answer(query, 'parquet'));
  await withDuckDb(':memory:', async (connection) => {
    t.deepEqual(await rows(connection, `SELECT count(*), max(start_time)::VARCHAR FROM '${file}'`), [
      [3000n, '2026-03-01 02:49:59'],
    ]);
    const types = await rows(connection, `SELECT column_name, column_type FROM (DESCRIBE FROM '${file}')`);
    t.like(Object.fromEntries(types), { span_id: 'VARCHAR', start_time: 'TIMESTAMP', start_unix_nano: 'UBIGINT' });
  });
});

test.serial('a comment at the end of a query is no obstacle, in any format', async (t) => {
  for (const format of ['json', 'csv', 'table', 'parquet'] as const)
    await t.notThrowsAsync(answer('SELECT 1 AS n -- that is all', format), format);
  t.deepEqual(await json('SELECT 1 AS n; -- that is all'), [{ n: 1 }]);
});

const answered = [
  'EXPLAIN SELECT * FROM spans',
  'EXPLAIN ANALYZE SELECT count(*) FROM spans',
  '-- how?\nEXPLAIN SELECT 1',
  'DESCRIBE spans',
  'SHOW TABLES',
  'SUMMARIZE spans',
  'FROM chains SELECT chain_id',
  'VALUES (1)',
  'WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3) FROM r',
  `SELECT 'write_log(checkpoint())' AS text`,
];

for (const query of answered)
  test.serial(`answered: ${query}`, async (t) => void (await t.notThrowsAsync(answer(query))));

const file = join(folder, 'outside.csv');
const target = join(folder, 'written');

/** What a query must not do, and a word of the sentence that says so. */
const refused: Readonly<Record<string, RegExp>> = {
  '': /one statement is expected/,
  '  \n': /one statement is expected/,
  'SELECT 1; SELECT 2': /one statement is expected, 2 were given/,
  'SELECT 1; DROP VIEW spans': /one statement is expected/,
  'selec 1': /syntax error/,
  'SELECT * FROM nowhere': /nowhere/,
  "SELECT 'a'::INTEGER": /Conversion/,
  'CREATE TABLE x AS SELECT 1': /only SELECT/,
  'CREATE TEMP TABLE x AS SELECT 1': /only SELECT/,
  'CREATE TEMP MACRO count(x) AS 42': /only SELECT/,
  'INSERT INTO _store.commits VALUES (1, now(), 1)': /only SELECT|read-only/,
  'UPDATE _store.spans SET name = NULL': /only SELECT|read-only/,
  'DELETE FROM _store.spans': /only SELECT|read-only/,
  'TRUNCATE _store.spans': /only SELECT|read-only/,
  'DROP VIEW spans': /only SELECT|read-only/,
  'ALTER TABLE _store.spans ADD COLUMN x INT': /only SELECT|read-only/,
  VACUUM: /only SELECT/,
  CHECKPOINT: /only SELECT/,
  BEGIN: /only SELECT/,
  'SET threads = 1': /only SELECT/,
  'RESET threads': /only SELECT/,
  'SET VARIABLE x = 1': /only SELECT/,
  'PRAGMA threads = 1': /only SELECT/,
  'PRAGMA enable_profiling': /only SELECT/,
  'USE memory': /only SELECT|Catalog/,
  'PREPARE p AS SELECT 1': /only SELECT/,
  'LOAD httpfs': /only SELECT/,
  'INSTALL httpfs': /only SELECT/,
  "ATTACH ':memory:' AS m": /only SELECT/,
  [`ATTACH '${target}'`]: /only SELECT/,
  'CALL checkpoint()': /only SELECT/,
  "CALL enable_logging('QueryLog')": /only SELECT/,
  "SELECT * FROM enable_logging(storage = 'file', storage_path = 'x')": /enable_logging\(\) is not answered/,
  'FROM "ENABLE_LOGGING"()': /enable_logging\(\) is not answered/,
  "EXPLAIN ANALYZE SELECT * FROM enable_logging('QueryLog')": /enable_logging\(\) is not answered/,
  'SELECT * FROM (SELECT 1 WHERE 1 IN (FROM truncate_duckdb_logs()))': /truncate_duckdb_logs\(\) is not answered/,
  "SELECT write_log('x')": /write_log\(\) is not answered/,
  'FROM checkpoint()': /checkpoint\(\) is not answered/,
  'FROM force_checkpoint()': /force_checkpoint\(\) is not answered/,
  "FROM query('SELECT * FROM enable_logging()')": /query\(\) is not answered/,
  [`FROM enable_profiling(save_location = '${target}')`]: /enable_profiling\(\) is not answered/,
  'EXPLAIN ANALYZE DELETE FROM _store.spans': /only SELECT|read-only/,
  [`COPY (SELECT 1) TO '${target}'`]: /only SELECT|disabled by configuration/,
  [`EXPLAIN ANALYZE COPY (SELECT 1) TO '${target}'`]: /disabled by configuration/,
  [`EXPORT DATABASE '${target}'`]: /only SELECT|disabled by configuration/,
  [`FROM read_csv('${file}')`]: /disabled by configuration/,
  [`FROM read_text('${file}')`]: /disabled by configuration/,
  [`FROM read_blob('${file}')`]: /disabled by configuration/,
  [`FROM read_json('${file}')`]: /disabled by configuration/,
  [`FROM '${file}'`]: /disabled by configuration|does not exist/,
  [`FROM sniff_csv('${file}')`]: /disabled by configuration/,
  [`FROM glob('${folder}/*')`]: /disabled by configuration/,
  "FROM read_csv('http://127.0.0.1:9/x.csv')": /disabled by configuration|httpfs/,
  "FROM 's3://bucket/x.parquet'": /disabled by configuration|does not exist|httpfs/,
};

const formats = ['json', 'parquet'] as const; // rows that we write, rows that DuckDB writes

for (const [query, says] of Object.entries(refused))
  test.serial(`refused with one line: ${JSON.stringify(query.replaceAll(folder, '…'))}`, async (t) => {
    writeFileSync(file, 'secret\n');
    for (const format of formats) await refuses(t, query, format, says);
  });

async function refuses(t: ExecutionContext, query: string, format: Format, says: RegExp): Promise<void> {
  const error = await t.throwsAsync(answer(query, format), { instanceOf: CauselineError, message: says }, format);
  t.is(error.code, 'bad_query');
  t.false(/[\r\n]/.test(error.message), error.message);
}

test.serial('EXPLAIN has no parquet, and says so', async (t) => {
  await refuses(t, 'EXPLAIN SELECT 1', 'parquet', /EXPLAIN/i);
});

test.after('none of this has left a trace', (t) => {
  t.deepEqual(
    readdirSync(folder).filter((name) => !/^(store\.duckdb|outside\.csv)$/.test(name)),
    [],
  );
  t.is(readFileSync(db).length > 0, true);
});
