import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { documented } from './docs.js';
import { root } from './helpers/data.js';

const readme = readFileSync(join(root, 'README.md'), 'utf8');

test('the tables in README are those of the indexes (npm run docs writes them)', (t) => {
  t.is(documented(readme), readme);
});

test('every file that the guides link to is there', (t) => {
  for (const guide of ['README.md', 'CONTRIBUTING.md']) {
    const text = readFileSync(join(root, guide), 'utf8');
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)\)/g)].map(([, path]) => path!);
    for (const path of links) t.true(existsSync(join(root, path)), `${guide} links to ${path}`);
  }
});
