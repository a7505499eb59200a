import { Histogram, type Point, type Scrape, Summary } from '../generate/metrics.js';
import type { Chance } from './chance.js';

export interface MemberSpec {
  /** service.instance.id, or the folder's name. */
  readonly instance: string;
  /** What a client's span says it called. */
  readonly address: string;
  /** Raft id, as etcd_network_active_peers names it. */
  readonly id: string;
}

export interface ClusterSpec {
  /** service.name or the folder's name; null where members are known by address only. */
  readonly name: string | null;
  /** The entity key that this evidence leads to. */
  readonly subject: string;
  readonly members: readonly MemberSpec[];
  readonly scrapeEveryMs: number;
  /** Share of scrapes that are lost, and how far a scrape strays from its time, as a share of the interval. */
  readonly missed: number;
  readonly jitter: number;
  readonly quotaBytes: number;
  /** Bytes in use when the story begins; what of it a compaction leaves. */
  readonly inUseBytes: number;
  readonly fsyncMs: number;
  /** etcd before 3.6 counts the bytes of its WAL twice. */
  readonly walCountedTimes: 1 | 2;
  readonly exportsWal: boolean;
  /** Members export what their Go runtime says of its collector. */
  readonly exportsGo: boolean;
}

export interface PutOrRange {
  readonly atMs: number;
  readonly method: 'Put' | 'Range';
  readonly bytes: number;
  readonly deadlineMs: number;
}

export interface Outcome {
  readonly endMs: number;
  readonly code: 'OK' | 'ResourceExhausted' | 'Unavailable' | 'DeadlineExceeded';
  readonly says: string;
  readonly member: MemberSpec;
}

/** How the log's disk answers to load: both are what it bears, in bytes/s of log, and how long its cache hides it. */
interface Disk {
  bytesPerSecond: number;
  hiddenMs: number;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Recorded: 45 kB allocated for a put of 1 KiB, 1.8 MB for one of 64 KiB; 0.3 MB/s by an idle member; a cycle each 20 MB. */
export const GARBAGE = { aPut: 20_000, aByte: 25, idleBytesPerSecond: 300_000, aCycle: 20_971_520 } as const;

const PAGE = 4096;
/** An entry's cost beside its value: headers, key, CRC. */
const ENTRY_BYTES = 96;
/** etcd's --warning-apply-duration. */
const SLOW_APPLY_MS = 100;

/**
 * An etcd cluster as its clients and its scrapes see it. Calls must come in the order of time. What follows from what:
 *
 * - an accepted put is an entry in every member's log, an fsync (batched when they queue), a revision, and pages;
 * - fsync waits grow as 1/(1-load) of what the disk bears (an M/M/1 queue), or by what is wrong with one disk;
 * - a put is answered when the leader and a quorum have synced it and the member that was asked has applied it;
 * - applying waits for the same disk; a client gives up at its deadline, and the put is applied all the same;
 * - a put that would cross the quota raises an alarm: from then on every put is refused at once, its alarm request is
 *   still an entry of the log, and reads go on;
 * - without a leader puts and reads wait; the election ends that;
 * - a put is garbage on every member, a refused one on the member that was asked: the collector runs as often as the heap fills.
 */
export class EtcdCluster {
  readonly spec: ClusterSpec;
  readonly disk: Disk = { bytesPerSecond: Number.POSITIVE_INFINITY, hiddenMs: 5000 };
  private readonly chance: Chance;
  private readonly members: Member[];
  private readonly slowDisks: (Span & { readonly member: number; readonly factor: number })[] = [];
  private readonly litter: (Span & { readonly member: number; readonly bytesPerSecond: number })[] = [];
  private readonly leaderless: Span[] = [];
  private readonly plan: { readonly atMs: number; readonly act: (atMs: number) => void }[] = [];
  private planned = 0;
  private leader: number;
  private nowMs: number;
  private logRate = 0;
  private pressure = 1;
  private inUse: number;
  private size: number;
  /** The NOSPACE alarm: raised by the first put that would not fit, and disarmed by nobody. */
  private noSpace = false;

  constructor(chance: Chance, spec: ClusterSpec, startMs: number) {
    this.chance = chance;
    this.spec = spec;
    this.nowMs = startMs;
    this.members = spec.members.map((member) => new Member(chance, member, spec, startMs));
    this.leader = chance.int(0, spec.members.length - 1);
    this.inUse = spec.inUseBytes;
    this.size = spec.inUseBytes + PAGE * chance.int(0, 200);
  }

  get leads(): number {
    return this.leader;
  }

  // ── what is made to happen ──

  /** The same factor on a disk for a while; a hiccup is one of a second or two. */
  slowDisk(member: number, fromMs: number, toMs: number, factor: number): void {
    this.slowDisks.push({ member, fromMs, toMs, factor });
  }

  /** Something else than puts that fills a member's heap: great ranges, watchers. */
  fillHeap(member: number, fromMs: number, toMs: number, bytesPerSecond: number): void {
    this.litter.push({ member, fromMs, toMs, bytesPerSecond });
  }

  /** No leader for a while, and another one after it; `stopped` do not answer meanwhile and start anew. */
  loseLeader(fromMs: number, toMs: number, stopped: readonly number[]): void {
    this.leaderless.push({ fromMs, toMs });
    for (const member of stopped) this.stop(member, fromMs, toMs + 2000);
    this.at(fromMs, () => {
      for (const member of this.members) member.hasLeader = false;
    });
    this.at(toMs, () => {
      const able = this.members.map((_, i) => i).filter((i) => i !== this.leader && !stopped.includes(i));
      this.leader = able.length > 0 ? this.chance.pick(able) : this.leader;
      for (const member of this.members) {
        member.hasLeader = true;
        if (!member.down) member.leaderChanges += 1;
      }
    });
  }

  /** The leader hands over before it is stopped: a change of leader that no client feels. */
  handOver(atMs: number): void {
    this.at(atMs, () => {
      this.leader = (this.leader + 1) % this.members.length;
      for (const member of this.members) member.leaderChanges += 1;
    });
  }

  /** A process that ends and starts again: counters begin anew, with the puts that it reads back from its log. */
  stop(member: number, fromMs: number, toMs: number): void {
    this.at(fromMs, () => {
      this.members[member]!.down = true;
    });
    this.at(toMs, (atMs) => {
      const anew = new Member(this.chance, this.spec.members[member]!, this.spec, atMs);
      anew.restarted(atMs, this.chance.int(200, 4000));
      this.members[member] = anew;
    });
  }

  /** A compaction leaves a share of what is in use, in the same file; a defrag gives the freed pages back. */
  compact(atMs: number, left: number): void {
    this.at(atMs, () => {
      this.inUse = Math.ceil((this.inUse * left) / PAGE) * PAGE;
    });
  }

  defrag(atMs: number): void {
    this.at(atMs, () => {
      this.size = this.inUse;
    });
  }

  private at(atMs: number, act: (atMs: number) => void): void {
    this.plan.push({ atMs, act });
    this.plan.sort((a, b) => a.atMs - b.atMs);
  }

  // ── what follows ──

  call(call: PutOrRange): Outcome {
    this.advance(call.atMs);
    const asked = this.askable();
    const member = asked.spec;
    const { atMs, method, deadlineMs } = call;
    const outcome = (endMs: number, code: Outcome['code'], says = ''): Outcome => {
      asked.answers.push({ endMs, name: `${method} ${code}` });
      return { endMs, code, says, member };
    };
    const gap = this.leaderless.find(({ fromMs, toMs }) => atMs >= fromMs && atMs < toMs);
    if (gap && gap.toMs - atMs > deadlineMs) return this.unled(atMs, deadlineMs, outcome);
    const waitMs = gap ? gap.toMs - atMs : 0;
    if (method === 'Range') return outcome(atMs + waitMs + this.chance.logNormal(0.9, 0.4), 'OK');
    this.noSpace ||= this.size + pagesOf(call.bytes) > this.spec.quotaBytes;
    if (this.noSpace) {
      this.log(ENTRY_BYTES);
      asked.allocate(garbageOf(call.bytes));
      return outcome(
        atMs + waitMs + this.chance.logNormal(1.5, 0.4),
        'ResourceExhausted',
        'etcdserver: mvcc: database space exceeded',
      );
    }
    const endMs = atMs + waitMs + this.put(call.bytes, asked);
    if (endMs - atMs > deadlineMs)
      return outcome(atMs + deadlineMs + this.chance.between(0, 2), 'DeadlineExceeded', 'context deadline exceeded');
    return outcome(endMs, 'OK');
  }

  private unled(
    atMs: number,
    deadlineMs: number,
    outcome: (endMs: number, code: Outcome['code'], says: string) => Outcome,
  ): Outcome {
    const said = this.chance.next();
    if (said < 0.35) return outcome(atMs + this.chance.between(1, 20), 'Unavailable', 'etcdserver: no leader');
    // The server's own patience: 5 s and two election timeouts (etcd server/config ReqTimeout).
    if (deadlineMs > 7000)
      return outcome(
        atMs + 7000,
        'Unavailable',
        'etcdserver: request timed out, possibly due to previous leader failure',
      );
    return outcome(atMs + deadlineMs, 'DeadlineExceeded', 'context deadline exceeded');
  }

  /** Milliseconds to the answer; everything that the put leaves behind. */
  private put(bytes: number, asked: Member): number {
    this.log(ENTRY_BYTES + bytes);
    this.inUse += revisionBytes(bytes);
    this.size = Math.max(this.size, Math.ceil(this.inUse / PAGE) * PAGE);
    const batched = 0.6 * (1 - 1 / this.pressure);
    const synced: number[] = [];
    let appliedMs = 0;
    let leaderMs = 0;
    this.members.forEach((member, i) => {
      if (member.down) return;
      const factor = this.factorOf(i);
      const fsyncMs = this.chance.logNormal(member.fsyncMs * factor, 0.45);
      if (!this.chance.yes(batched)) member.fsync.observe(this.chance, 1, oneOf(fsyncMs));
      synced.push(fsyncMs);
      if (i === this.leader) leaderMs = fsyncMs;
      const applyMs =
        this.chance.logNormal(0.2, 0.5) +
        (factor > 3 ? this.chance.between(0, 1.3) * this.chance.logNormal(fsyncMs, 0.3) : 0);
      if (applyMs > SLOW_APPLY_MS) member.slowApplies += 1;
      if (member === asked) appliedMs = applyMs;
      member.puts += 1;
      member.allocate(garbageOf(bytes));
    });
    synced.sort((a, b) => a - b);
    const quorumMs = synced[Math.min(synced.length - 1, Math.floor(this.members.length / 2))]!;
    return 0.3 + Math.max(leaderMs, quorumMs) + appliedMs;
  }

  private log(bytes: number): void {
    this.logRate += bytes / (RATE_OVER_MS / 1000);
    for (const member of this.members) if (!member.down) member.walBytes += bytes * this.spec.walCountedTimes;
    for (const member of this.members) if (!member.down) member.proposals += 1;
  }

  private factorOf(member: number): number {
    return this.slowDisks.reduce(
      (factor, slow) =>
        slow.member === member && this.nowMs >= slow.fromMs && this.nowMs < slow.toMs ? factor * slow.factor : factor,
      this.pressure,
    );
  }

  private askable(): Member {
    const up = this.members.filter((member) => !member.down);
    return this.chance.pick(up.length > 0 ? up : this.members);
  }

  private advance(toMs: number): void {
    for (; this.plan[this.planned] && this.plan[this.planned]!.atMs <= toMs; this.planned += 1) {
      const { atMs, act } = this.plan[this.planned]!;
      act(atMs);
    }
    const passed = Math.max(0, toMs - this.nowMs);
    this.logRate *= Math.exp(-passed / RATE_OVER_MS);
    this.members.forEach((member, i) => {
      const other = this.litter.filter((one) => one.member === i && toMs > one.fromMs && toMs <= one.toMs);
      const perSecond = other.reduce((sum, one) => sum + one.bytesPerSecond, 0) + GARBAGE.idleBytesPerSecond;
      member.allocate((perSecond * passed) / 1000);
    });
    const load = Math.min(0.993, this.logRate / this.disk.bytesPerSecond);
    this.pressure += (1 / (1 - load) - this.pressure) * (1 - Math.exp(-passed / this.disk.hiddenMs));
    this.nowMs = Math.max(this.nowMs, toMs);
  }

  /** What a member says to a scrape; undefined while it is down. */
  scrape(member: number, atMs: number): Scrape | undefined {
    this.advance(atMs);
    const one = this.members[member]!;
    if (one.down) return undefined;
    const points = one.points(atMs, {
      leads: member === this.leader && one.hasLeader,
      size: this.size,
      inUse: this.inUse,
      peers: this.spec.members.filter((_, i) => i !== member).map(({ id }) => id),
    });
    return { service: this.spec.name ?? 'etcd', instance: one.spec.instance, startedMs: one.startedMs, points };
  }
}

const garbageOf = (bytes: number): number => GARBAGE.aPut + GARBAGE.aByte * bytes;

/** Rates that a queue feels are those of the last seconds. */
const RATE_OVER_MS = 3000;

/** What a revision takes in bbolt: small values share pages, large ones have overflow pages of their own. */
function revisionBytes(bytes: number): number {
  return bytes < 2000 ? Math.round(bytes * 1.25 + 80) : pagesOf(bytes);
}

const pagesOf = (bytes: number): number => Math.ceil((bytes + 150) / PAGE) * PAGE;

/** The shares of a histogram for one observation of so many milliseconds, buckets doubling from 1 ms. */
function oneOf(ms: number): number[] {
  const bucket = Math.min(13, Math.max(0, Math.ceil(Math.log2(ms))));
  return [...Array.from({ length: bucket }, () => 0), 1];
}

interface Shown {
  readonly leads: boolean;
  readonly size: number;
  readonly inUse: number;
  readonly peers: readonly string[];
}

const CODES = ['OK', 'DeadlineExceeded', 'Unavailable', 'ResourceExhausted'] as const;

/** One member's counters. */
class Member {
  readonly spec: MemberSpec;
  fsync: Histogram;
  readonly fsyncMs: number;
  readonly answers: { endMs: number; name: string }[] = [];
  startedMs: number;
  down = false;
  hasLeader = true;
  leaderChanges: number;
  puts: number;
  walBytes: number;
  proposals: number;
  slowApplies = 0;
  private allocated = 0;
  private pauses: Summary;
  private readonly cluster: ClusterSpec;
  private readonly handled = new Map<string, number>();

  constructor(chance: Chance, spec: MemberSpec, cluster: ClusterSpec, nowMs: number) {
    this.spec = spec;
    this.cluster = cluster;
    this.fsyncMs = cluster.fsyncMs * chance.between(0.85, 1.2);
    this.startedMs = nowMs - chance.int(1, 40) * 86_400_000;
    this.puts = chance.int(20_000, 900_000);
    this.walBytes = this.puts * chance.int(300, 900);
    this.proposals = this.puts + chance.int(10, 5000);
    this.leaderChanges = chance.int(1, 4);
    this.pauses = new Summary(this.puts, this.puts * 0.0003);
    const ms = this.fsyncMs;
    this.fsync = new Histogram(0.001, 14, this.puts, ms < 1 ? [0.8, 0.17, 0.03] : [0.25, 0.45, 0.25, 0.05]);
  }

  restarted(atMs: number, readBack: number): void {
    this.startedMs = atMs;
    this.puts = readBack;
    this.walBytes = 0;
    this.leaderChanges = 1;
    this.slowApplies = 0;
    this.fsync = new Histogram(0.001, 14, 0, []);
    this.pauses = new Summary(0, 0);
  }

  /** A cycle each time that the heap is full; it pauses for 0.2 to 0.5 ms. */
  allocate(bytes: number): void {
    this.allocated += bytes;
    for (; this.allocated >= GARBAGE.aCycle; this.allocated -= GARBAGE.aCycle)
      this.pauses.observe(0.0002 + 0.0003 * ((this.pauses.count * 0.618) % 1));
  }

  points(atMs: number, { leads, size, inUse, peers }: Shown): Point[] {
    this.answered(atMs);
    const counter = (name: string, value: number): Point => ({ name, type: 'counter', value });
    const gauge = (name: string, value: number): Point => ({ name, type: 'gauge', value });
    const unary = { grpc_service: 'etcdserverpb.KV', grpc_type: 'unary' };
    return [
      counter('etcd_mvcc_put_total', this.puts),
      ...(this.cluster.exportsWal ? [gauge('etcd_disk_wal_write_bytes_total', this.walBytes)] : []),
      { name: 'etcd_disk_wal_fsync_duration_seconds', type: 'histogram', value: this.fsync },
      gauge('etcd_mvcc_db_total_size_in_bytes', size),
      gauge('etcd_mvcc_db_total_size_in_use_in_bytes', Math.floor(inUse / PAGE) * PAGE),
      gauge('etcd_server_quota_backend_bytes', this.cluster.quotaBytes),
      gauge('etcd_server_proposals_committed_total', this.proposals),
      gauge('etcd_server_proposals_applied_total', this.proposals),
      counter('etcd_server_slow_apply_total', this.slowApplies),
      gauge('etcd_server_has_leader', this.hasLeader ? 1 : 0),
      gauge('etcd_server_is_leader', leads ? 1 : 0),
      counter('etcd_server_leader_changes_seen_total', this.leaderChanges),
      ...(this.cluster.exportsGo
        ? [
            { name: 'go_gc_duration_seconds', type: 'summary', value: this.pauses } as const,
            gauge('go_memstats_heap_inuse_bytes', Math.round(GARBAGE.aCycle + this.allocated)),
          ]
        : []),
      gauge('process_start_time_seconds', Math.round(this.startedMs / 10) / 100),
      ...peers.map((id): Point => {
        const labels = { Local: this.spec.id, Remote: id };
        return { name: 'etcd_network_active_peers', type: 'gauge', value: 1, labels };
      }),
      ...['Put', 'Range'].flatMap((method) =>
        CODES.map((code): Point => {
          const value = this.handled.get(`${method} ${code}`) ?? 0;
          const labels = { grpc_code: code, grpc_method: method, ...unary };
          return { name: 'grpc_server_handled_total', type: 'counter', value, labels };
        }),
      ),
    ];
  }

  /** Counts the calls that were answered by now. */
  private answered(atMs: number): void {
    const left = this.answers.filter(({ endMs }) => endMs > atMs);
    for (const { endMs, name } of this.answers)
      if (endMs <= atMs) this.handled.set(name, (this.handled.get(name) ?? 0) + 1);
    this.answers.splice(0, this.answers.length, ...left);
  }
}
