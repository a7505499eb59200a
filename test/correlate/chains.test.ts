import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { buildChains } from '../../services/correlate/chains.js';
import type { Chain, Link } from '../../shared/chain.js';
import type { Finding } from '../../shared/finding.js';
import { sha256 } from '../../shared/hash.js';
import { at, finding, link } from '../helpers/findings.js';

const HOUR = 3600;

const build = (findings: readonly Finding[], links: readonly Link[]): Chain[] => buildChains(findings, links, sha256);

const storm = finding('storm', 'retry.storm', 0);
const puts = finding('puts', 'etcd.put_surge', 5);
const wal = finding('wal', 'etcd.wal_growth', 6);
const grown = finding('grown', 'etcd.db_growth', 7);
const quota = finding('quota', 'etcd.quota_exhausted', 60);
const errors = finding('errors', 'http.error_burst', 62, { severity: 'critical', endedMicros: at(500) });
const all = [storm, puts, wal, grown, quota, errors];
const links = [link(storm, puts), link(puts, wal), link(puts, grown), link(grown, quota), link(quota, errors)];

test('a chain is a root and all that it reaches, up to the impact', (t) => {
  const [chain, ...others] = build(all, links);
  t.deepEqual(others, []);
  t.like(chain, { rootFindingId: 'storm', impactFindingId: 'errors', verdict: 'CONFIRMED', continues: false });
  t.deepEqual(chain!.members, ['storm', 'puts', 'wal', 'grown', 'quota', 'errors']);
  t.is(chain!.links.length, 5);
  t.is(chain!.startedMicros, storm.startedMicros);
  t.is(chain!.endedMicros, errors.endedMicros);
});

test('a finding alone is no chain, and neither is one whose links are all INCONCLUSIVE', (t) => {
  t.deepEqual(build([storm, puts], []), []);
  t.deepEqual(build([storm, puts], [link(storm, puts, 'INCONCLUSIVE')]), []);
});

test('an INCONCLUSIVE link neither makes a root into an effect nor reaches on', (t) => {
  const [chain] = build(all, [link(storm, puts, 'INCONCLUSIVE'), link(puts, wal), link(wal, grown, 'INCONCLUSIVE')]);
  t.like(chain, { rootFindingId: 'puts', members: ['puts', 'wal'] });
});

test('a chain is as strong as the weakest link to its impact', (t) => {
  t.is(build(all, [...links.slice(0, 3), link(grown, quota, 'LIKELY'), links[4]!])[0]!.verdict, 'LIKELY');
  const aside = [links[0]!, link(puts, wal, 'LIKELY'), ...links.slice(2)];
  t.is(build(all, aside)[0]!.verdict, 'CONFIRMED', 'a weak link beside the way does not count');
});

test('an effect of two roots stands in both chains and welds them not', (t) => {
  const disk = finding('disk', 'etcd.slow_apply', 50);
  const chains = build([...all, disk], [...links, link(disk, errors)]);
  t.deepEqual(chains.map(({ rootFindingId }) => rootFindingId).sort(), ['disk', 'storm']);
  t.deepEqual(chains.find(({ rootFindingId }) => rootFindingId === 'disk')!.members, ['disk', 'errors']);
  t.true(chains.every(({ members }) => members.includes('errors')));
});

test('a chain ends 24 h after its root began, and says that it continues', (t) => {
  const late = finding('late', 'etcd.quota_exhausted', 24 * HOUR + 1);
  const intime = finding('intime', 'etcd.quota_exhausted', 24 * HOUR - 1);
  const [chain] = build([storm, puts, late, intime], [link(storm, puts), link(puts, late), link(puts, intime)]);
  t.deepEqual(chain!.members, ['storm', 'puts', 'intime']);
  t.true(chain!.continues);
  t.regex(chain!.summary, /continues after 24 h/);
});

test('a root whose only effect lies beyond the 24 h is no chain', (t) => {
  const late = finding('late', 'etcd.put_surge', 25 * HOUR);
  t.deepEqual(build([storm, late], [link(storm, late)]), []);
});

test('a root of which only the latest onset is known keeps its effects', (t) => {
  const lost = finding('lost', 'etcd.leader_lost', -30 * HOUR, { startedByMicros: at(0) });
  t.deepEqual(build([lost, errors], [link(lost, errors)])[0]!.members, ['lost', 'errors']);
});

test('the impact ends the longest way; of equally long ones the stronger, then the worse', (t) => {
  const equal = [link(storm, puts), link(puts, wal), link(puts, grown)];
  const impact = (one: Finding, other: Finding, among = equal) =>
    build([storm, puts, one, other], among)[0]!.impactFindingId;
  t.is(impact({ ...wal, severity: 'critical' }, grown), 'wal');
  t.is(impact(wal, { ...grown, severity: 'critical' }), 'grown');
  t.is(impact({ ...wal, severity: 'critical' }, grown, [equal[0]!, link(puts, wal, 'LIKELY'), equal[2]!]), 'grown');
});

test("a chain's id is its root's, whatever else belongs to it", (t) => {
  const [whole] = build(all, links);
  const [part] = build([storm, puts], links.slice(0, 1));
  t.is(part!.id, whole!.id);
  const another = { ...storm, id: 'another' };
  t.not(build([another, puts], [link(another, puts)])[0]!.id, whole!.id);
});

test('chains do not depend on the order in which findings and links are told, nor on ties in time', (t) => {
  const kinds = ['retry.storm', 'etcd.put_surge', 'etcd.wal_growth', 'etcd.db_growth', 'http.error_burst'] as const;
  const graph = fc.array(fc.tuple(fc.nat(8), fc.nat(8), fc.constantFrom('CONFIRMED', 'LIKELY', 'INCONCLUSIVE')), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(graph, fc.nat(2), (edges, spread) => {
      const findings = Array.from({ length: 9 }, (_, i) => finding(`f${i}`, kinds[i % 5]!, Math.floor(i * spread)));
      const pairs = new Map(
        edges
          .filter(([from, to]) => from < to)
          .map(([from, to, verdict]) => [`${from} ${to}`, link(findings[from]!, findings[to]!, verdict)]),
      );
      const told = [...pairs.values()];
      assert.deepEqual(build(findings.toReversed(), told.toReversed()), build(findings, told));
    }),
    { numRuns: 300 },
  );
  t.pass();
});
