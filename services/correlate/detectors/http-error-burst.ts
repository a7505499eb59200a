import type { FindingDraft } from '../../../shared/finding.js';
import { type AsOf, detector } from '../detector.js';
import { seriesOf } from '../dose.js';
import { describeBaseline } from '../etcd-sustained.js';
import { keep } from '../evidence-of.js';
import { requests } from '../examples.js';
import { percent, round } from '../figures.js';
import type { Gap } from '../gaps.js';
import type { Requests } from '../item.js';
import { type Reading, type Run, type SustainedState, sustainedRuns } from '../sustained.js';

/** A share is judged over at least this many requests, or over a window this long. */
const ENOUGH_REQUESTS = 20;
const LONGEST_WINDOW_MICROS = 30_000_000;

/** Fewer failed requests in a run are nobody's incident. */
const LEAST_ERRORS = 5;

/** The noise of a share of n requests is binomial; it is taken at a normal error share of 1 %. */
const NORMAL_SHARE = 0.01;

interface Detail {
  /** The newest cell of the window: windows overlap, cells are counted once. */
  readonly cell: Requests;
}

interface State {
  recent: Requests[];
  last: Requests | undefined;
  readonly fold: SustainedState<Detail>;
}

const runs = sustainedRuns<Detail>({
  baseline: { over: '15m', least: '45s' },
  deviations: 6,
  floor: { absolute: 0.005, relative: 0.2 }, // share of requests
  atLeast: '10s',
  quietGap: '1m',
  maxExtent: '6h',
});

/**
 * The share of a service's SERVER spans that failed (HTTP 5xx, and the gRPC codes that OpenTelemetry calls server errors) leaves its baseline
 * and stays out. Shares come from scaled counts where every span says how it was sampled.
 */
export const httpErrorBurst = detector<State>({
  kind: 'http.error_burst',
  version: 2,
  meaning: "the share of a service's requests that failed leaves its baseline and stays out",
  subject: 'service',
  inputs: [{ of: 'requests' }],
  start: () => ({ recent: [], last: undefined, fold: runs.start() }),
  step(state, item, asOf) {
    if (item.type !== 'requests') return [];
    const reading = readShare(state, item, asOf);
    return reading ? runs.step(state.fold, reading).flatMap((run) => draft(run, asOf)) : [];
  },
  end: (state, asOf) => runs.end(state.fold).flatMap((run) => draft(run, asOf)),
  examples: [
    {
      title: 'nine in ten requests fail for a minute',
      given: requests(40, 100, (s) => (s >= 90 && s < 150 ? 0.92 : 0)),
      fires: true,
    },
    { title: 'one bad cell', given: requests(40, 100, (s) => (s === 90 ? 0.5 : 0)), fires: false },
    { title: 'a steady two per cent', given: requests(40, 100, () => 0.02), fires: false },
  ],
});

function readShare(state: State, cell: Requests, asOf: AsOf): Reading<Detail> | undefined {
  const silence = silenceBefore(cell, state.last, asOf);
  state.last = cell;
  state.recent = [
    ...state.recent.filter((before) => cell.atMicros - before.sinceMicros <= LONGEST_WINDOW_MICROS),
    cell,
  ];
  let window: Requests[] = [];
  let count = 0;
  for (let i = state.recent.length - 1; i >= 0 && count < ENOUGH_REQUESTS; i--) {
    window = [state.recent[i]!, ...window];
    count += state.recent[i]!.count;
  }
  if (count < LEAST_ERRORS) return undefined;
  return {
    atMicros: cell.atMicros,
    sinceMicros: cell.sinceMicros,
    ...(silence && { unknownSinceMicros: silence.fromMicros }),
    value: shareOf(window),
    noise: Math.sqrt((NORMAL_SHARE * (1 - NORMAL_SHARE)) / count),
    evidence: cell.errorIds.map((id) => ({ table: 'spans', id })),
    evidenceCount: cell.errors,
    detail: { cell },
  };
}

/** A service that sends no spans is not a service without errors. */
function silenceBefore(cell: Requests, last: Requests | undefined, asOf: AsOf): Gap | undefined {
  return asOf.gaps.find((gap) => last && gap.fromMicros >= last.sinceMicros && gap.toMicros <= cell.atMicros);
}

function shareOf(cells: readonly Requests[]): number {
  const total = (field: 'count' | 'errors' | 'scaledSpans' | 'scaledCount' | 'scaledErrors') =>
    cells.reduce((sum, cell) => sum + cell[field], 0);
  return total('scaledSpans') === total('count')
    ? total('scaledErrors') / total('scaledCount')
    : total('errors') / total('count');
}

function draft(run: Run<Detail>, asOf: AsOf): FindingDraft[] {
  const cells = run.readings.map((reading) => reading.detail.cell);
  const errors = cells.reduce((sum, cell) => sum + cell.errors, 0);
  if (errors < LEAST_ERRORS) return [];
  const startedMicros = cells.find((cell) => cell.firstErrorMicros !== null)?.firstErrorMicros ?? run.startedMicros;
  const endedMicros = cells.findLast((cell) => cell.lastErrorMicros !== null)?.lastErrorMicros ?? run.endedMicros;
  const answers = etcdAnswers(cells, asOf);
  const share = shareOf(cells);
  const requestCount = cells.reduce((sum, cell) => sum + cell.count, 0);
  const ids = cells.flatMap((cell) => cell.errorIds);
  return [
    {
      subject: asOf.subject,
      member: null,
      startedMicros,
      unseenMicros: run.readings[0]?.unknownSinceMicros === undefined ? 0 : startedMicros - run.startedMicros,
      startedByMicros: startedMicros,
      endedMicros,
      cut: run.cut,
      continues: run.continues,
      severity: share >= 0.5 ? 'critical' : share >= 0.05 ? 'warning' : 'info',
      summary: `${percent(share)} of requests failed (${errors} of ${requestCount} spans) against ${percent(run.baseline!.median)} before`,
      measured: {
        error_share: round(share),
        peak_share: round(run.peak.value),
        errors,
        requests: requestCount,
        etcd_answers: answers,
      },
      baseline: { error_share: round(run.baseline!.median), ...describeBaseline(run) },
      shortBaseline: run.baseline!.short,
      keys: [asOf.subject, ...new Set(Object.keys(answers).map((answer) => answer.slice(0, answer.lastIndexOf(' '))))],
      evidence: keep(
        ids.map((id) => ({ table: 'spans' as const, id })),
        run.peak.evidence[0],
      ),
      evidenceCount: errors,
      series: seriesOf(run.values),
    },
  ];
}

/** `etcd:<cluster> <answer>` to the number of failed requests whose etcd call was answered so. */
function etcdAnswers(cells: readonly Requests[], asOf: AsOf): Record<string, number> {
  const answers = new Map<string, number>();
  for (const cell of cells)
    for (const [key, count] of cell.etcdAnswers) {
      const [target, answer] = key.split('\n') as [string, string];
      const name = `${asOf.clusterOf(target)} ${answer}`;
      answers.set(name, (answers.get(name) ?? 0) + count);
    }
  return Object.fromEntries([...answers].sort(([a], [b]) => (a < b ? -1 : 1)));
}
