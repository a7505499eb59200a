/** What queries over CloudTrail records share: over `_store.cloudtrail_events`, or a relation with its columns. */

/** Records that are no events (five-minute summaries, Insights), or whose time cannot be. */
export const IS_EVENT = `(flags IS NULL OR NOT regexp_matches(flags, 'aggregated_event|insights_event|impossible_time'))`;

/** A record's text: that of acts is apart (../cloudtrail-acts.ts). */
export const RAW = 'coalesce(raw, act)';

/** Whose rights were used. A session's issuer is known from the record: sessions need no look-up. */
export const PRINCIPAL = 'coalesce(session_issuer_arn, principal_arn)';

/** `ok`, `denied` or `failed`. */
export const OUTCOME = `CASE WHEN error_code IS NULL THEN 'ok'
  WHEN regexp_matches(error_code, 'access ?denied|unauthorized|forbidden|notauthorized', 'i') THEN 'denied' ELSE 'failed' END`;

/**
 * What was deleted by its version was a delete marker, or a deletion without a version left one: the answer says `x-amz-delete-marker: true` (S3 API
 * reference, DeleteObject). It is read from the answer alone: S3 ignores a query parameter of that name, and CloudTrail copies it into the request. Were
 * there a text that we read and DuckDB does not, it would fail itself, and not the query. What neither has the name nor could spell it with escapes is not read.
 */
export const answeredMarker = (text: string): string =>
  `CASE WHEN contains(${text}, 'x-amz-delete-marker') OR contains(${text}, '\\u00')
  THEN coalesce(TRY(json_extract_string(${text}, '$.responseElements."x-amz-delete-marker"')) = 'true', false) ELSE false END`;
