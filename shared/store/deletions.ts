import { ANSWERED_MARKER, IS_EVENT, OUTCOME, PRINCIPAL } from './cloudtrail-sql.js';

/** The version that was made, the bytes that came, the versioning that was asked for. */
const ANSWERED = `json_extract_string(raw, ['$.responseElements."x-amz-version-id"', '$.additionalEventData.bytesTransferredIn',
  '$.requestParameters.VersioningConfiguration.Status'])`;

/**
 * CloudTrail's calls that delete or write objects, or switch versioning, each once: a caller's and a bucket owner's account have a record each of one call,
 * and the caller's says more of who it was. Two records of one id that do not tell the same are two.
 */
const OBJECT_CALLS = `CREATE OR REPLACE VIEW _store.object_calls AS
  SELECT event_time AS time, bucket, object_key, version_id, event_name AS operation, does, request_id, principal, caller, principal_type, source_ip, outcome,
    marker, answered[1] AS given_version, CASE WHEN event_name = 'PutObject' THEN try_cast(answered[2] AS BIGINT) END AS sent_bytes,
    CASE answered[3] WHEN 'Enabled' THEN 'on' WHEN 'Suspended' THEN 'suspended' END AS switched, evidence_id
  FROM (SELECT *, ${PRINCIPAL} AS principal, principal_arn AS caller, ${OUTCOME} AS outcome, ${ANSWERED} AS answered,
      CASE WHEN starts_with(event_name, 'DeleteObject') THEN ${ANSWERED_MARKER} ELSE false END AS marker, left(body_hash, 32) AS evidence_id,
      CASE WHEN event_name = 'DeleteObjects' THEN 'bulk' WHEN starts_with(event_name, 'DeleteObject') THEN 'delete'
        WHEN event_name = 'PutBucketVersioning' THEN 'switch' ELSE 'put' END AS does
    FROM _store.cloudtrail_events
    WHERE ${IS_EVENT} AND event_source = 's3.amazonaws.com' AND bucket IS NOT NULL AND event_name IN ('DeleteObject', 'DeleteObjectVersion', 'DeleteObjects',
      'PutObject', 'CopyObject', 'CompleteMultipartUpload', 'PutBucketVersioning'))
  QUALIFY row_number() OVER (PARTITION BY bucket, event_name, object_key, version_id, outcome, coalesce(shared_event_id, event_id, evidence_id)
    ORDER BY principal_type = 'AWSAccount', session_issuer_arn IS NULL, body_hash) = 1`;

/**
 * The same of access logs, which know sizes and what lifecycle did. A session is its role's, under the name that CloudTrail has for it (a role may have a path)
 * or that follows from the session's own.
 */
const ACCESS_LINES = `CREATE OR REPLACE VIEW _store.access_lines AS
  SELECT event_time AS time, bucket, object_key, version_id, operation, request_id,
    CASE WHEN starts_with(operation, 'S3.') THEN 'lifecycle' WHEN operation = 'REST.POST.MULTI_OBJECT_DELETE' THEN 'bulk'
      WHEN operation IN ('REST.DELETE.OBJECT', 'BATCH.DELETE.OBJECT') THEN 'delete' ELSE 'put' END AS does,
    CASE WHEN starts_with(operation, 'S3.') THEN 'S3 Lifecycle'
      ELSE coalesce(issuer, regexp_replace(requester, '^arn:([\\w-]+):sts::(\\d+):assumed-role/([^/]+)/.*$', 'arn:\\1:iam::\\2:role/\\3')) END AS principal,
    requester AS caller, source_ip,
    CASE WHEN http_status BETWEEN 200 AND 299 OR (http_status IS NULL AND error_code IS NULL AND starts_with(operation, 'S3.')) THEN 'ok'
      WHEN http_status = 403 OR error_code = 'AccessDenied' THEN 'denied' WHEN http_status IS NULL AND error_code IS NULL THEN 'unknown' ELSE 'failed' END AS outcome,
    object_size, contains(lower(request_uri), 'versionid=') AS names_version, left(body_hash, 32) AS evidence_id
  FROM _store.s3_access_records
  LEFT JOIN (SELECT principal_arn, min(session_issuer_arn) AS issuer FROM _store.cloudtrail_events
    WHERE session_issuer_arn IS NOT NULL AND principal_arn IN (SELECT requester FROM _store.s3_access_records) GROUP BY principal_arn) ON principal_arn = requester
  WHERE (flags IS NULL OR NOT contains(flags, 'impossible_time')) AND (operation IN ('REST.DELETE.OBJECT', 'BATCH.DELETE.OBJECT',
    'REST.POST.MULTI_OBJECT_DELETE', 'REST.PUT.OBJECT', 'REST.POST.OBJECT', 'REST.POST.UPLOAD', 'REST.COPY.OBJECT', 'S3.EXPIRE.OBJECT', 'S3.CREATE.DELETEMARKER')
    OR starts_with(operation, 'S3.TRANSITION'))`;

/**
 * Both as one: a record and a line of one request (same bucket, same request id, within an hour) are one act, also where the line is of one key of several. Who it
 * was and what was answered is from CloudTrail, the size from the line.
 */
const OBJECT_ACTS = `CREATE OR REPLACE VIEW _store.object_acts AS
  WITH calls AS MATERIALIZED (FROM _store.object_calls), lines AS MATERIALIZED (FROM _store.access_lines),
  pairs AS MATERIALIZED (SELECT c.evidence_id AS call, l.evidence_id AS line, l.object_size FROM calls c JOIN lines l ON l.bucket = c.bucket AND l.request_id = c.request_id
    AND l.does = c.does AND (l.operation <> 'BATCH.DELETE.OBJECT' OR l.object_key = c.object_key) AND abs(date_diff('second', c.time, l.time)) <= 3600)
  SELECT c.*, p.object_size, true AS names_version, CASE WHEN p.line IS NULL THEN 'cloudtrail' ELSE 'both' END AS seen_in, p.line AS access_id
  FROM calls c LEFT JOIN (FROM pairs QUALIFY row_number() OVER (PARTITION BY call ORDER BY line) = 1) p ON p.call = c.evidence_id
  UNION ALL BY NAME
  SELECT *, false AS marker, 's3-access' AS seen_in, evidence_id AS access_id FROM lines WHERE evidence_id NOT IN (SELECT line FROM pairs)`;

/**
 * What was deleted, or tried: one row an act. `loss` says what it means for the data.
 *
 * Versioning is known from what a call was answered, and from PutBucketVersioning on. Where it was suspended a deletion without a version may lose the one
 * version that has no id; where nothing says that it was on, an object may be gone for good. An access log does not say whether a version was a delete
 * marker: only what had a size was none.
 */
const DELETIONS = `CREATE OR REPLACE VIEW deletions AS
  WITH acts AS MATERIALIZED (FROM _store.object_acts),
  switches AS (SELECT bucket, time, CASE WHEN bool_or(said = 'suspended') THEN 'suspended' ELSE 'on' END AS versioning
    FROM (SELECT bucket, time, coalesce(switched, CASE WHEN given_version = 'null' THEN 'suspended' WHEN given_version IS NOT NULL THEN 'on' END) AS said
      FROM acts WHERE outcome = 'ok' AND (does IN ('put', 'switch') OR (does = 'delete' AND version_id IS NULL AND marker))) WHERE said IS NOT NULL GROUP BY bucket, time),
  known AS (SELECT a.*, s.versioning FROM acts a ASOF LEFT JOIN switches s ON a.bucket = s.bucket AND a.time >= s.time WHERE a.does <> 'switch'),
  told AS (SELECT *, lag(does) OVER current AS before, lag(coalesce(object_size, sent_bytes)) OVER current AS before_bytes FROM known
    WINDOW current AS (PARTITION BY bucket, object_key, outcome = 'ok' AND object_key IS NOT NULL AND does <> 'bulk' AND version_id IS NULL
      AND NOT starts_with(operation, 'S3.TRANSITION') ORDER BY time, evidence_id)),
  uploads AS (SELECT bucket, object_key, given_version, any_value(coalesce(object_size, sent_bytes)) AS bytes FROM acts WHERE does = 'put' AND outcome = 'ok' AND given_version <> 'null' GROUP BY ALL),
  batches AS (SELECT bucket, request_id, count(*) FILTER (does = 'delete') AS keys, bool_or(does = 'bulk') AS called FROM acts
    WHERE does = 'bulk' OR (does = 'delete' AND request_id IS NOT NULL) GROUP BY ALL HAVING called OR bool_or(operation = 'BATCH.DELETE.OBJECT')),
  kinds AS (SELECT t.*, b.request_id IS NOT NULL AS in_bulk, u.bytes AS uploaded,
      CASE WHEN does = 'put' THEN 'overwritten' WHEN operation = 'S3.EXPIRE.OBJECT' THEN 'expired' WHEN operation = 'S3.CREATE.DELETEMARKER' THEN 'expired_marker'
        WHEN does = 'lifecycle' THEN 'transitioned' WHEN version_id IS NOT NULL OR operation = 'DeleteObjectVersion' THEN CASE WHEN marker THEN 'marker_removed' ELSE 'version_deleted' END
        WHEN marker OR versioning = 'on' THEN 'marker_set' ELSE 'object_deleted' END AS kind
    FROM told t LEFT JOIN batches b ON b.bucket = t.bucket AND b.request_id = t.request_id AND t.does = 'delete'
    LEFT JOIN uploads u ON u.bucket = t.bucket AND u.object_key = t.object_key AND u.given_version = t.version_id
    WHERE does <> 'bulk' AND (does <> 'put' OR (before = 'put' AND outcome = 'ok' AND t.object_key IS NOT NULL)))
  SELECT time, bucket, object_key, version_id, kind,
    CASE WHEN outcome <> 'ok' THEN CASE outcome WHEN 'unknown' THEN 'unknown' ELSE 'none' END
      WHEN kind = 'transitioned' THEN 'none' WHEN kind = 'marker_removed' THEN 'restored' WHEN kind IN ('marker_set', 'expired_marker') THEN 'kept' WHEN kind = 'expired' THEN 'lost'
      WHEN kind = 'overwritten' THEN CASE WHEN versioning = 'on' THEN 'kept' ELSE 'unknown' END
      WHEN kind = 'version_deleted' AND (seen_in <> 's3-access' OR (names_version IS NOT false AND object_size IS NOT NULL)) THEN 'lost' ELSE 'unknown' END AS loss,
    outcome, principal, caller, principal_type, source_ip, in_bulk, NULL::BIGINT AS keys,
    CASE WHEN outcome <> 'ok' THEN NULL WHEN kind = 'overwritten' THEN before_bytes WHEN kind = 'version_deleted' THEN coalesce(object_size, uploaded)
      WHEN kind IN ('marker_set', 'object_deleted') THEN coalesce(object_size, CASE WHEN before = 'put' THEN before_bytes END) WHEN kind <> 'marker_removed' THEN object_size END AS bytes,
    versioning, seen_in, request_id, CASE seen_in WHEN 's3-access' THEN 's3_access_records' ELSE 'cloudtrail_events' END AS evidence_table, evidence_id, access_id
  FROM kinds
  UNION ALL BY NAME
  SELECT a.time, a.bucket, 'bulk_call' AS kind, CASE WHEN a.outcome IN ('ok', 'unknown') THEN 'unknown' ELSE 'none' END AS loss, a.outcome, a.principal, a.caller, a.principal_type, a.source_ip,
    true AS in_bulk, b.keys, a.versioning, a.seen_in, a.request_id, CASE a.seen_in WHEN 's3-access' THEN 's3_access_records' ELSE 'cloudtrail_events' END AS evidence_table, a.evidence_id, a.access_id
  FROM known a LEFT JOIN batches b ON b.bucket = a.bucket AND b.request_id = a.request_id
  WHERE a.does = 'bulk' OR (a.operation = 'BATCH.DELETE.OBJECT' AND NOT b.called)
  QUALIFY a.does = 'bulk' OR row_number() OVER (PARTITION BY a.bucket, a.request_id ORDER BY a.time, a.evidence_id) = 1`;

export const DELETION_VIEWS: readonly string[] = [OBJECT_CALLS, ACCESS_LINES, OBJECT_ACTS, DELETIONS];
