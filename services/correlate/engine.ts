import type { Finding, FindingDraft } from '../../shared/finding.js';
import type { AsOf, Detector } from './detector.js';
import type { Item } from './item.js';

/** Onsets closer than this are one: a late scrape that moves an onset a little does not make another finding. */
const ONSET_BUCKET_MICROS = 10_000_000;

/**
 * Several detectors folding over one subject's items, side by side. Nothing but numbers, texts, lists and maps: a fold can be written down at a
 * segment's border and taken up there again.
 */
export interface Fold {
  /** When evidence of this subject begins: before it, silence means nothing. Microseconds. */
  coveredFromMicros: number;
  readonly states: unknown[];
}

/** What of `AsOf` is the subject's own, and not the fold's. */
export type Around = Omit<AsOf, 'coveredFromMicros'>;

/** No detector looks back further: a subject watched for so long has been watched for ever. */
const COVERED_ENOUGH_MICROS = 3_600_000_000;

export const startFold = (detectors: readonly Detector[]): Fold => ({
  coveredFromMicros: Number.POSITIVE_INFINITY,
  states: detectors.map((detector) => detector.start()),
});

/** At the start of a segment of time what lies long before is forgotten, so that states agree whatever came before. */
export function enterSegment(fold: Fold, segmentMicros: number): void {
  if (Number.isFinite(fold.coveredFromMicros))
    fold.coveredFromMicros = Math.max(fold.coveredFromMicros, segmentMicros - COVERED_ENOUGH_MICROS);
}

/** Items must come in the order of event time. */
export function stepFold(
  detectors: readonly Detector[],
  fold: Fold,
  item: Item,
  around: Around,
  hash: (text: string) => string,
): Finding[] {
  const asOf = { ...around, coveredFromMicros: fold.coveredFromMicros };
  return detectors.flatMap((detector, index) =>
    detector.step(fold.states[index], item, asOf).map((draft) => identified(detector, draft, hash)),
  );
}

/** What is still open where the evidence ends. The fold must not be used again. */
export function endFold(
  detectors: readonly Detector[],
  fold: Fold,
  around: Around,
  hash: (text: string) => string,
): Finding[] {
  const asOf = { ...around, coveredFromMicros: fold.coveredFromMicros };
  return detectors.flatMap((detector, index) =>
    detector.end(fold.states[index], asOf).map((draft) => identified(detector, draft, hash)),
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
  { coveredFromMicros, ...around }: AsOf,
  hash: (text: string) => string,
): Finding[] {
  const fold = { ...startFold(detectors), coveredFromMicros };
  return [
    ...items.flatMap((item) => stepFold(detectors, fold, item, around, hash)),
    ...endFold(detectors, fold, around, hash),
  ];
}
