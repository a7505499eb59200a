import { etcdCall, grpcCodes } from '../generate/etcd-calls.js';
import type { Files } from '../generate/files.js';
import type { Attributes, Span } from '../generate/spans.js';
import type { Chance } from './chance.js';
import { type ClusterSpec, EtcdCluster, type MemberSpec, type Outcome, type PutOrRange } from './etcd.js';
import { evidenceFiles, type Format, rendered, type TakenScrape } from './write.js';

/** A service: its host's clock, and what its tracing keeps of the traces that begin in it. */
export interface Service {
  readonly name: string;
  /** The entity key that its spans lead to. */
  readonly subject: string;
  readonly clockMs: number;
  readonly kept: number;
  /** Whether kept spans say how they were sampled (`tracestate` `ot=th`). */
  readonly says: boolean;
}

/** A trace as its first span's service began it. */
export interface Trace {
  readonly traceId: string;
  readonly traceState?: string;
  readonly kept: boolean;
}

/** An etcd call that some span makes; `key` undefined where the instrumentation says none, as otelgrpc's own does. */
export interface EtcdCall extends PutOrRange {
  readonly cluster: EtcdCluster;
  readonly done: (outcome: Outcome) => void;
}

const codes: Readonly<Record<Outcome['code'], number>> = {
  OK: grpcCodes.ok,
  DeadlineExceeded: grpcCodes.deadlineExceeded,
  ResourceExhausted: grpcCodes.resourceExhausted,
  Unavailable: grpcCodes.unavailable,
};

/** What of the world the draws decide before any story: time, names, clocks, formats. */
export class World {
  readonly chance: Chance;
  readonly startMs: number;
  readonly endMs: number;
  readonly environment: string;
  readonly format: Format;
  readonly clusters: EtcdCluster[] = [];
  private readonly services = new Map<string, Service>();
  private readonly spans: Span[] = [];
  private readonly calls: EtcdCall[] = [];
  private readonly names: string[];
  private readonly collectorClockMs: number;
  private readonly goMetrics: boolean;

  constructor(chance: Chance, minutes: readonly [from: number, to: number], goMetrics = false) {
    this.chance = chance;
    this.goMetrics = goMetrics;
    this.startMs = Date.UTC(
      2026,
      chance.int(0, 11),
      chance.int(1, 28),
      chance.int(0, 23),
      chance.int(0, 59),
      chance.int(0, 59),
    );
    this.endMs = this.startMs + Math.round(chance.between(...minutes) * 60_000);
    this.environment = chance.pick(['prod', 'prod', 'staging', 'eu-1', '']);
    this.format = chance.pick(['otlp', 'prom-marked', 'prom-single'] as const);
    this.names = chance.some(WORDS, WORDS.length);
    this.collectorClockMs = chance.between(-400, 400);
  }

  get lengthMs(): number {
    return this.endMs - this.startMs;
  }

  /** A moment by its share of the time that the evidence covers. */
  share(of: number): number {
    return this.startMs + of * this.lengthMs;
  }

  /** A name that nothing else has. */
  word(): string {
    return this.names.pop() ?? `extra-${this.names.length}`;
  }

  service(name: string, sampling: Partial<Pick<Service, 'kept' | 'says'>> = {}): Service {
    const known = this.services.get(name);
    if (known) return known;
    const subject = this.environment ? `service:${this.environment}/${name}` : `service:${name}`;
    const clockMs = this.chance.yes(0.4) ? this.chance.between(-3000, 3000) : this.chance.between(-30, 30);
    const { kept = 1, says = this.chance.yes(0.5) } = sampling;
    const made = { name, subject, clockMs, kept, says };
    this.services.set(name, made);
    return made;
  }

  cluster(spec: Partial<ClusterSpec> = {}, most = 5): EtcdCluster {
    const made = new EtcdCluster(this.chance, { ...this.drawnCluster(most), ...spec }, this.startMs);
    this.clusters.push(made);
    return made;
  }

  /** Members, their names and addresses, and how often they are scraped: at most some 20,000 rows a cluster. */
  private drawnCluster(most: number): ClusterSpec {
    const { chance } = this;
    const count = chance.pick([1, 3, 3, 3, 5].filter((n) => n <= most));
    const everySeconds = chance.pick(
      [1, 2, 5, 5, 10, 10, 15, 15, 30].filter((s) => (this.lengthMs / 1000 / s) * count <= 650),
    );
    const name = `${this.word()}-${chance.pick(['store', 'etcd', 'kv', 'config'])}`;
    const ids = () => chance.hex(8);
    const byAddress = chance.yes(0.2);
    const net = `192.0.2.${10 * (this.clusters.length + 1)}`;
    const named = chance.pick(['', `.${name}.svc.cluster.local`, '.example.com']);
    const bareJob = this.format === 'otlp' && chance.yes(0.3);
    const members = Array.from({ length: count }, (_, i): MemberSpec => {
      const host = byAddress ? `${net.slice(0, -1)}${i}` : `${name}-${i}`;
      const port = this.format === 'otlp' && (byAddress || bareJob) ? ':2379' : '';
      return { instance: `${host}${port}`, address: byAddress ? host : `${host}${named}`, id: ids() };
    });
    return {
      name: byAddress ? null : bareJob ? 'etcd' : name,
      subject: byAddress ? `etcd:${members[0]!.address}` : `etcd:${name}`,
      members,
      scrapeEveryMs: everySeconds * 1000,
      missed: chance.pick([0, 0, 0.01, 0.03]),
      jitter: chance.pick([0, 0.01, 0.05]),
      quotaBytes: 2_147_483_648,
      inUseBytes: 4096 * chance.int(2_000, 60_000),
      fsyncMs: chance.between(0.6, 2.5),
      walCountedTimes: chance.pick([1, 2]),
      exportsWal: true,
      exportsGo: this.goMetrics,
    };
  }

  // ── what services do ──

  /** Begins a trace in a service; `keep` draws until the trace is one that sampling keeps. */
  trace(service: Service, keep = false): Trace {
    const threshold = BigInt(Math.round((1 - service.kept) * 256)) << 48n;
    for (;;) {
      const traceId = this.chance.hex(16);
      const kept = BigInt(`0x${traceId.slice(18)}`) >= threshold;
      if (keep && !kept) continue;
      return { traceId, kept, ...(service.says && { traceState: `ot=th:${thresholdText(threshold)}` }) };
    }
  }

  spanId(): string {
    return this.chance.hex(8);
  }

  /** Records a span on its host's clock, if its trace is kept and it ended before the evidence does. */
  span(trace: Trace, service: Service, span: Omit<Span, 'service' | 'traceId'>): void {
    if (!trace.kept || span.endMs >= this.endMs) return;
    const { traceId, traceState = '' } = trace;
    const [startMs, endMs] = [span.startMs + service.clockMs, span.endMs + service.clockMs];
    this.spans.push({ ...span, service: service.name, traceId, traceState, startMs, endMs });
  }

  call(call: EtcdCall): void {
    if (call.atMs < this.endMs) this.calls.push(call);
  }

  /** The client span of an etcd call that has been answered. */
  etcdSpan(
    trace: Trace,
    service: Service,
    parentSpanId: string | undefined,
    call: PutOrRange & { readonly key?: string },
    { endMs, code, says, member }: Outcome,
    link?: Span['link'],
  ): void {
    const { 'etcd.key': _, ...keyless } = etcdCall(call.method, member.address, '', codes[code]);
    const attributes: Attributes = call.key === undefined ? keyless : { ...keyless, 'etcd.key': call.key };
    this.span(trace, service, {
      spanId: this.spanId(),
      ...(parentSpanId && { parentSpanId }),
      name: `etcdserverpb.KV/${call.method}`,
      kind: 'client',
      startMs: call.atMs,
      endMs,
      attributes,
      ...(code !== 'OK' && { error: says }),
      ...(link && { link }),
    });
  }

  /** Lets everything happen in the order of time, and writes down what was seen of it. */
  files(): Files {
    const scrapes: TakenScrape[] = [];
    const due = this.clusters.flatMap((cluster) => this.scrapeTimes(cluster)).sort((a, b) => a.atMs - b.atMs);
    const calls = [...this.calls].sort((a, b) => a.atMs - b.atMs);
    let next = 0;
    for (const { cluster, member, atMs, clockMs, lost } of due) {
      for (; calls[next] && calls[next]!.atMs <= atMs; next += 1) answer(calls[next]!);
      const answered = cluster.scrape(member, atMs);
      const { name, members } = cluster.spec;
      const shownMs = Math.round(atMs + clockMs);
      const said = answered && !lost ? rendered(this.format, shownMs, answered) : undefined;
      scrapes.push({ cluster: name, instance: members[member]!.instance, atMs: shownMs, said });
    }
    for (; calls[next]; next += 1) answer(calls[next]!);
    return evidenceFiles(this.chance, this.format, this.environment, this.spans, scrapes);
  }

  /** A collector scrapes all members by its clock; a script beside a member writes that member's own time. */
  private scrapeTimes(cluster: EtcdCluster) {
    const { chance } = this;
    const { members, scrapeEveryMs, jitter, missed } = cluster.spec;
    return members.flatMap((_, member) => {
      const clockMs = this.format === 'otlp' ? this.collectorClockMs : chance.between(-1500, 1500);
      const firstMs = this.startMs + chance.between(0, scrapeEveryMs);
      const count = Math.floor((this.endMs - firstMs) / scrapeEveryMs);
      return Array.from({ length: count }, (_, i) => ({
        cluster,
        member,
        clockMs,
        atMs: firstMs + i * scrapeEveryMs + chance.between(-jitter, jitter) * scrapeEveryMs,
        lost: chance.yes(missed),
      }));
    });
  }
}

function answer(call: EtcdCall): void {
  call.done(call.cluster.call(call));
}

/** A rejection threshold as the tracestate has it: hex digits of 2^56 without their last zeros. */
function thresholdText(threshold: bigint): string {
  return threshold === 0n ? '0' : threshold.toString(16).padStart(14, '0').replace(/0+$/, '');
}

const WORDS = (
  'amber basalt cedar delta ember fjord garnet harbor indigo juniper ' +
  'kelp lagoon maple nectar onyx pebble quartz raven sable tundra'
).split(' ');
