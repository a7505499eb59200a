import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { notMade, passed, refuted, type Surroundings } from '../../services/correlate/cause.js';
import { causes } from '../../services/correlate/causes/index.js';
import { judge, judgePair } from '../../services/correlate/judge.js';
import type { Link } from '../../shared/chain.js';
import type { Finding, Point } from '../../shared/finding.js';
import { at, finding, rule } from '../helpers/findings.js';

const nothingAround: Surroundings = {
  writers: () => [],
  members: () => [],
  membersWith: () => [],
  exports: () => false,
  clockOffset: () => 0,
  gaps: () => [],
};

const surge = finding('surge', 'etcd.put_surge', 0);
const growth = finding('growth', 'etcd.wal_growth', 10);
const putsGrow = rule('etcd.put_surge', 'etcd.wal_growth');

function verdictOf(cause: Finding, effect: Finding, by = putsGrow): string | undefined {
  const judged = judgePair(by, cause, effect, nothingAround);
  if (!judged) return undefined;
  return 'link' in judged ? judged.link.verdict : 'REFUTED';
}

const linked = (by: typeof putsGrow, cause = surge, effect = growth): Link => {
  const judged = judgePair(by, cause, effect, nothingAround);
  return (judged as { link: Link }).link;
};

test('mechanism, deviation, order and shared identity make a link CONFIRMED, and it says each test', (t) => {
  const { verdict, tests, lagMs } = linked(putsGrow);
  t.is(verdict, 'CONFIRMED');
  t.is(lagMs, 10_000);
  t.deepEqual(
    tests.map(({ test, outcome }) => `${test} ${outcome}`),
    ['mechanism passed', 'deviation passed', 'order passed', 'identity passed'],
  );
});

test('without a key that both know a link is LIKELY at most', (t) => {
  t.is(verdictOf(surge, { ...growth, keys: ['service:prod/api'] }), 'LIKELY');
});

test('conflicting known keys exclude a pair', (t) => {
  t.is(verdictOf(surge, { ...growth, keys: ['etcd:b'] }), undefined);
});

test('two clusters whose members have one name are not joined by it', (t) => {
  const onMember = rule('etcd.slow_fsync', 'etcd.slow_apply', { shared: ['instance', 'etcd'] });
  const fsync = finding('f', 'etcd.slow_fsync', 0, { keys: ['etcd:a', 'instance:etcd-0'] });
  const apply = (etcd: string, instance: string) =>
    finding('s', 'etcd.slow_apply', 5, { subject: etcd, keys: [etcd, `instance:${instance}`] });
  t.is(verdictOf(fsync, apply('etcd:a', 'etcd-0'), onMember), 'CONFIRMED');
  t.is(verdictOf(fsync, apply('etcd:a', 'etcd-1'), onMember), undefined);
  t.is(verdictOf(fsync, apply('etcd:b', 'etcd-0'), onMember), undefined);
});

test('services of one name join only where their scopes do not differ, or one is not known', (t) => {
  const byService = rule('go.module_fetch_failure', 'retry.storm', { shared: ['trace', 'service'] });
  const failure = (subject: string) => finding('f', 'go.module_fetch_failure', 0, { subject });
  const storm = (subject: string, ...keys: string[]) =>
    finding('s', 'retry.storm', 5, { subject, keys: [subject, ...keys] });
  t.is(verdictOf(failure('service:prod/sync'), storm('service:prod/sync'), byService), 'CONFIRMED');
  t.is(verdictOf(failure('service:prod/sync'), storm('service:staging/sync'), byService), undefined);
  t.is(verdictOf(failure('service:sync'), storm('service:staging/sync'), byService), 'CONFIRMED');
  t.is(verdictOf(failure('service:prod/sync'), storm('service:prod/import'), byService), undefined);
});

test('a common trace decides alone; different traces prove nothing against a common service', (t) => {
  const byTrace = rule('go.module_fetch_failure', 'retry.storm', { shared: ['trace', 'service'] });
  const failure = finding('f', 'go.module_fetch_failure', 0, { keys: ['service:a', 'trace:1'] });
  const storm = (...keys: string[]) => finding('s', 'retry.storm', 5, { keys });
  t.is(verdictOf(failure, storm('service:b', 'trace:1'), byTrace), 'CONFIRMED');
  t.is(verdictOf(failure, storm('service:a', 'trace:9'), byTrace), 'CONFIRMED');
  t.is(verdictOf(failure, storm('service:b', 'trace:9'), byTrace), undefined);
});

test('an order that the scrapes cannot tell is LIKELY', (t) => {
  const coarse = { ...surge, startedMicros: at(-5), startedByMicros: at(10) };
  t.is(verdictOf(coarse, { ...growth, startedMicros: at(0), startedByMicros: at(15) }), 'LIKELY');
});

test("the clocks' tolerance is a second", (t) => {
  const begins = (seconds: number) => ({ ...growth, startedMicros: at(seconds), startedByMicros: at(seconds) });
  t.is(verdictOf(surge, begins(0)), 'CONFIRMED');
  t.is(verdictOf(surge, begins(-0.9)), 'LIKELY');
  t.not(verdictOf(surge, begins(-1.1)), 'LIKELY');
});

test('an effect that began before its cause refutes it', (t) => {
  const coarse = { ...surge, startedMicros: at(-5), startedByMicros: at(10) };
  t.is(verdictOf(coarse, { ...growth, startedMicros: at(-12), startedByMicros: at(-7) }), 'REFUTED');
});

test('neither order nor identity known is INCONCLUSIVE', (t) => {
  const coarse = { ...surge, startedByMicros: at(20) };
  t.is(verdictOf(coarse, { ...growth, keys: ['service:prod/api'] }), 'INCONCLUSIVE');
});

test("the effect's own spans carry order and identity", (t) => {
  const carried = rule('etcd.put_surge', 'etcd.wal_growth', { explain: () => passed('seen in the spans', true) });
  t.is(verdictOf({ ...surge, startedByMicros: at(30) }, { ...growth, keys: [] }, carried), 'CONFIRMED');
});

test('a short baseline, or a mechanism that could not be looked at, is INCONCLUSIVE and says which', (t) => {
  const short = linked(putsGrow, { ...surge, shortBaseline: true, baseline: { seconds: 12 } });
  t.is(short.verdict, 'INCONCLUSIVE');
  t.regex(short.tests.find(({ outcome }) => outcome === 'not_made')!.says, /etcd\.put_surge \(12 s\)/);
  const unseen = linked(rule('etcd.put_surge', 'etcd.wal_growth', { explain: () => notMade('no rate is known') }));
  t.is(unseen.verdict, 'INCONCLUSIVE');
  t.is(unseen.tests[0]!.says, 'no rate is known');
});

test('a refuted mechanism is no link, but stands among the rivals', (t) => {
  const denied = rule('etcd.slow_apply', 'etcd.wal_growth', { explain: () => refuted('not that much') });
  const links = judge([surge, growth, finding('slow', 'etcd.slow_apply', 0)], [putsGrow, denied], nothingAround);
  t.is(links.length, 1);
  t.is(links[0]!.verdict, 'CONFIRMED');
  t.deepEqual(
    links[0]!.rivals.map(({ causeFindingId, outcome, says }) => [causeFindingId, outcome, says]),
    [['slow', 'REFUTED', 'not that much']],
  );
});

test('an effect may begin until the rule’s time after its cause ended, and no later', (t) => {
  const begins = (seconds: number) => ({ ...growth, startedMicros: at(seconds), startedByMicros: at(seconds) });
  t.is(verdictOf(surge, begins(119)), 'CONFIRMED');
  t.is(verdictOf(surge, begins(121)), undefined);
});

test('a rival with another root that explains as much lowers CONFIRMED to LIKELY', (t) => {
  const links = judge([surge, finding('twin', 'etcd.put_surge', 1), growth], [putsGrow], nothingAround);
  t.deepEqual(
    links.map(({ verdict }) => verdict),
    ['LIKELY', 'LIKELY'],
  );
  t.deepEqual(
    links.map(({ rivals }) => rivals.map(({ causeFindingId }) => causeFindingId)),
    [['twin'], ['surge']],
  );
});

test('a rival that explains less does not', (t) => {
  const weak = finding('weak', 'etcd.put_surge', 1, { keys: [] });
  const links = judge([surge, weak, growth], [putsGrow], nothingAround);
  t.deepEqual(
    links.map(({ causeFindingId, verdict }) => [causeFindingId, verdict]),
    [
      ['surge', 'CONFIRMED'],
      ['weak', 'LIKELY'],
    ],
  );
});

/** A minute of baseline and a run of two minutes on the 10 s grid; `shape` is what stands there, by seconds after 02:00. */
const dosed = (one: Finding, shape: (seconds: number) => number): Finding => ({
  ...one,
  endedMicros: at(120),
  series: Array.from({ length: 30 }, (_, index): Point => [at(10 * index - 120), shape(10 * index - 120)]),
});
const step = (seconds: number) => (seconds >= 0 && seconds < 120 ? 10 + (seconds % 40) / 10 : (seconds % 30) / 60);
const elsewhen = (seconds: number) => ((seconds / 10) % 3 === 0 ? 10 : 0);
const partly = (seconds: number) => (seconds >= 0 && seconds < 60 ? 10 : (seconds % 30) / 60);
const byDose = rule('etcd.put_surge', 'etcd.wal_growth', { dose: 'proportional' });

test('a dose that could not be compared leaves the verdict of the four tests, one that contradicts lowers it', (t) => {
  const without = linked(byDose);
  t.is(without.verdict, 'CONFIRMED');
  t.is(without.tests.at(-1)!.outcome, 'not_made');
  const follows = linked(byDose, dosed(surge, step), dosed(growth, step));
  t.is(follows.verdict, 'CONFIRMED');
  t.like(follows.tests.at(-1), { test: 'dose', outcome: 'passed' });
  const contradicts = linked(byDose, dosed(surge, step), dosed(growth, elsewhen));
  t.is(contradicts.verdict, 'LIKELY');
  t.like(contradicts.tests.at(-1), { test: 'dose', outcome: 'failed' });
});

test("the effect's own spans are proof enough against a dose that contradicts", (t) => {
  const carried = { ...byDose, explain: () => passed('seen in the spans', true) };
  t.is(verdictOf(dosed(surge, step), dosed(growth, elsewhen), carried), 'CONFIRMED');
});

test('of two causes with other roots the one whose dose follows clearly better stands, the other one is lowered', (t) => {
  const twin = dosed(finding('twin', 'etcd.put_surge', 1), partly);
  const links = judge([dosed(surge, step), twin, dosed(growth, step)], [byDose], nothingAround);
  t.deepEqual(
    links.map(({ causeFindingId, verdict, confidence }) => [causeFindingId, verdict, confidence]),
    [
      ['surge', 'CONFIRMED', 0.95],
      ['twin', 'LIKELY', 0.6],
    ],
  );
  t.regex(links[0]!.rivals[0]!.says, /^its dose follows less well \(0\.\d\d against 1\.00\)$/);
  t.regex(links[1]!.rivals[0]!.says, /^its dose follows better/);
});

test('a rival is listed with all that speaks against it', (t) => {
  const coarse = finding('coarse', 'etcd.put_surge', 1, { keys: [], startedByMicros: at(30) });
  const links = judge([surge, dosed(coarse, partly), dosed(growth, step)], [byDose], nothingAround);
  const [rival] = links.find(({ causeFindingId }) => causeFindingId === 'surge')!.rivals;
  t.is(rival!.outcome, 'INCONCLUSIVE');
  t.regex(rival!.says, /^not ordered: .*; nothing says that they share etcd/);
});

test('GC pressure beside the growth of a log is a common cause, and no cause', (t) => {
  const pressure = (keys: string[], seconds = 5) =>
    finding('gc', 'go.gc_pressure', seconds, { subject: 'instance:a-0', keys, measured: { paused_share: 0.004 } });
  const rules = [putsGrow, rule('etcd.put_surge', 'go.gc_pressure')];
  const rivals = (gc: Finding) =>
    judge([surge, growth, gc], rules, nothingAround).find(({ effectKind }) => effectKind === 'etcd.wal_growth')!.rivals;
  t.deepEqual(
    rivals(pressure(['instance:a-0', 'etcd:a'])).map(({ outcome, says }) => [outcome, says]),
    [
      [
        'COMMON_CAUSE',
        'it and etcd.wal_growth both follow the same load (etcd.put_surge); its pauses took 0.4 % of the time',
      ],
    ],
  );
  t.deepEqual(rivals(pressure(['instance:b-0', 'etcd:b'])), []);
  t.deepEqual(rivals(pressure(['instance:a-0', 'etcd:a'], 500)), []);
});

test('what made an effect possible stands among the rivals of what set it off, and lowers nothing; what hid it does not', (t) => {
  const findings = [
    finding('right', 'iam.overreach', 0),
    finding('scan', 'access.enumeration', 1),
    finding('off', 'audit.logging_impaired', 2),
    finding('purge', 's3.version_purge', 10),
  ];
  const rules = (conditional: boolean) => [
    rule('iam.overreach', 's3.version_purge', conditional ? { role: 'condition' } : {}),
    rule('access.enumeration', 's3.version_purge'),
    rule('audit.logging_impaired', 's3.version_purge', { role: 'concealment' }),
  ];
  const said = (conditional: boolean) =>
    judge(findings, rules(conditional), nothingAround).map(({ causeFindingId, verdict, rivals }) => [
      causeFindingId,
      verdict,
      rivals.map((one) => `${one.causeFindingId}: ${one.says.split(',')[0]}`),
    ]);
  t.deepEqual(said(true), [
    ['off', 'CONFIRMED', []],
    ['right', 'CONFIRMED', ['scan: a cause beside this condition']],
    ['scan', 'CONFIRMED', ['right: it made the effect possible']],
  ]);
  t.deepEqual(said(false), [
    ['off', 'CONFIRMED', []],
    ['right', 'LIKELY', ['scan: it passes the same tests']],
    ['scan', 'LIKELY', ['right: it passes the same tests']],
  ]);
});

test('two ways from one root to an effect are no rivals of each other', (t) => {
  const rules = [
    rule('retry.storm', 'etcd.put_surge'),
    rule('retry.storm', 'etcd.wal_growth'),
    rule('etcd.put_surge', 'etcd.slow_fsync'),
    rule('etcd.wal_growth', 'etcd.slow_fsync'),
  ];
  const findings = [
    finding('storm', 'retry.storm', 0),
    finding('puts', 'etcd.put_surge', 5),
    finding('wal', 'etcd.wal_growth', 6),
    finding('fsync', 'etcd.slow_fsync', 10),
  ];
  const links = judge(findings, rules, nothingAround);
  t.deepEqual([...new Set(links.map(({ verdict }) => verdict))], ['CONFIRMED']);
  t.is(links.length, 4);
});

test('the order of the findings and of the rules does not matter', (t) => {
  const kinds = [...new Set(causes.flatMap(({ from, to }) => [from, to]))];
  const drawn = fc.array(
    fc.record({
      kind: fc.constantFrom(...kinds),
      seconds: fc.nat(60),
      coarse: fc.constantFrom(0, 5, 15),
      subject: fc.constantFrom('etcd:a', 'etcd:b', 'service:prod/api'),
      short: fc.boolean(),
    }),
    { maxLength: 14 },
  );
  const always = causes.map((cause) => ({ ...cause, explain: () => passed('always') }));
  fc.assert(
    fc.property(drawn, fc.nat(), (given, turn) => {
      const findings = given.map(({ kind, seconds, coarse, subject, short }, index) =>
        finding(`f${index}`, kind, seconds, { subject, shortBaseline: short, startedByMicros: at(seconds + coarse) }),
      );
      const places = turn % Math.max(1, findings.length);
      const turned = [...findings.slice(places), ...findings.slice(0, places)].reverse();
      assert.deepEqual(judge(turned, always.toReversed(), nothingAround), judge(findings, always, nothingAround));
    }),
    { numRuns: 200 },
  );
  t.pass();
});

test('a host whose clock is 3 s off neither loses its link nor has it confirmed by order', (t) => {
  const storm = finding('storm', 'retry.storm', 13, { keys: ['etcd:a'] });
  const puts = finding('puts', 'etcd.put_surge', 10, { keys: ['etcd:a'] });
  const raises = rule('retry.storm', 'etcd.put_surge');
  t.is(verdictOf(storm, puts, raises), undefined); // an effect 3 s before its cause is not even proposed
  const judged = judgePair(raises, { ...storm, subject: 'service:ahead' }, puts, {
    ...nothingAround,
    clockOffset: (subject) => (subject === 'service:ahead' ? 3_000_000 : 0),
  });
  const link = (judged as { link: Link }).link;
  t.is(link.verdict, 'LIKELY');
  t.regex(link.tests.find((one) => one.test === 'order')!.says, /not ordered.*a clock is 3 s off/);
});
