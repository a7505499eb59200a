import type { FindingDraft } from '../../../shared/finding.js';
import { type Burst, type BurstState, bursts, earliestStart } from '../burst.js';
import { type AsOf, detector } from '../detector.js';
import { keep } from '../evidence-of.js';
import { scrapes } from '../examples.js';
import type { Scrape } from '../item.js';
import { combined } from '../series.js';

const HAS_LEADER = 'etcd_server_has_leader';
const CHANGES = 'etcd_server_leader_changes_seen_total';
const STARTED = 'process_start_time_seconds';

interface Loss {
  readonly atMicros: number;
  readonly endMicros: number;
  readonly sinceMicros: number;
  readonly member: string;
  readonly changes: number;
  readonly leaderless: boolean;
  readonly evidenceId: string;
}

interface Before {
  readonly atMicros: number;
  readonly changes: number;
  readonly processStarted: number | undefined;
}

interface State {
  readonly last: Map<string, Before>;
  readonly burst: BurstState<Loss>;
}

const losses = bursts<Loss>({ quietGap: '1m', maxExtent: '6h' });

/**
 * A member saw the leader change, or answers that it has none. A member that restarted counts the election it joins as a change:
 * process_start_time_seconds tells that from a leader that was lost, and the first scrape of a process is never compared.
 */
export const etcdLeaderLost = detector<State>({
  kind: 'etcd.leader_lost',
  version: 1,
  meaning: 'a member saw the leader change without restarting itself, or answers that it has none',
  subject: 'etcd',
  inputs: [HAS_LEADER, CHANGES, STARTED].map((metric) => ({ of: 'series', metric })),
  start: () => ({ last: new Map(), burst: losses.start() }),
  step(state, item, asOf) {
    if (item.type !== 'scrape') return [];
    const loss = lossOf(state, item);
    return loss ? losses.step(state.burst, loss).map((burst) => draft(burst, asOf)) : [];
  },
  end: (state, asOf) => losses.end(state.burst).map((burst) => draft(burst, asOf)),
  examples: [
    {
      title: 'a new leader after the old one froze',
      given: scrapes(20, (s) => ({ [HAS_LEADER]: 1, [CHANGES]: s < 50 ? 1 : 2, [STARTED]: 1_710_000_000 })),
      fires: true,
    },
    {
      title: 'quorum lost',
      given: scrapes(20, (s) => ({ [HAS_LEADER]: s < 50 ? 1 : 0, [CHANGES]: 1, [STARTED]: 1_710_000_000 })),
      fires: true,
    },
    {
      title: 'a member that was restarted',
      given: scrapes(20, (s) => ({
        [HAS_LEADER]: 1,
        [CHANGES]: s < 50 ? 0 : 1,
        [STARTED]: s < 50 ? 1_710_000_000 : 1_710_640_848,
      })),
      fires: false,
    },
  ],
});

function lossOf(state: State, scrape: Scrape): Loss | undefined {
  const leader = combined(scrape.samples.get(HAS_LEADER));
  const changes = combined(scrape.samples.get(CHANGES));
  if (!changes || Number.isNaN(changes.value)) return undefined;
  const processStarted = combined(scrape.samples.get(STARTED))?.value;
  const before = state.last.get(scrape.member);
  state.last.set(scrape.member, { atMicros: scrape.atMicros, changes: changes.value, processStarted });
  if (!before || before.processStarted !== processStarted) return undefined;
  const leaderless = leader?.value === 0;
  const increase = Math.max(0, changes.value - before.changes);
  if (!leaderless && increase === 0) return undefined;
  return {
    atMicros: scrape.atMicros,
    endMicros: scrape.atMicros,
    sinceMicros: before.atMicros,
    member: scrape.member,
    changes: increase,
    leaderless,
    evidenceId: increase > 0 ? changes.evidenceId : leader!.evidenceId,
  };
}

function draft(burst: Burst<Loss>, asOf: AsOf): FindingDraft {
  const { happenings } = burst;
  const byMember = new Map<string, number>();
  for (const loss of happenings) byMember.set(loss.member, (byMember.get(loss.member) ?? 0) + loss.changes);
  const changes = Math.max(...byMember.values());
  const leaderless = [...new Set(happenings.filter((loss) => loss.leaderless).map((loss) => loss.member))].sort();
  const startedMicros = earliestStart(burst);
  return {
    subject: asOf.subject,
    member: null,
    startedMicros,
    startedByMicros: burst.startedMicros,
    endedMicros: burst.endedMicros,
    cut: burst.cut,
    continues: burst.continues,
    severity: leaderless.length > 0 ? 'critical' : 'warning',
    summary: [
      changes > 0 ? `the leader changed ${changes === 1 ? 'once' : `${changes} times`}` : undefined,
      leaderless.length > 0 ? `${leaderless.join(', ')} had no leader` : undefined,
    ]
      .filter(Boolean)
      .join('; '),
    measured: { leader_changes: changes, members_without_leader: leaderless },
    baseline: null,
    shortBaseline: false,
    keys: [asOf.subject],
    evidence: keep(happenings.map(({ evidenceId }) => ({ table: 'metric_points', id: evidenceId }))),
    evidenceCount: happenings.length,
  };
}
