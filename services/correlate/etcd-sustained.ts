import type { Figure, FindingDraft, Kind, Severity } from '../../shared/finding.js';
import type { AsOf, Detector, DetectorExample } from './detector.js';
import { detector } from './detector.js';
import { seriesOf } from './dose.js';
import { evidenceOf } from './evidence-of.js';
import type { Item } from './item.js';
import { type MemberDetail, readSeries, type Series, type SeriesState, seriesInput, startSeries } from './series.js';
import { type Limits, type Run, type SustainedState, sustainedRuns } from './sustained.js';

/** What a detector of one etcd series says of a run. */
interface Said {
  readonly severity: Severity;
  readonly summary: string;
  readonly measured: Readonly<Record<string, Figure>>;
  readonly baseline: Readonly<Record<string, Figure>> | null;
}

interface Definition extends Limits {
  readonly kind: Kind;
  readonly version: number;
  readonly meaning: string;
  readonly input: Series;
  /** Other metrics of the same scrapes that the finding quotes: the last value seen before the run closed. */
  readonly alongside?: readonly string[];
  /** The finding; undefined when the run turns out to be none. */
  readonly finding: (run: Run<MemberDetail>, alongside: ReadonlyMap<string, number>) => Said | undefined;
  readonly examples: readonly DetectorExample[];
}

interface State {
  readonly series: SeriesState;
  readonly folds: Map<string, SustainedState<MemberDetail>>;
  readonly alongside: Map<string, Map<string, number>>;
}

/** A detector of one etcd series that leaves its baseline and stays out. The fold is written once, here. */
export function etcdSustained(definition: Definition): Detector {
  const { kind, version, meaning, input, alongside = [], examples } = definition;
  const runs = sustainedRuns<MemberDetail>(definition);
  const drafts = (closed: readonly Run<MemberDetail>[], state: State, fold: string, asOf: AsOf): FindingDraft[] =>
    closed.flatMap((run) => draft(definition, run, state.alongside.get(fold) ?? new Map(), fold, asOf));

  return detector<State>({
    kind,
    version,
    meaning,
    subject: 'etcd',
    inputs: [seriesInput(input), ...alongside.map((metric) => ({ of: 'series' as const, metric }))],
    examples,
    start: () => ({ series: startSeries(), folds: new Map(), alongside: new Map() }),
    step(state, item: Item, asOf) {
      if (item.type !== 'scrape') return [];
      const fold = input.per === 'member' ? item.member : '';
      const noted = state.alongside.get(fold) ?? new Map<string, number>();
      state.alongside.set(fold, noted);
      for (const metric of alongside) {
        const value = item.samples.get(metric)?.[0]?.value;
        if (value !== undefined && !Number.isNaN(value)) noted.set(metric, value);
      }
      const reading = readSeries(input, state.series, item);
      if (!reading) return [];
      const before = state.folds.get(fold) ?? runs.start();
      state.folds.set(fold, before);
      return drafts(runs.step(before, reading), state, fold, asOf);
    },
    end: (state, asOf) => [...state.folds].flatMap(([fold, open]) => drafts(runs.end(open), state, fold, asOf)),
  });
}

function draft(
  definition: Definition,
  run: Run<MemberDetail>,
  alongside: ReadonlyMap<string, number>,
  fold: string,
  asOf: AsOf,
): FindingDraft[] {
  const said = definition.finding(run, alongside);
  if (!said) return [];
  const member = fold === '' ? null : fold;
  const { evidence, evidenceCount } = evidenceOf(run);
  return [
    {
      subject: asOf.subject,
      member,
      startedMicros: run.startedMicros,
      startedByMicros: run.startedByMicros,
      endedMicros: run.endedMicros,
      cut: run.cut,
      continues: run.continues,
      severity: said.severity,
      summary: member ? `${member}: ${said.summary}` : said.summary,
      measured: {
        ...said.measured,
        ...(member && { member }),
        members: [...new Set(run.readings.map((reading) => reading.detail.member))].sort(),
      },
      baseline: said.baseline && { ...said.baseline, ...describeBaseline(run) },
      shortBaseline: run.baseline?.short ?? false,
      keys: member ? [asOf.subject, `instance:${member}`] : [asOf.subject],
      evidence,
      evidenceCount,
      series: seriesOf(run.values),
    },
  ];
}

export function describeBaseline(run: Run): Record<string, Figure> {
  if (!run.baseline) return {};
  return {
    noise: run.baseline.noise,
    seconds: Math.round(run.baseline.spanMicros / 1e6),
    readings: run.baseline.values,
  };
}
