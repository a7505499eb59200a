import type { CloudTrailRow, Decoded, FaultReason, Flag } from '../../../shared/evidence.js';
import { sha256 } from '../../../shared/hash.js';
import { AWS_BEGAN_MICROS, futureMicros, utcMillis } from '../formats/event-time.js';
import {
  type Cut,
  JSON_BOUNDS,
  JsonError,
  type ListSplitter,
  latin1,
  listSplitter,
  memberText,
  readJson,
  type Shape,
  splitValues,
  type Take,
  utf8,
  withoutMark,
} from '../formats/json.js';
import { PlainReader } from '../formats/plain-json.js';
import type { Context, FileDecoder, Source, SourceExample } from '../source.js';

/**
 * CloudTrail records, alone or in any envelope that brings them: files as delivered to S3, EventBridge, CloudWatch Logs
 * subscriptions, Firehose, Filebeat, LookupEvents, Kafka Connect, SNS, and these in each other. Each record is read
 * once, strictly (formats/json.ts): its columns, its body and its faults come from one reading of the text that is kept
 * as `raw`.
 *
 * The identity of a record is its whole body, which holds account and event id. A bucket owner's copy has another event
 * id.
 *
 * | bound    | value   | why                                                                              |
 * |----------|---------|----------------------------------------------------------------------------------|
 * | nesting  | 8       | envelopes in each other; SNS, Connect, Lambda, gzip and its text make 5          |
 * | buffered | 64 MiB  | a file that is not `{"Records":[…]}` is held whole (a message is held anyway)     |
 * | inflated | 256 MiB | all gzip in one input, one over the other: gzip in gzip multiplies                 |
 * | sniffed  | 4 KiB   | how far white space may stretch the start of that layout                         |
 */
export const cloudtrail: Source<CloudTrailRow> = {
  name: 'cloudtrail',
  evidence: 'cloudtrail',
  topic: 'cloudtrail',
  decode(value, context) {
    const run = newRun(context);
    readBytes(run, value, OUTERMOST);
    return run.out;
  },
  file(context) {
    return fileDecoder(context);
  },
  get examples() {
    return examples();
  },
};

const MIB = 1024 * 1024;
const BOUNDS = { nesting: 8, buffered: 64 * MIB, inflated: 256 * MIB, sniffed: 4096 } as const;

type Json = Readonly<Record<string, unknown>>;

/** One decoding: where rows go, and how many records the input had so far. */
interface Run {
  readonly context: Context;
  /** Event times after this are flagged. */
  readonly futureMicros: bigint | undefined;
  out: Decoded<CloudTrailRow>;
  position: number;
  /** Bytes that gzip in this input became so far. */
  inflated: number;
}

/** How deep in envelopes we are, and what they said of the records in them. */
interface Where {
  readonly level: number;
  readonly flags: readonly Flag[];
}

const OUTERMOST: Where = { level: 0, flags: [] };

function newRun(context: Context): Run {
  return { context, futureMicros: futureMicros(context), out: nothing(), position: 0, inflated: 0 };
}

function nothing(): Decoded<CloudTrailRow> {
  return { rows: [], faults: [], skipped: new Map() };
}

function fileDecoder(context: Context): FileDecoder<CloudTrailRow> {
  const run = newRun(context);
  const text = textReader(run, OUTERMOST, binaryText, BOUNDS.buffered);
  const taken = () => {
    const { out } = run;
    run.out = nothing();
    return out;
  };
  return {
    push(piece) {
      text.push(latin1(piece));
      return taken();
    },
    end() {
      text.end();
      return taken();
    },
  };
}

/* ---- bytes and text: from an input to single JSON values ---- */

function readBytes(run: Run, value: Uint8Array, where: Where): void {
  if (where.level > BOUNDS.nesting) {
    fault(run, 'too_deep', TOO_NESTED, value);
    return;
  }
  if (value[0] === 0x1f && value[1] === 0x8b) {
    const plain = inflate(run, value);
    if (plain) readBytes(run, plain, inner(where));
    return;
  }
  const bytes = latin1(value);
  if (isPlainRecord(run, bytes, where)) return;
  const text = textReader(run, where, binaryText, Number.POSITIVE_INFINITY);
  text.push(bytes);
  text.end();
}

function inflate(run: Run, value: Uint8Array): Uint8Array | undefined {
  if (run.inflated > BOUNDS.inflated) {
    fault(
      run,
      'too_large',
      `the gzip before this one became ${run.inflated} bytes, the bound is ${BOUNDS.inflated}`,
      value,
    );
    return undefined;
  }
  try {
    const plain = run.context.gunzip(value);
    run.inflated += plain.length;
    return plain;
  } catch (error) {
    fault(run, 'bad_gzip', error instanceof Error ? error.message : String(error), value);
    return undefined;
  }
}

/** The text inside of an envelope's string. */
function readText(run: Run, value: string, where: Where): void {
  if (where.level > BOUNDS.nesting) {
    fault(run, 'too_deep', TOO_NESTED, value);
    return;
  }
  const text = textReader(run, where, plainText, Number.POSITIVE_INFINITY);
  text.push(value);
  text.end();
}

const TOO_NESTED = `more than ${BOUNDS.nesting} envelopes stand in each other`;

function inner(where: Where, ...flags: readonly Flag[]): Where {
  return { level: where.level + 1, flags: flags.length === 0 ? where.flags : [...where.flags, ...flags] };
}

/** How scanned text becomes text: one-byte strings hold UTF-8 bytes, an envelope's strings are text already. */
interface Encoding {
  start(text: string): string;
  text(scanned: string): string;
  /** What quarantine keeps: text where it is text. */
  raw(scanned: string): string | Uint8Array;
}

const binaryText: Encoding = {
  start: withoutMark,
  text: utf8,
  raw(scanned) {
    try {
      return utf8(scanned);
    } catch {
      return Buffer.from(scanned, 'latin1');
    }
  },
};

const plainText: Encoding = { start: (text) => text, text: (scanned) => scanned, raw: (scanned) => scanned };

interface TextReader {
  push(piece: string): void;
  end(): void;
}

const LAYOUT = /^[ \t\r\n]*\{[ \t\r\n]*"Records"[ \t\r\n]*:[ \t\r\n]*\[/;

const isLayout = (text: string, at: number): boolean => LAYOUT.test(text.slice(at, at + BOUNDS.sniffed));

/** Streams documents of the S3 layout; whatever else comes is held until the end and read as messages. */
function textReader(run: Run, where: Where, encoding: Encoding, mayHold: number): TextReader {
  let layout: ListSplitter | undefined;
  let started = false;
  let layoutSeen = false;
  let head = ''; // not yet known what it is
  let held: string[] | undefined; // known not to be the layout
  let heldSize = 0;

  return {
    push(piece) {
      let text = piece;
      let at = 0;
      while (at < text.length) {
        if (layout) {
          at = layout.push(text, at);
          if (at < 0) return;
          layout = undefined;
        } else if (held) {
          hold(text.slice(at));
          return;
        } else if (started && head === '' && isLayout(text, at)) {
          layout = recordsOf(run, where, encoding);
          layoutSeen = true;
        } else {
          head += text.slice(at);
          if (!started && head.length < 3) return;
          if (!started) head = encoding.start(head);
          started = true;
          text = '';
          at = 0;
          if (isLayout(head, 0)) {
            layout = recordsOf(run, where, encoding);
            layoutSeen = true;
            text = head;
            head = '';
          } else if (head.length >= BOUNDS.sniffed) {
            held = [];
            hold(head);
            head = '';
          }
        }
      }
    },
    end() {
      layout?.end();
      const text = started ? (held?.join('') ?? head) : encoding.start(head);
      if (heldSize > mayHold) {
        const detail = `${heldSize} bytes that are no {"Records":[…]}, the bound is ${mayHold}; their head is kept`;
        fault(run, 'too_large', detail, encoding.raw(text));
        return;
      }
      const cuts = splitValues(text);
      if (cuts.length === 0 && !layoutSeen) fault(run, 'unknown_format', 'the input is empty', text);
      for (const cut of cuts) readCut(run, cut, where, encoding, readValue);
    },
  };

  function hold(text: string): void {
    const wasOver = heldSize > mayHold;
    heldSize += text.length;
    if (wasOver) return;
    held?.push(text);
    if (heldSize > mayHold) held = [(held ?? []).join('').slice(0, JSON_BOUNDS.kept)];
  }
}

/** One value of a list or of a concatenation, read strictly; `use` says what it is there. */
function readCut(run: Run, cut: Cut, where: Where, encoding: Encoding, use: Use): void {
  const { text } = cut;
  if (cut.kind === 'broken') fault(run, cut.reason, cut.detail, encoding.raw(text));
  else if (use === readValue && text.startsWith('[')) readList(run, text, where, encoding);
  else if (use === readValue && LAYOUT.test(text)) readRecords(run, text, where, encoding);
  else readObject(run, cut, where, encoding, use);
}

function readObject(run: Run, cut: Shape & { text: string }, where: Where, encoding: Encoding, use: Use): void {
  try {
    const text = encoding.text(cut.text);
    const { value, body } = readJson(text, cut);
    const read = { text, bodyHash: sha256(body), isPlain: false };
    if (isObject(value)) use(run, { ...read, value, protoKey: protoKeyIn(value, body) }, where);
    else fault(run, 'bad_record', 'this is a value of a list, and not an object', text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    fault(run, error.reason, error.message, encoding.raw(cut.text));
  }
}

/** An object with its own text and the hash of its canonical body. */
interface Read {
  readonly value: Json;
  readonly text: string;
  readonly bodyHash: string;
  /** Text and values are ASCII without control characters. */
  readonly isPlain: boolean;
  /** It has a key that makes prototypes, somewhere in it. */
  readonly protoKey: boolean;
}

type Use = (run: Run, read: Read, where: Where) => void;

function readList(run: Run, text: string, where: Where, encoding: Encoding): void {
  if (where.level > BOUNDS.nesting) {
    fault(run, 'too_deep', TOO_NESTED, encoding.raw(text));
    return;
  }
  const next = inner(where);
  const list = listSplitter(undefined, (cut) => readCut(run, cut, next, encoding, readValue));
  list.push(text);
  list.end();
}

function readRecords(run: Run, text: string, where: Where, encoding: Encoding): void {
  const records = recordsOf(run, where, encoding);
  records.push(text);
  records.end();
}

function recordsOf(run: Run, where: Where, encoding: Encoding): ListSplitter {
  if (encoding !== binaryText) return listSplitter('Records', (cut) => readCut(run, cut, where, encoding, readListed));
  const take = takingPlain(run, where);
  return listSplitter(
    'Records',
    (cut) => {
      const read = cut.kind === 'value' && cut.isJoined ? plainIn(cut.text) : undefined;
      if (read) readListed(run, read, where);
      else readCut(run, cut, where, encoding, readListed);
    },
    take,
  );
}

/** Most records are so plain that what a row needs can be read where they stand. */
function takingPlain(run: Run, where: Where): Take {
  return (piece, at) => {
    const read = plain.read(piece, at);
    if (!read) return -1;
    readListed(run, read, where);
    return read.end;
  };
}

/** Reads a message that is one plain record and nothing else. */
function isPlainRecord(run: Run, text: string, where: Where): boolean {
  const read = plainIn(text);
  if (!read || !isLoneRecord(read.value)) return false;
  readValue(run, read, where);
  return true;
}

/** The plain object that a text is, and nothing else. */
function plainIn(text: string): Read | undefined {
  const read = plain.read(text, 0);
  return read?.end === text.length ? read : undefined;
}

/** All that is asked of a record: by isLoneRecord, readListed, addRecord and what they call. */
const OBJECT_NAMED = { bucketName: true, key: true, versionId: true } as const;
const plain = new PlainReader({
  Event: true,
  Records: true,
  accountId: true,
  awsRegion: true,
  errorCode: true,
  eventCategory: true,
  eventID: true,
  eventId: true,
  eventName: true,
  eventSource: true,
  eventTime: true,
  eventType: true,
  eventVersion: true,
  readOnly: true,
  recipientAccountId: true,
  requestID: true,
  requestParameters: OBJECT_NAMED,
  s3Bucket: true,
  s3ObjectKey: true,
  serviceEventDetails: OBJECT_NAMED,
  sharedEventID: true,
  sourceIPAddress: true,
  timeWindow: { windowStart: true },
  userAgent: true,
  userIdentity: {
    accountId: true,
    arn: true,
    invokedBy: true,
    principalId: true,
    sessionContext: { sessionIssuer: { arn: true } },
    type: true,
  },
});

/** What stands in `Records`: a record, or a pointer to where records are. */
function readListed(run: Run, read: Read, where: Where): void {
  const pointer = pointerIn(read.value);
  if (pointer) fault(run, 'pointer', pointer, read.text);
  else if (isRecord(read.value)) addRecord(run, read, where);
  else fault(run, 'bad_record', 'this is no CloudTrail record: eventName or eventSource is missing', read.text);
}

/** What stands alone: a record, a pointer, or an envelope. */
function readValue(run: Run, read: Read, where: Where): void {
  const pointer = pointerIn(read.value);
  const envelope = ENVELOPES.find(({ is }) => is(read.value));
  if (pointer) fault(run, 'pointer', pointer, read.text);
  else if (isLoneRecord(read.value)) addRecord(run, read, where);
  else if (envelope) envelope.open(run, read, inner(where));
  else fault(run, 'unknown_format', 'this is neither a CloudTrail record nor a known envelope', read.text);
}

/* ---- envelopes ---- */

/** A way in which records are wrapped. The first that fits is opened. */
interface Envelope {
  readonly is: (value: Json) => boolean;
  readonly open: Use;
}

/** `Records` with another member before it: the layout that LAYOUT does not see. */
const recordsLater: Envelope = {
  is: ({ Records }) => Records !== undefined,
  open: (run, { text }, where) => readRecords(run, text, where, plainText),
};

const eventBridge: Envelope = {
  is: (value) => typed(value['detail-type']).endsWith('via CloudTrail') && isObject(value.detail),
  open: (run, { value, text }, where) => {
    const detail = value.detail as Json;
    const own = memberText(text, 'detail') ?? '';
    const { body } = readJson(own);
    const protoKey = protoKeyIn(detail, body);
    readListed(run, { value: detail, text: own, bodyHash: sha256(body), isPlain: false, protoKey }, where);
  },
};

/** Subscription filters check their destination with control messages. */
const cloudWatchControl: Envelope = {
  is: ({ messageType }) => messageType === 'CONTROL_MESSAGE',
  open: (run) => skip(run, 'CloudWatch Logs control message'),
};

const cloudWatchLogs: Envelope = {
  is: ({ messageType, logEvents }) => messageType === 'DATA_MESSAGE' && Array.isArray(logEvents),
  open: (run, { value }, where) => {
    for (const event of value.logEvents as readonly unknown[]) {
      const { message } = isObject(event) ? event : {};
      if (typeof message === 'string') readText(run, message, where);
      else fault(run, 'bad_record', 'this CloudWatch Logs event has no message text', JSON.stringify(event));
    }
  },
};

/** What a Lambda function gets of a CloudWatch Logs subscription. */
const cloudWatchLambda: Envelope = {
  is: ({ awslogs }) => isObject(awslogs) && typeof awslogs.data === 'string',
  open: (run, { value }, where) => {
    const { data } = value.awslogs as { data: string };
    readBytes(run, Buffer.from(data, 'base64'), where);
  },
};

/** LookupEvents answers are in no digest: nothing proves that CloudTrail said this. */
const lookupEvents: Envelope = {
  is: ({ CloudTrailEvent }) => typeof CloudTrailEvent === 'string',
  open: (run, { value }, where) =>
    readText(run, value.CloudTrailEvent as string, { ...where, flags: [...where.flags, 'unverifiable_origin'] }),
};

const filebeat: Envelope = {
  is: (value) => isObject(value['@metadata']) && 'beat' in value['@metadata'] && typeof value.message === 'string',
  open: (run, { value }, where) => readText(run, value.message as string, where),
};

const sns: Envelope = {
  is: ({ Type, Message }) => Type === 'Notification' && typeof Message === 'string',
  open: (run, { value }, where) => readText(run, value.Message as string, where),
};

/** JsonConverter with schemas.enable: the payload is a JSON text in a string, or JSON itself. */
const connect: Envelope = {
  is: (value) => 'schema' in value && (typeof value.payload === 'string' || isObject(value.payload)),
  open: (run, { value, text }, where) =>
    readText(run, typeof value.payload === 'string' ? value.payload : (memberText(text, 'payload') ?? ''), where),
};

const ENVELOPES: readonly Envelope[] = [
  recordsLater,
  eventBridge,
  cloudWatchControl,
  cloudWatchLogs,
  cloudWatchLambda,
  lookupEvents,
  filebeat,
  sns,
  connect,
];

/** Messages that say where records are: their objects are to be fetched, there is nothing to decode. */
function pointerIn(value: Json): string | undefined {
  if (value.eventSource === 'aws:s3') return 'an S3 notification says where an object is, it holds no records';
  if (value.Event === 's3:TestEvent') return 'an S3 test event holds no records';
  if (typeof value.s3Bucket === 'string' && value.s3ObjectKey !== undefined) {
    return "CloudTrail's notification says where a log file is, it holds no records";
  }
  return undefined;
}

function skip(run: Run, what: string): void {
  run.position++;
  run.out.skipped.set(what, (run.out.skipped.get(what) ?? 0) + 1);
}

function fault(run: Run, reason: FaultReason, detail: string, raw: string | Uint8Array): void {
  run.out.faults.push({ reason, detail, raw, position: run.position++ });
}

/* ---- the record ---- */

/** One of the two kinds without a name; else a name, a source and a member that a mere description would not have. */
/** What holds a list of records is that list, whatever stands beside it and in which order: none of them may be lost behind what looks like one. */
const isLoneRecord = (value: Json): boolean => isRecord(value) && !Array.isArray(value.Records);

function isRecord(value: Json): boolean {
  if (isInsights(value) || isAggregated(value)) return true;
  return (
    typeof value.eventName === 'string' &&
    typeof value.eventSource === 'string' &&
    ('eventID' in value || 'eventTime' in value || 'eventVersion' in value || 'userIdentity' in value)
  );
}

function isInsights(value: Json): boolean {
  return value.eventCategory === 'Insight' || value.eventType === 'AwsCloudTrailInsight';
}

/** A five-minute summary of data events, not an event (user guide, "record contents for aggregated events"). */
function isAggregated(value: Json): boolean {
  return value.eventCategory === 'Aggregated' || value.eventType === 'AwsAggregatedEvent';
}

/**
 * `principalArn` is userIdentity.arn. Where a record has none it is principalId (cross-account callers,
 * `AROA…:session`) and else invokedBy (services, `ec2.amazonaws.com`): of 2,900 real records 77 have no arn, 76 of them
 * are a service's.
 */
function addRecord(run: Run, read: Read, where: Where): void {
  const { value, text, bodyHash, isPlain } = read;
  const identity = objectOf(value.userIdentity);
  const issuer = objectOf(objectOf(identity.sessionContext).sessionIssuer);
  const eventTime = value.eventTime ?? objectOf(value.timeWindow).windowStart;
  const eventTimeMicros = timeMicros(eventTime);
  if (eventTimeMicros === undefined) {
    const what = eventTime === undefined ? 'is missing' : `${shown(eventTime)} is no ISO 8601 time`;
    fault(run, 'bad_time', `eventTime ${what}`, text);
    return;
  }
  const eventId = stringOf(value.eventID) ?? stringOf(value.eventId);
  const eventSource = stringOf(value.eventSource);
  const eventName = stringOf(value.eventName);
  const { bucket, objectKey, versionId } = objectNamed(value, eventSource);
  run.out.rows.push({
    bodyHash,
    isPlain,
    flags: flagsOf(run, read, eventId, eventTimeMicros, where),
    position: run.position++,
    eventId,
    eventTimeMicros,
    accountId: stringOf(value.recipientAccountId) ?? stringOf(value.accountId) ?? stringOf(identity.accountId),
    region: stringOf(value.awsRegion),
    eventSource,
    eventName,
    action: eventSource === null || eventName === null ? null : iamAction(eventSource, eventName, versionId !== null),
    principalArn: stringOf(identity.arn) ?? stringOf(identity.principalId) ?? stringOf(identity.invokedBy),
    principalType: stringOf(identity.type),
    sessionIssuerArn: stringOf(issuer.arn),
    sourceIp: stringOf(value.sourceIPAddress),
    userAgent: stringOf(value.userAgent),
    errorCode: stringOf(value.errorCode),
    readOnly: typeof value.readOnly === 'boolean' ? value.readOnly : null,
    eventCategory: stringOf(value.eventCategory),
    bucket,
    objectKey,
    versionId,
    requestId: stringOf(value.requestID),
    sharedEventId: stringOf(value.sharedEventID),
    raw: text,
  });
}

/**
 * The S3 object in the request. What a service did in the course of another call (AwsServiceEvent) may name it in
 * serviceEventDetails. Other services have a `key` and a `versionId` too, of a tag or a secret: they count only beside
 * a bucket.
 */
function objectNamed(
  value: Json,
  eventSource: string | null,
): Pick<CloudTrailRow, 'bucket' | 'objectKey' | 'versionId'> {
  const request = objectOf(value.requestParameters);
  const details = value.eventType === 'AwsServiceEvent' ? objectOf(value.serviceEventDetails) : EMPTY;
  const bucket = stringOf(request.bucketName) ?? stringOf(details.bucketName);
  if (bucket === null && eventSource !== 's3.amazonaws.com') return { bucket, objectKey: null, versionId: null };
  return {
    bucket,
    objectKey: stringOf(request.key) ?? stringOf(details.key),
    versionId: stringOf(request.versionId) ?? stringOf(details.versionId),
  };
}

const NO_FLAGS: readonly Flag[] = [];

function flagsOf(
  run: Run,
  { value, protoKey }: Read,
  eventId: string | null,
  timeMicros: bigint,
  where: Where,
): readonly Flag[] {
  const flags: Flag[] = [...where.flags];
  if (isAggregated(value)) flags.push('aggregated_event');
  if (isInsights(value)) flags.push('insights_event');
  if (eventId === null) flags.push('event_id_missing'); // records before 1.01
  if (timeMicros < AWS_BEGAN_MICROS) flags.push('impossible_time');
  if (run.futureMicros !== undefined && timeMicros > run.futureMicros) flags.push('future_time');
  if (!/^1\.\d+$/.test(typed(value.eventVersion))) flags.push('unknown_event_version');
  if (protoKey) flags.push('proto_key');
  return flags.length === 0 ? NO_FLAGS : flags;
}

function protoKeyIn(value: unknown, body: string): boolean {
  return body.includes('9:__proto__') && hasProtoKey(value);
}

function hasProtoKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.hasOwn(value, '__proto__') || Object.values(value).some(hasProtoKey);
}

const TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))$/;

let lastTime = '';
let lastMicros: bigint | undefined;

/** Microseconds since 1970 of a strict ISO 8601 time, finer digits cut. A 30 February or a leap second is none. */
function timeMicros(time: unknown): bigint | undefined {
  if (typeof time !== 'string') return undefined;
  if (time === lastTime) return lastMicros; // records of one second come together
  lastMicros = parseTime(time);
  lastTime = time;
  return lastMicros;
}

function parseTime(time: string): bigint | undefined {
  const match = TIME.exec(time);
  if (!match) return undefined;
  const millis = utcMillis(match.slice(1, 7).map(Number));
  if (millis === undefined) return undefined;
  const offset = match[8] === undefined ? 0 : (match[8] === '-' ? -1 : 1) * (Number(match[9]) * 60 + Number(match[10]));
  return BigInt(millis - offset * 60_000) * 1000n + BigInt((match[7] ?? '').slice(0, 6).padEnd(6, '0'));
}

/* ---- IAM actions ---- */

/**
 * `<service>:<Action>`: the event source without its domain, and the event name, which for most services is the action.
 * For S3 several API operations check an action of another name, and a version id another one again (S3 user guide,
 * "Required permissions for S3 API operations"). CloudTrail has no event DeleteObjectVersion: it writes DeleteObject
 * with requestParameters.versionId.
 */
function iamAction(eventSource: string, eventName: string, ofVersion: boolean): string {
  const service = eventSource.endsWith(DOMAIN) ? eventSource.slice(0, -DOMAIN.length) : eventSource;
  if (service !== 's3') return `${service}:${eventName}`;
  const action = S3_ACTIONS.get(eventName) ?? eventName;
  return `s3:${(ofVersion ? S3_VERSION_ACTIONS.get(action) : undefined) ?? action}`;
}

const DOMAIN = '.amazonaws.com';

const S3_ACTIONS: ReadonlyMap<string, string> = new Map([
  ['CompleteMultipartUpload', 'PutObject'],
  ['CopyObject', 'PutObject'], // and GetObject on the source
  ['CreateMultipartUpload', 'PutObject'],
  ['DeleteBucketCors', 'PutBucketCORS'],
  ['DeleteBucketEncryption', 'PutEncryptionConfiguration'],
  ['DeleteBucketLifecycle', 'PutLifecycleConfiguration'],
  ['DeleteBucketOwnershipControls', 'PutBucketOwnershipControls'],
  ['DeleteBucketPublicAccessBlock', 'PutBucketPublicAccessBlock'],
  ['DeleteBucketReplication', 'PutReplicationConfiguration'],
  ['DeleteBucketTagging', 'PutBucketTagging'],
  ['DeleteObjects', 'DeleteObject'], // DeleteObjectVersion for keys with a version; the event names neither
  ['DeletePublicAccessBlock', 'PutBucketPublicAccessBlock'],
  ['GetBucketAccelerateConfiguration', 'GetAccelerateConfiguration'],
  ['GetBucketCors', 'GetBucketCORS'],
  ['GetBucketEncryption', 'GetEncryptionConfiguration'],
  ['GetBucketLifecycle', 'GetLifecycleConfiguration'],
  ['GetBucketLifecycleConfiguration', 'GetLifecycleConfiguration'],
  ['GetBucketReplication', 'GetReplicationConfiguration'],
  ['GetObjectLockConfiguration', 'GetBucketObjectLockConfiguration'],
  ['GetPublicAccessBlock', 'GetBucketPublicAccessBlock'],
  ['HeadBucket', 'ListBucket'],
  ['HeadObject', 'GetObject'],
  ['ListBuckets', 'ListAllMyBuckets'],
  ['ListMultipartUploads', 'ListBucketMultipartUploads'],
  ['ListObjectVersions', 'ListBucketVersions'],
  ['ListObjects', 'ListBucket'],
  ['ListObjectsV2', 'ListBucket'],
  ['ListParts', 'ListMultipartUploadParts'],
  ['PutBucketAccelerateConfiguration', 'PutAccelerateConfiguration'],
  ['PutBucketCors', 'PutBucketCORS'],
  ['PutBucketEncryption', 'PutEncryptionConfiguration'],
  ['PutBucketLifecycle', 'PutLifecycleConfiguration'],
  ['PutBucketLifecycleConfiguration', 'PutLifecycleConfiguration'],
  ['PutBucketReplication', 'PutReplicationConfiguration'],
  ['PutObjectLockConfiguration', 'PutBucketObjectLockConfiguration'],
  ['PutPublicAccessBlock', 'PutBucketPublicAccessBlock'],
  ['SelectObjectContent', 'GetObject'],
  ['UploadPart', 'PutObject'],
  ['UploadPartCopy', 'PutObject'],
]);

const S3_VERSION_ACTIONS: ReadonlyMap<string, string> = new Map([
  ['DeleteObject', 'DeleteObjectVersion'],
  ['DeleteObjectTagging', 'DeleteObjectVersionTagging'],
  ['GetObject', 'GetObjectVersion'],
  ['GetObjectAcl', 'GetObjectVersionAcl'],
  ['GetObjectAttributes', 'GetObjectVersionAttributes'],
  ['GetObjectTagging', 'GetObjectVersionTagging'],
  ['GetObjectTorrent', 'GetObjectVersionTorrent'],
  ['PutObjectAcl', 'PutObjectVersionAcl'],
  ['PutObjectTagging', 'PutObjectVersionTagging'],
]);

/* ---- plain values ---- */

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const EMPTY: Json = {};

function objectOf(value: unknown): Json {
  return isObject(value) ? value : EMPTY;
}

/** A string that says something: CloudTrail writes no empty ids, keys or names. */
function stringOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function typed(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? '').slice(0, 60);
}

/* ---- examples ---- */

function examples(): readonly SourceExample<CloudTrailRow>[] {
  const purge = {
    eventVersion: '1.09',
    userIdentity: {
      type: 'AssumedRole',
      arn: 'arn:aws:sts::123456789012:assumed-role/ci-deployer/run-1',
      accountId: '123456789012',
      sessionContext: { sessionIssuer: { type: 'Role', arn: 'arn:aws:iam::123456789012:role/ci-deployer' } },
    },
    eventTime: '2024-03-16T19:15:02Z',
    eventSource: 's3.amazonaws.com',
    eventName: 'DeleteObject',
    requestParameters: { bucketName: 'prod-logs-archive', key: 'audit/a.json.gz', versionId: '3HL4kqtJvjVBH40Nrjfkd' },
    eventID: '00000000-0000-4000-8000-000000000002',
    eventType: 'AwsApiCall',
    recipientAccountId: '123456789012',
    eventCategory: 'Data',
  };
  const record = JSON.stringify(purge);
  const rows: readonly Partial<CloudTrailRow>[] = [
    {
      eventId: '00000000-0000-4000-8000-000000000002',
      action: 's3:DeleteObjectVersion',
      sessionIssuerArn: 'arn:aws:iam::123456789012:role/ci-deployer',
      bucket: 'prod-logs-archive',
      raw: record,
    },
  ];
  const logs = { messageType: 'DATA_MESSAGE', owner: '123456789012', logEvents: [{ id: '1', message: record }] };
  const control = { ...logs, messageType: 'CONTROL_MESSAGE', logEvents: [{ id: '', message: 'Checking health' }] };
  const notification = { eventVersion: '2.2', eventSource: 'aws:s3', eventName: 'ObjectCreated:Put', s3: {} };
  const given = (title: string, value: unknown) => ({ title, given: JSON.stringify(value) });
  return [
    { title: 'a record', given: record, rows },
    { ...given('a file as delivered to S3', { Records: [purge, purge] }), rows: [...rows, ...rows] },
    { title: 'two records back to back, from Firehose', given: `${record}${record}\n`, rows: [...rows, ...rows] },
    { ...given('a list of records', [purge]), rows },
    { ...given('EventBridge', { 'detail-type': 'AWS API Call via CloudTrail', detail: purge }), rows },
    { ...given('a CloudWatch Logs subscription', logs), rows },
    { ...given('Filebeat', { '@metadata': { beat: 'filebeat' }, message: record }), rows },
    {
      ...given('Filebeat with a whole file', { '@metadata': { beat: 'filebeat' }, message: `{"Records":[${record}]}` }),
      rows,
    },
    { ...given('LookupEvents', { CloudTrailEvent: record }), rows: [{ flags: ['unverifiable_origin'] }] },
    { ...given('Kafka Connect, text', { schema: { type: 'string' }, payload: record }), rows },
    { ...given('Kafka Connect, JSON', { schema: { type: 'struct' }, payload: purge }), rows },
    { ...given('SNS', { Type: 'Notification', Message: record }), rows },
    { ...given('a control message', control), skipped: 'CloudWatch Logs control message' },
    { ...given('an S3 notification', { Records: [notification] }), fault: 'pointer' },
    { ...given("CloudTrail's own notification", { s3Bucket: 'trail', s3ObjectKey: ['a.json.gz'] }), fault: 'pointer' },
    {
      title: 'a name said twice',
      given: record.replace('"eventName"', '"eventName":"GetObject","eventName"'),
      fault: 'duplicate_key',
    },
    {
      title: 'two details',
      given: `{"detail-type":"x via CloudTrail","detail":{},"detail":${record}}`,
      fault: 'duplicate_key',
    },
    { ...given('30 February', { ...purge, eventTime: '2024-02-30T00:00:00Z' }), fault: 'bad_time' },
    { title: 'half a record', given: record.slice(0, -9), fault: 'bad_json' },
    { ...given('an OTLP message', { resourceSpans: [] }), fault: 'unknown_format' },
  ];
}
