import { etcdSustained } from '../etcd-sustained.js';
import { scrapes } from '../examples.js';
import { bytes, round } from '../figures.js';

const SIZE = 'etcd_mvcc_db_total_size_in_bytes';
const QUOTA = 'etcd_server_quota_backend_bytes';

/** Less than this in a run is pages being allocated, not growth: bbolt's minimum allocation is 16 MiB by mmap, but its pages are 4 KiB. */
const LEAST_GROWTH_BYTES = 1_048_576;

/**
 * The bytes in use leave the growth of before and stay out. In-use gives the onset (the allocated size stays flat while freed pages are reused),
 * the allocated size the harm. Severity: time left to the quota at this rate; the etcd mixin's etcdExcessiveDatabaseGrowth looks 4 h ahead.
 */
export const etcdDbGrowth = etcdSustained({
  kind: 'etcd.db_growth',
  version: 1,
  meaning: 'the bytes in use grow faster than before and go on',
  input: { metric: 'etcd_mvcc_db_total_size_in_use_in_bytes', as: 'slope', per: 'cluster' },
  alongside: [SIZE, QUOTA],
  baseline: { over: '15m', least: '45s' },
  deviations: 6,
  floor: { absolute: 512, relative: 0.05 }, // bytes/s: two pages of 4 KiB in a scrape interval of 15 s
  atLeast: '10s',
  quietGap: '1m',
  maxExtent: '6h',
  finding: (run, alongside) => {
    const grown = largestIncrease(run.readings.map(({ detail }) => detail));
    if (grown < LEAST_GROWTH_BYTES) return undefined;
    const baseline = run.baseline!;
    const size = alongside.get(SIZE);
    const quota = alongside.get(QUOTA);
    const secondsLeft = size !== undefined && quota ? Math.max(0, quota - size) / run.mean : undefined;
    const severity =
      secondsLeft === undefined
        ? 'warning'
        : secondsLeft < 3600
          ? 'critical'
          : secondsLeft < 4 * 3600
            ? 'warning'
            : 'info';
    return {
      severity,
      summary: `database in use grew by ${bytes(grown)} at ${bytes(run.mean)}/s against ${bytes(baseline.median)}/s before`,
      measured: {
        grown_bytes: grown,
        growth_bytes_per_s: round(run.mean),
        extra_growth_bytes_per_s: round(run.mean - baseline.median),
        ...(size !== undefined && { size_bytes: size }),
        ...(quota && { quota_bytes: quota }),
      },
      baseline: { growth_bytes_per_s: round(baseline.median) },
    };
  },
  examples: [
    {
      title: 'large values fill the database',
      given: scrapes(40, (s) => ({
        etcd_mvcc_db_total_size_in_use_in_bytes:
          300_000 + 4_000 * s + (s > 90 ? 1_700_000 * (Math.min(s, 150) - 90) : 0),
        [SIZE]: 30_000_000,
        [QUOTA]: 2_147_483_648,
      })),
      fires: true,
    },
    {
      title: 'steady growth',
      given: scrapes(40, (s) => ({ etcd_mvcc_db_total_size_in_use_in_bytes: 300_000 + 4_000 * s })),
      fires: false,
    },
  ],
});

/** By how much one member grew: members report the same pages, so their increases are never added up. */
function largestIncrease(details: readonly { member: string; increase: number }[]): number {
  const byMember = new Map<string, number>();
  for (const { member, increase } of details) byMember.set(member, (byMember.get(member) ?? 0) + Math.max(0, increase));
  return Math.max(...byMember.values());
}
