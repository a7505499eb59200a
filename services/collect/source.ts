import type { CloudTrailRow, Decoded, MetricRow, SimulationRow, SpanRow } from '../../shared/evidence.js';

/** What a decoder may use beside its input: it has no I/O, clock or node import of its own. */
export interface Context {
  /** Where the bytes came from, for error sentences: a path inside the case, or topic/partition/offset. */
  readonly origin: string;
  /** Inflates one gzip value within bounds; throws an Error whose message says what is wrong (ratio, size, CRC, truncated). */
  gunzip(bytes: Uint8Array): Uint8Array;
  /** Event times after this are flagged `future_time` (nanoseconds); the caller's clock, or none in a pure test. */
  readonly nowUnixNano?: bigint;
  /** metrics/[<cluster>/]<instance>/…: what the folders say of a Prometheus text that does not name itself. */
  readonly cluster?: string;
  readonly instance?: string;
  /** unix_ms of a scrape file named <unix_ms>.prom. */
  readonly scrapeUnixMs?: number;
}

/** Decodes one file of a case, fed in inflated pieces of any size. */
export interface FileDecoder<Row> {
  push(piece: Uint8Array): Decoded<Row>;
  end(): Decoded<Row>;
}

/** A row of any source. */
export type Row = CloudTrailRow | SpanRow | MetricRow | SimulationRow;

/** Kinds of evidence that come by Kafka. */
export type StreamName = 'cloudtrail' | 'traces' | 'metrics';

export type EvidenceName = StreamName | 'iam';

/** One wire format: bytes to evidence rows. Never throws on bad input: that is a Fault beside the rows around it. */
export interface Source<Row> {
  /** The file's name. */
  readonly name: string;
  /** Which kind of evidence its rows are. */
  readonly evidence: EvidenceName;
  /** Default Kafka topic. */
  readonly topic: string;
  /** One Kafka message value (gzip or plain). */
  decode(value: Uint8Array, context: Context): Decoded<Row>;
  /** One file of a case folder. */
  file(context: Context): FileDecoder<Row>;
  /** At least one input that decodes and one that must not. */
  readonly examples: readonly SourceExample<Row>[];
}

/** A wire format that comes as files of a case alone, and never by Kafka. */
export type FileSource<Row> = Omit<Source<Row>, 'topic' | 'decode'>;

export interface SourceExample<Row> {
  readonly title: string;
  readonly given: string | Uint8Array;
  /** Partial rows expected, in order, or the fault's reason. */
  readonly rows?: readonly Partial<Row>[];
  readonly fault?: string;
  readonly skipped?: string;
}
