/**
 * Which metrics become evidence. A scrape of etcd 3.5 has about 1,950 sample lines, and other exporters many more
 * that no detector reads.
 *
 * - `etcd_`: the store itself (disk, MVCC, raft, network), `etcd_debugging_` included.
 * - `go_`: collector and heap of the Go runtime, for `go.gc_pressure`.
 * - `process_`: start time (tells a restart from a loss of leadership), descriptors, memory, CPU.
 * - `grpc_server_`: what etcd answered, by method and code (`ResourceExhausted` is the quota's refusal).
 */
const keptPrefixes = ['etcd_', 'go_', 'process_', 'grpc_server_'] as const;

/** Whether a metric's points are kept. The name is the family's, or a sample's (`…_bucket`): prefixes do not care. */
export function keepsMetric(name: string): boolean {
  for (const prefix of keptPrefixes) if (name.startsWith(prefix)) return true;
  return false;
}

/**
 * Series that etcd registers as gauges and only ever raises: a rate over them is right, and TYPE says otherwise.
 * Source: etcd 3.4 to 3.7, server/storage/wal/metrics.go, server/etcdserver/metrics.go,
 * server/proxy/grpcproxy/metrics.go (the gauges there are only added to; the two proposal series are set from indexes
 * that never fall while the process lives).
 *
 * Other `_total` gauges of etcd are levels and stay gauges:
 * etcd_debugging_mvcc_{keys,pending_events,slow_watcher,watch_stream, watcher}_total,
 * etcd_grpc_proxy_cache_keys_total, etcd_grpc_proxy_watchers_coalescing_total, and
 * etcd_server_snapshot_apply_in_progress_total, which is 1 while a snapshot is applied and else 0.
 */
const countersBehindGauges: ReadonlySet<string> = new Set([
  'etcd_disk_wal_write_bytes_total',
  'etcd_server_proposals_committed_total',
  'etcd_server_proposals_applied_total',
  'etcd_grpc_proxy_cache_hits_total',
  'etcd_grpc_proxy_cache_misses_total',
]);

/** Whether a metric without a counter's TYPE is a counter all the same. */
export function countsDespiteItsType(name: string): boolean {
  return countersBehindGauges.has(name);
}
