import type { Duration } from '../../../shared/duration.js';
import type { Kind } from '../../../shared/finding.js';
import { answersFrom, type Cause, type CauseExample, figure, notMade, passed, refuted } from '../cause.js';
import { percent } from '../figures.js';
import { whatIsMissing } from '../gaps.js';
import type { EtcdAnswer } from '../item.js';

/** The failed requests whose etcd call got the cause's answer must be at least this share of those that failed. */
const LEAST_SHARE = 0.2;

interface Definition {
  readonly rule: string;
  readonly from: Kind;
  readonly within: Duration;
  readonly mechanism: string;
  /** What etcd answers when this is the reason. */
  readonly answers: readonly EtcdAnswer[];
  readonly examples: readonly CauseExample[];
}

/** Rules by which a trouble of etcd fails the requests of a service: the failed requests' own spans must carry etcd's answer. */
export function etcdFailsRequests(definition: Definition): Cause {
  return {
    rule: definition.rule,
    version: 2,
    from: definition.from,
    to: 'http.error_burst',
    within: definition.within,
    shared: ['etcd'],
    mechanism: definition.mechanism,
    dose: 'none', // what the spans carry says more: how many of the failed requests got the answer
    examples: definition.examples,
    explain(trouble, burst, { gaps }) {
      const errors = figure(burst, 'errors') ?? 0;
      const answers = answersFrom(trouble.subject, burst);
      const told = [...answers.values()].reduce((sum, count) => sum + count, 0);
      const missing = gaps(burst.subject, burst.startedMicros, burst.endedMicros);
      if (told === 0)
        return notMade(
          `no failed request of ${burst.subject} shows a failed call to ${trouble.subject}, so what failed them was not seen${missing.length > 0 ? `; ${whatIsMissing(missing)}` : ''}`,
        );
      const matching = definition.answers.reduce((sum, answer) => sum + (answers.get(answer) ?? 0), 0);
      const others = [...answers.keys()].filter((answer) => !definition.answers.includes(answer as EtcdAnswer));
      const says = `${matching} of ${errors} failed requests (${percent(matching / errors)}) had a call to ${trouble.subject} answered ${definition.answers.join(' or ')}`;
      if (matching >= LEAST_SHARE * errors) return passed(says, true);
      return refuted(`${says}${others.length > 0 ? `; most were answered ${others.join(', ')}` : ''}`);
    },
  };
}

/** The examples that every such rule has: the answer seen, another answer seen. */
export function answerExamples(answer: EtcdAnswer, another: EtcdAnswer): CauseExample[] {
  const burst = (answers: Record<string, number>): CauseExample['effect'] => ({
    subject: 'service:prod/api',
    keys: ['service:prod/api', 'etcd:a'],
    measured: { errors: 100, etcd_answers: answers },
  });
  const cause = { subject: 'etcd:a', keys: ['etcd:a'], measured: {} };
  return [
    { title: 'the failed requests carry the answer', cause, effect: burst({ [`etcd:a ${answer}`]: 97 }), links: true },
    { title: 'they carry another answer', cause, effect: burst({ [`etcd:a ${another}`]: 97 }), links: false },
    {
      title: 'they called another cluster',
      cause,
      effect: { ...burst({ [`etcd:b ${answer}`]: 97 }), keys: ['service:prod/api', 'etcd:b'] },
      links: false,
    },
  ];
}
