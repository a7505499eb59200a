import type { Finding } from '../../../shared/finding.js';
import { type Cause, type CauseExample, passed, refuted, texts } from '../cause.js';

interface Definition {
  readonly rule: string;
  readonly to: 's3.version_purge' | 's3.bulk_delete';
  /** The right without which it could not be done. */
  readonly action: 's3:DeleteObjectVersion' | 's3:DeleteObject';
  readonly mechanism: string;
}

/** A right that reached too far, used for just this: the policy that grants it is in the finding's evidence, and was evaluated. */
export function overreachPermits({ rule, to, action, mechanism }: Definition): Cause {
  return {
    rule,
    version: 2,
    from: 'iam.overreach',
    to,
    within: '1h',
    shared: ['principal', 'bucket'],
    mechanism,
    dose: 'none',
    role: 'condition',
    explain(overreach, effect) {
      const [used] = texts(overreach, 'action');
      if (used !== action) return refuted(`the right that was used is ${used}`);
      const { allows, ordered } = backing(overreach);
      const on = `${action} on ${effect.subject.slice('bucket:'.length)} (${texts(overreach, 'resources').join(', ')})`;
      const open = notEvaluated(overreach);
      const says = `${allows(on)}, and the deletions used it${open.length > 0 ? `; not evaluated: ${open.join(', ')}` : ''}`;
      return { ...passed(says), ordered };
    },
    examples: examplesOf(action),
  };
}

/** A policy in evidence was evaluated, or IAM's simulator had been asked. */
function backing(overreach: Finding) {
  const [policy] = texts(overreach, 'policy');
  const [granted] = texts(overreach, 'granted_at');
  if (granted !== undefined)
    return {
      allows: (right: string) => `policy ${policy} allows ${right} since ${granted}`,
      ordered: `the right was granted at ${granted}, before its first use`,
    };
  const found = texts(overreach, 'simulated').filter((one) => one.startsWith('allowed'));
  return {
    allows: (right: string) => `IAM's simulator found ${right} ${found.join('; ')}`,
    ordered: 'the right was simulated before its first use',
  };
}

function notEvaluated(overreach: Finding): string[] {
  const boundary = texts(overreach, 'boundary_not_evaluated').map((policy) => `permissions boundary ${policy}`);
  return [...texts(overreach, 'conditions_not_evaluated'), ...boundary];
}

function examplesOf(action: Definition['action']): readonly CauseExample[] {
  const keys = ['principal:role', 'bucket:logs'];
  const effect = { subject: 'bucket:logs', keys };
  const measured = { action, granted_at: '2024-03-14T09:12:44Z', policy: 'inline', resources: ['arn:aws:s3:::logs/*'] };
  return [
    {
      title: 'the right that the deletions need',
      cause: { subject: 'principal:role', keys, measured },
      effect,
      links: true,
    },
    {
      title: 'a right that was simulated',
      cause: {
        subject: 'principal:role',
        keys,
        measured: { action, granted_at: null, simulated: ['allowed on arn:aws:s3:::logs/* at 2024-03-14T09:12:44Z'] },
      },
      effect,
      links: true,
    },
    {
      title: 'another right',
      cause: { subject: 'principal:role', keys, measured: { ...measured, action: 's3:PutBucketPolicy' } },
      effect,
      links: false,
    },
    {
      title: 'the right of another principal',
      cause: { subject: 'principal:other', keys: ['principal:other', 'bucket:logs'], measured },
      effect,
      links: false,
    },
  ];
}
