import type { Verdict } from '../../shared/chain.js';
import type { Kind } from '../../shared/finding.js';

export interface Named {
  readonly kind: Kind;
  readonly subject: string;
}

export interface TrueLink {
  readonly rule: string;
  readonly cause: Named;
  readonly effect: Named;
  /** The most that the evidence bears: CONFIRMED where spans carry the link or the clocks can tell the order. */
  readonly verdict: Verdict;
}

export interface TrueChain {
  readonly root: Named;
  readonly impact: Named;
  readonly links: readonly TrueLink[];
}

/** What was made to happen, in the shape of a bundled case's truth.json, with `faint` beside it. */
export interface Truth {
  readonly chains: readonly TrueChain[];
  /**
   * Links that are at work and that the evidence does not bear: too small beside the noise, too short for the scrapes,
   * or sampled away without saying so. Finding one is no invention, missing one no miss.
   */
  readonly faint: readonly (TrueLink & { readonly why: string })[];
  /** `effect`, where given, is what it must not be called the cause of; without it, it must be no cause at all. */
  readonly decoys: readonly (Named & { readonly effect?: Named; readonly why: string })[];
  readonly absent: readonly { readonly kind: Kind; readonly subject?: string; readonly why: string }[];
}

export const named = (kind: Kind, subject: string): Named => ({ kind, subject });

/** Gathers what the parts of a story say; the links of one chain share a root. */
export class TruthBook {
  private readonly chains: { root: Named; impact: Named; links: TrueLink[] }[] = [];
  private readonly faint: Truth['faint'][number][] = [];
  private readonly decoys: Truth['decoys'][number][] = [];
  private readonly absent: Truth['absent'][number][] = [];

  /** Opens a chain; it stands in the truth once it has a link. */
  chain(root: Named): ChainBook {
    const chain = { root, impact: root, links: [] as TrueLink[] };
    this.chains.push(chain);
    return {
      link: (rule, cause, effect, verdict, borne) => {
        const one = { rule, cause, effect, verdict };
        if (borne !== true) {
          this.faint.push({ ...one, why: borne });
          return;
        }
        chain.links.push(one);
        chain.impact = effect;
      },
    };
  }

  decoy(decoy: Named, why: string, effect?: Named): void {
    this.decoys.push({ ...decoy, ...(effect && { effect }), why });
  }

  never(kind: Kind, why: string, subject?: string): void {
    this.absent.push({ kind, ...(subject && { subject }), why });
  }

  /** A chain whose first links are faint begins where its borne links begin. */
  written(): Truth {
    const chains = this.chains.filter(({ links }) => links.length > 0).flatMap((chain) => connected(chain));
    return { chains, faint: this.faint, decoys: this.decoys, absent: this.absent };
  }
}

export interface ChainBook {
  /** `borne` is true, or why the evidence does not bear the link. */
  link(rule: string, cause: Named, effect: Named, verdict: Verdict, borne: true | string): void;
}

const same = (a: Named, b: Named): boolean => a.kind === b.kind && a.subject === b.subject;

/** Splits a chain where a faint link parts it: each part has the root that its own links have. */
function connected({ links }: TrueChain): TrueChain[] {
  const roots = links.map(({ cause }) => cause).filter((one) => !links.some(({ effect }) => same(effect, one)));
  const parts = new Map<string, TrueChain>();
  for (const root of roots) {
    const own: TrueLink[] = [];
    const reached = [root];
    for (const at of reached)
      for (const link of links.filter(({ cause }) => same(cause, at))) {
        if (!own.includes(link)) own.push(link);
        if (!reached.some((one) => same(one, link.effect))) reached.push(link.effect);
      }
    parts.set(`${root.kind} ${root.subject}`, { root, impact: reached.at(-1)!, links: own });
  }
  return [...parts.values()];
}
