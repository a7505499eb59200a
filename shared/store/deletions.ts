import { answeredMarker, IS_EVENT, OUTCOME, PRINCIPAL, RAW } from './cloudtrail-sql.js';

/** The version that was made, the bytes that came, the versioning that was asked for. */
const ANSWERED = `TRY(json_extract_string(${RAW}, ['$.responseElements."x-amz-version-id"', '$.additionalEventData.bytesTransferredIn',
  '$.requestParameters.VersioningConfiguration.Status']))`;

/** Errors of the service itself: what was asked may have been done. */
const UNSURE = `regexp_matches(coalesce(error_code, ''), 'internal ?(error|failure)|service ?unavailable|time-?out', 'i')`;

const CALLS_OF_OBJECTS = `_store.cloudtrail_events
    WHERE ${IS_EVENT} AND event_source = 's3.amazonaws.com' AND bucket IS NOT NULL AND event_name IN ('DeleteObject', 'DeleteObjectVersion', 'DeleteObjects',
      'PutObject', 'CopyObject', 'CompleteMultipartUpload', 'PutBucketVersioning')`;

/**
 * Records of calls that another record tells of too: a caller's and a bucket owner's account have one each, and the caller's says more of who it was. Two
 * records of one id that do not tell the same are two calls. Few records have such company, so that few are sorted.
 */
const COPIES = `SELECT body_hash FROM ${CALLS_OF_OBJECTS} AND (shared_event_id IS NOT NULL
      OR event_id IN (SELECT event_id FROM _store.cloudtrail_events WHERE contains(flags, 'conflicting_body')))
    QUALIFY row_number() OVER (PARTITION BY bucket, event_name, object_key, version_id, ${OUTCOME}, coalesce(shared_event_id, event_id, body_hash)
      ORDER BY principal_type = 'AWSAccount', session_issuer_arn IS NULL, body_hash) > 1`;

/** CloudTrail's calls that delete or write objects, or switch versioning, each once. */
const OBJECT_CALLS = `CREATE OR REPLACE VIEW _store.object_calls AS
  SELECT event_time AS time, bucket, object_key, version_id, event_name AS operation, request_id, ${PRINCIPAL} AS principal, principal_arn AS caller, principal_type, source_ip,
    CASE WHEN event_name = 'DeleteObjects' THEN 'bulk' WHEN starts_with(event_name, 'DeleteObject') THEN 'delete'
      WHEN event_name = 'PutBucketVersioning' THEN 'switch' ELSE 'put' END AS does, CASE WHEN ${UNSURE} THEN 'unknown' ELSE ${OUTCOME} END AS outcome, left(body_hash, 32) AS evidence_id,
    CASE WHEN starts_with(event_name, 'DeleteObject') THEN ${answeredMarker(RAW)} ELSE false END AS marker, answered[1] AS given_version,
    CASE WHEN event_name = 'PutObject' THEN try_cast(answered[2] AS BIGINT) END AS sent_bytes, CASE answered[3] WHEN 'Enabled' THEN 'on' WHEN 'Suspended' THEN 'suspended' END AS switched
  FROM (SELECT *, ${ANSWERED} AS answered FROM ${CALLS_OF_OBJECTS} AND body_hash NOT IN (${COPIES}))`;

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
    CASE WHEN ${UNSURE} OR http_status IN (500, 504) THEN 'unknown' WHEN http_status BETWEEN 200 AND 299 OR (http_status IS NULL AND error_code IS NULL AND starts_with(operation, 'S3.')) THEN 'ok'
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

/** What is known of a bucket's versioning from a time on: by what a call was answered, and by PutBucketVersioning. */
const SWITCHES = `SELECT bucket, time, CASE WHEN bool_or(said = 'suspended') THEN 'suspended' ELSE 'on' END AS versioning
    FROM (SELECT bucket, time, coalesce(switched, CASE WHEN given_version = 'null' THEN 'suspended' WHEN given_version IS NOT NULL THEN 'on' END) AS said
      FROM acts WHERE outcome = 'ok' AND (does IN ('put', 'switch') OR (does = 'delete' AND version_id IS NULL AND marker)))
    WHERE said IS NOT NULL GROUP BY bucket, time`;

/** Acts with what was done to the object that is there without a version id, and with the bytes of it, just before. */
const TOLD = `SELECT *, lag(does) OVER current AS before, lag(coalesce(object_size, sent_bytes)) OVER current AS before_bytes FROM acts WHERE does <> 'switch'
    WINDOW current AS (PARTITION BY bucket, object_key, outcome = 'ok' AND object_key IS NOT NULL AND does <> 'bulk' AND version_id IS NULL
      AND NOT starts_with(operation, 'S3.TRANSITION') ORDER BY time, evidence_id)`;

/** DeleteObjects calls, by what tells of them: their own record, or the lines of their keys. */
const BATCHES = `SELECT bucket, request_id, count(*) FILTER (does = 'delete') AS keys, bool_or(does = 'bulk') AS called FROM acts
    WHERE does = 'bulk' OR (does = 'delete' AND request_id IS NOT NULL) GROUP BY bucket, request_id HAVING called OR bool_or(operation = 'BATCH.DELETE.OBJECT')`;

/** Bytes of versions that were deleted, as they were uploaded. */
const UPLOADS = `SELECT bucket, object_key, given_version, any_value(coalesce(object_size, sent_bytes)) AS bytes FROM acts
    WHERE does = 'put' AND outcome = 'ok' AND given_version <> 'null' AND given_version IN (SELECT version_id FROM acts WHERE does = 'delete')
    GROUP BY bucket, object_key, given_version`;

const KIND = `CASE WHEN does = 'put' THEN 'overwritten' WHEN operation = 'S3.EXPIRE.OBJECT' THEN 'expired'
      WHEN operation = 'S3.CREATE.DELETEMARKER' THEN 'expired_marker' WHEN does = 'lifecycle' THEN 'transitioned'
      WHEN version_id IS NULL AND operation <> 'DeleteObjectVersion' THEN CASE WHEN versioning = 'on' OR (marker AND versioning IS DISTINCT FROM 'suspended') THEN 'marker_set' ELSE 'object_deleted' END
      WHEN marker THEN 'marker_removed' ELSE 'version_deleted' END`;

/**
 * Where versioning was suspended, a deletion without a version may lose the one version that has no id; where nothing says that it was on, an object may be
 * gone for good. An access log does not say whether a version was a delete marker: only what had a size was none.
 */
const LOSS = `CASE WHEN outcome = 'unknown' THEN 'unknown' WHEN outcome <> 'ok' OR kind = 'transitioned' THEN 'none' WHEN kind = 'marker_removed' THEN 'restored'
      WHEN kind = 'marker_set' OR (kind = 'expired_marker' AND versioning IS DISTINCT FROM 'suspended') OR (kind = 'overwritten' AND versioning = 'on') THEN 'kept' WHEN kind = 'expired' THEN 'lost'
      WHEN kind = 'version_deleted' AND (seen_in <> 's3-access' OR (names_version IS NOT false AND object_size IS NOT NULL)) THEN 'lost' ELSE 'unknown' END`;

/** Never of another version than the one that is meant: what was uploaded last is what a marker hides, or what was overwritten. */
const BYTES = `CASE WHEN outcome <> 'ok' OR kind IN ('marker_removed', 'bulk_call') THEN NULL WHEN kind = 'overwritten' THEN before_bytes
      WHEN kind = 'version_deleted' THEN coalesce(object_size, uploaded)
      WHEN kind IN ('marker_set', 'object_deleted') AND before = 'put' THEN coalesce(object_size, before_bytes) ELSE object_size END`;

const EVIDENCE_TABLE = `CASE seen_in WHEN 's3-access' THEN 's3_access_records' ELSE 'cloudtrail_events' END`;

/** What was deleted, overwritten or tried: a row an act, and a row a call of DeleteObjects. `loss` says what it means for the data. */
const DELETIONS = `CREATE OR REPLACE VIEW deletions AS
  WITH acts AS MATERIALIZED (FROM _store.object_acts),
  switches AS (${SWITCHES}),
  told AS (${TOLD}),
  known AS (SELECT t.*, s.versioning FROM (FROM told WHERE does <> 'put' OR (before = 'put' AND outcome = 'ok' AND object_key IS NOT NULL)) t
    ASOF LEFT JOIN switches s ON t.bucket = s.bucket AND t.time >= s.time),
  batches AS (${BATCHES}),
  uploads AS (${UPLOADS}),
  kinds AS (SELECT k.*, ${KIND} AS kind, b.request_id IS NOT NULL AS in_bulk, NULL::BIGINT AS keys, u.bytes AS uploaded FROM known k
    LEFT JOIN batches b ON b.bucket = k.bucket AND b.request_id = k.request_id AND k.does = 'delete'
    LEFT JOIN uploads u ON u.bucket = k.bucket AND u.object_key = k.object_key AND u.given_version = k.version_id
    WHERE does <> 'bulk'
    UNION ALL BY NAME
    SELECT k.* EXCLUDE (object_key, version_id), 'bulk_call' AS kind, true AS in_bulk, b.keys FROM known k
    LEFT JOIN batches b ON b.bucket = k.bucket AND b.request_id = k.request_id
    WHERE does = 'bulk' OR (operation = 'BATCH.DELETE.OBJECT' AND NOT called)
    QUALIFY does = 'bulk' OR row_number() OVER (PARTITION BY k.bucket, k.request_id ORDER BY time, evidence_id) = 1)
  SELECT time, bucket, object_key, version_id, kind, ${LOSS} AS loss, outcome, principal, caller, principal_type, source_ip, in_bulk, keys, ${BYTES} AS bytes,
    versioning, seen_in, request_id, ${EVIDENCE_TABLE} AS evidence_table, evidence_id, access_id
  FROM kinds`;

export const DELETION_VIEWS: readonly string[] = [OBJECT_CALLS, ACCESS_LINES, OBJECT_ACTS, DELETIONS];
