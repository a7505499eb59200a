import type { Finding, FindingDraft } from '../../shared/finding.js';
import type { AsOf, Detector } from './detector.js';
import type { Item } from './item.js';

/** Onsets closer than this are one: a late scrape that moves an onset a little does not make another finding. */
const ONSET_BUCKET_MICROS = 10_000_000;

/** Several detectors folding over one subject's items, side by side. */
export interface Fold {
  readonly asOf: AsOf;
  readonly running: readonly { readonly detector: Detector; readonly state: unknown }[];
}

export function startFold(detectors: readonly Detector[], asOf: AsOf): Fold {
  return { asOf, running: detectors.map((detector) => ({ detector, state: detector.start() })) };
}

/** Items must come in the order of event time. */
export function stepFold(fold: Fold, item: Item, hash: (text: string) => string): Finding[] {
  return fold.running.flatMap(({ detector, state }) =>
    detector.step(state, item, fold.asOf).map((draft) => identified(detector, draft, hash)),
  );
}

export function endFold(fold: Fold, hash: (text: string) => string): Finding[] {
  return fold.running.flatMap(({ detector, state }) =>
    detector.end(state, fold.asOf).map((draft) => identified(detector, draft, hash)),
  );
}

/** The id is a hash of kind, subject, member, onset bucket and cut; extent and figures are attributes. */
export function identified(detector: Detector, draft: FindingDraft, hash: (text: string) => string): Finding {
  const bucket = Math.floor(draft.startedMicros / ONSET_BUCKET_MICROS);
  const identity = [detector.kind, draft.subject, draft.member ?? '', bucket, draft.cut].join('\n');
  return {
    ...draft,
    id: hash(`finding\n${identity}`).slice(0, 32),
    kind: detector.kind,
    detector: `${detector.kind}@${detector.version}`,
  };
}

/** All items of one subject at once. */
export function foldAll(
  detectors: readonly Detector[],
  items: readonly Item[],
  asOf: AsOf,
  hash: (text: string) => string,
): Finding[] {
  const fold = startFold(detectors, asOf);
  return [...items.flatMap((item) => stepFold(fold, item, hash)), ...endFold(fold, hash)];
}
