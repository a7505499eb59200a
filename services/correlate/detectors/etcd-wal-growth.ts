import { etcdSustained } from '../etcd-sustained.js';
import { counter, scrapes } from '../examples.js';
import { bytes, round } from '../figures.js';

/**
 * The bytes written to the write-ahead log leave their baseline and stay out. etcd_disk_wal_write_bytes_total is a gauge by type and counts about
 * twice before 3.6 (etcd commit 570276572): the ratio to the baseline holds in every version, the absolute figure does not.
 */
export const etcdWalGrowth = etcdSustained({
  kind: 'etcd.wal_growth',
  version: 1,
  meaning: 'bytes written to the write-ahead log a second leave their baseline and stay out',
  input: { metric: 'etcd_disk_wal_write_bytes_total', as: 'rate', per: 'cluster' },
  baseline: { over: '15m', least: '45s' },
  deviations: 6,
  floor: { absolute: 512, relative: 0.05 }, // bytes/s: one more small entry a second is noise
  atLeast: '10s',
  quietGap: '1m',
  maxExtent: '6h',
  finding: (run) => {
    const baseline = run.baseline!;
    const ratio = run.mean / Math.max(baseline.median, baseline.noise);
    return {
      severity: ratio >= 2 ? 'warning' : 'info',
      summary: `WAL writes of ${bytes(run.mean)}/s (peak ${bytes(run.peak.value)}/s) against ${bytes(baseline.median)}/s before`,
      measured: {
        wal_bytes_per_s: round(run.mean),
        peak_wal_bytes_per_s: round(run.peak.value),
        extra_wal_bytes_per_s: round(run.mean - baseline.median),
      },
      baseline: { wal_bytes_per_s: round(baseline.median) },
    };
  },
  examples: [
    {
      title: 'large values arrive for a minute',
      given: scrapes(40, (s) => ({
        etcd_disk_wal_write_bytes_total: counter(s, { before: 9_000, after: 3_000_000, from: 90, to: 150 }),
      })),
      fires: true,
    },
    {
      title: 'steady writing',
      given: scrapes(40, (s) => ({ etcd_disk_wal_write_bytes_total: 9_000 * s })),
      fires: false,
    },
  ],
});
