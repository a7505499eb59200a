import { type Cause, figure, notMade, passed, refuted } from '../cause.js';
import { digits, milliseconds } from '../figures.js';
import { diskOfItsOwn } from './one-disk.js';

/** Less extra writing than this is no load for a disk. */
const LEAST_RATIO = 1.5;

export const walSlowsFsync: Cause = {
  rule: 'wal-slows-fsync',
  version: 2,
  from: 'etcd.wal_growth',
  to: 'etcd.slow_fsync',
  within: '1m',
  shared: ['etcd'],
  mechanism:
    'Each batch of entries is one fdatasync of the log: more bytes and more batches queue on the same disk (etcd hardware guidance).',
  explain(growth, slow, surroundings) {
    const before =
      typeof growth.baseline?.['wal_bytes_per_s'] === 'number' ? growth.baseline['wal_bytes_per_s'] : undefined;
    const now = figure(growth, 'wal_bytes_per_s');
    if (before === undefined || now === undefined) return notMade('the WAL rate before is not known');
    const ratio = now / Math.max(before, 1);
    const says = `WAL writes rose ${digits(ratio)} times, fsync p99 to ${milliseconds(figure(slow, 'peak_p99_seconds') ?? Number.NaN)}`;
    if (ratio < LEAST_RATIO) return refuted(`${says}: too little writing to slow a disk`);
    const own = diskOfItsOwn(growth, slow, surroundings);
    return own ? notMade(`${says}; ${own}`) : passed(says);
  },
  examples: [
    {
      title: 'the log grows a hundredfold',
      cause: {
        subject: 'etcd:a',
        keys: ['etcd:a'],
        measured: { wal_bytes_per_s: 900_000 },
        baseline: { wal_bytes_per_s: 9_000 },
      },
      effect: {
        subject: 'etcd:a',
        member: 'a-0',
        keys: ['etcd:a', 'instance:a-0'],
        measured: { peak_p99_seconds: 0.06 },
      },
      links: true,
    },
    {
      title: 'hardly more writing',
      cause: {
        subject: 'etcd:a',
        keys: ['etcd:a'],
        measured: { wal_bytes_per_s: 11_000 },
        baseline: { wal_bytes_per_s: 9_000 },
      },
      effect: {
        subject: 'etcd:a',
        member: 'a-0',
        keys: ['etcd:a', 'instance:a-0'],
        measured: { peak_p99_seconds: 0.06 },
      },
      links: false,
    },
    {
      title: 'one slow disk of three under the same load',
      cause: {
        subject: 'etcd:a',
        keys: ['etcd:a'],
        measured: { wal_bytes_per_s: 900_000 },
        baseline: { wal_bytes_per_s: 9_000 },
      },
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
