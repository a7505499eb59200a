import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { sampledAll, server } from '../../replay/generate/config-night.js';
import { etcdCall, grpcCodes } from '../../replay/generate/etcd-calls.js';
import { type Files, jsonLines } from '../../replay/generate/files.js';
import { Histogram, metricsData, type Point } from '../../replay/generate/metrics.js';
import { type Random, random } from '../../replay/generate/random.js';
import { type Span, traceFiles } from '../../replay/generate/spans.js';

const startMs = Date.UTC(2026, 2, 1, 2, 0, 0);
const minutes = 6;
const endMs = startMs + minutes * 60_000;
/** Loops of config-sync begin to write their key again and again. */
const stormMs = startMs + 3 * 60_000;
/** The gateway begins to answer 503. */
const failingMs = startMs + 4 * 60_000;
const failedUntilMs = startMs + 5 * 60_000;

/**
 * Six minutes of a configuration service, all three sources, cut into a file a minute: a retry storm raises the puts of
 * its etcd cluster, and the gateway answers 5xx for a minute. A finding or two and a chain of the same seed are always
 * the same.
 */
export function incident(seed: number, { cloudtrailRecords = 9000 } = {}): Files {
  const chance = random(seed);
  const puts: number[] = [];
  const spans = [...requests(chance, puts), ...storm(chance, puts)];
  const files: Files = new Map();
  for (let minute = 0; minute < minutes; minute += 1) {
    const fromMs = startMs + minute * 60_000;
    const own = spans.filter((span) => span.endMs >= fromMs && span.endMs < fromMs + 60_000);
    for (const [path, content] of traceFiles(own, 'prod')) files.set(path.replace('/', `/${minute}/`), content);
    files.set(`metrics/${minute}.jsonl.gz`, jsonLines(scrapes(chance, puts, fromMs)));
    files.set(cloudtrailPath(minute), cloudtrailFile(chance, fromMs, Math.floor(cloudtrailRecords / minutes)));
  }
  return files;
}

/** Writes a case folder that holds these files. */
export function writeCase(folder: string, files: Files, name = 'incident'): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'case.yaml'), `name: ${name}\n`);
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

/** 15 requests/s at the gateway, each a put of a key of its own. */
function requests(chance: Random, puts: number[]): Span[] {
  const spans: Span[] = [];
  const everyMs = 1000 / 15;
  for (let i = 0, dueMs = startMs; dueMs < endMs - 100; i += 1, dueMs += everyMs) {
    const failed = dueMs >= failingMs && dueMs < failedUntilMs && i % 5 < 3;
    const atMs = dueMs + chance.between(0, 20);
    const trace = { traceId: chance.hex(16), traceState: sampledAll };
    const root = chance.hex(8);
    const served = { method: 'PUT', route: '/v1/config/{key}', status: failed ? 503 : 200 };
    spans.push(server('api-gateway', trace, root, undefined, atMs, atMs + chance.between(5, 9), served));
    spans.push(put(chance, 'api-gateway', trace, root, atMs + 1, `/config/tenants/${i}`));
    puts.push(atMs + 3);
  }
  return spans;
}

/** Twenty loops of one pass a second, without back-off; before and beside them a check every 5 s. */
function storm(chance: Random, puts: number[]): Span[] {
  const spans: Span[] = [];
  for (let atMs = startMs + 300; atMs < endMs - 100; atMs += 5000) {
    const trace = { traceId: chance.hex(16), traceState: sampledAll, spanId: chance.hex(8) };
    const check = { service: 'config-sync', name: 'check routes', kind: 'internal' as const, attributes: {} };
    spans.push({ ...trace, ...check, startMs: atMs, endMs: atMs + 4 });
  }
  for (let dueMs = stormMs; dueMs < endMs - 100; dueMs += 50) {
    const atMs = dueMs + chance.between(0, 5);
    const trace = { traceId: chance.hex(16), traceState: sampledAll };
    const root = chance.hex(8);
    const span = { ...trace, service: 'config-sync', spanId: root, name: 'sync config', kind: 'internal' as const };
    spans.push({ ...span, startMs: atMs, endMs: atMs + 9, attributes: { 'config.key': '/config/routes' } });
    spans.push(put(chance, 'config-sync', trace, root, atMs + 2, '/config/routes'));
    puts.push(atMs + 4);
  }
  return spans;
}

function put(
  chance: Random,
  service: string,
  trace: Pick<Span, 'traceId'> & { traceState: string },
  parentSpanId: string,
  atMs: number,
  key: string,
): Span {
  const attributes = etcdCall('Put', 'config-store-0', key, grpcCodes.ok);
  const name = 'etcdserverpb.KV/Put';
  const spanId = chance.hex(8);
  return {
    ...trace,
    service,
    spanId,
    parentSpanId,
    name,
    kind: 'client',
    startMs: atMs,
    endMs: atMs + chance.between(1, 3),
    attributes,
  };
}

/** Every member applies every put; a scrape every 5 s. */
function scrapes(chance: Random, puts: readonly number[], fromMs: number): unknown[] {
  const lines: unknown[] = [];
  for (let atMs = fromMs + 2500; atMs < fromMs + 60_000; atMs += 5000) {
    const members = [0, 1, 2].map((member) => ({
      service: 'config-store',
      instance: `config-store-${member}`,
      startedMs: startMs - 86_400_000,
      points: points(chance, 50_000 + puts.filter((putMs) => putMs <= atMs).length),
    }));
    lines.push(metricsData(atMs, members));
  }
  return lines;
}

function points(chance: Random, applied: number): Point[] {
  const fsync = new Histogram(0.001, 14, applied, [0.5, 0.4, 0.1]);
  fsync.observe(chance, 3, [0.5, 0.5]);
  const handled = ['Put', 'Range', 'Txn', 'DeleteRange', 'Compact'].map(
    (method, index): Point => ({
      name: 'grpc_server_handled_total',
      type: 'counter',
      value: index === 0 ? applied : 10,
      labels: { grpc_method: method, grpc_code: 'OK', grpc_service: 'etcdserverpb.KV', grpc_type: 'unary' },
    }),
  );
  return [
    { name: 'etcd_mvcc_put_total', type: 'counter', value: applied },
    { name: 'etcd_disk_wal_fsync_duration_seconds', type: 'histogram', value: fsync },
    { name: 'etcd_server_has_leader', type: 'gauge', value: 1 },
    { name: 'etcd_server_quota_backend_bytes', type: 'gauge', value: 8_589_934_592 },
    ...handled,
  ];
}

const cloudtrailPath = (minute: number) =>
  `cloudtrail/AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/trail_${minute}.json.gz`;

function cloudtrailFile(chance: Random, fromMs: number, count: number): Buffer {
  const records = Array.from({ length: count }, () => cloudtrailRecord(chance, fromMs + chance.between(0, 60_000)));
  return gzipSync(JSON.stringify({ Records: records }));
}

function cloudtrailRecord(chance: Random, atMs: number): object {
  const id = chance.hex(16);
  return {
    eventVersion: '1.10',
    userIdentity: { type: 'IAMUser', arn: 'arn:aws:iam::123456789012:user/backup', accountId: '123456789012' },
    eventTime: `${new Date(atMs).toISOString().slice(0, 19)}Z`,
    eventSource: 's3.amazonaws.com',
    eventName: 'GetObject',
    awsRegion: 'eu-west-1',
    sourceIPAddress: '192.0.2.7',
    userAgent: 'aws-cli/2',
    requestParameters: { bucketName: 'example-logs', key: `logs/${id}` },
    requestID: id.slice(0, 16).toUpperCase(),
    eventID: `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`,
    readOnly: true,
    recipientAccountId: '123456789012',
    eventCategory: 'Data',
  };
}
