import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { parse } from 'yaml';
import type { InputFile } from '../services/collect/index.js';
import { CauselineError } from '../shared/errors.js';
import type { Delivered, DigestMetadata } from '../shared/store/trail.js';
import { parseMicros } from '../shared/time.js';
import { trailKey } from '../shared/trail-keys.js';

/** A file of a case. */
export interface CaseFile extends InputFile {
  readonly path: string;
}

/** A case folder (DESIGN 5.1): an incident that can be replayed. */
export interface Case {
  readonly folder: string;
  readonly name: string;
  readonly title: string | undefined;
  readonly files: readonly CaseFile[];
  /** CloudTrail's digests of its log files, and the public keys that they are verified with. */
  readonly digests: readonly CaseFile[];
  /** What case.yaml says that it is about, microseconds. */
  readonly window: { readonly fromMicros: number | null; readonly toMicros: number | null };
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
  const { name, title, window } = readYaml(yaml, folder);
  const files: CaseFile[] = [];
  const digests: CaseFile[] = [];
  const ignored = new Map<string, number>();
  for (const { id, isFile } of listEntries(path)) {
    const file = isFile ? caseFile(path, id) : 'links are not followed';
    if (typeof file === 'string') ignored.set(file, (ignored.get(file) ?? 0) + 1);
    else if (file) {
      const delivered = file.source === 'cloudtrail' ? deliveredAt(name, id) : undefined;
      // two cases in one store may have files of one name
      const own = { ...file, ...IO(file.path), id: `${name}/${id}`, ...(delivered && { delivered }) };
      if (!delivered || delivered.kind === 'log') files.push(own);
      else digests.push({ ...own, metadata: () => sidecar(file.path) });
    }
  }
  return { folder: path, name, title, window, files, digests, ignored };
}

const IO = (path: string) => ({ path, open: () => createReadStream(path) });

function readYaml(file: string, folder: string): Pick<Case, 'name' | 'title' | 'window'> {
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
  return { name, title: typeof title === 'string' ? title : undefined, window: windowOf(fields['window']) };
}

/** A window that says no time says nothing: it never decides what is evidence. */
function windowOf(window: unknown): Case['window'] {
  const { from, to } = (typeof window === 'object' && window !== null ? window : {}) as Record<string, unknown>;
  return { fromMicros: microsOf(from), toMicros: microsOf(to) };
}

function microsOf(time: unknown): number | null {
  try {
    return typeof time === 'string' ? Number(parseMicros(time, 'window')) : null;
  } catch {
    return null;
  }
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

const LATER: readonly RegExp[] = [/^logs\//];

/** What `aws s3api head-object` prints of a digest, beside it: its signature is in the object's metadata, not in the file. */
const SIDECAR = '.metadata.json';

type Found = Omit<CaseFile, 'open' | 'delivered'>;

/** A file for a source, why it is left unread, or nothing where it is no evidence. */
function caseFile(root: string, id: string): Found | string | undefined {
  const path = join(root, id);
  if (LATER.some((pattern) => pattern.test(id))) return 'not read yet: logs';
  if (/^cloudtrail\/.*\/CloudTrail-Digest\//.test(id)) return digestFile(path, id);
  if (/^cloudtrail\/.*\.json(\.gz)?$/.test(id)) return { source: 'cloudtrail', path, id };
  if (/^iam\/.*\.json(\.gz)?$/.test(id)) return { source: 'iam', path, id };
  if (/^traces\/.*\.jsonl(\.gz)?$/.test(id)) return { source: 'traces', path, id };
  if (/^metrics\/.*\.jsonl(\.gz)?$/.test(id)) return { source: 'metrics', path, id };
  if (/^metrics\/.*\.prom(\.gz)?$/.test(id)) return promFile(path, id);
  if (id.startsWith('s3-access/')) return { source: 's3-access', path, id }; // S3 gives them names without an ending
  return /^(cloudtrail|traces|metrics|iam)\//.test(id)
    ? 'unknown ending: cloudtrail and iam take .json, traces .jsonl, metrics .jsonl and .prom, each plain or .gz'
    : undefined;
}

function digestFile(path: string, id: string): Found | string | undefined {
  if (id.endsWith(SIDECAR)) return undefined; // read with the digest
  return trailKey(id) ? { source: 'cloudtrail', path, id } : 'no digest has such a name';
}

/** Where CloudTrail delivered a file of the folder cloudtrail/; undefined for one that lies in another layout. */
function deliveredAt(archive: string, id: string): Delivered | undefined {
  const path = id.slice('cloudtrail/'.length);
  const kind = basename(path) === 'public-keys.json' ? 'keys' : trailKey(path)?.kind;
  return kind && { archive, bucket: null, path, kind };
}

function sidecar(digest: string): DigestMetadata {
  const { Metadata: metadata } = jsonFile(digest + SIDECAR) as { Metadata?: Record<string, unknown> };
  return digestMetadata(metadata);
}

/** What S3 says of a digest's object, by the names that its metadata have. */
export function digestMetadata(metadata: Readonly<Record<string, unknown>> | undefined): DigestMetadata {
  const text = (name: string) => (typeof metadata?.[name] === 'string' ? metadata[name] : null);
  return {
    signature: text('signature'),
    signatureAlgorithm: text('signature-algorithm'),
    backfilledAt: text('backfill-generation-timestamp'),
  };
}

/** An empty object where there is no such file, or no JSON in it: the signature is then looked for elsewhere. */
function jsonFile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) ?? {};
  } catch {
    return {};
  }
}

/** metrics/[<cluster>/]<instance>/x.prom, or metrics/<instance>.prom; a file named <unix_ms>.prom is one scrape. */
function promFile(path: string, id: string): Found {
  const folders = id.split('/').slice(1, -1);
  const stem = basename(id).replace(/\.prom(\.gz)?$/, '');
  const instance = folders.at(-1) ?? stem;
  const cluster = folders.at(-2);
  const scrapeUnixMs = /^\d{12,14}$/.test(stem) ? Number(stem) : undefined;
  return { source: 'metrics', path, id, instance, ...(cluster && { cluster }), ...(scrapeUnixMs && { scrapeUnixMs }) };
}
