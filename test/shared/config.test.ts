import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { topicSources } from '../../services/collect/sources/index.js';
import type { Given } from '../../shared/config/layers.js';
import { settingsOf } from '../../shared/config/settings.js';
import { databaseFile, loadConfig } from '../../shared/config.js';
import type { CauselineError } from '../../shared/errors.js';
import { causeline } from '../helpers/cli.js';
import { root } from '../helpers/data.js';
import { temporaryFolder } from '../helpers/store.js';

const yaml = (t: ExecutionContext, text: string): string => {
  const file = join(temporaryFolder(t), 'causeline.yaml');
  writeFileSync(file, text);
  return file;
};

const load = (given: Given) => loadConfig(topicSources, given);

test('without a word everything has its default', (t) => {
  const kafka = { brokers: ['localhost:9092'], clientId: 'causeline', sessionTimeoutMs: 30_000 };
  t.deepEqual(load({}), {
    db: './causeline.duckdb',
    kafka,
    sources: [
      { name: 'cloudtrail', source: 'cloudtrail', topic: 'cloudtrail', group: 'causeline-cloudtrail', kafka },
      { name: 'traces', source: 'traces', topic: 'otlp_spans', group: 'causeline-traces', kafka },
      { name: 'metrics', source: 'metrics', topic: 'otlp_metrics', group: 'causeline-metrics', kafka },
    ],
    chainsTopic: 'causeline.chains',
    group: 'causeline',
    http: '127.0.0.1:8686',
    correlateIntervalMs: 1000,
    sigma: undefined,
  });
});

test('a flag wins over a variable, a variable over the file, the file over the default', (t) => {
  const file = yaml(t, 'db: file.duckdb\ngroup: file\ntopics: { spans: file }\nkafka:\n');
  const env = { CAUSELINE_DB: 'variable.duckdb', CAUSELINE_GROUP: 'variable', CAUSELINE_HTTP: '' };
  const config = load({ flags: { db: 'flag.duckdb' }, env, file });
  t.is(config.db, 'flag.duckdb');
  t.is(config.group, 'variable');
  t.is(config.sources[1]!.topic, 'file');
  t.is(config.http, '127.0.0.1:8686', 'an empty variable says nothing');
  t.deepEqual(config.kafka.brokers, ['localhost:9092'], 'a key without a value says nothing');
});

/** For each setting a value that is not its default, and where it is found. */
const EXAMPLES: Readonly<Record<string, string>> = {
  db: 'other.duckdb',
  'kafka.brokers': 'a.example.com:9093',
  'kafka.client_id': 'forensics',
  'kafka.session_timeout': '45000',
  'kafka.ssl.enabled': 'true',
  'kafka.ssl.ca': 'ca.pem',
  'kafka.ssl.cert': 'cert.pem',
  'kafka.ssl.key': 'key.pem',
  'kafka.sasl.mechanism': 'scram-sha-512',
  'kafka.sasl.username': 'alice',
  'kafka.sasl.password': 'secret',
  'kafka.sasl.password_file': 'password',
  'topics.cloudtrail': 'audit',
  'topics.spans': 'spans',
  'topics.metrics': 'metrics',
  'topics.chains': 'chains',
  group: 'night',
  http: '0.0.0.0:80',
  correlate_interval: '2s',
  sigma: 'rules',
};

test('each setting can be made by its variable and by its key of the file, with the same result', (t) => {
  const folder = temporaryFolder(t);
  for (const name of ['ca.pem', 'cert.pem', 'key.pem', 'password']) writeFileSync(join(folder, name), `the ${name}\n`);
  mkdirSync(join(folder, 'rules'));
  const exampleOf = (key: string) => EXAMPLES[key]!.replace(/^(\w+\.pem|password|rules)$/, join(folder, '$1'));
  const all = settingsOf(topicSources).filter(({ key }) => key !== 'kafka.sasl.password');
  t.deepEqual(
    Object.keys(EXAMPLES).sort(),
    settingsOf(topicSources)
      .map(({ key }) => key)
      .sort(),
  );

  const byVariable = load({ env: Object.fromEntries(all.map(({ variable, key }) => [variable, exampleOf(key)])) });
  const byFile = load({ file: yaml(t, JSON.stringify(nested(all.map(({ key }) => [key, exampleOf(key)])))) });

  t.deepEqual(byFile, byVariable);
  t.deepEqual(byVariable.kafka, {
    brokers: ['a.example.com:9093'],
    clientId: 'forensics',
    ssl: { ca: 'the ca.pem\n', cert: 'the cert.pem\n', key: 'the key.pem\n' },
    sasl: { mechanism: 'scram-sha-512', username: 'alice', password: 'the password' },
    sessionTimeoutMs: 45_000,
  });
  t.is(byVariable.correlateIntervalMs, 2000);
});

function nested(entries: readonly (readonly [string, string])[]): Record<string, unknown> {
  const tree: Record<string, unknown> = {};
  for (const [key, value] of entries) {
    const parts = key.split('.');
    let map = tree;
    for (const part of parts.slice(0, -1)) {
      map[part] ??= {};
      map = map[part] as Record<string, unknown>;
    }
    map[parts.at(-1)!] = value;
  }
  return tree;
}

test('TLS is used where it is asked for, and where a file of it is named unless it is refused', (t) => {
  const ca = yaml(t, 'a certificate');
  t.deepEqual(load({ env: { CAUSELINE_KAFKA_SSL: 'true' } }).kafka.ssl, {});
  t.deepEqual(load({ env: { CAUSELINE_KAFKA_SSL_CA: ca } }).kafka.ssl, { ca: 'a certificate' });
  t.is(load({ env: { CAUSELINE_KAFKA_SSL: 'false', CAUSELINE_KAFKA_SSL_CA: ca } }).kafka.ssl, undefined);
});

test('a source may have a cluster of its own, which is given no login of another', (t) => {
  const file = yaml(
    t,
    `
kafka:
  brokers: [one:9092, two:9092]
  session_timeout: 45000
  sasl: { mechanism: plain, username: alice, password: secret }
sources:
  - source: traces
    topic: otlp_spans
  - name: payments
    source: cloudtrail
    topic: audit
    group: payments-forensics
    kafka: { brokers: 'three:9092' }
`,
  );
  const { sources: listed, kafka } = load({ file, env: { CAUSELINE_GROUP: 'night' } });
  t.deepEqual(listed, [
    { name: 'traces', source: 'traces', topic: 'otlp_spans', group: 'night-traces', kafka },
    {
      name: 'payments',
      source: 'cloudtrail',
      topic: 'audit',
      group: 'payments-forensics',
      kafka: { brokers: ['three:9092'], clientId: 'causeline', sessionTimeoutMs: 45_000 },
    },
  ]);
});

test("README's example is a configuration", (t) => {
  const [, example] = /```yaml\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))!;
  const config = load({ file: yaml(t, example!) });
  t.deepEqual(config.kafka.brokers, ['a.example.com:9092', 'b.example.com:9092']);
  t.deepEqual(
    config.sources.map(({ name }) => name),
    ['traces', 'payments-audit'],
  );
});

const wrongVariables: Readonly<Record<string, readonly [string, string]>> = {
  'a broker without a port': ['CAUSELINE_KAFKA_BROKERS=a:9092,b', "expected host:port, got 'b'"],
  'a broker with a scheme': ['CAUSELINE_KAFKA_BROKERS=http://a:9092', "expected host:port, got 'http://a:9092'"],
  'a port that is none': ['CAUSELINE_HTTP=127.0.0.1:65536', "expected host:port, got '127.0.0.1:65536'"],
  'a session timeout that brokers refuse': [
    'CAUSELINE_KAFKA_SESSION_TIMEOUT=30s',
    "expected milliseconds from 6000 to 1800000, got '30s'",
  ],
  'a time without a unit': [
    'CAUSELINE_CORRELATE_INTERVAL=5',
    "expected a length of time as 500ms, 2s or 1m, at most 1h, got '5'",
  ],
  'no time at all': [
    'CAUSELINE_CORRELATE_INTERVAL=0s',
    "expected a length of time as 500ms, 2s or 1m, at most 1h, got '0s'",
  ],
  'a topic that Kafka refuses': [
    'CAUSELINE_TOPIC_SPANS=a b',
    "expected a topic: letters, digits, '.', '_' and '-', 249 at most, got 'a b'",
  ],
  'a folder that is not there': ['CAUSELINE_SIGMA=/nowhere', "expected a folder, got '/nowhere'"],
  'neither yes nor no': ['CAUSELINE_KAFKA_SSL=yes', "expected true or false, got 'yes'"],
  'a file that is not there': [
    'CAUSELINE_KAFKA_SSL_CA=/nowhere/ca.pem',
    "expected a file that can be read, got '/nowhere/ca.pem'",
  ],
};

for (const [title, [assignment, says]] of Object.entries(wrongVariables))
  test(`a variable that is wrong is named: ${title}`, (t) => {
    const [variable, value] = assignment.split('=') as [string, string];
    t.deepEqual(faults(t, { env: { [variable]: value } }), [`${variable}: ${says}`]);
  });

const wrongFiles: Readonly<Record<string, readonly [string, readonly string[]]>> = {
  'an unknown key': ['kafka: { borkers: a:1 }', ['FILE: kafka.borkers: is not known']],
  'a text where keys belong': ['kafka: here', ['FILE: kafka: expected keys and values']],
  'a number where a text belongs': ['group: 5', ["FILE: group: expected letters, digits, '.', '_' and '-', got '5'"]],
  'a list without entries': ['sources: []', ['FILE: sources: expected one source at least']],
  'a source that there is not': [
    'sources: [{ source: logs, topic: a }]',
    ["FILE: sources[0].source: expected one of cloudtrail, traces, metrics, got 'logs'"],
  ],
  'two sources of one name': [
    'sources: [{ source: traces, topic: a }, { source: traces, topic: b }]',
    ["FILE: sources[1].name: expected another name than 'traces', which an earlier source has"],
  ],
  'two sources of one topic': [
    'sources: [{ source: traces, topic: a }, { source: metrics, topic: a }]',
    ['FILE: sources[1].topic: expected a topic that no earlier source reads'],
  ],
  'a topic beside sources': [
    'topics: { spans: b }\nsources: [{ source: traces, topic: a }]',
    ['FILE: topics.spans: has no effect beside `sources`, where each names its topic'],
  ],
  'a login without a password, in a source': [
    'sources: [{ source: traces, topic: a, kafka: { brokers: a:1, sasl: { mechanism: plain, username: b } } }]',
    ['FILE: sources[0].kafka.sasl.password: expected a password, or password_file'],
  ],
  'several at once': [
    'http: 8686\ngroup: a b\nkafka: { sasl: { mechanism: gssapi, password: hunter2 } }',
    [
      "FILE: kafka.sasl.mechanism: expected plain, scram-sha-256 or scram-sha-512, got 'gssapi'",
      'FILE: kafka.sasl.username: expected who logs in',
      "FILE: group: expected letters, digits, '.', '_' and '-', got 'a b'",
      "FILE: http: expected host:port, got '8686'",
    ],
  ],
  'no YAML': ['db: [', ['FILE is not YAML: ']],
  'a reference to nothing': ['db: *other', ['FILE is not YAML: ']],
  'no keys': ['- db', ['FILE must hold keys and values, as `db: ./causeline.duckdb`.']],
};

for (const [title, [text, says]] of Object.entries(wrongFiles))
  test(`a file that is wrong is named with the key: ${title}`, (t) => {
    const file = yaml(t, text);
    const lines = faults(t, { file });
    t.is(lines.length, says.length, lines.join('\n'));
    for (const [index, line] of lines.entries()) t.true(line.startsWith(says[index]!.replace('FILE', file)), line);
  });

test('what nobody has set is named by its key and its variable', (t) => {
  t.deepEqual(faults(t, { env: { CAUSELINE_KAFKA_SASL_MECHANISM: 'plain' } }), [
    'kafka.sasl.username or CAUSELINE_KAFKA_SASL_USERNAME: expected who logs in',
    'kafka.sasl.password or CAUSELINE_KAFKA_SASL_PASSWORD: expected a password, or password_file',
  ]);
});

test('a password is never repeated in a message', (t) => {
  const lines = faults(t, { file: yaml(t, 'kafka: { sasl: { mechanism: plain, username: a, password: 12345678 } }') });
  t.regex(lines.join('\n'), /kafka\.sasl\.password: expected a password$/m);
  t.notRegex(lines.join('\n'), /12345678/);
});

function faults(t: ExecutionContext, given: Given): string[] {
  const error = t.throws<CauselineError>(() => load(given), { code: 'bad_config' });
  return error.message.split('\n');
}

test('a command that needs the database alone is not kept from it by another setting', (t) => {
  const file = yaml(t, 'db: file.duckdb\nhttp: nonsense');
  t.is(databaseFile({ config: file }, {}), 'file.duckdb');
  t.is(databaseFile({ config: file }, { CAUSELINE_DB: 'variable.duckdb' }), 'variable.duckdb');
  t.is(databaseFile({ config: file, db: 'flag.duckdb' }, { CAUSELINE_DB: 'variable.duckdb' }), 'flag.duckdb');
  t.is(databaseFile({}, {}), './causeline.duckdb');
  t.throws(() => databaseFile({ config: yaml(t, 'db: [a]') }, {}), {
    code: 'bad_config',
    message: /db: expected a file/,
  });
});

test('causeline config prints what holds, who set it, and no secret; the file it prints says the same', async (t) => {
  const file = yaml(t, 'db: lake.duckdb\nkafka: { sasl: { mechanism: plain, username: alice } }');
  const env = { CAUSELINE_KAFKA_SASL_PASSWORD: 'hunter2', CAUSELINE_KAFKA_BROKERS: 'a:9092,b:9092' };
  const { code, stdout, stderr } = await causeline(['config', '--config', file], { env });
  t.is(code, 0, stderr);
  t.notRegex(stdout, /hunter2/);
  t.regex(stdout, /^ {2}brokers: a:9092,b:9092 # CAUSELINE_KAFKA_BROKERS$/m);
  t.true(stdout.includes(`db: lake.duckdb # ${file}\n`));
  t.regex(stdout, /^ {4}password: "\*+" # CAUSELINE_KAFKA_SASL_PASSWORD$/m);
  t.regex(stdout, /^ {2}session_timeout: 30000$/m, 'no origin behind a default');
  const again = await causeline(['config', '--config', yaml(t, stdout)]);
  t.deepEqual(parse(again.stdout), parse(stdout));
});

test('causeline config notices a variable that is misspelt', async (t) => {
  const { code, stderr } = await causeline(['config'], { env: { CAUSELINE_KAFKA_BROKER: 'a:9092' } });
  t.is(code, 0);
  t.regex(stderr, /^notice: CAUSELINE_KAFKA_BROKER sets nothing: no such variable is known$/m);
});

test('causeline config says every fault on a line of its own and exits 2', async (t) => {
  const env = { CAUSELINE_HTTP: 'here', CAUSELINE_KAFKA_BROKERS: 'there' };
  const { code, stdout, stderr } = await causeline(['config'], { env });
  t.is(code, 2);
  t.is(stdout, '');
  t.is(
    stderr,
    "error: CAUSELINE_KAFKA_BROKERS: expected host:port, got 'there'\nerror: CAUSELINE_HTTP: expected host:port, got 'here'\n",
  );
});
