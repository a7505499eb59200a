import type { DuckDBConnection } from '@duckdb/node-api';
import type { Test } from '../../shared/chain.js';
import { entityKey } from '../../shared/entity.js';
import { groupBy } from '../../shared/group.js';
import { clustersOf } from '../correlate/clusters.js';
import type { Gap } from '../correlate/gaps.js';
import { loadMembers } from '../correlate/load.js';
import { loadGaps } from '../correlate/load-gaps.js';
import { clock, drawChain, lag, type Page, paint, verdict, wrap } from './draw.js';
import type { FindingRow, LinkRow, WholeChain } from './read.js';
import { jsonRows } from './rows.js';

const MARKS: Readonly<Record<Test['outcome'], string>> = { passed: '+', tolerated: '~', not_made: '?', failed: '-' };

/** Why each link of a chain is believed: the tests it passed or could not make, its rivals, its evidence, and what was not covered. */
export async function explain(connection: DuckDBConnection, chain: WholeChain, page: Page): Promise<string> {
  const findings = new Map(chain.findings.map((finding) => [finding.finding_id, finding]));
  const lines = [
    drawChain(chain, page),
    '',
    ...wrap(
      `Verdict ${chain.verdict} (confidence ${chain.confidence}): the weakest link on the longest path from the root. Revision ${chain.revision}, ${chain.reason}; ruleset ${chain.ruleset}.`,
      page.width,
    ),
    ...chain.links.flatMap((link, index) => ['', ...explainLink(link, index + 1, findings, page)]),
    '',
    paint(page, 'bold', 'Where it begins'),
    ...indented(rootSentence(findings.get(chain.root_finding_id)!), page),
    '',
    paint(page, 'bold', 'What was not covered'),
    ...(await uncovered(connection, chain)).flatMap((line) => indented(line, page)),
    '',
    paint(page, 'bold', 'Evidence'),
    ...chain.findings.flatMap((finding) => indented(evidenceSentence(finding), page)),
    '',
    `Marks: + passed, ~ within tolerance, ? could not be made, - failed.`,
  ];
  return lines.join('\n');
}

function explainLink(link: LinkRow, number: number, findings: ReadonlyMap<string, FindingRow>, page: Page): string[] {
  const cause = findings.get(link.cause_finding_id)!;
  const effect = findings.get(link.effect_finding_id)!;
  return [
    `${paint(page, 'bold', `${number}. ${link.cause_kind} -> ${link.effect_kind}`)}  ${lag(link, findings)}  ${verdict(page, link.verdict)}  (${link.rule})`,
    ...indented(`${cause.subject} -> ${effect.subject}`, page),
    ...indented(link.basis.mechanism, page),
    ...link.basis.tests.flatMap(({ test, outcome, says }) =>
      hanging(`${MARKS[outcome]} ${test.padEnd(9)} `, says, page),
    ),
    ...(link.basis.rivals.length === 0
      ? indented('No other finding could have caused it.', page)
      : indented('Rivals considered:', page)),
    ...link.basis.rivals.flatMap((rival) =>
      hanging(
        `${rival.outcome === 'REFUTED' ? '-' : '~'} `,
        `${rival.kind} of ${rival.subject} (${rival.rule}): ${rival.outcome}, ${rival.says}`,
        page,
      ),
    ),
  ];
}

function rootSentence(root: FindingRow): string {
  return `${root.kind} of ${root.subject} at ${clock(root.started_at)} UTC. No cause of it was found in the evidence; what lies outside the evidence was not looked at.`;
}

/** Sources without any evidence of the time, what spans say that they lost or stand for, and what could not be decoded. */
const UNCOVERED = `
  SELECT NULL AS scope, concat(source, ': no evidence of that time, so its absence means nothing.') AS line
  FROM (VALUES ('cloudtrail'), ('traces'), ('metrics')) s(source) WHERE NOT EXISTS (SELECT 1 FROM coverage c
    WHERE c.source = s.source AND c.state = 'collected' AND c.from_time <= $to::TIMESTAMP AND c.to_time >= $from::TIMESTAMP)
  UNION ALL
  SELECT scope, concat('service:', scope, ': ', string_agg(reason, '; ' ORDER BY from_time, reason), '.') FROM coverage
  WHERE source = 'traces' AND state IN ('dropped_spans', 'sampled') AND from_time <= $to::TIMESTAMP AND to_time >= $from::TIMESTAMP
  GROUP BY scope
  UNION ALL
  SELECT NULL, concat(source, ': ', count(*), ' undecodable records are in quarantine and were not looked at.')
  FROM quarantine GROUP BY source
  ORDER BY line`;

/** What was missing, while the chain lasted, of the clusters and services that it is about. */
async function uncovered(connection: DuckDBConnection, chain: WholeChain): Promise<string[]> {
  const subjects = new Set(chain.findings.map(({ subject }) => subject));
  const gaps = (await loadGaps(connection, clustersOf(await loadMembers(connection)))).filter(
    (gap) =>
      subjects.has(gap.subject) &&
      gap.fromMicros <= Date.parse(chain.ended_at) * 1000 &&
      gap.toMicros >= Date.parse(chain.started_at) * 1000,
  );
  const interval = { from: chain.started_at.replace('Z', ''), to: chain.ended_at.replace('Z', '') };
  const rows = (await jsonRows(connection, UNCOVERED, interval)).filter(
    ({ scope }) => scope === null || subjects.has(entityKey('service', scope as string)),
  );
  const lines = [
    ...[...groupBy(gaps, ({ subject, member, state }) => [subject, member, state].join('\n')).values()].map(
      gapSentence,
    ),
    ...rows.map(({ line }) => line as string),
  ];
  return lines.length > 0
    ? lines
    : ['Nothing that is known of: every source has evidence of that time. Unsampled spans leave no trace.'];
}

const GAP_WORDS: Readonly<Record<Gap['state'], string>> = {
  missed_scrapes: 'scrapes are missing',
  member_down: 'down, or not reached: no answer to scrapes while others were made',
  source_silent: 'nothing at all while other evidence goes on',
};

/** One line for all gaps of one kind: `etcd:store, store-2: scrapes are missing, 4 times between 02:03:05 and 02:07:00 UTC.` */
function gapSentence(gaps: readonly Gap[]): string {
  const { subject, member, state } = gaps[0]!;
  const from = Math.min(...gaps.map(({ fromMicros }) => fromMicros));
  const to = Math.max(...gaps.map(({ toMicros }) => toMicros));
  const when =
    gaps.length === 1
      ? `from ${clockOf(from)} to ${clockOf(to)}`
      : `${gaps.length} times between ${clockOf(from)} and ${clockOf(to)}`;
  return `${member === null ? subject : `${subject}, ${member}`}: ${GAP_WORDS[state]}, ${when} UTC.`;
}

const clockOf = (micros: number): string => clock(new Date(micros / 1000).toISOString());

function evidenceSentence(finding: FindingRow): string {
  return `${finding.kind} ${finding.finding_id}: ${finding.evidence_count} records, ${clock(finding.started_at)} to ${clock(finding.ended_at)} UTC (${finding.detector})`;
}

function indented(text: string, page: Page): string[] {
  return wrap(text, page.width - 3).map((line) => `   ${line}`);
}

function hanging(mark: string, text: string, page: Page): string[] {
  return wrap(text, page.width - 5 - mark.length).map(
    (line, index) => `     ${index === 0 ? mark : ' '.repeat(mark.length)}${line}`,
  );
}
