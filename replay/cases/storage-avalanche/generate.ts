import { leader, night, nightCut, nightTraffic, refusal, sampledAll } from '../../generate/config-night.js';
import { etcdCall, grpcCodes } from '../../generate/etcd-calls.js';
import { cutScrapes, type Files, writeWhenRun } from '../../generate/files.js';
import { moduleDownload } from '../../generate/module-download.js';
import { type Random, random } from '../../generate/random.js';
import { type Span, traceFiles } from '../../generate/spans.js';

/** The traces, around the recording's clock. */
export function files(): Files {
  const chance = random(0x5a1c);
  const failures = failedRefresh(chance);
  const spans = [
    ...nightTraffic(chance, night.lastScrapeMs, night.firstRefusalMs),
    ...earlierRefresh(chance),
    ...failures,
    ...retries(
      chance,
      failures.filter((span) => span.error !== undefined && span.name === 'go mod download'),
    ),
  ];
  return traceFiles(spans, 'prod');
}

/** The scrapes, as etcd gave them. */
export function recorded(folder: string): Files {
  return cutScrapes(folder, nightCut(night.lastScrapeMs));
}

const service = 'config-sync';

/**
 * Twenty loops of one pass every 3 s are 6.67 puts/s. The recording's surge is 25.4 - 18.8 = 6.6 puts/s above the
 * baseline while it is accepted, and 25.6 - 18.8 = 6.8 attempts/s while it is refused.
 */
const loops = 20;
const pauseMs = 3000;

/**
 * What one pass writes. The recording's values were 64 KiB for all of its 25.4 puts/s; told as 6.6 puts/s of one
 * document beside the small writes of every night, the same bytes are 253,000 a put.
 */
const documentBytes = 253_000;

/** Where the last failure of a download lies so that its loop's first pass is still at the surge's begin. */
const lastFailureMs = night.surgeMs - pauseMs + (pauseMs / loops) * (loops - 1);

/** A refresh as it should be: four modules, all there. */
function earlierRefresh(chance: Random): Span[] {
  const startMs = night.firstScrapeMs + 4_100;
  const [traceId, root] = [chance.hex(16), chance.hex(8)];
  const fetched = plugins.slice(0, 4).map((module, i) =>
    moduleDownload({
      service,
      traceId,
      spanId: chance.hex(8),
      parentSpanId: root,
      module,
      version: 'v1.4.1',
      startMs: startMs + 5 + i * 60,
      endMs: startMs + 5 + i * 60 + chance.between(80, 240),
    }),
  );
  return [refresh(traceId, root, startMs, startMs + 700), ...fetched];
}

/** The refresh that fails: the proxy does not answer for 20 of 24 modules, each after the dialler's 30 s. */
function failedRefresh(chance: Random): Span[] {
  const [traceId, root] = [chance.hex(16), chance.hex(8)];
  const base = { service, traceId, parentSpanId: root, version: 'v1.4.2' };
  const firstMs = night.surgeMs - pauseMs - 30_000;
  const fetched = plugins.slice(loops).map((module, i) => {
    const startMs = firstMs - 400 + i * 80;
    return moduleDownload({
      ...base,
      spanId: chance.hex(8),
      module,
      startMs,
      endMs: startMs + chance.between(90, 260),
    });
  });
  const failed = plugins.slice(0, loops).map((module, i) => {
    const endMs = night.surgeMs - pauseMs + (pauseMs / loops) * i;
    const failure = 'dial tcp 192.0.2.10:443: i/o timeout';
    return moduleDownload({ ...base, spanId: chance.hex(8), module, startMs: endMs - 30_000.4, endMs, failure });
  });
  const whole = refresh(traceId, root, firstMs - 450, lastFailureMs + 2);
  return [{ ...whole, error: `${loops} of ${plugins.length} modules could not be downloaded` }, ...failed, ...fetched];
}

function refresh(traceId: string, spanId: string, startMs: number, endMs: number): Span {
  const attributes = { 'go.module.count': 24 };
  return {
    service,
    traceId,
    traceState: sampledAll,
    spanId,
    name: 'refresh plugins',
    kind: 'internal',
    startMs,
    endMs,
    attributes,
  };
}

/**
 * What each failure leaves behind: a goroutine that writes the routes again every 3 s, for ever and without back-off,
 * until config-sync is restarted. A pass is a new root, linked to the download that failed. Half of the passes are
 * sampled (`ot=th:8`): those whose trace id has random bits of at least the threshold, as OpenTelemetry's consistent
 * sampling has it.
 */
function retries(chance: Random, failures: readonly Span[]): Span[] {
  const spans: Span[] = [];
  for (const { traceId, spanId, endMs } of failures) {
    for (let startMs = endMs + pauseMs; startMs < night.surgeStopMs; startMs += pauseMs) {
      const attempt = pass(chance, startMs + chance.between(0, 4), { traceId, spanId });
      if (Number.parseInt(attempt[0]!.traceId[18]!, 16) >= 8) spans.push(...attempt);
    }
  }
  return spans;
}

function pass(chance: Random, startMs: number, link: NonNullable<Span['link']>): Span[] {
  const trace = { service, traceId: chance.hex(16), traceState: 'ot=th:8' };
  const root = chance.hex(8);
  const putMs = startMs + chance.between(2, 5);
  const putEndMs = putMs + chance.between(3, 8);
  const refused = putEndMs >= night.firstRefusalMs;
  const outcome = refused ? { error: refusal } : {};
  const call = etcdCall('Put', leader, '/config/routes', refused ? grpcCodes.resourceExhausted : grpcCodes.ok);
  return [
    {
      ...trace,
      ...outcome,
      spanId: root,
      name: 'sync config',
      kind: 'internal',
      startMs,
      endMs: putEndMs + chance.between(0.2, 0.6),
      attributes: { 'config.key': '/config/routes' },
      link,
    },
    {
      ...trace,
      ...outcome,
      spanId: chance.hex(8),
      parentSpanId: root,
      name: 'etcdserverpb.KV/Put',
      kind: 'client',
      startMs: putMs,
      endMs: putEndMs,
      attributes: { ...call, 'rpc.message.uncompressed_size': documentBytes },
    },
  ];
}

const plugins = (
  'acl audit auth billing cache canary cors csp geo gzip headers health ' +
  'jwt limits locale metrics mirror oidc proxy quota redirect rewrite tls waf'
)
  .split(' ')
  .map((name) => `example.com/plugins/${name}`);

writeWhenRun(import.meta.url, 'storage-avalanche', files, recorded);
