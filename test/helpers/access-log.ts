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
    'Xs9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6Uk=',
    'SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader s3.eu-west-1.amazonaws.com TLSv1.2 - -',
  ].join(' ');
}
