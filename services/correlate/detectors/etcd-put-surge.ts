import { etcdSustained } from '../etcd-sustained.js';
import { counter, scrapes } from '../examples.js';
import { digits, round } from '../figures.js';

/**
 * The puts that a cluster applies leave their baseline and stay out. Every member applies every put, so the cluster's rate is its members' greatest.
 * Only accepted puts count (etcd_mvcc_put_total stops at NOSPACE): the surge's end need not be the writers' end.
 * Severity by size against the baseline; a small sustained surge is `info`, and still a deviation.
 */
export const etcdPutSurge = etcdSustained({
  kind: 'etcd.put_surge',
  version: 1,
  meaning: 'puts that a cluster applies a second leave their baseline and stay out',
  input: { metric: 'etcd_mvcc_put_total', as: 'rate', per: 'cluster' },
  baseline: { over: '15m', least: '45s' }, // three scrapes at Prometheus's common 15 s
  deviations: 6,
  floor: { absolute: 0.2, relative: 0.03 }, // puts/s; recorded idle traffic of 19 puts/s wavers by 1 %
  atLeast: '10s',
  quietGap: '1m',
  maxExtent: '6h',
  finding: (run) => {
    const baseline = run.baseline!;
    const ratio = run.mean / Math.max(baseline.median, baseline.noise);
    return {
      severity: ratio >= 10 ? 'critical' : ratio >= 2 ? 'warning' : 'info',
      summary: `${digits(run.mean)} puts/s (peak ${digits(run.peak.value)}) against ${digits(baseline.median)} before`,
      measured: {
        puts_per_s: round(run.mean),
        peak_puts_per_s: round(run.peak.value),
        extra_puts_per_s: round(run.mean - baseline.median),
      },
      baseline: { puts_per_s: round(baseline.median) },
    };
  },
  examples: [
    {
      title: 'a retry storm doubles the puts for a minute',
      given: scrapes(40, (s) => ({ etcd_mvcc_put_total: counter(s, { before: 20, after: 45, from: 90, to: 150 }) })),
      fires: true,
    },
    {
      title: 'one busy scrape',
      given: scrapes(40, (s) => ({ etcd_mvcc_put_total: counter(s, { before: 20, after: 60, from: 90, to: 95 }) })),
      fires: false,
    },
    {
      title: 'a restart that counts its WAL again',
      given: scrapes(40, (s, i) => ({ etcd_mvcc_put_total: i < 20 ? 1000 + 20 * s : 20 * (s - 95) })),
      fires: false,
    },
  ],
});
