import type { Writable } from 'node:stream';
import type { DuckDBConnection } from '@duckdb/node-api';
import { groupBy } from '../../shared/group.js';
import { type Absence, absencesOf, MEANS, readRecorded } from './absences.js';
import { type CoverageFilter, coverageText, readCoverage } from './coverage.js';
import { deletionsText, readDeletions } from './deletions.js';
import { clock, type Page, verdict, wrap } from './draw.js';
import { explain, explainWithdrawn } from './explain.js';
import { operationsText, readOperations } from './operations.js';
import { printable } from './printable.js';
import { type ChainRow, findChain, readChains, readSubjects, readWhole, type Subject } from './read.js';
import { type Format, writeSql } from './sql.js';
import { readVerified, verifiedText } from './verify.js';

/** What a reading command asks: it travels as JSON to the process that holds the file. */
export type Question =
  | { readonly command: 'chains'; readonly asOf?: string; readonly json?: boolean }
  | { readonly command: 'explain'; readonly id: string }
  | { readonly command: 'verify'; readonly json?: boolean }
  | { readonly command: 'deletions'; readonly bucket?: string; readonly json?: boolean }
  | { readonly command: 'coverage'; readonly filter: CoverageFilter; readonly json?: boolean }
  | { readonly command: 'operations'; readonly at?: string; readonly json?: boolean }
  | { readonly command: 'sql'; readonly query: string; readonly format: Format };

/** Whether the answer itself is no: an exit code says so. */
export type Outcome = 'done' | 'no';

/** Answers a question from a store; `exportPath` is the one file that DuckDB may write, for Parquet. */
export async function answer(
  connection: DuckDBConnection,
  question: Question,
  page: Page,
  exportPath: string,
  out: Writable,
): Promise<Outcome> {
  if (question.command === 'verify') return verify(connection, question.json ?? false, page, out);
  if (question.command === 'sql') {
    await writeSql(connection, question.query, question.format, exportPath, out);
    return 'done';
  }
  out.write(`${await textOf(connection, question, page)}\n`);
  return 'done';
}

function textOf(
  connection: DuckDBConnection,
  question: Exclude<Question, { readonly command: 'verify' | 'sql' }>,
  page: Page,
): Promise<string> {
  switch (question.command) {
    case 'chains':
      return chainsText(connection, question, page);
    case 'coverage':
      return reportText(readCoverage(connection, question.filter), coverageText, question.json, page);
    case 'operations':
      return reportText(readOperations(connection, question.at), operationsText, question.json, page);
    case 'deletions':
      return reportText(readDeletions(connection, question.bucket), deletionsText, question.json, page);
    case 'explain':
      return explainText(connection, question.id, page);
  }
}

async function reportText<Report>(
  read: Promise<Report>,
  toText: (report: Report, page: Page) => string,
  json: boolean | undefined,
  page: Page,
): Promise<string> {
  const report = await read;
  return json ? JSON.stringify(report, null, 2) : toText(report, page);
}

async function verify(connection: DuckDBConnection, json: boolean, page: Page, out: Writable): Promise<Outcome> {
  const verified = await readVerified(connection);
  out.write(`${json ? JSON.stringify(verified, null, 2) : verifiedText(verified, page)}\n`);
  return verified.answer === 'no' ? 'no' : 'done';
}

async function chainsText(
  connection: DuckDBConnection,
  { asOf, json }: Extract<Question, { command: 'chains' }>,
  page: Page,
): Promise<string> {
  const chains = await withAbsences(connection, await readChains(connection, asOf), asOf === undefined);
  if (json) return JSON.stringify(chains, null, 2);
  if (chains.length === 0)
    return asOf ? `No chain was known at ${asOf}.` : 'No chain: no finding was shown to have caused another.';
  return chains
    .flatMap((chain) => [
      `${chain.chain_id.slice(0, 8)}  ${clock(chain.started_at)}  ${verdict(page, chain.verdict.padEnd(9))}  ${chain.state}  r${chain.revision}`,
      `          ${printable(chain.title)}`,
      ...absenceLines(chain.absences, page),
    ])
    .join('\n');
}

type Listed = ChainRow & { readonly absences: readonly Absence[] };

/** With each chain which absences of CloudTrail records mean something. What coverage was known at an earlier time is not kept. */
async function withAbsences(
  connection: DuckDBConnection,
  chains: readonly ChainRow[],
  current: boolean,
): Promise<Listed[]> {
  const recorded = current && chains.length > 0 ? await readRecorded(connection) : [];
  const findings = recorded.length === 0 ? new Map<string, Subject>() : await readSubjects(connection);
  return chains.map((chain) => {
    const own = chain.members.flatMap((id) => findings.get(id) ?? []);
    return { ...chain, absences: absencesOf(own, { from: chain.started_at, to: chain.ended_at }, recorded) };
  });
}

function absenceLines(absences: readonly Absence[], page: Page): string[] {
  const words = [...groupBy(absences, ({ means }) => means)].map(
    ([means, same]) => `no record of ${[...new Set(same.map(({ of }) => of))].join(' or ')} means ${MEANS[means]}`,
  );
  return words.length === 0 ? [] : wrap(`${words.join('; ')}.`, page.width - 10).map((line) => `          ${line}`);
}

async function explainText(connection: DuckDBConnection, id: string, page: Page): Promise<string> {
  const chain = await findChain(connection, id);
  if (chain.state === 'withdrawn') return explainWithdrawn(connection, chain, page);
  return explain(connection, await readWhole(connection, chain), page);
}
