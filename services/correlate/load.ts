import type { DuckDBConnection, DuckDBListValue, DuckDBValue } from '@duckdb/node-api';
import { entityKey } from '../../shared/entity.js';
import type { Surroundings, Writer } from './cause.js';
import type { Hop } from './clocks.js';
import type { Clusters, Member } from './clusters.js';
import { type Gaps, silentMicros } from './gaps.js';
import type { Attempt, EtcdWrite, GoFailure, Input, Requests, Sample, Scrape, Span } from './item.js';
import { type Request, readTrace } from './traces.js';

/** What the traces say of one service. */
export interface ServiceItems {
  /** Entity key. */
  readonly subject: string;
  readonly coveredFromMicros: number;
  readonly items: readonly (Requests | Attempt | GoFailure)[];
}

/** What the traces say of all services, and who wrote to which etcd. */
export interface Traces {
  readonly services: readonly ServiceItems[];
  readonly writes: Writes;
  /** A sample of the calls between services, for comparing their clocks. */
  readonly hops: readonly Hop[];
  /** Spans whose parent is not in evidence, by service and minute. */
  readonly parentless: readonly ParentlessSpans[];
}

export interface ParentlessSpans {
  /** The service's entity key. */
  readonly subject: string;
  readonly minuteMicros: number;
  readonly own: number;
  readonly caller: number;
}

const CELL_MICROS = 5_000_000;
const MINUTE_MICROS = 60_000_000;
const ERROR_IDS_KEPT_A_CELL = 5;

/** Calls looked at for the clocks of two services: the first by trace id, which is chance enough. */
const HOPS_KEPT_A_PAIR = 2000;

/** 2006: a span that says it is older (or has no time, which reads as 1970) says nothing of when its service was watched. */
const POSSIBLE_FROM_MICROS = 1_136_073_600_000_000;

/** A trace of more spans than this is read in its first so many: a runaway trace must not stop the rest. */
const SPANS_READ_A_TRACE = 200_000;

interface ServiceState {
  coveredFromMicros: number;
  readonly cells: Map<number, CellState>;
  readonly attempts: Attempt[];
  readonly failures: GoFailure[];
}

type CellState = { -readonly [K in keyof Omit<Requests, 'errorIds' | 'etcdAnswers'>]: Requests[K] } & {
  errors: number;
  errorsByTime: { atMicros: number; id: string }[];
  etcdAnswers: Map<string, number>;
};

/** Reads all spans, trace by trace: memory holds one trace and what it came to. */
export async function loadTraces(connection: DuckDBConnection): Promise<Traces> {
  const services = new Map<string, ServiceState>();
  const writes = new Writes();
  const hops = new Map<string, Hop[]>();
  const parentless = new Map<string, ParentlessSpans>();
  let trace: Span[] = [];
  const finish = () => {
    if (trace.length > 0) addTrace(services, writes, hops, parentless, trace);
    trace = [];
  };
  for await (const span of spans(connection)) {
    if (trace[0] && trace[0].traceId !== span.traceId) finish();
    if (trace.length < SPANS_READ_A_TRACE) trace.push(span);
    const state = stateOf(services, span.service);
    if (span.startMicros >= POSSIBLE_FROM_MICROS)
      state.coveredFromMicros = Math.min(state.coveredFromMicros, span.startMicros);
  }
  finish();
  return {
    services: [...services]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([subject, state]) => serviceItems(subject, state)),
    writes,
    hops: [...hops.values()].flat(),
    parentless: [...parentless].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, cell]) => cell),
  };
}

const SPANS = `SELECT left(body_hash, 32), trace_id, span_id, parent_span_id, service, scope, kind, (start_unix_nano // 1000)::DOUBLE, (end_unix_nano // 1000)::DOUBLE,
  status = 'error', operation, target, target_key, rpc_status, http_status, resend_count, coalesce(exception_message, status_message), adjusted_count, nullif(links, '[]')
  FROM _store.spans ORDER BY trace_id, start_unix_nano, span_id, body_hash`;

async function* spans(connection: DuckDBConnection): AsyncGenerator<Span> {
  const result = await connection.stream(SPANS);
  for await (const chunk of result) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const at = (column: number) => c[column]![row]!;
      yield {
        evidenceId: at(0) as string,
        traceId: at(1) as string,
        spanId: at(2) as string,
        parentSpanId: at(3) as string | null,
        service: entityKey('service', (at(4) as string | null) ?? 'unknown_service', at(5) as string | null),
        kind: at(6) as string,
        startMicros: at(7) as number,
        endMicros: at(8) as number,
        error: at(9) as boolean,
        operation: at(10) as string,
        target: at(11) as string | null,
        targetKey: at(12) as string | null,
        rpcStatus: at(13) as string | null,
        httpStatus: at(14) as number | null,
        resendCount: at(15) as number | null,
        text: at(16) as string | null,
        scale: at(17) as number | null,
        links: linksOf(at(18) as string | null),
      };
    }
  }
}

function linksOf(text: string | null): Span['links'] {
  if (!text) return [];
  return (JSON.parse(text) as { traceId?: string; spanId?: string }[]).flatMap(({ traceId, spanId }) =>
    traceId && spanId ? [{ traceId, spanId }] : [],
  );
}

function stateOf(services: Map<string, ServiceState>, service: string): ServiceState {
  const known = services.get(service);
  if (known) return known;
  const fresh: ServiceState = {
    coveredFromMicros: Number.POSITIVE_INFINITY,
    cells: new Map(),
    attempts: [],
    failures: [],
  };
  services.set(service, fresh);
  return fresh;
}

function addTrace(
  services: Map<string, ServiceState>,
  writes: Writes,
  hops: Map<string, Hop[]>,
  parentless: Map<string, ParentlessSpans>,
  trace: readonly Span[],
): void {
  const items = readTrace(trace);
  for (const { service, item } of items.requests) addRequest(stateOf(services, service), item);
  for (const { service, item } of items.attempts) stateOf(services, service).attempts.push(item);
  for (const { service, item } of items.failures) stateOf(services, service).failures.push(item);
  for (const { service, item } of items.writes) writes.add(service, item);
  for (const { service: subject, item } of items.parentless) {
    const minuteMicros = Math.floor(item.atMicros / MINUTE_MICROS) * MINUTE_MICROS;
    const key = `${subject}\n${minuteMicros}`;
    const cell = parentless.get(key) ?? { subject, minuteMicros, own: 0, caller: 0 };
    parentless.set(key, { ...cell, [item.parent]: cell[item.parent] + 1 });
  }
  for (const hop of items.hops) {
    const pair = `${hop.caller}\n${hop.callee}`;
    const known = hops.get(pair) ?? [];
    if (known.length < HOPS_KEPT_A_PAIR) known.push(hop);
    hops.set(pair, known);
  }
}

function addRequest(state: ServiceState, request: Request): void {
  const start = Math.floor(request.atMicros / CELL_MICROS) * CELL_MICROS;
  const cell = state.cells.get(start) ?? emptyCell(start);
  state.cells.set(start, cell);
  cell.count++;
  if (request.scale !== null) {
    cell.scaledSpans++;
    cell.scaledCount += request.scale;
    if (request.failed) cell.scaledErrors += request.scale;
  }
  if (!request.failed) return;
  cell.errors++;
  cell.firstErrorMicros = Math.min(cell.firstErrorMicros ?? request.atMicros, request.atMicros);
  cell.lastErrorMicros = Math.max(cell.lastErrorMicros ?? request.atMicros, request.atMicros);
  for (const answer of request.etcdAnswers) cell.etcdAnswers.set(answer, (cell.etcdAnswers.get(answer) ?? 0) + 1);
  cell.errorsByTime.push({ atMicros: request.atMicros, id: request.evidenceId });
  if (cell.errorsByTime.length > 4 * ERROR_IDS_KEPT_A_CELL) keepFirst(cell);
}

function emptyCell(start: number): CellState {
  return {
    type: 'requests',
    sinceMicros: start,
    atMicros: start + CELL_MICROS,
    count: 0,
    errors: 0,
    scaledSpans: 0,
    scaledCount: 0,
    scaledErrors: 0,
    firstErrorMicros: null,
    lastErrorMicros: null,
    errorsByTime: [],
    etcdAnswers: new Map(),
  };
}

/** The first errors by time, whatever the order in which traces came. */
function keepFirst(cell: CellState): void {
  cell.errorsByTime.sort((a, b) => a.atMicros - b.atMicros || (a.id < b.id ? -1 : 1));
  cell.errorsByTime.length = Math.min(cell.errorsByTime.length, ERROR_IDS_KEPT_A_CELL);
}

function serviceItems(subject: string, state: ServiceState): ServiceItems {
  const cells = [...state.cells.values()].map((cell): Requests => {
    keepFirst(cell);
    const { errorsByTime, ...rest } = cell;
    return { ...rest, errorIds: errorsByTime.map(({ id }) => id) };
  });
  const byTime = (a: ServiceItems['items'][number], b: ServiceItems['items'][number]) =>
    a.atMicros - b.atMicros || (evidence(a) < evidence(b) ? -1 : 1);
  return {
    subject,
    coveredFromMicros: state.coveredFromMicros,
    items: [...cells, ...state.attempts, ...state.failures].sort(byTime),
  };
}

const evidence = (item: ServiceItems['items'][number]): string => (item.type === 'requests' ? '' : item.evidenceId);

/** Accepted etcd writes by address, service and cell of time: who wrote how much. */
export class Writes {
  readonly #cells = new Map<string, Map<number, { sum: number; scaled: boolean }>>();

  add(service: string, write: EtcdWrite): void {
    if (!write.ok || write.target === '') return;
    const name = `${write.target}\n${service}`;
    const cells = this.#cells.get(name) ?? new Map<number, { sum: number; scaled: boolean }>();
    this.#cells.set(name, cells);
    const start = Math.floor(write.atMicros / CELL_MICROS) * CELL_MICROS;
    const cell = cells.get(start) ?? { sum: 0, scaled: true };
    cells.set(start, { sum: cell.sum + (write.scale ?? 1), scaled: cell.scaled && write.scale !== null });
  }

  /** Writers of a cluster between two moments, and what they wrote more than in the quarter of an hour before. */
  writers(clusters: Clusters, gaps: Gaps, cluster: string, fromMicros: number, toMicros: number): Writer[] {
    const byService = new Map<string, { during: number; before: number; from: number; scaled: boolean }>();
    const lookBack = fromMicros - 900_000_000;
    for (const [name, cells] of this.#cells) {
      const [target, service] = name.split('\n') as [string, string];
      if (clusters.keyOfAddress(target) !== cluster) continue;
      const writer = byService.get(service) ?? { during: 0, before: 0, from: fromMicros, scaled: true };
      byService.set(service, writer);
      for (const [start, { sum, scaled }] of cells) {
        const middle = start + CELL_MICROS / 2;
        if (middle < lookBack || middle > toMicros) continue;
        writer.scaled &&= scaled;
        if (middle >= fromMicros) writer.during += sum;
        else {
          writer.before += sum;
          writer.from = Math.min(writer.from, start);
        }
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
}

/** The etcd members in evidence, as their metrics name them. */
export async function loadMembers(connection: DuckDBConnection): Promise<Member[]> {
  const rows = await connection.runAndReadAll(
    `SELECT service, instance, list(DISTINCT peer ORDER BY peer) FROM (
       SELECT service, instance, unnest([json_extract_string(attributes, '$.Local'), json_extract_string(attributes, '$.Remote')]) AS peer
       FROM _store.metric_points WHERE metric = 'etcd_network_active_peers'
       UNION ALL SELECT DISTINCT service, instance, NULL FROM _store.metric_points WHERE metric LIKE 'etcd\\_%' ESCAPE '\\')
     WHERE instance IS NOT NULL GROUP BY ALL ORDER BY service, instance`,
  );
  return rows.getRows().map(([service, instance, peers]) => ({
    service: service as string | null,
    instance: instance as string,
    peerIds: (peers as DuckDBListValue).items.filter((peer): peer is string => typeof peer === 'string'),
  }));
}

/** The scrapes of one cluster in the order of time, with the metrics that some detector reads. */
export async function* loadScrapes(
  connection: DuckDBConnection,
  members: readonly Member[],
  inputs: readonly Input[],
): AsyncGenerator<Scrape> {
  const result = await connection.stream(
    `SELECT instance, (time_unix_nano // 1000)::DOUBLE, metric, attributes, value, bounds, counts, left(body_hash, 32) FROM _store.metric_points
     WHERE (${seriesFilter(inputs)}) AND (coalesce(service, ''), instance) IN (${members.map(memberLiteral).join(', ')})
     ORDER BY time_unix_nano, service, instance, metric, attributes, body_hash`,
  );
  let scrape: (Omit<Scrape, 'samples'> & { readonly samples: Map<string, Sample[]> }) | undefined;
  let series = '';
  for await (const chunk of result) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const [member, atMicros, metric, labels] = [
        c[0]![row] as string,
        c[1]![row] as number,
        c[2]![row] as string,
        c[3]![row] as string,
      ];
      if (scrape && (scrape.member !== member || scrape.atMicros !== atMicros)) {
        yield scrape;
        scrape = undefined;
      }
      const same = `${member}\n${atMicros}\n${metric}\n${labels}`;
      if (same === series) continue; // a series has one value at one time: of two bodies the one with the smaller hash
      series = same;
      scrape ??= { type: 'scrape', atMicros, member, samples: new Map() };
      const sample: Sample = {
        labels: JSON.parse(labels) as Record<string, string>,
        value: (c[4]![row] as number | null) ?? Number.NaN,
        bounds: numbers(c[5]![row]!),
        counts: numbers(c[6]![row]!),
        evidenceId: c[7]![row] as string,
      };
      const samples = scrape.samples.get(metric);
      if (samples) samples.push(sample);
      else scrape.samples.set(metric, [sample]);
    }
  }
  if (scrape) yield scrape;
}

const numbers = (value: DuckDBValue): number[] | null =>
  value === null ? null : ((value as DuckDBListValue).items as number[]);

function seriesFilter(inputs: readonly Input[]): string {
  const filters = new Set<string>();
  for (const input of inputs) {
    if (input.of !== 'series') continue;
    const labels = Object.entries(input.where ?? {}).map(
      ([label, value]) => `json_extract_string(attributes, '$."${label}"') = ${literal(value)}`,
    );
    filters.add([`metric = ${literal(input.metric)}`, ...labels].join(' AND '));
  }
  return [...filters].map((filter) => `(${filter})`).join(' OR ') || 'false';
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const memberLiteral = ({ service, instance }: Member): string => `(${literal(service ?? '')}, ${literal(instance)})`;

/** Which metrics each cluster exports, for rules that stand in where one is missing. */
export async function loadExports(connection: DuckDBConnection, clusters: Clusters): Promise<Surroundings['exports']> {
  const rows = await connection.runAndReadAll(
    `SELECT DISTINCT service, instance, metric FROM _store.metric_points WHERE metric LIKE 'etcd\\_%' ESCAPE '\\' AND instance IS NOT NULL`,
  );
  const exported = new Set(
    rows
      .getRows()
      .map(
        ([service, instance, metric]) =>
          `${clusters.keyOf({ service: service as string | null, instance: instance as string })}\n${String(metric)}`,
      ),
  );
  return (cluster, metric) => exported.has(`${cluster}\n${metric}`);
}
