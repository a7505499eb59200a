import { type ClusterSpec, type EtcdCluster, GARBAGE } from './etcd.js';
import {
  batchImport,
  drawnRequests,
  type Form,
  failedDownloads,
  orphanLoops,
  putRate,
  type Requests,
  retryStorm,
  serveRequests,
  usualRefreshes,
} from './traffic.js';
import { type ChainBook, type Named, named, type TruthBook } from './truth.js';
import type { Service, World } from './world.js';

/** What a story leaves for decoys to stand beside: where it happens, when, and what was done by it. */
export interface Told {
  readonly cluster: EtcdCluster;
  readonly requests: Requests;
  readonly onsetMs: number;
}

const etcd = (kind: Named['kind'], cluster: EtcdCluster): Named => named(kind, cluster.spec.subject);

/** A shift is borne when it is this many times what chance alone does to readings of ten seconds or of a scrape. */
const CLEAR = 6;
/** Less growth than this cannot be told from allocation: bbolt takes pages, not bytes. */
const CLEAR_GROWTH_BYTES = 2_097_152;

/** Puts a second that chance alone (Poisson) adds or takes in a reading. */
function putNoise(cluster: EtcdCluster, perSecond: number): number {
  return Math.sqrt(perSecond / Math.max(10, cluster.spec.scrapeEveryMs / 1000));
}

interface Surge {
  readonly cluster: EtcdCluster;
  /** What the cluster is used to. */
  readonly before: Requests;
  readonly extraPerSecond: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** The links that extra puts have to what they write; true where the evidence bears them. */
function surgeLinks(chain: ChainBook, surge: Surge): void {
  const { cluster, before, extraPerSecond, bytes, seconds } = surge;
  const puts = etcd('etcd.put_surge', cluster);
  const few = seconds < 4 * (cluster.spec.scrapeEveryMs / 1000) ? 'too few scrapes fell into it' : undefined;
  const noise = putNoise(cluster, putRate(before));
  const entry = before.bytes + 96;
  const walClear = extraPerSecond * (bytes + 96) >= CLEAR * noise * entry * 1.1;
  const usual = putRate(before) * (before.bytes * 1.25 + 80);
  const grown = extraPerSecond * (bytes * 1.2 + 80) * seconds;
  const grows = grown >= CLEAR_GROWTH_BYTES && grown / seconds >= 0.5 * usual;
  if (cluster.spec.exportsWal)
    chain.link(
      'puts-grow-the-wal',
      puts,
      etcd('etcd.wal_growth', cluster),
      'LIKELY',
      few ?? (walClear || 'small entries'),
    );
  chain.link(
    'puts-grow-the-database',
    puts,
    etcd('etcd.db_growth', cluster),
    'LIKELY',
    few ?? (grows || 'small values: the growth is within what pages are allocated by'),
  );
  gcLinks(chain, surge);
}

/** The garbage of extra puts on every member: clear where it is half a cycle a second, twice what there is without them, for over 100 s. */
export function gcLinks(chain: ChainBook, { cluster, before, extraPerSecond, bytes, seconds }: Surge): void {
  if (!cluster.spec.exportsGo) return;
  const garbage = (puts: number, size: number) => (puts * (GARBAGE.aPut + GARBAGE.aByte * size)) / GARBAGE.aCycle;
  const usual = GARBAGE.idleBytesPerSecond / GARBAGE.aCycle + garbage(putRate(before), before.bytes);
  const extra = garbage(extraPerSecond, bytes);
  const borne = extra >= Math.max(0.5, 2 * usual) && seconds >= 100 ? true : 'little garbage, or not for long';
  for (const { instance } of cluster.spec.members)
    chain.link(
      'puts-raise-gc-pressure',
      etcd('etcd.put_surge', cluster),
      named('go.gc_pressure', `instance:${instance}`),
      'LIKELY',
      borne,
    );
}

/** Extra puts a second that no chance explains, and that are no more than the evidence has room for. */
function drawnExtra(world: World, cluster: EtcdCluster, before: Requests): number {
  const clear = Math.max(0.5 * putRate(before), 8 * putNoise(cluster, putRate(before)));
  return world.chance.between(clear, 1.8 * clear);
}

// ── the storage avalanche ──

interface Avalanche {
  readonly form: Form;
  /** Failed downloads leave the loops; else what started them is not in the evidence. */
  readonly downloads: boolean;
  readonly ends: 'quota' | 'fsync' | 'nothing';
}

/** Retry loops rewrite a key; the cluster's quota or its disk gives way, or neither does. */
export function avalanche(
  world: World,
  truth: TruthBook,
  { form, downloads, ends }: Avalanche,
  given?: Partial<Told>,
): Told {
  const { chance } = world;
  const exportsWal = ends !== 'fsync' || chance.yes(0.8);
  const cluster =
    given?.cluster ??
    drawnTarget(world, {
      exportsWal,
      ...(ends === 'fsync' && { fsyncMs: chance.between(1.8, 2.6) }),
      ...(ends !== 'quota' && { quotaBytes: 2_147_483_648, inUseBytes: 4096 * chance.int(2_000, 60_000) }),
    });
  const requests = drawnRequests(world, cluster, ends === 'fsync' ? { deadlineMs: 250 } : {});
  serveRequests(world, requests);
  const onsetMs = given?.onsetMs ?? world.share(chance.between(0.35, 0.5));
  const stopMs = Math.min(world.endMs, onsetMs + world.lengthMs * chance.between(0.3, 0.6));
  const extra = drawnExtra(world, cluster, requests);
  const pauseMs = chance.between(1000, 4500);
  const loops = Math.max(2, Math.round((extra * pauseMs) / 1000));
  const perSecond = (loops * 1000) / pauseMs;
  const service = world.service(`${world.word()}-sync`, drawnStormSampling(world, form));
  const toFillMs = Math.max(60_000, 5 * cluster.spec.scrapeEveryMs, chance.between(60_000, 150_000));
  const bytes = stormBytes(world, cluster, ends, perSecond * (toFillMs / 1000));
  usualRefreshes(world, service, onsetMs - 40_000);
  const failures = downloads
    ? failedDownloads(world, service, loops, onsetMs)
    : orphanLoops(world, service, loops, onsetMs, pauseMs);
  retryStorm(world, { service, cluster, form, pauseMs, bytes, stopMs, failures });
  if (ends === 'fsync') burden(cluster, requests, perSecond * (bytes + 96), chance.between(80, 120));

  const storm = named('retry.storm', service.subject);
  const chain = truth.chain(downloads ? named('go.module_fetch_failure', service.subject) : storm);
  const told =
    service.says || service.kept >= 0.6 ? true : 'the passes are sampled and do not say so: their writes prove nothing';
  if (downloads)
    chain.link(
      'fetch-failure-starts-retry-storm',
      named('go.module_fetch_failure', service.subject),
      storm,
      form === 'bare roots' ? 'LIKELY' : 'CONFIRMED',
      true,
    );
  chain.link('retry-storm-raises-etcd-puts', storm, etcd('etcd.put_surge', cluster), 'LIKELY', told);
  const seconds = (ends === 'quota' ? toFillMs : stopMs - onsetMs) / 1000;
  surgeLinks(chain, { cluster, before: requests, extraPerSecond: perSecond, bytes, seconds });
  if (ends === 'quota') quotaLinks(chain, cluster, requests, world, onsetMs + pauseMs + toFillMs);
  if (ends === 'fsync')
    fsyncLinks(chain, cluster, requests, exportsWal ? 'etcd.wal_growth' : 'etcd.put_surge', world, onsetMs);
  if (ends !== 'quota')
    truth.never('etcd.quota_exhausted', 'The file stays far below its quota.', cluster.spec.subject);
  if (ends === 'nothing') truth.never('http.error_burst', 'Every write is answered in time.', requests.api.subject);
  return { cluster, requests, onsetMs };
}

/** A cluster whose quota is of a size that an incident can fill. */
function drawnTarget(world: World, given: Partial<ClusterSpec> = {}): EtcdCluster {
  const { chance } = world;
  const quotaBytes = 1_048_576 * chance.pick([64, 128, 256, 512, 1024, 2048]);
  const inUseBytes = 4096 * Math.round((quotaBytes * chance.between(0.1, 0.5)) / 4096);
  return world.cluster({ quotaBytes, inUseBytes, ...given });
}

function drawnStormSampling(world: World, form: Form): Partial<Pick<Service, 'kept' | 'says'>> {
  const { chance } = world;
  // The passes of siblings share one trace, which is kept whole or not at all.
  if (form === 'siblings') return { kept: 1, says: chance.yes(0.5) };
  return chance.pick([
    { kept: 1, says: true },
    { kept: 1, says: false },
    { kept: 0.5, says: true },
    { kept: 0.25, says: true },
    { kept: 0.8, says: false },
    { kept: 0.2, says: false },
  ]);
}

/** Bytes of a value: what fills the quota in so many puts, or what a document is. A request holds at most 1.5 MiB. */
function stormBytes(world: World, cluster: EtcdCluster, ends: Avalanche['ends'], puts: number): number {
  if (ends === 'nothing') return Math.round(world.chance.logNormal(900, 0.5));
  if (ends === 'fsync') return Math.round(world.chance.between(8_000, 60_000));
  const { quotaBytes, inUseBytes } = cluster.spec;
  return Math.min(1_400_000, Math.max(2_000, Math.round((quotaBytes - inUseBytes) / puts)));
}

/** Gives a cluster a disk on which this much more log makes fsyncs wait so many times as long. */
function burden(cluster: EtcdCluster, usual: Requests, extraBytesPerSecond: number, factor: number): void {
  const bytesPerSecond = putRate(usual) * (usual.bytes * 1.1 + 96) + extraBytesPerSecond;
  cluster.disk.bytesPerSecond = bytesPerSecond / (1 - 1 / factor);
  cluster.disk.hiddenMs = 12_000;
}

function quotaLinks(chain: ChainBook, cluster: EtcdCluster, requests: Requests, world: World, reachedMs: number): void {
  const quota = etcd('etcd.quota_exhausted', cluster);
  const left = (world.endMs - reachedMs) / 1000;
  chain.link(
    'growth-exhausts-the-quota',
    etcd('etcd.db_growth', cluster),
    quota,
    'CONFIRMED',
    left > 60 || 'at the very end',
  );
  failedLinks(chain, 'quota-refuses-requests', quota, requests, requests.writeShare, left);
}

function fsyncLinks(
  chain: ChainBook,
  cluster: EtcdCluster,
  requests: Requests,
  cause: 'etcd.wal_growth' | 'etcd.put_surge' | undefined,
  world: World,
  onsetMs: number,
): void {
  const fsync = etcd('etcd.slow_fsync', cluster);
  const apply = etcd('etcd.slow_apply', cluster);
  const rule = cause === 'etcd.wal_growth' ? 'wal-slows-fsync' : 'puts-slow-fsync';
  if (cause) chain.link(rule, etcd(cause, cluster), fsync, 'LIKELY', true);
  chain.link('fsync-slows-apply', fsync, apply, 'LIKELY', true);
  failedLinks(
    chain,
    'slow-apply-fails-requests',
    apply,
    requests,
    0.3 * requests.writeShare,
    (world.endMs - onsetMs) / 1000,
  );
}

/** Failed requests of the services in front of a cluster: borne where enough of their failures were sampled. */
function failedLinks(
  chain: ChainBook,
  rule: string,
  cause: Named,
  requests: Requests,
  share: number,
  seconds: number,
): void {
  const { api, gateway, perSecond } = requests;
  const seen = perSecond * api.kept * share * seconds;
  const borne =
    seen >= 20 && seconds >= 45 && perSecond * api.kept * share >= 0.2 ? true : 'hardly a failed request was sampled';
  for (const service of gateway ? [api, gateway] : [api])
    chain.link(rule, cause, named('http.error_burst', service.subject), 'CONFIRMED', borne);
}

// ── one disk, one leader, one import ──

/** The leader's disk slows for no reason that this evidence has; puts wait for it, and clients give up. */
export function slowDisk(world: World, truth: TruthBook, given?: Partial<Told>): Told {
  const { chance } = world;
  const cluster = given?.cluster ?? world.cluster();
  const requests = drawnRequests(world, cluster, { deadlineMs: chance.pick([250, 400, 500]) });
  serveRequests(world, requests);
  const onsetMs = given?.onsetMs ?? world.share(chance.between(0.4, 0.55));
  const untilMs = chance.yes(0.5) ? world.endMs : onsetMs + world.lengthMs * chance.between(0.25, 0.4);
  const factor = (requests.deadlineMs * chance.between(0.5, 0.9)) / cluster.spec.fsyncMs;
  cluster.slowDisk(cluster.leads, onsetMs, untilMs, factor);
  fsyncLinks(truth.chain(etcd('etcd.slow_fsync', cluster)), cluster, requests, undefined, world, onsetMs);
  truth.never('etcd.quota_exhausted', 'The file stays far below its quota.', cluster.spec.subject);
  return { cluster, requests, onsetMs };
}

/** Members are stopped: no quorum for a while, or one leader after another is lost. */
export function leaderLost(world: World, truth: TruthBook, given?: Partial<Told>): Told {
  const { chance } = world;
  const cluster = given?.cluster ?? manyMembers(world);
  const quorum = chance.yes(0.5);
  // An election that is over before the client gives up fails nobody.
  const requests = drawnRequests(world, cluster, {
    deadlineMs: chance.pick(quorum ? [1000, 2000, 8000] : [500, 1000]),
  });
  serveRequests(world, requests);
  const onsetMs = given?.onsetMs ?? world.share(chance.between(0.4, 0.6));
  const count = cluster.spec.members.length;
  const downMs = chance.between(50_000, 150_000);
  if (quorum) {
    const leader = cluster.leads;
    const others = chance.some(
      cluster.spec.members.map((_, i) => i).filter((i) => i !== leader),
      Math.ceil(count / 2) - 1,
    );
    cluster.loseLeader(onsetMs, onsetMs + downMs, [leader, ...others]);
  } else
    for (let atMs = onsetMs; atMs < onsetMs + downMs; atMs += chance.between(9_000, 14_000))
      cluster.loseLeader(atMs, atMs + chance.between(3_000, 7_000), []);
  const chain = truth.chain(etcd('etcd.leader_lost', cluster));
  failedLinks(chain, 'lost-leader-fails-requests', etcd('etcd.leader_lost', cluster), requests, 0.3, downMs / 1000);
  truth.never('etcd.put_surge', 'The clients write no more than before.', cluster.spec.subject);
  return { cluster, requests, onsetMs };
}

/** A cluster of at least three members: with a leader to lose, and disks to compare. */
export function manyMembers(world: World): EtcdCluster {
  for (;;) {
    const cluster = world.cluster();
    if (cluster.spec.members.length >= 3) return cluster;
    world.clusters.pop();
  }
}

/** An import fills the quota: the surge is the root, and its writer is known. */
export function importFills(world: World, truth: TruthBook, given?: Partial<Told>): Told {
  const { chance } = world;
  const cluster = given?.cluster ?? drawnTarget(world);
  const requests = drawnRequests(world, cluster);
  serveRequests(world, requests);
  const onsetMs = given?.onsetMs ?? world.share(chance.between(0.35, 0.5));
  const toFillMs = Math.max(70_000, 5 * cluster.spec.scrapeEveryMs, chance.between(70_000, 160_000));
  const extra = Math.max(8, 1.3 * drawnExtra(world, cluster, requests));
  const { quotaBytes, inUseBytes } = cluster.spec;
  const bytes = Math.min(1_400_000, Math.max(2_000, (quotaBytes - inUseBytes) / (extra * (toFillMs / 1000))));
  const toMs = Math.min(world.endMs, onsetMs + toFillMs + chance.between(60_000, 180_000));
  const service = world.service(`${world.word()}-import`, {
    kept: chance.pick([1, 0.5, 0.25]),
    says: chance.yes(0.7),
  });
  batchImport(world, { service, cluster, fromMs: onsetMs, toMs, perSecond: extra, bytes });
  const chain = truth.chain(etcd('etcd.put_surge', cluster));
  surgeLinks(chain, { cluster, before: requests, extraPerSecond: extra, bytes, seconds: toFillMs / 1000 });
  quotaLinks(chain, cluster, requests, world, onsetMs + toFillMs);
  truth.decoy(named('retry.storm', service.subject), 'Each item of the import has its own key: known work, no loop.');
  return { cluster, requests, onsetMs };
}

/** Requests fail for a reason that is in none of the evidence: no etcd call of theirs fails. */
export function outside(world: World, truth: TruthBook): Told {
  const { chance } = world;
  const cluster = world.cluster();
  const onsetMs = world.share(chance.between(0.4, 0.6));
  const untilMs = onsetMs + chance.between(90_000, 240_000);
  const share = chance.between(0.2, 0.8);
  const requests = drawnRequests(world, cluster, {
    failing: (atMs) => (atMs >= onsetMs && atMs < untilMs ? share : 0.002),
  });
  serveRequests(world, requests);
  truth.never('etcd.slow_fsync', 'The disks are as fast as ever.', cluster.spec.subject);
  truth.never('etcd.quota_exhausted', 'The file stays far below its quota.', cluster.spec.subject);
  return { cluster, requests, onsetMs };
}

/** Nothing happens but the night's work. */
export function quiet(world: World, truth: TruthBook): Told {
  const cluster = world.cluster();
  const requests = drawnRequests(world, cluster);
  serveRequests(world, requests);
  const { subject } = cluster.spec;
  for (const kind of [
    'etcd.put_surge',
    'etcd.wal_growth',
    'etcd.db_growth',
    'etcd.slow_fsync',
    'etcd.slow_apply',
  ] as const)
    truth.never(kind, 'The night is as every night.', subject);
  truth.never('etcd.quota_exhausted', 'No put was refused.', subject);
  truth.never('http.error_burst', 'Requests fail as seldom as ever.', requests.api.subject);
  return { cluster, requests, onsetMs: world.share(world.chance.between(0.35, 0.65)) };
}
