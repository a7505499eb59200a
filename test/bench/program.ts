import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The command line's program. */
export const PROGRAM = fileURLToPath(new URL('../../services/main.js', import.meta.url));

/** How its first line starts Node: what is measured is what runs. */
export const NODE_FLAGS: readonly string[] = readFileSync(PROGRAM, 'utf8')
  .split('\n', 1)[0]!
  .split(' ')
  .filter((word) => word.startsWith('--'));
