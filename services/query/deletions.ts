import type { DuckDBConnection } from '@duckdb/node-api';
import { CauselineError } from '../../shared/errors.js';
import { counted } from '../correlate/cloudtrail/spree.js';
import { bytes as sized } from '../correlate/figures.js';
import { mfaDeleteWasOff } from './contradictions.js';
import { clock, type Page, paint, wrap } from './draw.js';
import { printable } from './printable.js';
import { jsonRows } from './rows.js';

/** What a principal did of one kind, with one meaning for the data and one outcome. Times are ISO 8601 in UTC. */
interface Acts {
  readonly kind: Kind;
  /** `lost` for good, `kept` and recoverable, `restored`, `none`, or `unknown` from the evidence there is. */
  readonly loss: 'lost' | 'kept' | 'restored' | 'none' | 'unknown';
  readonly outcome: 'ok' | 'denied' | 'failed' | 'unknown';
  readonly acts: number;
  /** Distinct keys. */
  readonly objects: number;
  /** Of how many acts the bytes are known, and the sum of those. */
  readonly bytes_known_of: number;
  /** A text where no number is exact. */
  readonly bytes: number | string | null;
  /** Keys of DeleteObjects calls that are known, and calls of which none is. */
  readonly keys_known: number;
  readonly calls_without_keys: number;
  /** Acts on keys of a DeleteObjects call. */
  readonly in_bulk: number;
  /** Keys of which a version was deleted for good, at whatever time and by whomever. */
  readonly also_lost: number;
  /** Acts at a time when versioning was suspended. */
  readonly while_suspended: number;
  readonly seen_in: Readonly<Record<'cloudtrail' | 's3_access' | 'both', number>>;
  readonly first_at: string;
  readonly last_at: string;
}

type Kind =
  | 'version_deleted'
  | 'object_deleted'
  | 'expired'
  | 'bulk_call'
  | 'marker_set'
  | 'expired_marker'
  | 'overwritten'
  | 'marker_removed'
  | 'transitioned';

interface PrincipalReport {
  /** Whose rights were used; null for nobody: unauthenticated, or not recorded. */
  readonly principal: string | null;
  readonly first_at: string;
  readonly last_at: string;
  readonly source_ips: readonly string[];
  readonly acts: readonly Acts[];
  /** What follows from the acts. */
  readonly statements: readonly string[];
}

/** What of a bucket is in evidence: without object-level events, no deletion in evidence is not nothing deleted. */
interface Watched {
  readonly data_events: number;
  /** Those that are no reading: a trail may select the reading ones alone. */
  readonly writing_events: number;
  readonly events_from: string | null;
  readonly events_to: string | null;
  readonly access_records: number;
  readonly records_from: string | null;
  readonly records_to: string | null;
}

interface BucketReport {
  readonly bucket: string;
  readonly watched: Watched;
  readonly principals: readonly PrincipalReport[];
}

/** Deletions, by bucket and principal, and what could not be seen of them. */
export interface DeletionReport {
  /** Buckets of which a deletion is in evidence, and the one that was asked for. */
  readonly buckets: readonly BucketReport[];
  /** Buckets that evidence names and of which it has neither object-level events nor access logs. */
  readonly unwatched: readonly string[];
  /** What the evidence cannot say. */
  readonly limits: readonly string[];
}

/** Of one bucket, or of all. Throws where the store is of before this report. */
export async function readDeletions(connection: DuckDBConnection, bucket?: string): Promise<DeletionReport> {
  await checkVersion(connection);
  const asked = bucket === undefined ? {} : { bucket };
  const of = bucket === undefined ? 'true' : 'bucket = $bucket';
  const rows = async <Row>(sql: string) => (await jsonRows(connection, sql, asked)) as unknown as readonly Row[];
  const acts = await rows<ActsRow>(actsSql(of));
  const watched = new Map((await rows<WatchedRow>(watchedSql(of))).map(({ bucket: name, ...row }) => [name, row]));
  const named = new Set([...(bucket === undefined ? [] : [bucket]), ...acts.map((row) => row.bucket)]);
  const buckets = [...named].sort().map((name) => ({
    bucket: name,
    watched: watched.get(name) ?? UNWATCHED,
    principals: principalsOf(acts.filter((row) => row.bucket === name)),
  }));
  const unwatched = [...watched].filter(([, row]) => isUnwatched(row)).map(([name]) => name);
  return { buckets, unwatched, limits: limitsOf(buckets, await leftOut(connection)) };
}

const UNWATCHED: Watched = {
  data_events: 0,
  writing_events: 0,
  events_from: null,
  events_to: null,
  access_records: 0,
  records_from: null,
  records_to: null,
};

const isUnwatched = ({ data_events: events, access_records: records }: Watched): boolean => events + records === 0;

/** A reading command opens a store as it is. */
async function checkVersion(connection: DuckDBConnection): Promise<void> {
  const found = await jsonRows(connection, `SELECT 1 FROM duckdb_views() WHERE view_name = 'deletions'`);
  if (found.length === 0)
    throw new CauselineError(
      'not_available',
      'deletions',
      "The store was written before this report was known: 'causeline replay', 'run' or 'rebuild' bring it to the newest version.",
    );
}

type ActsRow = Acts & Pick<PrincipalReport, 'principal' | 'source_ips'> & { readonly bucket: string };
type WatchedRow = Watched & { readonly bucket: string };

/** What is worst comes first. */
const KINDS: readonly Kind[] = [
  'version_deleted',
  'object_deleted',
  'expired',
  'bulk_call',
  'marker_set',
  'expired_marker',
  'overwritten',
  'marker_removed',
  'transitioned',
];

const actsSql = (of: string): string => `
  WITH found AS MATERIALIZED (FROM deletions WHERE ${of}),
  gone AS (SELECT DISTINCT bucket, object_key FROM found WHERE kind = 'version_deleted' AND loss = 'lost'),
  told AS (SELECT f.*, g.bucket IS NOT NULL AS is_gone FROM found f LEFT JOIN gone g ON g.bucket = f.bucket AND g.object_key = f.object_key)
  SELECT bucket, principal, kind, loss, outcome, count(*) AS acts, count(DISTINCT object_key) AS objects, count(bytes) AS bytes_known_of,
    sum(bytes)::HUGEINT AS bytes, coalesce(sum(keys), 0)::BIGINT AS keys_known, count(*) FILTER (kind = 'bulk_call' AND coalesce(keys, 0) = 0) AS calls_without_keys,
    count(*) FILTER (in_bulk) AS in_bulk, count(DISTINCT object_key) FILTER (is_gone) AS also_lost, count(*) FILTER (versioning = 'suspended') AS while_suspended,
    {'cloudtrail': count(*) FILTER (seen_in = 'cloudtrail'), 's3_access': count(*) FILTER (seen_in = 's3-access'), 'both': count(*) FILTER (seen_in = 'both')} AS seen_in,
    min(time) AS first_at, max(time) AS last_at, coalesce(list(DISTINCT source_ip ORDER BY source_ip) FILTER (source_ip IS NOT NULL), []) AS source_ips
  FROM told GROUP BY ALL ORDER BY bucket, principal, outcome DESC, loss`;

const watchedSql = (of: string): string => `
  SELECT coalesce(e.bucket, r.bucket) AS bucket, coalesce(data_events, 0) AS data_events, coalesce(writing_events, 0) AS writing_events, events_from, events_to,
    coalesce(access_records, 0) AS access_records, records_from, records_to
  FROM (SELECT bucket, count(*) FILTER (is_data) AS data_events, count(*) FILTER (is_data AND read_only IS NOT true) AS writing_events,
      min(event_time) FILTER (is_data) AS events_from, max(event_time) FILTER (is_data) AS events_to
    FROM (SELECT *, event_category = 'Data' OR (event_category IS NULL AND object_key IS NOT NULL) AS is_data FROM cloudtrail_events WHERE bucket IS NOT NULL AND ${of})
    GROUP BY bucket) e
  FULL JOIN (SELECT bucket, count(*) AS access_records, min(event_time) AS records_from, max(event_time) AS records_to FROM s3_access_records WHERE ${of} GROUP BY bucket) r
    ON r.bucket = e.bucket ORDER BY 1`;

function principalsOf(rows: readonly ActsRow[]): PrincipalReport[] {
  return [...new Set(rows.map(({ principal }) => principal))].map((principal) => {
    const own = rows
      .filter((row) => row.principal === principal)
      .toSorted((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
    return {
      principal,
      first_at: own.map((row) => row.first_at).sort()[0]!,
      last_at: own
        .map((row) => row.last_at)
        .sort()
        .at(-1)!,
      source_ips: [...new Set(own.flatMap((row) => row.source_ips))].sort(),
      acts: own.map(actsIn),
      statements: statementsOf(principal, own),
    };
  });
}

function actsIn(row: ActsRow): Acts {
  const { bucket: _, principal: __, source_ips: ___, ...acts } = row;
  return acts;
}

/** What a deleted version proves. A canonical user id may be the root user's. */
function statementsOf(principal: string | null, acts: readonly Acts[]): string[] {
  const lost = acts.find(({ kind, loss }) => kind === 'version_deleted' && loss === 'lost');
  const says = lost && mfaDeleteWasOff(principal);
  return says === undefined ? [] : [`${clock(lost!.first_at)} UTC: ${says}`];
}

/** Records that are in no bucket's figures: those that could not be read, and deletions of which it is not said where, or when. */
interface LeftOut {
  readonly quarantined: number;
  readonly nowhere: number;
}

const LEFT_OUT = `
  SELECT (SELECT count(*) FROM quarantine WHERE source IN ('cloudtrail', 's3-access')) AS quarantined,
    (SELECT count(*) FROM cloudtrail_events WHERE event_source = 's3.amazonaws.com' AND event_name IN ('DeleteObject', 'DeleteObjectVersion', 'DeleteObjects')
      AND (bucket IS NULL OR list_contains(flags, 'impossible_time')))
    + (SELECT count(*) FROM s3_access_records WHERE regexp_matches(operation, '(DELETE|EXPIRE)\\.OBJECT|DELETEMARKER') AND list_contains(flags, 'impossible_time')) AS nowhere`;

async function leftOut(connection: DuckDBConnection): Promise<LeftOut> {
  const [row] = await jsonRows(connection, LEFT_OUT);
  return row as unknown as LeftOut;
}

function limitsOf(buckets: readonly BucketReport[], { quarantined, nowhere }: LeftOut): string[] {
  const bulk = buckets.some(({ principals }) => principals.some(({ acts }) => acts.some(isBulkCall)));
  const unlogged = buckets.filter(({ watched }) => watched.access_records === 0).map(({ bucket }) => bucket);
  return [
    ...(bulk
      ? [
          'DeleteObjects names no key in CloudTrail: keys are known as far as access logs have them, and how many there were is not known.',
        ]
      : []),
    `What lifecycle rules delete is in no CloudTrail record, only in S3 server access logs${
      unlogged.length > 0 ? `; there are none of ${few(unlogged)}` : ''
    }.`,
    ...(unlogged.length < buckets.length
      ? ['S3 delivers access logs on a best effort, hours late: that a record is absent means nothing.']
      : []),
    'Object-level calls are recorded by trails that select them, from then on: what was deleted before, or beside, is not here.',
    ...(quarantined > 0
      ? [`${counted(quarantined, 'record')} could not be decoded and may tell of more: SELECT * FROM quarantine.`]
      : []),
    ...(nowhere > 0
      ? [
          `${counted(nowhere, 'record')} of deletions name no bucket, or a time that cannot be: they are in no figure here.`,
        ]
      : []),
  ];
}

const isBulkCall = ({ kind }: Acts): boolean => kind === 'bulk_call';

const SHOWN = 5;

/** The first few, and how many more. */
const few = (texts: readonly string[]): string =>
  texts.slice(0, SHOWN).join(', ') + (texts.length > SHOWN ? ` and ${texts.length - SHOWN} more` : '');

/* ---- for people ---- */

export function deletionsText({ buckets, unwatched, limits }: DeletionReport, page: Page): string {
  const sections = buckets.flatMap((bucket) => [...bucketLines(bucket, page), '']);
  const others = unwatched.filter((name) => !buckets.some(({ bucket }) => bucket === name));
  return [
    ...(buckets.length === 0 ? ['No deletion is in evidence, which is not to say that there was none.', ''] : sections),
    paint(page, 'bold', 'What this cannot say'),
    ...[...(others.length > 0 ? [unwatchedSentence(others)] : []), ...limits].flatMap((text) =>
      indented(text, 3, page),
    ),
  ].join('\n');
}

const unwatchedSentence = (names: readonly string[]): string =>
  `Neither object-level events nor access logs are there of ${counted(names.length, 'further bucket')} (${few(names)}): nothing is known of deletions in ${names.length === 1 ? 'it' : 'them'}.`;

function bucketLines({ bucket, watched, principals }: BucketReport, page: Page): string[] {
  return [
    paint(page, 'bold', printable(bucket)),
    ...watchedSentences(watched).flatMap((text) => indented(text, 3, page)),
    ...(principals.length === 0 ? indented('No deletion is in evidence.', 3, page) : []),
    ...principals.flatMap((one) => ['', ...principalLines(bucket, one, page)]),
  ];
}

function watchedSentences(watched: Watched): string[] {
  const { data_events: events, writing_events: writing, access_records: records } = watched;
  if (isUnwatched(watched))
    return [
      'Neither object-level events nor access logs of this bucket are in evidence: whatever was deleted in it could not be seen.',
    ];
  const span = (from: string | null, to: string | null) => `${clock(from ?? '')} to ${clock(to ?? '')} UTC`;
  return [
    events === 0
      ? 'No object-level CloudTrail event is in evidence: what follows is from access logs alone.'
      : `Seen by ${counted(events, 'object-level CloudTrail event')}, ${span(watched.events_from, watched.events_to)}.`,
    ...(events > 0 && writing === 0 ? ['All of them read: whether deletions were recorded at all is not known.'] : []),
    records === 0
      ? 'No S3 server access log.'
      : `Seen by ${counted(records, 'access log record')}, ${span(watched.records_from, watched.records_to)}.`,
  ];
}

function principalLines(bucket: string, one: PrincipalReport, page: Page): string[] {
  const { principal, first_at: from, last_at: to, source_ips: ips, acts, statements } = one;
  const query = queryFor(bucket, principal);
  return [
    `   ${paint(page, 'bold', printable(principal ?? 'nobody (unauthenticated, or not recorded)'))}`,
    ...indented(`${clock(from)} to ${clock(to)} UTC${ips.length > 0 ? `, from ${few(ips)}` : ''}`, 6, page),
    ...acts.flatMap((own) => indented(sentence(own), 6, page)),
    ...statements.flatMap((text) => indented(text, 6, page)),
    ...(query === undefined ? [] : [`      ${paint(page, 'dim', query)}`]),
  ];
}

/** What is to be pasted into a shell must hold nothing that one would carry out: names are what callers sent. */
function queryFor(bucket: string, principal: string | null): string | undefined {
  if (![bucket, principal ?? 'nobody'].every((text) => /^[\w.:/+=,@ -]+$/.test(text))) return undefined;
  const who = principal === null ? 'principal IS NULL' : `principal = '${principal}'`;
  return `npx causeline sql "SELECT * FROM deletions WHERE bucket = '${bucket}' AND ${who}"`;
}

function indented(text: string, by: number, page: Page): string[] {
  return wrap(text, page.width - by).map((line) => ' '.repeat(by) + line);
}

function sentence(own: Acts): string {
  const { outcome, kind } = own;
  if (outcome !== 'ok') return `${counted(own.acts, 'attempt')} (${kind.replaceAll('_', ' ')}) ${ATTEMPTS[outcome]}.`;
  const bytes = kind === 'bulk_call' || kind === 'marker_removed' ? '' : bytesSentence(own);
  return `${TELL[kind](own)}${bytes}${sourceSentence(own)}`;
}

const ATTEMPTS: Readonly<Record<Exclude<Acts['outcome'], 'ok'>, string>> = {
  denied: 'refused: nothing was done',
  failed: 'failed: nothing was done',
  unknown: 'of which it is not known whether it was done',
};

const TELL: Readonly<Record<Kind, (own: Acts) => string>> = {
  version_deleted: ({ acts, objects, loss }) =>
    loss === 'lost'
      ? `${counted(acts, 'version')} of ${counted(objects, 'object')} deleted for good.`
      : `${counted(acts, 'version')} of ${counted(objects, 'object')} deleted by id; the access log does not say which of them were delete markers, whose removal brings an object back.`,
  object_deleted: ({ acts, while_suspended: suspended }) =>
    [
      `${counted(acts, 'object')} deleted without a version id.`,
      ...(suspended > 0
        ? [`${suspended} while versioning was suspended: versions with an id are kept, one without is gone.`]
        : []),
      ...(suspended < acts
        ? [
            `Nothing in evidence says that the bucket was versioned${suspended > 0 ? ` at the other ${acts - suspended}` : ''}: they may be gone for good.`,
          ]
        : []),
    ].join(' '),
  expired: ({ acts }) => `${counted(acts, 'object')} expired by a lifecycle rule: deleted for good.`,
  bulk_call: ({ acts, keys_known: known, calls_without_keys: without }) =>
    `${counted(acts, 'call')} of DeleteObjects, up to 1,000 keys each: ${
      known > 0 ? `${counted(known, 'key')} known, each counted by what became of it` : 'no key known'
    }${without > 0 && known > 0 ? `; of ${counted(without, 'call')} none` : ''}.`,
  marker_set: ({ objects, also_lost: gone }) =>
    `${counted(objects, 'object')} hidden by delete markers: recoverable while a version under the marker lives${
      gone > 0 ? `; of ${gone} of them versions were deleted for good` : ''
    }.`,
  expired_marker: ({ objects }) =>
    `${counted(objects, 'object')} hidden by delete markers of a lifecycle rule: recoverable while a version under the marker lives.`,
  overwritten: ({ acts, objects, loss }) =>
    `${counted(objects, 'object')} overwritten (${counted(acts, 'time')}). ${
      loss === 'kept'
        ? 'The bucket was versioned: what was there before is kept as a version.'
        : 'Nothing in evidence says that the bucket was versioned: what was there before may be gone.'
    }`,
  marker_removed: ({ acts }) => `${counted(acts, 'delete marker')} removed: what they hid is back.`,
  transitioned: ({ acts }) =>
    `${counted(acts, 'object')} moved to another storage class by a lifecycle rule: nothing was lost.`,
};

function bytesSentence({ acts, bytes, bytes_known_of: known }: Acts): string {
  if (known === 0) return ' Bytes unknown.';
  return ` ${sized(Number(bytes))}${known < acts ? `, known for ${known} of ${acts}` : ''}.`;
}

function sourceSentence({ seen_in: { cloudtrail, s3_access: access, both } }: Acts): string {
  if (access === 0) return both === 0 ? '' : ` ${cloudtrail === 0 ? 'All' : both} also in access logs.`;
  return cloudtrail + both === 0 ? ' In access logs only.' : ` ${access} of them in access logs only.`;
}
