import type { Cause } from '../../services/correlate/cause.js';
import { passed } from '../../services/correlate/cause.js';
import type { Link, Verdict } from '../../shared/chain.js';
import type { Finding, Kind } from '../../shared/finding.js';

/** 2024-03-17T02:00:00Z, in microseconds, and so many seconds after it. */
export const at = (seconds: number): number => 1_710_640_800_000_000 + Math.round(seconds * 1e6);

/** A finding of a minute, known by its id; seconds are its onset. */
export function finding(id: string, kind: Kind, seconds: number, more: Partial<Finding> = {}): Finding {
  const subject = more.subject ?? 'etcd:a';
  const startedMicros = at(seconds);
  return {
    id,
    kind,
    detector: `${kind}@1`,
    subject,
    member: null,
    startedMicros,
    startedByMicros: startedMicros,
    endedMicros: startedMicros + 60_000_000,
    cut: 0,
    continues: false,
    severity: 'warning',
    summary: `${kind} ${id}`,
    measured: {},
    baseline: null,
    shortBaseline: false,
    keys: [subject],
    evidence: [],
    evidenceCount: 1,
    ...more,
  };
}

/** A rule whose mechanism is always found. */
export function rule(from: Kind, to: Kind, more: Partial<Cause> = {}): Cause {
  return {
    rule: `${from} to ${to}`,
    version: 1,
    from,
    to,
    within: '1m',
    shared: ['etcd'],
    mechanism: 'it does',
    dose: 'none',
    explain: () => passed('as much as is needed'),
    examples: [],
    ...more,
  };
}

export function link(cause: Finding, effect: Finding, verdict: Verdict = 'CONFIRMED'): Link {
  return {
    rule: `${cause.kind} to ${effect.kind}`,
    causeFindingId: cause.id,
    effectFindingId: effect.id,
    causeKind: cause.kind,
    effectKind: effect.kind,
    lagMs: (effect.startedMicros - cause.startedMicros) / 1000,
    verdict,
    confidence: verdict === 'CONFIRMED' ? 0.95 : 0.7,
    mechanism: 'it does',
    tests: [],
    rivals: [],
  };
}
