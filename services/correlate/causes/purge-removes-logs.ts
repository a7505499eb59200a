import { type Cause, figure, passed, refuted, texts } from '../cause.js';
import { topPrefix } from '../cloudtrail/act.js';

export const purgeRemovesLogs: Cause = {
  rule: 'purge-removes-logs',
  version: 1,
  from: 's3.version_purge',
  to: 'audit.log_gap',
  within: '2160h',
  shared: ['bucket'],
  mechanism:
    'A log file whose versions are deleted for good can no longer be read from its bucket (S3 user guide, "Deleting object versions").',
  dose: 'none',
  order: 'none',
  explain(purge, gap) {
    const [key] = texts(gap, 'first_key');
    const prefixes = texts(purge, 'prefixes');
    if (key !== undefined && !prefixes.includes(topPrefix(key)))
      return refuted(`the missing files lie in ${topPrefix(key)}, and versions were deleted in ${prefixes.join(', ')}`);
    const [from] = texts(purge, 'objects_from');
    const [to] = texts(purge, 'objects_to');
    const [first, last] = [gap.startedMicros, gap.endedMicros].map((micros) =>
      new Date(micros / 1000).toISOString().slice(0, 10),
    );
    if (from !== undefined && to !== undefined && (last! < from || first! > to))
      return refuted(`the deleted objects are of ${from} to ${to}, and the missing files of ${first} to ${last}`);
    return passed(
      `${figure(gap, 'files') ?? 'some'} files are missing, of ${first} to ${last}, where ${figure(purge, 'versions') ?? 'many'} versions of objects${from === undefined ? '' : ` of ${from} to ${to}`} were deleted`,
    );
  },
  examples: [
    {
      title: 'files of the days and the prefix that were deleted',
      cause: {
        subject: 'bucket:logs',
        keys: ['bucket:logs'],
        measured: { prefixes: ['AWSLogs/'], objects_from: '2024-03-14', objects_to: '2024-03-17' },
      },
      effect: gapOf('bucket:logs'),
      links: true,
    },
    {
      title: 'files of another prefix',
      cause: { subject: 'bucket:logs', keys: ['bucket:logs'], measured: { prefixes: ['audit/'] } },
      effect: gapOf('bucket:logs'),
      links: false,
    },
    {
      title: 'files of other days',
      cause: {
        subject: 'bucket:logs',
        keys: ['bucket:logs'],
        measured: { prefixes: ['AWSLogs/'], objects_from: '2023-01-01', objects_to: '2023-01-31' },
      },
      effect: gapOf('bucket:logs'),
      links: false,
    },
    {
      title: 'files of another bucket',
      cause: { subject: 'bucket:web', keys: ['bucket:web'], measured: { prefixes: ['AWSLogs/'] } },
      effect: gapOf('bucket:logs'),
      links: false,
    },
  ],
};

/** From the evening before until the deletions: 17 March 2024, 02:00 UTC. */
function gapOf(bucket: string) {
  return {
    subject: 'account:123456789012',
    keys: ['account:123456789012', bucket],
    startedMicros: 1_710_630_000_000_000,
    endedMicros: 1_710_640_500_000_000,
    measured: { files: 12, first_key: 'AWSLogs/123456789012/CloudTrail/a.json.gz' },
  };
}
