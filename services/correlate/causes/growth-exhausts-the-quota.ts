import { type Cause, figure, notMade, passed, refuted } from '../cause.js';
import { bytes } from '../figures.js';
import { whatIsMissing } from '../gaps.js';

/** The growth must have filled at least this share of the quota: a file that was nearly full before needs another cause. */
const LEAST_SHARE_OF_QUOTA = 0.1;

export const growthExhaustsTheQuota: Cause = {
  rule: 'growth-exhausts-the-quota',
  version: 2,
  from: 'etcd.db_growth',
  to: 'etcd.quota_exhausted',
  within: '5m',
  shared: ['etcd'],
  mechanism:
    'When a put would take the backend beyond --quota-backend-bytes, etcd raises NOSPACE and refuses it (etcd server/storage/quota.go).',
  dose: 'none', // a threshold
  explain(growth, exhausted, { gaps, members }) {
    const grown = figure(growth, 'grown_bytes');
    const quota = figure(exhausted, 'quota_bytes');
    if (grown === undefined || !quota) return notMade('the growth or the quota is not known');
    const says = `the database grew by ${bytes(grown)} of a quota of ${bytes(quota)}`;
    if (grown >= LEAST_SHARE_OF_QUOTA * quota) return passed(says);
    const missing = gaps(growth.subject, growth.startedMicros, exhausted.startedByMicros);
    const unseen = members(growth.subject).every((name) => missing.some(({ member }) => member === name));
    if (missing.length > 0 && unseen) return notMade(`${says}; ${whatIsMissing(missing)}, and it may have grown then`);
    return refuted(`${says}: too little to have filled it`);
  },
  examples: [
    {
      title: 'growth fills the quota',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { grown_bytes: 21_000_000 } },
      effect: { subject: 'etcd:a', keys: ['etcd:a'], measured: { quota_bytes: 25_165_824 } },
      links: true,
    },
    {
      title: 'a little growth of a file that was nearly full',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { grown_bytes: 1_100_000 } },
      effect: { subject: 'etcd:a', keys: ['etcd:a'], measured: { quota_bytes: 2_147_483_648 } },
      links: false,
    },
  ],
};
