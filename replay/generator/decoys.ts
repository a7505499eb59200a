import { GARBAGE } from './etcd.js';
import { gcLinks, type Told } from './stories.js';
import {
  backedOffBuild,
  batchImport,
  drawnRequests,
  fruitlessStorm,
  mailer,
  orphanLoops,
  periodicLoop,
  retryStorm,
  serveRequests,
} from './traffic.js';
import { named, type TruthBook } from './truth.js';
import type { World } from './world.js';

/** Something that happens near a story and is not its cause. */
export type Decoy = (world: World, truth: TruthBook, told: Told) => void;

export const heartbeats: Decoy = (world, truth, { cluster }) => {
  const service = world.service(`${world.word()}-agent`);
  periodicLoop(world, service, world.chance.pick([2000, 5000, 10_000]), world.chance.yes(0.5) ? cluster : undefined);
  truth.decoy(named('retry.storm', service.subject), 'A loop that runs at one pace from the first moment to the last.');
};

export const slowMail: Decoy = (world, truth, { onsetMs }) => {
  const service = world.service(`${world.word()}-notify`);
  const fromMs = onsetMs + world.chance.between(-60_000, 20_000);
  mailer(world, service, fromMs, fromMs + 90_000);
  truth.decoy(named('http.error_burst', service.subject), 'It serves nobody and calls no etcd.');
  truth.never('retry.storm', 'Each mail is another mail: they come as they come, at no pace.', service.subject);
};

export const failingBuild: Decoy = (world, truth, { cluster, onsetMs }) => {
  const service = world.service(`${world.word()}-build`);
  backedOffBuild(
    world,
    service,
    onsetMs + world.chance.between(-40_000, 10_000),
    world.chance.yes(0.6) ? cluster : undefined,
  );
  truth.decoy(
    named('go.module_fetch_failure', service.subject),
    'Resends that double their pause; it writes next to nothing.',
  );
  truth.never('retry.storm', 'The pauses double until the download goes through.', service.subject);
};

export const licenceStorm: Decoy = (world, truth, { onsetMs }) => {
  const service = world.service(`${world.word()}-worker`);
  periodicLoop(world, service, 15_000);
  const fromMs = onsetMs + world.chance.between(-30_000, 15_000);
  fruitlessStorm(world, service, fromMs, fromMs + world.chance.between(60_000, 150_000));
  truth.decoy(named('retry.storm', service.subject), 'A real storm, on a licence server: it writes to no etcd.');
};

/** Another cluster's import: real growth there, and nobody's cause here. */
export const importElsewhere: Decoy = (world, truth, { cluster, onsetMs }) => {
  const { chance } = world;
  const other = world.cluster({}, 3);
  const requests = drawnRequests(world, other, { perSecond: 3, drift: 0 });
  serveRequests(world, requests);
  const service = world.service(`${world.word()}-load`, { kept: 0.25, says: chance.yes(0.5) });
  const fromMs = onsetMs + chance.between(-30_000, 10_000);
  const toMs = Math.min(world.endMs, fromMs + Math.max(120_000, 6 * other.spec.scrapeEveryMs));
  const perSecond = chance.between(15, 30);
  batchImport(world, { service, cluster: other, fromMs, toMs, perSecond, bytes: 5000 });
  const puts = named('etcd.put_surge', other.spec.subject);
  const chain = truth.chain(puts);
  chain.link('puts-grow-the-wal', puts, named('etcd.wal_growth', other.spec.subject), 'LIKELY', true);
  chain.link('puts-grow-the-database', puts, named('etcd.db_growth', other.spec.subject), 'LIKELY', true);
  gcLinks(chain, {
    cluster: other,
    before: requests,
    extraPerSecond: perSecond,
    bytes: 5000,
    seconds: (toMs - fromMs) / 1000,
  });
  for (const kind of ['etcd.slow_fsync', 'etcd.db_growth'] as const)
    truth.decoy(puts, 'Another cluster, with members of its own.', named(kind, cluster.spec.subject));
  truth.decoy(named('retry.storm', service.subject), 'Each item has its own key: known work, no loop.');
};

/**
 * An import into the very cluster whose leader's disk slows by itself. Every member writes the same log, and the disks of
 * the others stay as fast as they were: more writing is not what slows one of them.
 */
export const importAtHand: Decoy = (world, truth, { cluster, requests, onsetMs }) => {
  const { chance } = world;
  const service = world.service(`${world.word()}-load`, { kept: 0.25, says: chance.yes(0.5) });
  const fromMs = onsetMs - chance.between(15_000, 70_000);
  const toMs = Math.min(world.endMs, fromMs + Math.max(150_000, 6 * cluster.spec.scrapeEveryMs));
  const perSecond = Math.max(15, 2 * requests.perSecond);
  batchImport(world, { service, cluster, fromMs, toMs, perSecond, bytes: 3000 });
  const puts = named('etcd.put_surge', cluster.spec.subject);
  const chain = truth.chain(puts);
  const wal = named('etcd.wal_growth', cluster.spec.subject);
  chain.link('puts-grow-the-wal', puts, wal, 'LIKELY', true);
  chain.link('puts-grow-the-database', puts, named('etcd.db_growth', cluster.spec.subject), 'LIKELY', true);
  gcLinks(chain, {
    cluster,
    before: requests,
    extraPerSecond: perSecond,
    bytes: 3000,
    seconds: (toMs - fromMs) / 1000,
  });
  const fsync = named('etcd.slow_fsync', cluster.spec.subject);
  for (const cause of [puts, wal])
    truth.decoy(cause, "The other members' disks bear the same log and stay fast.", fsync);
  truth.decoy(named('retry.storm', service.subject), 'Each item has its own key: known work, no loop.');
};

/** The member whose disk slows collects more garbage by then, for something that it is asked and that writes nothing. */
export const fullHeap: Decoy = (world, truth, { cluster, onsetMs }) => {
  const { chance } = world;
  const member = cluster.leads;
  const fromMs = onsetMs + chance.between(-60_000, 20_000);
  const toMs = fromMs + chance.between(120_000, 300_000);
  cluster.fillHeap(member, fromMs, toMs, GARBAGE.aCycle * chance.between(1, 6));
  truth.decoy(
    named('go.gc_pressure', `instance:${cluster.spec.members[member]!.instance}`),
    'Its pauses take less than 1 % of the time, and a collector writes to no disk.',
  );
};

/** A few loops of another service on the same cluster: a storm of a tenth of what the import writes. */
export const smallStorm: Decoy = (world, truth, { cluster, requests, onsetMs }) => {
  const { chance } = world;
  const service = world.service(`${world.word()}-sidecar`, { kept: 1, says: chance.yes(0.5) });
  periodicLoop(world, service, 20_000);
  const fromMs = onsetMs + chance.between(-15_000, 15_000);
  const failures = orphanLoops(world, service, 2, fromMs, 1000);
  const stopMs = fromMs + chance.between(90_000, 200_000);
  retryStorm(world, {
    service,
    cluster,
    form: chance.pick(['linked roots', 'bare roots']),
    pauseMs: 2500,
    bytes: 200,
    stopMs,
    failures,
  });
  truth.decoy(
    named('retry.storm', service.subject),
    `Two loops of a pass every 2.5 s are nothing beside the import and ${Math.round(requests.perSecond)} requests/s.`,
  );
};

// ── a night's upkeep ──

/** Work that changes a series for a moment, or for good, and harms nobody. */
export const upkeep: readonly Decoy[] = [
  // A follower that is restarted: its counters begin anew.
  (world, _truth, { cluster, onsetMs }) => {
    const follower = (cluster.leads + 1) % cluster.spec.members.length;
    if (follower === cluster.leads) return;
    cluster.stop(follower, onsetMs, onsetMs + world.chance.between(4000, 25_000));
  },
  // Compactions every few minutes, and one defragmentation.
  (world, _truth, { cluster, onsetMs }) => {
    const everyMs = world.chance.between(120_000, 300_000);
    for (let atMs = world.startMs + world.chance.between(0, everyMs); atMs < world.endMs; atMs += everyMs)
      cluster.compact(atMs, world.chance.between(0.7, 0.95));
    cluster.defrag(onsetMs);
  },
  // One slow moment of a disk.
  (world, _truth, { cluster, onsetMs }) =>
    cluster.slowDisk(cluster.leads, onsetMs, onsetMs + world.chance.between(500, 2500), 25),
  // The leader hands over before its host is patched.
  (_world, _truth, { cluster, onsetMs }) => cluster.handOver(onsetMs + 7000),
  // A burst of callers' mistakes and three failed exports.
  (world, truth, { onsetMs }) => {
    const service = world.service(`${world.word()}-export`);
    for (let atMs = world.startMs; atMs < world.endMs; atMs += world.chance.wait(1500)) {
      const near = atMs >= onsetMs && atMs < onsetMs + 20_000;
      const status = near ? world.chance.pick([200, 400, 404]) : 200;
      exported(world, service, atMs, status);
    }
    for (let i = 0; i < 3; i += 1) exported(world, service, onsetMs + i * 1700, 500);
    truth.never('http.error_burst', 'Three failed exports, and mistakes of callers.', service.subject);
  },
];

function exported(world: World, service: ReturnType<World['service']>, atMs: number, status: number): void {
  world.span(world.trace(service), service, {
    spanId: world.spanId(),
    name: 'GET /v1/export',
    kind: 'server',
    startMs: atMs,
    endMs: atMs + world.chance.between(5, 60),
    attributes: { 'http.request.method': 'GET', 'http.route': '/v1/export', 'http.response.status_code': status },
    ...(status >= 500 && { error: '' }),
  });
}
