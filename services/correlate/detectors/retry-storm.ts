import { entityKey } from '../../../shared/entity.js';
import type { FindingDraft } from '../../../shared/finding.js';
import { median, quantile } from '../../../shared/robust.js';
import { type AsOf, detector } from '../detector.js';
import { seriesOf } from '../dose.js';
import { describeBaseline } from '../etcd-sustained.js';
import { keep } from '../evidence-of.js';
import { attempts, EXAMPLE_START, silence } from '../examples.js';
import { digits, round } from '../figures.js';
import { type Gap, silentMicros } from '../gaps.js';
import type { Attempt } from '../item.js';
import { commonPeriod } from '../period.js';
import { type Reading, type Run, type SustainedState, sustainedRuns, type Value } from '../sustained.js';

const CELL_MICROS = 10_000_000;
const LOOK_BACK_CELLS = 90; // 15 min, as far as a baseline looks back

/** So many passes make a storm; of sampled ones fewer may be in evidence, never fewer than the second figure. */
const LEAST_ATTEMPTS = 10;
const LEAST_SPANS = 5;

/** A finding keeps so many trace keys to be joined on: the earliest. */
const TRACES_KEPT = 1000;

/** So rarely may chance have kept no pass of a storm that had begun. */
const UNSEEN_BY_CHANCE = 0.001;

interface Detail {
  readonly attempts: readonly Attempt[];
}

interface Loop {
  readonly fold: SustainedState<Detail>;
  /** The cell that is being filled. */
  cellStart: number;
  filling: Attempt[];
  /** The end of the last cell of which something is known. */
  knownMicros: number;
}

const runs = sustainedRuns<Detail>({
  baseline: { over: '15m', least: '45s' },
  deviations: 6,
  floor: { absolute: 0.02, relative: 0.2 }, // attempts/s
  atLeast: '20s',
  orEvidence: LEAST_ATTEMPTS,
  quietGap: '1m',
  maxExtent: '6h',
});

/**
 * A loop starts the same operation on the same key again and again, faster than it did before and without backing off. An attempt is one pass:
 * siblings under one parent, new roots that link to one span, or new roots that share only service, operation and key. Passes of a growing back-off
 * that ends are no storm, nor are roots that link to a span each (messages being consumed). Where spans say how they
 * were sampled (`tracestate` `ot=th`), counts are scaled; else `sampling` is `unknown` and a low count proves nothing.
 */
export const retryStorm = detector<Map<string, Loop>>({
  kind: 'retry.storm',
  version: 3,
  meaning: 'a loop starts one operation on one key again and again, faster than before and without backing off',
  subject: 'service',
  inputs: [{ of: 'attempts' }],
  start: () => new Map(),
  step(loops, item, asOf) {
    if (item.type !== 'attempt') return [];
    const name = `${item.operation}\n${item.key ?? ''}`;
    const loop = loops.get(name) ?? begin(item, asOf);
    loops.set(name, loop);
    const closed = advance(loop, cellOf(item.atMicros), asOf);
    loop.filling.push(item);
    return closed.flatMap((run) => draft(run, asOf));
  },
  end: (loops, asOf) =>
    [...loops.values()].flatMap((loop) =>
      [...advance(loop, loop.cellStart + CELL_MICROS, asOf), ...runs.end(loop.fold)].flatMap((run) => draft(run, asOf)),
    ),
  examples: [
    {
      title: 'siblings in one trace, every 3 s',
      given: attempts(every(3, 120, 40), { form: 'siblings', loop: 'parent', traceId: 'one' }),
      coveredFromMicros: EXAMPLE_START,
      fires: true,
    },
    {
      title: 'new roots that link to the span that failed',
      given: attempts(every(3, 120, 40), { form: 'linked roots', loop: 'failed-span', linkedTraces: ['failed'] }),
      coveredFromMicros: EXAMPLE_START,
      fires: true,
    },
    {
      title: 'new roots that share operation, key and interval',
      given: attempts(every(3, 120, 40)),
      coveredFromMicros: EXAMPLE_START,
      fires: true,
    },
    {
      title: 'loops that began apart, share only operation and interval, and name no key',
      given: attempts(mixed(7, 3, 120, 20), { key: null }),
      coveredFromMicros: EXAMPLE_START,
      fires: true,
    },
    {
      title: 'a job queue that grows busy: no key, no failure, no interval',
      given: attempts(
        every(1, 120, 60).map((second, index) => second + 0.9 * Math.sin(index * index)),
        { key: null },
      ),
      coveredFromMicros: EXAMPLE_START,
      fires: false,
    },
    {
      title: 'a doubling back-off that ends',
      given: attempts([120, 121, 123, 127, 135, 151, 183, 247, 375, 631], {
        form: 'siblings',
        loop: 'parent',
        failed: true,
      }),
      coveredFromMicros: EXAMPLE_START,
      fires: false,
    },
    {
      title: 'a consumer whose spans link to the messages that they process',
      given: every(3, 120, 40).flatMap((second, index) =>
        attempts([second], { form: 'linked roots', loop: `message-${index}`, evidenceId: `consumed-${index}` }),
      ),
      coveredFromMicros: EXAMPLE_START,
      fires: false,
    },
    {
      title: 'a loop that runs every 5 s all night',
      given: attempts(every(5, 2, 400)),
      coveredFromMicros: EXAMPLE_START,
      fires: false,
    },
    {
      title: 'the same loop after ten minutes whose spans are missing',
      given: attempts(every(5, 2, 200).filter((second) => second < 200 || second > 800)),
      coveredFromMicros: EXAMPLE_START,
      gaps: [silence(197, 802)],
      fires: false,
    },
  ],
});

function every(interval: number, from: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => from + index * interval);
}

/** Loops that began at odd moments of one period. */
function mixed(loops: number, period: number, from: number, rounds: number): number[] {
  const starts = Array.from({ length: loops }, (_, loop) => from + ((loop * loop * 0.37) % period));
  return starts.flatMap((start) => every(period, start, rounds)).sort((a, b) => a - b);
}

const cellOf = (micros: number): number => Math.floor(micros / CELL_MICROS) * CELL_MICROS;

/** A loop seen for the first time was silent as long as its service was watched. */
function begin(first: Attempt, asOf: AsOf): Loop {
  const cell = cellOf(first.atMicros);
  const from = Math.max(cellOf(asOf.coveredFromMicros), cell - LOOK_BACK_CELLS * CELL_MICROS);
  const loop: Loop = { fold: runs.start(), cellStart: from, filling: [], knownMicros: from };
  advance(loop, cell, asOf);
  return loop;
}

/** Closes the cell being filled and the empty ones up to `cell`. An empty cell of a time whose spans are missing says nothing. */
function advance(loop: Loop, cell: number, { gaps }: AsOf): Run<Detail>[] {
  const closed: Run<Detail>[] = [];
  while (loop.cellStart < cell) {
    if (loop.filling.length > 0 || silentMicros(gaps, loop.cellStart, loop.cellStart + CELL_MICROS) === 0) {
      const noise = spreadOf(loop.fold.before, loop.filling);
      closed.push(...runs.step(loop.fold, readingOf(loop, noise)));
      loop.knownMicros = loop.cellStart + CELL_MICROS;
    }
    loop.filling = [];
    loop.cellStart += CELL_MICROS;
    if (cell - loop.cellStart <= LOOK_BACK_CELLS * CELL_MICROS) continue;
    loop.cellStart = cell - LOOK_BACK_CELLS * CELL_MICROS;
    loop.knownMicros = loop.cellStart;
  }
  return closed;
}

function readingOf({ cellStart, filling, knownMicros }: Loop, noise: number): Reading<Detail> {
  return {
    atMicros: cellStart + CELL_MICROS,
    sinceMicros: cellStart,
    ...(knownMicros < cellStart && { unknownSinceMicros: knownMicros }),
    value: scaled(filling) / (CELL_MICROS / 1e6),
    noise,
    evidence: filling.map(({ evidenceId }) => ({ table: 'spans', id: evidenceId })),
    evidenceCount: filling.length,
    detail: { attempts: filling },
  };
}

/**
 * The standard deviation of the cells before, the last one apart (it may hold the first passes of the loop itself), as if
 * one more had held one pass of those seen now: silence of sampled spans proves less. Where passes are rarer than cells,
 * or sampled so, most cells are empty and the MAD is 0 whatever the others hold.
 */
function spreadOf(cells: readonly { readonly value: number }[], filling: readonly Attempt[]): number {
  const onePass = filling.reduce((most, { scale }) => Math.max(most, scale ?? 1), 1) / (CELL_MICROS / 1e6);
  const values = [...cells.slice(0, -1).map(({ value }) => value), onePass];
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

const scaled = (passes: readonly Attempt[]): number => passes.reduce((sum, pass) => sum + (pass.scale ?? 1), 0);

function draft(run: Run<Detail>, asOf: AsOf): FindingDraft[] {
  const passes = run.readings.flatMap((reading) => reading.detail.attempts);
  if (passes.length < LEAST_SPANS || scaled(passes) < LEAST_ATTEMPTS || !repeats(passes) || backsOff(passes)) return [];
  const first = passes[0]!;
  const last = passes.at(-1)!;
  const seconds = secondsWatched(passes, asOf.gaps);
  const rate = scaled(passes) / seconds;
  const interval = intervalOf(passes);
  if (!saysWhat(passes) && interval === undefined) return [];
  const instances = new Set(passes.map(({ loop }) => loop)).size;
  const loops = first.form === 'roots' ? null : instances;
  const clusters = [...new Set(passes.flatMap(({ targets }) => targets).map(asOf.clusterOf))].sort();
  const traces = [...new Set(passes.flatMap(({ linkedTraces, traceId }) => [...linkedTraces, traceId]))].slice(
    0,
    TRACES_KEPT,
  );
  return [
    {
      subject: asOf.subject,
      member: first.key ? `'${first.operation}' on ${first.key}` : first.operation, // two loops of one service may begin together
      startedMicros: first.atMicros,
      unseenMicros: Math.max(unseenBefore(passes), silentBefore(run)),
      startedByMicros: first.atMicros,
      endedMicros: last.endMicros,
      cut: run.cut,
      continues: run.continues,
      severity: rate >= 10 ? 'critical' : 'warning',
      summary: `'${first.operation}'${first.key ? ` on ${first.key}` : ''} started ${digits(rate)} times/s${
        interval ? `, each loop every ${digits(interval)} s` : ''
      }, against ${digits(run.baseline!.median)}/s before`,
      measured: {
        attempts: passes.length,
        attempts_per_s: round(rate),
        loops,
        interval_s: interval === undefined ? null : round(interval),
        writes_per_s: round(ratePerSecond(passes, ({ writes }) => writes, asOf.gaps)),
        refused_writes_per_s: round(ratePerSecond(passes, ({ failedWrites }) => failedWrites, asOf.gaps)),
        failed_share: round(passes.filter(({ failed }) => failed).length / passes.length),
        operation: first.operation,
        key: first.key,
        form: first.form,
        linked: passes.filter(({ linkedTraces }) => linkedTraces.length > 0).length,
        sampling: samplingOf(passes),
      },
      baseline: { attempts_per_s: round(run.baseline!.median), ...describeBaseline(run) },
      shortBaseline: run.baseline!.short,
      keys: [asOf.subject, ...clusters, ...traces.map((id) => entityKey('trace', id))],
      evidence: keep(
        passes.map(({ evidenceId }) => ({ table: 'spans' as const, id: evidenceId })),
        run.peak.evidence[0],
      ),
      evidenceCount: passes.length,
      series: seriesOf(written(run)),
    },
  ];
}

/**
 * How long a storm of sampled spans can have gone on before its first pass in evidence: passes kept by chance come as a Poisson process, and
 * a pause of so many mean gaps is left to chance once in a thousand. Microseconds; none where all spans are kept.
 */
function unseenBefore(passes: readonly Attempt[]): number {
  if (samplingOf(passes) === 'whole') return 0;
  const meanGap = (passes.at(-1)!.atMicros - passes[0]!.atMicros) / Math.max(1, passes.length - 1);
  return Math.round(-Math.log(UNSEEN_BY_CHANCE) * meanGap);
}

/** Accepted writes a second, as what follows from a storm follows them; the passes themselves where they write nothing. */
function written(run: Run<Detail>): readonly Value[] {
  const writing = run.readings.flatMap(({ detail }) => detail.attempts).filter(({ writes }) => writes > 0);
  if (writing.length === 0) return run.values;
  const writesOf = (passes: readonly Attempt[]) =>
    passes.reduce((sum, pass) => sum + pass.writes * (pass.scale ?? 1), 0);
  const aPass = writesOf(writing) / scaled(writing);
  const read = new Map(run.readings.map(({ atMicros, detail }) => [atMicros, writesOf(detail.attempts)]));
  return run.values.map(({ atMicros, value }) => {
    const writes = read.get(atMicros);
    return { atMicros, value: writes === undefined ? value * aPass : writes / (CELL_MICROS / 1e6) };
  });
}

/** How long the first passes may have gone on in a time whose spans are missing. */
function silentBefore({ readings: [first] }: Run<Detail>): number {
  return first?.unknownSinceMicros === undefined ? 0 : first.sinceMicros - first.unknownSinceMicros;
}

/** Per second of the time in which there were any; scaled by sampling. */
function ratePerSecond(passes: readonly Attempt[], of: (pass: Attempt) => number, gaps: readonly Gap[]): number {
  const some = passes.filter((pass) => of(pass) > 0);
  if (some.length === 0) return 0;
  const seconds = secondsWatched(some, gaps);
  return some.reduce((sum, pass) => sum + of(pass) * (pass.scale ?? 1), 0) / seconds;
}

/** From the first pass to the last, but for the times whose spans are missing. */
function secondsWatched(passes: readonly Attempt[], gaps: readonly Gap[]): number {
  const [from, to] = [passes[0]!.atMicros, passes.at(-1)!.atMicros];
  return Math.max(1, (to - from - silentMicros(gaps, from, to)) / 1e6);
}

function samplingOf(passes: readonly Attempt[]): 'whole' | 'scaled' | 'unknown' {
  if (passes.some(({ scale }) => scale === null)) return 'unknown';
  return passes.every(({ scale }) => scale === 1) ? 'whole' : 'scaled';
}

/** Passes that name a key, link to what they came from, or failed beside each other. Others share only operation and interval: then the interval must be there. */
function saysWhat(passes: readonly Attempt[]): boolean {
  const saying = passes.filter(
    ({ form, key, linkedTraces, failed }) => key !== null || linkedTraces.length > 0 || (failed && form !== 'roots'),
  );
  return saying.length >= passes.length / 2;
}

/** The passes of each loop, where passes say which loop they are of. */
function byLoop(passes: readonly Attempt[]): Attempt[][] {
  const loops = new Map<string, Attempt[]>();
  for (const pass of passes) {
    const loop = loops.get(pass.loop);
    if (loop) loop.push(pass);
    else loops.set(pass.loop, [pass]);
  }
  return [...loops.values()];
}

function gaps(passes: readonly Attempt[]): number[] {
  return passes.slice(1).map((pass, index) => (pass.atMicros - passes[index]!.atMicros) / 1e6);
}

/**
 * Loops go round. Passes that link to a span each are messages being consumed; a pass that links to the pass before it
 * is of that pass's loop.
 */
function repeats(passes: readonly Attempt[]): boolean {
  const traces = new Set(passes.map(({ traceId }) => traceId));
  const first = passes.filter(({ linkedTraces }) => !linkedTraces.some((id) => traces.has(id)));
  return scaled(passes) >= 2 * new Set(first.map(({ loop }) => loop)).size;
}

/** Most passes belong to loops whose pauses grow: each pause is longer than the one before by a third (jitter allowed), the last three times the first. */
function backsOff(passes: readonly Attempt[]): boolean {
  const judged = byLoop(passes).filter((loop) => loop.length >= 4);
  const growing = judged.filter((loop) => {
    const pauses = gaps(loop);
    const growth = pauses.slice(1).map((pause, index) => pause / Math.max(pauses[index]!, 1e-3));
    return median(growth.sort((a, b) => a - b)) >= 1.3 && pauses.at(-1)! >= 3 * pauses[0]!;
  });
  const count = (loops: readonly Attempt[][]) => loops.reduce((sum, loop) => sum + loop.length, 0);
  return count(growing) > count(judged) / 2;
}

/** The pause between passes of one loop, where it is regular (quartiles within 30 % of the median), or that mixed loops share. Seconds. */
function intervalOf(passes: readonly Attempt[]): number | undefined {
  const pauses = byLoop(passes)
    .flatMap(gaps)
    .sort((a, b) => a - b);
  const middle = median(pauses);
  const regular = pauses.length >= 3 && quantile(pauses, 0.75) - quantile(pauses, 0.25) <= 0.3 * middle;
  return regular && middle > 0 ? middle : commonPeriod(passes.map(({ atMicros }) => atMicros / 1e6));
}
