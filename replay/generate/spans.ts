import { type Files, jsonLines } from './files.js';

export type Attributes = Readonly<Record<string, string | number>>;

/** A span as a story tells it; times are Unix milliseconds, to the microsecond. */
export interface Span {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client';
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  /** Status error with this message ('' where the library sets none). */
  readonly error?: string;
  readonly exception?: { readonly type: string; readonly message: string };
  readonly link?: { readonly traceId: string; readonly spanId: string };
}

/** traces/<service>.jsonl.gz, one TracesData a line, in the order in which the spans ended. */
export function traceFiles(spans: readonly Span[], environment: string): Files {
  const byService = new Map<string, Span[]>();
  for (const span of spans) {
    const own = byService.get(span.service);
    if (own) own.push(span);
    else byService.set(span.service, [span]);
  }
  const files: Files = new Map();
  for (const [service, own] of [...byService].sort(([a], [b]) => (a < b ? -1 : 1))) {
    own.sort((a, b) => a.endMs - b.endMs);
    const lines: unknown[] = [];
    for (let i = 0; i < own.length; i += spansPerLine) {
      lines.push(tracesData(service, environment, own.slice(i, i + spansPerLine)));
    }
    files.set(`traces/${service}.jsonl.gz`, jsonLines(lines));
  }
  return files;
}

const spansPerLine = 400;

function tracesData(service: string, environment: string, spans: readonly Span[]): unknown {
  const resource = {
    attributes: keyValues({
      'service.name': service,
      'service.instance.id': `${service}-1`,
      'deployment.environment.name': environment,
      'telemetry.sdk.language': 'go',
    }),
  };
  const scope = { name: 'go.opentelemetry.io/otel', version: '1.40.0' };
  return { resourceSpans: [{ resource, scopeSpans: [{ scope, spans: spans.map(otlpSpan) }] }] };
}

function otlpSpan(span: Span): unknown {
  const { traceId, spanId, parentSpanId, traceState, name, exception, link } = span;
  return {
    traceId,
    spanId,
    ...(traceState && { traceState }),
    ...(parentSpanId && { parentSpanId }),
    flags: 1,
    name,
    kind: kinds[span.kind],
    startTimeUnixNano: nano(span.startMs),
    endTimeUnixNano: nano(span.endMs),
    attributes: keyValues(span.attributes),
    ...(exception && { events: [exceptionEvent(span.endMs, exception)] }),
    ...(link && { links: [{ traceId: link.traceId, spanId: link.spanId, flags: 1 }] }),
    status: span.error === undefined ? {} : { ...(span.error && { message: span.error }), code: 2 },
  };
}

const kinds = { internal: 1, server: 2, client: 3 } as const;

function exceptionEvent(atMs: number, { type, message }: { type: string; message: string }): unknown {
  const attributes = keyValues({ 'exception.type': type, 'exception.message': message });
  return { timeUnixNano: nano(atMs), name: 'exception', attributes };
}

/** OTLP/JSON attributes; whole numbers are 64-bit integers and so decimal strings. */
export function keyValues(attributes: Attributes): unknown[] {
  return Object.entries(attributes).map(([key, value]) => ({
    key,
    value: typeof value === 'string' ? { stringValue: value } : { intValue: String(value) },
  }));
}

/** Unix milliseconds to decimal nanoseconds, to the microsecond. */
export function nano(ms: number): string {
  return `${Math.round(ms * 1000)}000`;
}
