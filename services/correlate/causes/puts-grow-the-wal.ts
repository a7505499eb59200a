import { type Cause, figure, notMade, passed, refuted } from '../cause.js';
import { bytes } from '../figures.js';

/** An entry costs tens of bytes beside its value; a request holds at most 1.5 MiB by default, and 3.4 and 3.5 count WAL bytes twice. */
const PLAUSIBLE_BYTES_PER_PUT = { least: 16, most: 2 * 1.5 * 1_048_576 * 2 };

export const putsGrowTheWal: Cause = {
  rule: 'puts-grow-the-wal',
  version: 2,
  from: 'etcd.put_surge',
  to: 'etcd.wal_growth',
  within: '30s',
  shared: ['etcd'],
  mechanism:
    'Every put is a raft entry that each member appends to its write-ahead log before it answers (etcd server/storage/wal).',
  dose: 'proportional',
  explain(surge, growth) {
    const puts = figure(surge, 'extra_puts_per_s');
    const written = figure(growth, 'extra_wal_bytes_per_s');
    if (!puts || written === undefined) return notMade('one of the two rates is not known');
    const perPut = written / puts;
    const says = `${bytes(perPut)} of extra WAL writes for each extra put`;
    if (perPut < PLAUSIBLE_BYTES_PER_PUT.least || perPut > PLAUSIBLE_BYTES_PER_PUT.most)
      return refuted(`${says}: not what a put costs`);
    return passed(says);
  },
  examples: [
    {
      title: 'large values',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_puts_per_s: 6.6 } },
      effect: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_wal_bytes_per_s: 900_000 } },
      links: true,
    },
    {
      title: 'growth on another cluster',
      cause: { subject: 'etcd:b', keys: ['etcd:b'], measured: { extra_puts_per_s: 6.6 } },
      effect: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_wal_bytes_per_s: 900_000 } },
      links: false,
    },
    {
      title: 'one put more a second cannot be 50 MiB/s of log',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_puts_per_s: 1 } },
      effect: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_wal_bytes_per_s: 52_428_800 } },
      links: false,
    },
  ],
};
