import type { DuckDBConnection } from '@duckdb/node-api';
import { CauselineError } from '../../shared/errors.js';
import { groupBy } from '../../shared/group.js';
import { parseMicros } from '../../shared/time.js';
import { clock, type Page, paint, wrap } from './draw.js';
import { printable } from './printable.js';
import { jsonRows } from './rows.js';

/** Which rows of `coverage` are asked for; times are ISO 8601. */
export interface CoverageFilter {
  readonly account?: string;
  readonly region?: string;
  readonly category?: string;
  /** A bucket's name, or an ARN or its beginning. */
  readonly resource?: string;
  readonly from?: string;
  readonly to?: string;
}

/** A row of the relation `coverage`; the last ones say something of CloudTrail alone. */
export interface CoverageRow {
  readonly source: string;
  readonly scope: string;
  readonly from_time: string;
  readonly to_time: string;
  readonly state: string;
  readonly reason: string;
  readonly account_id: string | null;
  readonly region: string | null;
  readonly category: string | null;
  readonly resource_type: string | null;
  readonly resource: string | null;
  readonly operations: string | null;
  readonly trails: readonly string[] | null;
  readonly evidence_id: string | null;
}

export const CATEGORIES = ['Management', 'Data', 'NetworkActivity', 'Insight'] as const;

/** What could be seen, in the order of source, scope, category, resource and time. Throws where the filter names what cannot be, or is not in evidence. */
export async function readCoverage(connection: DuckDBConnection, filter: CoverageFilter): Promise<CoverageRow[]> {
  const { from, to } = timesOf(filter);
  await refuseUnknown(connection, filter);
  const rows = (await jsonRows(
    connection,
    `SELECT * FROM coverage WHERE ($from IS NULL OR to_time >= make_timestamp($from::BIGINT)) AND ($to IS NULL OR from_time <= make_timestamp($to::BIGINT))
       AND ($account IS NULL OR account_id = $account OR (source = 'cloudtrail' AND split_part(scope, '/', 1) = $account))
       AND ($region IS NULL OR region = $region OR (source = 'cloudtrail' AND split_part(scope, '/', 2) = $region))
       AND ($category IS NULL OR category = $category)
     ORDER BY source, scope, category NULLS FIRST, resource_type NULLS LAST, resource NULLS LAST, operations, from_time, to_time, state, reason`,
    { from, to, account: filter.account ?? null, region: filter.region ?? null, category: filter.category ?? null },
  )) as unknown as CoverageRow[];
  return filter.resource === undefined ? rows : rowsAbout(filter.resource, rows);
}

function timesOf({ from, to }: CoverageFilter): { from: bigint | null; to: bigint | null } {
  const times = {
    from: from === undefined ? null : parseMicros(from, 'from'),
    to: to === undefined ? null : parseMicros(to, 'to'),
  };
  if (times.from !== null && times.to !== null && times.from > times.to)
    throw new CauselineError('bad_usage', 'coverage', `--from ${from} is after --to ${to}.`, { field: 'from' });
  return times;
}

/** A name that is not in evidence would look like one of which nothing is known. */
async function refuseUnknown(connection: DuckDBConnection, { account, region }: CoverageFilter): Promise<void> {
  if (account === undefined && region === undefined) return;
  const places = await jsonRows(
    connection,
    'SELECT DISTINCT account_id, region FROM coverage WHERE region IS NOT NULL ORDER BY ALL',
  );
  for (const [name, asked] of [
    ['account_id', account],
    ['region', region],
  ] as const) {
    const known = [...new Set(places.map((place) => place[name] as string))].sort();
    if (asked === undefined || known.includes(asked)) continue;
    const what = name === 'region' ? 'region' : 'account';
    const listed =
      known.length === 0 ? 'there are no CloudTrail records' : `those with records are ${known.join(', ')}`;
    throw new CauselineError(
      'not_found',
      'coverage',
      `There is no ${what} '${printable(asked)}' in evidence: ${listed}.`,
      { field: what },
    );
  }
}

/** ARNs whatever the partition of AWS, and a bucket by its name. */
function arnOf(resource: string): string {
  if (resource.startsWith('arn:')) return resource.replace(/^arn:[^:]*:/, 'arn:aws:');
  return `arn:aws:s3:::${resource}${resource.includes('/') ? '' : '/'}`;
}

/** Rows of data events that cover a resource (a bucket's name, an ARN or its beginning) or lie below it; where none does, those of everything else. */
export function rowsAbout(resource: string, rows: readonly CoverageRow[]): CoverageRow[] {
  const asked = arnOf(resource);
  const data = rows.filter(({ category }) => category === 'Data');
  return [...groupBy(data, ({ scope }) => scope).values()].flatMap((own) => {
    const covering = own.filter((row) => row.resource !== null && asked.startsWith(arnOf(row.resource)));
    const most = Math.max(0, ...covering.map((row) => row.resource!.length));
    const closest = covering.filter((row) => row.resource!.length === most);
    const below = own.filter(
      (row) => row.resource !== null && arnOf(row.resource).startsWith(asked) && !closest.includes(row),
    );
    const type = asked.includes(':s3:::') ? 'AWS::S3::Object' : null;
    const rest = own.filter(
      (row) => row.resource === null && (type === null || row.resource_type === type) && !during(row, closest),
    );
    return [...closest, ...below, ...rest];
  });
}

/** Of no other time than these: they say it better. A limit of the source is of all times. */
const during = (row: CoverageRow, others: readonly CoverageRow[]): boolean =>
  row.state !== 'source_limit' &&
  others.some((one) => one.from_time <= row.from_time) &&
  others.some((one) => one.to_time >= row.to_time);

/** The relation as people read it: what each part of each scope was at each time. */
export function coverageText(rows: readonly CoverageRow[], page: Page): string {
  if (rows.length === 0) return 'Nothing: no evidence matches, so nothing is known of what could be seen.';
  return [...groupBy(rows, ({ source, scope }) => `${source}  ${scope}`)]
    .map(([title, own]) => [paint(page, 'bold', printable(title)), ...partsText(own, page)].join('\n'))
    .join('\n\n');
}

function partsText(rows: readonly CoverageRow[], page: Page): string[] {
  return [...groupBy(rows, partOf)].flatMap(([part, own]) => [
    ...(part === '' ? [] : wrap(part, page.width - 2).map((line) => `  ${line}`)),
    ...[
      ...groupBy(own, ({ state, reason, from_time, to_time }) =>
        from_time === to_time ? `${state}\n${reason}` : `${state}\n${reason}\n${from_time}`,
      ).values(),
    ].flatMap((same) => stretchText(same, page)),
  ]);
}

function partOf({ category, resource_type, resource, operations }: CoverageRow): string {
  if (category === null) return '';
  const of = [
    category,
    resource_type,
    resource ?? (category === 'Data' && resource_type === null ? 'every other type' : null),
  ];
  return [...of.filter((word) => word !== null), operations === 'all' ? null : `(${operations})`]
    .filter((word) => word !== null)
    .join(' ');
}

/** Moments that say the same are one line. */
function stretchText(same: readonly CoverageRow[], page: Page): string[] {
  const { state, reason, from_time } = same[0]!;
  const until = same.at(-1)!.to_time;
  const times = `${clock(from_time)} to ${clock(until)} UTC${same.length > 1 ? `, ${same.length} times` : ''}`;
  return [
    `    ${paint(page, COLOURS[state] ?? 'yellow', state.padEnd(18))}  ${times}`,
    ...wrap(reason, page.width - 6).map((line) => `      ${line}`),
  ];
}

const COLOURS: Readonly<Record<string, 'green' | 'red'>> = {
  collected: 'green',
  collected_verified: 'green',
  verified: 'green',
  verified_empty: 'green',
  selector_excluded: 'red',
  logging_stopped: 'red',
};
