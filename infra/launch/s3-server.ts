import { join } from 'node:path';
import { madeOnce } from './cache.js';
import { type Installation, run, tryRun } from './command.js';

const MOTO_VERSION = '5.2.5';
const VERSITYGW_VERSION = '1.8.0';

interface S3Program {
  readonly command: string;
  readonly kind: 'versitygw' | 'moto';
}

/**
 * A server that speaks S3: `versitygw` of the PATH, else moto in a Python environment of its own (40 CPU s), else versitygw that Go
 * builds (115 CPU s); or why there is none.
 */
export async function installS3(): Promise<Installation<S3Program>> {
  if (await tryRun('versitygw', ['--version'])) return { missing: undefined, kind: 'versitygw', command: 'versitygw' };
  const reasons: string[] = [];
  for (const way of [motoInPython, versitygwByGo]) {
    try {
      return { missing: undefined, ...(await way()) };
    } catch (cause) {
      reasons.push((cause as Error).message);
    }
  }
  return { missing: `there is no S3-compatible server: ${reasons.join('; ')}` };
}

async function motoInPython(): Promise<S3Program> {
  if (!(await tryRun('python3', ['--version']))) throw new Error('no `python3` on the PATH, which could run moto');
  const folder = await madeOnce(`moto-${MOTO_VERSION}`, async (unfinished) => {
    await run('python3', ['-m', 'venv', unfinished]);
    await run(join(unfinished, 'bin/python'), ['-m', 'pip', 'install', '-q', `moto[server,s3]==${MOTO_VERSION}`]);
  });
  return { kind: 'moto', command: join(folder, 'bin/python') }; // its scripts name the folder that it was made in
}

async function versitygwByGo(): Promise<S3Program> {
  if (!(await tryRun('go', ['version']))) throw new Error('no `go` on the PATH, which could build versitygw');
  const folder = await madeOnce(`versitygw-${VERSITYGW_VERSION}`, async (unfinished) => {
    const target = `github.com/versity/versitygw/cmd/versitygw@v${VERSITYGW_VERSION}`;
    await run('env', [`GOBIN=${unfinished}`, 'go', 'install', '-trimpath', '-ldflags=-s -w', target]);
  });
  return { kind: 'versitygw', command: join(folder, 'versitygw') };
}
