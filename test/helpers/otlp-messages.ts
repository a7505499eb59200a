import fc from 'fast-check';
import protobuf from 'protobufjs';

/**
 * OTLP's messages as protobufjs knows them, from opentelemetry-proto v1.11.0 by hand: an encoder that shares nothing
 * with ours. Test messages are written once, as OTLP/JSON; `tracesProto` and `metricsProto` say the same in protobuf.
 */
export type Json = Record<string, unknown>;

export function tracesProto(message: Json): Uint8Array {
  return encode('TracesData', message);
}

export function metricsProto(message: Json): Uint8Array {
  return encode('MetricsData', message);
}

/** What protobufjs reads in these bytes, as OTLP/JSON. */
export function tracesByOracle(bytes: Uint8Array): Json {
  const type = root.lookupType('TracesData');
  return { resourceSpans: [], ...(hexIds(toJson(type, bytes)) as Json) };
}

export function metricsByOracle(bytes: Uint8Array): Json {
  const type = root.lookupType('MetricsData');
  return { resourceMetrics: [], ...toJson(type, bytes) };
}

/** As whoever has protobufjs and the schema reads a message. */
export function decoder(name: 'TracesData' | 'MetricsData'): (bytes: Uint8Array) => object {
  const type = root.lookupType(name);
  return (bytes) => type.decode(bytes);
}

function toJson(type: protobuf.Type, bytes: Uint8Array): Json {
  return type.toObject(type.decode(bytes), { longs: String, bytes: String, json: true });
}

function encode(name: string, message: Json): Uint8Array {
  const type = root.lookupType(name);
  return type.encode(type.fromObject(base64Ids(message) as Json)).finish();
}

const IDS = new Set(['traceId', 'spanId', 'parentSpanId']);

function base64Ids(value: unknown): unknown {
  return mapIds(value, (id) => Buffer.from(id, 'hex').toString('base64'));
}

function hexIds(value: unknown): unknown {
  return mapIds(value, (id) => Buffer.from(id, 'base64').toString('hex'));
}

function mapIds(value: unknown, change: (id: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => mapIds(item, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      IDS.has(key) && typeof item === 'string' ? change(item) : mapIds(item, change),
    ]),
  );
}

type Fields = Record<string, [id: number, type: string, rule?: 'repeated' | 'optional']>;

function message(fields: Fields, oneofs: Record<string, { oneof: string[] }> = {}): protobuf.IType {
  return {
    oneofs,
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, [id, type, rule]]) => [
        name,
        rule === 'repeated'
          ? { id, type, rule }
          : { id, type, ...(rule === 'optional' && { options: { proto3_optional: true } }) },
      ]),
    ),
  };
}

const anyValue = ['stringValue', 'boolValue', 'intValue', 'doubleValue', 'arrayValue', 'kvlistValue', 'bytesValue'];

const root = protobuf.Root.fromJSON({
  nested: {
    TracesData: message({ resourceSpans: [1, 'ResourceSpans', 'repeated'] }),
    ResourceSpans: message({
      resource: [1, 'Resource'],
      scopeSpans: [2, 'ScopeSpans', 'repeated'],
      schemaUrl: [3, 'string'],
      instrumentationLibrarySpans: [1000, 'InstrumentationLibrarySpans', 'repeated'],
    }),
    Resource: message({ attributes: [1, 'KeyValue', 'repeated'], droppedAttributesCount: [2, 'uint32'] }),
    ScopeSpans: message({ scope: [1, 'Scope'], spans: [2, 'Span', 'repeated'], schemaUrl: [3, 'string'] }),
    InstrumentationLibrarySpans: message({
      instrumentationLibrary: [1, 'Scope'],
      spans: [2, 'Span', 'repeated'],
    }),
    Scope: message({
      name: [1, 'string'],
      version: [2, 'string'],
      attributes: [3, 'KeyValue', 'repeated'],
      droppedAttributesCount: [4, 'uint32'],
    }),
    KeyValue: message({ key: [1, 'string'], value: [2, 'AnyValue'] }),
    AnyValue: message(
      {
        stringValue: [1, 'string'],
        boolValue: [2, 'bool'],
        intValue: [3, 'int64'],
        doubleValue: [4, 'double'],
        arrayValue: [5, 'ArrayValue'],
        kvlistValue: [6, 'KeyValueList'],
        bytesValue: [7, 'bytes'],
      },
      { value: { oneof: anyValue } },
    ),
    ArrayValue: message({ values: [1, 'AnyValue', 'repeated'] }),
    KeyValueList: message({ values: [1, 'KeyValue', 'repeated'] }),
    Span: message({
      traceId: [1, 'bytes'],
      spanId: [2, 'bytes'],
      traceState: [3, 'string'],
      parentSpanId: [4, 'bytes'],
      name: [5, 'string'],
      kind: [6, 'int32'],
      startTimeUnixNano: [7, 'fixed64'],
      endTimeUnixNano: [8, 'fixed64'],
      attributes: [9, 'KeyValue', 'repeated'],
      droppedAttributesCount: [10, 'uint32'],
      events: [11, 'Event', 'repeated'],
      droppedEventsCount: [12, 'uint32'],
      links: [13, 'Link', 'repeated'],
      droppedLinksCount: [14, 'uint32'],
      status: [15, 'Status'],
      flags: [16, 'fixed32'],
    }),
    Event: message({
      timeUnixNano: [1, 'fixed64'],
      name: [2, 'string'],
      attributes: [3, 'KeyValue', 'repeated'],
      droppedAttributesCount: [4, 'uint32'],
    }),
    Link: message({
      traceId: [1, 'bytes'],
      spanId: [2, 'bytes'],
      traceState: [3, 'string'],
      attributes: [4, 'KeyValue', 'repeated'],
      droppedAttributesCount: [5, 'uint32'],
      flags: [6, 'fixed32'],
    }),
    Status: message({ message: [2, 'string'], code: [3, 'int32'] }),

    MetricsData: message({ resourceMetrics: [1, 'ResourceMetrics', 'repeated'] }),
    ResourceMetrics: message({ resource: [1, 'Resource'], scopeMetrics: [2, 'ScopeMetrics', 'repeated'] }),
    ScopeMetrics: message({ scope: [1, 'Scope'], metrics: [2, 'Metric', 'repeated'] }),
    Metric: message(
      {
        name: [1, 'string'],
        description: [2, 'string'],
        unit: [3, 'string'],
        gauge: [5, 'Gauge'],
        sum: [7, 'Sum'],
        histogram: [9, 'Histogram'],
        exponentialHistogram: [10, 'ExponentialHistogram'],
        summary: [11, 'Summary'],
      },
      { data: { oneof: ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'] } },
    ),
    Gauge: message({ dataPoints: [1, 'NumberDataPoint', 'repeated'] }),
    Sum: message({
      dataPoints: [1, 'NumberDataPoint', 'repeated'],
      aggregationTemporality: [2, 'int32'],
      isMonotonic: [3, 'bool'],
    }),
    Histogram: message({
      dataPoints: [1, 'HistogramDataPoint', 'repeated'],
      aggregationTemporality: [2, 'int32'],
    }),
    ExponentialHistogram: message({
      dataPoints: [1, 'ExponentialHistogramDataPoint', 'repeated'],
      aggregationTemporality: [2, 'int32'],
    }),
    Summary: message({ dataPoints: [1, 'SummaryDataPoint', 'repeated'] }),
    NumberDataPoint: message(
      {
        startTimeUnixNano: [2, 'fixed64'],
        timeUnixNano: [3, 'fixed64'],
        asDouble: [4, 'double'],
        asInt: [6, 'sfixed64'],
        attributes: [7, 'KeyValue', 'repeated'],
        flags: [8, 'uint32'],
      },
      { value: { oneof: ['asDouble', 'asInt'] } },
    ),
    HistogramDataPoint: message({
      startTimeUnixNano: [2, 'fixed64'],
      timeUnixNano: [3, 'fixed64'],
      count: [4, 'fixed64'],
      sum: [5, 'double', 'optional'],
      bucketCounts: [6, 'fixed64', 'repeated'],
      explicitBounds: [7, 'double', 'repeated'],
      attributes: [9, 'KeyValue', 'repeated'],
      flags: [10, 'uint32'],
      min: [11, 'double', 'optional'],
      max: [12, 'double', 'optional'],
    }),
    ExponentialHistogramDataPoint: message({
      attributes: [1, 'KeyValue', 'repeated'],
      startTimeUnixNano: [2, 'fixed64'],
      timeUnixNano: [3, 'fixed64'],
      count: [4, 'fixed64'],
      sum: [5, 'double', 'optional'],
      scale: [6, 'sint32'],
      zeroCount: [7, 'fixed64'],
      positive: [8, 'Buckets'],
      negative: [9, 'Buckets'],
      flags: [10, 'uint32'],
      zeroThreshold: [14, 'double'],
    }),
    Buckets: message({ offset: [1, 'sint32'], bucketCounts: [2, 'uint64', 'repeated'] }),
    SummaryDataPoint: message({
      startTimeUnixNano: [2, 'fixed64'],
      timeUnixNano: [3, 'fixed64'],
      count: [4, 'fixed64'],
      sum: [5, 'double'],
      quantileValues: [6, 'ValueAtQuantile', 'repeated'],
      attributes: [7, 'KeyValue', 'repeated'],
      flags: [8, 'uint32'],
    }),
    ValueAtQuantile: message({ quantile: [1, 'double'], value: [2, 'double'] }),
  },
});

/* ---- random messages, as OTLP/JSON ---- */

const string = fc.string({ unit: 'grapheme', maxLength: 80 });
const id = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .filter((id) => id.some((byte) => byte !== 0))
    .map((id) => Buffer.from(id).toString('hex'));
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const double = fc.double().map((x) => (Number.isFinite(x) ? x + 0 : String(x)));

const { value: attributeValue } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    fc.record({ stringValue: string }),
    fc.record({ boolValue: fc.boolean() }),
    fc.record({ intValue: int64 }),
    fc.record({ doubleValue: double }),
    fc.record({ bytesValue: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('base64')) }),
    fc.constant({}),
    fc.record({ arrayValue: fc.record({ values: fc.array(tie('value'), { maxLength: 3 }) }) }),
    fc.record({ kvlistValue: fc.record({ values: pairs(tie('value')) }) }),
  ),
}));

function pairs(value: fc.Arbitrary<Json>): fc.Arbitrary<Json[]> {
  const key = fc.oneof(string, fc.constantFrom('__proto__', 'constructor', 'toString', 'http.route', 'rpc.method'));
  return fc.uniqueArray(fc.record({ key, value }), { selector: (pair) => pair.key, maxLength: 5 });
}

const attributes = pairs(attributeValue);
const resource = fc.record({ attributes, droppedAttributesCount: uint32 }, { requiredKeys: [] });
const scope = fc.record({ name: string, version: string, attributes }, { requiredKeys: [] });

const span = fc.record(
  {
    traceId: id(16),
    spanId: id(8),
    parentSpanId: id(8),
    traceState: string,
    name: string,
    kind: fc.integer({ min: 0, max: 6 }),
    startTimeUnixNano: uint64,
    endTimeUnixNano: uint64,
    attributes,
    droppedAttributesCount: uint32,
    events: fc.array(
      fc.record(
        { timeUnixNano: uint64, name: fc.oneof(string, fc.constant('exception')), attributes },
        { requiredKeys: [] },
      ),
      { maxLength: 3 },
    ),
    droppedEventsCount: uint32,
    links: fc.array(
      fc.record({ traceId: id(16), spanId: id(8), attributes, flags: uint32 }, { requiredKeys: ['traceId', 'spanId'] }),
      { maxLength: 2 },
    ),
    droppedLinksCount: uint32,
    status: fc.record({ code: fc.integer({ min: 0, max: 3 }), message: string }, { requiredKeys: [] }),
    flags: uint32,
  },
  { requiredKeys: ['traceId', 'spanId'] },
);

export const randomTraces: fc.Arbitrary<Json> = fc.record({
  resourceSpans: fc.array(
    fc.record(
      {
        resource,
        scopeSpans: fc.array(
          fc.record({ scope, spans: fc.array(span, { maxLength: 4 }) }, { requiredKeys: ['spans'] }),
          { maxLength: 2 },
        ),
      },
      { requiredKeys: ['scopeSpans'] },
    ),
    { maxLength: 2 },
  ),
});

const timed = { startTimeUnixNano: uint64, timeUnixNano: uint64, attributes, flags: fc.constantFrom(0, 0, 0, 1) };
const given = ['timeUnixNano'] as const;
const temporality = fc.constantFrom(0, 1, 2, 2, 2, 2);
const points = <T>(point: fc.Arbitrary<T>) => fc.array(point, { maxLength: 3 });

const numberPoint = fc.oneof(
  fc.record({ ...timed, asDouble: double }, { requiredKeys: [...given, 'asDouble'] }),
  fc.record({ ...timed, asInt: int64 }, { requiredKeys: [...given, 'asInt'] }),
  fc.record(timed, { requiredKeys: [...given] }),
);
const histogramPoint = fc
  .uniqueArray(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
    { maxLength: 6 },
  )
  .map((bounds) => bounds.sort((a, b) => a - b))
  .chain((explicitBounds) =>
    fc.record(
      {
        ...timed,
        count: uint64,
        sum: double,
        explicitBounds: fc.constant(explicitBounds),
        bucketCounts: fc.array(uint64, { minLength: explicitBounds.length + 1, maxLength: explicitBounds.length + 1 }),
      },
      { requiredKeys: [...given, 'explicitBounds', 'bucketCounts'] },
    ),
  );
const buckets = fc.record({ offset: fc.integer({ min: -500, max: 500 }), bucketCounts: fc.array(uint64) });
const exponentialPoint = fc.record(
  {
    ...timed,
    count: uint64,
    sum: double,
    scale: fc.integer({ min: -10, max: 20 }),
    zeroCount: uint64,
    zeroThreshold: fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }),
    positive: buckets,
    negative: buckets,
  },
  { requiredKeys: [...given] },
);
const summaryPoint = fc.record(
  {
    ...timed,
    count: uint64,
    sum: double,
    quantileValues: fc.array(fc.record({ quantile: double, value: double }), { maxLength: 4 }),
  },
  { requiredKeys: [...given] },
);

const name = fc.constantFrom('etcd_mvcc_put_total', 'go_goroutines', 'etcd_disk_wal_write_bytes_total', 'demo.other');
const metric = fc.oneof(
  fc.record({ name, gauge: fc.record({ dataPoints: points(numberPoint) }) }),
  fc.record({
    name,
    sum: fc.record({ dataPoints: points(numberPoint), aggregationTemporality: temporality, isMonotonic: fc.boolean() }),
  }),
  fc.record({
    name,
    histogram: fc.record({ dataPoints: points(histogramPoint), aggregationTemporality: temporality }),
  }),
  fc.record({
    name,
    exponentialHistogram: fc.record({ dataPoints: points(exponentialPoint), aggregationTemporality: temporality }),
  }),
  fc.record({ name, summary: fc.record({ dataPoints: points(summaryPoint) }) }),
);

export const randomMetrics: fc.Arbitrary<Json> = fc.record({
  resourceMetrics: fc.array(
    fc.record(
      {
        resource,
        scopeMetrics: fc.array(
          fc.record({ scope, metrics: fc.array(metric, { maxLength: 4 }) }, { requiredKeys: ['metrics'] }),
          { maxLength: 2 },
        ),
      },
      { requiredKeys: ['scopeMetrics'] },
    ),
    { maxLength: 2 },
  ),
});

/** Bytes as a bad disk or a bad producer would leave them: cut, changed, doubled. */
export function damaged(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(
      bytes,
      fc.nat(),
      fc.nat(),
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc.constantFrom('cut', 'set', 'add'),
    )
    .map(([whole, a, b, noise, how]) => {
      const at = whole.length === 0 ? 0 : a % whole.length;
      if (how === 'cut') return whole.slice(0, at);
      const after = how === 'set' ? at + noise.length : Math.min(at, b % (whole.length + 1));
      return Uint8Array.from([...whole.slice(0, at), ...noise, ...whole.slice(after)]);
    });
}
