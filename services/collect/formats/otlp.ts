import type { Decoded, Fault, FaultReason, Flag } from '../../../shared/evidence.js';
import type { Context, FileDecoder } from '../source.js';
import { canonical } from './canonical.js';
import { JsonError, latin1, outsideStrings, readJson, utf8, withoutMark } from './json.js';
import { Wire, WireError } from './protobuf.js';

/**
 * OTLP messages (opentelemetry-proto 1.x) from protobuf and from JSON, read once into one shape: what follows cannot
 * tell which it was.
 *
 * OTLP/JSON is not proto3 JSON (opentelemetry-proto/docs/specification.md, "JSON Protobuf Encoding"): ids are hex,
 * unknown fields are ignored, keys are lowerCamelCase. As the collector's receivers do, enums are also taken by name
 * and 64-bit integers as numbers. A base64 id is refused: it would be another id. Both readers take
 * `instrumentationLibrary*` of before 0.15 (field 1000).
 *
 * What is wrong inside one span or point costs only itself, as does a bad resource or scope with what it holds. Broken
 * framing, or JSON that is no JSON, costs the message: nothing after it can be trusted.
 */
const LIMITS = {
  /**
   * Attributes kept of one list (a span's, an event's, a resource's …); the first ones stay, flag
   * `attributes_truncated`.
   */
  attributes: 1_024,
  /** UTF-16 units kept of one attribute string; flag `string_truncated`. */
  attributeString: 65_536,
  /**
   * Nesting of arrays and maps in one attribute value; deeper is a fault. In JSON, maps past 13 are over the bound of
   * formats/json.ts first, which costs the message.
   */
  attributeDepth: 16,
  /** Bytes of one line of a JSON Lines file; longer is a fault that keeps the first `keptOfLine` bytes. */
  line: 64 * 1024 * 1024,
  keptOfLine: 65_536,
} as const; // spans and points of a message, events and links of a span are bounded by the message's bytes alone

/**
 * Attribute values as plain JSON: int64 as a number when that is exact, else a string; bytes in base64; NaN and
 * infinities as strings.
 */
export type AttributeValue = string | number | boolean | null | AttributeValue[] | Attributes;
export interface Attributes {
  [key: string]: AttributeValue;
}

export interface OtlpResource {
  readonly attributes: Attributes;
  readonly droppedAttributes: number;
  readonly flags: ReadonlySet<Flag>;
}

export interface OtlpScope extends OtlpResource {
  readonly name: string;
  readonly version: string;
}

export interface OtlpEvent {
  readonly timeUnixNano: bigint;
  readonly name: string;
  readonly attributes: Attributes;
  readonly droppedAttributes: number;
}

export interface OtlpLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceState: string;
  readonly attributes: Attributes;
  readonly droppedAttributes: number;
  readonly flags: number;
}

/** Ids are lower-case hex; `parentSpanId` is '' for a root. Enums are the wire's numbers. */
export interface OtlpSpan {
  readonly position: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly name: string;
  readonly kind: number;
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly attributes: Attributes;
  readonly droppedAttributes: number;
  readonly events: readonly OtlpEvent[];
  readonly droppedEvents: number;
  readonly links: readonly OtlpLink[];
  readonly droppedLinks: number;
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly traceFlags: number;
  readonly flags: ReadonlySet<Flag>;
}

/** The spans of one instrumentation scope of one resource. */
export interface ScopeSpans {
  readonly resource: OtlpResource;
  readonly scope: OtlpScope;
  readonly spans: OtlpSpan[];
}

/**
 * Where decoded records go: counts positions over a message or a file and gathers what is wrong with single records.
 */
export class Records {
  readonly faults: Fault[] = [];
  /** Put before each detail: the line of a file. */
  where = '';
  #next = 0;

  next(): number {
    return this.#next++;
  }

  /** Counts records that are passed over unread. */
  pass(count: number): void {
    this.#next += count;
  }

  /** Runs `read`. Where all of `raw` is unusable, what was gathered on the way is dropped and `raw` is one fault. */
  attempt<T>(raw: Uint8Array, read: () => T): T | undefined {
    const next = this.#next;
    const faults = this.faults.length;
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      this.#next = next;
      this.faults.length = faults;
      this.fault(error.reason, error.message, raw);
      return undefined;
    }
  }

  /** `attempt` for a message: one without any record is counted in `skipped`, so that its offset is accounted for. */
  message<T>(raw: Uint8Array, skipped: Map<string, number>, read: () => T): T | undefined {
    const next = this.#next;
    const groups = this.attempt(raw, read);
    if (this.#next === next) tally(skipped, 'empty_message');
    return groups;
  }

  fault(reason: FaultReason, detail: string, raw: Uint8Array | string, position = this.next()): void {
    this.faults.push({ reason, detail: `${this.where}${detail}`, raw, position });
  }
}

/** Something that cannot be evidence: caught at the record, scope, resource or message that it costs. */
export class Unusable extends Error {
  readonly reason: FaultReason;

  constructor(reason: FaultReason, detail: string) {
    super(detail);
    this.name = 'Unusable';
    this.reason = reason;
  }
}

/** TracesData (= ExportTraceServiceRequest) in either encoding. Throws Unusable where the whole message is none. */
export function readTraces(bytes: Uint8Array, records: Records): ScopeSpans[] {
  return readMessage(
    bytes,
    (message) => tracesFromJson(message, records),
    (wire) => tracesFromWire(wire, records),
  );
}

/** One line of the collector's file exporter. Throws Unusable where it is no TracesData. */
export function readTracesJson(line: Uint8Array, records: Records): ScopeSpans[] {
  return tracesFromJson(jsonMessage(line), records);
}

/* ---- telling the encodings apart ---- */

/**
 * A JSON message starts with `{`, after white space if any; a protobuf one with 0x0a, which is a line feed too. So
 * `\n{…` may be either (0x7b is also a length): it is JSON where it parses as JSON. Throws Unusable.
 */
export function readMessage<T>(bytes: Uint8Array, json: (message: Json) => T, protobuf: (wire: Wire) => T): T {
  const start = firstByte(bytes);
  if (bytes[start] !== BRACE) return fromWire(bytes, protobuf);
  if (bytes[0] !== LINE_FEED) return json(jsonMessage(bytes));
  let message: Json;
  try {
    message = jsonMessage(bytes);
  } catch (notJson) {
    try {
      return fromWire(bytes, protobuf);
    } catch {
      throw notJson;
    }
  }
  return json(message);
}

/** Index of the first byte that is neither white space nor a byte order mark. */
export function firstByte(bytes: Uint8Array): number {
  let start = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  while (start < bytes.length && isSpace(bytes[start]!)) start++;
  return start;
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === LINE_FEED || byte === 0x0d || byte === 0x09;
}

function fromWire<T>(bytes: Uint8Array, read: (wire: Wire) => T): T {
  try {
    return read(new Wire(bytes));
  } catch (error) {
    if (error instanceof WireError) throw new Unusable(error.reason, `no OTLP message: ${error.message}`);
    throw error;
  }
}

/** A Kafka value without its gzip, if it has one. Throws Unusable. */
export function inflated(value: Uint8Array, context: Context): Uint8Array {
  if (value[0] !== 0x1f || value[1] !== 0x8b) return value;
  try {
    return context.gunzip(value);
  } catch (error) {
    throw new Unusable('bad_gzip', error instanceof Error ? error.message : String(error));
  }
}

/**
 * The collector's file exporter: one JSON message a line, each decoded by `decode` into `out`. A last line without line
 * feed counts, as do CRLF ends; lines of white space do not.
 */
export function jsonLines<Row>(
  decode: (line: Uint8Array, records: Records, out: Required<Decoded<Row>>) => void,
  maxLine: number = LIMITS.line,
): FileDecoder<Row> {
  const records = new Records();
  let line = 0;
  let parts: Uint8Array[] = [];
  let length = 0;

  const add = (part: Uint8Array) => {
    if (length > maxLine) {
      length += part.length;
      return;
    }
    parts.push(part.slice()); // the caller may reuse its buffer
    length += part.length;
    if (length > maxLine) parts = [joined(parts).slice(0, LIMITS.keptOfLine)];
  };
  const finish = (out: Required<Decoded<Row>>) => {
    line++;
    const bytes = joined(parts);
    const whole = length;
    parts = [];
    length = 0;
    records.where = `line ${line}: `;
    if (whole > maxLine) {
      const kept = `${whole} bytes, more than ${maxLine}; the first ${bytes.length} are kept`;
      records.fault('too_large', kept, bytes);
    } else if (firstByte(bytes) < bytes.length) decode(bytes, records, out);
  };
  const drained = (out: Decoded<Row>) => {
    out.faults.push(...records.faults.splice(0));
    return out;
  };

  return {
    push(piece) {
      const out = nothing<Row>();
      let from = 0;
      for (let at = piece.indexOf(LINE_FEED); at >= 0; at = piece.indexOf(LINE_FEED, from)) {
        add(piece.subarray(from, at));
        finish(out);
        from = at + 1;
      }
      if (from < piece.length) add(piece.subarray(from));
      return drained(out);
    },
    end() {
      const out = nothing<Row>();
      if (length > 0) finish(out);
      return drained(out);
    },
  };
}

export function tally(skipped: Map<string, number>, reason: string, by = 1): void {
  skipped.set(reason, (skipped.get(reason) ?? 0) + by);
}

export function nothing<Row>(): Required<Decoded<Row>> {
  return { rows: [], faults: [], skipped: new Map(), missedScrapes: [] };
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/* ---- traces from protobuf ---- */

function tracesFromWire(wire: Wire, records: Records): ScopeSpans[] {
  return groupsFromWire(wire, records, (resource, scope) => {
    const group: ScopeSpans = { resource, scope, spans: [] };
    return {
      group,
      record: () => {
        const position = records.next();
        wireApart(wire, records, 'span', position, () => group.spans.push(spanFromWire(wire, position)));
      },
    };
  });
}

/**
 * The frame that traces and metrics share: message 1: resources {1: resource, 2: scopes {1: scope, 2: records}}. Fields
 * may come in any order, so resource and scope are read in a first pass over their message. Lengths make a pass over
 * the fields cheap.
 */
export function groupsFromWire<Group>(
  wire: Wire,
  records: Records,
  open: (resource: OtlpResource, scope: OtlpScope) => { group: Group; record: () => void },
): Group[] {
  const groups: Group[] = [];
  const scopeRecords = (resource: OtlpResource) => {
    const start = wire.offset;
    const scope = scopeFromWire(wire);
    wire.rewind(start);
    const { group, record } = open(resource, scope);
    while (wire.more()) {
      if (wire.tag() === 2) record();
      else wire.skip();
    }
    groups.push(group);
  };
  while (wire.more()) {
    if (wire.tag() !== 1) {
      wire.skip();
      continue;
    }
    wireApart(wire, records, 'resource', undefined, () => {
      const start = wire.offset;
      const resource = resourceFromWire(wire);
      wire.rewind(start);
      while (wire.more()) {
        const field = wire.tag();
        if (field === 2 || field === 1000) {
          wireApart(wire, records, 'scope', undefined, () => scopeRecords(resource));
        } else wire.skip();
      }
    });
  }
  return groups;
}

/** Reads one embedded message; what is unusable in it, while the framing holds, costs only this message. */
export function wireApart(
  wire: Wire,
  records: Records,
  what: string,
  position: number | undefined,
  read: () => void,
): void {
  const outer = wire.enter();
  const inner = wire.end;
  const start = wire.offset;
  try {
    read();
  } catch (error) {
    if (!(error instanceof Unusable) && !(error instanceof WireError && error.reason === 'bad_utf8')) throw error;
    const at = position ?? records.next();
    records.fault(error.reason, `${what} ${at}: ${error.message}`, wire.bytes.slice(start, inner), at);
  }
  wire.leave(outer, inner);
}

function resourceFromWire(wire: Wire): OtlpResource {
  const list = new AttributeList();
  let droppedAttributes = 0;
  while (wire.more()) {
    if (wire.tag() !== 1) {
      wire.skip();
      continue;
    }
    const outer = wire.enter();
    while (wire.more()) {
      switch (wire.tag()) {
        case 1:
          attributeFromWire(wire, list);
          break;
        case 2:
          droppedAttributes = wire.uint32();
          break;
        default:
          wire.skip();
      }
    }
    wire.leave(outer);
  }
  return { attributes: list.values, droppedAttributes, flags: list.flags };
}

function scopeFromWire(wire: Wire): OtlpScope {
  const list = new AttributeList();
  let name = '';
  let version = '';
  let droppedAttributes = 0;
  while (wire.more()) {
    if (wire.tag() !== 1) {
      wire.skip();
      continue;
    }
    const outer = wire.enter();
    while (wire.more()) {
      switch (wire.tag()) {
        case 1:
          name = wire.string();
          break;
        case 2:
          version = wire.string();
          break;
        case 3:
          attributeFromWire(wire, list);
          break;
        case 4:
          droppedAttributes = wire.uint32();
          break;
        default:
          wire.skip();
      }
    }
    wire.leave(outer);
  }
  return { name, version, attributes: list.values, droppedAttributes, flags: list.flags };
}

function spanFromWire(wire: Wire, position: number): OtlpSpan {
  const list = new AttributeList();
  const events: OtlpEvent[] = [];
  const links: OtlpLink[] = [];
  let traceId = '';
  let spanId = '';
  let parentSpanId = '';
  let traceState = '';
  let name = '';
  let kind = 0;
  let startUnixNano = 0n;
  let endUnixNano = 0n;
  let droppedAttributes = 0;
  let droppedEvents = 0;
  let droppedLinks = 0;
  let statusCode = 0;
  let statusMessage = '';
  let traceFlags = 0;
  while (wire.more()) {
    switch (wire.tag()) {
      case 1:
        traceId = idFromWire(wire, 16, 'trace_id');
        break;
      case 2:
        spanId = idFromWire(wire, 8, 'span_id');
        break;
      case 3:
        traceState = wire.string();
        break;
      case 4:
        parentSpanId = idFromWire(wire, 8, 'parent_span_id');
        break;
      case 5:
        name = wire.string();
        break;
      case 6:
        kind = wire.int32();
        break;
      case 7:
        startUnixNano = wire.fixed64();
        break;
      case 8:
        endUnixNano = wire.fixed64();
        break;
      case 9:
        attributeFromWire(wire, list);
        break;
      case 10:
        droppedAttributes = wire.uint32();
        break;
      case 11:
        events.push(eventFromWire(wire, list.flags));
        break;
      case 12:
        droppedEvents = wire.uint32();
        break;
      case 13:
        links.push(linkFromWire(wire, list.flags));
        break;
      case 14:
        droppedLinks = wire.uint32();
        break;
      case 15: {
        const outer = wire.enter();
        while (wire.more()) {
          const field = wire.tag();
          if (field === 2) statusMessage = wire.string();
          else if (field === 3) statusCode = wire.int32();
          else wire.skip();
        }
        wire.leave(outer);
        break;
      }
      case 16:
        traceFlags = wire.fixed32();
        break;
      default:
        wire.skip();
    }
  }
  return identified({
    position,
    traceId,
    spanId,
    parentSpanId,
    traceState,
    name,
    kind,
    startUnixNano,
    endUnixNano,
    attributes: list.values,
    droppedAttributes,
    events,
    droppedEvents,
    links,
    droppedLinks,
    statusCode,
    statusMessage,
    traceFlags,
    flags: list.flags,
  });
}

function eventFromWire(wire: Wire, flags: Set<Flag>): OtlpEvent {
  const list = new AttributeList(flags);
  let timeUnixNano = 0n;
  let name = '';
  let droppedAttributes = 0;
  const outer = wire.enter();
  while (wire.more()) {
    switch (wire.tag()) {
      case 1:
        timeUnixNano = wire.fixed64();
        break;
      case 2:
        name = wire.string();
        break;
      case 3:
        attributeFromWire(wire, list);
        break;
      case 4:
        droppedAttributes = wire.uint32();
        break;
      default:
        wire.skip();
    }
  }
  wire.leave(outer);
  return { timeUnixNano, name, attributes: list.values, droppedAttributes };
}

function linkFromWire(wire: Wire, flags: Set<Flag>): OtlpLink {
  const list = new AttributeList(flags);
  let traceId = '';
  let spanId = '';
  let traceState = '';
  let droppedAttributes = 0;
  let traceFlags = 0;
  const outer = wire.enter();
  while (wire.more()) {
    switch (wire.tag()) {
      case 1:
        traceId = idFromWire(wire, 16, 'trace_id of a link');
        break;
      case 2:
        spanId = idFromWire(wire, 8, 'span_id of a link');
        break;
      case 3:
        traceState = wire.string();
        break;
      case 4:
        attributeFromWire(wire, list);
        break;
      case 5:
        droppedAttributes = wire.uint32();
        break;
      case 6:
        traceFlags = wire.fixed32();
        break;
      default:
        wire.skip();
    }
  }
  wire.leave(outer);
  return { traceId, spanId, traceState, attributes: list.values, droppedAttributes, flags: traceFlags };
}

function idFromWire(wire: Wire, size: number, what: string): string {
  const id = wire.hex(size);
  if (id === undefined) throw new Unusable('bad_record', `${what} has not ${size} bytes`);
  return id;
}

/* ---- traces from JSON ---- */

function tracesFromJson(message: Json, records: Records): ScopeSpans[] {
  return groupsFromJson(message, 'Spans', records, (resource, scope, scopeSpans) => {
    const group: ScopeSpans = { resource, scope, spans: [] };
    for (const span of jsonList(scopeSpans.spans, 'spans')) {
      const position = records.next();
      jsonApart(span, records, 'span', position, () => group.spans.push(spanFromJson(span, position)));
    }
    return group;
  });
}

/** The frame of `resourceSpans` and `resourceMetrics`. Throws Unusable where the message has none. */
export function groupsFromJson<Group>(
  message: Json,
  signal: 'Spans' | 'Metrics',
  records: Records,
  open: (resource: OtlpResource, scope: OtlpScope, members: Json) => Group,
): Group[] {
  if (!Object.hasOwn(message, `resource${signal}`)) {
    if (Object.keys(message).length === 0) return []; // the empty message
    const found = Object.keys(message).slice(0, 3).join(', ').slice(0, 100);
    throw new Unusable('unknown_format', `no resource${signal} in this JSON object (its keys: ${found})`);
  }
  const groups: Group[] = [];
  for (const member of jsonList(message[`resource${signal}`], `resource${signal}`)) {
    jsonApart(member, records, 'resource', undefined, () => {
      const resourceMember = jsonObject(member, `resource${signal}`);
      const resource = resourceFromJson(jsonObject(resourceMember.resource, 'resource'));
      const scopes = [
        ...jsonList(resourceMember[`scope${signal}`], `scope${signal}`),
        ...jsonList(resourceMember[`instrumentationLibrary${signal}`], `instrumentationLibrary${signal}`),
      ];
      for (const scopeMember of scopes) {
        jsonApart(scopeMember, records, 'scope', undefined, () => {
          const members = jsonObject(scopeMember, `scope${signal}`);
          const scope = jsonObject(members.scope ?? members.instrumentationLibrary, 'scope');
          const name = jsonText(scope.name, 'scope name');
          const version = jsonText(scope.version, 'scope version');
          groups.push(open(resource, { ...resourceFromJson(scope), name, version }, members));
        });
      }
    });
  }
  return groups;
}

/** What is unusable in `value` costs only `value`. */
export function jsonApart(
  value: unknown,
  records: Records,
  what: string,
  position: number | undefined,
  read: () => void,
): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    const at = position ?? records.next();
    records.fault(error.reason, `${what} ${at}: ${error.message}`, JSON.stringify(value), at);
  }
}

function resourceFromJson(json: Json): OtlpResource {
  const list = new AttributeList();
  attributesFromJson(json.attributes, list);
  return { attributes: list.values, droppedAttributes: jsonUint32(json.droppedAttributesCount), flags: list.flags };
}

function spanFromJson(value: unknown, position: number): OtlpSpan {
  const span = jsonObject(value, 'span');
  const list = new AttributeList();
  attributesFromJson(span.attributes, list);
  const status = jsonObject(span.status, 'status');
  return identified({
    position,
    traceId: idFromJson(span.traceId, 16, 'traceId'),
    spanId: idFromJson(span.spanId, 8, 'spanId'),
    parentSpanId: idFromJson(span.parentSpanId, 8, 'parentSpanId'),
    traceState: jsonText(span.traceState, 'traceState'),
    name: jsonText(span.name, 'name'),
    kind: jsonEnum(span.kind, SPAN_KINDS, 'kind'),
    startUnixNano: jsonTime(span.startTimeUnixNano, 'startTimeUnixNano'),
    endUnixNano: jsonTime(span.endTimeUnixNano, 'endTimeUnixNano'),
    attributes: list.values,
    droppedAttributes: jsonUint32(span.droppedAttributesCount),
    events: jsonList(span.events, 'events').map((event) => eventFromJson(event, list.flags)),
    droppedEvents: jsonUint32(span.droppedEventsCount),
    links: jsonList(span.links, 'links').map((link) => linkFromJson(link, list.flags)),
    droppedLinks: jsonUint32(span.droppedLinksCount),
    statusCode: jsonEnum(status.code, STATUS_CODES, 'status code'),
    statusMessage: jsonText(status.message, 'status message'),
    traceFlags: jsonUint32(span.flags),
    flags: list.flags,
  });
}

function eventFromJson(value: unknown, flags: Set<Flag>): OtlpEvent {
  const event = jsonObject(value, 'event');
  const list = new AttributeList(flags);
  attributesFromJson(event.attributes, list);
  return {
    timeUnixNano: jsonTime(event.timeUnixNano, 'timeUnixNano of an event'),
    name: jsonText(event.name, 'event name'),
    attributes: list.values,
    droppedAttributes: jsonUint32(event.droppedAttributesCount),
  };
}

function linkFromJson(value: unknown, flags: Set<Flag>): OtlpLink {
  const link = jsonObject(value, 'link');
  const list = new AttributeList(flags);
  attributesFromJson(link.attributes, list);
  return {
    traceId: idFromJson(link.traceId, 16, 'traceId of a link'),
    spanId: idFromJson(link.spanId, 8, 'spanId of a link'),
    traceState: jsonText(link.traceState, 'traceState of a link'),
    attributes: list.values,
    droppedAttributes: jsonUint32(link.droppedAttributesCount),
    flags: jsonUint32(link.flags),
  };
}

function idFromJson(value: unknown, size: number, what: string): string {
  const id = jsonText(value, what);
  if (id === '' || (id.length === 2 * size && /^[0-9A-Fa-f]+$/.test(id))) return id.toLowerCase();
  const base64 = /^[A-Za-z0-9+/_-]+={0,2}$/.test(id) && Math.floor((id.replace(/=+$/, '').length * 3) / 4) === size;
  const hint = base64 ? 'looks like base64; OTLP/JSON writes ids' : 'is not written as';
  throw new Unusable('bad_record', `${what} ${hint} ${base64 ? 'as ' : ''}${2 * size} hexadecimal digits`);
}

/** A span without ids is no evidence of anything; a parent of zeros is none. */
function identified(span: OtlpSpan): OtlpSpan {
  if (span.traceId === '' || span.traceId === NO_TRACE)
    throw new Unusable('bad_record', 'the trace id is empty or zero');
  if (span.spanId === '' || span.spanId === NO_SPAN) throw new Unusable('bad_record', 'the span id is empty or zero');
  return span.parentSpanId === NO_SPAN ? { ...span, parentSpanId: '' } : span;
}

/* ---- attributes ---- */

/**
 * Keys must be unique (opentelemetry-proto): one key with two different values is refused, as which is meant depends on
 * the reader.
 */
export class AttributeList {
  readonly values: Attributes = Object.create(null);
  readonly flags: Set<Flag>;
  #size = 0;

  constructor(flags: Set<Flag> = new Set()) {
    this.flags = flags;
  }

  put(key: string, value: AttributeValue): void {
    if (key in this.values) {
      if (canonical(this.values[key]).text === canonical(value).text) return;
      throw new Unusable('duplicate_key', `attribute ${key.slice(0, 100)} stands twice with different values`);
    }
    if (this.#size === LIMITS.attributes) {
      this.flags.add('attributes_truncated');
      return;
    }
    if (key === '__proto__') this.flags.add('proto_key');
    this.values[key] = value;
    this.#size++;
  }
}

/** One KeyValue of a repeated field. */
export function attributeFromWire(wire: Wire, list: AttributeList, depth = 0): void {
  let key = '';
  let value: AttributeValue = null;
  const outer = wire.enter();
  while (wire.more()) {
    switch (wire.tag()) {
      case 1:
        key = wire.string();
        break;
      case 2:
        value = valueFromWire(wire, list.flags, depth);
        break;
      default:
        wire.skip();
    }
  }
  wire.leave(outer);
  list.put(key, value);
}

function valueFromWire(wire: Wire, flags: Set<Flag>, depth: number): AttributeValue {
  let value: AttributeValue = null;
  const outer = wire.enter();
  while (wire.more()) {
    switch (wire.tag()) {
      case 1:
        value = bounded(wire.string(), flags);
        break;
      case 2:
        value = wire.bool();
        break;
      case 3:
        value = plainInteger(wire.int64());
        break;
      case 4:
        value = plainDouble(wire.double());
        break;
      case 5:
        value = arrayFromWire(wire, flags, deeper(depth));
        break;
      case 6: {
        const list = new AttributeList(flags);
        const inside = wire.enter();
        while (wire.more()) {
          if (wire.tag() === 1) attributeFromWire(wire, list, deeper(depth));
          else wire.skip();
        }
        wire.leave(inside);
        value = list.values;
        break;
      }
      case 7:
        value = bounded(base64(wire.take()), flags);
        break;
      default:
        wire.skip();
    }
  }
  wire.leave(outer);
  return value;
}

function arrayFromWire(wire: Wire, flags: Set<Flag>, depth: number): AttributeValue[] {
  const values: AttributeValue[] = [];
  const outer = wire.enter();
  while (wire.more()) {
    if (wire.tag() === 1) values.push(valueFromWire(wire, flags, depth));
    else wire.skip();
  }
  wire.leave(outer);
  return values;
}

/** A list of KeyValue. */
export function attributesFromJson(value: unknown, list: AttributeList, depth = 0): void {
  for (const item of jsonList(value, 'attributes')) {
    const pair = jsonObject(item, 'attribute');
    list.put(jsonText(pair.key, 'attribute key'), valueFromJson(pair.value, list.flags, depth));
  }
}

function valueFromJson(value: unknown, flags: Set<Flag>, depth: number): AttributeValue {
  const any = jsonObject(value, 'attribute value');
  let plain: AttributeValue = null;
  let seen = '';
  for (const field of Object.keys(any)) {
    if (any[field] === null || !ANY_VALUE_FIELDS.has(field)) continue;
    if (seen !== '') throw new Unusable('bad_record', `an attribute value is both ${seen} and ${field}`);
    seen = field;
    plain = fieldFromJson(field, any[field], flags, depth);
  }
  return plain;
}

function fieldFromJson(field: string, value: unknown, flags: Set<Flag>, depth: number): AttributeValue {
  switch (field) {
    case 'stringValue':
      return bounded(jsonText(value, field), flags);
    case 'boolValue':
      return jsonBool(value, field);
    case 'intValue':
      return plainInteger(jsonInteger(value, field, -(2n ** 63n), 2n ** 63n - 1n));
    case 'doubleValue':
      return plainDouble(jsonDouble(value, field));
    case 'bytesValue':
      return bounded(plainBase64(jsonText(value, field)), flags);
    case 'arrayValue': {
      const inside = deeper(depth);
      const items = jsonList(jsonObject(value, field).values, field);
      return items.map((item) => valueFromJson(item, flags, inside));
    }
    default: {
      const list = new AttributeList(flags);
      attributesFromJson(jsonObject(value, field).values, list, deeper(depth));
      return list.values;
    }
  }
}

function deeper(depth: number): number {
  if (depth === LIMITS.attributeDepth) {
    throw new Unusable('too_deep', `an attribute value is nested deeper than ${LIMITS.attributeDepth}`);
  }
  return depth + 1;
}

function bounded(text: string, flags: Set<Flag>): string {
  if (text.length <= LIMITS.attributeString) return text;
  flags.add('string_truncated');
  const last = text.charCodeAt(LIMITS.attributeString - 1);
  const splitsPair = last >= 0xd800 && last < 0xdc00;
  return text.slice(0, LIMITS.attributeString - (splitsPair ? 1 : 0));
}

function plainInteger(value: number | bigint): number | string {
  return typeof value === 'number' ? value : String(value);
}

function plainDouble(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

function base64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary);
}

/** One spelling: the standard alphabet with padding. */
function plainBase64(text: string): string {
  try {
    return btoa(atob(text.replaceAll('-', '+').replaceAll('_', '/')));
  } catch {
    throw new Unusable('bad_record', 'a bytesValue is not base64');
  }
}

/* ---- times ---- */

/**
 * What is odd about event times: before 2006 (no CloudTrail, no OpenTelemetry, and clocks that were never set), past
 * what 63 bits of nanoseconds hold (2262), or more than a day after the caller's now.
 */
export function timeFlags(timeUnixNano: bigint, context: Context, flags: Set<Flag>): void {
  if (timeUnixNano === 0n) flags.add('zero_time');
  else if (timeUnixNano < YEAR_2006 || timeUnixNano > MAX_INT64) flags.add('impossible_time');
  if (context.nowUnixNano !== undefined && timeUnixNano > context.nowUnixNano + ONE_DAY) flags.add('future_time');
}

const YEAR_2006 = BigInt(Date.UTC(2006, 0, 1)) * 1_000_000n;
const MAX_INT64 = 2n ** 63n - 1n;
const ONE_DAY = 86_400_000_000_000n;

/* ---- JSON values; null stands for the default, as in proto3 JSON ---- */

export type Json = Readonly<Record<string, unknown>>;

/** The JSON object that `bytes` are, its integers past 2^53 as strings. Throws Unusable. */
export function jsonMessage(bytes: Uint8Array): Json {
  const message = jsonValue(bytes);
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    throw new Unusable('unknown_format', 'this JSON text is no object');
  }
  return message as Json;
}

function jsonValue(bytes: Uint8Array): unknown {
  try {
    const text = utf8(withoutMark(latin1(bytes)));
    const { value } = readJson(text);
    return LONG_INTEGER.test(text) ? JSON.parse(quoteLongIntegers(text)) : value;
  } catch (error) {
    if (error instanceof JsonError) throw new Unusable(error.reason, error.message);
    throw error;
  }
}

/**
 * OTLP/JSON may write 64-bit integers as JSON numbers, which JSON.parse rounds: 1710614934123456789 would become
 * …456800. As strings, the other form that OTLP allows, they stay exact. `text` is known to be JSON.
 */
function quoteLongIntegers(text: string): string {
  return outsideStrings(text, (part) => part.replace(LONG_INTEGERS, '"$&"'));
}

/** Perhaps inside of a string: then the text is read twice for nothing. */
const LONG_INTEGER = /[:,[]\s*-?[0-9]{16,}\s*[,\]}]/;
const LONG_INTEGERS = /(?<![0-9.eE+-])-?[0-9]{16,}(?![0-9.eE])/g;

export function jsonObject(value: unknown, what: string): Json {
  if (value === undefined || value === null) return NOTHING;
  if (typeof value !== 'object' || Array.isArray(value)) throw new Unusable('bad_record', `${what} is no JSON object`);
  return value as Json;
}

export function jsonList(value: unknown, what: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Unusable('bad_record', `${what} is no JSON array`);
  return value;
}

export function jsonText(value: unknown, what: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw new Unusable('bad_record', `${what} is no string`);
  return value;
}

export function jsonBool(value: unknown, what: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw new Unusable('bad_record', `${what} is neither true nor false`);
  return value;
}

export function jsonDouble(value: unknown, what: string): number {
  if (value === undefined || value === null) return 0;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (typeof value === 'string' && /^(?:NaN|-?Infinity|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/.test(value)) {
    return Number(value);
  }
  throw new Unusable('bad_record', `${what} is no double`);
}

/**
 * A number where that is exact, else a bigint. A JSON number past 2^53 that is left (1e18) was rounded, and is refused.
 */
export function jsonInteger(value: unknown, what: string, least: bigint, most: bigint): number | bigint {
  if (value === undefined || value === null) return 0;
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) throw new Unusable('bad_record', `${what} is no integer`);
    if (!Number.isSafeInteger(value)) throw new Unusable('bad_record', `${what} is past 2^53: write it as a string`);
  } else if (typeof value !== 'string' || !/^-?[0-9]{1,20}$/.test(value)) {
    throw new Unusable('bad_record', `${what} is no integer`);
  }
  const integer = BigInt(value);
  if (integer < least || integer > most) throw new Unusable('bad_record', `${what} is out of range`);
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

export function jsonUint64(value: unknown, what: string): bigint {
  return BigInt(jsonInteger(value, what, 0n, MAX_UINT64));
}

export function jsonUint32(value: unknown, what = 'a 32-bit number'): number {
  return Number(jsonInteger(value, what, 0n, 0xffff_ffffn));
}

/** Nanoseconds since 1970. */
export function jsonTime(value: unknown, what: string): bigint {
  try {
    return jsonUint64(value, what);
  } catch (error) {
    throw new Unusable('bad_time', error instanceof Error ? error.message : what);
  }
}

/** The number, or as the collector's receivers take it, the name. */
export function jsonEnum(value: unknown, names: readonly string[], what: string): number {
  if (typeof value !== 'string') return Number(jsonInteger(value, what, -(2n ** 31n), 2n ** 31n - 1n));
  const number = names.indexOf(value);
  if (number < 0) throw new Unusable('bad_record', `${what} ${value.slice(0, 100)} is unknown`);
  return number;
}

const BRACE = 0x7b;
const LINE_FEED = 0x0a;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const MAX_UINT64 = 2n ** 64n - 1n;
const NOTHING: Json = {};

const SPAN_KINDS = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'].map((k) => `SPAN_KIND_${k}`);
const STATUS_CODES = ['STATUS_CODE_UNSET', 'STATUS_CODE_OK', 'STATUS_CODE_ERROR'];
const ANY_VALUE_FIELDS = new Set([
  'stringValue',
  'boolValue',
  'intValue',
  'doubleValue',
  'arrayValue',
  'kvlistValue',
  'bytesValue',
]);
