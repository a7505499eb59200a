import type { DuckDBConnection } from '@duckdb/node-api';
import { entityType } from '../../shared/entity.js';
import { groupBy } from '../../shared/group.js';
import { type CoverageRow, rowsAbout } from './coverage.js';
import { clock } from './draw.js';
import { sourceOf } from './origin.js';
import type { FindingRow } from './read.js';
import { jsonRows } from './rows.js';

/** What it means that CloudTrail has no record of something. */
export interface Absence {
  /** `data events on prod-logs-archive` */
  readonly of: string;
  readonly means: 'did_not_happen' | 'did_not_happen_if_whole' | 'nothing';
  /** The same as a sentence, with why and, where it is not of the whole time, when. */
  readonly says: string;
}

type About = Pick<FindingRow, 'kind' | 'keys'>;

interface Interval {
  /** ISO 8601. */
  readonly from: string;
  readonly to: string;
}

/** What CloudTrail's coverage says by category and resource; the limits of the source, which no time changes, apart. */
export async function readRecorded(connection: DuckDBConnection): Promise<CoverageRow[]> {
  return (await jsonRows(
    connection,
    `SELECT * FROM coverage WHERE source = 'cloudtrail' AND category IN ('Management', 'Data') AND state <> 'source_limit'
     ORDER BY scope, category DESC, resource_type, resource NULLS LAST, from_time, operations, state`,
  )) as unknown as CoverageRow[];
}

/** Which absences of records mean something while these findings stood: of management events in their accounts, and of data events on their buckets. Pure. */
export function absencesOf(
  findings: readonly About[],
  { from, to }: Interval,
  recorded: readonly CoverageRow[],
): Absence[] {
  const told = findings.filter(({ kind }) => sourceOf(kind) === 'cloudtrail');
  if (told.length === 0) return [];
  const keys = [...new Set(told.flatMap((one) => one.keys))].sort();
  const named = (type: string) =>
    keys.filter((key) => entityType(key) === type).map((key) => key.slice(type.length + 1));
  const accounts = named('account');
  const rows = recorded.filter(
    (row) =>
      row.from_time <= to && row.to_time >= from && (accounts.length === 0 || accounts.includes(row.account_id ?? '')),
  );
  const parts = [
    ...rows
      .filter(({ category, resource }) => category === 'Management' && resource === null)
      .map((row) => ({ of: 'management events', row })),
    ...named('bucket').flatMap((bucket) =>
      rowsAbout(bucket, rows).map((row) => ({ of: `data events on ${below(bucket, row)}`, row })),
    ),
  ];
  return [...groupBy(parts, ({ of, row }) => [of, row.operations, row.state, row.reason].join('\n')).values()].map(
    (same) =>
      absence(
        same[0]!.of,
        same.map(({ row }) => row),
        { from, to },
      ),
  );
}

/** The bucket, or the part of it that the row is about. */
const below = (bucket: string, { resource }: CoverageRow): string => {
  const name = resource?.replace(/^arn:[^:]*:s3:::/, '') ?? '';
  return name.startsWith(`${bucket}/`) && name.length > bucket.length + 1 ? name : bucket;
};

function absence(of: string, rows: readonly CoverageRow[], { from, to }: Interval): Absence {
  const { state, reason, operations, trails } = rows[0]!;
  const what = `${of}${operations === 'all' ? '' : ` (${operations})`}`;
  const where = [...new Set(rows.map(({ scope }) => scope))].sort().join(', ');
  const [start, end] = [
    rows.map((row) => row.from_time).sort()[0]!,
    rows
      .map((row) => row.to_time)
      .sort()
      .at(-1)!,
  ];
  const when =
    start <= from && end >= to
      ? ''
      : ` from ${clock(start > from ? start : from)} to ${clock(end < to ? end : to)} UTC`;
  const means = meansOf(state, trails ?? []);
  return { of: what, means, says: `No record of ${what} in ${where}${when} means ${MEANS[means]}: ${reason}.` };
}

/** Where nothing says what trails record, a record shows what happened, and the lack of one shows nothing. */
function meansOf(state: string, trails: readonly string[]): Absence['means'] {
  if (state === 'collected_verified') return 'did_not_happen';
  return state === 'collected' && trails.length > 0 ? 'did_not_happen_if_whole' : 'nothing';
}

export const MEANS: Readonly<Record<Absence['means'], string>> = {
  did_not_happen: 'that it did not happen',
  did_not_happen_if_whole: 'that it did not happen, if no log file is missing',
  nothing: 'nothing',
};
