import { account, after, type Call, region, user } from '../../replay/generate/cloudtrail.js';
import type { Act, TrailReach } from '../../services/correlate/cloudtrail/act.js';
import { trail } from '../../services/correlate/cloudtrail/examples.js';
import type { Selectors } from '../../services/correlate/cloudtrail/selectors.js';

/** All management events, and data events of objects below these ARNs. */
export const basicSelectors = (arns: readonly string[], more: Partial<Selectors['basic'][number]> = {}): Selectors => ({
  basic: [
    {
      readWriteType: 'All',
      includeManagementEvents: true,
      excludeManagementEventSources: [],
      dataResources: arns.length === 0 ? [] : [{ type: 'AWS::S3::Object', values: arns }],
      ...more,
    },
  ],
  advanced: [],
});

/** What is done to a trail, at so many seconds after the start of the examples. */
export type Done =
  | { readonly second: number; readonly does: 'create' | 'start' | 'stop' | 'delete'; readonly error?: string }
  | { readonly second: number; readonly does: 'update'; readonly reach: Partial<TrailReach>; readonly error?: string }
  | { readonly second: number; readonly does: 'selectors'; readonly selectors: Selectors; readonly error?: string }
  | {
      readonly second: number;
      readonly does: 'insights';
      readonly insights: readonly string[];
      readonly error?: string;
    };

export const EVERYWHERE: TrailReach = { allRegions: true, globalServices: true, organization: false };

/** The act that a detector or the coverage of trails reads of it. */
export function actOf(done: Done, reach: TrailReach = { ...EVERYWHERE, allRegions: false }): Act {
  const act = trail(done.second, done.does, { error: done.error ?? null, eventName: EVENTS[done.does] });
  const said = {
    selectors: done.does === 'selectors' ? done.selectors : null,
    insights: done.does === 'insights' ? done.insights : null,
    reach:
      done.does === 'create'
        ? reach
        : done.does === 'update'
          ? { allRegions: null, globalServices: null, organization: null, ...done.reach }
          : null,
  };
  return { ...act, detail: { of: 'trail', change: done.does, switchedOff: [], ...said } };
}

const EVENTS = {
  create: 'CreateTrail',
  start: 'StartLogging',
  stop: 'StopLogging',
  delete: 'DeleteTrail',
  update: 'UpdateTrail',
  selectors: 'PutEventSelectors',
  insights: 'PutInsightSelectors',
} as const;

/** The record of it, as CloudTrail writes it. */
export function callOf(done: Done, name: string, start: string): Call {
  const arn = `arn:aws:cloudtrail:${region}:${account}:trail/${name}`;
  const request = {
    ...(done.does === 'selectors' ? { trailName: arn, eventSelectors: done.selectors.basic } : { name: arn }),
    ...(done.does === 'insights' && {
      trailName: arn,
      insightSelectors: done.insights.map((insightType) => ({ insightType })),
    }),
    ...(done.does === 'update' && { isMultiRegionTrail: done.reach.allRegions }),
  };
  const made = {
    trailARN: arn,
    isMultiRegionTrail: false,
    includeGlobalServiceEvents: true,
    isOrganizationTrail: false,
  };
  return {
    at: after(start, done.second),
    who: user('ada'),
    ip: '192.0.2.50',
    userAgent: 'aws-cli/2.15.0',
    source: 'cloudtrail.amazonaws.com',
    name: EVENTS[done.does],
    readOnly: false,
    request,
    ...(done.does === 'create' && { response: made }),
    ...(done.error && { error: done.error }),
  };
}
