import { relative } from 'node:path';
import { type Replayed, replayAws, replayCase, replayKafka } from '../replay/replay.js';
import { printedConfig } from '../shared/config/print.js';
import { settingsOf, unknownVariables } from '../shared/config/settings.js';
import { loadConfig, readConfig } from '../shared/config.js';
import { CauselineError } from '../shared/errors.js';
import { EVIDENCE } from '../shared/evidence.js';
import { close, openForReading } from '../shared/store/open.js';
import { parseMicros } from '../shared/time.js';
import { topicSources } from './collect/sources/index.js';
import { ask } from './query/ask.js';
import type { CoverageFilter } from './query/coverage.js';
import { drawChain, type Page } from './query/draw.js';
import { operationsOfFile, operationsText } from './query/operations.js';
import { countFindings, readChains, readWhole, type WholeChain } from './query/read.js';
import type { Format } from './query/sql.js';
import { rebuild } from './run/rebuild.js';

/** Text for people is at most this wide, and as narrow as their terminal. */
const WIDEST = 100;

const page = (): Page => ({
  width: Math.min(WIDEST, process.stdout.columns ?? WIDEST),
  colour: process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
});

const print = (text: string): void => void process.stdout.write(`${text}\n`);

export interface ReplayFlags {
  readonly db: string;
  readonly config?: string;
  readonly from?: string;
  readonly to?: string;
  readonly endpoint?: string;
  readonly toKafka?: boolean;
  readonly speed: string;
  readonly json?: boolean;
}

export async function replayCommand(from: string, flags: ReplayFlags): Promise<void> {
  if (flags.toKafka) return sendCommand(from, flags);
  const replayed = await replayFrom(from, flags);
  notify(replayed.notices);
  const standing = await whatStands(flags.db);
  if (flags.json) print(JSON.stringify(replayDocument(replayed, standing), null, 2));
  else print(replayText(replayed, standing));
  if (replayed.collected.failed.length > 0) process.exitCode = 2;
}

function replayFrom(from: string, flags: ReplayFlags): Promise<Replayed> {
  if (from === 'kafka:') return replayTopics(flags);
  if (from.startsWith('s3://') || from === 'cloudtrail:lookup') return replayOfAws(from, flags);
  return replayFolder(from, flags);
}

async function replayOfAws(source: string, { db, from, to, endpoint }: ReplayFlags): Promise<Replayed> {
  const fromMicros = from ? Number(parseMicros(from, 'from')) : null;
  const toMicros = to ? Number(parseMicros(to, 'to')) : null;
  const nowUnixNano = BigInt(Date.now()) * 1_000_000n;
  return replayAws(source, db, { fromMicros, toMicros, endpoint, nowUnixNano }, progress());
}

async function replayFolder(folder: string, { db, from, to }: ReplayFlags): Promise<Replayed> {
  if (from ?? to)
    throw new CauselineError(
      'bad_usage',
      'replay',
      'A case folder is replayed whole: --from and --to are for kafka:, s3:// and cloudtrail:lookup.',
    );
  return replayCase(folder, db, { nowUnixNano: BigInt(Date.now()) * 1_000_000n, onProgress: progress() });
}

async function replayTopics({ db, config, from, to }: ReplayFlags): Promise<Replayed> {
  const { readingsOf } = await import('./collect/kafka/readings.js');
  const range = {
    ...(from && { fromMillis: Number(parseMicros(from, 'from') / 1000n) }),
    ...(to && { toMillis: Number(parseMicros(to, 'to') / 1000n) }),
  };
  return replayKafka(readingsOf(loadConfig(topicSources, { env: process.env, file: config })), range, db, progress());
}

async function sendCommand(folder: string, flags: ReplayFlags): Promise<void> {
  const { sendCase } = await import('../replay/kafka/send.js');
  const { kafkaClient } = await import('../shared/kafka/client.js');
  const { sources: read, kafka } = loadConfig(topicSources, { env: process.env, file: flags.config });
  const topics = Object.fromEntries(read.map(({ source, topic }) => [source, topic]));
  const sent = await sendCase(folder, kafkaClient(kafka), topics, { speed: speedOf(flags.speed) });
  const { case: name, messages, ignored } = sent;
  if (flags.json) return print(JSON.stringify({ case: name, messages, ignored: Object.fromEntries(ignored) }, null, 2));
  for (const [source, count] of Object.entries(messages)) print(`${count} messages sent to ${topics[source]}.`);
  for (const [reason, count] of ignored) print(`${count} files left unread: ${reason}.`);
  print(`'npx causeline run' reads them; 'npx causeline chains' lists what they come to.`);
}

function speedOf(text: string): 'max' | number {
  const speed = Number(text);
  if (text === 'max' || speed > 0) return text === 'max' ? text : speed;
  throw new CauselineError('bad_usage', 'replay', `--speed takes max, or how many times as fast: not '${text}'.`, {
    field: 'speed',
  });
}

/** What a person should know belongs on the screen, not into the output. */
function notify(notices: readonly string[]): void {
  for (const notice of notices) process.stderr.write(`notice: ${notice}\n`);
}

/** A line that is rewritten in place on a terminal; nothing when output is piped. */
function progress(): (step: 'collect' | 'correlate', done: number, of: number) => void {
  if (!process.stderr.isTTY) return () => {};
  return (step, done, of) => {
    const text = step === 'collect' ? `reading ${done} of ${of}` : 'looking for causes';
    process.stderr.write(`\r\x1b[K${text}`);
    if (step === 'correlate') process.stderr.write('\r\x1b[K');
  };
}

/** What the store comes to as a whole: a replay may have added to it, or nothing. */
interface Standing {
  readonly findings: number;
  readonly chains: readonly WholeChain[];
}

async function whatStands(db: string): Promise<Standing> {
  const opened = await openForReading(db);
  try {
    const chains: WholeChain[] = [];
    for (const chain of await readChains(opened.connection)) chains.push(await readWhole(opened.connection, chain));
    return { findings: await countFindings(opened.connection), chains };
  } finally {
    close(opened);
  }
}

function replayDocument({ case: name, db, collected, ignored, correlated }: Replayed, { findings, chains }: Standing) {
  return {
    case: name,
    db,
    collected,
    ignored: Object.fromEntries(ignored),
    findings,
    recorded: correlated.recorded,
    chains,
  };
}

function replayText(replayed: Replayed, { findings, chains }: Standing): string {
  const { collected, db } = replayed;
  const wide = page();
  const other = replayed.case === 'storage-avalanche' ? 'decoys' : 'storage-avalanche';
  const file = db.includes(' ') ? `'${db}'` : db;
  const first = chains[0]?.chain_id.slice(0, 8);
  return [
    `${replayed.case}${replayed.title ? `: ${replayed.title}` : ''}`,
    evidenceLine(replayed),
    ...warnings(replayed),
    `${findings} findings, ${chains.length} ${chains.length === 1 ? 'chain' : 'chains'}.`,
    '',
    ...(chains.length === 0
      ? ['No chain: no finding was shown to have caused another.', '']
      : chains.flatMap((chain) => [drawChain(chain, wide), ''])),
    `Written to ${db} (${collected.files} files read). Try next:`,
    `  npx causeline sql "SELECT started_at, kind, subject, summary FROM findings ORDER BY started_at"${dbFlag(file)}`,
    first
      ? `  npx causeline explain ${first}${dbFlag(file)}`
      : `  npx causeline sql "SELECT * FROM coverage"${dbFlag(file)}`,
    `  npx causeline replay ${relative(process.cwd(), `replay/cases/${other}`) || '.'} --db ${other}.duckdb`,
  ].join('\n');
}

const dbFlag = (file: string): string => (file === './causeline.duckdb' ? '' : ` --db ${file}`);

function evidenceLine({ collected }: Replayed): string {
  const { read, stored } = collected;
  const parts = [
    `${read.cloudtrail} CloudTrail records`,
    `${read.traces} spans`,
    `${read.metrics} metric points`,
    ...(read['s3-access'] > 0 ? [`${read['s3-access']} access log records`] : []),
    ...(read.iam > 0 ? [`${read.iam} IAM simulations`] : []),
    `${EVIDENCE.reduce((sum, name) => sum + read[name] - stored[name], 0)} known already`,
  ];
  return `Read ${parts.join(', ')}; ${collected.quarantined} quarantined.`;
}

function warnings({ collected, ignored }: Replayed): string[] {
  return [
    ...(collected.conflicts > 0
      ? [`${collected.conflicts} records have the identity of another with a different body: kept and flagged.`]
      : []),
    ...(collected.digests > 0
      ? [`${collected.digests} digests of CloudTrail log files: 'npx causeline verify' says what they vouch for.`]
      : []),
    ...collected.failed.map(({ reason }) => `Not read: ${reason}`),
    ...(collected.failed.length > 0 ? ['Run it again: what was read is not read again.'] : []),
    ...(collected.missedScrapes > 0 ? [`${collected.missedScrapes} scrapes were not answered.`] : []),
    ...Object.entries(collected.skipped).map(([reason, count]) => `${count} skipped: ${reason}.`),
    ...[...ignored].map(([reason, count]) => `${count} ${count === 1 ? 'file' : 'files'} left unread: ${reason}.`),
  ];
}

export async function chainsCommand({ db, asOf, json }: { db: string; asOf?: string; json?: boolean }): Promise<void> {
  await ask(db, { command: 'chains', ...(asOf && { asOf }), ...(json && { json }) }, page(), process.stdout);
}

export async function explainCommand(id: string, { db }: { db: string }): Promise<void> {
  await ask(db, { command: 'explain', id }, page(), process.stdout);
}

export async function verifyCommand({ db, json }: { db: string; json?: boolean }): Promise<void> {
  const outcome = await ask(db, { command: 'verify', ...(json && { json }) }, page(), process.stdout);
  if (outcome === 'no') process.exitCode = 1;
}

export async function deletionsCommand(flags: { db: string; bucket?: string; json?: boolean }): Promise<void> {
  const { db, bucket, json } = flags;
  await ask(
    db,
    { command: 'deletions', ...(bucket !== undefined && { bucket }), ...(json && { json }) },
    page(),
    process.stdout,
  );
}

export interface CoverageFlags extends CoverageFilter {
  readonly db: string;
  readonly operations?: boolean;
  readonly selectors?: string;
  readonly json?: boolean;
}

export async function coverageCommand(flags: CoverageFlags): Promise<void> {
  const { db, operations, selectors, json } = flags;
  const filter = filterOf(flags);
  if (selectors !== undefined) {
    refuseBeside('selectors', Object.keys(filter));
    const trails = operationsOfFile(selectors);
    print(json ? JSON.stringify(trails, null, 2) : operationsText(trails, page()));
    return;
  }
  if (operations) {
    const { to, ...others } = filter;
    refuseBeside('operations', Object.keys(others));
    await ask(db, { command: 'operations', ...(to && { at: to }), ...(json && { json }) }, page(), process.stdout);
    return;
  }
  await ask(db, { command: 'coverage', filter, ...(json && { json }) }, page(), process.stdout);
}

/** What of the flags narrows the answer, and was given. */
function filterOf({ account, region, category, resource, from, to }: CoverageFlags): CoverageFilter {
  const given = Object.entries({ account, region, category, resource, from, to });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}

function refuseBeside(flag: string, others: readonly string[]): void {
  const [other] = others;
  if (other !== undefined)
    throw new CauselineError(
      'bad_usage',
      'coverage',
      `--${other} says nothing beside --${flag}, which is about whole trails.`,
      { field: other },
    );
}

export async function sqlCommand(query: string, { db, format }: { db: string; format: Format }): Promise<void> {
  await ask(db, { command: 'sql', query, format }, page(), process.stdout);
}

export async function rebuildCommand(options: { db: string }): Promise<void> {
  const { db, kept, notices, copied, revisions, recorded } = await rebuild(options.db);
  notify(notices);
  const {
    cloudtrail_events: records,
    spans,
    metric_points: points,
    s3_access_records: lines = 0,
    iam_simulations: simulations = 0,
  } = copied;
  const { added, revised, withdrawn } = recorded.chains;
  const more = [
    ...(lines > 0 ? [`${lines} access log records`] : []),
    ...(simulations > 0 ? [`${simulations} IAM simulations`] : []),
  ];
  print(
    `Evidence copied: ${[`${records} CloudTrail records`, `${spans} spans`, `${points} metric points`, ...more].join(', ')}.`,
  );
  print(`History taken up from the ledger: ${revisions} ${revisions === 1 ? 'revision' : 'revisions'}.`);
  print(
    added + revised + withdrawn === 0
      ? 'Judged anew: the same chains.'
      : `Judged anew: ${added} chains added, ${revised} revised, ${withdrawn} withdrawn; 'causeline explain' says why.`,
  );
  print(`${db} is the new file; the old one is ${kept}.`);
}

export interface RunFlags {
  readonly db?: string;
  readonly config?: string;
  readonly services: string;
  readonly untilCaughtUp?: boolean;
}

export async function runCommand({ db, config: file, services, untilCaughtUp = false }: RunFlags): Promise<void> {
  const { run, SERVICES } = await import('./run/run.js'); // Kafka and telemetry are for this command alone
  const named = new Set(SERVICES.filter((name) => services.split(',').includes(name)));
  if (named.size !== services.split(',').length)
    throw new CauselineError('bad_usage', 'run', `--services takes some of ${SERVICES.join()}, not '${services}'.`, {
      field: 'services',
    });
  const config = loadConfig(topicSources, { flags: { db }, env: process.env, file });
  process.exit(await run(config, { services: named, untilCaughtUp }));
}

export function configCommand(options: { config?: string }): void {
  const { valid, originOf } = readConfig(topicSources, { env: process.env, file: options.config });
  const settings = settingsOf(topicSources);
  notify(unknownVariables(settings, process.env).map((name) => `${name} sets nothing: no such variable is known`));
  process.stdout.write(printedConfig(valid, originOf, settings));
}
