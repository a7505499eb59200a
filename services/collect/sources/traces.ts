import type { Flag, SpanKind, SpanRow } from '../../../shared/evidence.js';
import { sha256 } from '../../../shared/hash.js';
import { canonical } from '../formats/canonical.js';
import {
  inflated,
  jsonLines,
  nothing,
  type OtlpEvent,
  type OtlpLink,
  type OtlpSpan,
  Records,
  readTraces,
  readTracesJson,
  type ScopeSpans,
  timeFlags,
} from '../formats/otlp.js';
import { conventions, identity } from '../formats/semconv.js';
import type { Context, Source } from '../source.js';

/**
 * OpenTelemetry traces: TracesData in protobuf or JSON on Kafka (the collector's kafka exporter), JSON lines in a case.
 */
export const traces: Source<SpanRow> = {
  name: 'traces',
  evidence: 'traces',
  topic: 'otlp_spans',

  decode(value, context) {
    const out = nothing<SpanRow>();
    const records = new Records();
    const groups = records.message(value, out.skipped, () => readTraces(inflated(value, context), records));
    for (const row of rows(groups, context)) out.rows.push(row);
    out.faults.push(...records.faults);
    return out;
  },

  file(context) {
    return jsonLines((line, records, out) => {
      const groups = records.message(line, out.skipped, () => readTracesJson(line, records));
      for (const row of rows(groups, context)) out.rows.push(row);
    });
  },

  examples: [
    {
      title: 'a client span of an etcd put, old conventions',
      given: example({
        name: 'etcd put',
        kind: 3,
        attributes: [
          { key: 'rpc.system', value: { stringValue: 'grpc' } },
          { key: 'rpc.service', value: { stringValue: 'etcdserverpb.KV' } },
          { key: 'rpc.method', value: { stringValue: 'Put' } },
          { key: 'rpc.grpc.status_code', value: { intValue: '8' } },
          { key: 'net.peer.name', value: { stringValue: 'etcd-0' } },
          { key: 'net.peer.port', value: { intValue: '2379' } },
        ],
      }),
      rows: [
        {
          traceId: '5b8efff798038103d269b633813fc60c',
          service: 'config-api',
          kind: 'client',
          operation: 'etcdserverpb.KV/Put',
          target: 'etcd-0:2379',
          rpcStatus: 'RESOURCE_EXHAUSTED',
        },
      ],
    },
    {
      title: 'a span that ends before it starts is kept and flagged',
      given: example({ startTimeUnixNano: '1710614934000000001', endTimeUnixNano: '1710614934000000000' }),
      rows: [{ flags: ['end_before_start'] }],
    },
    {
      title: 'ids in base64, as proto3 JSON would write them',
      given: example({ traceId: 'W47/95gDgQPSabYzgT/GDA==' }),
      fault: 'bad_record',
    },
    { title: 'metrics on the topic of traces', given: '{"resourceMetrics":[]}', fault: 'unknown_format' },
    { title: 'protobuf cut short', given: Uint8Array.of(0x0a, 0x10, 0x12), fault: 'bad_protobuf' },
    { title: 'a resource without spans', given: '{"resourceSpans":[{"resource":{}}]}', skipped: 'empty_message' },
  ],
};

function* rows(groups: readonly ScopeSpans[] = [], context: Context): Generator<SpanRow> {
  for (const { resource, scope, spans } of groups) {
    const emitter = {
      ...identity(resource.attributes),
      resource: JSON.stringify(resource.attributes),
      scopeName: scope.name,
      flags: [...resource.flags, ...scope.flags],
      // Canonical text ends where it ends, so the parts of a body can stand one after the other.
      body: canonical([
        [resource.attributes, resource.droppedAttributes],
        [scope.name, scope.version, scope.attributes, scope.droppedAttributes],
      ]).text,
    };
    for (const span of spans) yield row(span, emitter, context);
  }
}

interface Emitter {
  readonly service: string | null;
  readonly scope: string | null;
  readonly instance: string | null;
  readonly resource: string;
  readonly scopeName: string;
  readonly flags: readonly Flag[];
  readonly body: string;
}

function row(span: OtlpSpan, emitter: Emitter, context: Context): SpanRow {
  const kind = kinds[span.kind] ?? 'unspecified';
  return {
    bodyHash: sha256(emitter.body + canonical(content(span)).text),
    flags: flagsOf(span, emitter, context),
    position: span.position,
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId || null,
    traceState: span.traceState || null,
    service: emitter.service,
    scope: emitter.scope,
    instance: emitter.instance,
    name: span.name,
    kind,
    startUnixNano: span.startUnixNano,
    endUnixNano: span.endUnixNano,
    status: statuses[span.statusCode] ?? 'unset',
    statusMessage: span.statusMessage || null,
    ...conventions({
      name: span.name,
      kind,
      traceState: span.traceState,
      attributes: span.attributes,
      events: span.events,
      scopeName: emitter.scopeName,
    }),
    dropped: dropped(span),
    attributes: JSON.stringify(span.attributes),
    resource: emitter.resource,
    events: span.events.length === 0 ? '[]' : JSON.stringify(span.events.map(plainEvent)),
    links: span.links.length === 0 ? '[]' : JSON.stringify(span.links.map(plainLink)),
  };
}

function dropped(span: OtlpSpan): number {
  const inside = [...span.events, ...span.links].reduce((sum, { droppedAttributes }) => sum + droppedAttributes, 0);
  return span.droppedAttributes + span.droppedEvents + span.droppedLinks + inside;
}

/**
 * All that the wire said of the span, so that two different spans never share a body, whatever encoding each came in.
 */
function content(span: OtlpSpan): unknown {
  return [
    span.traceId,
    span.spanId,
    span.parentSpanId,
    span.traceState,
    span.name,
    span.kind,
    span.startUnixNano,
    span.endUnixNano,
    span.attributes,
    span.droppedAttributes,
    span.events.map((event) => [event.timeUnixNano, event.name, event.attributes, event.droppedAttributes]),
    span.droppedEvents,
    span.links.map((link) => [
      link.traceId,
      link.spanId,
      link.traceState,
      link.attributes,
      link.droppedAttributes,
      link.flags,
    ]),
    span.droppedLinks,
    span.statusCode,
    span.statusMessage,
    span.traceFlags,
  ];
}

function flagsOf(span: OtlpSpan, emitter: Emitter, context: Context): Flag[] {
  const flags = new Set<Flag>(span.flags);
  for (const flag of emitter.flags) flags.add(flag);
  timeFlags(span.startUnixNano, context, flags);
  timeFlags(span.endUnixNano, context, flags);
  if (span.endUnixNano < span.startUnixNano) flags.add('end_before_start');
  return [...flags].sort();
}

function plainEvent({ timeUnixNano, name, attributes, droppedAttributes }: OtlpEvent): unknown {
  const event = { timeUnixNano: String(timeUnixNano), name, attributes };
  return droppedAttributes === 0 ? event : { ...event, droppedAttributesCount: droppedAttributes };
}

function plainLink({ traceId, spanId, traceState, attributes, flags, droppedAttributes }: OtlpLink): unknown {
  const link = { traceId, spanId, traceState, attributes, flags };
  return droppedAttributes === 0 ? link : { ...link, droppedAttributesCount: droppedAttributes };
}

/** In the order of the wire's numbers. */
const kinds: readonly SpanKind[] = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'];
const statuses = ['unset', 'ok', 'error'] as const;

/** One span of config-api as OTLP/JSON, with `changes` over it. */
function example(changes: object): string {
  const span = {
    traceId: '5B8EFFF798038103D269B633813FC60C',
    spanId: 'EEE19B7EC3C1B174',
    name: 'example',
    startTimeUnixNano: '1710614934000000000',
    endTimeUnixNano: '1710614934020000000',
    ...changes,
  };
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'config-api' } }] };
  return JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'demo' }, spans: [span] }] }] });
}
