import { type Cause, figure, notMade, passed, refuted } from '../cause.js';
import { bytes } from '../figures.js';

/** A revision costs its value, its key and B+tree pages: 61 bytes at the least in a recording of 2-byte values; a request holds at most 1.5 MiB. */
const PLAUSIBLE_BYTES_PER_PUT = { least: 16, most: 2 * 1.5 * 1_048_576 };

export const putsGrowTheDatabase: Cause = {
  rule: 'puts-grow-the-database',
  version: 2,
  from: 'etcd.put_surge',
  to: 'etcd.db_growth',
  within: '1m',
  shared: ['etcd'],
  mechanism:
    'Every accepted put is a new revision that stays in the backend until a compaction, also when the key is the same (etcd mvcc).',
  dose: 'proportional', // to the growth a second; the size is their sum
  explain(surge, growth) {
    const puts = figure(surge, 'extra_puts_per_s');
    const grown = figure(growth, 'extra_growth_bytes_per_s');
    if (!puts || grown === undefined) return notMade('one of the two rates is not known');
    const perPut = grown / puts;
    const says = `${bytes(perPut)} of extra database growth for each extra put`;
    if (perPut < PLAUSIBLE_BYTES_PER_PUT.least || perPut > PLAUSIBLE_BYTES_PER_PUT.most)
      return refuted(`${says}: not what a put costs`);
    return passed(says);
  },
  examples: [
    {
      title: 'large values',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_puts_per_s: 6.6 } },
      effect: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_growth_bytes_per_s: 440_000 } },
      links: true,
    },
    {
      title: 'growth on another cluster',
      cause: { subject: 'etcd:b', keys: ['etcd:b'], measured: { extra_puts_per_s: 6.6 } },
      effect: { subject: 'etcd:a', keys: ['etcd:a'], measured: { extra_growth_bytes_per_s: 440_000 } },
      links: false,
    },
  ],
};
