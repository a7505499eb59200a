import { entityKey } from '../../shared/entity.js';
import { Recent } from '../../shared/recent.js';
import type { Writer } from './cause.js';
import type { TracedHop } from './clocks.js';
import type { CloudPart } from './cloudtrail/part.js';
import type { Clusters } from './clusters.js';
import { type Gaps, silentMicros } from './gaps.js';
import type { Attempt, EtcdWrite, GoFailure, Requests, Sample, Scrape } from './item.js';
import type { Request } from './traces.js';

/**
 * Rollups: what evidence comes to, by scope and bucket of event time. A commit adds parts; a bucket is the sum of its parts, in whatever order and
 * number they came. So counts are kept by sampling scale and never as sums of fractions, and lists are cut to what is least by time and id.
 */

export const BUCKET_MICROS = 10_000_000;
/** Folds are written down at its borders. Shorter ones cost states, longer ones cost folding again: a commit folds half of one on average. */
export const SEGMENT_MICROS = 600_000_000;
/** Clocks are compared over so long a time. */
export const CLOCK_MICROS = 3_600_000_000;
const CELL_MICROS = 5_000_000;

const ERROR_IDS_KEPT_A_CELL = 5;

/** Calls looked at for the clocks of two services in an hour: the first by trace id, which is chance enough. */
const HOPS_KEPT_A_PAIR = 200;

export const bucketOf = (micros: number): number => Math.floor(micros / BUCKET_MICROS) * BUCKET_MICROS;
export const clockOf = (micros: number): number => Math.floor(micros / CLOCK_MICROS) * CLOCK_MICROS;
const cellOf = (micros: number): number => Math.floor(micros / CELL_MICROS) * CELL_MICROS;

/** Spans by how they were sampled: by 1/p, or under `null` where they do not say. */
type ByScale = Map<number | null, number>;

interface Cell {
  readonly sinceMicros: number;
  readonly requests: ByScale;
  readonly errors: ByScale;
  firstErrorMicros: number | null;
  lastErrorMicros: number | null;
  errorsByTime: { readonly atMicros: number; readonly id: string }[];
  readonly etcdAnswers: Map<string, number>;
}

/** What the spans of one service come to. */
export interface ServicePart {
  /** The first span of the bucket, whatever it is: from then on the service was watched. */
  firstMicros: number;
  readonly cells: Map<number, Cell>;
  readonly attempts: Attempt[];
  readonly failures: GoFailure[];
}

export const servicePart = (): ServicePart => ({
  firstMicros: Number.POSITIVE_INFINITY,
  cells: new Map(),
  attempts: [],
  failures: [],
});

export function addRequest(part: ServicePart, request: Request): void {
  const cell = cellAt(part, cellOf(request.atMicros));
  count(cell.requests, request.scale, 1);
  if (!request.failed) return;
  count(cell.errors, request.scale, 1);
  addErrors(cell, request.atMicros, request.atMicros, [{ atMicros: request.atMicros, id: request.evidenceId }]);
  for (const answer of request.etcdAnswers) count(cell.etcdAnswers, answer, 1);
}

/** Adds the second part to the first. */
export function mergeService(into: ServicePart, part: ServicePart): void {
  into.firstMicros = Math.min(into.firstMicros, part.firstMicros);
  for (const [since, cell] of part.cells) {
    const known = cellAt(into, since);
    for (const [scale, n] of cell.requests) count(known.requests, scale, n);
    for (const [scale, n] of cell.errors) count(known.errors, scale, n);
    for (const [answer, n] of cell.etcdAnswers) count(known.etcdAnswers, answer, n);
    if (cell.firstErrorMicros !== null)
      addErrors(known, cell.firstErrorMicros, cell.lastErrorMicros!, cell.errorsByTime);
  }
  into.attempts.push(...part.attempts);
  into.failures.push(...part.failures);
}

function cellAt(part: ServicePart, sinceMicros: number): Cell {
  const known = part.cells.get(sinceMicros);
  if (known) return known;
  const fresh: Cell = {
    sinceMicros,
    requests: new Map(),
    errors: new Map(),
    firstErrorMicros: null,
    lastErrorMicros: null,
    errorsByTime: [],
    etcdAnswers: new Map(),
  };
  part.cells.set(sinceMicros, fresh);
  return fresh;
}

function addErrors(cell: Cell, first: number, last: number, errors: Cell['errorsByTime']): void {
  cell.firstErrorMicros = Math.min(cell.firstErrorMicros ?? first, first);
  cell.lastErrorMicros = Math.max(cell.lastErrorMicros ?? last, last);
  const full = cell.errorsByTime.length >= ERROR_IDS_KEPT_A_CELL;
  const latest = cell.errorsByTime.at(-1);
  if (full && errors.every((error) => byTime(latest!, error) < 0)) return;
  cell.errorsByTime = [...cell.errorsByTime, ...errors].sort(byTime).slice(0, ERROR_IDS_KEPT_A_CELL);
}

const byTime = (a: { atMicros: number; id: string }, b: { atMicros: number; id: string }): number =>
  a.atMicros - b.atMicros || (a.id < b.id ? -1 : 1);

function count<Key>(counts: Map<Key, number>, key: Key, n: number): void {
  counts.set(key, (counts.get(key) ?? 0) + n);
}

/** The items of one bucket of a service, in the order of time. */
export function serviceItems(part: ServicePart): (Requests | Attempt | GoFailure)[] {
  const requests = [...part.cells.values()].map((cell): Requests => {
    const all = totals(cell.requests);
    const failed = totals(cell.errors);
    return {
      type: 'requests',
      sinceMicros: cell.sinceMicros,
      atMicros: cell.sinceMicros + CELL_MICROS,
      count: all.spans,
      errors: failed.spans,
      scaledSpans: all.scaledSpans,
      scaledCount: all.scaled,
      scaledErrors: failed.scaled,
      firstErrorMicros: cell.firstErrorMicros,
      lastErrorMicros: cell.lastErrorMicros,
      errorIds: cell.errorsByTime.map(({ id }) => id),
      etcdAnswers: cell.etcdAnswers,
    };
  });
  return [...requests, ...part.attempts, ...part.failures].sort(
    (a, b) => a.atMicros - b.atMicros || (idOf(a) < idOf(b) ? -1 : idOf(a) > idOf(b) ? 1 : a.type < b.type ? -1 : 1),
  );
}

const idOf = (item: Requests | Attempt | GoFailure): string => (item.type === 'requests' ? '' : item.evidenceId);

/** Sums in the order of the scales: floating-point sums depend on their order. */
function totals(counts: ByScale): { spans: number; scaledSpans: number; scaled: number } {
  let spans = 0;
  let scaledSpans = 0;
  let scaled = 0;
  for (const [scale, n] of [...counts].sort(([a], [b]) => (a ?? 0) - (b ?? 0))) {
    spans += n;
    if (scale === null) continue;
    scaledSpans += n;
    scaled += n * scale;
  }
  return { spans, scaledSpans, scaled };
}

/** Accepted etcd writes of all services, by address, service and cell. */
export interface WritesPart {
  readonly cells: Map<string, ByScale>;
}

export const writesPart = (): WritesPart => ({ cells: new Map() });

export function addWrite(part: WritesPart, service: string, write: EtcdWrite): void {
  if (!write.ok || write.target === '') return;
  const name = `${write.target}\n${service}\n${cellOf(write.atMicros)}`;
  const counts = part.cells.get(name) ?? new Map<number | null, number>();
  part.cells.set(name, counts);
  count(counts, write.scale, 1);
}

export function mergeWrites(into: WritesPart, part: WritesPart): void {
  for (const [name, counts] of part.cells) {
    const known = into.cells.get(name) ?? new Map<number | null, number>();
    into.cells.set(name, known);
    for (const [scale, n] of counts) count(known, scale, n);
  }
}

/** So long before is looked at for what a service wrote usually. */
export const WRITERS_LOOK_BACK_MICROS = 900_000_000;

/** Writers of a cluster between two moments, and what they wrote more than in the quarter of an hour before. */
export function writersOf(
  part: WritesPart,
  clusters: Clusters,
  gaps: Gaps,
  cluster: string,
  fromMicros: number,
  toMicros: number,
): Writer[] {
  const byService = new Map<string, { during: number; before: number; from: number; scaled: boolean }>();
  const lookBack = fromMicros - WRITERS_LOOK_BACK_MICROS;
  for (const name of [...part.cells.keys()].sort()) {
    const [target, service, start] = name.split('\n') as [string, string, string];
    const middle = Number(start) + CELL_MICROS / 2;
    if (middle < lookBack || middle > toMicros || clusters.keyOfAddress(target) !== cluster) continue;
    const writer = byService.get(service) ?? { during: 0, before: 0, from: fromMicros, scaled: true };
    byService.set(service, writer);
    const counts = part.cells.get(name)!;
    const { spans, scaledSpans, scaled } = totals(counts);
    const writes = scaled + (spans - scaledSpans);
    writer.scaled &&= scaledSpans === spans;
    if (middle >= fromMicros) writer.during += writes;
    else {
      writer.before += writes;
      writer.from = Math.min(writer.from, Number(start));
    }
  }
  return [...byService]
    .map(([service, { during, before, from, scaled }]) => {
      const watched = (since: number, until: number) =>
        Math.max(CELL_MICROS, until - since - silentMicros(gaps(service, since, until), since, until)) / 1e6;
      const writesPerSecond = during / watched(fromMicros, toMicros);
      const beforePerSecond = from < fromMicros ? before / watched(from, fromMicros) : 0;
      return { service, writesPerSecond, extraPerSecond: writesPerSecond - beforePerSecond, scaled };
    })
    .sort((a, b) => b.extraPerSecond - a.extraPerSecond || (a.service < b.service ? -1 : 1));
}

/** A sample of the calls between services, for comparing their clocks. */
export interface HopsPart {
  readonly pairs: Map<string, TracedHop[]>;
}

export const hopsPart = (): HopsPart => ({ pairs: new Map() });

export function addHops(part: HopsPart, pair: string, hops: readonly TracedHop[]): void {
  const known = part.pairs.get(pair) ?? [];
  known.push(...hops);
  part.pairs.set(pair, known.length > 4 * HOPS_KEPT_A_PAIR ? firstHops(known) : known);
}

export function mergeHops(into: HopsPart, part: HopsPart): void {
  for (const [pair, hops] of part.pairs) addHops(into, pair, hops);
}

/** The calls of a part, each pair's first ones. */
export const hopsOf = (part: HopsPart): TracedHop[] => [...part.pairs.values()].flatMap(firstHops);

const firstHops = (hops: readonly TracedHop[]): TracedHop[] =>
  [...hops]
    .sort((a, b) =>
      a.traceId < b.traceId
        ? -1
        : a.traceId > b.traceId
          ? 1
          : a.sentMicros - b.sentMicros || a.startedMicros - b.startedMicros,
    )
    .slice(0, HOPS_KEPT_A_PAIR);

/** What one member exported, as far as some detector reads it. */
export interface MemberPart {
  readonly rows: SampleRow[];
}

export interface SampleRow extends Omit<Sample, 'labels'> {
  readonly atMicros: number;
  readonly metric: string;
  /** JSON text, keys sorted. */
  readonly attributes: string;
}

export const memberPart = (): MemberPart => ({ rows: [] });

/** The scrapes of one bucket of some members, in the order of time. */
export function scrapesOf(members: readonly { readonly member: string; readonly part: MemberPart }[]): Scrape[] {
  const scrapes: (Omit<Scrape, 'samples'> & { readonly samples: Map<string, Sample[]> })[] = [];
  const rows = members
    .flatMap(({ member, part }) => part.rows.map((row) => ({ member, row })))
    .sort((a, b) => a.row.atMicros - b.row.atMicros || compare(a.member, b.member) || bySeries(a.row, b.row));
  let series = '';
  for (const { member, row } of rows) {
    const { atMicros, metric, attributes, ...read } = row;
    const same = `${member}\n${atMicros}\n${metric}\n${attributes}`;
    if (same === series) continue; // a series has one value at one time: of two bodies the one with the smaller hash
    series = same;
    let scrape = scrapes.at(-1);
    if (!scrape || scrape.member !== member || scrape.atMicros !== atMicros) {
      scrape = { type: 'scrape', atMicros, member, samples: new Map() };
      scrapes.push(scrape);
    }
    const sample: Sample = { labels: labelsOf(attributes), ...read };
    const samples = scrape.samples.get(metric);
    if (samples) samples.push(sample);
    else scrape.samples.set(metric, [sample]);
  }
  return scrapes;
}

const bySeries = (a: SampleRow, b: SampleRow): number =>
  compare(a.metric, b.metric) || compare(a.attributes, b.attributes) || compare(a.evidenceId, b.evidenceId);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const parsed = new Recent<Sample['labels']>();

/** A series has the same labels in every scrape: parsed once. */
function labelsOf(attributes: string): Sample['labels'] {
  return parsed.of(attributes, (text) => JSON.parse(text) as Sample['labels']);
}

/** What evidence of one bucket of a scope comes to. */
export type Part = ServicePart | WritesPart | HopsPart | MemberPart | CloudPart;

/** Names of scopes: a service, a member, all writes, all calls between services. */
export const scopes = {
  service: (service: string): string => service,
  member: (service: string | null, instance: string): string => `member:${service ?? ''}\n${instance}`,
  writes: 'writes',
  hops: 'hops',
} as const;

export const serviceKey = (service: string | null, scope: string | null): string =>
  entityKey('service', service ?? 'unknown_service', scope);
