import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CauselineError } from '../../shared/errors.js';
import { dataFolder } from './data-folder.js';
import { freePorts } from './ports.js';
import { installS3 } from './s3-server.js';
import { startServer } from './server.js';

export interface RunningS3 {
  /** `http://127.0.0.1:22379` */
  readonly endpoint: string;
  /** What the AWS SDK takes from the environment to be let in. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const ENV = { AWS_ACCESS_KEY_ID: 'causeline', AWS_SECRET_ACCESS_KEY: 'causeline-secret', AWS_REGION: 'us-east-1' };

/** Starts a real S3-compatible server on 127.0.0.1 and waits until it answers. Throws `not_available` where none can be had. */
export async function startS3(): Promise<RunningS3> {
  const installed = await installS3();
  if (installed.missing !== undefined) throw new CauselineError('not_available', 's3', installed.missing);
  const [port] = await freePorts(1);
  const data = dataFolder('s3', undefined);
  const endpoint = `http://127.0.0.1:${port!}`;
  const { command, kind } = installed;
  const starting = startServer({
    name: kind,
    command: 'env',
    args: [...(kind === 'moto' ? [] : KEYS), command, ...(kind === 'moto' ? moto(port!) : versitygw(port!, data.path))],
    scratch: data.scratch,
    ready: ({ signal }) => answers(endpoint, signal),
  });
  starting.catch(() => data.discard());
  const server = await starting;
  return {
    endpoint,
    env: ENV,
    stop: async () => {
      await server.stop();
      data.discard();
    },
  };
}

const KEYS = [`ROOT_ACCESS_KEY=${ENV.AWS_ACCESS_KEY_ID}`, `ROOT_SECRET_KEY=${ENV.AWS_SECRET_ACCESS_KEY}`];

const moto = (port: number): string[] => ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)];

function versitygw(port: number, folder: string): string[] {
  const [data, versions] = [join(folder, 'data'), join(folder, 'versions')];
  for (const each of [data, versions]) mkdirSync(each, { recursive: true });
  return ['--port', `127.0.0.1:${port}`, '--region', ENV.AWS_REGION, 'posix', '--versioning-dir', versions, data];
}

async function answers(endpoint: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (await fetch(endpoint).catch(() => undefined)) return;
    await sleep(100);
  }
}
