import { etcdSustained } from '../etcd-sustained.js';
import { latencies } from '../examples.js';
import { milliseconds, round } from '../figures.js';

/**
 * The WAL fsync p99 of one member leaves its baseline and stays out. A p99 is taken over at least 100 observations and 10 s,
 * or 20 observations and 30 s on a quiet member: from one scrape of a quiet member it is noise.
 * Severity: etcd hardware guidance (p99 under 10 ms) and the etcd mixin's etcdHighFsyncDurations (0.5 s).
 */
export const etcdSlowFsync = etcdSustained({
  kind: 'etcd.slow_fsync',
  version: 1,
  meaning: "a member's WAL fsync p99 leaves its baseline and stays out",
  input: { metric: 'etcd_disk_wal_fsync_duration_seconds', as: { quantile: 0.99 }, per: 'member' },
  baseline: { over: '15m', least: '45s' },
  deviations: 6,
  floor: { absolute: 0.001, relative: 0.15 }, // seconds; buckets double, so a p99 wavers by its bucket's width
  atLeast: '15s', // half as long again as the shortest window: one slow moment stays in 10 s of windows
  quietGap: '1m',
  maxExtent: '6h',
  finding: (run) => ({
    severity: run.peak.value >= 0.5 ? 'critical' : run.peak.value >= 0.01 ? 'warning' : 'info',
    summary: `WAL fsync p99 ${milliseconds(run.peak.value)} against ${milliseconds(run.baseline!.median)} before`,
    measured: { peak_p99_seconds: round(run.peak.value), p99_seconds: round(run.mean) },
    baseline: { p99_seconds: round(run.baseline!.median) },
  }),
  examples: [
    {
      title: 'a slow disk',
      given: latencies('etcd_disk_wal_fsync_duration_seconds', {
        count: 60,
        perSecond: 50,
        quick: 0.003,
        slow: 0.06,
        from: 120,
        to: 240,
      }),
      fires: true,
    },
    {
      title: 'one slow scrape',
      given: latencies('etcd_disk_wal_fsync_duration_seconds', {
        count: 60,
        perSecond: 50,
        quick: 0.003,
        slow: 0.4,
        from: 120,
        to: 125,
      }),
      fires: false,
    },
    {
      title: 'two slow fsyncs of a member that hardly writes',
      given: latencies('etcd_disk_wal_fsync_duration_seconds', {
        count: 60,
        perSecond: 0.2,
        quick: 0.003,
        slow: 0.4,
        from: 120,
        to: 160,
      }),
      fires: false,
    },
  ],
});
