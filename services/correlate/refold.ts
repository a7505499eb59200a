import { deserialize, serialize } from 'node:v8';
import { blobValue, type DuckDBBlobValue, type DuckDBConnection, type DuckDBValue } from '@duckdb/node-api';
import { groupBy } from '../../shared/group.js';
import { sha256 } from '../../shared/hash.js';
import { appendRows } from '../../shared/store/append.js';
import { literal } from '../../shared/store/literal.js';
import type { Interval } from './components.js';

/**
 * Folds that are kept: a state is written down at the borders of segments of event time, and what was found in a segment with it. What is dirty is
 * folded anew from the last border before it, until a border after it at which the state is what it was. Cost follows what changed; the result is that
 * of folding everything.
 */

/** A fold over what some scopes hold, in the order of time. A state is all that it keeps, and can be serialized. */
export interface Folding<Part, Found> {
  readonly name: string;
  /** Whose parts it reads. */
  readonly scopes: readonly string[];
  start(): unknown;
  enter(state: unknown, segmentMicros: number): void;
  step(state: unknown, parts: readonly Scoped<Part>[], bucketMicros: number): Found[];
  /** What is open where the evidence ends. */
  end(state: unknown): Found[];
}

export interface Scoped<Part> {
  readonly scope: string;
  readonly part: Part;
}

/** What one moment or bucket of time holds. */
export interface Bucket<Part> {
  readonly bucket: number;
  readonly parts: readonly Scoped<Part>[];
}

/** Folds of one kind: where they are kept, and what they read. */
export interface Kept<Part> {
  readonly folded: 'folded' | 'rhythms';
  readonly states: 'fold_states' | 'rhythm_states';
  readonly segmentMicros: number;
  /** In the order of time, from a moment on and before another. */
  read(connection: DuckDBConnection, since: Since[], fromMicros: number, toMicros: number): AsyncIterable<Bucket<Part>>;
  /** When the first bucket from a moment on begins. */
  next(connection: DuckDBConnection, since: Since[], fromMicros: number): Promise<number | undefined>;
}

/** Scopes, and from when on they are to be read. */
export interface Since {
  readonly fromMicros: number;
  readonly scopes: readonly string[];
}

/** What was found before and after, as far as was folded. */
export interface Refolded<Found> {
  readonly name: string;
  readonly before: Found[];
  readonly after: Found[];
}

/** A fold and the time in which what it reads has changed. */
export interface Touched<Part, Found> {
  readonly folding: Folding<Part, Found>;
  readonly dirty: Interval;
}

/** Side by side, a page of time after the other: what is held are the states, and what a page comes to. */
export async function refold<Part, Found>(
  connection: DuckDBConnection,
  kept: Kept<Part>,
  touched: readonly Touched<Part, Found>[],
  run: bigint,
): Promise<Refolded<Found>[]> {
  const folds = await takeUp(connection, kept, touched);
  const written: Written = { rows: [], states: [] };
  let going = reading(folds);
  let length = FIRST_PAGE * kept.segmentMicros;
  for (let from = await startOf(connection, kept, going); from !== undefined; ) {
    const to = from + length;
    const buckets = await foldPage(connection, kept, going, from, to, written);
    await write(connection, kept, written, run);
    if (going.folds.some(({ agreed }) => agreed)) going = reading(going.folds.filter(({ agreed }) => !agreed));
    length = nextLength(length, buckets, kept.segmentMicros);
    from = going.folds.length > 0 ? await kept.next(connection, going.since, to) : undefined;
  }
  for (const fold of going.folds) finish(fold, written);
  await write(connection, kept, written, run);
  return folds.map(({ folding, before, after }) => ({ name: folding.name, before, after }));
}

/** Folds of which nothing is left to read: what they found is gone. */
export async function forget<Found>(
  connection: DuckDBConnection,
  { folded }: Pick<Kept<unknown>, 'folded'>,
  isForgotten: (name: string) => boolean,
  run: bigint,
): Promise<Found[]> {
  const names = await connection.runAndReadAll(`SELECT DISTINCT subject FROM _store.${folded} ORDER BY subject`);
  const gone = names.getRows().flatMap(([name]) => (isForgotten(name as string) ? [name as string] : []));
  const known = await readFolded(connection, folded, gone, Number.NEGATIVE_INFINITY);
  const rows = [...known].flatMap(([name, segments]) =>
    [...segments.keys()].map((segment): DuckDBValue[] => [name, BigInt(segment), run, null, '[]']),
  );
  await appendRows(connection, folded, rows);
  return [...known.values()].flatMap((segments) => [...segments.values()].flatMap(({ found }) => parsed<Found>(found)));
}

/** What was found in segments from a moment on, and stands. */
export async function standing<Found>(
  connection: DuckDBConnection,
  { folded, segmentMicros }: Pick<Kept<unknown>, 'folded' | 'segmentMicros'>,
  fromMicros: number,
): Promise<Found[]> {
  const since = Number.isFinite(fromMicros) ? `WHERE segment >= ${floor(fromMicros, segmentMicros)}` : '';
  const rows = await connection.runAndReadAll(
    `SELECT found FROM (SELECT found FROM _store.${folded} ${since} QUALIFY row_number() OVER (PARTITION BY subject, segment ORDER BY run DESC) = 1)
     WHERE found <> '[]'`,
  );
  return rows.getRows().flatMap(([found]) => parsed<Found>(found as string));
}

const parsed = <Found>(found: string): Found[] => JSON.parse(found) as Found[];

const floor = (micros: number, segmentMicros: number): number => Math.floor(micros / segmentMicros) * segmentMicros;

/* ---- one fold ---- */

/** What is open where the evidence ends comes after every segment. */
const TAIL = 9_000_000_000_000_000;

/** What was written of a segment: the hash of the state after it, where a later one has begun, and what was found in it. */
interface Folded {
  readonly stateHash: string | null;
  readonly found: string;
}

interface Running<Part, Found> extends Touched<Part, Found> {
  /** What was written from where it was taken up on, and has not been left yet. */
  readonly known: Map<number, Folded>;
  /** From when on it reads. */
  readonly fromMicros: number;
  readonly state: unknown;
  segment: number | undefined;
  found: Found[];
  /** The state at a border is what it was, and nothing after it has changed. */
  agreed: boolean;
  readonly before: Found[];
  readonly after: Found[];
}

/** What is to be written of all folds. */
interface Written {
  readonly rows: DuckDBValue[][];
  readonly states: DuckDBValue[][];
}

function step<Part, Found>(
  fold: Running<Part, Found>,
  bucket: Bucket<Part>,
  segmentMicros: number,
  written: Written,
): void {
  const segment = floor(bucket.bucket, segmentMicros);
  if (segment !== fold.segment) {
    if (fold.segment !== undefined) passBorder(fold, fold.segment, segmentMicros, written);
    if (fold.agreed) return;
    fold.segment = segment;
    fold.folding.enter(fold.state, segment);
  }
  fold.found.push(...fold.folding.step(fold.state, bucket.parts, bucket.bucket));
}

function passBorder<Part, Found>(
  fold: Running<Part, Found>,
  segment: number,
  segmentMicros: number,
  written: Written,
): void {
  const hash = sha256(textOf(fold.state));
  const stood = leave(fold, segment, hash, written);
  if (stood !== hash) {
    const state = serialize(fold.state);
    written.states.push([fold.folding.name, BigInt(segment), hash, blobValue(state)]);
    hold(hash, state);
  }
  fold.agreed = stood === hash && segment >= floor(fold.dirty.toMicros, segmentMicros);
  if (fold.agreed) dropEmptied(fold, segment, written);
}

/** Of equal states the same text: serialized, equal numbers may differ by how they happen to be kept in memory. */
const textOf = (state: unknown): string =>
  JSON.stringify(state, (_, value: unknown) => {
    if (value instanceof Map) return [...value];
    return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  });

function finish<Part, Found>(fold: Running<Part, Found>, written: Written): void {
  if (fold.segment !== undefined) leave(fold, fold.segment, null, written);
  fold.found = fold.folding.end(fold.state);
  leave(fold, TAIL, null, written);
  dropEmptied(fold, Number.POSITIVE_INFINITY, written);
}

/** Notes what was found in a segment and the hash of the state after it, and returns the hash that was there before. */
function leave<Part, Found>(
  fold: Running<Part, Found>,
  segment: number,
  hash: string | null,
  written: Written,
): string | null {
  const { known, folding } = fold;
  const old = known.get(segment);
  known.delete(segment);
  const found = JSON.stringify(fold.found);
  if (old) fold.before.push(...parsed<Found>(old.found));
  fold.after.push(...fold.found);
  fold.found = [];
  const nothing = !old && hash === null && found === '[]';
  if (!nothing && (old?.found !== found || old.stateHash !== hash))
    written.rows.push([folding.name, BigInt(segment), hash, found]);
  return old?.stateHash ?? null;
}

/** Segments that were passed over hold nothing any more. */
function dropEmptied<Part, Found>(fold: Running<Part, Found>, reached: number, written: Written): void {
  for (const segment of [...fold.known.keys()].filter((one) => one < reached)) leave(fold, segment, null, written);
}

/* ---- all of them, in pages ---- */

/** In segments: what a commit touches is in one page. */
const FIRST_PAGE = 6;

/** Pages grow and shrink with what they hold. */
const BUCKETS_A_PAGE = { least: 500, most: 2_000 };

function nextLength(length: number, buckets: number, segmentMicros: number): number {
  if (buckets < BUCKETS_A_PAGE.least) return 2 * length;
  return buckets > BUCKETS_A_PAGE.most ? Math.max(segmentMicros, length / 2) : length;
}

/** Folds that go on, and what they have to read. */
interface Reading<Part, Found> {
  readonly folds: readonly Running<Part, Found>[];
  readonly readers: ReadonlyMap<string, readonly Running<Part, Found>[]>;
  readonly since: Since[];
}

function reading<Part, Found>(folds: readonly Running<Part, Found>[]): Reading<Part, Found> {
  const readers = new Map<string, Running<Part, Found>[]>();
  for (const fold of folds)
    for (const scope of fold.folding.scopes) {
      const known = readers.get(scope);
      if (known) known.push(fold);
      else readers.set(scope, [fold]);
    }
  const since = [...groupBy(folds, ({ fromMicros }) => fromMicros)].map(([fromMicros, group]) => ({
    fromMicros,
    scopes: [...new Set(group.flatMap(({ folding }) => folding.scopes))],
  }));
  return { folds, readers, since };
}

async function foldPage<Part, Found>(
  connection: DuckDBConnection,
  kept: Kept<Part>,
  { readers, since }: Reading<Part, Found>,
  fromMicros: number,
  toMicros: number,
  written: Written,
): Promise<number> {
  let buckets = 0;
  for await (const { bucket, parts } of kept.read(connection, since, fromMicros, toMicros)) {
    const own = new Map<Running<Part, Found>, Scoped<Part>[]>();
    for (const scoped of parts)
      for (const fold of readers.get(scoped.scope) ?? [])
        if (!fold.agreed && bucket >= fold.fromMicros) own.set(fold, [...(own.get(fold) ?? []), scoped]);
    for (const [fold, scoped] of own) step(fold, { bucket, parts: scoped }, kept.segmentMicros, written);
    buckets += parts.length;
  }
  return buckets;
}

function startOf<Part, Found>(
  connection: DuckDBConnection,
  kept: Kept<Part>,
  { folds, since }: Reading<Part, Found>,
): Promise<number | undefined> {
  if (folds.length === 0) return Promise.resolve(undefined);
  return kept.next(connection, since, Math.min(...folds.map(({ fromMicros }) => fromMicros)));
}

async function write<Part>(
  connection: DuckDBConnection,
  kept: Kept<Part>,
  { rows, states }: Written,
  run: bigint,
): Promise<void> {
  await appendRows(
    connection,
    kept.folded,
    rows.splice(0).map(([name, segment, hash, found]) => [name!, segment!, run, hash!, found!]),
  );
  await appendRows(connection, kept.states, states.splice(0));
}

/* ---- where folds are taken up ---- */

/** Borders are looked for so far back first: where a subject was silent for longer, in all that was written. */
const LOOK_BACK_MICROS = 6 * 3_600_000_000;

async function takeUp<Part, Found>(
  connection: DuckDBConnection,
  kept: Kept<Part>,
  touched: readonly Touched<Part, Found>[],
): Promise<Running<Part, Found>[]> {
  const near = touched.filter(({ dirty }) => Number.isFinite(dirty.fromMicros));
  const earliest = Math.min(...near.map(({ dirty }) => floor(dirty.fromMicros, kept.segmentMicros)));
  const known = await readFolded(connection, kept.folded, namesOf(near), earliest - LOOK_BACK_MICROS);
  const borderIn = ({ folding, dirty }: Touched<Part, Found>) =>
    borderBefore(known.get(folding.name), floor(dirty.fromMicros, kept.segmentMicros));
  const far = touched.filter((one) => borderIn(one) === undefined);
  for (const [name, segments] of await readFolded(connection, kept.folded, namesOf(far), Number.NEGATIVE_INFINITY))
    known.set(name, segments);
  const borders = new Map(touched.map((one) => [one, borderIn(one)]));
  const states = await readStates(connection, kept.states, [...borders.values()]);
  return touched.map((one) => running(one, known.get(one.folding.name), borders.get(one), states, kept.segmentMicros));
}

const namesOf = <Part, Found>(touched: readonly Touched<Part, Found>[]): string[] =>
  touched.map(({ folding }) => folding.name);

/** The last segment before another after which a state was written. */
interface Border {
  readonly segment: number;
  readonly hash: string;
}

function borderBefore(known: ReadonlyMap<number, Folded> | undefined, segment: number): Border | undefined {
  const [at, folded] = [...(known ?? [])].findLast(([one, { stateHash }]) => one < segment && stateHash !== null) ?? [];
  return at === undefined ? undefined : { segment: at, hash: folded!.stateHash! };
}

function running<Part, Found>(
  touched: Touched<Part, Found>,
  known: ReadonlyMap<number, Folded> | undefined,
  border: Border | undefined,
  states: ReadonlyMap<string, Uint8Array>,
  segmentMicros: number,
): Running<Part, Found> {
  return {
    ...touched,
    known: new Map([...(known ?? [])].filter(([segment]) => !border || segment > border.segment)),
    fromMicros: border ? border.segment + segmentMicros : Number.NEGATIVE_INFINITY,
    state: border ? deserialize(states.get(border.hash)!) : touched.folding.start(),
    segment: undefined,
    found: [],
    agreed: false,
    before: [],
    after: [],
  };
}

/** What was written of some folds from a moment on, each in the order of time. */
async function readFolded(
  connection: DuckDBConnection,
  folded: string,
  names: readonly string[],
  fromMicros: number,
): Promise<Map<string, Map<number, Folded>>> {
  const known = new Map<string, Map<number, Folded>>();
  if (names.length === 0) return known;
  const since = Number.isFinite(fromMicros) ? `AND segment >= ${fromMicros}` : '';
  const rows = await connection.runAndReadAll(
    `SELECT subject, segment::DOUBLE, state_hash, found FROM _store.${folded} WHERE subject IN (${names.map(literal).join()}) ${since}
     QUALIFY row_number() OVER (PARTITION BY subject, segment ORDER BY run DESC) = 1 ORDER BY subject, segment`,
  );
  for (const [name, segment, stateHash, found] of rows.getRows()) {
    const segments = known.get(name as string) ?? new Map<number, Folded>();
    known.set(name as string, segments);
    segments.set(segment as number, { stateHash: stateHash as string | null, found: found as string });
  }
  return known;
}

/** The states last written or read, by their hashes: whose they are makes no difference. */
const held = new Map<string, Uint8Array>();
const BYTES_HELD = 16_000_000;
let bytesHeld = 0;

function hold(hash: string, state: Uint8Array): void {
  if (held.has(hash)) return;
  held.set(hash, state);
  bytesHeld += state.length;
  for (const [oldest, { length }] of held) {
    if (bytesHeld <= BYTES_HELD) return;
    held.delete(oldest);
    bytesHeld -= length;
  }
}

async function readStates(
  connection: DuckDBConnection,
  table: string,
  borders: readonly (Border | undefined)[],
): Promise<Map<string, Uint8Array>> {
  const wanted = borders.filter((border) => border !== undefined);
  const states = new Map(
    wanted.flatMap(({ hash }): [string, Uint8Array][] => (held.has(hash) ? [[hash, held.get(hash)!]] : [])),
  );
  const missing = wanted.filter(({ hash }) => !states.has(hash));
  if (missing.length === 0) return states;
  const segments = [...new Set(missing.map(({ segment }) => segment))];
  const rows = await connection.runAndReadAll(
    `SELECT hash, state FROM _store.${table} WHERE segment IN (${segments.join()}) AND hash IN (${missing.map(({ hash }) => literal(hash)).join()})`,
  );
  for (const [hash, state] of rows.getRows()) {
    const { bytes } = state as DuckDBBlobValue;
    states.set(hash as string, bytes);
    hold(hash as string, bytes);
  }
  return states;
}

/** A condition on the columns `scope` and, of times, `column`. */
export function sinceThen(column: string, since: readonly Since[], fromMicros: number): string {
  const each = since.map(({ fromMicros: own, scopes }) => {
    const from = Math.max(own, fromMicros);
    return `${among(scopes)}${Number.isFinite(from) ? ` AND ${column} >= ${from}` : ''}`;
  });
  const all = Number.isFinite(fromMicros) ? `${column} >= ${fromMicros} AND ` : '';
  return `${all}(${each.map((one) => `(${one})`).join(' OR ')})`;
}

function among(scopes: readonly string[]): string {
  if (scopes.length > SCOPES_NAMED) return 'true';
  if (scopes.length <= SCOPES_LISTED) return `scope IN (${scopes.map(literal).join()})`;
  return `scope IN (SELECT unnest(from_json(${literal(JSON.stringify(scopes))}, '["VARCHAR"]')))`;
}

/** More are one text: of a thousand literals each costs DuckDB 12 µs. */
const SCOPES_LISTED = 100;

/** More are not named: reading what nobody asked for costs less than a statement of a megabyte. */
const SCOPES_NAMED = 1_000;
