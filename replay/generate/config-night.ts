import { etcdCall, grpcCodes } from './etcd-calls.js';
import type { Cut } from './files.js';
import type { Random } from './random.js';
import type { Span } from './spans.js';

/**
 * One night of a configuration service, told around the recording etcd/live_3node_3.4.23, on its clock. What the
 * recording measured (its own load generator is not part of the story):
 *
 * - 18.8 puts/s of small values until the surge, again as attempts after it; all on m0, the leader; no reads at all;
 * - in the surge 25.4 puts/s are accepted for 12.6 s (WAL +1.67 MB/s after halving, db 0.3 MB -> 25.2 MB), then
 *   25.6/s refused;
 * - quota 25,165,824 bytes, NOSPACE from the first refusal past the end of the cut.
 */
export const night = {
  firstScrapeMs: 1795433945719,
  /** The last scrape that has nothing of the surge in it. */
  lastQuietScrapeMs: 1795434000719,
  surgeMs: 1795434005720,
  firstRefusalMs: 1795434018276,
  surgeStopMs: 1795434063331,
  /** The last scrape before delete, compaction and defragmentation (1795434078338). */
  lastScrapeMs: 1795434075719,
  putsPerSecond: 18.82,
} as const;

export const refusal = 'etcdserver: mvcc: database space exceeded';
/** The recording's leader: the only member that answered clients. */
export const leader = 'config-store-0';

/** The recording's members under the case's cluster. */
export function nightCut(toUnixMs: number): Cut {
  return {
    recording: 'etcd/live_3node_3.4.23',
    fromUnixMs: night.firstScrapeMs,
    toUnixMs,
    members: {
      m0: 'metrics/config-store/config-store-0',
      m1: 'metrics/config-store/config-store-1',
      m2: 'metrics/config-store/config-store-2',
    },
  };
}

/** What goes on every night from the first scrape to a time; writes fail from `refusedFromMs` on. */
export function nightTraffic(random: Random, toMs: number, refusedFromMs = Number.POSITIVE_INFINITY): Span[] {
  return [
    ...writes(random, toMs, refusedFromMs),
    ...reads(random, toMs),
    ...flagRefreshes(random, toMs),
    ...notifications(random, toMs),
  ];
}

/** The gateway's writes, each a put of a tenant's own key: the recording's whole put rate before the surge. */
function writes(random: Random, toMs: number, refusedFromMs: number): Span[] {
  const spans: Span[] = [];
  const everyMs = 1000 / night.putsPerSecond;
  for (let i = 0, dueMs: number = night.firstScrapeMs; dueMs < toMs; i += 1, dueMs += everyMs) {
    const startMs = dueMs + random.between(0, 15);
    // About one in four hundred waits for a lock in config-api before it writes.
    const waitMs = i % 400 === 170 ? random.between(180, 400) : 0;
    const apiMs = startMs + random.between(0.4, 1.2);
    const putMs = apiMs + waitMs + random.between(0.5, 1.5);
    const putEndMs = putMs + random.between(0.9, 2.6);
    const refused = putEndMs >= refusedFromMs;
    const apiEndMs = putEndMs + random.between(0.2, 0.6);
    if (apiEndMs > toMs - 1) break;
    const status = refused ? 503 : 200;
    const route = '/v1/tenants/{tenant}/config';
    const trace = { traceId: random.hex(16), traceState: sampledAll };
    const [gateway, api] = [random.hex(8), random.hex(8)];
    const served = { method: 'PUT', route, status };
    spans.push(server('api-gateway', trace, gateway, undefined, startMs, apiEndMs + random.between(0.3, 0.9), served));
    spans.push(server('config-api', trace, api, gateway, apiMs, apiEndMs, served));
    spans.push({
      ...trace,
      service: 'config-api',
      spanId: random.hex(8),
      parentSpanId: api,
      name: 'etcdserverpb.KV/Put',
      kind: 'client',
      startMs: putMs,
      endMs: putEndMs,
      attributes: etcdCall(
        'Put',
        leader,
        `/config/tenants/${10_000 + i}`,
        refused ? grpcCodes.resourceExhausted : grpcCodes.ok,
      ),
      ...(refused && { error: refusal }),
    });
  }
  return spans;
}

/** 8 % of the gateway's requests read. config-api answers from its watch cache, as the recording saw no Range. */
function reads(random: Random, toMs: number): Span[] {
  const spans: Span[] = [];
  const everyMs = 1000 / (night.putsPerSecond * (0.08 / 0.92));
  for (let i = 0, dueMs: number = night.firstScrapeMs + 200; dueMs < toMs; i += 1, dueMs += everyMs) {
    const startMs = dueMs + random.between(0, 300);
    const apiMs = startMs + random.between(0.4, 1.2);
    const apiEndMs = apiMs + random.between(0.3, 1.1);
    if (apiEndMs > toMs - 1) break;
    const status = i % 60 === 37 ? 404 : 200;
    const trace = { traceId: random.hex(16), traceState: sampledAll };
    const gateway = random.hex(8);
    const served = { method: 'GET', route: '/v1/tenants/{tenant}/config', status };
    spans.push(server('api-gateway', trace, gateway, undefined, startMs, apiEndMs + random.between(0.3, 0.9), served));
    spans.push(server('config-api', trace, random.hex(8), gateway, apiMs, apiEndMs, served));
  }
  return spans;
}

interface Trace {
  readonly traceId: string;
  readonly traceState: string;
}

interface Served {
  readonly method: string;
  readonly route: string;
  readonly status: number;
}

/** A SERVER span; as the conventions have it, only 5xx sets the status. */
export function server(
  service: string,
  trace: Trace,
  spanId: string,
  parentSpanId: string | undefined,
  startMs: number,
  endMs: number,
  { method, route, status }: Served,
): Span {
  const failed = status >= 500;
  return {
    ...trace,
    service,
    spanId,
    ...(parentSpanId && { parentSpanId }),
    name: `${method} ${route}`,
    kind: 'server',
    startMs,
    endMs,
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': status,
      ...(failed && { 'error.type': String(status) }),
    },
    ...(failed && { error: '' }),
  };
}

/** Every trace is kept: OpenTelemetry's consistent sampling with threshold 0. */
export const sampledAll = 'ot=th:0';

/** A decoy: a loop that starts a new root every 5 s all night, and writes nothing. */
function flagRefreshes(random: Random, toMs: number): Span[] {
  const spans: Span[] = [];
  for (let startMs: number = night.firstScrapeMs + 1300; startMs < toMs - 10; startMs += 5000) {
    spans.push({
      service: 'flag-agent',
      traceId: random.hex(16),
      traceState: sampledAll,
      spanId: random.hex(8),
      name: 'refresh feature flags',
      kind: 'internal',
      startMs,
      endMs: startMs + random.between(4, 9),
      attributes: { 'feature_flag.provider.name': 'flags.example.com' },
    });
  }
  return spans;
}

/** Noise: a worker whose mail host does not answer now and then. */
function notifications(random: Random, toMs: number): Span[] {
  const spans: Span[] = [];
  let i = 0;
  for (let dueMs: number = night.firstScrapeMs + 700; dueMs < toMs - 3000; dueMs += 2000, i += 1) {
    const startMs = dueMs + random.between(0, 400);
    const failed = i % 23 === 11;
    spans.push({
      service: 'notify-worker',
      traceId: random.hex(16),
      traceState: sampledAll,
      spanId: random.hex(8),
      name: 'POST',
      kind: 'client',
      startMs,
      endMs: startMs + (failed ? 2000 : random.between(30, 90)),
      attributes: {
        'http.request.method': 'POST',
        'server.address': 'mail.example.com',
        'server.port': 443,
        ...(failed ? { 'error.type': 'context.deadlineExceededError' } : { 'http.response.status_code': 202 }),
      },
      ...(failed && { error: 'context deadline exceeded' }),
    });
  }
  return spans;
}
