import { correlate } from '../../services/correlate/index.js';
import { type Batch, emptyBatch, type Store } from '../../shared/store/store.js';
import { evidenceOf, type Story } from './story.js';

/** Twenty failed downloads and the retries that they leave behind, in a cluster of three. */
export const STORM: Omit<Story, 'troubles' | 'reachesQuota'> = {
  happens: 'storm',
  seed: 1,
  environment: 'prod',
  cluster: 'store',
  prefix: '',
  members: 3,
  scrapeSeconds: 5,
  onset: 120,
  length: 100,
  failures: 20,
  retrySeconds: 2,
  form: 'linked roots',
  scale: 1,
};

/** A storm, as it comes to a running Causeline: commit after commit, in the order of time. */
export function nightInSteps(): Batch[] {
  const { spans, points } = evidenceOf({ ...STORM, reachesQuota: true, troubles: {} });
  const rows = [
    ...spans.map((span) => ({ span, at: span.endUnixNano })),
    ...points.map((point) => ({ point, at: point.timeUnixNano })),
  ].sort((a, b) => Number(a.at - b.at));
  const steps = Array.from({ length: STEPS }, () => emptyBatch());
  for (const [index, row] of rows.entries()) {
    const { traces, metrics } = steps[Math.floor((index * STEPS) / rows.length)]!;
    if ('span' in row) traces.push({ sourceId: 'spans', row: row.span });
    else metrics.push({ sourceId: 'scrapes', row: row.point });
  }
  return steps;
}

const STEPS = 6;

/** Commits and correlates these steps; what was committed before is known. */
export async function goThrough(store: Store, steps: readonly Batch[], endOfInput: boolean): Promise<void> {
  for (const [index, batch] of steps.entries()) {
    await store.commit(batch);
    await correlate(store, { endOfInput: endOfInput && index === steps.length - 1 });
  }
}
