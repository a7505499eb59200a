import { entityKey } from '../../../shared/entity.js';
import type { FindingDraft } from '../../../shared/finding.js';
import type { Act } from '../cloudtrail/act.js';
import { attributed, type BulkCalls, noCalls } from '../cloudtrail/bulk-calls.js';
import { act, deletions } from '../cloudtrail/examples.js';
import {
  cloudKeys,
  counted,
  type Ended,
  evidenceOfSpree,
  SECOND_MICROS,
  type SpreeState,
  shortName,
  sprees,
} from '../cloudtrail/spree.js';
import { detector } from '../detector.js';
import type { Item } from '../item.js';

/** Two prefixes may be an old and a new name of one thing; three are the bucket's divisions. */
const LEAST_PREFIXES = 3;
const LEAST_DELETIONS = 20;
/** A bucket whose keys all begin otherwise has no divisions to guard. */
const PREFIXES_KEPT = 100;

interface State {
  readonly sprees: SpreeState;
  /** Top prefixes that calls on the bucket have named. */
  prefixes: string[];
  readonly calls: BulkCalls;
}

const groups = sprees({ quietGap: '5m', maxExtent: '6h' });

/**
 * A pipeline deletes in every top prefix that a bucket was ever seen to have. `aws s3 rm --recursive s3://bucket/$PREFIX` with an empty variable does just
 * that: an empty bucket name is an error, an empty prefix is the whole bucket (AWS CLI reference, s3 rm).
 */
export const pipelineUnguardedDelete = detector<State>({
  kind: 'pipeline.unguarded_delete',
  version: 2,
  meaning: `a principal of a pipeline deletes in all top prefixes of a bucket, ${LEAST_PREFIXES} or more`,
  subject: 'principal',
  over: ['bucket'],
  inputs: [{ of: 'acts' }, { of: 'prefixes' }],
  start: () => ({ sprees: groups.start(), prefixes: [], calls: noCalls() }),
  step(state, item, { subject }) {
    if (item.type === 'prefixes') {
      state.prefixes = [...new Set([...state.prefixes, ...item.prefixes])].sort().slice(0, PREFIXES_KEPT);
      return [];
    }
    if (item.type !== 'act') return [];
    const ended = attributed(state.calls, item).flatMap((act) => [
      ...groups.pass(state.sprees, act.atMicros),
      ...(isDeletion(act) ? groups.add(state.sprees, act) : []),
    ]);
    return drafts(state, ended, subject);
  },
  end: (state, { subject }) => drafts(state, groups.end(state.sprees), subject),
  examples: [
    {
      title: 'a deployer that empties a bucket',
      given: [seen('audit/', 'web/', 'img/'), ...everywhere()],
      fires: true,
    },
    {
      title: 'one prefix that is left alone',
      given: [seen('audit/', 'web/', 'img/', 'kept/'), ...everywhere()],
      fires: false,
    },
    { title: 'a deployer that clears its own prefix', given: deletions(60, { prefixes: ['web/'] }), fires: false },
    {
      title: 'a person who empties a bucket',
      given: everywhere().map((one) => ({
        ...one,
        who: {
          ...one.who,
          principal: 'arn:aws:iam::123456789012:user/ada',
          caller: 'arn:aws:iam::123456789012:user/ada',
        },
      })),
      fires: false,
    },
  ],
});

const isDeletion = ({ action, error, key, who }: Act): boolean =>
  error === null &&
  key !== null &&
  (action === 's3:DeleteObject' || action === 's3:DeleteObjectVersion') &&
  isPipeline(who);

/** Names that teams and products give to what builds and deploys: of a role or user, or of its session (GitHub Actions, GitLab, CodeBuild, …). */
const PIPELINE =
  /(?:^|[^a-z])(?:ci|cd|cicd|deploy|deployer|deployment|pipeline|build|builder|runner|github-?actions?|gitlab|jenkins|codebuild|codepipeline|circleci|buildkite)(?:[^a-z]|$)/i;

const isPipeline = ({ principal, caller }: Act['who']): boolean =>
  PIPELINE.test(shortName(principal)) || PIPELINE.test(shortName(caller));

function drafts({ prefixes }: State, ended: readonly Ended[], bucket: string): FindingDraft[] {
  return ended.flatMap(({ spree, routine }): FindingDraft[] => {
    const everywhere = prefixes.every((prefix) => spree.prefixes.includes(prefix));
    if (routine || !everywhere || spree.prefixes.length < LEAST_PREFIXES || spree.count < LEAST_DELETIONS) return [];
    const subject = entityKey('principal', spree.principal);
    return [
      {
        subject,
        member: bucket, // one principal may empty two buckets at once
        startedMicros: spree.firstMicros,
        startedByMicros: spree.firstMicros + SECOND_MICROS,
        endedMicros: spree.lastMicros,
        cut: spree.cut,
        continues: spree.continues,
        severity: 'critical',
        summary: `${shortName(spree.principal)} deleted ${counted(spree.count, 'object')} in all ${spree.prefixes.length} top prefixes that ${bucket.slice('bucket:'.length)} is known to have`,
        measured: { deletions: spree.count, prefixes: spree.prefixes, sessions: spree.callers },
        baseline: null,
        shortBaseline: false,
        keys: [bucket, ...cloudKeys({ ...spree, principals: [spree.principal] })],
        evidence: evidenceOfSpree(spree),
        evidenceCount: spree.count,
      },
    ];
  });
}

function seen(...prefixes: readonly string[]): Item {
  return { type: 'prefixes', atMicros: act(0).atMicros, prefixes };
}

function everywhere(): Act[] {
  return deletions(60, { prefixes: ['audit/', 'img/', 'web/'], action: 's3:DeleteObject' });
}
