import {
  BIGINT,
  BOOLEAN,
  DOUBLE,
  DuckDBTimestampValue,
  type DuckDBType,
  type DuckDBValue,
  INTEGER,
  LIST,
  listValue,
  TIMESTAMP,
  UBIGINT,
  VARCHAR,
} from '@duckdb/node-api';
import { isAct } from '../cloudtrail-acts.js';
import type {
  CloudTrailRow,
  EvidenceName,
  EvidenceRows,
  MetricRow,
  S3AccessRow,
  SimulationRow,
  SpanRow,
} from '../evidence.js';

/** One column of an evidence table and how a decoded row fills it. */
export interface Column<Row> {
  readonly name: string;
  readonly type: DuckDBType;
  readonly value: (row: Stored<Row>) => DuckDBValue;
  /** All rows of a commit have the same, which is not known before it. */
  readonly ofCommit?: true;
}

/** A decoded row with what the store adds to it. */
export interface Stored<Row> {
  readonly row: Row;
  readonly sourceId: string;
  readonly commitSeq: bigint;
  readonly ingestedAt: DuckDBTimestampValue;
  readonly conflicting: boolean;
}

/** An evidence table: how rows are written to it, and how duplicates of them are found by natural identity and event time. */
export interface EvidenceTable<Row> {
  readonly table: string;
  readonly time: string;
  readonly timeMicros: (row: Row) => bigint;
  /** The natural identity, as an SQL expression over the table and as the same text of a row. */
  readonly identitySql: string;
  readonly identity: (row: Row) => string;
  readonly columns: readonly Column<Row>[];
}

interface Row {
  readonly bodyHash: string;
  readonly flags: readonly string[];
  readonly position: number;
}

const micros = (value: bigint) => new DuckDBTimestampValue(value);
const toMicros = (nanos: bigint) => nanos / 1000n;

function provenance<R extends Row>(): Column<R>[] {
  return [
    { name: 'body_hash', type: VARCHAR, value: (s) => s.row.bodyHash },
    { name: 'source_id', type: VARCHAR, value: (s) => s.sourceId },
    { name: 'source_pos', type: BIGINT, value: (s) => BigInt(s.row.position) },
    { name: 'commit_seq', type: BIGINT, value: (s) => s.commitSeq, ofCommit: true },
    { name: 'ingested_at', type: TIMESTAMP, value: (s) => s.ingestedAt, ofCommit: true },
    { name: 'flags', type: VARCHAR, value: flagText },
  ];
}

function flagText({ row, conflicting }: Stored<Row>): string | null {
  if (row.flags.length === 0) return conflicting ? 'conflicting_body' : null;
  return (conflicting ? [...row.flags, 'conflicting_body'] : row.flags).join(',');
}

function text<R>(name: string, of: (row: R) => string | null): Column<R> {
  return { name, type: VARCHAR, value: (s) => of(s.row) };
}

export const cloudtrailTable: EvidenceTable<CloudTrailRow> = {
  table: 'cloudtrail_events',
  time: 'event_time',
  timeMicros: (row) => row.eventTimeMicros,
  identitySql: `coalesce(account_id, '') || '/' || coalesce(event_id, body_hash)`,
  identity: (row) => `${row.accountId ?? ''}/${row.eventId ?? row.bodyHash}`,
  columns: [
    ...provenance<CloudTrailRow>(),
    text('event_id', (r) => r.eventId),
    { name: 'event_time', type: TIMESTAMP, value: (s) => micros(s.row.eventTimeMicros) },
    text('account_id', (r) => r.accountId),
    text('region', (r) => r.region),
    text('event_source', (r) => r.eventSource),
    text('event_name', (r) => r.eventName),
    text('action', (r) => r.action),
    text('principal_arn', (r) => r.principalArn),
    text('principal_type', (r) => r.principalType),
    text('session_issuer_arn', (r) => r.sessionIssuerArn),
    text('source_ip', (r) => r.sourceIp),
    text('user_agent', (r) => r.userAgent),
    text('error_code', (r) => r.errorCode),
    { name: 'read_only', type: BOOLEAN, value: (s) => s.row.readOnly },
    text('event_category', (r) => r.eventCategory),
    text('bucket', (r) => r.bucket),
    text('object_key', (r) => r.objectKey),
    text('version_id', (r) => r.versionId),
    text('request_id', (r) => r.requestId),
    text('shared_event_id', (r) => r.sharedEventId),
    text('raw', (r) => (isAct(r) ? null : r.raw)),
    text('act', (r) => (isAct(r) ? r.raw : null)),
  ],
};

export const s3AccessTable: EvidenceTable<S3AccessRow> = {
  table: 's3_access_records',
  time: 'event_time',
  timeMicros: (row) => row.eventTimeMicros,
  identitySql: `concat_ws('/', request_id, operation, bucket, object_key, version_id)`,
  identity: (row) =>
    [row.requestId, row.operation, row.bucket, row.objectKey, row.versionId].filter((part) => part !== null).join('/'),
  columns: [
    ...provenance<S3AccessRow>(),
    { name: 'event_time', type: TIMESTAMP, value: (s) => micros(s.row.eventTimeMicros) },
    text('bucket_owner', (r) => r.bucketOwner),
    text('bucket', (r) => r.bucket),
    text('source_ip', (r) => r.sourceIp),
    text('requester', (r) => r.requester),
    text('request_id', (r) => r.requestId),
    text('operation', (r) => r.operation),
    text('object_key', (r) => r.objectKey),
    text('request_uri', (r) => r.requestUri),
    { name: 'http_status', type: INTEGER, value: (s) => s.row.httpStatus },
    text('error_code', (r) => r.errorCode),
    { name: 'bytes_sent', type: BIGINT, value: (s) => s.row.bytesSent },
    { name: 'object_size', type: BIGINT, value: (s) => s.row.objectSize },
    text('user_agent', (r) => r.userAgent),
    text('version_id', (r) => r.versionId),
    text('host_id', (r) => r.hostId),
    text('raw', (r) => r.raw),
  ],
};

export const spansTable: EvidenceTable<SpanRow> = {
  table: 'spans',
  time: 'start_time',
  timeMicros: (row) => toMicros(row.startUnixNano),
  identitySql: 'trace_id || span_id',
  identity: (row) => row.traceId + row.spanId,
  columns: [
    ...provenance<SpanRow>(),
    text('trace_id', (r) => r.traceId),
    text('span_id', (r) => r.spanId),
    text('parent_span_id', (r) => r.parentSpanId),
    text('trace_state', (r) => r.traceState),
    text('service', (r) => r.service),
    text('scope', (r) => r.scope),
    text('instance', (r) => r.instance),
    text('name', (r) => r.name),
    text('kind', (r) => r.kind),
    { name: 'start_time', type: TIMESTAMP, value: (s) => micros(toMicros(s.row.startUnixNano)) },
    { name: 'end_time', type: TIMESTAMP, value: (s) => micros(toMicros(s.row.endUnixNano)) },
    { name: 'start_unix_nano', type: UBIGINT, value: (s) => s.row.startUnixNano },
    { name: 'end_unix_nano', type: UBIGINT, value: (s) => s.row.endUnixNano },
    text('status', (r) => r.status),
    text('status_message', (r) => r.statusMessage),
    text('error_type', (r) => r.errorType),
    text('operation', (r) => r.operation),
    text('target', (r) => r.target),
    text('target_key', (r) => r.targetKey),
    text('rpc_status', (r) => r.rpcStatus),
    { name: 'http_status', type: INTEGER, value: (s) => s.row.httpStatus },
    { name: 'resend_count', type: INTEGER, value: (s) => s.row.resendCount },
    text('exception_type', (r) => r.exceptionType),
    text('exception_message', (r) => r.exceptionMessage),
    { name: 'adjusted_count', type: DOUBLE, value: (s) => s.row.adjustedCount },
    { name: 'dropped', type: BIGINT, value: (s) => BigInt(s.row.dropped) },
    text('attributes', (r) => r.attributes),
    text('resource', (r) => r.resource),
    text('events', (r) => r.events),
    text('links', (r) => r.links),
  ],
};

const simulationsTable: EvidenceTable<SimulationRow> = {
  table: 'iam_simulations',
  time: 'simulated_at',
  timeMicros: (row) => row.simulatedAtMicros,
  identitySql: `concat_ws(' ', principal_arn, epoch_us(simulated_at), action, resource)`,
  identity: (row) => [row.principalArn, row.simulatedAtMicros, row.action, row.resource].join(' '),
  columns: [
    ...provenance<SimulationRow>(),
    { name: 'simulated_at', type: TIMESTAMP, value: (s) => micros(s.row.simulatedAtMicros) },
    text('principal_arn', (r) => r.principalArn),
    text('action', (r) => r.action),
    text('resource', (r) => r.resource),
    text('decision', (r) => r.decision),
    text('policies', (r) => JSON.stringify(r.policies)),
    text('missing_context', (r) => JSON.stringify(r.missingContext)),
    text('result', (r) => r.result),
  ],
};

const doubles = (values: readonly number[] | null) => (values ? listValue(values) : null);

/** The series: metric, service, instance and attributes. */
export const seriesText = (row: MetricRow): string =>
  `${row.metric}\n${row.service ?? ''}\n${row.instance ?? ''}\n${row.attributes}`;

export function metricPointsTable(seriesHash: (row: MetricRow) => string): EvidenceTable<MetricRow> {
  return {
    table: 'metric_points',
    time: 'time',
    timeMicros: (row) => toMicros(row.timeUnixNano),
    identitySql: `series_hash || '@' || time_unix_nano`,
    identity: (row) => `${seriesHash(row)}@${row.timeUnixNano}`,
    columns: [
      ...provenance<MetricRow>(),
      { name: 'series_hash', type: VARCHAR, value: (s) => seriesHash(s.row) },
      { name: 'time', type: TIMESTAMP, value: (s) => micros(toMicros(s.row.timeUnixNano)) },
      { name: 'time_unix_nano', type: UBIGINT, value: (s) => s.row.timeUnixNano },
      { name: 'start_unix_nano', type: UBIGINT, value: (s) => s.row.startUnixNano },
      text('metric', (r) => r.metric),
      text('kind', (r) => r.kind),
      { name: 'value', type: DOUBLE, value: (s) => s.row.value },
      { name: 'bounds', type: LIST(DOUBLE), value: (s) => doubles(s.row.bounds) },
      { name: 'counts', type: LIST(DOUBLE), value: (s) => doubles(s.row.counts) },
      { name: 'sum', type: DOUBLE, value: (s) => s.row.sum },
      { name: 'count', type: DOUBLE, value: (s) => s.row.count },
      text('attributes', (r) => r.attributes),
      text('service', (r) => r.service),
      text('instance', (r) => r.instance),
    ],
  };
}

/** The table of each kind of evidence. */
export function evidenceTables(seriesHash: (row: MetricRow) => string): {
  readonly [Name in EvidenceName]: EvidenceTable<EvidenceRows[Name]>;
} {
  return {
    cloudtrail: cloudtrailTable,
    traces: spansTable,
    metrics: metricPointsTable(seriesHash),
    's3-access': s3AccessTable,
    iam: simulationsTable,
  };
}
