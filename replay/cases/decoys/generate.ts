import { sampledAll, server } from '../../generate/config-night.js';
import { etcdCall, grpcCodes } from '../../generate/etcd-calls.js';
import { type Files, writeWhenRun } from '../../generate/files.js';
import { Histogram, metricFiles, metricsData, type Point, type Scrape } from '../../generate/metrics.js';
import { moduleDownload } from '../../generate/module-download.js';
import { type Random, random } from '../../generate/random.js';
import { type Span, traceFiles } from '../../generate/spans.js';

/**
 * Twelve minutes of two etcd clusters: one whose disk slows by itself, one that an import writes to at the same time.
 */
export function files(): Files {
  const chance = random(0xdec0);
  const calls: Call[] = [];
  const spans = [
    ...orders(chance, calls),
    ...catalog(chance, calls),
    ...catalogImport(chance, calls),
    ...build(chance, calls),
  ];
  const metrics = scrapes(chance, calls);
  return new Map([...metricFiles(metrics), ...traceFiles(spans, 'prod')]);
}

const startMs = Date.UTC(2026, 10, 25, 2, 0, 0);
const at = (minute: number, second = 0) => startMs + (minute * 60 + second) * 1000;
const endMs = at(12);
/** The leader's disk, for no reason that this evidence has. */
const diskSlowsMs = at(6);
const slowApplyMs = at(6, 10);
const timeoutsMs = at(6, 20);
const importFromMs = at(5, 40);
const importToMs = at(9, 40);

/** One call that an etcd member answered; the spans hold a sample of them, the metrics count them all. */
interface Call {
  readonly cluster: string;
  readonly member: string;
  readonly method: 'Put' | 'Range';
  readonly code: 'OK' | 'DeadlineExceeded' | 'Unavailable';
  readonly endMs: number;
  /** Bytes of key and value that became a revision; 0 where none did. */
  readonly bytes: number;
}

/** An eighth of the traces is kept: `ot=th:e`, by the trace id's random bits; what ends after the case is in none. */
const sampledEighth = 'ot=th:e';
const sampled = (traceId: string) => Number.parseInt(traceId[18]!, 16) >= 14;

const member = (chance: Random, cluster: string) => `${cluster}-${Math.floor(chance.next() * 3)}`;

// ── orders: the victim of the slow disk ──

/**
 * 12 requests/s, three of four write an order. Past the slow apply two of five writes time out: 30 % of the requests.
 */
function orders(chance: Random, calls: Call[]): Span[] {
  const spans: Span[] = [];
  for (let i = 0, dueMs = startMs + 40; dueMs < endMs; i += 1, dueMs += chance.wait(1000 / 12)) {
    const beginMs = dueMs;
    const writes = i % 4 !== 0;
    const lost = writes && beginMs >= timeoutsMs && chance.next() < 0.4;
    const byServer = lost && chance.next() < 0.25;
    const code = !lost ? 'OK' : byServer ? 'Unavailable' : 'DeadlineExceeded';
    const apiMs = beginMs + chance.between(0.5, 1.5);
    const callEndMs = apiMs + orderLatency(chance, writes && beginMs >= diskSlowsMs, lost, byServer);
    const target = member(chance, 'orders-store');
    const applied = writes && (!lost || chance.next() < 0.5);
    const method = writes ? 'Put' : 'Range';
    calls.push({ cluster: 'orders-store', member: target, method, code, endMs: callEndMs, bytes: applied ? 620 : 0 });
    const traceId = chance.hex(16);
    if (!sampled(traceId) || callEndMs > endMs - 2) continue;
    const trace = { traceId, traceState: sampledEighth };
    const root = chance.hex(8);
    const served = writes
      ? { method: 'POST', route: '/orders', status: lost ? 503 : 201 }
      : { method: 'GET', route: '/orders/{order}', status: 200 };
    const rpc = lost ? (byServer ? grpcCodes.unavailable : grpcCodes.deadlineExceeded) : grpcCodes.ok;
    spans.push(server('orders-api', trace, root, undefined, beginMs, callEndMs + chance.between(0.3, 1), served));
    spans.push({
      ...trace,
      service: 'orders-api',
      spanId: chance.hex(8),
      parentSpanId: root,
      name: `etcdserverpb.KV/${method}`,
      kind: 'client',
      startMs: apiMs,
      endMs: callEndMs,
      attributes: etcdCall(method, target, `/orders/${50_000 + i}`, rpc),
      ...(lost && { error: byServer ? 'etcdserver: request timed out' : 'context deadline exceeded' }),
    });
  }
  return spans;
}

/** Milliseconds: the client gives up after 500 ms; etcd itself after its 5 s and two election timeouts. */
function orderLatency(chance: Random, slow: boolean, lost: boolean, byServer: boolean): number {
  if (byServer) return 7000 + chance.between(0, 40);
  if (lost) return 500 + chance.between(0, 2);
  return slow ? chance.between(25, 240) : chance.between(2, 7);
}

// ── catalog: the import that is nobody's cause ──

/** 6 item writes/s, all night. */
function catalog(chance: Random, calls: Call[]): Span[] {
  const spans: Span[] = [];
  for (let i = 0, dueMs = startMs + 70; dueMs < endMs; i += 1, dueMs += chance.wait(1000 / 6)) {
    const beginMs = dueMs;
    const putMs = beginMs + chance.between(0.5, 1.5);
    const putEndMs = putMs + chance.between(2, 6);
    const target = member(chance, 'catalog-store');
    calls.push({ cluster: 'catalog-store', member: target, method: 'Put', code: 'OK', endMs: putEndMs, bytes: 500 });
    const traceId = chance.hex(16);
    if (!sampled(traceId) || putEndMs > endMs - 2) continue;
    const trace = { traceId, traceState: sampledEighth };
    const root = chance.hex(8);
    const served = { method: 'PUT', route: '/items/{item}', status: 200 };
    const key = `/catalog/items/${7000 + i}`;
    spans.push(server('catalog-api', trace, root, undefined, beginMs, putEndMs + chance.between(0.3, 1), served));
    spans.push(put(chance, 'catalog-api', trace, root, putMs, putEndMs, target, key));
  }
  return spans;
}

const batchSize = 20;

/** 34 puts/s for four minutes: 1.7 batches/s of 20 items, each item its own key. */
function catalogImport(chance: Random, calls: Call[]): Span[] {
  const spans: Span[] = [];
  for (
    let batch = 0, dueMs = importFromMs;
    dueMs < importToMs;
    batch += 1, dueMs += chance.between(0.6, 1.4) * (1000 / 1.7)
  ) {
    const trace = { traceId: chance.hex(16), traceState: sampledEighth };
    const root = chance.hex(8);
    const target = member(chance, 'catalog-store');
    const puts: Span[] = [];
    let nowMs = dueMs + chance.between(1, 4);
    for (let item = 0; item < batchSize; item += 1) {
      const putEndMs = nowMs + chance.between(2, 6);
      calls.push({ cluster: 'catalog-store', member: target, method: 'Put', code: 'OK', endMs: putEndMs, bytes: 4200 });
      const key = `/catalog/import/${batch * batchSize + item}`;
      puts.push(put(chance, 'catalog-import', trace, root, nowMs, putEndMs, target, key));
      nowMs = putEndMs + chance.between(0.1, 0.4);
    }
    if (!sampled(trace.traceId)) continue;
    spans.push({
      ...trace,
      service: 'catalog-import',
      spanId: root,
      name: 'import batch',
      kind: 'internal',
      startMs: dueMs,
      endMs: nowMs + 0.5,
      attributes: { 'import.batch': batch, 'import.batch.size': batchSize, 'import.file': 'catalog-2026-11.csv' },
    });
    spans.push(...puts);
  }
  return spans;
}

function put(
  chance: Random,
  service: string,
  trace: { readonly traceId: string; readonly traceState: string },
  parentSpanId: string,
  beginMs: number,
  stopMs: number,
  target: string,
  key: string,
): Span {
  const attributes = etcdCall('Put', target, key);
  const spanId = chance.hex(8);
  return {
    ...trace,
    service,
    spanId,
    parentSpanId,
    name: 'etcdserverpb.KV/Put',
    kind: 'client',
    startMs: beginMs,
    endMs: stopMs,
    attributes,
  };
}

// ── build-agent: fails shortly before, and writes to the slow cluster ──

/** One download that fails, is sent again after 1, 2, 4, 8, 16 and 32 s, and then goes through. */
function build(chance: Random, calls: Call[]): Span[] {
  const service = 'build-agent';
  const trace = { traceId: chance.hex(16), traceState: sampledAll };
  const root = chance.hex(8);
  const spans: Span[] = [];
  let nowMs = at(5, 50);
  for (let resend = 0; resend <= 6; resend += 1) {
    const stopMs = nowMs + chance.between(180, 260);
    spans.push(
      moduleDownload({
        ...trace,
        service,
        spanId: chance.hex(8),
        parentSpanId: root,
        module: 'example.com/plugins/geo',
        version: 'v1.4.2',
        startMs: nowMs,
        endMs: stopMs,
        ...(resend > 0 && { resend }),
        ...(resend < 6 && { failure: 'dial tcp 192.0.2.10:443: connect: connection refused' }),
      }),
    );
    nowMs = stopMs + 1000 * 2 ** resend;
  }
  for (const beginMs of [at(5, 49), at(5, 52), at(6, 30), at(6, 58)]) {
    const stopMs = beginMs + (beginMs < diskSlowsMs ? 4 : 90);
    const target = 'orders-store-0';
    calls.push({ cluster: 'orders-store', member: target, method: 'Put', code: 'OK', endMs: stopMs, bytes: 180 });
    spans.push(put(chance, service, trace, root, beginMs, stopMs, target, '/builds/plugin-image/status'));
  }
  const attributes = { 'build.target': 'plugin-image' };
  const whole = { startMs: at(5, 48), endMs: at(7), name: 'build plugin-image', kind: 'internal', attributes } as const;
  return [{ ...trace, ...whole, service, spanId: root }, ...spans];
}

// ── metrics ──

const scrapeEveryMs = 10_000;

/** What each member showed, every 10 s. */
function scrapes(chance: Random, calls: readonly Call[]): unknown[] {
  const ordered = [...calls].sort((a, b) => a.endMs - b.endMs);
  const members = ['orders-store', 'catalog-store'].flatMap((cluster) =>
    [0, 1, 2].map((i) => new Member(cluster, `${cluster}-${i}`, i === leaders[cluster])),
  );
  const lines: unknown[] = [];
  let seen = 0;
  for (let nowMs = startMs; nowMs <= endMs; nowMs += scrapeEveryMs) {
    const from = seen;
    while (seen < ordered.length && ordered[seen]!.endMs <= nowMs) seen += 1;
    for (const one of members) one.advance(chance, nowMs, ordered.slice(from, seen));
    lines.push(
      metricsData(
        nowMs,
        members.map((one) => one.scrape()),
      ),
    );
  }
  return lines;
}

const leaders: Readonly<Record<string, number>> = { 'orders-store': 0, 'catalog-store': 1 };

/** Shares of the buckets 1, 2, 4, 8 … ms: p99 near 4 ms, and near 120 ms on the slow disk. */
const quickFsync = [0.55, 0.35, 0.092, 0.008];
const slowFsync = [0, 0, 0, 0.05, 0.15, 0.25, 0.3, 0.248, 0.002];
const quickCommit = [0.2, 0.45, 0.3, 0.05];
const slowCommit = [0, 0, 0, 0, 0.1, 0.2, 0.3, 0.3, 0.1];
/** Shares of the buckets 0.1, 0.2, 0.4 … ms: p99 below 1 ms, and near 200 ms. */
const quickApply = [0.6, 0.3, 0.09, 0.01];
const slowApply = [0.1, 0.1, 0.1, 0, 0, 0, 0, 0.05, 0.15, 0.2, 0.2, 0.1];

/** One member's counters. Followers apply what the leader commits; only the leader's disk is slow. */
class Member {
  private readonly cluster: string;
  private readonly name: string;
  private readonly leads: boolean;
  private readonly fsync: Histogram;
  private readonly commit: Histogram;
  private readonly apply: Histogram;
  private readonly handled = new Map<string, number>();
  private puts = 0;
  private bytes = 0;
  private slowApplies = 0;
  private pending = 0;

  constructor(cluster: string, name: string, leads: boolean) {
    this.cluster = cluster;
    this.name = name;
    this.leads = leads;
    const { puts } = begunWith[cluster]!;
    this.fsync = new Histogram(0.001, 14, puts, quickFsync);
    this.commit = new Histogram(0.001, 14, (startMs - startedMs) / 102, quickCommit);
    this.apply = new Histogram(0.0001, 20, puts, quickApply);
  }

  advance(chance: Random, nowMs: number, calls: readonly Call[]): void {
    const slow = this.leads && this.cluster === 'orders-store' && nowMs > diskSlowsMs;
    const applied = calls.filter((call) => call.cluster === this.cluster && call.bytes > 0);
    this.puts += applied.length;
    for (const call of applied) this.bytes += call.bytes;
    for (const call of calls.filter(({ member: answering }) => answering === this.name)) {
      const key = `${call.method} ${call.code}`;
      this.handled.set(key, (this.handled.get(key) ?? 0) + 1);
    }
    // Entries that wait for a slow disk are written together.
    const writes = Math.round(applied.length * (slow ? 0.7 : 0.98));
    this.fsync.observe(chance, writes, slow ? slowFsync : quickFsync);
    const commits = calls.length === 0 ? 0 : slow ? 62 : 98;
    this.commit.observe(chance, commits, slow ? slowCommit : quickCommit);
    const applying = slow && nowMs > slowApplyMs;
    this.apply.observe(chance, applied.length, applying ? slowApply : quickApply);
    if (applying) this.slowApplies += Math.round(chance.between(8, 16));
    this.pending = slow ? Math.round(chance.between(2, 7)) : 0;
  }

  scrape(): Scrape {
    const begun = begunWith[this.cluster]!;
    const counter = (name: string, value: number): Point => ({ name, type: 'counter', value });
    const gauge = (name: string, value: number): Point => ({ name, type: 'gauge', value });
    const index = begun.puts + this.puts + 12;
    const size = (begun.bytes + Math.round(this.bytes * 1.15)) & ~4095;
    const points: Point[] = [
      counter('etcd_mvcc_put_total', begun.puts + this.puts),
      // etcd 3.5 counts the bytes of its WAL about twice.
      gauge('etcd_disk_wal_write_bytes_total', 2 * (begun.bytes + this.bytes + this.puts * 96)),
      { name: 'etcd_disk_wal_fsync_duration_seconds', type: 'histogram', value: this.fsync },
      { name: 'etcd_disk_backend_commit_duration_seconds', type: 'histogram', value: this.commit },
      { name: 'etcd_server_apply_duration_seconds', type: 'histogram', value: this.apply, labels: putApplied },
      gauge('etcd_mvcc_db_total_size_in_bytes', size + 65_536),
      gauge('etcd_mvcc_db_total_size_in_use_in_bytes', size),
      gauge('etcd_server_quota_backend_bytes', 2_147_483_648),
      gauge('etcd_server_proposals_committed_total', index),
      gauge('etcd_server_proposals_applied_total', index),
      gauge('etcd_server_proposals_pending', this.leads ? this.pending : 0),
      counter('etcd_server_proposals_failed_total', 0),
      counter('etcd_server_slow_apply_total', this.slowApplies),
      gauge('etcd_server_has_leader', 1),
      gauge('etcd_server_is_leader', this.leads ? 1 : 0),
      counter('etcd_server_leader_changes_seen_total', 1),
      gauge('process_start_time_seconds', startedMs / 1000),
    ];
    for (const method of ['Put', 'Range']) {
      for (const code of ['OK', 'DeadlineExceeded', 'Unavailable', 'ResourceExhausted']) {
        const labels = { grpc_code: code, grpc_method: method, grpc_service: 'etcdserverpb.KV', grpc_type: 'unary' };
        const value = this.handled.get(`${method} ${code}`) ?? 0;
        points.push({ name: 'grpc_server_handled_total', type: 'counter', value, labels });
      }
    }
    return { service: this.cluster, instance: this.name, startedMs, points };
  }
}

const putApplied = { op: 'Put', success: 'true', version: 'v3' };
const startedMs = startMs - 9 * 86_400_000;
/** What each cluster held when the case begins. */
const begunWith: Readonly<Record<string, { readonly puts: number; readonly bytes: number }>> = {
  'orders-store': { puts: 6_998_400, bytes: 412_000_000 },
  'catalog-store': { puts: 4_665_600, bytes: 61_000_000 },
};

writeWhenRun(import.meta.url, 'decoys', files);
