import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { cases } from '../../replay/cases/index.js';
import { replayCase } from '../../replay/replay.js';
import type { Correlated } from '../../services/correlate/index.js';
import { root } from '../helpers/data.js';

interface Named {
  readonly kind: string;
  readonly subject: string;
}

interface Truth {
  readonly chains: readonly {
    readonly root: Named;
    readonly impact: Named;
    readonly links: readonly {
      readonly rule: string;
      readonly cause: Named;
      readonly effect: Named;
      readonly verdict: string;
    }[];
  }[];
  /** `effect`, where given, is what it must not be called the cause of; without it, it must be no cause at all. */
  readonly decoys: readonly (Named & { readonly effect?: Named; readonly why: string })[];
  readonly absent: readonly { readonly kind: string; readonly subject?: string; readonly why: string }[];
}

for (const name of cases)
  test(`${name}: the chains are those of truth.json, no decoy is blamed and nothing is invented`, async (t) => {
    const truth = JSON.parse(readFileSync(join(root, 'replay/cases', name, 'truth.json'), 'utf8')) as Truth;
    const { correlated, collected, case: told } = await replayed(name);

    t.is(told, name);
    t.is(collected.quarantined, 0);
    t.deepEqual(chainsOf(correlated), sorted(truth.chains.map((chain) => ({ ...chain, links: sorted(chain.links) }))));
    for (const decoy of truth.decoys)
      t.deepEqual(blamed(correlated, decoy), [], `${decoy.kind} of ${decoy.subject}: ${decoy.why}`);
    for (const { kind, subject, why } of truth.absent)
      t.deepEqual(
        correlated.findings.filter(
          (finding) => finding.kind === kind && (subject === undefined || finding.subject === subject),
        ),
        [],
        why,
      );
  });

async function replayed(name: string) {
  const folder = mkdtempSync(join(tmpdir(), 'causeline-case-'));
  try {
    return await replayCase(join(root, 'replay/cases', name), join(folder, 'case.duckdb'), {
      nowUnixNano: BigInt(Date.now()) * 1_000_000n,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function chainsOf({ chains, findings }: Correlated): unknown {
  const named = (id: string): Named => {
    const { kind, subject } = findings.find((finding) => finding.id === id)!;
    return { kind, subject };
  };
  return sorted(
    chains.map((chain) => ({
      root: named(chain.rootFindingId),
      impact: named(chain.impactFindingId),
      links: sorted(
        chain.links.map(({ rule, causeFindingId, effectFindingId, verdict }) => ({
          rule,
          cause: named(causeFindingId),
          effect: named(effectFindingId),
          verdict,
        })),
      ),
    })),
  );
}

/** Accepted links in which the decoy is the cause. */
function blamed({ chains, findings }: Correlated, decoy: Truth['decoys'][number]): unknown[] {
  const is = (id: string, named: Named) =>
    findings.some((finding) => finding.id === id && finding.kind === named.kind && finding.subject === named.subject);
  return chains.flatMap((chain) =>
    chain.links.filter(
      (link) => is(link.causeFindingId, decoy) && (!decoy.effect || is(link.effectFindingId, decoy.effect)),
    ),
  );
}

function sorted<T>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}
