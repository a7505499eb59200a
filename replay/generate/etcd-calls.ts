import type { Attributes } from './spans.js';

/** What otelgrpc 0.46 (etcd 3.5's) says of a client call to etcd, with the key it acts on. */
export function etcdCall(method: 'Put' | 'Range', server: string, key: string, grpcCode = 0): Attributes {
  return {
    'rpc.system': 'grpc',
    'rpc.service': 'etcdserverpb.KV',
    'rpc.method': method,
    'rpc.grpc.status_code': grpcCode,
    'server.address': server,
    'server.port': 2379,
    'etcd.key': key,
  };
}

export const grpcCodes = { ok: 0, deadlineExceeded: 4, resourceExhausted: 8, unavailable: 14 } as const;
