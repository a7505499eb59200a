import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';

/** The project's root: compiled tests live in dist/test/helpers. */
export const root = resolve(import.meta.dirname, '../../..');

/** Third-party test data, read in place; undefined where this machine has none. */
export const corpus = folder('CAUSELINE_CORPUS', '../shared/corpus');

/** The project's own recordings of real servers; undefined where this machine has none. */
export const recordings = folder('CAUSELINE_RECORDINGS', '../shared/recordings');

/** A test that needs a data folder: without the folder it says so aloud and asserts nothing else. */
export function testWith(
  data: string | undefined,
  name: string,
  title: string,
  body: (t: ExecutionContext, data: string) => void | Promise<void>,
): void {
  if (data) test(title, (t) => body(t, data));
  else test.skip(`${title} [not run: no ${name} folder; set ${name}]`, () => {});
}

function folder(variable: string, beside: string): string | undefined {
  const path = process.env[variable] ?? join(root, beside);
  return existsSync(path) ? path : undefined;
}
