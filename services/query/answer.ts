import type { Writable } from 'node:stream';
import type { DuckDBConnection } from '@duckdb/node-api';
import { deletionsText, readDeletions } from './deletions.js';
import { clock, type Page, verdict } from './draw.js';
import { explain, explainWithdrawn } from './explain.js';
import { printable } from './printable.js';
import { findChain, readChains, readWhole } from './read.js';
import { type Format, writeSql } from './sql.js';
import { readVerified, verifiedText } from './verify.js';

/** What a reading command asks: it travels as JSON to the process that holds the file. */
export type Question =
  | { readonly command: 'chains'; readonly asOf?: string; readonly json?: boolean }
  | { readonly command: 'explain'; readonly id: string }
  | { readonly command: 'verify'; readonly json?: boolean }
  | { readonly command: 'deletions'; readonly bucket?: string; readonly json?: boolean }
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

async function textOf(
  connection: DuckDBConnection,
  question: Exclude<Question, { command: 'verify' | 'sql' }>,
  page: Page,
): Promise<string> {
  if (question.command === 'chains') return chainsText(connection, question, page);
  if (question.command === 'explain') return explainText(connection, question.id, page);
  const report = await readDeletions(connection, question.bucket);
  return question.json ? JSON.stringify(report, null, 2) : deletionsText(report, page);
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
  const chains = await readChains(connection, asOf);
  if (json) return JSON.stringify(chains, null, 2);
  if (chains.length === 0)
    return asOf ? `No chain was known at ${asOf}.` : 'No chain: no finding was shown to have caused another.';
  return chains
    .flatMap((chain) => [
      `${chain.chain_id.slice(0, 8)}  ${clock(chain.started_at)}  ${verdict(page, chain.verdict.padEnd(9))}  ${chain.state}  r${chain.revision}`,
      `          ${printable(chain.title)}`,
    ])
    .join('\n');
}

async function explainText(connection: DuckDBConnection, id: string, page: Page): Promise<string> {
  const chain = await findChain(connection, id);
  if (chain.state === 'withdrawn') return explainWithdrawn(connection, chain, page);
  return explain(connection, await readWhole(connection, chain), page);
}
