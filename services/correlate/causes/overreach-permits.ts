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
    version: 1,
    from: 'iam.overreach',
    to,
    within: '1h',
    shared: ['principal', 'bucket'],
    mechanism,
    dose: 'none',
    role: 'condition',
    explain(overreach, effect) {
      const [used, policy, granted] = ['action', 'policy', 'granted_at'].map((name) => texts(overreach, name).join());
      if (used !== action) return refuted(`the right that was used is ${used}`);
      const bucket = effect.subject.slice('bucket:'.length);
      const conditions = texts(overreach, 'conditions_not_evaluated');
      const says = `policy ${policy} allows ${action} on ${bucket} (${texts(overreach, 'resources').join(', ')}) since ${granted}, and the deletions used it${
        conditions.length > 0 ? `; not evaluated: ${conditions.join(', ')}` : ''
      }`;
      return { ...passed(says), ordered: `the right was granted at ${granted}, before its first use` };
    },
    examples: examplesOf(action),
  };
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
