import { type Cause, figure, passed } from '../cause.js';
import { milliseconds } from '../figures.js';

export const fsyncSlowsApply: Cause = {
  rule: 'fsync-slows-apply',
  version: 2,
  from: 'etcd.slow_fsync',
  to: 'etcd.slow_apply',
  within: '1m',
  shared: ['instance', 'etcd'],
  mechanism:
    'Applying an entry writes to the backend on the same disk as the log, and waits behind its fdatasyncs: etcd logs `apply request took too long` with slow disks (etcd FAQ).',
  dose: 'proportional', // to the slow applies a second; etcd's counter is their sum
  explain(fsync, apply) {
    return passed(
      `fsync p99 ${milliseconds(figure(fsync, 'peak_p99_seconds') ?? Number.NaN)} and ${figure(apply, 'slow_applies') ?? 'several'} slow applies on the same member`,
    );
  },
  examples: [
    {
      title: 'both on one member',
      cause: {
        subject: 'etcd:a',
        member: 'a-0',
        keys: ['etcd:a', 'instance:a-0'],
        measured: { peak_p99_seconds: 0.12 },
      },
      effect: { subject: 'etcd:a', member: 'a-0', keys: ['etcd:a', 'instance:a-0'], measured: { slow_applies: 40 } },
      links: true,
    },
    {
      title: 'a slow disk of another member',
      cause: {
        subject: 'etcd:a',
        member: 'a-1',
        keys: ['etcd:a', 'instance:a-1'],
        measured: { peak_p99_seconds: 0.12 },
      },
      effect: { subject: 'etcd:a', member: 'a-0', keys: ['etcd:a', 'instance:a-0'], measured: { slow_applies: 40 } },
      links: false,
    },
  ],
};
