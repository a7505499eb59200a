import type { DuckDBConnection } from '@duckdb/node-api';
import { DELETIONS, READ_WHOLE } from '../../shared/cloudtrail-acts.js';
import { Recent } from '../../shared/recent.js';
import { streamed } from '../../shared/store/chunks.js';
import { answeredMarker, IS_EVENT, OUTCOME, PRINCIPAL, RAW } from '../../shared/store/cloudtrail-sql.js';
import type { Outcome, Who } from './cloudtrail/act.js';
import { type CloudPart, extremes } from './cloudtrail/part.js';
import { type ActRow, DESTRUCTIVE, readAct } from './cloudtrail/read-act.js';
import { cloudScopes } from './cloudtrail/scopes.js';
import { bucketOf } from './rollup.js';

/** Where what is read goes. */
interface Target {
  at(scope: string, bucket: number): unknown;
  added(count: number): Promise<void>;
}

const quoted = (texts: readonly string[]): string => texts.map((text) => `'${text}'`).join();

/**
 * Brings new CloudTrail records into rollups. What some detector reads by itself becomes an act of whom it is about; of all the rest only which operations
 * each principal tried is kept, a minute at a time, and DuckDB counts those: reading 200,000 ordinary records costs a scan of their columns.
 */
export async function refreshCloudTrail(connection: DuckDBConnection, cursor: bigint, parts: Target): Promise<void> {
  const isNew = `commit_seq > ${cursor} AND ${IS_EVENT}`;
  const cloudAt = (scope: string, bucket: number) => parts.at(scope, bucket) as CloudPart;
  await readActs(connection, isNew, parts, cloudAt);
  await readUses(connection, isNew, parts, cloudAt);
  await readPrefixes(connection, isNew, parts, cloudAt);
  await readPromises(connection, isNew, cloudAt);
  await readLogFiles(connection, cursor, cloudAt);
}

/** Who called, as one text: reading a text from DuckDB costs more than cutting it. The user agent, which a caller chooses, is what is left at its end. */
const WHO = `concat_ws(chr(31), ${[PRINCIPAL, 'principal_arn', 'source_ip', 'account_id', 'user_agent'].map((column) => `coalesce(${column}, '')`).join()})`;

function whoIs(text: string): Who {
  const [principal, caller, source, account, ...userAgent] = text.split('\u001f');
  return {
    principal: principal || 'unknown',
    caller: caller || 'unknown',
    source: source || null,
    userAgent: userAgent.join('\u001f') || null,
    account: account || null,
  };
}

type At = (scope: string, bucket: number) => CloudPart;

const WHOLE = READ_WHOLE.map(
  ([source, names]) => `(event_source = '${source}' AND event_name IN (${quoted(names)}))`,
).join(' OR ');

const IS_ACT = `(${WHOLE} OR (event_source = 's3.amazonaws.com' AND event_name IN (${quoted(DELETIONS)})))`;

async function readActs(connection: DuckDBConnection, isNew: string, parts: Target, at: At): Promise<void> {
  const text = await actText(connection, isNew);
  // what the service recorded in the course of DeleteObjects (AwsServiceEvent) carries its request id
  const request = `CASE WHEN event_name = 'DeleteObjects' OR (event_name IN (${quoted(DELETIONS)}) AND contains(${text}, '"AwsServiceEvent"')) THEN request_id END`;
  const chunks = streamed(
    connection,
    `SELECT epoch_us(event_time)::DOUBLE, concat(left(body_hash, 32), coalesce(shared_event_id, event_id, left(body_hash, 32))), ${WHO}, region, event_name, action,
       error_code, bucket, object_key, CASE WHEN ${WHOLE} THEN ${text} END,
       CASE WHEN version_id IS NOT NULL AND event_name = 'DeleteObject' THEN ${answeredMarker(text)} ELSE false END, ${request}
     FROM _store.cloudtrail_events WHERE ${isNew} AND ${IS_ACT}`,
  );
  const callers = new Recent<Who>(); // of one caller the same object: in a part it is written once, however many acts are theirs
  for await (const chunk of chunks) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const text = (column: number) => c[column]![row] as string | null;
      const ids = text(1)!;
      const read: ActRow = {
        atMicros: c[0]![row] as number,
        evidenceId: ids.slice(0, 32),
        identity: ids.slice(32),
        who: callers.of(text(2)!, whoIs),
        region: text(3),
        eventName: text(4)!,
        action: text(5)!,
        error: text(6),
        bucket: text(7),
        key: text(8),
        raw: text(9),
        removesMarker: c[10]![row] as boolean,
        request: text(11),
      };
      const scoped = readAct(read);
      if (scoped) at(scoped.scope, bucketOf(read.atMicros)).acts.push(scoped.act);
    }
    await parts.added(chunk.rowCount);
  }
}

/** Where the text of acts is: an earlier version did not store it apart. */
async function actText(connection: DuckDBConnection, isNew: string): Promise<string> {
  const together = await connection.runAndReadAll(
    `SELECT 1 FROM _store.cloudtrail_events WHERE ${isNew} AND act IS NULL AND ${IS_ACT} LIMIT 1`,
  );
  return together.currentRowCount === 0 ? 'act' : RAW;
}

/** Calls that look around. Reading an object is none, unless it was refused; nor are AssumeRole and Decrypt, which say they read. */
const LOOKS = `(read_only AND (event_category IS DISTINCT FROM 'Data' OR starts_with(event_name, 'List'))
  AND regexp_matches(event_name, '^(List|Describe|Get|Head|Search|Lookup|BatchGet)'))`;

/** What is kept of a principal: looking around, what was refused, and what is destructive. Services act on behalf of others. */
async function readUses(connection: DuckDBConnection, isNew: string, parts: Target, at: At): Promise<void> {
  const chunks = streamed(
    connection,
    `WITH calls AS (SELECT ${PRINCIPAL} AS principal, principal_arn AS caller, source_ip, account_id, action, event_time, body_hash, request_id, ${OUTCOME} AS outcome,
       action IN (${quoted(DESTRUCTIVE)}) AS destructive, CASE WHEN destructive THEN bucket END AS object
     FROM _store.cloudtrail_events WHERE ${isNew} AND ${PRINCIPAL} IS NOT NULL AND action IS NOT NULL
       AND principal_type IS DISTINCT FROM 'AWSService' AND (${LOOKS} OR error_code IS NOT NULL OR destructive))
     SELECT principal, epoch_us(time_bucket(INTERVAL 1 MINUTE, event_time))::DOUBLE AS minute, action, object, outcome, count(*)::DOUBLE,
       epoch_us(max(event_time))::DOUBLE, min(concat(epoch_us(event_time), ' ', left(body_hash, 32), ' ', request_id)), min(caller), max(caller), min(source_ip), max(source_ip),
       account_id, CASE WHEN outcome = 'denied' THEN source_ip END AS refused_from
     FROM calls GROUP BY principal, minute, action, object, outcome, account_id, refused_from`,
  );
  for await (const chunk of chunks) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const text = (column: number) => c[column]![row] as string | null;
      const pair = (column: number) => extremes([text(column), text(column + 1)].filter((one) => one !== null));
      const [firstMicros, firstId, firstRequest] = text(7)!.split(' ') as [string, string, string];
      const principal = text(0)!;
      const use = {
        action: text(2)!,
        bucket: text(3),
        outcome: text(4) as Outcome,
        counts: [[text(12) ?? '', c[5]![row] as number] as const],
        firstMicros: Number(firstMicros),
        lastMicros: c[6]![row] as number,
        firstId,
        firstRequest: firstRequest === '' ? null : firstRequest,
        principals: [principal],
        callers: pair(8),
        sources: pair(10),
        accounts: [text(12)].filter((one) => one !== null),
      };
      const minute = c[1]![row] as number;
      at(cloudScopes.principal(principal), minute).uses.push(use);
      const from = text(13);
      if (from !== null && isAddress(from)) at(cloudScopes.ip(from), minute).uses.push(use);
    }
    await parts.added(chunk.rowCount);
  }
}

/** sourceIPAddress may be a service's name (`cloudtrail.amazonaws.com`, `AWS Internal`). */
const isAddress = (source: string): boolean => /^[0-9a-f.:]+$/i.test(source) && /[.:]/.test(source);

/** The top prefixes that calls named, an hour at a time: what a bucket is divided in changes seldom. */
async function readPrefixes(connection: DuckDBConnection, isNew: string, parts: Target, at: At): Promise<void> {
  const chunks = streamed(
    connection,
    `SELECT DISTINCT bucket, epoch_us(time_bucket(INTERVAL 1 HOUR, event_time))::DOUBLE AS hour, regexp_extract(object_key, '^[^/]*/') AS prefix
     FROM _store.cloudtrail_events WHERE ${isNew} AND bucket IS NOT NULL AND object_key IS NOT NULL AND error_code IS NULL AND event_source = 's3.amazonaws.com'`,
  );
  for await (const chunk of chunks) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++)
      at(cloudScopes.bucket(c[0]![row] as string), c[1]![row] as number).prefixes.push(c[2]![row] as string);
    await parts.added(chunk.rowCount);
  }
}

/** `<account>_CloudTrail_<region>_<time>_<chance>.json.gz` (CloudTrail user guide, "CloudTrail log file name format"). */
const LOG_FILE = /(?:^|\/)((\d{12})_CloudTrail_([a-z0-9-]+)_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)Z_\w+\.json(?:\.gz)?)$/;

interface NamedFile {
  readonly name: string;
  readonly account: string;
  readonly region: string;
  readonly atMicros: number;
}

function logFileIn(path: string): NamedFile | undefined {
  const [, name, account, region, year, month, day, hour, minute] = LOG_FILE.exec(path) ?? [];
  if (!name || !account || !region) return undefined;
  const atMicros = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute)) * 1000;
  return { name, account, region, atMicros };
}

/** Log files that CloudTrail delivered, as the data events of the bucket that it writes to say. */
async function readPromises(connection: DuckDBConnection, isNew: string, at: At): Promise<void> {
  const rows = await connection.runAndReadAll(
    `SELECT bucket, object_key, left(body_hash, 32) FROM _store.cloudtrail_events WHERE ${isNew} AND event_source = 's3.amazonaws.com' AND event_name = 'PutObject'
       AND error_code IS NULL AND bucket IS NOT NULL AND source_ip = 'cloudtrail.amazonaws.com' AND object_key LIKE '%/CloudTrail/%'`,
  );
  for (const [bucket, key, evidenceId] of rows.getRows() as [string, string, string][]) {
    const file = logFileIn(key);
    if (!file) continue;
    const { name, account, region, atMicros } = file;
    at(cloudScopes.account(account), bucketOf(atMicros)).promised.push({
      atMicros,
      name,
      region,
      bucket,
      key,
      evidenceId,
    });
  }
}

/** Log files that were read as inputs: what was promised and is not among them may be missing. */
async function readLogFiles(connection: DuckDBConnection, cursor: bigint, at: At): Promise<void> {
  const rows = await connection.runAndReadAll(
    `SELECT DISTINCT source_id FROM _store.inputs WHERE commit_seq > ${cursor} AND source = 'cloudtrail' AND source_id LIKE '%\\_CloudTrail\\_%' ESCAPE '\\'`,
  );
  for (const [path] of rows.getRows() as [string][]) {
    const file = logFileIn(path);
    if (file) at(cloudScopes.account(file.account), bucketOf(file.atMicros)).read.push(file.name);
  }
}
