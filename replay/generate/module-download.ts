import type { Span } from './spans.js';

interface Download {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly module: string;
  readonly version: string;
  readonly startMs: number;
  readonly endMs: number;
  /** What the dialler said; absent where the download went through. */
  readonly failure?: string;
  readonly resend?: number;
}

/** One `go mod download`, with the go command's own words where it failed. */
export function moduleDownload(download: Download): Span {
  const { service, traceId, spanId, parentSpanId, module, version, startMs, endMs, failure, resend } = download;
  const url = `https://proxy.golang.example/${module}/@v/${version}.mod`;
  const message = `go: ${module}@${version}: Get "${url}": ${failure}`;
  return {
    service,
    traceId,
    traceState: 'ot=th:0',
    spanId,
    parentSpanId,
    name: 'go mod download',
    kind: 'client',
    startMs,
    endMs,
    attributes: {
      'go.module.path': module,
      'go.module.version': version,
      'url.full': url,
      'server.address': 'proxy.golang.example',
      ...(resend && { 'http.request.resend_count': resend }),
      ...(failure && { 'error.type': '*url.Error' }),
    },
    ...(failure && { error: message, exception: { type: '*url.Error', message } }),
  };
}
