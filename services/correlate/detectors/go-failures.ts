import { entityKey } from '../../../shared/entity.js';
import type { Figure, FindingDraft, Kind } from '../../../shared/finding.js';
import { type Burst, type BurstState, bursts } from '../burst.js';
import { type AsOf, type Detector, type DetectorExample, detector } from '../detector.js';
import { keep } from '../evidence-of.js';
import type { GoFailure } from '../item.js';

interface Definition {
  readonly kind: Kind;
  readonly version: number;
  readonly meaning: string;
  readonly failure: GoFailure['failure'];
  readonly severity: FindingDraft['severity'];
  readonly summary: (count: number, modules: readonly string[]) => string;
  readonly examples: readonly DetectorExample[];
}

/** A finding keeps so many trace keys to be joined on: the earliest. */
const TRACES_KEPT = 1000;

const failures = bursts<GoFailure>({ quietGap: '5m', maxExtent: '6h' });

/** Failures of the go command that spans carry: one finding a burst. There is no normal rate of them, so there is no baseline. */
export function goFailures(definition: Definition): Detector {
  return detector<BurstState<GoFailure>>({
    kind: definition.kind,
    version: definition.version,
    meaning: definition.meaning,
    subject: 'service',
    inputs: [{ of: 'go_failures' }],
    examples: definition.examples,
    start: failures.start,
    step: (state, item, asOf) =>
      item.type === 'go_failure' && item.failure === definition.failure
        ? failures.step(state, item).map((burst) => draft(definition, burst, asOf))
        : [],
    end: (state, asOf) => failures.end(state).map((burst) => draft(definition, burst, asOf)),
  });
}

function draft(definition: Definition, burst: Burst<GoFailure>, asOf: AsOf): FindingDraft {
  const { happenings } = burst;
  const modules = [...new Set(happenings.flatMap(({ module }) => module ?? []))].sort();
  const traces = [...new Set(happenings.map(({ traceId }) => traceId))].slice(0, TRACES_KEPT);
  const measured: Record<string, Figure> = {
    failures: happenings.length,
    modules: modules.slice(0, 20),
    says: happenings[0]!.says,
  };
  return {
    subject: asOf.subject,
    member: null,
    startedMicros: burst.startedMicros,
    startedByMicros: burst.startedMicros,
    endedMicros: burst.endedMicros,
    cut: burst.cut,
    continues: burst.continues,
    severity: definition.severity,
    summary: definition.summary(happenings.length, modules),
    measured,
    baseline: null,
    shortBaseline: false,
    keys: [
      asOf.subject,
      ...modules.slice(0, 20).map((name) => entityKey('module', name)),
      ...traces.map((id) => entityKey('trace', id)),
      ...new Set(happenings.flatMap(({ joins }) => joins).slice(0, TRACES_KEPT)),
    ],
    evidence: keep(happenings.map(({ evidenceId }) => ({ table: 'spans', id: evidenceId }))),
    evidenceCount: happenings.length,
  };
}
