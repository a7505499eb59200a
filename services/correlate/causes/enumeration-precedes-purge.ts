import { type Cause, figure, notMade, passed, texts } from '../cause.js';

export const enumerationPrecedesPurge: Cause = {
  rule: 'enumeration-precedes-purge',
  version: 1,
  from: 'access.enumeration',
  to: 's3.version_purge',
  within: '6h',
  shared: ['principal', 'ip'],
  sharedBy: 'any',
  mechanism:
    'Whoever does not know an account asks first what is there and what is allowed; a version is deleted by its id, which has to be listed before (ATT&CK T1580, T1619; S3 API, ListObjectVersions).',
  dose: 'none',
  explain(scan, purge) {
    const [tried, refusedOperations] = [figure(scan, 'operations'), figure(scan, 'refused_operations')];
    const inS3 = texts(scan, 's3_operations');
    const says = `${tried ?? 'some'} operations were tried, ${refusedOperations ?? 'some'} refused, and ${figure(purge, 'versions') ?? 'many'} versions deleted afterwards`;
    return inS3.length > 0
      ? passed(`${says}; of S3: ${inS3.slice(0, 6).join(', ')}`)
      : notMade(`${says}; that it looked at S3 is not in evidence`);
  },
  examples: [
    {
      title: 'one role that scans and then deletes',
      cause: {
        subject: 'principal:role',
        keys: ['principal:role', 'ip:192.0.2.7'],
        measured: { operations: 20, s3_operations: ['s3:ListAllMyBuckets'] },
      },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role', 'ip:192.0.2.9'] },
      links: true,
    },
    {
      title: 'another role, from another address',
      cause: {
        subject: 'principal:other',
        keys: ['principal:other', 'ip:192.0.2.7'],
        measured: { operations: 20, s3_operations: ['s3:ListAllMyBuckets'] },
      },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role', 'ip:192.0.2.9'] },
      links: false,
    },
    {
      title: 'a scan that never looked at S3',
      cause: { subject: 'principal:role', keys: ['principal:role'], measured: { operations: 20, s3_operations: [] } },
      effect: { subject: 'bucket:logs', keys: ['bucket:logs', 'principal:role'] },
      links: false,
    },
  ],
};
