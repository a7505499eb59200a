import fc from 'fast-check';
import type { MetricRow, SpanRow } from '../../shared/evidence.js';
import { sha256 } from '../../shared/hash.js';
import { point, span } from './store.js';

/** What happens on one etcd cluster in one night, and how well it was watched. Seconds count from the night's begin. */
export interface Story {
  readonly happens: 'storm' | 'slow disk' | 'leader loss' | 'nothing';
  readonly seed: number;
  readonly environment: string;
  readonly cluster: string;
  /** Of the services: `<prefix>sync`, `<prefix>gateway` and `<prefix>api`. */
  readonly prefix: string;
  readonly members: number;
  readonly scrapeSeconds: number;
  readonly onset: number;
  readonly length: number;
  /** Failed downloads; each leaves a loop behind. */
  readonly failures: number;
  readonly retrySeconds: number;
  readonly form: 'siblings' | 'linked roots' | 'roots';
  /** One pass in so many is kept, and says so; null for spans that do not say. */
  readonly scale: number | null;
  readonly reachesQuota: boolean;
  readonly troubles: Troubles;
}

/** What goes wrong with the evidence itself. */
export interface Troubles {
  /** A member that is not heard of for a while. */
  readonly gone?: { readonly member: number; readonly from: number; readonly seconds: number } | undefined;
  /** A member whose counters start again. */
  readonly restart?: { readonly member: number; readonly at: number } | undefined;
  /** One row in so many comes a second time with another body. */
  readonly conflictEvery?: number | undefined;
  /** One point in so many has no value (stale), or is not a number. */
  readonly emptyEvery?: number | undefined;
}

export interface Evidence {
  readonly spans: readonly SpanRow[];
  readonly points: readonly MetricRow[];
}

const troubles: fc.Arbitrary<Troubles> = fc.record({
  gone: fc.option(
    fc.record({
      member: fc.nat(2),
      from: fc.integer({ min: 100, max: 260 }),
      seconds: fc.integer({ min: 20, max: 200 }),
    }),
    { nil: undefined },
  ),
  restart: fc.option(fc.record({ member: fc.nat(2), at: fc.integer({ min: 60, max: 300 }) }), { nil: undefined }),
  conflictEvery: fc.option(fc.integer({ min: 50, max: 500 }), { nil: undefined }),
  emptyEvery: fc.option(fc.integer({ min: 50, max: 500 }), { nil: undefined }),
});

/** Any story. `fixed` holds what a property is about. */
export function stories(fixed: Partial<Story> = {}): fc.Arbitrary<Story> {
  return fc
    .record<Story>({
      happens: fc.constantFrom('storm', 'storm', 'slow disk', 'leader loss', 'nothing'),
      seed: fc.nat(1_000_000),
      environment: fc.constantFrom('prod', 'staging'),
      cluster: fc.constantFrom('config-store', 'orders', 'kv7'),
      prefix: fc.constantFrom('', 'eu-'),
      members: fc.integer({ min: 1, max: 3 }),
      scrapeSeconds: fc.constantFrom(15, 10, 5, 5, 2, 1),
      onset: fc.integer({ min: 120, max: 150 }),
      length: fc.integer({ min: 90, max: 120 }),
      failures: fc.integer({ min: 12, max: 24 }),
      retrySeconds: fc.integer({ min: 1, max: 3 }),
      form: fc.constantFrom('siblings', 'linked roots', 'roots'),
      scale: fc.constantFrom(null, 1, 2, 4),
      reachesQuota: fc.boolean(),
      troubles,
    })
    .map((story) => ({ ...story, ...fixed }));
}

/** All that spans and scrapes say of a night. The same story always tells the same. */
export function evidenceOf(story: Story): Evidence {
  const chance = new Chance(story.seed);
  const passes = story.happens === 'storm' ? passTimes(story) : [];
  const etcd = new Etcd(story, passes);
  const ids = new Ids(story);
  const spans = [
    ...requests(story, etcd, ids, chance),
    ...steadyLoop(story, ids),
    ...(story.happens === 'storm' ? storm(story, etcd, ids, chance) : []),
  ];
  const points = scrapes(story, etcd, chance);
  return {
    spans: spans.flatMap(conflicting(story, otherSpan)),
    points: points.flatMap(conflicting(story, otherPoint)),
  };
}

export const nightOf = (story: Story): number => story.onset + story.length + 90;

/** Any order. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const chance = new Chance(seed);
  return items
    .map((item) => ({ item, place: chance.next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

/** A small generator of repeatable chance (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

/** Trace and span ids that no other story has. */
class Ids {
  #last = 0;
  readonly #prefix: string;

  constructor({ cluster, seed, environment, prefix }: Story) {
    this.#prefix = Buffer.from(`${environment}${prefix}${cluster}${seed}`).toString('hex');
  }

  next(length: number): string {
    this.#last++;
    return (this.#prefix + this.#last.toString(16).padStart(8, '0')).slice(-length).padStart(length, '0');
  }
}

/** An hour's border, where folds are written down and taken up, falls into the onset. */
const START = BigInt(Date.UTC(2026, 2, 1, 1, 57, 47)) * 1_000_000n;
const nanos = (seconds: number): bigint => START + BigInt(Math.round(seconds * 1e6)) * 1000n;

const USUAL_PUTS = 10;
const USUAL_PUT_BYTES = 300;
const STORM_PUT_BYTES = 65_536;
const USUAL_SIZE = 10_000_000;
const KEY = '/config/routes';

/** Another service writes many keys while the story's storm goes on, each once. */
export function importWrites(story: Story): Evidence {
  const etcd = new Etcd(story, []);
  const spans = Array.from({ length: story.length * 40 }, (_, count) => {
    const traceId = (count + 1).toString(16).padStart(32, 'f');
    const at = story.onset + count / 40;
    return put(story, etcd, at, {
      traceId,
      spanId: traceId.slice(16),
      service: 'import',
      targetKey: `/imported/${count}`,
    });
  });
  return { spans, points: [] };
}

/** When each loop starts a pass: evenly spread, from the failure that it follows to the storm's end. */
function passTimes({ onset, length, failures, retrySeconds }: Story): { atSeconds: number; loop: number }[] {
  const passes = [];
  for (let loop = 0; loop < failures; loop++)
    for (let round = 1; round * retrySeconds < length; round++)
      passes.push({ atSeconds: onset + (loop * retrySeconds) / failures + round * retrySeconds, loop });
  return passes.filter(({ atSeconds }) => atSeconds < onset + length).sort((a, b) => a.atSeconds - b.atSeconds);
}

/** What the cluster goes through, second by second. */
class Etcd {
  readonly puts: number[] = [0];
  readonly refused: number[] = [0];
  readonly walBytes: number[] = [0];
  readonly inUse: number[] = [USUAL_SIZE];
  readonly quota: number;
  readonly #story: Story;
  #fullAt = Number.POSITIVE_INFINITY;

  constructor(story: Story, passes: readonly { atSeconds: number }[]) {
    this.#story = story;
    const growth = passes.length * STORM_PUT_BYTES;
    this.quota = story.reachesQuota && growth > 0 ? USUAL_SIZE + growth / 2 : 2_147_483_648;
    const written = new Map<number, number>();
    for (const { atSeconds } of passes)
      written.set(Math.floor(atSeconds), (written.get(Math.floor(atSeconds)) ?? 0) + 1);
    for (let second = 0; second < nightOf(story); second++) this.#pass(second, written.get(second) ?? 0);
  }

  #pass(second: number, stormPuts: number): void {
    const usual = USUAL_PUTS + (second % 17 === 3 ? 1 : 0) - (second % 23 === 5 ? 1 : 0);
    const stands = this.isFull(second) || this.isLeaderless(second);
    const stormBytes = stands ? 0 : stormPuts * STORM_PUT_BYTES;
    const over = second >= this.#end;
    const inUse = over ? USUAL_SIZE + second * 100 : this.inUse.at(-1)! + (stands ? 0 : 100) + stormBytes;
    if (inUse >= this.quota) this.#fullAt = Math.min(this.#fullAt, second + 1);
    this.puts.push(this.puts.at(-1)! + (stands ? 0 : usual + stormPuts));
    this.refused.push(this.refused.at(-1)! + (this.isFull(second) ? usual + stormPuts : 0));
    this.walBytes.push(this.walBytes.at(-1)! + (stands ? 0 : usual * USUAL_PUT_BYTES) + stormBytes * 2);
    this.inUse.push(Math.min(inUse, this.quota));
  }

  isFull(seconds: number): boolean {
    return seconds >= this.#fullAt && seconds < this.#end;
  }

  isLeaderless(seconds: number): boolean {
    const { happens, onset } = this.#story;
    return happens === 'leader loss' && seconds >= onset && seconds < onset + 20;
  }

  isSlow(seconds: number): boolean {
    return this.#story.happens === 'slow disk' && seconds >= this.#story.onset && seconds < this.#end;
  }

  get #end(): number {
    return this.#story.onset + this.#story.length;
  }

  /** How a put at this moment fails, if it does. */
  refusal(seconds: number): { rpcStatus: string; text: string } | undefined {
    const { happens, onset } = this.#story;
    if (this.isFull(seconds))
      return { rpcStatus: 'RESOURCE_EXHAUSTED', text: 'etcdserver: mvcc: database space exceeded' };
    if (this.isSlow(seconds) && Math.floor(seconds * 3) % 3 > 0)
      return { rpcStatus: 'DEADLINE_EXCEEDED', text: 'etcdserver: request timed out' };
    if (happens === 'leader loss' && seconds >= onset && seconds < onset + 45)
      return { rpcStatus: 'UNAVAILABLE', text: 'etcdserver: no leader' };
    return undefined;
  }
}

/** A put that a span shows, with how it went. */
function put(story: Story, etcd: Etcd, at: number, own: Partial<SpanRow>): SpanRow {
  const refusal = etcd.refusal(at);
  return named(story, at, {
    kind: 'client',
    name: 'etcdserverpb.KV/Put',
    operation: 'etcdserverpb.KV/Put',
    target: `${story.cluster}-0:2379`,
    rpcStatus: refusal?.rpcStatus ?? 'OK',
    status: refusal ? 'error' : 'unset',
    statusMessage: refusal?.text ?? null,
    httpStatus: null,
    ...own,
  });
}

function named(story: Story, at: number, own: Partial<SpanRow>): SpanRow {
  const started = nanos(at);
  return span(0, 0, {
    scope: story.environment,
    startUnixNano: started,
    endUnixNano: started + 5_000_000n,
    httpStatus: null,
    ...own,
  });
}

/** Three requests a second, from the gateway through the api to a put of a key of their own. */
function requests(story: Story, etcd: Etcd, ids: Ids, chance: Chance): SpanRow[] {
  const spans: SpanRow[] = [];
  for (let count = 0; count < nightOf(story) * 3; count++) {
    const at = count / 3 + chance.next() * 0.2;
    const traceId = ids.next(32);
    const [gateway, call, api] = [ids.next(16), ids.next(16), ids.next(16)];
    const httpStatus = etcd.refusal(at + 0.003) ? 503 : count % 700 === 13 ? 500 : 200;
    const served = { traceId, operation: 'PUT /v1/config', httpStatus };
    spans.push(
      named(story, at, { ...served, service: `${story.prefix}gateway`, spanId: gateway, kind: 'server' }),
      named(story, at + 0.001, {
        ...served,
        service: `${story.prefix}gateway`,
        spanId: call,
        parentSpanId: gateway,
        kind: 'client',
      }),
      named(story, at + 0.002, {
        ...served,
        service: `${story.prefix}api`,
        spanId: api,
        parentSpanId: call,
        kind: 'server',
      }),
      put(story, etcd, at + 0.003, {
        traceId,
        service: `${story.prefix}api`,
        spanId: ids.next(16),
        parentSpanId: api,
        targetKey: `/config/tenants/${count}`,
      }),
    );
  }
  return spans;
}

/** What is no storm: a loop that has run all night, and a service that answers its probe. */
function steadyLoop(story: Story, ids: Ids): SpanRow[] {
  const spans: SpanRow[] = [];
  for (let at = 1; at < nightOf(story); at += 5) {
    const own = { service: `${story.prefix}poller`, kind: 'internal' as const, operation: 'poll flags' };
    spans.push(named(story, at, { ...own, traceId: ids.next(32), spanId: ids.next(16), targetKey: '/flags' }));
    const probe = { service: `${story.prefix}sync`, operation: 'GET /healthz', httpStatus: 200 };
    spans.push(named(story, at, { ...probe, traceId: ids.next(32), spanId: ids.next(16) }));
  }
  return spans;
}

function storm(story: Story, etcd: Etcd, ids: Ids, chance: Chance): SpanRow[] {
  const { onset, failures, retrySeconds, form, scale, length } = story;
  const service = `${story.prefix}sync`;
  const internal = { service, kind: 'internal' as const, operation: 'sync config' };
  const spans: SpanRow[] = [];
  const loops = Array.from({ length: failures }, (_, loop) => {
    const failedAt = onset + (loop * retrySeconds) / failures;
    const [traceId, root, failed] = [ids.next(32), ids.next(16), ids.next(16)];
    spans.push(
      named(story, failedAt - 2.1, { ...internal, traceId, spanId: root, endUnixNano: nanos(onset + length) }),
    );
    spans.push(
      named(story, failedAt - 2, {
        service,
        kind: 'client',
        operation: 'go mod download',
        traceId,
        spanId: failed,
        parentSpanId: root,
        endUnixNano: nanos(failedAt),
        status: 'error',
        statusMessage:
          'go: example.com/geo@v1.4.2: Get "https://proxy.example.com/geo.mod": dial tcp 192.0.2.10:443: i/o timeout',
      }),
    );
    return { traceId, root, failed };
  });
  for (const { atSeconds, loop } of passTimes(story)) {
    const { traceId, root, failed } = loops[loop]!;
    const inside = form === 'siblings';
    if (!inside && chance.next() >= 1 / (scale ?? 1)) continue;
    const adjustedCount = scale === null ? null : inside ? 1 : scale;
    const own = { traceId: inside ? traceId : ids.next(32), adjustedCount };
    const pass = ids.next(16);
    spans.push(
      named(story, atSeconds, {
        ...internal,
        ...own,
        operation: 'write config',
        spanId: pass,
        parentSpanId: inside ? root : null,
        targetKey: KEY,
        links: form === 'linked roots' ? JSON.stringify([{ traceId, spanId: failed }]) : '[]',
      }),
      put(story, etcd, atSeconds + 0.001, {
        ...own,
        service,
        spanId: ids.next(16),
        parentSpanId: pass,
        targetKey: KEY,
      }),
    );
  }
  return spans;
}

const BOUNDS = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128];
const FSYNCS = 10;

/** Every member applies every put; the disk that is slow is the first member's. */
function scrapes(story: Story, etcd: Etcd, chance: Chance): MetricRow[] {
  const rows: MetricRow[] = [];
  const { gone, restart } = story.troubles;
  for (let member = 0; member < story.members; member++)
    for (let due = (0.1 + 0.3 * member) * story.scrapeSeconds; due < nightOf(story) - 1; due += story.scrapeSeconds) {
      const at = due + chance.next() * 0.02;
      if (gone && gone.member === member && at >= gone.from && at < gone.from + gone.seconds) continue;
      const since = restart && restart.member === member && at >= restart.at ? restart.at : undefined;
      rows.push(...scrape(story, etcd, member, at, since));
    }
  const { emptyEvery } = story.troubles;
  if (emptyEvery === undefined) return rows;
  return rows.map((row, index) => (index % emptyEvery === 7 ? withValue(row, index % 2 ? null : Number.NaN) : row));
}

function scrape(story: Story, etcd: Etcd, member: number, at: number, restartedAt = -1): MetricRow[] {
  const second = Math.floor(at);
  const stands = (counter: readonly number[], now: number) =>
    restartedAt < 0 ? now : now - counter[Math.floor(restartedAt)]!;
  const counted = (counter: readonly number[]) => {
    const now = counter[second]! + (counter[second + 1]! - counter[second]!) * (at - second);
    return Math.floor(stands(counter, now));
  };
  const slowFrom = Math.max(story.onset, restartedAt);
  const slowSeconds =
    member === 0 && story.happens === 'slow disk' ? within(at, slowFrom, story.onset + story.length) : 0;
  const fsyncs = BOUNDS.map(() => 0).concat(0);
  fsyncs[1] = Math.floor(FSYNCS * (at - Math.max(0, restartedAt) - slowSeconds));
  fsyncs[6] = Math.floor(FSYNCS * slowSeconds);
  const lost = story.happens === 'leader loss' && at >= story.onset + 1 ? 1 : 0;
  const own = {
    timeUnixNano: nanos(at),
    service: story.cluster,
    instance: `${story.cluster}-${member}`,
  };
  const value = (metric: string, number: number, attributes = '{}') =>
    point(metric, 0, { ...own, value: number, attributes });
  return [
    value('etcd_mvcc_put_total', counted(etcd.puts)),
    value('etcd_disk_wal_write_bytes_total', counted(etcd.walBytes)),
    value('etcd_mvcc_db_total_size_in_use_in_bytes', etcd.inUse[second]!),
    value('etcd_mvcc_db_total_size_in_bytes', Math.max(...etcd.inUse.slice(0, second + 1))),
    value('etcd_server_quota_backend_bytes', etcd.quota),
    value('etcd_server_slow_apply_total', Math.floor(2 * slowSeconds)),
    value('etcd_server_leader_changes_seen_total', 1 + lost),
    value('etcd_server_has_leader', etcd.isLeaderless(at) ? 0 : 1),
    value('process_start_time_seconds', 1_772_000_000 + restartedAt),
    value(
      'grpc_server_handled_total',
      counted(etcd.refused),
      '{"grpc_code":"ResourceExhausted","grpc_method":"Put","grpc_service":"etcdserverpb.KV"}',
    ),
    point('etcd_disk_wal_fsync_duration_seconds', 0, {
      ...own,
      kind: 'histogram',
      value: null,
      bounds: BOUNDS,
      counts: fsyncs,
      count: fsyncs.reduce((sum, count) => sum + count, 0),
    }),
  ];
}

/** How much of the time until `at` lies between `from` and `to`. */
function within(at: number, from: number, to: number): number {
  return Math.max(0, Math.min(at, to) - from);
}

/** Now and then a row comes a second time with another body. */
function conflicting<Row>({ troubles }: Story, other: (row: Row) => Row) {
  const every = troubles.conflictEvery;
  return (row: Row, index: number): Row[] => (every !== undefined && index % every === 11 ? [row, other(row)] : [row]);
}

function otherSpan(row: SpanRow): SpanRow {
  return { ...row, endUnixNano: row.endUnixNano + 1_000_000n, bodyHash: sha256(`another ${row.bodyHash}`) };
}

function otherPoint(row: MetricRow): MetricRow {
  return withValue(row, row.value === null ? null : row.value * 1.5);
}

function withValue(row: MetricRow, value: number | null): MetricRow {
  return { ...row, value, bodyHash: sha256(`${value} ${row.bodyHash}`) };
}
