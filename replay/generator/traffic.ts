import { server } from '../generate/config-night.js';
import { moduleDownload } from '../generate/module-download.js';
import type { EtcdCluster, Outcome } from './etcd.js';
import type { Service, Trace, World } from './world.js';

/** Requests that a gateway takes and an api answers, most of them by writing to etcd. */
export interface Requests {
  readonly gateway: Service | undefined;
  readonly api: Service;
  readonly cluster: EtcdCluster;
  readonly perSecond: number;
  readonly writeShare: number;
  readonly bytes: number;
  readonly deadlineMs: number;
  /** By how much the rate changes from the first moment to the last: a part of a day's course. */
  readonly drift: number;
  /** The share of requests that fail for reasons that no etcd has. */
  readonly failing: (atMs: number) => number;
}

/** Draws requests for a cluster: as many as keep the evidence small. */
export function drawnRequests(world: World, cluster: EtcdCluster, given: Partial<Requests> = {}): Requests {
  const { chance } = world;
  const kept = chance.pick([1, 1, 0.5, 0.25]);
  const sampling = { kept, says: chance.yes(0.6) };
  const name = world.word();
  const gateway = chance.yes(0.7) ? world.service(`${name}-gateway`, sampling) : undefined;
  const most = 11_000 / ((world.lengthMs / 1000) * (gateway ? 3 : 2) * kept);
  const noise = chance.pick([0.0005, 0.002, 0.006]);
  return {
    gateway,
    api: world.service(`${name}-api`, sampling),
    cluster,
    perSecond: chance.between(3, Math.max(4, Math.min(25, most))),
    writeShare: chance.between(0.55, 0.95),
    bytes: Math.round(chance.logNormal(300, 0.7)),
    deadlineMs: chance.pick([500, 1000, 2000, 8000]),
    drift: chance.between(-0.12, 0.12),
    failing: () => noise,
    ...given,
  };
}

/** The puts a second that requests make. */
export const putRate = ({ perSecond, writeShare }: Requests): number => perSecond * writeShare;

export function serveRequests(world: World, requests: Requests): void {
  const { chance } = world;
  const { perSecond, drift, writeShare } = requests;
  const noun = chance.pick(['tenants', 'orders', 'items', 'flags']);
  const cached = chance.yes(0.5);
  let i = 0;
  for (let atMs = world.startMs; atMs < world.endMs; i += 1) {
    atMs += chance.wait(1000 / (perSecond * (1 + drift * ((atMs - world.startMs) / world.lengthMs - 0.5))));
    const writes = chance.yes(writeShare);
    const wrong = chance.yes(requests.failing(atMs));
    serve(world, requests, { atMs, writes, cached, wrong, noun, key: `/${noun}/${10_000 + i}` });
  }
}

interface Request {
  readonly atMs: number;
  readonly writes: boolean;
  /** Reads are answered from the api's own watch cache. */
  readonly cached: boolean;
  readonly wrong: boolean;
  readonly noun: string;
  readonly key: string;
}

function serve(world: World, requests: Requests, { atMs, writes, cached, wrong, noun, key }: Request): void {
  const { chance } = world;
  const { gateway, api, cluster, deadlineMs } = requests;
  const trace = world.trace(gateway ?? api);
  const [outer, inner] = [world.spanId(), world.spanId()];
  const apiMs = atMs + (gateway ? chance.between(0.4, 1.5) : 0);
  const callMs = apiMs + chance.between(0.3, 1.2);
  const answer = (endMs: number, status: number) => {
    const served = { method: writes ? 'PUT' : 'GET', route: `/v1/${noun}/{id}`, status };
    const apiEndMs = endMs + chance.between(0.2, 0.8);
    const one = (service: Service, id: string, parent: string | undefined, fromMs: number, toMs: number) =>
      world.span(trace, service, server(service.name, unnamed, id, parent, fromMs, toMs, served));
    if (gateway) one(gateway, outer, undefined, atMs, apiEndMs + chance.between(0.2, 1));
    one(api, inner, gateway && outer, apiMs, apiEndMs);
  };
  if (wrong) {
    answer(callMs + chance.between(1, 40), chance.pick([500, 502]));
    return;
  }
  if (!writes && cached) {
    answer(callMs + chance.between(0.2, 1), chance.yes(0.02) ? 404 : 200);
    return;
  }
  const bytes = writes ? Math.round(chance.logNormal(requests.bytes, 0.3)) : 0;
  const call = { atMs: callMs, method: writes ? 'Put' : 'Range', bytes, deadlineMs } as const;
  world.call({
    ...call,
    cluster,
    done: (outcome) => {
      world.etcdSpan(trace, api, inner, { ...call, key }, outcome);
      answer(outcome.endMs, outcome.code === 'OK' ? 200 : 503);
    },
  });
}

/** The world says which trace a span is of. */
const unnamed = { traceId: '', traceState: '' };

/** How the passes of a retry loop stand in its traces. */
export type Form = 'siblings' | 'linked roots' | 'bare roots';

export interface Failure {
  readonly trace: Trace;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly endMs: number;
}

export interface Storm {
  readonly service: Service;
  readonly cluster: EtcdCluster;
  readonly form: Form;
  readonly pauseMs: number;
  readonly bytes: number;
  readonly stopMs: number;
  /** One loop each. */
  readonly failures: readonly Failure[];
}

/** What each failure leaves behind: a loop that writes one key again after every pause, without back-off or end. */
export function retryStorm(world: World, storm: Storm): void {
  const { chance } = world;
  const style: Passes = {
    // A span around the write, or the write alone.
    wrapped: chance.yes(0.6),
    // otelgrpc names no key; a linked pass is still known by what it links to.
    key: storm.form === 'linked roots' && chance.yes(0.3) ? undefined : `/config/${world.word()}`,
    operation: chance.pick(['sync config', 'reconcile', 'publish routes', 'apply settings']),
    jitterMs: storm.pauseMs * chance.pick([0.002, 0.02, 0.05]),
    deadlineMs: chance.pick([1000, 3000, 5000]),
  };
  for (const failure of storm.failures)
    for (let atMs = failure.endMs + storm.pauseMs; atMs < storm.stopMs; atMs += storm.pauseMs)
      pass(world, storm, style, failure, atMs + chance.between(0, style.jitterMs));
}

interface Passes {
  readonly wrapped: boolean;
  readonly key: string | undefined;
  readonly operation: string;
  readonly jitterMs: number;
  readonly deadlineMs: number;
}

function pass(world: World, storm: Storm, style: Passes, failure: Failure, atMs: number): void {
  const { chance } = world;
  const { service, cluster, form } = storm;
  const trace = form === 'siblings' ? failure.trace : world.trace(service);
  const parent = form === 'siblings' ? failure.parentSpanId : undefined;
  const link = form === 'linked roots' ? { traceId: failure.trace.traceId, spanId: failure.spanId } : undefined;
  const root = world.spanId();
  const call = {
    atMs: atMs + (style.wrapped ? chance.between(0.5, 3) : 0),
    method: 'Put',
    bytes: storm.bytes,
    deadlineMs: style.deadlineMs,
    ...(style.key && { key: style.key }),
  } as const;
  world.call({
    ...call,
    cluster,
    done: (outcome) => {
      if (!style.wrapped) {
        world.etcdSpan(trace, service, parent, call, outcome, link);
        return;
      }
      world.etcdSpan(trace, service, root, call, outcome);
      world.span(trace, service, {
        spanId: root,
        ...(parent && { parentSpanId: parent }),
        name: style.operation,
        kind: 'internal',
        startMs: atMs,
        endMs: outcome.endMs + chance.between(0.1, 0.6),
        attributes: { 'config.generation': 7 },
        ...(outcome.code !== 'OK' && { error: outcome.says }),
        ...(link && { link }),
      });
    },
  });
}

/** A refresh in which so many downloads fail, the last one at `lastMs`; the failures that it leaves. */
export function failedDownloads(world: World, service: Service, count: number, lastMs: number): Failure[] {
  const { chance } = world;
  const trace = world.trace(service, true);
  const root = world.spanId();
  const failure = chance.pick([
    'dial tcp 192.0.2.250:443: i/o timeout',
    'dial tcp: lookup proxy.golang.example: no such host',
    'dial tcp 192.0.2.250:443: connect: connection refused',
    'net/http: TLS handshake timeout',
  ]);
  const tookMs = /timeout/.test(failure) ? 30_000 : 250;
  const spreadMs = chance.between(500, 4000);
  const word = world.word();
  const failures = Array.from({ length: count }, (_, i): Failure => {
    const endMs = i === 0 ? lastMs : lastMs - chance.between(0, spreadMs);
    const spanId = world.spanId();
    const module = `example.com/${word}/plugin-${i}`;
    const times = { startMs: endMs - tookMs, endMs };
    download(world, trace, service, { spanId, parentSpanId: root, module, ...times, failure });
    return { trace, spanId, parentSpanId: root, endMs };
  });
  world.span(trace, service, {
    spanId: root,
    name: 'refresh plugins',
    kind: 'internal',
    startMs: lastMs - spreadMs - tookMs - 20,
    endMs: lastMs + 2,
    attributes: { 'go.module.count': count },
    error: `${count} modules could not be downloaded`,
  });
  return failures;
}

/** What a service did all the time before: refreshes in which every module was there. */
export function usualRefreshes(world: World, service: Service, untilMs: number): void {
  const { chance } = world;
  const word = world.word();
  for (let atMs = world.startMs + chance.between(100, 20_000); atMs < untilMs; atMs += chance.between(40_000, 70_000)) {
    const trace = world.trace(service, true);
    const root = world.spanId();
    const endMs = atMs + chance.between(80, 240);
    const module = `example.com/${word}/plugin`;
    download(world, trace, service, { spanId: world.spanId(), parentSpanId: root, module, startMs: atMs + 5, endMs });
    const span = { name: 'refresh plugins', kind: 'internal', attributes: { 'go.module.count': 1 } } as const;
    world.span(trace, service, { ...span, spanId: root, startMs: atMs, endMs: endMs + 2 });
  }
}

interface Download {
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly module: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly failure?: string;
  readonly resend?: number;
}

function download(world: World, trace: Trace, service: Service, what: Download): void {
  const named = { ...what, service: service.name, traceId: trace.traceId, version: 'v1.4.2' };
  world.span(trace, service, moduleDownload(named));
}

/** Loops with nothing before them: a goroutine that lost its context, or a parent span of its own for siblings. */
export function orphanLoops(
  world: World,
  service: Service,
  count: number,
  fromMs: number,
  spreadMs: number,
): Failure[] {
  const { chance } = world;
  const trace = world.trace(service, true);
  const root = world.spanId();
  const span = { name: 'apply settings to all', kind: 'internal', attributes: {} } as const;
  world.span(trace, service, { ...span, spanId: root, startMs: fromMs - 5, endMs: fromMs + 1 });
  return Array.from({ length: count }, () => ({
    trace,
    spanId: root,
    parentSpanId: root,
    endMs: fromMs + chance.between(0, spreadMs),
  }));
}

export interface Import {
  readonly service: Service;
  readonly cluster: EtcdCluster;
  readonly fromMs: number;
  readonly toMs: number;
  readonly perSecond: number;
  readonly bytes: number;
}

/** Batches of puts at an even pace, each item its own key: a root a batch. */
export function batchImport(world: World, batches: Import): void {
  const { chance } = world;
  const { service, cluster, fromMs, toMs, perSecond, bytes } = batches;
  const size = chance.int(5, 25);
  const word = world.word();
  let item = 0;
  for (let dueMs = fromMs; dueMs < toMs; dueMs += chance.between(0.6, 1.4) * ((1000 * size) / perSecond)) {
    const trace = world.trace(service);
    const root = world.spanId();
    let endMs = dueMs;
    let left = size;
    const close = (outcome: Outcome) => {
      endMs = Math.max(endMs, outcome.endMs);
      left -= 1;
      if (left > 0) return;
      const span = { name: `import ${word}`, kind: 'internal', attributes: { 'batch.size': size } } as const;
      world.span(trace, service, { ...span, spanId: root, startMs: dueMs, endMs: endMs + 1 });
    };
    for (let i = 0; i < size; i += 1, item += 1) {
      const atMs = dueMs + ((i + 0.5) / size) * 0.8 * ((1000 * size) / perSecond);
      const call = {
        atMs,
        method: 'Put',
        bytes: Math.round(chance.logNormal(bytes, 0.2)),
        deadlineMs: 10_000,
      } as const;
      const key = `/${word}/${item}`;
      const done = (outcome: Outcome) => {
        world.etcdSpan(trace, service, root, { ...call, key }, outcome);
        close(outcome);
      };
      world.call({ ...call, cluster, done });
    }
  }
}

/** A loop that starts a new root at an even pace from the first moment to the last; it may write its own key. */
export function periodicLoop(world: World, service: Service, everyMs: number, cluster?: EtcdCluster): void {
  const { chance } = world;
  const key = `/agents/${service.name}`;
  const firstMs = world.startMs + chance.between(0, everyMs);
  for (let atMs = firstMs; atMs < world.endMs; atMs += everyMs) {
    const trace = world.trace(service);
    const root = world.spanId();
    const run = (endMs: number) => {
      const span = { name: 'heartbeat', kind: 'internal', attributes: {} } as const;
      world.span(trace, service, { ...span, spanId: root, startMs: atMs, endMs });
    };
    if (!cluster) {
      run(atMs + chance.between(2, 9));
      continue;
    }
    const call = { atMs: atMs + 1, method: 'Put', bytes: 120, deadlineMs: 5000 } as const;
    const done = (outcome: Outcome) => {
      world.etcdSpan(trace, service, root, { ...call, key }, outcome);
      run(outcome.endMs + 0.4);
    };
    world.call({ ...call, cluster, done });
  }
}

/** A worker's client calls that fail now and then, or for a while; it serves nobody and calls no etcd. */
export function mailer(world: World, service: Service, failsFromMs: number, failsToMs: number): void {
  const { chance } = world;
  for (let atMs = world.startMs; atMs < world.endMs; atMs += chance.wait(3000)) {
    const failed = chance.yes(atMs >= failsFromMs && atMs < failsToMs ? 0.6 : 0.03);
    world.span(world.trace(service), service, {
      spanId: world.spanId(),
      name: 'POST',
      kind: 'client',
      startMs: atMs,
      endMs: atMs + (failed ? 2000 : chance.between(30, 90)),
      attributes: {
        'http.request.method': 'POST',
        'server.address': 'mail.example.com',
        'server.port': 443,
        ...(failed ? { 'error.type': 'context.deadlineExceededError' } : { 'http.response.status_code': 202 }),
      },
      ...(failed && { error: 'context deadline exceeded' }),
    });
  }
}

/** A build whose download fails and is sent again after 1, 2, 4 … s until it goes through; a few status writes. */
export function backedOffBuild(world: World, service: Service, fromMs: number, cluster?: EtcdCluster): void {
  const { chance } = world;
  const trace = world.trace(service, true);
  const root = world.spanId();
  const resends = chance.int(3, 6);
  let nowMs = fromMs;
  for (let resend = 0; resend <= resends; resend += 1) {
    const endMs = nowMs + chance.between(180, 260);
    download(world, trace, service, {
      spanId: world.spanId(),
      parentSpanId: root,
      module: 'example.com/plugins/geo',
      startMs: nowMs,
      endMs,
      ...(resend > 0 && { resend }),
      ...(resend < resends && { failure: 'dial tcp 192.0.2.250:443: connect: connection refused' }),
    });
    nowMs = endMs + 1000 * 2 ** resend;
  }
  const span = { name: 'build plugin-image', kind: 'internal', attributes: {} } as const;
  world.span(trace, service, { ...span, spanId: root, startMs: fromMs - 500, endMs: nowMs });
  if (!cluster) return;
  for (const atMs of [fromMs - 200, fromMs + 2000, fromMs + 9000]) {
    const call = { atMs, method: 'Put', bytes: 180, deadlineMs: 5000 } as const;
    const done = (outcome: Outcome) =>
      world.etcdSpan(trace, service, root, { ...call, key: '/builds/plugin-image/status' }, outcome);
    world.call({ ...call, cluster, done });
  }
}

/** Loops that call another host again and again without pause to think: a real storm that writes no etcd. */
export function fruitlessStorm(world: World, service: Service, fromMs: number, toMs: number): void {
  const { chance } = world;
  const url = 'https://licences.example.com/v1/check';
  for (let atMs = fromMs; atMs < toMs; atMs += chance.between(240, 260))
    world.span(world.trace(service), service, {
      spanId: world.spanId(),
      name: 'GET',
      kind: 'client',
      startMs: atMs,
      endMs: atMs + chance.between(5, 20),
      attributes: { 'http.request.method': 'GET', 'url.full': url, 'http.response.status_code': 503 },
      error: '',
    });
}
