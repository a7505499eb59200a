import { setTimeout as sleep } from 'node:timers/promises';
import { CauselineError } from '../../shared/errors.js';
import { dataFolder } from './data-folder.js';
import { installEtcd } from './etcd-binary.js';
import { freePorts } from './ports.js';
import { startServer } from './server.js';

export interface EtcdOptions {
  /** Where its data stay; without one they go when it stops. */
  readonly dataDir?: string;
  readonly port?: number;
}

export interface RunningEtcd {
  /** Clients and the metrics of a scraper: `http://127.0.0.1:22379`. */
  readonly endpoint: string;
  readonly pid: number;
  /** Ends it, and its data with it unless they had a `dataDir`. */
  stop(): Promise<void>;
}

/**
 * Starts a real etcd of one member on 127.0.0.1 and waits until it is healthy: a second, 40 MB; the first time on a machine also
 * `installEtcd`. Throws `not_available` where it cannot be had.
 */
export async function startEtcd({ dataDir, port }: EtcdOptions = {}): Promise<RunningEtcd> {
  const installed = await installEtcd();
  if (installed.missing !== undefined) throw new CauselineError('not_available', 'etcd', installed.missing);
  const [freePort, peerPort] = await freePorts(2);
  const data = dataFolder('etcd', dataDir);
  const endpoint = `http://127.0.0.1:${port ?? freePort!}`;
  const starting = startServer({
    name: 'etcd',
    command: installed.etcd,
    args: flags(data.path, endpoint, `http://127.0.0.1:${peerPort!}`),
    scratch: data.scratch,
    ready: ({ signal }) => healthy(endpoint, signal),
  });
  starting.catch(() => data.discard());
  const server = await starting;
  return {
    endpoint,
    pid: server.pid,
    stop: async () => {
      await server.stop();
      data.discard();
    },
  };
}

const flags = (dataDir: string, client: string, peer: string): string[] => [
  '--name=config-store-0',
  `--data-dir=${dataDir}`,
  `--listen-client-urls=${client}`,
  `--advertise-client-urls=${client}`,
  `--listen-peer-urls=${peer}`,
  `--initial-advertise-peer-urls=${peer}`,
  `--initial-cluster=config-store-0=${peer}`,
];

/** etcd listens before it has a leader, and only then is it healthy. */
async function healthy(endpoint: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const answer = await fetch(`${endpoint}/health`).catch(() => undefined);
    if (answer?.ok) return;
    await sleep(100);
  }
}
