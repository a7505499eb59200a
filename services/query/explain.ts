import type { DuckDBConnection } from '@duckdb/node-api';
import type { Rival, Test } from '../../shared/chain.js';
import { awaited, LATENESS } from '../../shared/lateness.js';
import { newestOf } from '../../shared/store/watermarks.js';
import { clock, drawChain, lag, type Page, paint, verdict, wrap } from './draw.js';
import { originOf } from './origin.js';
import { type ChainRow, type FindingRow, type LinkRow, readRevisionsOf, type WholeChain } from './read.js';
import { jsonRows } from './rows.js';

const MARKS: Readonly<Record<Test['outcome'], string>> = { passed: '+', tolerated: '~', not_made: '?', failed: '-' };
const RIVAL_MARKS: Partial<Readonly<Record<Rival['outcome'], string>>> = { REFUTED: '-', COMMON_CAUSE: '=' };

/** Why each link of a chain is believed: the tests it passed or could not make, its rivals, its evidence, what was not covered, and how all this changed. */
export async function explain(connection: DuckDBConnection, chain: WholeChain, page: Page): Promise<string> {
  const findings = new Map(chain.findings.map((finding) => [finding.finding_id, finding]));
  const root = findings.get(chain.root_finding_id)!;
  const lines = [
    drawChain(chain, page),
    '',
    ...wrap(
      `Verdict ${chain.verdict} (confidence ${chain.confidence}): the weakest link on the longest path from the root. Revision ${chain.revision}, ${chain.state}; ruleset ${chain.ruleset}.`,
      page.width,
    ),
    ...(await waitsFor(connection, chain, page)),
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
    ...(await changes(connection, chain, page)),
    '',
    `Marks: + passed, ~ within tolerance, ? could not be made, - failed.`,
  ];
  return lines.join('\n');
}

/** What a provisional chain waits for: the scopes whose evidence of its time may still come. */
async function waitsFor(connection: DuckDBConnection, chain: WholeChain, page: Page): Promise<string[]> {
  if (chain.state !== 'provisional') return [];
  const scopes = awaited(Date.parse(chain.ended_at) * 1000, await newestOf(connection));
  const named = scopes.map(
    ({ source, scope, atMicros }) =>
      `${source} ${scope} (newest ${clock(new Date(atMicros / 1000).toISOString())} UTC, may come ${LATENESS[source]} late)`,
  );
  if (named.length === 0) return [];
  return wrap(`Provisional: evidence of its time may still come from ${named.join(', ')}.`, page.width);
}

/** A chain that stands no longer: what it said, and why it was withdrawn. */
export async function explainWithdrawn(connection: DuckDBConnection, chain: ChainRow, page: Page): Promise<string> {
  return [
    `${paint(page, 'bold', 'chain')} ${chain.chain_id}  withdrawn`,
    ...wrap(chain.title, page.width),
    '',
    ...(await changes(connection, chain, page)),
  ].join('\n');
}

async function changes(connection: DuckDBConnection, chain: ChainRow, page: Page): Promise<string[]> {
  const revisions = await readRevisionsOf(connection, chain);
  return [
    paint(page, 'bold', 'How the answer changed'),
    ...revisions.flatMap(({ revision, recorded_at, verdict: said, state, reason }) =>
      hanging(
        `r${revision} `,
        `${clock(recorded_at)} UTC  ${state === 'withdrawn' ? state : `${said}, ${state}`}: ${reason}`,
        page,
      ),
    ),
  ];
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
