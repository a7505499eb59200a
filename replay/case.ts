import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { parse } from 'yaml';
import type { InputFile } from '../services/collect/index.js';
import { CauselineError } from '../shared/errors.js';

/** A case folder (DESIGN 5.1): an incident that can be replayed. */
export interface Case {
  readonly folder: string;
  readonly name: string;
  readonly title: string | undefined;
  readonly files: readonly InputFile[];
  /** Files that no source reads, by why: never dropped in silence. */
  readonly ignored: ReadonlyMap<string, number>;
}

/** Reads case.yaml and lists the files, sorted by their path inside the case. Throws CauselineError for a folder that is no case. */
export function openCase(folder: string): Case {
  const path = resolve(folder);
  if (!existsSync(path) || !statSync(path).isDirectory())
    throw new CauselineError(
      'unreadable_input',
      'replay',
      `There is no case folder ${folder}: name a folder that holds case.yaml.`,
    );
  const yaml = join(path, 'case.yaml');
  if (!existsSync(yaml))
    throw new CauselineError(
      'unreadable_input',
      'replay',
      `${folder} holds no case.yaml: its name is the least that it must say.`,
    );
  const { name, title } = readYaml(yaml, folder);
  const files: InputFile[] = [];
  const ignored = new Map<string, number>();
  for (const { id, isFile } of listEntries(path)) {
    const file = isFile ? caseFile(path, id) : 'links are not followed';
    if (typeof file === 'string') ignored.set(file, (ignored.get(file) ?? 0) + 1);
    else if (file) files.push({ ...file, id: `${name}/${file.id}` }); // two cases in one store may have files of one name
  }
  return { folder: path, name, title, files, ignored };
}

function readYaml(file: string, folder: string): { name: string; title: string | undefined } {
  let document: unknown;
  try {
    document = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new CauselineError(
      'unreadable_input',
      'replay',
      `case.yaml of ${folder} is not YAML: ${(cause as Error).message.split('\n')[0]}`,
      { cause },
    );
  }
  const fields = typeof document === 'object' && document !== null ? (document as Record<string, unknown>) : {};
  const { name, title } = fields;
  if (typeof name !== 'string' || name.trim() === '')
    throw new CauselineError('unreadable_input', 'replay', `case.yaml of ${folder} must have a name (a text).`, {
      field: 'name',
    });
  return { name, title: typeof title === 'string' ? title : undefined };
}

function listEntries(root: string): { id: string; isFile: boolean }[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => ({
      id: relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'),
      isFile: entry.isFile(),
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

const LATER: readonly RegExp[] = [
  /^s3-access\//,
  /^logs\//,
  /^iam\//,
  /^cloudtrail\/public-keys\.json$/,
  /^cloudtrail\/.*CloudTrail-Digest\//,
];

/** A file for a source, why it is left unread, or nothing where it is no evidence. */
function caseFile(root: string, id: string): InputFile | string | undefined {
  const path = join(root, id);
  if (LATER.some((pattern) => pattern.test(id))) return 'not read yet: digests, access logs, logs and IAM simulations';
  if (/^cloudtrail\/.*\.json(\.gz)?$/.test(id)) return { source: 'cloudtrail', path, id };
  if (/^traces\/.*\.jsonl(\.gz)?$/.test(id)) return { source: 'traces', path, id };
  if (/^metrics\/.*\.jsonl(\.gz)?$/.test(id)) return { source: 'metrics', path, id };
  if (/^metrics\/.*\.prom(\.gz)?$/.test(id)) return promFile(path, id);
  return /^(cloudtrail|traces|metrics)\//.test(id)
    ? 'unknown ending: cloudtrail takes .json, traces .jsonl, metrics .jsonl and .prom, each plain or .gz'
    : undefined;
}

/** metrics/[<cluster>/]<instance>/x.prom, or metrics/<instance>.prom; a file named <unix_ms>.prom is one scrape. */
function promFile(path: string, id: string): InputFile {
  const folders = id.split('/').slice(1, -1);
  const stem = basename(id).replace(/\.prom(\.gz)?$/, '');
  const instance = folders.at(-1) ?? stem;
  const cluster = folders.at(-2);
  const scrapeUnixMs = /^\d{12,14}$/.test(stem) ? Number(stem) : undefined;
  return { source: 'metrics', path, id, instance, ...(cluster && { cluster }), ...(scrapeUnixMs && { scrapeUnixMs }) };
}
