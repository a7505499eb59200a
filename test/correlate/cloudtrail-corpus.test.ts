import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { ExecutionContext } from 'ava';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import { type Correlated, correlate } from '../../services/correlate/index.js';
import type { Finding, Kind } from '../../shared/finding.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { corpus, testWith } from '../helpers/data.js';
import { temporaryFolder } from '../helpers/store.js';

const NAME = 'CAUSELINE_CORPUS';

async function correlated(t: ExecutionContext, texts: readonly string[]): Promise<Correlated> {
  const store = await openStore(join(temporaryFolder(t), 'records.duckdb'));
  try {
    const batch = emptyBatch();
    for (const text of texts) {
      const { rows } = cloudtrail.decode(Buffer.from(text), { origin: 'corpus', gunzip: (bytes) => gunzipSync(bytes) });
      for (const row of rows) batch.cloudtrail.push({ sourceId: 'corpus', row });
    }
    await store.commit(batch);
    return await correlate(store, { endOfInput: true });
  } finally {
    store.close();
  }
}

const kindsOf = (findings: readonly Finding[]): string[] => findings.map(({ kind }) => kind).sort();

/** Techniques whose traces are in scope, and what must be found of them. The others' records hold no act of these kinds. */
const DETONATIONS: Readonly<Record<string, readonly Kind[]>> = {
  'aws.defense-evasion.cloudtrail-delete': ['audit.logging_impaired'],
  'aws.defense-evasion.cloudtrail-event-selectors': ['audit.blind_spot'],
  'aws.defense-evasion.cloudtrail-stop': ['audit.logging_impaired'],
};

testWith(
  corpus,
  NAME,
  'recorded attack techniques are found where they are in scope, and no other is taken for one',
  async (t, data) => {
    const folder = join(data, 'cloudtrail/stratus_detonations');
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
      const { findings, chains } = await correlated(t, [readFileSync(join(folder, file), 'utf8')]);
      t.deepEqual(kindsOf(findings), [...(DETONATIONS[file.replace('.json', '')] ?? [])], file);
      t.deepEqual(chains, [], file);
    }
  },
);

/** Rules of others about one record each, and the kind of ours that is about the same. All other rules there are about something else. */
const RULES: Readonly<Record<string, Kind>> = {
  'AWS.CloudTrail.EventSelectorsDisabled': 'audit.blind_spot',
  'AWS.CloudTrail.Stopped': 'audit.logging_impaired',
  'AWS.S3.DeleteBucketReplication': 's3.protection_weakened',
  'AWS.S3.DeletePublicAccessBlock': 's3.protection_weakened',
  'AWS.S3.DisableBucketLogging': 's3.protection_weakened',
  'AWS.S3.DisableMfaDelete': 's3.protection_weakened',
};

interface RuleTest {
  readonly rule: string;
  readonly test: string;
  readonly expected: boolean;
  readonly log: Readonly<Record<string, unknown>>;
}

testWith(
  corpus,
  NAME,
  'published rule tests have the outcome that they expect, where a kind is about the same',
  async (t, data) => {
    const lines = readFileSync(join(data, 'cloudtrail/panther_rule_tests/tests.jsonl'), 'utf8').trim().split('\n');
    const tests = lines.map((line) => JSON.parse(line) as RuleTest).filter(({ rule }) => rule in RULES);
    t.is(new Set(tests.map(({ rule }) => rule)).size, Object.keys(RULES).length);
    for (const { rule, test, expected, log } of tests) {
      const record = { ...log, eventTime: '2024-01-15T10:45:23Z' }; // some of them are written as no record is
      const { findings } = await correlated(t, [JSON.stringify(record)]);
      t.is(kindsOf(findings).includes(RULES[rule]!), expected, `${rule}: ${test}`);
    }
  },
);

testWith(
  corpus,
  NAME,
  'of 2,900 real records the failed StopLogging calls impair nothing, and no chain is made up',
  async (t, data) => {
    const folder = join(data, 'cloudtrail/invictus_stratus');
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    const { findings, chains } = await correlated(
      t,
      files.map((name) => readFileSync(join(folder, name), 'utf8')),
    );
    t.deepEqual(chains, []);
    const impaired = findings.filter(({ kind }) => kind === 'audit.logging_impaired');
    t.deepEqual(
      impaired.map(({ measured }) => measured['how']),
      impaired.map(() => 'deleted the trail'),
    );
    const [blind] = findings.filter(({ kind }) => kind === 'audit.blind_spot');
    t.regex(JSON.stringify(blind?.measured['until']), /2023-07-10T12:07:49/);
    t.log(kindsOf(findings).join(', '));
  },
);
