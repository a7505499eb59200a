import { type Files, gzipped } from './files.js';
import type { Random } from './random.js';

/** A CloudTrail record as a story tells it; the rest of it is made up here. */
export interface Call {
  readonly at: string;
  readonly who: Identity;
  readonly ip: string;
  readonly userAgent: string;
  readonly source: string;
  readonly name: string;
  readonly readOnly: boolean;
  readonly data?: boolean;
  readonly error?: string;
  readonly request?: Readonly<Record<string, unknown>> | null;
  readonly response?: Readonly<Record<string, unknown>> | null;
  readonly resources?: readonly unknown[];
}

export type Identity = Readonly<Record<string, unknown>>;

export const account = '123456789012';
export const region = 'ap-southeast-1';

/** A role's session, as records of its calls name it. */
export function session(role: string, name: string): Identity {
  const principalId = `AROAEXAMPLE${role.replaceAll('-', '').toUpperCase().padEnd(9, 'X').slice(0, 9)}`;
  return {
    type: 'AssumedRole',
    principalId: `${principalId}:${name}`,
    arn: `arn:aws:sts::${account}:assumed-role/${role}/${name}`,
    accountId: account,
    accessKeyId: 'ASIAEXAMPLEEXAMPLE00',
    sessionContext: {
      sessionIssuer: {
        type: 'Role',
        principalId,
        arn: `arn:aws:iam::${account}:role/${role}`,
        accountId: account,
        userName: role,
      },
      attributes: { mfaAuthenticated: 'false' },
    },
  };
}

export const user = (name: string): Identity => ({
  type: 'IAMUser',
  principalId: `AIDAEXAMPLE${name.toUpperCase().padEnd(9, 'X')}`,
  arn: `arn:aws:iam::${account}:user/${name}`,
  accountId: account,
  userName: name,
});

export const service = (name: string): Identity => ({ type: 'AWSService', invokedBy: name });

/** Seconds after an ISO time, as an ISO time cut to the second. */
export const after = (iso: string, seconds: number): string =>
  `${new Date(Date.parse(iso) + seconds * 1000).toISOString().slice(0, 19)}Z`;

/** A call on an object, which is a data event. */
export function object(
  call: Omit<Call, 'source' | 'data'> & { bucket: string; key?: string; versionId?: string },
): Call {
  const { bucket, key, versionId, ...rest } = call;
  const Host = `${bucket}.s3.${region}.amazonaws.com`;
  return {
    ...rest,
    source: 's3.amazonaws.com',
    data: true,
    request: { bucketName: bucket, Host, ...(key && { key }), ...(versionId && { versionId }), ...rest.request },
    resources: [
      ...(key ? [{ type: 'AWS::S3::Object', ARN: `arn:aws:s3:::${bucket}/${key}` }] : []),
      { accountId: account, type: 'AWS::S3::Bucket', ARN: `arn:aws:s3:::${bucket}` },
    ],
  };
}

/** Log files of one trail in the layout of S3: one for each quarter of an hour that holds a call. The order inside of a file is no order of time. */
export function cloudTrailFiles(calls: readonly Call[], chance: Random): Files {
  const byFile = new Map<string, unknown[]>();
  for (const call of calls.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))) {
    const quarter = new Date(Math.floor(Date.parse(call.at) / 900_000) * 900_000).toISOString();
    const stamp = quarter.slice(0, 16).replaceAll(/[-:]/g, '');
    const folder = `cloudtrail/AWSLogs/${account}/CloudTrail/${region}/${quarter.slice(0, 10).replaceAll('-', '/')}`;
    const path = `${folder}/${account}_CloudTrail_${region}_${stamp}Z_example.json.gz`;
    byFile.set(path, [...(byFile.get(path) ?? []), record(call, chance)]);
  }
  return new Map(
    [...byFile].map(([path, records]) => [path, gzipped(JSON.stringify({ Records: shuffled(records, chance) }))]),
  );
}

/** The record that CloudTrail writes of a call. */
export function record(call: Call, chance: Random): unknown {
  const hex = chance.hex(16);
  const data = call.data === true;
  return {
    eventVersion: '1.09',
    userIdentity: call.who,
    eventTime: call.at,
    eventSource: call.source,
    eventName: call.name,
    awsRegion: region,
    sourceIPAddress: call.ip,
    userAgent: call.userAgent,
    ...(call.error && { errorCode: call.error, errorMessage: 'the request was not carried out' }),
    requestParameters: call.request ?? null,
    responseElements: call.response ?? null,
    requestID: chance.hex(8).toUpperCase(),
    eventID: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`,
    readOnly: call.readOnly,
    ...(call.resources && { resources: call.resources }),
    eventType: 'AwsApiCall',
    managementEvent: !data,
    recipientAccountId: account,
    eventCategory: data ? 'Data' : 'Management',
  };
}

function shuffled<T>(items: readonly T[], chance: Random): T[] {
  return items
    .map((item) => ({ item, at: chance.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** What accounts do on every day: log delivery, an application's writes, a look at the instances. From one time to another, every so many seconds. */
export function everyday(chance: Random, from: string, to: string, everySeconds: number, bucket: string): Call[] {
  const calls: Call[] = [];
  for (let at = from, n = 0; at < to; at = after(at, everySeconds), n++) {
    const [date, clock] = at.split('T') as [string, string];
    const day = date.replaceAll('-', '/');
    const stamp = `${date.replaceAll('-', '')}T${clock.slice(0, 5).replace(':', '')}Z`;
    const agent = 'cloudtrail.amazonaws.com';
    calls.push(
      object({
        at,
        who: service(agent),
        ip: agent,
        userAgent: agent,
        name: 'PutObject',
        readOnly: false,
        bucket,
        key: `AWSLogs/${account}/CloudTrail/${region}/${day}/${account}_CloudTrail_${region}_${stamp}_${chance.hex(8)}.json.gz`,
      }),
      object({
        at: after(at, 7),
        who: session('log-shipper', 'log-shipper-1'),
        ip: '192.0.2.40',
        userAgent: 'aws-sdk-go-v2/1.25.0',
        name: 'PutObject',
        readOnly: false,
        bucket,
        key: `audit/${day}/${stamp}-${n}.json.gz`,
      }),
      {
        at: after(at, 31),
        who: session('inventory', 'inventory-1'),
        ip: '192.0.2.41',
        userAgent: 'Boto3/1.34.0',
        source: 'ec2.amazonaws.com',
        name: 'DescribeInstances',
        readOnly: true,
      },
    );
  }
  return calls;
}
