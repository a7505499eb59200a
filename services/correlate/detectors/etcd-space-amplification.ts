import type { FindingDraft } from '../../../shared/finding.js';
import { type AsOf, detector } from '../detector.js';
import { evidenceOf } from '../evidence-of.js';
import { scrapes } from '../examples.js';
import { bytes, digits, round } from '../figures.js';
import type { Scrape } from '../item.js';
import { combined } from '../series.js';
import { type Run, type SustainedState, sustainedRuns } from '../sustained.js';

const SIZE = 'etcd_mvcc_db_total_size_in_bytes';
const IN_USE = 'etcd_mvcc_db_total_size_in_use_in_bytes';
const KEYS = 'etcd_debugging_mvcc_keys_total';
const REVISION = 'etcd_debugging_mvcc_current_revision';
const COMPACTED = 'etcd_debugging_mvcc_compact_revision';
const METRICS = [SIZE, IN_USE, KEYS, REVISION, COMPACTED];

interface Detail {
  readonly size: number;
  readonly inUse: number;
  readonly revisionsPerKey: number;
}

/** Below this size amplification costs nothing: pages and preallocation dominate. */
const LEAST_SIZE_BYTES = 16_777_216;

const runs = sustainedRuns<Detail>({
  above: 10,
  baseline: { over: '15m', least: '0s' },
  deviations: 0,
  floor: { absolute: 0, relative: 0 },
  atLeast: '10s',
  quietGap: '1m',
  maxExtent: '6h',
});

interface State {
  readonly fold: SustainedState<Detail>;
  readonly last: Map<string, number>;
}

/**
 * The file is many times larger than the data that is live: freed pages that only a defrag returns (size / in use), times old revisions that only
 * a compaction frees (revisions kept / keys; each revision is taken as the same size). A fixed level, so there is no baseline:
 * ten times, where kube-apiserver's compaction every 5 min keeps it below two.
 */
export const etcdSpaceAmplification = detector<State>({
  kind: 'etcd.space_amplification',
  version: 1,
  meaning: 'the file is ten times larger than what is live in it, or more',
  subject: 'etcd',
  inputs: METRICS.map((metric) => ({ of: 'series', metric })),
  start: () => ({ fold: runs.start(), last: new Map() }),
  step(state, item, asOf) {
    if (item.type !== 'scrape') return [];
    const detail = amplificationOf(item);
    const since = state.last.get(item.member);
    state.last.set(item.member, item.atMicros);
    if (!detail || since === undefined) return [];
    const size = combined(item.samples.get(SIZE))!;
    const reading = {
      atMicros: item.atMicros,
      sinceMicros: since,
      value: detail.size < LEAST_SIZE_BYTES ? 0 : (detail.size / detail.inUse) * detail.revisionsPerKey,
      evidence: [{ table: 'metric_points' as const, id: size.evidenceId }],
      evidenceCount: 1,
      detail,
    };
    return runs.step(state.fold, reading).map((run) => draft(run, asOf));
  },
  end: (state, asOf) => runs.end(state.fold).map((run) => draft(run, asOf)),
  examples: [
    {
      title: 'a hot key without compaction',
      given: scrapes(20, (s) => ({
        [SIZE]: 2e6 * s,
        [IN_USE]: 2e6 * s,
        [KEYS]: 20,
        [REVISION]: 1000 * s,
        [COMPACTED]: -1,
      })),
      fires: true,
    },
    {
      title: 'a small file',
      given: scrapes(20, (s) => ({ [SIZE]: 98_304, [IN_USE]: 98_304, [KEYS]: 1, [REVISION]: 10 * s, [COMPACTED]: -1 })),
      fires: false,
    },
    {
      title: 'many keys, few revisions each',
      given: scrapes(20, (s) => ({
        [SIZE]: 8e7,
        [IN_USE]: 6e7,
        [KEYS]: 10_000,
        [REVISION]: 20_000 + s,
        [COMPACTED]: 10_000,
      })),
      fires: false,
    },
  ],
});

function amplificationOf(scrape: Scrape): Detail | undefined {
  const value = (metric: string) => combined(scrape.samples.get(metric))?.value;
  const [size, inUse, keys, revision] = [value(SIZE), value(IN_USE), value(KEYS), value(REVISION)];
  if (!size || !inUse || revision === undefined) return undefined;
  const kept = revision - Math.max(0, value(COMPACTED) ?? 0);
  return { size, inUse, revisionsPerKey: keys ? Math.max(1, kept / keys) : 1 };
}

function draft(run: Run<Detail>, asOf: AsOf): FindingDraft {
  const { detail, value } = run.peak;
  return {
    subject: asOf.subject,
    member: null,
    startedMicros: run.startedMicros,
    startedByMicros: run.startedByMicros,
    endedMicros: run.endedMicros,
    cut: run.cut,
    continues: run.continues,
    severity: value >= 100 ? 'warning' : 'info',
    summary: `${bytes(detail.size)} on disk for about 1/${digits(value)} of it live (${digits(detail.revisionsPerKey)} revisions a key, ${bytes(detail.inUse)} in use)`,
    measured: {
      amplification: round(value),
      size_bytes: detail.size,
      in_use_bytes: detail.inUse,
      revisions_per_key: round(detail.revisionsPerKey),
    },
    baseline: null,
    shortBaseline: false,
    keys: [asOf.subject],
    ...evidenceOf(run),
  };
}
