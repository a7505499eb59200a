import type { Flag, MetricKind, MetricRow, MissedScrape } from '../../../shared/evidence.js';
import type { Context } from '../source.js';
import { countsDespiteItsType, keepsMetric } from './kept-metrics.js';
import { metricHash } from './metric-body.js';
import {
  AttributeList,
  attributesFromJson,
  groupsFromJson,
  groupsFromWire,
  type Json,
  jsonApart,
  jsonBool,
  jsonDouble,
  jsonEnum,
  jsonInteger,
  jsonList,
  jsonMessage,
  jsonObject,
  jsonText,
  jsonTime,
  jsonUint32,
  jsonUint64,
  type OtlpResource,
  type OtlpScope,
  type Records,
  readMessage,
  tally,
  timeFlags,
  Unusable,
  wireApart,
} from './otlp.js';
import { AttributeFields, NO_ATTRIBUTES, pointAttributes } from './point-attributes.js';
import type { Wire } from './protobuf.js';
import { identity } from './semconv.js';

/**
 * OTLP metrics → MetricRow, one row a point.
 *
 * | OTLP | row |
 * |---|---|
 * | Gauge | gauge; counter where etcd types an ever rising series as a gauge (kept-metrics.ts) |
 * | Sum, cumulative | counter where monotonic, else gauge |
 * | Histogram, cumulative | histogram; without buckets one bucket of `count` |
 * | ExponentialHistogram, cumulative | exponential_histogram, with the bounds that scale and offsets stand for |
 * | Summary | summary: bounds are the quantiles, counts their values |
 * | delta temporality | skipped, `delta_temporality`: our series are cumulative, deltas add up only if none is lost |
 * | no temporality | skipped, `unspecified_temporality`: OTLP forbids it |
 * | a family nobody reads | skipped, `metric_family` |
 *
 * Units, descriptions and exemplars are not kept.
 */
export interface ScopeMetrics {
  readonly rows: MetricRow[];
  readonly skipped: Map<string, number>;
  readonly missedScrapes: MissedScrape[];
}

/** MetricsData (= ExportMetricsServiceRequest) in either encoding. Throws Unusable where the whole message is none. */
export function readMetrics(bytes: Uint8Array, records: Records, context: Context): ScopeMetrics[] {
  return readMessage(
    bytes,
    (message) => metricsFromJson(message, records, context),
    (wire) => metricsFromWire(wire, records, context),
  );
}

/** One line of the collector's file exporter. Throws Unusable where it is no MetricsData. */
export function readMetricsJson(line: Uint8Array, records: Records, context: Context): ScopeMetrics[] {
  return metricsFromJson(jsonMessage(line), records, context);
}

/** One kind of metric: where its points are and how one is read, in each encoding. */
interface Shape {
  readonly kind: MetricKind;
  /** Field number and JSON key in Metric; both hold their points as field 1, `dataPoints`. */
  readonly field: number;
  readonly key: string;
  /** Field 2, `aggregationTemporality`. */
  readonly hasTemporality: boolean;
  readonly fromWire: (wire: Wire, point: Point) => void;
  readonly fromJson: (json: Json, point: Point) => void;
}

const shapes: readonly Shape[] = [
  { kind: 'gauge', field: 5, key: 'gauge', hasTemporality: false, fromWire: numberFromWire, fromJson: numberFromJson },
  { kind: 'counter', field: 7, key: 'sum', hasTemporality: true, fromWire: numberFromWire, fromJson: numberFromJson },
  {
    kind: 'histogram',
    field: 9,
    key: 'histogram',
    hasTemporality: true,
    fromWire: histogramFromWire,
    fromJson: histogramFromJson,
  },
  {
    kind: 'exponential_histogram',
    field: 10,
    key: 'exponentialHistogram',
    hasTemporality: true,
    fromWire: exponentialFromWire,
    fromJson: exponentialFromJson,
  },
  {
    kind: 'summary',
    field: 11,
    key: 'summary',
    hasTemporality: false,
    fromWire: summaryFromWire,
    fromJson: summaryFromJson,
  },
];

/** A data point of any kind while it is read. */
class Point {
  attributes = NO_ATTRIBUTES;
  /** Where they stand on the wire. */
  readonly fields = new AttributeFields();
  startUnixNano = 0n;
  timeUnixNano = 0n;
  flags = 0;
  value: number | null = null;
  count = 0;
  sum: number | null = null;
  bounds: number[] = [];
  counts: number[] = [];
  scale = 0;
  zeroCount = 0;
  zeroThreshold = 0;
  positive: Buckets = { offset: 0, counts: [] };
  negative: Buckets = { offset: 0, counts: [] };
}

interface Buckets {
  offset: number;
  counts: number[];
}

/* ---- from points to rows ---- */

/** The points of one instrumentation scope, as they come. */
class Gathering implements ScopeMetrics {
  readonly rows: MetricRow[] = [];
  readonly skipped = new Map<string, number>();
  readonly missedScrapes: MissedScrape[] = [];
  readonly #context: Context;
  readonly #service: string | null;
  readonly #instance: string | null;
  readonly #flags: ReadonlySet<Flag>;
  readonly #scraped: boolean;

  constructor(resource: OtlpResource, scope: OtlpScope, context: Context) {
    this.#context = context;
    this.#service = identity(resource.attributes).service;
    const instance = resource.attributes['service.instance.id'];
    this.#instance = typeof instance === 'string' && instance !== '' ? instance : null;
    this.#flags = new Set([...resource.flags, ...scope.flags]);
    this.#scraped = scope.name.endsWith('/prometheusreceiver');
  }

  /** `up` is no evidence, but where the collector scrapes, its zero says that a scrape failed. */
  keeps(metric: string): boolean {
    return keepsMetric(metric) || (metric === 'up' && this.#scraped && this.#instance !== null);
  }

  /** Throws Unusable where the point is none. */
  add(metric: string, kind: MetricKind, point: Point, position: number): void {
    const flags = new Set(this.#flags);
    for (const flag of point.attributes.flags) flags.add(flag);
    timeFlags(point.timeUnixNano, this.#context, flags);
    const values = (point.flags & NO_RECORDED_VALUE) === 0 ? measured(kind, point) : unmeasured;
    const { value, bounds, counts, sum, count } = values;
    if (values === unmeasured) flags.add('no_recorded_value');
    if (Number.isNaN(value) || Number.isNaN(sum) || (kind === 'summary' && counts?.some(Number.isNaN)))
      flags.add('not_a_number');
    if (!keepsMetric(metric)) {
      this.#health(value, point.timeUnixNano);
      return;
    }
    const row = {
      bodyHash: '',
      flags: flags.size === 0 ? NO_FLAGS : [...flags].sort(),
      position,
      timeUnixNano: point.timeUnixNano,
      startUnixNano: point.startUnixNano || null,
      metric,
      kind: kind === 'gauge' && countsDespiteItsType(metric) ? ('counter' as const) : kind,
      value,
      bounds,
      counts,
      sum,
      count,
      attributes: point.attributes.text,
      service: this.#service,
      instance: this.#instance,
    };
    row.bodyHash = metricHash(row);
    this.rows.push(row);
  }

  #health(value: number | null, timeUnixNano: bigint): void {
    if (value !== 0) {
      tally(this.skipped, 'metric_family');
      return;
    }
    tally(this.skipped, 'missed_scrape');
    this.missedScrapes.push({ service: this.#service, instance: this.#instance!, timeUnixNano });
  }
}

const NO_FLAGS: readonly Flag[] = [];

type Measured = Pick<MetricRow, 'value' | 'bounds' | 'counts' | 'sum' | 'count'>;

/**
 * The series ended or the scrape failed (DataPointFlags.NO_RECORDED_VALUE): a point without a value, whatever else it
 * holds.
 */
const unmeasured: Measured = { value: null, bounds: null, counts: null, sum: null, count: null };
const NO_RECORDED_VALUE = 1;

function measured(kind: MetricKind, point: Point): Measured {
  const { value, sum, count, bounds, counts } = point;
  switch (kind) {
    case 'histogram':
      return { value: null, ...explicitBuckets(point), sum, count };
    case 'exponential_histogram':
      return { value: null, ...exponentialBuckets(point), sum, count };
    case 'summary':
      return { value: null, bounds, counts, sum, count };
    default:
      if (value === null) throw new Unusable('bad_record', 'the point has no value');
      return { ...unmeasured, value };
  }
}

function explicitBuckets({ bounds, counts, count }: Point): { bounds: number[]; counts: number[] } {
  if (bounds.length === 0 && counts.length === 0) return { bounds, counts: [count] };
  if (counts.length !== bounds.length + 1) {
    throw new Unusable('bad_record', `${bounds.length} bounds with ${counts.length} counts`);
  }
  for (let i = 0; i < bounds.length; i++) {
    if (!(bounds[i]! > (bounds[i - 1] ?? Number.NEGATIVE_INFINITY))) {
      throw new Unusable('bad_record', 'the bounds do not rise');
    }
  }
  return { bounds, counts };
}

/**
 * Positive bucket i holds the values in (base^(offset+i), base^(offset+i+1)], base = 2^(2^-scale); negative ones mirror
 * it; the zero bucket lies within ±zeroThreshold (opentelemetry-specification, metrics/data-model,
 * "ExponentialHistogram"). Those edges are bounds like any other, so what reads histograms reads these. A bucket too
 * narrow for doubles to tell its edges apart joins the one below it.
 */
function exponentialBuckets(point: Point): { bounds: number[]; counts: number[] } {
  const { scale, zeroCount, zeroThreshold, positive, negative } = point;
  if (Math.abs(scale) > MAX_SCALE || !(zeroThreshold >= 0 && zeroThreshold < Number.POSITIVE_INFINITY)) {
    throw new Unusable('bad_record', 'an exponential histogram with an impossible scale or zero threshold');
  }
  if (positive.counts.length + negative.counts.length > MAX_BUCKETS) {
    throw new Unusable('too_large', `an exponential histogram of more than ${MAX_BUCKETS} buckets`);
  }
  const edge = (index: number) => 2 ** (index * 2 ** -scale);
  const bounds: number[] = [];
  const counts: number[] = [];
  let below = 0; // in buckets too low for a double: they join the first one that is not
  let beyond = 0;
  const upTo = (bound: number, count: number) => {
    if (bound === Number.POSITIVE_INFINITY) beyond += count;
    else if (bound > (bounds.at(-1) ?? Number.NEGATIVE_INFINITY)) {
      bounds.push(bound);
      counts.push(count + below);
      below = 0;
    } else if (bounds.length > 0) counts[counts.length - 1]! += count;
    else below += count;
  };
  const lowest = negative.counts.length;
  if (lowest > 0) upTo(-edge(negative.offset + lowest), 0);
  for (let i = lowest - 1; i >= 0; i--) upTo(-edge(negative.offset + i), negative.counts[i]!);
  if (lowest > 0 && zeroThreshold > 0) upTo(-zeroThreshold, 0);
  upTo(zeroThreshold, zeroCount);
  if (positive.counts.length > 0) upTo(edge(positive.offset), 0);
  for (const [i, count] of positive.counts.entries()) upTo(edge(positive.offset + i + 1), count);
  return { bounds, counts: [...counts, beyond] };
}

/** SDKs use -10 to 20 and 160 buckets. */
const MAX_SCALE = 64;
const MAX_BUCKETS = 65_536;

/* ---- from protobuf ---- */

function metricsFromWire(wire: Wire, records: Records, context: Context): ScopeMetrics[] {
  return groupsFromWire(wire, records, (resource, scope) => {
    const group = new Gathering(resource, scope, context);
    const record = () => wireApart(wire, records, 'metric', undefined, () => metricFromWire(wire, records, group));
    return { group, record };
  });
}

function metricFromWire(wire: Wire, records: Records, group: Gathering): void {
  const start = wire.offset;
  let name = '';
  while (wire.more()) {
    if (wire.tag() === 1) name = wire.string();
    else wire.skip();
  }
  wire.rewind(start);
  while (wire.more()) {
    const field = wire.tag();
    const shape = shapes.find((one) => one.field === field);
    if (shape) pointsFromWire(wire, shape, name, records, group);
    else wire.skip();
  }
}

function pointsFromWire(wire: Wire, shape: Shape, name: string, records: Records, group: Gathering): void {
  const outer = wire.enter();
  const start = wire.offset;
  let points = 0;
  let temporality = 0;
  let monotonic = false;
  while (wire.more()) {
    const field = wire.tag();
    if (field === 2 && shape.hasTemporality) temporality = wire.int32();
    else if (field === 3 && shape.kind === 'counter') monotonic = wire.bool();
    else {
      if (field === 1) points++;
      wire.skip();
    }
  }
  const kind = wanted(shape, name, temporality, monotonic, points, records, group);
  if (kind !== undefined) {
    wire.rewind(start);
    while (wire.more()) {
      if (wire.tag() !== 1) {
        wire.skip();
        continue;
      }
      const position = records.next();
      wireApart(wire, records, 'point', position, () => {
        const point = new Point();
        try {
          shape.fromWire(wire, point);
        } catch (error) {
          point.fields.readAnew(wire);
          throw error;
        }
        point.attributes = point.fields.read(wire);
        group.add(name, kind, point, position);
      });
    }
  }
  wire.leave(outer);
}

/** The row's kind; undefined where all points of the metric are passed over, which is then counted. */
function wanted(
  shape: Shape,
  name: string,
  temporality: number,
  monotonic: boolean,
  points: number,
  records: Records,
  group: Gathering,
): MetricKind | undefined {
  let reason: string | undefined;
  if (!group.keeps(name)) reason = 'metric_family';
  else if (shape.hasTemporality && temporality !== CUMULATIVE) {
    reason = temporality === DELTA ? 'delta_temporality' : 'unspecified_temporality';
  }
  if (reason === undefined) return shape.kind === 'counter' && !monotonic ? 'gauge' : shape.kind;
  if (points > 0) tally(group.skipped, reason, points);
  records.pass(points);
  return undefined;
}

const DELTA = 1;
const CUMULATIVE = 2;
const TEMPORALITIES = ['UNSPECIFIED', 'DELTA', 'CUMULATIVE'].map((word) => `AGGREGATION_TEMPORALITY_${word}`);

function numberFromWire(wire: Wire, point: Point): void {
  while (wire.more()) {
    switch (wire.tag()) {
      case 2:
        point.startUnixNano = wire.fixed64();
        break;
      case 3:
        point.timeUnixNano = wire.fixed64();
        break;
      case 4:
        point.value = wire.double();
        break;
      case 6:
        point.value = Number(wire.sfixed64());
        break;
      case 7:
        point.fields.pass(wire);
        break;
      case 8:
        point.flags = wire.uint32();
        break;
      default:
        wire.skip();
    }
  }
}

function histogramFromWire(wire: Wire, point: Point): void {
  while (wire.more()) {
    switch (wire.tag()) {
      case 2:
        point.startUnixNano = wire.fixed64();
        break;
      case 3:
        point.timeUnixNano = wire.fixed64();
        break;
      case 4:
        point.count = Number(wire.fixed64());
        break;
      case 5:
        point.sum = wire.double();
        break;
      case 6:
        wire.fixed64s(point.counts);
        break;
      case 7:
        wire.doubles(point.bounds);
        break;
      case 9:
        point.fields.pass(wire);
        break;
      case 10:
        point.flags = wire.uint32();
        break;
      default:
        wire.skip();
    }
  }
}

function exponentialFromWire(wire: Wire, point: Point): void {
  while (wire.more()) {
    switch (wire.tag()) {
      case 1:
        point.fields.pass(wire);
        break;
      case 2:
        point.startUnixNano = wire.fixed64();
        break;
      case 3:
        point.timeUnixNano = wire.fixed64();
        break;
      case 4:
        point.count = Number(wire.fixed64());
        break;
      case 5:
        point.sum = wire.double();
        break;
      case 6:
        point.scale = wire.sint32();
        break;
      case 7:
        point.zeroCount = Number(wire.fixed64());
        break;
      case 8:
        bucketsFromWire(wire, point.positive);
        break;
      case 9:
        bucketsFromWire(wire, point.negative);
        break;
      case 10:
        point.flags = wire.uint32();
        break;
      case 14:
        point.zeroThreshold = wire.double();
        break;
      default:
        wire.skip();
    }
  }
}

function bucketsFromWire(wire: Wire, buckets: Buckets): void {
  const outer = wire.enter();
  while (wire.more()) {
    switch (wire.tag()) {
      case 1:
        buckets.offset = wire.sint32();
        break;
      case 2:
        wire.uint64s(buckets.counts);
        break;
      default:
        wire.skip();
    }
  }
  wire.leave(outer);
}

function summaryFromWire(wire: Wire, point: Point): void {
  point.sum = 0; // no presence: absent is 0
  while (wire.more()) {
    switch (wire.tag()) {
      case 2:
        point.startUnixNano = wire.fixed64();
        break;
      case 3:
        point.timeUnixNano = wire.fixed64();
        break;
      case 4:
        point.count = Number(wire.fixed64());
        break;
      case 5:
        point.sum = wire.double();
        break;
      case 6: {
        let quantile = 0;
        let value = 0;
        const outer = wire.enter();
        while (wire.more()) {
          const field = wire.tag();
          if (field === 1) quantile = wire.double();
          else if (field === 2) value = wire.double();
          else wire.skip();
        }
        wire.leave(outer);
        point.bounds.push(quantile);
        point.counts.push(value);
        break;
      }
      case 7:
        point.fields.pass(wire);
        break;
      case 8:
        point.flags = wire.uint32();
        break;
      default:
        wire.skip();
    }
  }
}

/* ---- from JSON ---- */

function metricsFromJson(message: Json, records: Records, context: Context): ScopeMetrics[] {
  return groupsFromJson(message, 'Metrics', records, (resource, scope, members) => {
    const group = new Gathering(resource, scope, context);
    for (const metric of jsonList(members.metrics, 'metrics')) {
      jsonApart(metric, records, 'metric', undefined, () => metricFromJson(metric, records, group));
    }
    return group;
  });
}

function metricFromJson(value: unknown, records: Records, group: Gathering): void {
  const metric = jsonObject(value, 'metric');
  const name = jsonText(metric.name, 'metric name');
  for (const shape of shapes) {
    const data = metric[shape.key];
    if (data !== undefined && data !== null) {
      pointsFromJson(jsonObject(data, shape.key), shape, name, records, group);
    }
  }
}

function pointsFromJson(data: Json, shape: Shape, name: string, records: Records, group: Gathering): void {
  const points = jsonList(data.dataPoints, 'dataPoints');
  const temporality = jsonEnum(data.aggregationTemporality, TEMPORALITIES, 'aggregationTemporality');
  const monotonic = jsonBool(data.isMonotonic, 'isMonotonic');
  const kind = wanted(shape, name, temporality, monotonic, points.length, records, group);
  if (kind === undefined) return;
  for (const value of points) {
    const position = records.next();
    jsonApart(value, records, 'point', position, () => {
      const json = jsonObject(value, 'point');
      const point = new Point();
      const list = new AttributeList();
      attributesFromJson(json.attributes, list);
      point.attributes = pointAttributes(list);
      point.startUnixNano = jsonTime(json.startTimeUnixNano, 'startTimeUnixNano');
      point.timeUnixNano = jsonTime(json.timeUnixNano, 'timeUnixNano');
      point.flags = jsonUint32(json.flags, 'flags');
      shape.fromJson(json, point);
      group.add(name, kind, point, position);
    });
  }
}

function numberFromJson(json: Json, point: Point): void {
  const { asDouble, asInt } = json;
  if (isGiven(asDouble) && isGiven(asInt)) throw new Unusable('bad_record', 'a value both asDouble and asInt');
  if (isGiven(asDouble)) point.value = jsonDouble(asDouble, 'asDouble');
  if (isGiven(asInt)) point.value = Number(jsonInteger(asInt, 'asInt', -(2n ** 63n), 2n ** 63n - 1n));
}

function histogramFromJson(json: Json, point: Point): void {
  point.count = jsonCount(json.count, 'count');
  if (isGiven(json.sum)) point.sum = jsonDouble(json.sum, 'sum');
  point.counts = jsonList(json.bucketCounts, 'bucketCounts').map((count) => jsonCount(count, 'a bucket count'));
  point.bounds = jsonList(json.explicitBounds, 'explicitBounds').map((bound) => jsonDouble(bound, 'a bound'));
}

function exponentialFromJson(json: Json, point: Point): void {
  point.count = jsonCount(json.count, 'count');
  if (isGiven(json.sum)) point.sum = jsonDouble(json.sum, 'sum');
  point.scale = jsonInt32(json.scale, 'scale');
  point.zeroCount = jsonCount(json.zeroCount, 'zeroCount');
  point.zeroThreshold = jsonDouble(json.zeroThreshold, 'zeroThreshold');
  point.positive = bucketsFromJson(json.positive);
  point.negative = bucketsFromJson(json.negative);
}

function bucketsFromJson(value: unknown): Buckets {
  const buckets = jsonObject(value, 'buckets');
  return {
    offset: jsonInt32(buckets.offset, 'offset'),
    counts: jsonList(buckets.bucketCounts, 'bucketCounts').map((count) => jsonCount(count, 'a bucket count')),
  };
}

function summaryFromJson(json: Json, point: Point): void {
  point.count = jsonCount(json.count, 'count');
  point.sum = jsonDouble(json.sum, 'sum');
  for (const item of jsonList(json.quantileValues, 'quantileValues')) {
    const at = jsonObject(item, 'quantile value');
    point.bounds.push(jsonDouble(at.quantile, 'quantile'));
    point.counts.push(jsonDouble(at.value, 'value of a quantile'));
  }
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function jsonCount(value: unknown, what: string): number {
  return Number(jsonUint64(value, what));
}

function jsonInt32(value: unknown, what: string): number {
  return Number(jsonInteger(value, what, -(2n ** 31n), 2n ** 31n - 1n));
}
