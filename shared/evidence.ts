/**
 * Evidence: one decoded record, immutable. Its id comes from its content, never from chance or arrival:
 * `body_hash` is the SHA-256 of the canonical body, which holds the natural identity, and `evidence_id` its first 128 bits.
 */

/** What every evidence row has, whatever its source. Times are event times; ingestion time is the store's business. */
interface EvidenceRow {
  /** Of the record's canonical body (services/collect/formats/canonical.ts), lower-case hex. */
  readonly bodyHash: string;
  /** What is odd about the record and was kept as it is: `future_time`, `end_before_start`, … */
  readonly flags: readonly Flag[];
  /** Which record of its input this is, counted from 0. */
  readonly position: number;
  /** Its reading found all its texts to be ASCII without control characters: nobody need look again. */
  readonly isPlain?: boolean;
}

/** A CloudTrail record. Natural identity: account and event id. */
export interface CloudTrailRow extends EvidenceRow {
  readonly eventId: string | null;
  readonly eventTimeMicros: bigint;
  readonly accountId: string | null;
  readonly region: string | null;
  readonly eventSource: string | null;
  readonly eventName: string | null;
  /** The IAM action that was checked, e.g. `s3:DeleteObjectVersion` for DeleteObject with a version id. */
  readonly action: string | null;
  readonly principalArn: string | null;
  readonly principalType: string | null;
  readonly sessionIssuerArn: string | null;
  readonly sourceIp: string | null;
  readonly userAgent: string | null;
  readonly errorCode: string | null;
  readonly readOnly: boolean | null;
  readonly eventCategory: string | null;
  readonly bucket: string | null;
  readonly objectKey: string | null;
  readonly versionId: string | null;
  readonly requestId: string | null;
  readonly sharedEventId: string | null;
  /** The record's own text, as it was delivered. */
  readonly raw: string;
}

export type SpanKind = 'unspecified' | 'internal' | 'server' | 'client' | 'producer' | 'consumer';

/** A span. Natural identity: trace id and span id (lower-case hex). Old and new semantic conventions are told apart once, here. */
export interface SpanRow extends EvidenceRow {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly traceState: string | null;
  readonly service: string | null;
  /** What keeps two services of one name apart: service.namespace, else the deployment environment. */
  readonly scope: string | null;
  readonly instance: string | null;
  readonly name: string;
  readonly kind: SpanKind;
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly status: 'unset' | 'ok' | 'error';
  readonly statusMessage: string | null;
  readonly errorType: string | null;
  /** What is called or served, in one spelling: `etcdserverpb.KV/Put`, `GET /v1/config`, else the span's name. */
  readonly operation: string;
  /** host or host:port of the server a client span calls. */
  readonly target: string | null;
  /** What the operation acts on where the span says it (an etcd key, a URL, a statement). */
  readonly targetKey: string | null;
  /** gRPC code in words, upper case: `OK`, `RESOURCE_EXHAUSTED`. */
  readonly rpcStatus: string | null;
  readonly httpStatus: number | null;
  /** http.request.resend_count: the ordinal of a resend. */
  readonly resendCount: number | null;
  readonly exceptionType: string | null;
  readonly exceptionMessage: string | null;
  /** How many spans this one stands for, from `tracestate` `ot=th`; null where the span does not say. */
  readonly adjustedCount: number | null;
  /** Attributes, events and links that it lost before it was sent, as the sender counted them. */
  readonly dropped: number;
  /** JSON texts, as they came (attribute values as plain JSON). */
  readonly attributes: string;
  readonly resource: string;
  readonly events: string;
  readonly links: string;
}

export type MetricKind = 'gauge' | 'counter' | 'histogram' | 'exponential_histogram' | 'summary';

/** One point of one series. Natural identity: the series (metric, service, instance, attributes) and its time. */
export interface MetricRow extends EvidenceRow {
  readonly timeUnixNano: bigint;
  readonly startUnixNano: bigint | null;
  readonly metric: string;
  readonly kind: MetricKind;
  /** Gauge or counter value; null for a histogram or summary, and where no value was recorded (stale). NaN stays NaN. */
  readonly value: number | null;
  /** Upper bounds (n) and per-bucket counts (n+1, not cumulative) of a histogram; quantiles and their values of a summary. */
  readonly bounds: readonly number[] | null;
  readonly counts: readonly number[] | null;
  readonly sum: number | null;
  readonly count: number | null;
  /** JSON text of the point's attributes, keys sorted. */
  readonly attributes: string;
  readonly service: string | null;
  readonly instance: string | null;
}

/**
 * A record of an S3 server access log: one request, or what lifecycle did. Natural identity: request id, operation, bucket, key and version (a
 * DeleteObjects call has a record for each key, under one request id).
 */
export interface S3AccessRow extends EvidenceRow {
  /** When the request was received, to the second. */
  readonly eventTimeMicros: bigint;
  readonly bucketOwner: string | null;
  readonly bucket: string;
  readonly sourceIp: string | null;
  /** An ARN, a canonical user id (which the root user may be), or a service. */
  readonly requester: string | null;
  readonly requestId: string | null;
  /** `REST.DELETE.OBJECT`, `BATCH.DELETE.OBJECT`, `S3.EXPIRE.OBJECT`, … */
  readonly operation: string;
  /** Decoded. */
  readonly objectKey: string | null;
  readonly requestUri: string | null;
  readonly httpStatus: number | null;
  readonly errorCode: string | null;
  readonly bytesSent: bigint | null;
  readonly objectSize: bigint | null;
  readonly userAgent: string | null;
  readonly versionId: string | null;
  readonly hostId: string | null;
  /** The line as it was delivered. */
  readonly raw: string;
}

/** The kinds of evidence, by the names that quarantine, coverage and inputs have for them. */
export const EVIDENCE = ['cloudtrail', 'traces', 'metrics', 's3-access', 'iam'] as const;

export type EvidenceName = (typeof EVIDENCE)[number];

/** The row of each kind. */
export interface EvidenceRows {
  readonly cloudtrail: CloudTrailRow;
  readonly traces: SpanRow;
  readonly metrics: MetricRow;
  readonly 's3-access': S3AccessRow;
  readonly iam: SimulationRow;
}

export type Flag =
  | 'aggregated_event'
  | 'ambiguous_quotes'
  | 'attributes_truncated'
  | 'bad_escape'
  | 'conflicting_body'
  | 'end_before_start'
  | 'event_id_missing'
  | 'future_time'
  | 'impossible_time'
  | 'insights_event'
  | 'key_encoded_twice'
  | 'no_recorded_value'
  | 'not_a_number'
  | 'proto_key'
  | 'string_truncated'
  | 'unknown_event_version'
  | 'unverifiable_origin'
  | 'zero_time';

/** What IAM's policy simulator answered for one action on one resource. Natural identity: principal, moment, action and resource. */
export interface SimulationRow extends EvidenceRow {
  /** Of the user, group or role whose policies were simulated. */
  readonly principalArn: string;
  readonly simulatedAtMicros: bigint;
  readonly action: string;
  /** An ARN, which may end with a wildcard, or `*`. */
  readonly resource: string;
  readonly decision: 'allowed' | 'explicitDeny' | 'implicitDeny';
  /** Names of the policies whose statements decided. */
  readonly policies: readonly string[];
  /** Keys of conditions for which the simulation was given no value: they were not evaluated. */
  readonly missingContext: readonly string[];
  /** The result's own text, in canonical JSON. */
  readonly result: string;
}

/** Why an input, or a part of it, is in quarantine. One word a reason; `detail` says what and where. */
export type FaultReason =
  | 'bad_batch'
  | 'bad_gzip'
  | 'bad_json'
  | 'bad_protobuf'
  | 'bad_record'
  | 'bad_text'
  | 'bad_time'
  | 'bad_utf8'
  | 'decoder_failed'
  | 'duplicate_key'
  | 'pointer'
  | 'too_deep'
  | 'too_large'
  | 'unknown_format';

/** Undecodable input, kept whole. */
export interface Fault {
  readonly reason: FaultReason;
  /** One sentence: what is wrong and where in the input. */
  readonly detail: string;
  readonly raw: Uint8Array | string;
  readonly position: number;
}

/** A scrape that failed: coverage, not evidence. */
export interface MissedScrape {
  readonly service: string | null;
  readonly instance: string;
  readonly timeUnixNano: bigint;
}

/** What one piece of input became. Rows + faults + skipped = everything that was in it. */
export interface Decoded<Row> {
  readonly rows: Row[];
  readonly faults: Fault[];
  /** Counted with a reason, neither evidence nor fault: control messages, metrics outside the kept families. */
  readonly skipped: Map<string, number>;
  readonly missedScrapes?: MissedScrape[];
}
