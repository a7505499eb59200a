import { gunzipSync } from 'node:zlib';
import { type Files, gzipped } from './files.js';
import type { Random } from './random.js';

/** One line of an S3 server access log. */
export interface AccessLine {
  /** `06/Feb/2019:00:00:38 +0000` */
  readonly at: string;
  readonly bucket: string;
  readonly operation: string;
  readonly requestId: string;
  readonly requester?: string;
  readonly ip?: string;
  /** As it is logged: URL encoded. */
  readonly key?: string;
  readonly uri?: string;
  readonly status?: number;
  readonly error?: string;
  readonly size?: number;
  readonly referer?: string;
  readonly userAgent?: string;
  readonly versionId?: string;
  readonly hostId?: string;
}

const quoted = (text: string | undefined): string => (text === undefined ? '-' : `"${text}"`);

/** The line as S3 writes it: what callers send stands in quotes, and is not escaped. */
export function accessLine(line: AccessLine): string {
  const { at, bucket, operation, requestId, requester, ip, key, uri, status, error, size, versionId } = line;
  const sent = uri === undefined ? [undefined, undefined] : [line.referer ?? '-', line.userAgent ?? 'aws-cli/2.15.21'];
  return [
    '79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be',
    bucket,
    `[${at}]`,
    ip ?? '-',
    requester ?? '-',
    requestId,
    operation,
    key ?? '-',
    quoted(uri),
    status ?? '-',
    error ?? '-',
    '-',
    size ?? '-',
    '12',
    '-',
    ...sent.map(quoted),
    versionId ?? '-',
    line.hostId ?? 'Xs9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6Uk=',
    `SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader ${bucket}.s3.amazonaws.com TLSv1.2 - -`,
  ].join(' ');
}

/** Calls on objects and buckets, by the names that access logs have for them. */
const OPERATIONS: Readonly<Record<string, { operation: string; method: string; status: number }>> = {
  DeleteObject: { operation: 'REST.DELETE.OBJECT', method: 'DELETE', status: 204 },
  ListObjectVersions: { operation: 'REST.GET.BUCKETVERSIONS', method: 'GET', status: 200 },
};

interface Logged {
  readonly bucket: string;
  readonly from: string;
  readonly to: string;
  /** The share of lines that is never delivered. */
  readonly lost: number;
}

/** Access logs of what CloudTrail's files of a case tell of a bucket, from one time to another: two files, delivered hours later. */
export function accessLogFiles(cloudtrail: Files, { bucket, from, to, lost }: Logged, chance: Random): Files {
  const lines = [...cloudtrail.values()]
    .flatMap((file) => JSON.parse(gunzipSync(file).toString()).Records as CallRecord[])
    .filter(({ eventTime: at, eventName, requestParameters: request }) => {
      return at >= from && at <= to && request?.bucketName === bucket && OPERATIONS[eventName] && chance.next() >= lost;
    })
    .toSorted((a, b) => (a.requestID < b.requestID ? -1 : 1)); // S3 writes them in no order
  const half = Math.ceil(lines.length / 2);
  const file = (some: readonly CallRecord[]) =>
    gzipped(some.map((record) => `${accessLine(lineOf(record, chance))}\n`).join(''));
  const day = from.slice(0, 10);
  return new Map([
    [`s3-access/${bucket}/${day}-21-07-41-${chance.hex(8).toUpperCase()}.gz`, file(lines.slice(0, half))],
    [`s3-access/${bucket}/${day}-23-31-09-${chance.hex(8).toUpperCase()}.gz`, file(lines.slice(half))],
  ]);
}

interface CallRecord {
  readonly eventTime: string;
  readonly eventName: string;
  readonly userIdentity: { readonly arn?: string };
  readonly sourceIPAddress: string;
  readonly userAgent: string;
  readonly requestID: string;
  readonly requestParameters: {
    readonly bucketName?: string;
    readonly key?: string;
    readonly versionId?: string;
  } | null;
}

function lineOf(record: CallRecord, chance: Random): AccessLine {
  const { key, versionId, bucketName = '-' } = record.requestParameters ?? {};
  const { operation, method, status } = OPERATIONS[record.eventName]!;
  const query = versionId === undefined ? '?versions' : `?versionId=${versionId}`;
  return {
    at: logTime(record.eventTime),
    bucket: bucketName,
    operation,
    requestId: record.requestID,
    requester: record.userIdentity.arn!,
    ip: record.sourceIPAddress,
    uri: `${method} /${key ?? ''}${query} HTTP/1.1`,
    status,
    userAgent: record.userAgent,
    hostId: Buffer.from(chance.hex(24), 'hex').toString('base64'),
    ...(key && { key, size: Math.floor(chance.between(400_000, 4_000_000)) }),
    ...(versionId && { versionId }),
  };
}

/** `2024-03-16T19:15:02Z` as `16/Mar/2024:19:15:02 +0000`. */
function logTime(iso: string): string {
  const [, day, month, year, time] = /^\w+, (\d+) (\w+) (\d+) ([\d:]+)/.exec(new Date(iso).toUTCString())!;
  return `${day}/${month}/${year}:${time} +0000`;
}
