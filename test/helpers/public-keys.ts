import { type AwsServer, awsServer, denied, THROTTLED } from './aws-json.js';

interface Key {
  readonly Value: string;
  readonly Fingerprint: string;
  readonly ValidityStartTime: string;
  readonly ValidityEndTime: string;
}

/**
 * ListPublicKeys: times are seconds since 1970, as AWS JSON has them, and keys come one a page, after an empty page. Every second request is refused for
 * its rate. Keys that were not in force between the times that are asked for are not listed.
 */
export function keyServer(publicKeys: string, refuse = false): Promise<AwsServer> {
  const all = (JSON.parse(publicKeys) as { readonly PublicKeyList: readonly Key[] }).PublicKeyList;
  return awsServer({
    ListPublicKeys({ StartTime, EndTime, NextToken }, nth) {
      if (refuse) return denied('ListPublicKeys');
      if (nth % 2 === 1) return THROTTLED;
      const keys = all
        .map((key) => ({
          ...key,
          ValidityStartTime: seconds(key.ValidityStartTime),
          ValidityEndTime: seconds(key.ValidityEndTime),
        }))
        .filter((key) => key.ValidityEndTime >= Number(StartTime) && key.ValidityStartTime <= Number(EndTime));
      const page = Number(NextToken ?? 0);
      const more = page < keys.length && { NextToken: String(page + 1) };
      return [200, { PublicKeyList: page === 0 ? [] : keys.slice(page - 1, page), ...more }];
    },
  });
}

const seconds = (time: string): number => Date.parse(time) / 1000;
