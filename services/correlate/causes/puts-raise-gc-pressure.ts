import { type Cause, figure, notMade, passed, refuted } from '../cause.js';
import { digits } from '../figures.js';

/** Less extra writing than this makes no garbage that stands out. */
const LEAST_RATIO = 1.2;

export const putsRaiseGcPressure: Cause = {
  rule: 'puts-raise-gc-pressure',
  version: 1,
  from: 'etcd.put_surge',
  to: 'go.gc_pressure',
  within: '1m',
  shared: ['etcd'],
  mechanism:
    'Every put is decoded, proposed, encoded and applied in new memory on each member, about 45 kB for a put of 1 KiB: the collector runs as often as the heap fills (recordings of etcd 3.4 and 3.5; Go GC guide, GOGC).',
  dose: 'proportional',
  explain(surge, pressure) {
    const before = typeof surge.baseline?.['puts_per_s'] === 'number' ? surge.baseline['puts_per_s'] : undefined;
    const now = figure(surge, 'puts_per_s');
    if (before === undefined || now === undefined) return notMade('the put rate before is not known');
    const cycles = figure(pressure, 'cycles_per_s');
    const ratio = now / Math.max(before, 0.1);
    const says = `puts rose ${digits(ratio)} times`;
    if (cycles === undefined)
      return refuted(`${says}, but there were no more GC cycles than before: garbage is not what pauses it`);
    if (ratio < LEAST_RATIO) return refuted(`${says}: too few puts more to fill a heap`);
    return passed(`${says}, GC cycles to ${digits(cycles)}/s`);
  },
  examples: [
    {
      title: 'ten times the puts',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { puts_per_s: 200 }, baseline: { puts_per_s: 20 } },
      effect: { subject: 'instance:a-0', keys: ['instance:a-0', 'etcd:a'], measured: { cycles_per_s: 4 } },
      links: true,
    },
    {
      title: 'long pauses without more cycles',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { puts_per_s: 200 }, baseline: { puts_per_s: 20 } },
      effect: { subject: 'instance:a-0', keys: ['instance:a-0', 'etcd:a'], measured: { paused_share: 0.03 } },
      links: false,
    },
    {
      title: 'a member of another cluster',
      cause: { subject: 'etcd:a', keys: ['etcd:a'], measured: { puts_per_s: 200 }, baseline: { puts_per_s: 20 } },
      effect: { subject: 'instance:b-0', keys: ['instance:b-0', 'etcd:b'], measured: { cycles_per_s: 4 } },
      links: false,
    },
  ],
};
