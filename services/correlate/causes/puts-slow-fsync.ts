import { type Cause, figure, notMade, passed, refuted } from '../cause.js';
import { digits, milliseconds } from '../figures.js';
import { diskOfItsOwn } from './one-disk.js';

/** Less extra writing than this is no load for a disk. */
const LEAST_RATIO = 1.5;

const WAL_BYTES = 'etcd_disk_wal_write_bytes_total';

/** Stands in for puts-grow-the-wal and wal-slows-fsync where members do not export WAL bytes. */
export const putsSlowFsync: Cause = {
  rule: 'puts-slow-fsync',
  version: 2,
  from: 'etcd.put_surge',
  to: 'etcd.slow_fsync',
  within: '1m',
  shared: ['etcd'],
  mechanism:
    'Each put waits for an fdatasync of the log: more puts mean more fsyncs on the same disk (etcd hardware guidance).',
  explain(surge, slow, surroundings) {
    if (surroundings.exports(surge.subject, WAL_BYTES))
      return refuted('WAL bytes are exported: puts reach the disk through puts-grow-the-wal and wal-slows-fsync');
    const before = typeof surge.baseline?.['puts_per_s'] === 'number' ? surge.baseline['puts_per_s'] : undefined;
    const now = figure(surge, 'puts_per_s');
    if (before === undefined || now === undefined) return notMade('the put rate before is not known');
    const ratio = now / Math.max(before, 0.1);
    const says = `puts rose ${digits(ratio)} times, fsync p99 to ${milliseconds(figure(slow, 'peak_p99_seconds') ?? Number.NaN)}`;
    if (ratio < LEAST_RATIO) return refuted(`${says}: too few puts more to slow a disk`);
    const own = diskOfItsOwn(surge, slow, surroundings);
    return own ? notMade(`${says}; ${own}`) : passed(says);
  },
  examples: [
    {
      title: 'ten times the puts',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { puts_per_s: 200 }, baseline: { puts_per_s: 20 } },
      effect: {
        subject: 'etcd:a',
        member: 'a-0',
        keys: ['etcd:a', 'instance:a-0'],
        measured: { peak_p99_seconds: 0.06 },
      },
      links: true,
    },
    {
      title: 'a disk that slows while puts hardly rise',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { puts_per_s: 22 }, baseline: { puts_per_s: 20 } },
      effect: {
        subject: 'etcd:a',
        member: 'a-0',
        keys: ['etcd:a', 'instance:a-0'],
        measured: { peak_p99_seconds: 0.06 },
      },
      links: false,
    },
    {
      title: 'WAL bytes are exported',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { puts_per_s: 200 }, baseline: { puts_per_s: 20 } },
      effect: {
        subject: 'etcd:a',
        member: 'a-0',
        keys: ['etcd:a', 'instance:a-0'],
        measured: { peak_p99_seconds: 0.06 },
      },
      exports: [WAL_BYTES],
      links: false,
    },
    {
      title: 'one slow disk of three under the same load',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { puts_per_s: 200 }, baseline: { puts_per_s: 20 } },
      effect: {
        subject: 'etcd:a',
        member: 'a-0',
        keys: ['etcd:a', 'instance:a-0'],
        measured: { peak_p99_seconds: 0.06 },
      },
      healthyMembers: ['a-1', 'a-2'],
      links: false,
    },
  ],
};
