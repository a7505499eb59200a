import test from 'ava';
import type { Attributes, OtlpEvent } from '../../services/collect/formats/otlp.js';
import { type Conventions, conventions, identity } from '../../services/collect/formats/semconv.js';
import type { SpanKind } from '../../shared/evidence.js';

interface Given {
  name?: string;
  kind?: SpanKind;
  traceState?: string;
  attributes?: Attributes;
  events?: OtlpEvent[];
  scopeName?: string;
}

function said(given: Given): Conventions {
  return conventions({
    name: 'the name',
    kind: 'client',
    traceState: '',
    attributes: {},
    events: [],
    scopeName: '',
    ...given,
  });
}

const operations: readonly [title: string, given: Given, operation: string][] = [
  ['nothing said', {}, 'the name'],
  ['old rpc', { attributes: { 'rpc.system': 'grpc', 'rpc.service': 'a.B', 'rpc.method': 'C' } }, 'a.B/C'],
  ['new rpc', { attributes: { 'rpc.system.name': 'grpc', 'rpc.method': 'a.B/C' } }, 'a.B/C'],
  ['a slash first', { attributes: { 'rpc.method': '/a.B/C' } }, 'a.B/C'],
  ['both', { attributes: { 'rpc.service': 'a.B', 'rpc.method': 'a.B/C' } }, 'a.B/C'],
  [
    'an aws call',
    { attributes: { 'rpc.system': 'aws-api', 'rpc.service': 'S3', 'rpc.method': 'PutObject' } },
    'S3/PutObject',
  ],
  ['rpc without a method', { name: '/a.B/C', attributes: { 'rpc.system': 'grpc' } }, 'a.B/C'],
  [
    'an unknown method',
    { attributes: { 'rpc.method': '_OTHER', 'rpc.method_original': 'a.B/X', 'rpc.system.name': 'grpc' } },
    'a.B/X',
  ],
  [
    'a served route',
    {
      kind: 'server',
      attributes: { 'http.request.method': 'GET', 'http.route': '/v1/config', 'url.path': '/v1/config' },
    },
    'GET /v1/config',
  ],
  ['a served path', { kind: 'server', attributes: { 'http.request.method': 'GET', 'url.path': '/x' } }, 'GET /x'],
  ['an old target', { kind: 'server', attributes: { 'http.method': 'GET', 'http.target': '/x?q=1' } }, 'GET /x'],
  [
    'a call by URL',
    { attributes: { 'http.request.method': 'GET', 'url.full': 'https://u:p@proxy.golang.org/m/@v/v1.mod?t=1#f' } },
    'GET proxy.golang.org/m/@v/v1.mod',
  ],
  [
    'a call by template',
    {
      attributes: {
        'http.request.method': 'GET',
        'url.full': 'http://h:80/users/7',
        'url.template': '/users/{id}',
      },
    },
    'GET h:80/users/{id}',
  ],
  ['only a method', { attributes: { 'http.request.method': 'POST' } }, 'POST'],
  ['database', { attributes: { 'db.operation.name': 'SELECT', 'db.collection.name': 'users' } }, 'SELECT users'],
  ['old database', { attributes: { 'db.operation': 'SELECT', 'db.name': 'shop' } }, 'SELECT shop'],
  ['etcd as a database', { attributes: { 'db.system': 'etcd', 'db.operation': 'put' } }, 'etcdserverpb.KV/Put'],
  ['messaging', { name: 'send orders', attributes: { 'messaging.system': 'kafka' } }, 'send orders'],
];

for (const [title, given, operation] of operations) {
  test(`operation: ${title}`, (t) => t.is(said(given).operation, operation));
}

test('the names of one etcd call are one operation', (t) => {
  for (const name of ['etcd.clientv3.Put', 'KV.Put', 'etcdserverpb.KV/Put', '/etcdserverpb.KV/Put']) {
    t.is(said({ name }).operation, 'etcdserverpb.KV/Put');
  }
  t.is(said({ name: 'etcd.clientv3.Get' }).operation, 'etcdserverpb.KV/Range');
  t.is(said({ name: 'KV.DeleteRange' }).operation, 'etcdserverpb.KV/DeleteRange');
  t.is(said({ name: 'etcd.clientv3.Delete' }).operation, 'etcdserverpb.KV/DeleteRange');
  t.is(said({ name: 'etcd.clientv3.Grant' }).operation, 'etcdserverpb.Lease/LeaseGrant');
  t.is(said({ name: 'KV.PutAll' }).operation, 'KV.PutAll');
  t.is(said({ name: 'toString' }).operation, 'toString');
});

test('target: address, then the URL, then the peer service; none for who serves', (t) => {
  const peer = { 'peer.service': 'etcd' };
  const url = { ...peer, 'http.url': 'http://h:1/x' };
  const old = { ...url, 'net.peer.name': 'old', 'net.peer.port': 2379 };
  t.is(said({ attributes: peer }).target, 'etcd');
  t.is(said({ attributes: url }).target, 'h:1');
  t.is(said({ attributes: old }).target, 'old:2379');
  t.is(said({ attributes: { ...old, 'server.address': 'new' } }).target, 'new');
  t.is(said({ attributes: { 'server.address': 'new', 'server.port': '2379' } }).target, 'new:2379');
  t.is(said({ attributes: { 'server.address': '::1', 'server.port': 2379 } }).target, '[::1]:2379');
  t.is(said({ kind: 'server', attributes: { 'server.address': 'me' } }).target, null);
  t.is(said({}).target, null);
});

test('target key: what is acted on, never a query', (t) => {
  t.is(said({ attributes: { 'etcd.key': '/a', 'db.statement': 'x' } }).targetKey, '/a');
  t.is(said({ attributes: { 'db.query.text': 'SELECT 1' } }).targetKey, 'SELECT 1');
  t.is(said({ attributes: { 'url.full': 'https://u:p@h/x?sig=secret' } }).targetKey, 'https://h/x');
  t.is(said({ attributes: { 'aws.s3.key': 'logs/1.gz' } }).targetKey, 'logs/1.gz');
  t.is(said({ attributes: { 'messaging.destination.name': 'orders' } }).targetKey, 'orders');
  t.is(said({ scopeName: 'go.etcd.io/etcd', attributes: { key: 'tp' } }).targetKey, 'tp');
  t.is(said({ attributes: { key: 'tp' } }).targetKey, null);
});

test('gRPC codes are words, whichever convention says them', (t) => {
  t.is(said({ attributes: { 'rpc.grpc.status_code': 0 } }).rpcStatus, 'OK');
  t.is(said({ attributes: { 'rpc.grpc.status_code': 8 } }).rpcStatus, 'RESOURCE_EXHAUSTED');
  t.is(said({ attributes: { 'rpc.grpc.status_code': 16 } }).rpcStatus, 'UNAUTHENTICATED');
  t.is(said({ attributes: { 'rpc.grpc.status_code': 17 } }).rpcStatus, '17');
  t.is(said({ attributes: { 'rpc.status_code': 'deadline_exceeded' } }).rpcStatus, 'DEADLINE_EXCEEDED');
  t.is(said({ attributes: { 'rpc.response.status_code': 'DeadlineExceeded' } }).rpcStatus, 'DEADLINE_EXCEEDED');
  t.is(said({ attributes: { 'rpc.response.status_code': 'Canceled' } }).rpcStatus, 'CANCELLED');
  t.is(said({}).rpcStatus, null);
});

test('status, resends and errors, old and new', (t) => {
  t.is(said({ attributes: { 'http.response.status_code': 502, 'http.status_code': 200 } }).httpStatus, 502);
  t.is(said({ attributes: { 'http.status_code': '503' } }).httpStatus, 503);
  t.is(said({ attributes: { 'http.request.resend_count': 3 } }).resendCount, 3);
  t.is(said({ attributes: { 'error.type': '*net.OpError' } }).errorType, '*net.OpError');
});

test('the newest exception counts', (t) => {
  const exception = (timeUnixNano: bigint, type: string, name = 'exception'): OtlpEvent => ({
    timeUnixNano,
    name,
    attributes: { 'exception.type': type, 'exception.message': `${type}!` },
    droppedAttributes: 0,
  });
  const events = [exception(2n, 'B'), exception(1n, 'A'), exception(3n, 'C', 'other')];
  t.is(said({ events }).exceptionType, 'B');
  t.is(said({ events }).exceptionMessage, 'B!');
  t.is(said({}).exceptionType, null);
});

const samplings: readonly [traceState: string, count: number | null][] = [
  ['', null],
  ['ot=th:0', 1],
  ['ot=th:8', 2],
  ['ot=th:c', 4],
  ['ot=th:fd70a3d70a3d71', 2 ** 56 / Number(2n ** 56n - 0xfd70a3d70a3d71n)],
  ['vendor=x, ot=rv:abcdefabcdefab;th:c', 4],
  ['ot=th:ffffffffffffff', 2 ** 56],
  ['ot=th:', null],
  ['ot=th:C', null],
  ['ot=th:123456789012345', null],
  ['ot=p:3;r:10', 8],
  ['ot=p:0', 1],
  ['ot=p:63', null],
  ['ot=p:x', null],
  ['other=th:8', null],
];

for (const [traceState, count] of samplings) {
  test(`tracestate "${traceState}" stands for ${count} spans`, (t) => t.is(said({ traceState }).adjustedCount, count));
}

test('who emitted it', (t) => {
  t.deepEqual(identity({}), { service: null, scope: null, instance: null });
  t.deepEqual(
    identity({
      'service.name': 's',
      'deployment.environment': 'old',
      'deployment.environment.name': 'e',
      'host.name': 'h',
    }),
    { service: 's', scope: 'e', instance: 'h' },
  );
  t.is(identity({ 'service.namespace': 'n', 'deployment.environment': 'old' }).scope, 'n');
  t.is(identity({ 'service.instance.id': 'i', 'host.name': 'h' }).instance, 'i');
});
