import { type AwsServer, awsServer, denied, THROTTLED } from './aws-json.js';

export interface HistoryEvent {
  readonly EventId: string;
  /** Seconds since 1970. */
  readonly EventTime: number;
  readonly CloudTrailEvent: string;
}

/** LookupEvents, pages and throttling included: every `throttled`th request is refused. */
export function lookupServer(events: readonly HistoryEvent[], throttled: number, refuse = false): Promise<AwsServer> {
  return awsServer({
    LookupEvents(body, nth) {
      if (refuse) return denied('LookupEvents');
      if (nth % throttled === 0) return THROTTLED;
      const { StartTime, EndTime, MaxResults } = body as Record<'StartTime' | 'EndTime' | 'MaxResults', number>;
      const found = events.filter(({ EventTime }) => EventTime >= StartTime && EventTime <= EndTime).reverse(); // newest first
      const at = Number(body['NextToken'] ?? 0);
      const next = at + MaxResults;
      return [200, { Events: found.slice(at, next), ...(next < found.length && { NextToken: String(next) }) }];
    },
  });
}
