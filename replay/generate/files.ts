import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

/** Files of a case by their path in its folder. */
export type Files = Map<string, Buffer>;

/** The project's root: compiled generators live in <output>/replay/generate. */
const root = resolve(import.meta.dirname, '../../..');

/** Where the recordings of real servers lie; the cut files are in the case already where this machine has none. */
const recordings = process.env.CAUSELINE_RECORDINGS ?? join(root, '../shared/recordings');

/** JSON lines, gzipped. */
export function jsonLines(lines: readonly unknown[]): Buffer {
  return gzipped(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

/** Neither the time nor the platform of the writing machine is in the header. */
export function gzipped(text: string): Buffer {
  const packed = gzipSync(text, { level: 9 });
  packed.fill(0, 4, 8);
  packed[9] = 255;
  return packed;
}

/** One member's scrapes of a recorded cluster, as they are, from one time to another (both included). */
export interface Cut {
  readonly recording: string;
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
  /** Folder of the recording to folder of the case. */
  readonly members: Readonly<Record<string, string>>;
}

export function cutScrapes(folder: string, { recording, fromUnixMs, toUnixMs, members }: Cut): Files {
  const files: Files = new Map();
  for (const [member, target] of Object.entries(members)) {
    for (const name of readdirSync(join(folder, recording, member)).sort()) {
      const unixMs = Number.parseInt(name, 10);
      if (unixMs < fromUnixMs || unixMs > toUnixMs) continue;
      files.set(`${target}/${name}`, readFileSync(join(folder, recording, member, name)));
    }
  }
  return files;
}

/**
 * Writes a case when its generator is run by name: what it makes, and what it cuts where the recordings are at hand.
 */
export function writeWhenRun(
  module: string,
  name: string,
  files: () => Files,
  recorded?: (folder: string) => Files,
): void {
  if (!process.argv[1] || pathToFileURL(process.argv[1]).href !== module) return;
  write(name, files());
  if (!recorded) return;
  if (existsSync(recordings)) write(name, recorded(recordings));
  else console.error(`no recordings (set CAUSELINE_RECORDINGS): the cut scrapes of ${name} stay as they are`);
}

function write(name: string, files: Files): void {
  for (const [path, content] of files) {
    const target = join(root, 'replay/cases', name, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content);
  }
}
