import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { madeOnce } from './cache.js';
import { type Installation, run, tryRun } from './command.js';

/** What is built where the PATH has no etcd. */
export const ETCD_VERSION = '3.6.16';

/** The `etcd` of the PATH (Debian: `etcd-server`), else one that Go builds the first time (a minute or two), or why there is none. */
export async function installEtcd(): Promise<Installation<{ readonly etcd: string }>> {
  if (await tryRun('etcd', ['--version'])) return { missing: undefined, etcd: 'etcd' };
  if (!(await tryRun('go', ['version']))) {
    return { missing: 'there is neither `etcd` nor `go`, which could build it, on the PATH' };
  }
  try {
    return { missing: undefined, etcd: join(await madeOnce(`etcd-${ETCD_VERSION}`, build), 'etcd') };
  } catch (cause) {
    return { missing: `etcd ${ETCD_VERSION} could not be built: ${(cause as Error).message}` };
  }
}

/** `go install` refuses etcd for its replace directives; a module whose main calls etcd's own does not. */
async function build(folder: string): Promise<void> {
  writeFileSync(join(folder, 'main.go'), MAIN);
  await run('go', ['mod', 'init', 'causeline/etcd'], folder);
  await run('go', ['get', `go.etcd.io/etcd/server/v3@v${ETCD_VERSION}`], folder);
  await run('go', ['build', '-trimpath', '-ldflags=-s -w', '-o', 'unfinished', '.'], folder);
  renameSync(join(folder, 'unfinished'), join(folder, 'etcd'));
}

const MAIN = `package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
`;
