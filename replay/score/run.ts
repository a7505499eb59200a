import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Correlated } from '../../services/correlate/index.js';
import { openStore } from '../../shared/store/store.js';
import { type FamilyName, quietFamilies } from '../generator/families.js';
import { generateIncident, type Incident } from '../generator/index.js';
import { replayCase } from '../replay.js';
import { barolike, largestRobustZ } from './baselines.js';
import { type Comparison, compare } from './compare.js';
import { loadSeries } from './series.js';

/** What Causeline and the two baselines made of one incident. */
export interface Scored extends Comparison {
  readonly family: FamilyName;
  readonly seed: number;
  readonly rows: number;
  readonly quarantined: number;
  /** Whether the subject named first is a true root's; undefined where no root is in the evidence. */
  readonly causelineTop1: boolean | undefined;
  readonly robustZTop1: boolean | undefined;
  readonly baroTop1: boolean | undefined;
}

/** Makes an incident, replays it into a temporary store, and compares what was claimed with what is true. */
export async function scoreIncident(family: FamilyName, seed: number): Promise<Scored> {
  const incident = generateIncident(family, seed);
  const folder = mkdtempSync(join(tmpdir(), 'causeline-score-'));
  try {
    writeIncident(folder, incident);
    const db = join(folder, 'score.duckdb');
    const { correlated, collected } = await replayCase(folder, db, {
      nowUnixNano: BigInt(Date.UTC(2027, 0, 1)) * 1_000_000n,
    });
    const { stored, quarantined } = collected;
    const roots = new Set(incident.truth.chains.map(({ root }) => root.subject));
    const hit = (subject: string | undefined) => (roots.size > 0 ? roots.has(subject ?? '') : undefined);
    const series = await seriesOf(db);
    return {
      family,
      seed,
      rows: stored.traces + stored.metrics,
      quarantined,
      ...compare(correlated, incident.truth, quietFamilies.has(family)),
      causelineTop1: hit(firstRoot(correlated)),
      robustZTop1: hit(largestRobustZ(series)),
      baroTop1: hit(barolike(series)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeIncident(folder: string, { files }: Incident): void {
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

async function seriesOf(db: string) {
  const store = await openStore(db);
  try {
    return await loadSeries(store.connection);
  } finally {
    store.close();
  }
}

/** The chain that an on-call engineer reads first: the one that ends in failed requests, then the longest. */
function firstRoot({ chains, findings }: Correlated): string | undefined {
  const rank = (chain: Correlated['chains'][number]) =>
    (chain.impactKind === 'http.error_burst' ? 1000 : 0) + chain.links.length;
  const first = [...chains].sort((a, b) => rank(b) - rank(a) || (a.id < b.id ? -1 : 1))[0];
  return findings.find(({ id }) => id === first?.rootFindingId)?.subject;
}
