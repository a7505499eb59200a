import { entityKey } from '../../../shared/entity.js';
import type { FindingDraft } from '../../../shared/finding.js';
import type { LogFile } from '../cloudtrail/act.js';
import { counted, evidenceFrom } from '../cloudtrail/spree.js';
import { detector } from '../detector.js';
import { EVIDENCE_KEPT } from '../evidence-of.js';
import { at } from '../examples.js';

/** A file holds about five minutes of events (CloudTrail user guide, "How CloudTrail works"). */
const FILE_MICROS = 300_000_000;

interface Gap {
  readonly first: LogFile;
  last: LogFile;
  files: number;
  readonly ids: string[];
}

interface State {
  /** Missing files in a row, by region and bucket. */
  readonly open: Map<string, Gap>;
  /** Where files are read from: regions and buckets of which some file was. */
  readonly read: string[];
}

/**
 * Log files that CloudTrail's own PutObject records name, and that are not among the files that were read. Only of a bucket from which some file was read: that
 * another trail writes to a bucket which nobody collects is no gap. The interval is the time whose logs are missing, as the files' names say it.
 */
export const auditLogGap = detector<State>({
  kind: 'audit.log_gap',
  version: 1,
  meaning: 'log files that CloudTrail says it delivered are missing among those that were read from the same bucket',
  subject: 'account',
  inputs: [{ of: 'log_files' }],
  start: () => ({ open: new Map(), read: [] }),
  step(state, item, { subject }) {
    if (item.type !== 'log_file') return [];
    const place = `${item.region} ${item.bucket}`;
    if (!item.read) {
      miss(state, place, item);
      return [];
    }
    if (!state.read.includes(place)) state.read.push(place);
    const gap = state.open.get(place);
    state.open.delete(place);
    return gap ? [draft(gap, place, subject)] : [];
  },
  end: ({ open, read }, { subject }) =>
    [...open].filter(([place]) => read.includes(place)).map(([place, gap]) => draft(gap, place, subject)),
  examples: [
    {
      title: 'an hour of files between others',
      given: [files(0, 3), files(900, 12, false), files(4500, 3)].flat(),
      fires: true,
    },
    { title: 'every file is there', given: files(0, 12), fires: false },
    { title: 'a bucket from which nothing is read', given: files(0, 12, false), fires: false },
  ],
});

function miss({ open }: State, place: string, file: LogFile): void {
  const gap = open.get(place) ?? { first: file, last: file, files: 0, ids: [] };
  open.set(place, gap);
  gap.last = file;
  gap.files++;
  if (gap.ids.length < EVIDENCE_KEPT) gap.ids.push(file.evidenceId);
}

function draft({ first, last, files, ids }: Gap, place: string, subject: string): FindingDraft {
  return {
    subject,
    member: place,
    startedMicros: first.atMicros - FILE_MICROS,
    startedByMicros: first.atMicros,
    endedMicros: last.atMicros,
    cut: 0,
    continues: false,
    severity: 'critical',
    summary: `${counted(files, 'log file')} of ${first.region} that CloudTrail delivered to ${first.bucket} ${files === 1 ? 'is' : 'are'} missing, from ${iso(first)} to ${iso(last)}`,
    measured: { files, region: first.region, bucket: first.bucket, first_key: first.key, last_key: last.key },
    baseline: null,
    shortBaseline: false,
    keys: [subject, entityKey('bucket', first.bucket)],
    evidence: evidenceFrom(ids),
    evidenceCount: files,
  };
}

const iso = ({ atMicros }: LogFile): string => `${new Date(atMicros / 1000).toISOString().slice(0, 16)}Z`;

function files(seconds: number, count: number, read = true): LogFile[] {
  return Array.from({ length: count }, (_, index): LogFile => {
    const name = `${seconds + index * 300}.json.gz`;
    return {
      type: 'log_file',
      atMicros: at(seconds + index * 300),
      name,
      region: 'eu-west-1',
      bucket: 'logs',
      key: `AWSLogs/123456789012/CloudTrail/eu-west-1/${name}`,
      read,
      evidenceId: `promise-${name}`,
    };
  });
}
