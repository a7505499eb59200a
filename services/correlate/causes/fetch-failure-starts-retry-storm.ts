import { micros } from '../../../shared/duration.js';
import { entityType, shared } from '../../../shared/entity.js';
import { type Cause, figure, notMade, passed, refuted } from '../cause.js';
import { digits } from '../figures.js';
import { whatIsMissing } from '../gaps.js';

/** One failure can leave one loop behind; retries of a build step may add a few. */
const LOOPS_PER_FAILURE = 2;

/** Downloads that failed unseen this long before those that were seen are of the same trouble. */
const UNSEEN_BEFORE = '5m';

export const fetchFailureStartsRetryStorm: Cause = {
  rule: 'fetch-failure-starts-retry-storm',
  version: 3,
  from: 'go.module_fetch_failure',
  to: 'retry.storm',
  within: '2m',
  shared: ['trace', 'service'],
  mechanism:
    'A failed module download is handled by starting a loop that tries again; without back-off or an end, each failure leaves one loop running (README, the storage avalanche).',
  dose: 'none', // each failure leaves a loop that goes on: the passes follow no rate of failures
  explain(failure, storm, { gaps }) {
    const failures = figure(failure, 'failures') ?? 0;
    const traces = shared('trace', failure.keys, storm.keys) ?? [];
    const linked = figure(storm, 'linked') ?? 0;
    const missing = gaps(failure.subject, failure.startedMicros - micros(UNSEEN_BEFORE), storm.startedByMicros);
    // A pass that is the root of its trace and links to nothing holds the failed download: what failed did not start it.
    if (traces.length > 0 && (linked > 0 || storm.measured['form'] !== 'roots')) {
      if (storm.endedMicros < failure.startedMicros)
        return refuted('the passes had ended when the first download failed');
      return passed(
        `${linked > 0 ? `${linked} passes link to spans of` : 'the passes run in'} ${traces.length === 1 ? 'the trace' : `${traces.length} traces`} in which ${failures} downloads failed`,
        true,
      );
    }
    if (linked > 0 && failure.keys.some((key) => entityType(key) === 'trace')) {
      const says = `${linked} passes link to other spans than the ${failures} failed downloads`;
      if (missing.length > 0) return notMade(`${says}; ${whatIsMissing(missing)}, so others may have failed unseen`);
      return storm.measured['sampling'] === 'whole' ? refuted(says) : notMade(`${says}, as far as sampling kept them`);
    }
    const interval = figure(storm, 'interval_s');
    const rate = figure(storm, 'attempts_per_s') ?? 0;
    if (interval === undefined)
      return notMade(`the passes neither link to the failures nor keep an interval, so the number of loops is unknown`);
    const loops = rate * interval;
    if (loops > LOOPS_PER_FAILURE * failures + 1) {
      const says = `${digits(rate)} passes/s at ${digits(interval)} s each are about ${digits(loops)} loops, more than ${failures} failures leave behind`;
      return missing.length > 0
        ? notMade(`${says}; ${whatIsMissing(missing)}, so others may have failed unseen`)
        : refuted(says);
    }
    return passed(
      `${failures} failures and about ${digits(loops)} loops (${digits(rate)} passes/s, one every ${digits(interval)} s)`,
    );
  },
  examples: [
    {
      title: 'passes that link to the failed downloads',
      cause: { subject: 'service:a', keys: ['service:a', 'trace:1'], measured: { failures: 20 } },
      effect: { subject: 'service:a', keys: ['service:a', 'trace:1'], measured: { attempts_per_s: 6.7, linked: 60 } },
      links: true,
    },
    {
      title: 'new roots in which the downloads failed, more than the failures leave behind',
      cause: { subject: 'service:a', keys: ['service:a', 'trace:1'], measured: { failures: 2 } },
      effect: {
        subject: 'service:a',
        keys: ['service:a', 'trace:1'],
        measured: { form: 'roots', attempts_per_s: 4, interval_s: 3 },
      },
      links: false,
    },
    {
      title: 'a storm of another service',
      cause: { subject: 'service:a', keys: ['service:a', 'trace:1'], measured: { failures: 20 } },
      effect: {
        subject: 'service:b',
        keys: ['service:b', 'trace:9'],
        measured: { attempts_per_s: 0.3, interval_s: 3 },
      },
      links: false,
    },
    {
      title: 'far more loops than one failure leaves',
      cause: { subject: 'service:a', keys: ['service:a'], measured: { failures: 1 } },
      effect: { subject: 'service:a', keys: ['service:a'], measured: { attempts_per_s: 40, interval_s: 3 } },
      links: false,
    },
  ],
};
