import type { FindingDraft } from '../../../shared/finding.js';
import { type Burst, type BurstState, bursts, earliestStart } from '../burst.js';
import { type AsOf, detector } from '../detector.js';
import { keep } from '../evidence-of.js';
import { counter, scrapes } from '../examples.js';
import { bytes, digits, percent, round } from '../figures.js';
import type { Scrape } from '../item.js';
import { combined } from '../series.js';

const SIZE = 'etcd_mvcc_db_total_size_in_bytes';
const QUOTA = 'etcd_server_quota_backend_bytes';
const HANDLED = 'grpc_server_handled_total';
const REFUSALS = [
  { grpc_code: 'ResourceExhausted', grpc_method: 'Put' },
  { grpc_code: 'ResourceExhausted', grpc_method: 'Txn' },
] as const;

/**
 * ResourceExhausted has a second meaning (`too many requests`, when applies lag): it is the quota only with the file near it.
 * A put is refused when it would cross the quota, so the file can stand a page or a value below it.
 */
const NEAR_QUOTA = 0.9;

interface Refusal {
  readonly atMicros: number;
  readonly endMicros: number;
  readonly sinceMicros: number;
  readonly member: string;
  readonly refused: number;
  readonly sizeBytes: number;
  readonly quotaBytes: number;
  readonly evidenceId: string;
}

interface State {
  readonly last: Map<string, { atMicros: number; refused: number }>;
  readonly burst: BurstState<Refusal>;
}

const refusals = bursts<Refusal>({ quietGap: '2m', maxExtent: '6h' });

/**
 * The backend quota is reached: puts are refused with `etcdserver: mvcc: database space exceeded` (gRPC ResourceExhausted) while reads and deletes go on.
 * etcd_server_proposals_failed_total stays 0 at that, so it is not looked at. Judged against the quota itself, so there is no baseline.
 */
export const etcdQuotaExhausted = detector<State>({
  kind: 'etcd.quota_exhausted',
  version: 1,
  meaning: 'puts are refused, or would be, because the file has reached its quota',
  subject: 'etcd',
  inputs: [
    { of: 'series', metric: SIZE },
    { of: 'series', metric: QUOTA },
    ...REFUSALS.map((where) => ({ of: 'series' as const, metric: HANDLED, where })),
  ],
  start: () => ({ last: new Map(), burst: refusals.start() }),
  step(state, item, asOf) {
    if (item.type !== 'scrape') return [];
    const refusal = refusalOf(state, item);
    return refusal ? refusals.step(state.burst, refusal).map((burst) => draft(burst, asOf)) : [];
  },
  end: (state, asOf) => refusals.end(state.burst).map((burst) => draft(burst, asOf)),
  examples: [
    {
      title: 'refused puts at the quota',
      given: scrapes(40, (s) => ({
        [SIZE]: s < 90 ? 20e6 : 33.6e6,
        [QUOTA]: 33_554_432,
        'grpc_server_handled_total{grpc_code="ResourceExhausted",grpc_method="Put"}': counter(s, {
          before: 0,
          after: 25,
          from: 90,
          to: 150,
        }),
      })),
      fires: true,
    },
    {
      title: 'too many requests, far below the quota',
      given: scrapes(40, (s) => ({
        [SIZE]: 20e6,
        [QUOTA]: 2_147_483_648,
        'grpc_server_handled_total{grpc_code="ResourceExhausted",grpc_method="Put"}': counter(s, {
          before: 0,
          after: 25,
          from: 90,
          to: 150,
        }),
      })),
      fires: false,
    },
    {
      title: 'refusals of an earlier day that only stand in the counter',
      given: scrapes(40, () => ({
        [SIZE]: 32e6,
        [QUOTA]: 33_554_432,
        'grpc_server_handled_total{grpc_code="ResourceExhausted",grpc_method="Put"}': 1437,
      })),
      fires: false,
    },
  ],
});

/** What a scrape says of the quota: puts refused since the one before, or the file beyond the quota. */
function refusalOf(state: State, scrape: Scrape): Refusal | undefined {
  const size = combined(scrape.samples.get(SIZE));
  const quota = combined(scrape.samples.get(QUOTA))?.value;
  const samples = REFUSALS.map((where) => combined(scrape.samples.get(HANDLED), where));
  const refused = samples.reduce((sum, sample) => sum + (sample?.value ?? 0), 0);
  if (Number.isNaN(refused)) return undefined; // a target that died: nothing was recorded
  const before = state.last.get(scrape.member);
  state.last.set(scrape.member, { atMicros: scrape.atMicros, refused });
  if (!size || !quota || !before) return undefined;
  const increase = Math.max(0, refused - before.refused);
  const exhausted = increase > 0 ? size.value >= NEAR_QUOTA * quota : size.value > quota;
  if (!exhausted) return undefined;
  const witness = increase > 0 ? (samples.find((sample) => sample && sample.value > 0) ?? size) : size;
  return {
    atMicros: scrape.atMicros,
    endMicros: scrape.atMicros,
    sinceMicros: before.atMicros,
    member: scrape.member,
    refused: increase,
    sizeBytes: size.value,
    quotaBytes: quota,
    evidenceId: witness.evidenceId,
  };
}

function draft(burst: Burst<Refusal>, asOf: AsOf): FindingDraft {
  const { happenings } = burst;
  const refused = happenings.reduce((sum, refusal) => sum + refusal.refused, 0);
  const fullest = happenings.reduce((most, refusal) =>
    refusal.sizeBytes / refusal.quotaBytes > most.sizeBytes / most.quotaBytes ? refusal : most,
  );
  const startedMicros = earliestStart(burst);
  const seconds = (burst.endedMicros - startedMicros) / 1e6;
  return {
    subject: asOf.subject,
    member: null,
    startedMicros,
    startedByMicros: burst.startedMicros,
    endedMicros: burst.endedMicros,
    cut: burst.cut,
    continues: burst.continues,
    severity: 'critical',
    summary: `${refused > 0 ? `${refused} puts refused (${digits(refused / seconds)}/s)` : 'no put was tried'}, database at ${percent(fullest.sizeBytes / fullest.quotaBytes)} of its quota of ${bytes(fullest.quotaBytes)}`,
    measured: {
      refused_puts: refused,
      refused_puts_per_s: round(refused / seconds),
      size_bytes: fullest.sizeBytes,
      quota_bytes: fullest.quotaBytes,
      members: [
        ...new Set(happenings.filter((refusal) => refusal.refused > 0).map((refusal) => refusal.member)),
      ].sort(),
    },
    baseline: null,
    shortBaseline: false,
    keys: [asOf.subject],
    evidence: keep(happenings.map(({ evidenceId }) => ({ table: 'metric_points', id: evidenceId }))),
    evidenceCount: happenings.length,
  };
}
