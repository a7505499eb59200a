import type { Row, StreamName } from '../../services/collect/source.js';
import { sourceNamed, sources } from '../../services/collect/sources/index.js';
import type { CloudTrailRow, Decoded, Fault, MetricRow, SpanRow } from '../../shared/evidence.js';
import { groupBy } from '../../shared/group.js';
import { gunzipBounded, inflateFile } from '../../shared/inflate.js';
import type { CaseFile } from '../case.js';
import { scrapeMessage } from './otlp-json.js';

/** One Kafka message of a case. */
export interface CaseMessage {
  readonly source: StreamName;
  readonly value: Buffer;
  /** When the last of what it holds happened, microseconds; undefined where it holds no evidence. */
  readonly atMicros: number | undefined;
}

interface StreamedFile extends CaseFile {
  readonly source: StreamName;
}

/** Of a source that comes by Kafka. */
export const isStreamed = (file: CaseFile): file is StreamedFile =>
  sources.some(({ evidence }) => evidence === file.source);

/** A CloudTrail file is one message up to this size, inflated, as a broker takes 1 MiB; a larger one goes record by record. */
const WHOLE_FILE_BYTES = 512 * 1024;

/**
 * A file of a case as what would have come by Kafka: OTLP/JSON lines as the collector's kafka exporter sends them (`otlp_json`), a Prometheus scrape as its
 * prometheusreceiver turns it into OTLP, a CloudTrail file whole or its records. What cannot be decoded is sent as it is.
 */
export async function* messagesOf(file: CaseFile): AsyncGenerator<CaseMessage> {
  if (!isStreamed(file)) return;
  if (file.source === 'cloudtrail') yield* cloudtrailMessages(file);
  else if (/\.prom(\.gz)?$/.test(file.path)) yield* scrapeMessages(file);
  else yield* lineMessages(file);
}

async function* lineMessages(file: StreamedFile): AsyncGenerator<CaseMessage> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of inflateFile(file.path)) {
    const text = Buffer.concat([rest, piece]);
    let from = 0;
    for (let end = text.indexOf(NEWLINE); end >= 0; end = text.indexOf(NEWLINE, from)) {
      yield* lineMessage(file, text.subarray(from, end));
      from = end + 1;
    }
    rest = text.subarray(from);
  }
  yield* lineMessage(file, rest);
}

const NEWLINE = 0x0a;

function* lineMessage({ source, id }: StreamedFile, line: Buffer): Generator<CaseMessage> {
  if (line.toString('latin1').trim() === '') return;
  const { rows } = sourceNamed(source).decode(line, { origin: id, gunzip: gunzipBounded });
  yield { source, value: Buffer.from(line), atMicros: lastOf(rows) };
}

async function* cloudtrailMessages(file: StreamedFile): AsyncGenerator<CaseMessage> {
  const decoder = sourceNamed(file.source).file({ origin: file.id, gunzip: gunzipBounded });
  const pieces: Buffer[] = [];
  const found: Decoded<Row>[] = [];
  let size = 0;
  for await (const piece of inflateFile(file.path)) {
    size += piece.length;
    pieces.push(piece);
    found.push(decoder.push(piece));
    if (size <= WHOLE_FILE_BYTES) continue;
    pieces.length = 0;
    for (const decoded of found.splice(0)) yield* records(file, decoded);
  }
  found.push(decoder.end());
  if (size > WHOLE_FILE_BYTES) for (const decoded of found) yield* records(file, decoded);
  else yield { source: file.source, value: Buffer.concat(pieces), atMicros: lastOf(found.flatMap(({ rows }) => rows)) };
}

function* records({ source }: StreamedFile, { rows, faults }: Decoded<Row>): Generator<CaseMessage> {
  for (const row of rows as CloudTrailRow[])
    yield { source, value: Buffer.from(row.raw), atMicros: Number(row.eventTimeMicros) };
  for (const fault of faults) yield { source, value: rawOf(fault), atMicros: undefined };
}

/** One message a scrape, as the collector sends them. */
async function* scrapeMessages(file: StreamedFile): AsyncGenerator<CaseMessage> {
  const { id: origin, cluster, instance, scrapeUnixMs } = file;
  const decoder = sourceNamed(file.source).file({
    origin,
    gunzip: gunzipBounded,
    ...(cluster && { cluster }),
    ...(instance && { instance }),
    ...(scrapeUnixMs && { scrapeUnixMs }),
  });
  const rows: MetricRow[] = [];
  const missed: NonNullable<Decoded<Row>['missedScrapes']> = [];
  const faults: Fault[] = [];
  const take = (decoded: Decoded<Row>) => {
    for (const row of decoded.rows as MetricRow[]) rows.push(row);
    missed.push(...(decoded.missedScrapes ?? []));
    faults.push(...decoded.faults);
  };
  for await (const piece of inflateFile(file.path)) take(decoder.push(piece));
  take(decoder.end());
  const answered = groupBy(rows, ({ timeUnixNano }) => timeUnixNano);
  const unanswered = groupBy(missed, ({ timeUnixNano }) => timeUnixNano);
  for (const time of new Set([...answered.keys(), ...unanswered.keys()])) {
    const value = scrapeMessage(answered.get(time) ?? [], unanswered.get(time) ?? []);
    yield { source: file.source, value: Buffer.from(value), atMicros: Number(time / 1000n) };
  }
  for (const fault of faults) yield { source: file.source, value: rawOf(fault), atMicros: undefined };
}

const rawOf = ({ raw }: Fault): Buffer => Buffer.from(raw as Uint8Array);

function lastOf(rows: readonly Row[]): number | undefined {
  let last: number | undefined;
  for (const row of rows) last = Math.max(last ?? 0, microsOf(row));
  return last;
}

function microsOf(row: Row): number {
  if ('eventTimeMicros' in row) return Number(row.eventTimeMicros);
  return Number((row as SpanRow).endUnixNano ?? (row as MetricRow).timeUnixNano) / 1000;
}
