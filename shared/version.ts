import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** The project's root: compiled files live in dist/shared. */
const root = resolve(import.meta.dirname, '../..');

/** The version in package.json. */
export function version(): string {
  return (JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as { version: string }).version;
}
