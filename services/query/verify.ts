import type { DuckDBConnection } from '@duckdb/node-api';
import { LOSSES } from '../../shared/store/positions.js';
import { clock, type Page, paint, wrap } from './draw.js';
import { jsonRows } from './rows.js';

interface IntervalRow {
  readonly archive: string;
  readonly account_id: string;
  readonly region: string;
  readonly trail: string | null;
  readonly chain: string | null;
  readonly state: string;
  readonly reason: string;
  readonly from_time: string;
  readonly to_time: string;
  readonly digests: number;
  readonly files: number;
  readonly verified: number;
}

interface FileRow {
  readonly object: string;
  readonly state: string;
  readonly reason: string;
  readonly digest: string | null;
}

interface QuarantinedRow {
  readonly source: string;
  readonly reason: string;
  readonly records: number;
}

interface GapRow {
  readonly topic: string;
  readonly partition: number;
  readonly from_offset: number | string;
  readonly to_offset: number | string;
  readonly cause: string;
}

interface IncidentRow {
  readonly recorded_at: string;
  readonly what: string;
  readonly detail: string;
}

/** Whether the evidence is whole and as it was delivered, as far as anything vouches for it. */
export interface Verified {
  /** `no` where something is changed, missing, put in or cannot be verified; `nothing_to_verify` where no digest was read. */
  readonly answer: 'yes' | 'no' | 'nothing_to_verify';
  /** CloudTrail log files by state. */
  readonly log_files: Readonly<Record<string, number>>;
  /** Stretches of time, by what digests say of the files delivered in them. */
  readonly intervals: readonly IntervalRow[];
  /** Files that are missing, changed or put in. */
  readonly files: readonly FileRow[];
  readonly quarantined: readonly QuarantinedRow[];
  readonly kafka_gaps: readonly GapRow[];
  readonly incidents: readonly IncidentRow[];
}

/** States that make the answer no. */
const BAD = ['modified', 'missing', 'injected', 'unverified'];

const INTERVALS = `SELECT archive, account_id, region, trail, chain, state, said AS reason, min(from_time) AS from_time, max(to_time) AS to_time,
    count(DISTINCT digest)::INTEGER AS digests, sum(files)::BIGINT AS files, sum(verified)::BIGINT AS verified
  FROM (SELECT *, CASE state WHEN 'verified' THEN 'as signed digests name them' ELSE reason END AS said FROM integrity)
  GROUP BY archive, account_id, region, trail, chain, state, said ORDER BY ALL`;

export async function readVerified(connection: DuckDBConnection): Promise<Verified> {
  const rows = async <Row>(sql: string) => (await jsonRows(connection, sql)) as unknown as readonly Row[];
  const intervals = await rows<IntervalRow>(INTERVALS);
  const files = await rows<FileRow>('SELECT * FROM integrity_files ORDER BY ALL');
  const kafkaGaps = await rows<GapRow>(
    `SELECT topic, "partition", from_offset, to_offset, cause FROM kafka_gaps WHERE cause IN (${LOSSES.map((cause) => `'${cause}'`).join()}) ORDER BY ALL`,
  );
  const digests = intervals.some(({ trail }) => trail !== null);
  const bad = files.length + kafkaGaps.length > 0 || (digests && intervals.some(({ state }) => BAD.includes(state)));
  return {
    answer: bad ? 'no' : digests ? 'yes' : 'nothing_to_verify',
    log_files: await logFiles(connection, files),
    intervals,
    files,
    quarantined: await rows(
      'SELECT source, reason, count(*)::BIGINT AS records FROM quarantine GROUP BY ALL ORDER BY ALL',
    ),
    kafka_gaps: kafkaGaps,
    incidents: await rows('SELECT recorded_at, what, detail FROM incidents ORDER BY ALL'),
  };
}

/** What is neither verified nor changed nor put in is a log file that nothing vouches for. */
async function logFiles(connection: DuckDBConnection, files: readonly FileRow[]): Promise<Record<string, number>> {
  const [{ read = 0, verified = 0 } = {}] = await jsonRows(
    connection,
    `SELECT (SELECT count(DISTINCT concat_ws(' ', archive, bucket, path)) FROM _store.trail_files WHERE kind = 'log')::BIGINT AS read,
       (SELECT coalesce(sum(verified), 0) FROM integrity)::BIGINT AS verified`,
  );
  const of = (state: string) => files.filter((file) => file.state === state && !isDigest(file)).length;
  const [missing, modified, injected] = [of('missing'), of('modified'), of('injected')];
  const rest = Math.max(0, Number(read) - Number(verified) - modified - injected);
  return { read: Number(read), verified: Number(verified), modified, injected, missing, not_verified: rest };
}

const isDigest = ({ object }: FileRow): boolean => object.includes('/CloudTrail-Digest/');

export function verifiedText(verified: Verified, page: Page): string {
  const { answer, log_files: counts, intervals, files, quarantined, kafka_gaps: gaps, incidents } = verified;
  const said = (sentences: readonly string[]) => sentences.flatMap((text) => hanging(text, page));
  return [
    paint(page, 'bold', HEADLINE[answer]),
    '',
    ...wrap(
      `CloudTrail log files: ${counts['read']} read, ${counts['verified']} verified, ${counts['modified']} modified, ${counts['injected']} injected, ${counts['missing']} missing, ${counts['not_verified']} that nothing vouches for.`,
      page.width,
    ),
    ...section('What digests say', said(intervals.map(intervalSentence)), page),
    ...section('Files that tell of tampering, or of loss', said(files.map(fileSentence)), page),
    ...section(
      'Records that could not be decoded (kept whole)',
      said(quarantined.map(({ source, reason, records }) => `${source}: ${records} ${reason}`)),
      page,
    ),
    ...section('Kafka offsets that were never read', said(gaps.map(gapSentence)), page),
    ...section(
      'What befell the store',
      said(incidents.map(({ recorded_at, what, detail }) => `${clock(recorded_at)} UTC ${what}: ${detail}`)),
      page,
    ),
  ].join('\n');
}

const HEADLINE: Readonly<Record<Verified['answer'], string>> = {
  yes: 'Yes: what digests speak of is as CloudTrail delivered it.',
  no: 'No: evidence was changed, is missing, or cannot be verified where it should be.',
  nothing_to_verify: 'There is nothing to verify: no digest was read, so nothing vouches for the log files.',
};

function section(title: string, lines: readonly string[], page: Page): string[] {
  return lines.length === 0 ? [] : ['', paint(page, 'bold', title), ...lines];
}

function hanging(text: string, page: Page): string[] {
  return wrap(text, page.width - 5).map((line, index) => `${index === 0 ? '   ' : '     '}${line}`);
}

function intervalSentence({
  account_id,
  region,
  trail,
  chain,
  state,
  reason,
  from_time,
  to_time,
  files,
}: IntervalRow): string {
  const about = [account_id, region, trail, chain === 'backfill' ? 'backfill' : null]
    .filter((word) => word !== null)
    .join(' ');
  const words = state.replaceAll('_', ' ');
  return `${words}  ${about}, ${clock(from_time)} to ${clock(to_time)} UTC (${files} files): ${reason}`;
}

function fileSentence({ state, object, reason, digest }: FileRow): string {
  return `${state} ${object}: ${reason}${digest === null ? '' : ` (${digest.slice(digest.lastIndexOf('/') + 1)})`}`;
}

function gapSentence({ topic, partition, from_offset, to_offset, cause }: GapRow): string {
  return `${topic}/${partition}: ${from_offset} up to ${to_offset}, ${cause}`;
}
