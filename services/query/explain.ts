import type { DuckDBConnection } from '@duckdb/node-api';
import type { Rival, Test } from '../../shared/chain.js';
import { entityKey } from '../../shared/entity.js';
import { groupBy } from '../../shared/group.js';
import { awaited, LATENESS } from '../../shared/lateness.js';
import { newestOf } from '../../shared/store/watermarks.js';
import { clustersOf } from '../correlate/clusters.js';
import type { Gap } from '../correlate/gaps.js';
import { loadMembers } from '../correlate/load.js';
import { loadGaps } from '../correlate/load-gaps.js';
import { type Absence, absencesOf, readRecorded } from './absences.js';
import { type AlertFilter, contradictions } from './contradictions.js';
import { clock, drawChain, lag, type Page, paint, verdict, wrap } from './draw.js';
import { originOf } from './origin.js';
import { type ChainRow, conceals, type FindingRow, type LinkRow, readRevisionsOf, type WholeChain } from './read.js';
import { jsonRows } from './rows.js';
import { sessionsOf } from './sessions.js';

const MARKS: Readonly<Record<Test['outcome'], string>> = { passed: '+', tolerated: '~', not_made: '?', failed: '-' };
const RIVAL_MARKS: Partial<Readonly<Record<Rival['outcome'], string>>> = { REFUTED: '-', COMMON_CAUSE: '=' };

/** Why each link of a chain is believed: the tests it passed or could not make, its rivals, its evidence, what was not covered, and how all this changed. */
export async function explain(connection: DuckDBConnection, chain: WholeChain, page: Page): Promise<string> {
  const findings = new Map(chain.findings.map((finding) => [finding.finding_id, finding]));
  const root = findings.get(chain.root_finding_id)!;
  const interval = { from: chain.started_at, to: chain.ended_at };
  const absences = absencesOf(chain.findings, interval, await readRecorded(connection));
  const lines = [
    drawChain(chain, page),
    '',
    ...wrap(
      `Verdict ${chain.verdict} (confidence ${chain.confidence}): the weakest link on the longest path from the root. Revision ${chain.revision}, ${chain.state}; ruleset ${chain.ruleset}.`,
      page.width,
    ),
    ...(await waitsFor(connection, chain, page)),
    ...chain.links.flatMap((link, index) => ['', ...explainLink(link, index + 1, findings, page)]),
    ...(await contradicted(connection, chain, page)),
    ...(await begun(connection, chain, page)),
    '',
    paint(page, 'bold', 'Where it begins'),
    ...indented(rootSentence(root), page),
    ...indented(await originOf(connection, root), page),
    ...missingRecords(absences, page),
    '',
    paint(page, 'bold', 'What was not covered'),
    ...(await uncovered(connection, chain, absences)).flatMap((line) => indented(line, page)),
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
    `${paint(page, 'bold', `${number}. ${link.cause_kind} ${conceals(link) ? 'hid' : '->'} ${link.effect_kind}`)}  ${lag(link, findings)}  ${verdict(page, link.verdict)}  (${link.rule})`,
    ...indented(`${cause.subject} -> ${effect.subject}`, page),
    ...indented(link.basis.mechanism, page),
    ...link.basis.tests.flatMap(({ test, outcome, says }) =>
      hanging(`${MARKS[outcome]} ${test.padEnd(9)} `, says, page),
    ),
    ...indented(rivalsSentence(link), page),
    ...link.basis.rivals.flatMap((rival) =>
      hanging(
        `${RIVAL_MARKS[rival.outcome] ?? '~'} `,
        `${rival.kind} of ${rival.subject} (${rival.rule}): ${rival.outcome.replace('_', ' ')}: ${rival.says}`,
        page,
      ),
    ),
  ];
}

function rivalsSentence(link: LinkRow): string {
  if (link.basis.rivals.length > 0) return 'Rivals considered:';
  if (conceals(link)) return 'It hid the effect and brought nothing about.';
  return 'No other finding could have caused it.';
}

/** What the evidence of a chain's findings says of stories that are often told of them. */
async function contradicted(connection: DuckDBConnection, chain: WholeChain, page: Page): Promise<string[]> {
  const filters = await alertFilters(connection, chain.ended_at.replace('Z', ''));
  const said = contradictions(chain.findings, filters);
  if (said.length === 0) return [];
  return [
    '',
    paint(page, 'bold', 'What the evidence supports and contradicts'),
    ...said.flatMap(({ supports, says }) => hanging(supports ? '+ ' : '- ', says, page)),
  ];
}

/** Whose sessions the calls in evidence were. */
async function begun(connection: DuckDBConnection, chain: WholeChain, page: Page): Promise<string[]> {
  const sessions = await sessionsOf(connection, chain);
  if (sessions.length === 0) return [];
  return ['', paint(page, 'bold', 'Who began the sessions'), ...sessions.flatMap((line) => hanging('', line, page))];
}

/** Filters that alert on CloudTrail's records (CloudWatch metric filters, EventBridge rules), as they were put before a moment. */
async function alertFilters(connection: DuckDBConnection, before: string): Promise<AlertFilter[]> {
  return (await jsonRows(
    connection,
    `SELECT event_name, strftime(event_time, '%Y-%m-%dT%H:%M:%SZ') AS at, coalesce(raw->>'$.requestParameters.filterName', raw->>'$.requestParameters.name', '') AS name,
       coalesce(raw->>'$.requestParameters.filterPattern', raw->>'$.requestParameters.eventPattern') AS pattern
     FROM cloudtrail_events WHERE ((event_source = 'logs.amazonaws.com' AND event_name = 'PutMetricFilter') OR (event_source = 'events.amazonaws.com' AND event_name = 'PutRule'))
       AND error_code IS NULL AND event_time <= $before::TIMESTAMP AND pattern IS NOT NULL ORDER BY event_time, event_id`,
    { before },
  )) as unknown as AlertFilter[];
}

function rootSentence(root: FindingRow): string {
  return `${root.kind} of ${root.subject} at ${clock(root.started_at)} UTC.`;
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

/** Of what CloudTrail has no record: where that means that it did not happen, and where it means nothing. */
function missingRecords(absences: readonly Absence[], page: Page): string[] {
  if (absences.length === 0) return [];
  return [
    '',
    paint(page, 'bold', 'What a missing record means'),
    ...absences.flatMap(({ means, says }) => hanging(means === 'nothing' ? '? ' : '+ ', says, page)),
    ...hanging('? ', 'CloudTrail never has the keys of DeleteObjects, nor what lifecycle rules delete.', page),
  ];
}

/** What was missing, while the chain lasted, of the clusters, services, buckets and accounts that it is about. */
async function uncovered(
  connection: DuckDBConnection,
  chain: WholeChain,
  absences: readonly Absence[],
): Promise<string[]> {
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
    ...absences.filter(({ means }) => means === 'nothing').map(({ of }) => `cloudtrail: ${of}, as said above.`),
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
