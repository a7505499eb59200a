import type { Correlated } from '../../services/correlate/index.js';
import type { Named, TrueLink, Truth } from '../generator/truth.js';

/** How what was claimed of one incident stands to its truth. Links are compared by rule, kinds and subjects. */
export interface Comparison {
  readonly trueLinks: number;
  readonly found: number;
  /** Accepted links that are neither true nor faint. */
  readonly invented: number;
  readonly wrongRoots: number;
  readonly decoysBlamed: number;
  readonly quietDisturbed: number;
  /** CONFIRMED links that are neither true nor faint. */
  readonly falseConfirmed: number;
  /** What each figure is about, for whoever looks into it. */
  readonly notes: readonly string[];
}

interface Claim {
  readonly rule: string;
  readonly cause: Named;
  readonly effect: Named;
  readonly verdict: string;
}

export function compare({ chains, findings }: Correlated, truth: Truth, quiet: boolean): Comparison {
  const byId = new Map(findings.map((finding) => [finding.id, finding]));
  const who = (id: string): Named => ({ kind: byId.get(id)!.kind, subject: byId.get(id)!.subject });
  const claims = unique(
    chains.flatMap(({ links }) =>
      links.map(
        ({ rule, causeFindingId, effectFindingId, verdict }): Claim => ({
          rule,
          cause: who(causeFindingId),
          effect: who(effectFindingId),
          verdict,
        }),
      ),
    ),
  );
  const links = truth.chains.flatMap((chain) => chain.links);
  const trueTexts = new Set(links.map(textOf));
  const claimed = new Set(claims.map(textOf));
  const known = new Set([...trueTexts, ...truth.faint.map(textOf)]);
  const invented = claims.filter((claim) => !known.has(textOf(claim)));
  const missed = [...trueTexts].filter((text) => !claimed.has(text));
  const roots = new Set(possibleRoots(truth).map(nameOf));
  const wrong = [...new Set(chains.map(({ rootFindingId }) => nameOf(who(rootFindingId))))].filter(
    (root) => !roots.has(root),
  );
  const blamed = truth.decoys.filter((decoy) =>
    claims.some(
      ({ cause, effect }) =>
        nameOf(cause) === nameOf(decoy) && (!decoy.effect || nameOf(effect) === nameOf(decoy.effect)),
    ),
  );
  return {
    trueLinks: trueTexts.size,
    found: trueTexts.size - missed.length,
    invented: invented.length,
    wrongRoots: wrong.length,
    decoysBlamed: blamed.length,
    quietDisturbed: quiet && chains.length > 0 ? 1 : 0,
    falseConfirmed: invented.filter(({ verdict }) => verdict === 'CONFIRMED').length,
    notes: [
      ...missed.map((text) => `missed ${text}`),
      ...invented.map((claim) => `invented ${textOf(claim)} ${claim.verdict}`),
      ...wrong.map((root) => `wrong root ${root}`),
      ...blamed.map(({ kind, subject, why }) => `blamed ${kind} ${subject}: ${why}`),
      ...findings
        .filter(({ kind, subject }) =>
          truth.absent.some((none) => none.kind === kind && (none.subject === undefined || none.subject === subject)),
        )
        .map(({ kind, subject, summary }) => `finding that is none: ${kind} ${subject}: ${summary}`),
    ],
  };
}

/** True roots; and, where a link is faint, what it leads to: the evidence may bear no more. */
function possibleRoots({ chains, faint }: Truth): Named[] {
  return [...chains.map(({ root }) => root), ...faint.flatMap(({ cause, effect }) => [cause, effect])];
}

const nameOf = ({ kind, subject }: Named): string => `${kind} ${subject}`;

const textOf = ({ rule, cause, effect }: Pick<TrueLink, 'rule' | 'cause' | 'effect'>): string =>
  `${rule}: ${nameOf(cause)} -> ${nameOf(effect)}`;

/** One claim a link, by its strongest verdict: two members' findings of one kind are one claim. */
function unique(claims: readonly Claim[]): Claim[] {
  const byText = new Map<string, Claim>();
  for (const claim of claims) {
    const known = byText.get(textOf(claim));
    if (!known || (known.verdict !== 'CONFIRMED' && claim.verdict === 'CONFIRMED')) byText.set(textOf(claim), claim);
  }
  return [...byText.values()];
}
