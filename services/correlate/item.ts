import type { Act, LogFile, Prefixes, Simulation, Uses } from './cloudtrail/act.js';

/** What detectors fold over: one subject's evidence, in event time. */

/** One answer of one etcd member to one scrape: everything it exported at that moment that some detector asked for. */
export interface Scrape {
  readonly type: 'scrape';
  readonly atMicros: number;
  readonly member: string;
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  /** Gauge or cumulative counter; NaN where nothing was recorded. */
  readonly value: number;
  readonly bounds: readonly number[] | null;
  /** Cumulative since the process started, per bucket. */
  readonly counts: readonly number[] | null;
  /** Cumulative too, of histograms and summaries. */
  readonly sum: number | null;
  readonly count: number | null;
  readonly evidenceId: string;
}

/** SERVER spans of one service in one cell of time. Sampled spans keep their number and the sum of 1/p apart. */
export interface Requests {
  readonly type: 'requests';
  readonly atMicros: number;
  readonly sinceMicros: number;
  readonly count: number;
  readonly errors: number;
  /** How many of the spans say how they were sampled, and the sums of 1/p over those. */
  readonly scaledSpans: number;
  readonly scaledCount: number;
  readonly scaledErrors: number;
  readonly firstErrorMicros: number | null;
  readonly lastErrorMicros: number | null;
  /** The first errors of the cell by time, at most ERRORS_KEPT. */
  readonly errorIds: readonly string[];
  /** Failed requests by what an etcd call made for them was answered: `<target>\n<answer>` to a number of requests. */
  readonly etcdAnswers: ReadonlyMap<string, number>;
}

/** How etcd failed a call, by code and text. */
export type EtcdAnswer =
  | 'quota'
  | 'too_many_requests'
  | 'resource_exhausted'
  | 'leader'
  | 'timeout'
  | 'unavailable'
  | 'other';

/** One pass of a loop: a span that starts the same operation again. */
export interface Attempt {
  readonly type: 'attempt';
  readonly atMicros: number;
  readonly endMicros: number;
  readonly operation: string;
  readonly key: string | null;
  readonly form: 'siblings' | 'linked roots' | 'roots';
  /** What the passes of one loop have in common: the parent span, or the span they link to. */
  readonly loop: string;
  readonly linkedTraces: readonly string[];
  readonly failed: boolean;
  /** 1/p where the span says it, else null. */
  readonly scale: number | null;
  /** etcd writes made under this attempt that were answered OK, and that were refused or failed. */
  readonly writes: number;
  readonly failedWrites: number;
  readonly targets: readonly string[];
  readonly traceId: string;
  readonly evidenceId: string;
}

/** A span whose error text is one that the go command prints. */
export interface GoFailure {
  readonly type: 'go_failure';
  readonly atMicros: number;
  readonly endMicros: number;
  readonly failure: 'fetch' | 'checksum' | 'vendor';
  readonly module: string | null;
  readonly says: string;
  /** Where it ran, and what its service asked AWS for in the same trace, and as whom: entity keys. */
  readonly joins: readonly string[];
  readonly traceId: string;
  readonly evidenceId: string;
}

/** A span that writes to etcd: who wrote, where, and how much of it the sampling kept. */
export interface EtcdWrite {
  readonly type: 'etcd_write';
  readonly atMicros: number;
  readonly target: string;
  readonly scale: number | null;
  readonly ok: boolean;
}

export type Item = Scrape | Requests | Attempt | GoFailure | Act | Uses | Prefixes | LogFile | Simulation;

/** What a detector reads: items of traces or of CloudTrail by name, or metrics of etcd clusters. */
export type Input =
  | { readonly of: 'requests' | 'attempts' | 'go_failures' }
  | { readonly of: 'acts' | 'uses' | 'prefixes' | 'log_files' | 'simulations' }
  | { readonly of: 'series'; readonly metric: string; readonly where?: Readonly<Record<string, string>> };

/** Spans as correlate reads them from the store. */
export interface Span {
  readonly evidenceId: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly service: string;
  readonly kind: string;
  readonly startMicros: number;
  readonly endMicros: number;
  readonly error: boolean;
  readonly operation: string;
  readonly target: string | null;
  readonly targetKey: string | null;
  readonly rpcStatus: string | null;
  readonly httpStatus: number | null;
  readonly resendCount: number | null;
  readonly text: string | null;
  readonly scale: number | null;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  /** Of a span with an error text: addresses of its host, as entity keys. */
  readonly joins?: readonly string[];
  /** The AWS request that it made, and the principal that it acted as, as entity keys. */
  readonly acts?: readonly string[];
}
