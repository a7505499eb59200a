import type { DuckDBConnection } from '@duckdb/node-api';
import type { Rival, Test } from '../../shared/chain.js';
import { clock, drawChain, lag, type Page, paint, verdict, wrap } from './draw.js';
import { originOf } from './origin.js';
import type { FindingRow, LinkRow, WholeChain } from './read.js';
import { jsonRows } from './rows.js';

const MARKS: Readonly<Record<Test['outcome'], string>> = { passed: '+', tolerated: '~', not_made: '?', failed: '-' };
const RIVAL_MARKS: Partial<Readonly<Record<Rival['outcome'], string>>> = { REFUTED: '-', COMMON_CAUSE: '=' };

/** Why each link of a chain is believed: the tests it passed or could not make, its rivals, its evidence, and what was not covered. */
export async function explain(connection: DuckDBConnection, chain: WholeChain, page: Page): Promise<string> {
  const findings = new Map(chain.findings.map((finding) => [finding.finding_id, finding]));
  const root = findings.get(chain.root_finding_id)!;
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
    ...indented(rootSentence(root), page),
    ...indented(await originOf(connection, root), page),
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
        `${RIVAL_MARKS[rival.outcome] ?? '~'} `,
        `${rival.kind} of ${rival.subject} (${rival.rule}): ${rival.outcome.replace('_', ' ')}: ${rival.says}`,
        page,
      ),
    ),
  ];
}

function rootSentence(root: FindingRow): string {
  return `${root.kind} of ${root.subject} at ${clock(root.started_at)} UTC.`;
}

const UNCOVERED = `
  SELECT concat(scope, ': ', count(*), ' scrapes missing (', reason, ').') AS line FROM coverage
  WHERE state = 'not_collected' AND from_time BETWEEN $from::TIMESTAMP AND $to::TIMESTAMP GROUP BY scope, reason
  UNION ALL
  SELECT concat(source, ': no evidence of that time, so its absence means nothing.')
  FROM (VALUES ('cloudtrail'), ('traces'), ('metrics')) s(source) WHERE NOT EXISTS (SELECT 1 FROM coverage c
    WHERE c.source = s.source AND c.state = 'collected' AND c.from_time <= $to::TIMESTAMP AND c.to_time >= $from::TIMESTAMP)
  UNION ALL
  SELECT concat(source, ': ', count(*), ' undecodable records are in quarantine and were not looked at.')
  FROM quarantine GROUP BY source
  ORDER BY line`;

/** Scrapes that were not answered while the chain lasted, sources that hold nothing of that time, and what is in quarantine. */
async function uncovered(connection: DuckDBConnection, chain: WholeChain): Promise<string[]> {
  const interval = { from: chain.started_at.replace('Z', ''), to: chain.ended_at.replace('Z', '') };
  const lines = (await jsonRows(connection, UNCOVERED, interval)).map(({ line }) => line as string);
  return lines.length > 0
    ? lines
    : ['Nothing that is known of: every source has evidence of that time. Unsampled spans leave no trace.'];
}

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
