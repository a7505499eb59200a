import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import test from 'ava';
import { root } from '../helpers/data.js';

const FOLDERS = ['services', 'shared', 'replay', 'infra', 'test'];

/** Of services/correlate, these wire the pure parts to a store; a file that is not named here has to be pure. */
const WIRING = new Set([
  'arrivals.ts',
  'index.ts',
  'load.ts',
  'record.ts',
  'refold.ts',
  'refresh.ts',
  'refresh-cloudtrail.ts',
  'refresh-coverage.ts',
  'refresh-gaps.ts',
]);

const files = FOLDERS.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name))),
);
const textOf = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));

/** What a file imports at run time: packages by name, files by their path. */
function importsOf(file: string): string[] {
  return [...textOf.get(file)!.matchAll(/^(?:import|export)\b(?! type\b)[^;]*?\bfrom '([^']+)';/gm)]
    .concat([...textOf.get(file)!.matchAll(/\bimport(?:\(|\s)'([^']+)'/g)])
    .map(([, name]) =>
      name!.startsWith('.') ? relative(root, resolve(root, dirname(file), name!)).replace(/\.js$/, '.ts') : name!,
    );
}

/** Node computes it, from nothing but what it is given; a part of the program that Node has to be handed as bytes. */
const PURE = ['shared/hash.ts', 'services/collect/plain-kernel.ts'];

/** The file and all that it imports, by way of others too. */
function reached(file: string, known = new Set<string>()): Set<string> {
  if (known.has(file)) return known;
  known.add(file);
  if (textOf.has(file) && !PURE.includes(file)) for (const name of importsOf(file)) reached(name, known);
  return known;
}

const pure = files.filter(
  (file) =>
    /^services\/collect\/(sources|formats)\//.test(file) ||
    (file.startsWith('services/correlate/') && !WIRING.has(relative('services/correlate', file))),
);

const IMPURE = [
  [/\bDate\.now\b|\bnew Date\(\s*\)|(?<!new )\bDate\(/, 'the clock'],
  [/\bperformance\b|\bsetTimeout\b|\bsetInterval\b|\bsetImmediate\b/, 'the clock'],
  [/\bMath\.random\b|\bcrypto\b/, 'chance'],
  [/\bprocess\.|\bglobalThis\b|\brequire\(|\bfetch\(/, 'the process and the world around it'],
] as const;

const codeOf = (file: string): string =>
  textOf
    .get(file)!
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/^\s*\/\/.*$/gm, '')
    .replaceAll(/'(?:[^'\\\n]|\\.)*'/g, "''");

test('the pure parts are found: decoders, detectors, rules, judge, chains, folds', (t) => {
  for (const part of ['detectors/', 'causes/', 'judge.ts', 'chains.ts', 'engine.ts', 'sustained.ts', 'burst.ts'])
    t.true(pure.some((file) => file.startsWith(`services/correlate/${part}`)));
  for (const part of ['series.ts', 'traces.ts', 'clusters.ts']) t.true(pure.includes(`services/correlate/${part}`));
  t.true(pure.some((file) => file.startsWith('services/collect/sources/')));
});

for (const file of pure)
  test(`${file} is pure: no node: import, no package, no clock, no chance`, (t) => {
    const outside = [...reached(file)].filter((name) => !textOf.has(name));
    t.deepEqual(outside, [], 'it reaches what is no file of ours');
    for (const [pattern, what] of IMPURE) t.notRegex(codeOf(file), pattern, `it uses ${what}`);
  });

test('services never import replay, but for the command line that starts it', (t) => {
  const importers = files.filter(
    (file) => file.startsWith('services/') && importsOf(file).some((name) => name.startsWith('replay/')),
  );
  t.deepEqual(
    importers.filter((file) => !/^services\/(commands|main)\.ts$/.test(file)),
    [],
  );
});

test('nobody imports main.ts', (t) => {
  t.deepEqual(
    files.filter((file) => importsOf(file).includes('services/main.ts')),
    [],
  );
});

test('the folders are in the order of the flow: what comes earlier never imports what comes later', (t) => {
  const order = ['shared', 'services/collect', 'services/correlate', 'services/query'];
  const place = (file: string) => order.findIndex((folder) => file.startsWith(`${folder}/`));
  const against = files.flatMap((file) =>
    importsOf(file)
      .filter((name) => place(file) >= 0 && place(name) > place(file))
      .map((name) => `${file} imports ${name}`),
  );
  t.deepEqual(against, []);
});
