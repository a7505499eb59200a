import type { Duration } from '../../../shared/duration.js';
import type { Figure, FindingDraft, Kind } from '../../../shared/finding.js';
import { type Detector, type DetectorExample, detector } from '../detector.js';
import { type Act, type BucketChange, isDenial } from './act.js';
import { attributed, type BulkCalls, noCalls } from './bulk-calls.js';
import { cloudKeys, type Ended, evidenceOfSpree, SECOND_MICROS, type Spree, type SpreeState, sprees } from './spree.js';

interface Definition {
  readonly kind: Kind;
  readonly version: number;
  readonly meaning: string;
  /** Whether an act is one of them, by what the bucket's setting that it changes was before; a text is kept as what it said. */
  readonly takes: (act: Act, before: BucketChange | undefined) => boolean | string;
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
  return detector<State>({
    kind: definition.kind,
    version: definition.version,
    meaning: definition.meaning,
    subject: 'bucket',
    inputs: [{ of: 'acts' }],
    examples: definition.examples,
    start: () => ({ sprees: groups.start(), settings: new Map(), calls: noCalls() }),
    step(state, item, { subject }) {
      if (item.type !== 'act') return [];
      return attributed(state.calls, item).flatMap((act) => drafts(stepAct(state, act), subject));
    },
    end(state, { subject }) {
      const ended = state.calls.waiting.flatMap((act) => stepAct(state, act));
      return drafts([...ended, ...groups.end(state.sprees)], subject);
    },
  });

  function stepAct({ sprees: state, settings }: State, act: Act): Ended[] {
    const ended = groups.pass(state, act.atMicros);
    const taken = takes(act, before(settings, act));
    const { error, request, key } = act;
    if (error === null && request !== null && key !== null) groups.names(state, act);
    if (taken === false) return ended;
    if (error === null) ended.push(...groups.add(state, act, typeof taken === 'string' ? taken : undefined));
    else if (isDenial(error)) groups.refused(state, act);
    return ended;
  }
}

interface State {
  readonly sprees: SpreeState;
  /** How each setting was last put. */
  readonly settings: Map<BucketChange['setting'], BucketChange>;
  readonly calls: BulkCalls;
}

/** What the setting was that an act changes, as far as it is in evidence; the act's own is kept from then on. */
function before(settings: State['settings'], { error, detail }: Act): BucketChange | undefined {
  if (detail?.of !== 'bucket') return undefined;
  const known = settings.get(detail.setting);
  if (error === null) settings.set(detail.setting, detail);
  return known;
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
