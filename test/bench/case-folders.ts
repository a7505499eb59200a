import { cpSync, linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { chance } from './chance.js';
import { cloudTrailFiles, PURGE } from './cloudtrail-data.js';
import { spanFiles } from './span-data.js';

/** A file of a case before it is compressed; `path` is inside the case. */
export interface DataFile {
  readonly path: string;
  readonly text: string;
}

/** Case folders over the same files: parts of the whole are hard links to it. */
export interface Cases {
  readonly cloudtrail: string;
  /** As many records, with many more deletions among them. */
  readonly purge: string;
  readonly spans: string;
  /** All of it once, twice and four times, each beside a bundled incident, so that there are chains to find. */
  readonly whole: { readonly 1: string; readonly 2: string; readonly 4: string };
  readonly bytesARecord: number;
}

/** Its traces alone make a chain, and are few: what does not grow with the data would flatter the growth of time. */
const INCIDENT = fileURLToPath(new URL('../../../replay/cases/storage-avalanche/traces', import.meta.url));

/** Writes four times as many records and spans as given. */
export async function writeCases(
  root: string,
  counts: { readonly records: number; readonly spans: number },
): Promise<Cases> {
  const drawn = chance(1);
  const whole = { 1: newCase(root, '1x'), 2: newCase(root, '2x'), 4: newCase(root, '4x') };
  for (const folder of Object.values(whole)) cpSync(INCIDENT, join(folder, 'traces'), { recursive: true });
  const records = await write(whole[4], cloudTrailFiles(drawn, 4 * counts.records));
  const spans = await write(whole[4], spanFiles(drawn, 4 * counts.spans));
  const cases = {
    cloudtrail: newCase(root, 'cloudtrail'),
    purge: newCase(root, 'purge'),
    spans: newCase(root, 'spans'),
  };
  await write(cases.purge, cloudTrailFiles(drawn, counts.records, PURGE));
  link(whole[4], whole[2], [...first(records.paths, 2), ...first(spans.paths, 2)]);
  link(whole[4], whole[1], [...first(records.paths, 4), ...first(spans.paths, 4)]);
  link(whole[4], cases.cloudtrail, first(records.paths, 4));
  link(whole[4], cases.spans, first(spans.paths, 4));
  return { ...cases, whole, bytesARecord: Math.round(records.bytes / (4 * counts.records)) };
}

function newCase(root: string, name: string): string {
  const folder = join(root, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'case.yaml'), `name: ${name}\n`);
  return folder;
}

const deflate = promisify(gzip);
const AT_ONCE = 4; // the pool's threads

async function write(folder: string, files: Iterable<DataFile>): Promise<{ paths: string[]; bytes: number }> {
  const paths: string[] = [];
  let bytes = 0;
  const pending: Promise<void>[] = [];
  for (const { path, text } of files) {
    paths.push(path);
    bytes += text.length;
    pending.push(writeGzip(join(folder, path), text));
    if (pending.length >= AT_ONCE) await pending.shift();
  }
  await Promise.all(pending);
  return { paths, bytes };
}

async function writeGzip(path: string, text: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, await deflate(text));
}

const first = (paths: readonly string[], share: number) => paths.slice(0, paths.length / share);

function link(from: string, to: string, paths: readonly string[]): void {
  for (const path of paths) {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    linkSync(join(from, path), join(to, path));
  }
}
