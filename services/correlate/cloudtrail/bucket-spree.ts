import type { Duration } from '../../../shared/duration.js';
import type { Figure, FindingDraft, Kind } from '../../../shared/finding.js';
import { type Detector, type DetectorExample, detector } from '../detector.js';
import { type Act, isDenial } from './act.js';
import { cloudKeys, type Ended, evidenceOfSpree, SECOND_MICROS, type Spree, type SpreeState, sprees } from './spree.js';

interface Definition {
  readonly kind: Kind;
  readonly version: number;
  readonly meaning: string;
  /** Whether an act is one of them; a text is kept as what it said. */
  readonly takes: (act: Act) => boolean | string;
  /** Fewer are ordinary work. */
  readonly isEnough: (spree: Spree) => boolean;
  /** What is done as widely on most days is routine, and no finding. */
  readonly unlessRoutine: boolean;
  readonly quietGap: Duration;
  readonly maxExtent: Duration;
  readonly finding: (
    spree: Spree,
    bucket: string,
  ) => {
    readonly severity: FindingDraft['severity'];
    readonly summary: string;
    readonly measured: Readonly<Record<string, Figure>>;
  };
  readonly examples: readonly DetectorExample[];
}

/** What one principal does to a bucket, again and again or once: one finding a spree. Calls that failed did nothing, and are counted as attempts. */
export function bucketSpree(definition: Definition): Detector {
  const { isEnough, takes, unlessRoutine } = definition;
  const groups = sprees(definition);
  const drafts = (ended: readonly Ended[], bucketKey: string): FindingDraft[] =>
    ended
      .filter(({ spree, routine }) => (isEnough(spree) || spree.cut > 0) && !(unlessRoutine && routine))
      .map(({ spree }) => draft(definition, spree, bucketKey));
  return detector<SpreeState>({
    kind: definition.kind,
    version: definition.version,
    meaning: definition.meaning,
    subject: 'bucket',
    inputs: [{ of: 'acts' }],
    examples: definition.examples,
    start: groups.start,
    step(state, item, { subject }) {
      if (item.type !== 'act') return [];
      const ended = groups.pass(state, item.atMicros);
      const taken = takes(item);
      if (taken === false) return drafts(ended, subject);
      if (item.error === null) ended.push(...groups.add(state, item, typeof taken === 'string' ? taken : undefined));
      else if (isDenial(item.error)) groups.refused(state, item);
      return drafts(ended, subject);
    },
    end: (state, { subject }) => drafts(groups.end(state), subject),
  });
}

function draft(definition: Definition, spree: Spree, bucketKey: string): FindingDraft {
  const { severity, summary, measured } = definition.finding(spree, bucketKey.slice('bucket:'.length));
  return {
    subject: bucketKey,
    member: spree.principal,
    startedMicros: spree.firstMicros,
    startedByMicros: spree.firstMicros + SECOND_MICROS,
    endedMicros: spree.lastMicros,
    cut: spree.cut,
    continues: spree.continues,
    severity,
    summary,
    measured: {
      principal: spree.principal,
      ...measured,
      sessions: spree.callers,
      sources: spree.sources,
      user_agents: spree.agents.slice(0, 5),
      refused: spree.refused,
    },
    baseline: null,
    shortBaseline: false,
    keys: [bucketKey, ...cloudKeys({ ...spree, principals: [spree.principal] })],
    evidence: evidenceOfSpree(spree),
    evidenceCount: spree.count,
  };
}
