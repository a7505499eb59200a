import { shared } from '../../../shared/entity.js';
import { type Cause, figure, notMade, passed, refuted, type Writer } from '../cause.js';
import { digits } from '../figures.js';
import { silentMicros, whatIsMissing } from '../gaps.js';

/** The writes under the attempts must bear at least this share of the extra puts; a pass may write keys that its spans do not show. */
const LEAST_SHARE = 0.5;

/** Spans that are missing for less of the surge cannot hide who wrote it. */
const LEAST_UNSEEN = 0.1;

export const retryStormRaisesEtcdPuts: Cause = {
  rule: 'retry-storm-raises-etcd-puts',
  version: 2,
  from: 'retry.storm',
  to: 'etcd.put_surge',
  within: '2m',
  shared: ['etcd'],
  mechanism:
    'Each pass of the loop writes its config key again, so the put rate follows the passes (etcd counts every accepted put in etcd_mvcc_put_total).',
  dose: 'proportional',
  explain(storm, surge, { writers, gaps }) {
    const extra = figure(surge, 'extra_puts_per_s') ?? 0;
    const writes = figure(storm, 'writes_per_s') ?? 0;
    const sampling = storm.measured['sampling'];
    const numbers = `${digits(writes)} writes/s under the passes against ${digits(extra)} extra puts/s`;
    const service = storm.subject;
    const others = writers(surge.subject, surge.startedMicros, surge.endedMicros).filter(
      (writer) => !sameService(writer, service),
    );
    const other = others.find((writer) => writer.extraPerSecond >= LEAST_SHARE * extra);
    if (writes >= LEAST_SHARE * extra) {
      if (other && other.extraPerSecond > writes)
        return refuted(
          `${numbers}, but ${other.service} wrote ${digits(other.extraPerSecond)} puts/s more than before: the writer is known`,
        );
      return passed(
        `${numbers} (spans ${sampling === 'unknown' ? 'do not say how they were sampled' : sampling === 'whole' ? 'are whole' : 'scaled by their sampling'})`,
      );
    }
    if (other)
      return refuted(
        `${numbers}; ${other.service} wrote ${digits(other.extraPerSecond)} puts/s more than before: the writer is known to be another`,
      );
    if (sampling === 'unknown')
      return notMade(`${numbers}; the spans do not say how they were sampled, so a low count proves nothing`);
    const missing = gaps(service, surge.startedMicros, surge.endedMicros);
    const unseen = silentMicros(missing, surge.startedMicros, surge.endedMicros);
    if (unseen > LEAST_UNSEEN * (surge.endedMicros - surge.startedMicros))
      return notMade(`${numbers}; ${whatIsMissing(missing)}, so a low count proves nothing`);
    return refuted(`${numbers}: they cannot bear the surge`);
  },
  examples: [
    {
      title: 'the writes under the passes are the extra puts',
      cause: {
        subject: 'service:prod/sync',
        keys: ['service:prod/sync', 'etcd:store'],
        measured: { writes_per_s: 6.4, sampling: 'scaled' },
      },
      effect: { subject: 'etcd:store', keys: ['etcd:store'], measured: { extra_puts_per_s: 6.6 } },
      links: true,
    },
    {
      title: 'a surge on another cluster',
      cause: {
        subject: 'service:prod/sync',
        keys: ['service:prod/sync', 'etcd:other'],
        measured: { writes_per_s: 6.4, sampling: 'scaled' },
      },
      effect: { subject: 'etcd:store', keys: ['etcd:store'], measured: { extra_puts_per_s: 6.6 } },
      links: false,
    },
    {
      title: 'a batch import wrote the extra puts',
      cause: {
        subject: 'service:prod/sync',
        keys: ['service:prod/sync', 'etcd:store'],
        measured: { writes_per_s: 2, sampling: 'unknown' },
      },
      effect: { subject: 'etcd:store', keys: ['etcd:store'], measured: { extra_puts_per_s: 300 } },
      writers: [{ service: 'service:prod/import', writesPerSecond: 295, extraPerSecond: 295, scaled: true }],
      links: false,
    },
    {
      title: 'a few writes of whole spans cannot bear a large surge',
      cause: {
        subject: 'service:prod/sync',
        keys: ['service:prod/sync', 'etcd:store'],
        measured: { writes_per_s: 2, sampling: 'whole' },
      },
      effect: { subject: 'etcd:store', keys: ['etcd:store'], measured: { extra_puts_per_s: 300 } },
      links: false,
    },
  ],
};

function sameService(writer: Writer, service: string): boolean {
  return (shared('service', [writer.service], [service]) ?? []).length > 0;
}
