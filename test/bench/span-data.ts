import { keyValues, nano } from '../../replay/generate/spans.js';
import type { DataFile } from './case-folders.js';
import type { Chance } from './chance.js';

const FILE_SPANS = 8_000;
const LINE_SPANS = 400;
const DAY_MS = Date.UTC(2026, 10, 22);
const TRACES_PER_SECOND = 5;

/** What a collector's file exporter writes, oldest first: a file of some MB, each line a batch of several services' spans. */
export function* spanFiles(chance: Chance, spans: number): Generator<DataFile> {
  const stories = traces(chance);
  let left: Span[] = [];
  for (let file = 0; file < spans / FILE_SPANS; file++) {
    const lines: string[] = [];
    for (let line = 0; line < FILE_SPANS / LINE_SPANS; line++) {
      while (left.length < LINE_SPANS) left.push(...stories.next().value);
      lines.push(JSON.stringify(tracesData(left.slice(0, LINE_SPANS))));
      left = left.slice(LINE_SPANS);
    }
    yield { path: `traces/spans-${String(file).padStart(5, '0')}.jsonl.gz`, text: `${lines.join('\n')}\n` };
  }
}

interface Span {
  readonly service: Service;
  readonly span: Record<string, unknown>;
}

type Service = 'edge' | 'orders-api' | 'stock-api';

function* traces(chance: Chance): Generator<Span[], never> {
  for (let n = 0; ; n++) yield trace(chance, DAY_MS + (n * 1000) / TRACES_PER_SECOND);
}

/** An order: 3 spans at least, 8 where the stock is asked and both write to etcd. */
function trace(chance: Chance, startMs: number): Span[] {
  const traceId = chance.hex(32);
  const failed = chance.next() < 0.01;
  const order = Math.floor(chance.between(0, 100_000));
  const spans: Span[] = [];
  const add = (service: Service, name: string, kind: number, at: number, own: Own, parent?: string): string => {
    const spanId = chance.hex(16);
    const startTimeUnixNano = nano(startMs + at);
    const endTimeUnixNano = nano(startMs + 60 - at + chance.between(0, 5));
    const attributes = keyValues(own.attributes);
    const { events, status = {} } = own;
    const ids = { traceId, spanId, ...(parent && { parentSpanId: parent }), flags: 1 };
    const times = { startTimeUnixNano, endTimeUnixNano };
    spans.push({ service, span: { ...ids, name, kind, ...times, attributes, ...(events && { events }), status } });
    return spanId;
  };
  const http = (route: string) => httpAttributes(route, order, failed);
  const root = add('edge', 'POST /v1/orders/{id}', SERVER, 0, served(http('/v1/orders/{id}'), failed));
  const call = add('edge', 'POST', CLIENT, 1, served(http('/v1/orders/{id}'), failed), root);
  const api = add('orders-api', 'POST /v1/orders/{id}', SERVER, 2, served(http('/v1/orders/{id}'), failed), call);
  if (chance.next() < 0.8) add('orders-api', 'validate order', INTERNAL, 3, { attributes: { 'order.items': 3 } }, api);
  if (chance.next() < 0.8)
    add('orders-api', 'etcdserverpb.KV/Put', CLIENT, 5, etcd('Put', `orders/${order}`, failed), api);
  if (chance.next() < 0.5) {
    const stock = add('orders-api', 'GET', CLIENT, 8, served(http('/v1/stock/{sku}'), false), api);
    const served2 = add('stock-api', 'GET /v1/stock/{sku}', SERVER, 9, served(http('/v1/stock/{sku}'), false), stock);
    if (chance.next() < 0.7)
      add('stock-api', 'etcdserverpb.KV/Range', CLIENT, 10, etcd('Range', `stock/${order}`, false), served2);
  }
  return spans;
}

const INTERNAL = 1;
const SERVER = 2;
const CLIENT = 3;

interface Own {
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly events?: readonly unknown[];
  readonly status?: unknown;
}

function httpAttributes(route: string, order: number, failed: boolean): Own['attributes'] {
  return {
    'http.request.method': 'POST',
    'http.route': route,
    'http.response.status_code': failed ? 503 : 200,
    'url.path': `/v1/orders/${order}`,
    'url.scheme': 'https',
    'network.protocol.version': '2',
    'server.address': 'orders.internal',
    'server.port': 8443,
  };
}

const served = (attributes: Own['attributes'], failed: boolean): Own =>
  failed ? { attributes: { ...attributes, 'error.type': '503' }, status: { code: 2 } } : { attributes };

function etcd(method: string, key: string, failed: boolean): Own {
  const attributes = {
    'rpc.system': 'grpc',
    'rpc.service': 'etcdserverpb.KV',
    'rpc.method': method,
    'rpc.grpc.status_code': failed ? 14 : 0,
    'server.address': 'orders-etcd-0',
    'server.port': 2379,
    'etcd.key': key,
  };
  if (!failed) return { attributes };
  const message = 'etcdserver: request timed out';
  const event = {
    name: 'exception',
    attributes: keyValues({ 'exception.type': 'rpctypes.EtcdError', 'exception.message': message }),
  };
  return { attributes, events: [event], status: { code: 2, message } };
}

function tracesData(spans: readonly Span[]): unknown {
  const services = [...new Set(spans.map(({ service }) => service))].sort();
  return {
    resourceSpans: services.map((service) => ({
      resource: {
        attributes: keyValues({
          'service.name': service,
          'service.instance.id': `${service}-1`,
          'deployment.environment.name': 'prod',
          'telemetry.sdk.language': 'go',
        }),
      },
      scopeSpans: [
        {
          scope: { name: 'go.opentelemetry.io/contrib/instrumentation', version: '0.63.0' },
          spans: spans.filter((each) => each.service === service).map(({ span }) => span),
        },
      ],
    })),
  };
}
