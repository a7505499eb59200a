import type { EvidenceRef } from '../../shared/finding.js';
import type { Evidence, Run } from './sustained.js';

/** A finding keeps its first, last and peak evidence, at most this many more, and the exact count. */
export const EVIDENCE_KEPT = 100;

/** The evidence of a run: first, last, peak, and the earliest others. */
export function evidenceOf(run: Run): { evidence: EvidenceRef[]; evidenceCount: number } {
  const all = run.readings.flatMap((reading) => reading.evidence);
  return {
    evidence: keep(all, run.peak.evidence[0]),
    evidenceCount: run.readings.reduce((sum, reading) => sum + reading.evidenceCount, 0),
  };
}

/** `all` in the order of event time. Each evidence is named once, by the first role that it has. */
export function keep(all: readonly Evidence[], peak?: Evidence): EvidenceRef[] {
  const roles = new Map<string, EvidenceRef>();
  const name = (evidence: Evidence | undefined, role: EvidenceRef['role']) => {
    if (evidence && !roles.has(evidence.id)) roles.set(evidence.id, { ...evidence, role });
  };
  name(all[0], 'first');
  name(all.at(-1), 'last');
  name(peak, 'peak');
  const extremes = roles.size;
  for (const evidence of all) {
    if (roles.size >= extremes + EVIDENCE_KEPT) break;
    name(evidence, 'member');
  }
  return [...roles.values()];
}
