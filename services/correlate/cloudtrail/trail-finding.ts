import type { FindingDraft } from '../../../shared/finding.js';
import type { Act } from './act.js';
import { accountOf } from './scopes.js';
import { cloudKeys, evidenceFrom, SECOND_MICROS } from './spree.js';

/** A change of a trail that lasts until another one. */
export interface Lasting {
  readonly act: Act;
  lastMicros: number;
  readonly ids: string[];
}

/** What such a change is as a finding: it ends with the change that takes it back, and until then goes on (`until` is null). */
export function trailFinding(
  { act, ids, lastMicros }: Lasting,
  subject: string,
  untilMicros: number | null,
  { summary, measured }: Pick<FindingDraft, 'summary' | 'measured'>,
): FindingDraft {
  const { who, atMicros } = act;
  const account = accountOf(subject) ?? who.account;
  return {
    subject,
    member: null,
    startedMicros: atMicros,
    startedByMicros: atMicros + SECOND_MICROS,
    endedMicros: untilMicros ?? lastMicros,
    cut: 0,
    continues: untilMicros === null,
    severity: 'critical',
    summary,
    measured: {
      ...measured,
      principal: who.principal,
      session: who.caller,
      until: untilMicros === null ? null : new Date(untilMicros / 1000).toISOString(),
    },
    baseline: null,
    shortBaseline: false,
    keys: [
      subject,
      ...cloudKeys({
        principals: [who.principal],
        callers: [who.caller],
        sources: who.source === null ? [] : [who.source],
        accounts: account === null ? [] : [account],
      }),
    ],
    evidence: evidenceFrom(ids),
    evidenceCount: ids.length,
  };
}
