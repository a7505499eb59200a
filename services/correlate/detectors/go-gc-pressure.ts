import type { FindingDraft } from '../../../shared/finding.js';
import { type AsOf, detector } from '../detector.js';
import { seriesOf } from '../dose.js';
import { describeBaseline } from '../etcd-sustained.js';
import { keep } from '../evidence-of.js';
import { collections } from '../examples.js';
import { bytes, digits, percent, round } from '../figures.js';
import type { Scrape } from '../item.js';
import { type Reading, type Run, type SustainedState, sustainedRuns } from '../sustained.js';

const PAUSES = 'go_gc_duration_seconds';
const HEAP = 'go_memstats_heap_inuse_bytes';

/** An idle process collects every few seconds to every two minutes (runtime forcegcperiod): cycles are counted over so long at least. */
const WINDOW_MICROS = 30_000_000;

/** Beyond this a pair of scrapes says nothing about the time between. */
const GAP_MICROS = 300_000_000;

interface Total {
  readonly atMicros: number;
  readonly cycles: number;
  readonly pausedSeconds: number;
}

interface Detail {
  readonly pausedShare: number;
  readonly heapBytes: number | null;
}

interface Half {
  readonly of: 'cycles' | 'pauses';
  readonly run: Run<Detail>;
}

interface State {
  history: Total[];
  readonly cycles: SustainedState<Detail>;
  readonly pauses: SustainedState<Detail>;
  /** Runs of one of the two that may yet overlap one of the other. */
  held: Half[];
}

const limits = {
  baseline: { over: '15m', least: '15s' }, // each reading speaks of 30 s: of 45 s in all
  deviations: 6,
  atLeast: '45s', // half as long again as the window: a single burst of cycles stays in it for 30 s
  quietGap: '1m',
  maxExtent: '6h',
} as const;

/** Idle recordings waver by one cycle in a window; under a steady load the rate halves and doubles as the heap's goal moves. */
const cycleRuns = sustainedRuns<Detail>({ ...limits, floor: { absolute: 0.05, relative: 0.2 } }); // cycles/s

/** Full storms of the recordings stopped the world for 0.2 to 0.5 % of the time, idle members for 0.01 %. */
const pauseRuns = sustainedRuns<Detail>({ ...limits, floor: { absolute: 0.0005, relative: 0.2 } }); // share of the time

/**
 * A Go process collects garbage more often, or stops the world for a greater share of the time, than before, and goes on. Every Go process that exports
 * go_gc_duration_seconds (a summary: its sum is the paused time, its count the cycles), etcd's members among them. Severity by the share of the
 * time in pauses: 1 % is twice what storms of thousands of puts a second cost (recordings; 1.7 % once), 10 % a tenth of the service.
 */
export const goGcPressure = detector<State>({
  kind: 'go.gc_pressure',
  version: 1,
  meaning: 'a process collects garbage more often, or pauses for it for a greater share of the time, than before',
  subject: 'instance',
  inputs: [
    { of: 'series', metric: PAUSES },
    { of: 'series', metric: HEAP },
  ],
  start: () => ({ history: [], cycles: cycleRuns.start(), pauses: pauseRuns.start(), held: [] }),
  step(state, item, asOf) {
    const read = item.type === 'scrape' ? readWindow(state, item) : undefined;
    if (!read) return [];
    state.held.push(
      ...cycleRuns.step(state.cycles, read.cycles).map((run): Half => ({ of: 'cycles', run })),
      ...pauseRuns.step(state.pauses, read.pauses).map((run): Half => ({ of: 'pauses', run })),
    );
    const undecided = state.cycles.open ?? state.pauses.open;
    return undecided && !state.held.some(({ run }) => run.continues) ? [] : settle(state, asOf);
  },
  end(state, asOf) {
    state.held.push(
      ...cycleRuns.end(state.cycles).map((run): Half => ({ of: 'cycles', run })),
      ...pauseRuns.end(state.pauses).map((run): Half => ({ of: 'pauses', run })),
    );
    return settle(state, asOf);
  },
  examples: [
    {
      title: 'a load that makes ten times the garbage for two minutes',
      given: collections(80, (s) =>
        s >= 150 && s < 270 ? { cycles: 4, pause: 0.0005 } : { cycles: 0.4, pause: 0.0002 },
      ),
      fires: true,
    },
    {
      title: 'as many cycles as before, each with a long pause',
      given: collections(80, (s) => ({ cycles: 2, pause: s >= 150 && s < 270 ? 0.01 : 0.0002 })),
      fires: true,
    },
    {
      title: 'a burst of five seconds',
      given: collections(80, (s) =>
        s >= 150 && s < 155 ? { cycles: 8, pause: 0.0005 } : { cycles: 0.4, pause: 0.0002 },
      ),
      fires: false,
    },
    {
      title: 'a process that is busy all the time',
      given: collections(80, () => ({ cycles: 8, pause: 0.0005 })),
      fires: false,
    },
  ],
});

/** Both measures over the shortest trailing window of at least 30 s; undefined where there is none yet, or the process is another. */
function readWindow(state: State, scrape: Scrape): Record<Half['of'], Reading<Detail>> | undefined {
  const sample = scrape.samples.get(PAUSES)?.[0];
  if (!sample || sample.count === null || sample.sum === null) return undefined;
  const now: Total = { atMicros: scrape.atMicros, cycles: sample.count, pausedSeconds: sample.sum };
  const last = state.history.at(-1);
  if (last && (now.cycles < last.cycles || now.atMicros - last.atMicros > GAP_MICROS)) state.history = [];
  const from = state.history.findLastIndex(({ atMicros }) => now.atMicros - atMicros >= WINDOW_MICROS);
  state.history = [...state.history.slice(Math.max(0, from)), now];
  const since = state.history[0]!;
  if (from < 0 || !last) return undefined;
  const seconds = (now.atMicros - since.atMicros) / 1e6;
  const pausedShare = (now.pausedSeconds - since.pausedSeconds) / seconds;
  const reading = (value: number): Reading<Detail> => ({
    atMicros: now.atMicros,
    sinceMicros: last.atMicros,
    value,
    evidence: [{ table: 'metric_points', id: sample.evidenceId }],
    evidenceCount: 1,
    detail: { pausedShare, heapBytes: scrape.samples.get(HEAP)?.[0]?.value ?? null },
  });
  return { cycles: reading((now.cycles - since.cycles) / seconds), pauses: reading(pausedShare) };
}

/** One finding for runs of the two that overlap: more cycles usually are more pauses. */
function settle(state: State, asOf: AsOf): FindingDraft[] {
  const groups: Half[][] = [];
  for (const half of state.held.sort((a, b) => a.run.startedMicros - b.run.startedMicros)) {
    const group = groups.at(-1);
    if (group?.some(({ run }) => run.endedMicros >= half.run.startedMicros)) group.push(half);
    else groups.push([half]);
  }
  state.held = [];
  return groups.map((group) => draft(group, asOf));
}

function draft(group: readonly Half[], asOf: AsOf): FindingDraft {
  const runs = group.map(({ run }) => run);
  const first = runs[0]!;
  const cycles = group.find((half) => half.of === 'cycles')?.run;
  const pauses = group.find((half) => half.of === 'pauses')?.run;
  const readings = [...new Map(runs.flatMap((run) => run.readings).map((one) => [one.atMicros, one])).values()].sort(
    (a, b) => a.atMicros - b.atMicros,
  );
  const shares = readings.map(({ detail }) => detail.pausedShare);
  const pausedShare = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  const heap = Math.max(...readings.map(({ detail }) => detail.heapBytes ?? 0));
  const main = cycles ?? first;
  return {
    subject: asOf.subject,
    member: asOf.partOf ?? null, // two clusters can have instances of one name
    startedMicros: first.startedMicros,
    startedByMicros: first.startedByMicros,
    endedMicros: Math.max(...runs.map(({ endedMicros }) => endedMicros)),
    cut: first.cut,
    continues: runs.some(({ continues }) => continues),
    severity: pausedShare >= 0.1 ? 'critical' : pausedShare >= 0.01 ? 'warning' : 'info',
    summary: [
      cycles && `${digits(cycles.mean)} GC cycles/s against ${digits(cycles.baseline!.median)} before`,
      `pauses took ${percent(pausedShare)} of the time${pauses ? ` against ${percent(pauses.baseline!.median)} before` : ''}`,
      heap > 0 && `heap up to ${bytes(heap)}`,
    ]
      .filter(Boolean)
      .join(', '),
    measured: {
      ...(cycles && { cycles_per_s: round(cycles.mean), peak_cycles_per_s: round(cycles.peak.value) }),
      paused_share: round(pausedShare),
      peak_paused_share: round(Math.max(...shares)),
      ...(heap > 0 && { heap_inuse_bytes: heap }),
    },
    baseline: {
      ...(cycles && { cycles_per_s: round(cycles.baseline!.median) }),
      ...(pauses && { paused_share: round(pauses.baseline!.median) }),
      ...describeBaseline(main),
    },
    shortBaseline: main.baseline!.short,
    keys: [asOf.subject, ...(asOf.partOf ? [asOf.partOf] : [])],
    evidence: keep(
      readings.flatMap(({ evidence }) => evidence),
      main.peak.evidence[0],
    ),
    evidenceCount: readings.length,
    series: seriesOf(main.values),
  };
}
