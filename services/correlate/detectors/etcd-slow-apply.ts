import { etcdSustained } from '../etcd-sustained.js';
import { counter, scrapes } from '../examples.js';
import { digits, round } from '../figures.js';

/** Fewer slow applies than this in a run are single slow requests: big ranges are counted too. */
const LEAST_SLOW_APPLIES = 5;

/**
 * A member's applies take longer than etcd's own limit (100 ms, --warning-apply-duration) again and again.
 * etcd_server_slow_apply_total counts each `apply request took too long`, slow read-only ranges and transactions included.
 */
export const etcdSlowApply = etcdSustained({
  kind: 'etcd.slow_apply',
  version: 1,
  meaning: "a member's applies exceed etcd's own limit of 100 ms again and again",
  input: { metric: 'etcd_server_slow_apply_total', as: 'rate', per: 'member' },
  baseline: { over: '15m', least: '45s' },
  deviations: 6,
  floor: { absolute: 0.01, relative: 0.2 }, // slow applies/s
  atLeast: '5s',
  quietGap: '1m',
  maxExtent: '6h',
  finding: (run) => {
    const applies = run.readings.reduce((sum, reading) => sum + reading.detail.increase, 0);
    if (applies < LEAST_SLOW_APPLIES) return undefined;
    return {
      severity: run.peak.value >= 1 ? 'critical' : 'warning',
      summary: `${applies} applies slower than 100 ms (${digits(run.mean)}/s) against ${digits(run.baseline!.median)}/s before`,
      measured: { slow_applies: applies, slow_applies_per_s: round(run.mean) },
      baseline: { slow_applies_per_s: round(run.baseline!.median) },
    };
  },
  examples: [
    {
      title: 'applies wait for a slow disk',
      given: scrapes(40, (s) => ({
        etcd_server_slow_apply_total: Math.round(counter(s, { before: 0, after: 0.8, from: 90, to: 150 })),
      })),
      fires: true,
    },
    {
      title: 'two slow ranges',
      given: scrapes(40, (s) => ({ etcd_server_slow_apply_total: s < 90 ? 0 : s < 95 ? 1 : 2 })),
      fires: false,
    },
  ],
});
