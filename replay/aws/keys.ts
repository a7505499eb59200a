import { Readable } from 'node:stream';
import { type CloudTrailClient, ListPublicKeysCommand, type PublicKey } from '@aws-sdk/client-cloudtrail';
import type { InputFile } from '../../services/collect/index.js';
import { sha256 } from '../../shared/hash.js';
import { S3_ARCHIVE } from './objects.js';

/** The public keys of a region, as `aws cloudtrail list-public-keys` prints them. */
export async function publicKeysOf(client: CloudTrailClient, region: string, from: Date, to: Date): Promise<InputFile> {
  const found: PublicKey[] = [];
  let token: string | undefined;
  do {
    const range = { StartTime: from, EndTime: to };
    const answer = await client.send(new ListPublicKeysCommand({ ...range, ...(token && { NextToken: token }) }));
    found.push(...(answer.PublicKeyList ?? []));
    token = answer.NextToken;
  } while (token);
  const PublicKeyList = found.map(({ Value, ...rest }) => ({
    ...rest,
    Value: Buffer.from(Value ?? []).toString('base64'),
  }));
  const text = JSON.stringify({ PublicKeyList });
  return {
    source: 'cloudtrail',
    id: `cloudtrail:public-keys/${region}`,
    version: sha256(text),
    open: () => Readable.from([Buffer.from(text)], { objectMode: false }),
    delivered: { archive: S3_ARCHIVE, bucket: null, path: `${region}/public-keys.json`, kind: 'keys' },
  };
}
