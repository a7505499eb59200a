import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import test from 'ava';
import type { Context } from '../../services/collect/source.js';
import { sources } from '../../services/collect/sources/index.js';
import type { CauseExample, Surroundings } from '../../services/correlate/cause.js';
import { causes } from '../../services/correlate/causes/index.js';
import { clustersOf } from '../../services/correlate/clusters.js';
import { contradicts } from '../../services/correlate/common-cause.js';
import type { AsOf, Detector, DetectorExample } from '../../services/correlate/detector.js';
import { detectors } from '../../services/correlate/detectors/index.js';
import { foldAll, identified } from '../../services/correlate/engine.js';
import { gapsOf } from '../../services/correlate/gaps.js';
import { judgePair } from '../../services/correlate/judge.js';
import type { Finding, FindingDraft, Kind } from '../../shared/finding.js';
import { KINDS } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { root } from '../helpers/data.js';

/** One contract for all components. Nothing is listed here: the indexes and the folders are. */

const { keyOfAddress } = clustersOf([]);

const SUBJECTS = {
  etcd: 'etcd:example',
  instance: 'instance:example-0',
  service: 'service:prod/example',
  principal: 'principal:arn:aws:iam::123456789012:role/ci-deployer',
  ip: 'ip:192.0.2.7',
  bucket: 'bucket:example',
  account: 'account:123456789012',
  trail: 'trail:arn:aws:cloudtrail:eu-west-1:123456789012:trail/org',
} as const;

function asOf({ subject, over }: Detector, example: DetectorExample): AsOf {
  const { coveredFromMicros, given, gaps = [] } = example;
  return {
    subject: example.subject ?? SUBJECTS[over?.[0] ?? subject],
    coveredFromMicros: coveredFromMicros ?? given[0]!.atMicros,
    gaps,
    clusterOf: keyOfAddress,
  };
}

const found = (detector: Detector, example: DetectorExample): Finding[] =>
  foldAll([detector], example.given, asOf(detector, example), sha256);

for (const detector of detectors) {
  const { kind, examples } = detector;
  for (const example of examples)
    test(`${kind}: ${example.title} ${example.fires ? 'is found' : 'is not'}`, (t) => {
      const findings = found(detector, example);
      t.is(findings.length > 0, example.fires, findings.map(({ summary }) => summary).join('; '));
      for (const finding of findings) {
        t.is(finding.kind, kind);
        t.true(finding.keys.includes(finding.subject), 'a finding can be joined on its subject');
        t.true(finding.startedMicros <= finding.startedByMicros && finding.startedMicros <= finding.endedMicros);
        t.true(finding.evidence.length > 0 && finding.evidence.length <= finding.evidenceCount);
        t.notRegex(finding.summary, /NaN|undefined|Infinity/);
      }
    });

  test(`${kind} has an example that fires and a near miss, a version and a meaning`, (t) => {
    t.true(examples.some(({ fires }) => fires));
    t.true(examples.some(({ fires }) => !fires));
    t.true(Number.isInteger(detector.version) && detector.version > 0);
    t.regex(detector.meaning, /\w[^.]$/, 'one sentence without a full stop');
  });

  test(`${kind}: a finding's id comes from kind, subject, member, onset and cut, and from no figure`, (t) => {
    const [finding] = examples.filter(({ fires }) => fires).flatMap((example) => found(detector, example));
    const idOf = (changes: Partial<FindingDraft>) => identified(detector, { ...finding!, ...changes }, sha256).id;
    t.is(
      idOf({
        endedMicros: finding!.endedMicros + 60_000_000,
        startedByMicros: finding!.startedByMicros + 1,
        severity: finding!.severity === 'info' ? 'critical' : 'info',
        continues: !finding!.continues,
        shortBaseline: !finding!.shortBaseline,
        summary: 'another',
        measured: { another: 1 },
        baseline: null,
        keys: [],
        evidence: [],
        evidenceCount: 0,
      }),
      finding!.id,
    );
    const others = [
      idOf({ subject: 'etcd:another' }),
      idOf({ member: 'another' }),
      idOf({ startedMicros: finding!.startedMicros + 10_000_000 }),
      idOf({ cut: finding!.cut + 1 }),
    ];
    t.is(new Set([finding!.id, ...others]).size, 5);
  });
}

/** A finding that says no more than the example does, at a usual time. */
function completed(kind: Kind, seconds: number, partial: Partial<FindingDraft>): Finding {
  const startedMicros = 1_710_640_800_000_000 + seconds * 1_000_000;
  const subject = partial.subject ?? 'service:example';
  return {
    id: `${kind} at ${seconds}`,
    kind,
    detector: `${kind}@1`,
    subject,
    member: null,
    startedMicros,
    startedByMicros: startedMicros,
    endedMicros: startedMicros + 120_000_000,
    cut: 0,
    continues: false,
    severity: 'warning',
    summary: kind,
    measured: {},
    baseline: null,
    shortBaseline: false,
    keys: [subject],
    evidence: [],
    evidenceCount: 1,
    ...partial,
  };
}

function surroundingsOf({
  writers = [],
  exports = [],
  healthyMembers = [],
  gaps = [],
  effect,
}: CauseExample): Surroundings {
  return {
    writers: () => writers,
    exports: (_, metric) => exports.includes(metric),
    members: () => [...(effect.member ? [effect.member] : []), ...healthyMembers],
    membersWith: () => (effect.member ? [effect.member] : []),
    clockOffset: () => 0,
    gaps: gapsOf(gaps),
  };
}

for (const rule of causes) {
  for (const example of rule.examples)
    test(`${rule.rule} of ${rule.from}: ${example.title} ${example.links ? 'is linked' : 'is not'}`, (t) => {
      const judged = judgePair(
        rule,
        completed(rule.from, 0, example.cause),
        completed(rule.to, 10, example.effect),
        surroundingsOf(example),
      );
      const linked = judged !== undefined && 'link' in judged && judged.link.verdict !== 'INCONCLUSIVE';
      t.is(linked, example.links, JSON.stringify(judged));
      t.notRegex(JSON.stringify(judged ?? null), /NaN|undefined|Infinity/);
    });

  test(`${rule.rule} of ${rule.from} has an example that links, one that must not, a version and a mechanism with its source`, (t) => {
    t.true(rule.examples.some(({ links }) => links));
    t.true(rule.examples.some(({ links }) => !links));
    t.true(Number.isInteger(rule.version) && rule.version > 0);
    t.regex(rule.mechanism, /\(.+\)\.$/);
    t.true(rule.shared.length > 0);
  });
}

test('what rules link are kinds that detectors find, and every kind is a known word', (t) => {
  const kinds = detectors.map(({ kind }) => kind);
  t.deepEqual(
    kinds.filter((kind) => !KINDS.includes(kind)),
    [],
  );
  t.is(new Set(kinds).size, kinds.length, 'one detector a kind');
  const pairs = causes.map(({ rule, from, to }) => `${rule} ${from} ${to}`);
  t.is(new Set(pairs).size, causes.length, 'one rule a name, or a name for several causes of one effect');
  t.deepEqual(
    causes.flatMap(({ from, to }) => [from, to]).filter((kind) => !kinds.includes(kind)),
    [],
  );
});

test('no rule links two kinds that only have their cause in common', (t) => {
  t.deepEqual(causes.filter(contradicts), []);
});

test('no kind causes itself by way of others: the rules form no cycle', (t) => {
  const effects = (kind: Kind): Kind[] => causes.filter(({ from }) => from === kind).map(({ to }) => to);
  const cycles = detectors
    .map(({ kind }) => kind)
    .filter((kind) => {
      const reached = new Set<Kind>();
      for (let open = effects(kind); open.length > 0; open = open.flatMap(effects).filter((to) => !reached.has(to)))
        for (const to of open) reached.add(to);
      return reached.has(kind);
    });
  t.deepEqual(cycles, []);
});

/** Files of a folder: all of them, and those that no other one uses, which must be components. */
function filesOf(folder: string): { all: string[]; alone: string[] } {
  const path = join(root, folder);
  const all = readdirSync(path)
    .filter((name) => name.endsWith('.ts') && name !== 'index.ts')
    .map((name) => name.replace(/\.ts$/, ''));
  const texts = all.map((name) => readFileSync(join(path, `${name}.ts`), 'utf8'));
  return { all, alone: all.filter((name) => !texts.some((text) => text.includes(`'./${name}.js'`))) };
}

test('a component is called as its file is, and none was left out of its index', (t) => {
  const indexes: readonly (readonly [folder: string, names: readonly string[]])[] = [
    ['services/correlate/detectors', detectors.map(({ kind }) => kind.replaceAll(/[._]/g, '-'))],
    ['services/correlate/causes', [...new Set(causes.map(({ rule }) => rule))]],
    ['services/collect/sources', sources.map(({ name }) => name)],
  ];
  for (const [folder, names] of indexes) {
    const { all, alone } = filesOf(folder);
    t.deepEqual(
      names.filter((name) => !all.includes(name)),
      [],
      `no file of that name in ${folder}`,
    );
    t.deepEqual(
      alone.filter((name) => !names.includes(name)),
      [],
      `not in the index of ${folder}`,
    );
    t.is(new Set(names).size, names.length);
  }
});

const context: Context = { origin: 'example', gunzip: (bytes) => gunzipSync(bytes) };

for (const source of sources) {
  for (const { title, given, rows, fault, skipped } of source.examples)
    test(`${source.name}: ${title} is ${rows ? 'read' : fault ? `a fault: ${fault}` : `skipped: ${skipped}`}`, (t) => {
      const value = typeof given === 'string' ? new TextEncoder().encode(given) : given;
      const decoded = source.decode(value, context);
      t.is(decoded.rows.length, rows?.length ?? 0);
      for (const [index, row] of (rows ?? []).entries()) t.like(decoded.rows[index], row);
      t.deepEqual(
        decoded.faults.map(({ reason }) => reason as string),
        fault === undefined ? [] : [fault],
      );
      t.deepEqual([...decoded.skipped.keys()], skipped === undefined ? [] : [skipped]);
    });

  test(`${source.name} has an input that decodes, and one that must not`, (t) => {
    t.true(source.examples.some(({ rows }) => rows !== undefined && rows.length > 0));
    t.true(source.examples.some(({ fault }) => fault !== undefined));
  });
}
