import { type Cause, figure, passed, texts } from '../cause.js';

export const unguardedDeleteEmptiesBucket: Cause = {
  rule: 'unguarded-delete-empties-bucket',
  version: 1,
  from: 'pipeline.unguarded_delete',
  to: 's3.bulk_delete',
  within: '5m',
  shared: ['principal', 'bucket'],
  mechanism:
    'A recursive deletion goes through every key below its prefix; with an empty prefix that is the whole bucket (AWS CLI reference, s3 rm).',
  dose: 'none',
  explain(unguarded, deleted) {
    const prefixes = texts(unguarded, 'prefixes');
    const says = `${figure(unguarded, 'deletions') ?? 'many'} deletions in all ${prefixes.length} top prefixes are ${figure(deleted, 'objects') ?? 'many'} of the bucket's deleted objects`;
    return { ...passed(says), ordered: 'the deletions in all prefixes are those of the bucket' };
  },
  examples: [
    {
      title: 'the same principal and bucket',
      cause: {
        subject: 'principal:ci',
        keys: ['principal:ci', 'bucket:web'],
        measured: { prefixes: ['a/', 'b/', 'c/'] },
      },
      effect: { subject: 'bucket:web', keys: ['bucket:web', 'principal:ci'] },
      links: true,
    },
    {
      title: 'another bucket',
      cause: {
        subject: 'principal:ci',
        keys: ['principal:ci', 'bucket:web'],
        measured: { prefixes: ['a/', 'b/', 'c/'] },
      },
      effect: { subject: 'bucket:img', keys: ['bucket:img', 'principal:ci'] },
      links: false,
    },
  ],
};
