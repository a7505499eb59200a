import type { SpanKind } from '../../../shared/evidence.js';
import type { Attributes, AttributeValue, OtlpEvent } from './otlp.js';

/** What a span says, whichever semantic conventions its instrumentation follows. */
export interface Conventions {
  readonly operation: string;
  readonly target: string | null;
  readonly targetKey: string | null;
  readonly rpcStatus: string | null;
  readonly httpStatus: number | null;
  readonly resendCount: number | null;
  readonly errorType: string | null;
  readonly exceptionType: string | null;
  readonly exceptionMessage: string | null;
  readonly adjustedCount: number | null;
}

interface Said {
  readonly name: string;
  readonly kind: SpanKind;
  readonly traceState: string;
  readonly attributes: Attributes;
  readonly events: readonly OtlpEvent[];
  /** Instrumentation scope: etcd's own spans name their key by words too common to take from others. */
  readonly scopeName: string;
}

/** Old and new semantic conventions (up to v1.44.0) in one spelling; where both stand, the new one counts. */
export function conventions(span: Said): Conventions {
  const { attributes } = span;
  const exception = newestException(span.events);
  return {
    operation: operation(span),
    target: target(span),
    targetKey: targetKey(span),
    rpcStatus: rpcStatus(attributes),
    httpStatus: integer(attributes['http.response.status_code'] ?? attributes['http.status_code']),
    resendCount: integer(attributes['http.request.resend_count'] ?? attributes['http.resend_count']),
    errorType: text(attributes['error.type']),
    exceptionType: exception && text(exception['exception.type']),
    exceptionMessage: exception && text(exception['exception.message']),
    adjustedCount: adjustedCount(span.traceState),
  };
}

/** Who emitted it. */
export function identity(resource: Attributes): {
  readonly service: string | null;
  readonly scope: string | null;
  readonly instance: string | null;
} {
  return {
    service: text(resource['service.name']),
    scope: first(resource, ['service.namespace', 'deployment.environment.name', 'deployment.environment']),
    instance: first(resource, ['service.instance.id', 'host.name']),
  };
}

/**
 * - rpc: `package.Service/Method`;
 * - http: `METHOD route` on the server (the path where there is no route), `METHOD host/path` on the client (its
 * `url.template` in place
 *   of the path where it has one), never with the query;
 * - database: `operation collection`, or the namespace where there is no collection;
 * - else the span's name. A name of an etcd call is spelled as the call in each case.
 */
function operation(span: Said): string {
  const { attributes, name } = span;
  const said = rpcOperation(attributes, name) ?? httpOperation(span) ?? dbOperation(attributes) ?? name;
  return etcdCalls.get(said) ?? said;
}

function rpcOperation(attributes: Attributes, name: string): string | undefined {
  const said = text(attributes['rpc.method']);
  const service = text(attributes['rpc.service']);
  const system = text(attributes['rpc.system.name']) ?? text(attributes['rpc.system']);
  if (said === null && service === null && system === null) return undefined;
  const method = said === '_OTHER' ? text(attributes['rpc.method_original']) : said;
  if (method === null) return withoutSlash(name);
  if (service === null || method.includes('/')) return withoutSlash(method);
  return `${withoutSlash(service)}/${method}`;
}

function httpOperation({ kind, attributes }: Said): string | undefined {
  const said = text(attributes['http.request.method']) ?? text(attributes['http.method']);
  if (said === null) return undefined;
  const method = said === '_OTHER' ? (text(attributes['http.request.method_original']) ?? said) : said;
  const url = urlParts(attributes);
  const path =
    text(attributes['url.path']) ?? text(attributes['http.target'])?.replace(/[?#].*$/s, '') ?? url?.path ?? '';
  if (kind === 'server') return joined(method, text(attributes['http.route']) ?? path);
  return joined(method, `${url?.host ?? address(attributes) ?? ''}${text(attributes['url.template']) ?? path}`);
}

function dbOperation(attributes: Attributes): string | undefined {
  const system = text(attributes['db.system.name']) ?? text(attributes['db.system']);
  const verb = text(attributes['db.operation.name']) ?? text(attributes['db.operation']);
  if (verb === null) return text(attributes['db.query.summary']) ?? undefined;
  if (system === 'etcd') {
    const call = etcdCalls.get(`etcd.clientv3.${verb.slice(0, 1).toUpperCase()}${verb.slice(1)}`);
    if (call !== undefined) return call;
  }
  return joined(verb, first(attributes, dbObjects) ?? '');
}

const dbObjects = [
  'db.collection.name',
  'db.sql.table',
  'db.mongodb.collection',
  'db.cassandra.table',
  'db.namespace',
  'db.name',
] as const;

/**
 * Only of a span that calls: on a server span these attributes name the server itself (new) or its client (old).
 * peer.service is a name given by configuration, no address, so it comes last.
 */
function target({ kind, attributes }: Said): string | null {
  if (kind === 'server') return null;
  return address(attributes) ?? urlParts(attributes)?.host ?? text(attributes['peer.service']);
}

function address(attributes: Attributes): string | null {
  const host = text(attributes['server.address']);
  if (host !== null) return hostPort(host, attributes['server.port']);
  const peer = text(attributes['net.peer.name']);
  return peer === null ? null : hostPort(peer, attributes['net.peer.port']);
}

function hostPort(host: string, port: AttributeValue | undefined): string {
  const number = integer(port);
  if (number === null) return host;
  return host.includes(':') && !host.startsWith('[') ? `[${host}]:${number}` : `${host}:${number}`;
}

function targetKey({ attributes, scopeName }: Said): string | null {
  const key = first(attributes, ['etcd.key', 'db.etcd.key', 'rpc.request.key', 'db.query.text', 'db.statement']);
  if (key !== null) return key;
  const url = urlParts(attributes);
  if (url) return `${url.scheme}://${url.host}${url.path}`;
  return first(attributes, scopeName === 'go.etcd.io/etcd' ? etcdKeys : otherKeys);
}

const otherKeys = ['aws.s3.key', 'messaging.destination.name'] as const;
const etcdKeys = ['key', 'range_begin'] as const;

/** Without user information, query and fragment: they may hold secrets. */
function urlParts(attributes: Attributes): { scheme: string; host: string; path: string } | undefined {
  const url = text(attributes['url.full']) ?? text(attributes['http.url']);
  const parts = url === null ? null : /^([a-z][a-z0-9+.-]*):\/\/(?:[^/?#]*@)?([^/?#]*)([^?#]*)/i.exec(url);
  if (!parts?.[2]) return undefined;
  return { scheme: parts[1]!, host: parts[2], path: parts[3]! };
}

/** New words come as they are, old numbers by their gRPC name; `DeadlineExceeded` is spelled as `DEADLINE_EXCEEDED`. */
function rpcStatus(attributes: Attributes): string | null {
  const said =
    attributes['rpc.response.status_code'] ??
    attributes['rpc.status_code'] ??
    attributes['rpc.grpc.status_code'] ??
    attributes['rpc.connect_rpc.error_code'];
  const code = integer(said);
  if (code !== null) return grpcCodes[code] ?? String(code);
  const word = text(said)?.toUpperCase();
  return word === undefined ? null : (grpcWords.get(word.replaceAll('_', '')) ?? word);
}

/** https://grpc.github.io/grpc/core/md_doc_statuscodes.html, in the order of their numbers. */
const grpcCodes = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;
/** Go spells CANCELLED as Canceled. */
const grpcWords = new Map<string, string>([
  ...grpcCodes.map((word): [string, string] => [word.replaceAll('_', ''), word]),
  ['CANCELED', 'CANCELLED'],
]);

/** The calls of etcd's API (etcdserverpb) with the names that its Go client gives them. */
const etcdApi: readonly (readonly [service: string, method: string, ...client: string[]])[] = [
  ['KV', 'Range', 'Get'],
  ['KV', 'Put'],
  ['KV', 'DeleteRange', 'Delete'],
  ['KV', 'Txn'],
  ['KV', 'Compact'],
  ['Watch', 'Watch'],
  ['Lease', 'LeaseGrant', 'Grant'],
  ['Lease', 'LeaseRevoke', 'Revoke'],
  ['Lease', 'LeaseKeepAlive', 'KeepAlive'],
  ['Lease', 'LeaseTimeToLive', 'TimeToLive'],
  ['Lease', 'LeaseLeases', 'Leases'],
];

/** `etcd.clientv3.Put`, `KV.Put` and `etcdserverpb.KV/Put` are one call. */
const etcdCalls: ReadonlyMap<string, string> = new Map(
  etcdApi.flatMap(([service, method, ...client]) =>
    [method, ...client]
      .flatMap((name) => [
        `etcd.clientv3.${name}`,
        `clientv3.${name}`,
        `${service}.${name}`,
        `${service}/${name}`,
        `etcdserverpb.${service}.${name}`,
        `etcdserverpb.${service}/${name}`,
      ])
      .flatMap((name) => [name, `/${name}`])
      .map((name): [string, string] => [name, `etcdserverpb.${service}/${method}`]),
  ),
);

function newestException(events: readonly OtlpEvent[]): Attributes | null {
  let newest: OtlpEvent | null = null;
  for (const event of events) {
    if (event.name === 'exception' && (newest === null || event.timeUnixNano >= newest.timeUnixNano)) newest = event;
  }
  return newest === null ? null : newest.attributes;
}

/**
 * How many spans this one stands for, from the tracestate's `ot` member.
 * `th:<hex>`: rejection threshold, right-padded to 14 digits, of 2^56 (OpenTelemetry specification,
 * trace/tracestate-probability-sampling). `p:<n>`: one of 2^n (the experimental specification before it; 63 is "never",
 * which no span can be).
 */
function adjustedCount(traceState: string): number | null {
  if (traceState === '') return null;
  const member = traceState.split(',').find((part) => /^[ \t]*ot=/.test(part));
  if (member === undefined) return null;
  const values = member
    .slice(member.indexOf('=') + 1)
    .trim()
    .split(';');
  const threshold = values.find((value) => value.startsWith('th:'))?.slice(3);
  if (threshold !== undefined) {
    if (!/^[0-9a-f]{1,14}$/.test(threshold)) return null;
    return 2 ** 56 / Number(2n ** 56n - BigInt(`0x${threshold.padEnd(14, '0')}`));
  }
  const power = values.find((value) => value.startsWith('p:'))?.slice(2);
  return power !== undefined && /^[0-9]{1,2}$/.test(power) && Number(power) < 63 ? 2 ** Number(power) : null;
}

function first(attributes: Attributes, keys: readonly string[]): string | null {
  for (const key of keys) {
    const value = text(attributes[key]);
    if (value !== null) return value;
  }
  return null;
}

function text(value: AttributeValue | undefined): string | null {
  if (typeof value === 'string') return value === '' ? null : value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}

/** Some instrumentations write numbers as strings. */
function integer(value: AttributeValue | undefined): number | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : null;
  return typeof value === 'string' && /^[0-9]{1,9}$/.test(value) ? Number(value) : null;
}

function joined(verb: string, object: string): string {
  return object === '' ? verb : `${verb} ${object}`;
}

function withoutSlash(name: string): string {
  return name.startsWith('/') ? name.slice(1) : name;
}
