import type { Finding } from '../../shared/finding.js';
import { type CloudPart, cloudItems } from './cloudtrail/part.js';
import type { Detector } from './detector.js';
import { type Around, endFold, enterSegment, type Fold, startFold, stepFold } from './engine.js';
import type { Item } from './item.js';
import {
  type MemberPart,
  mergeService,
  type Part,
  type ServicePart,
  scrapesOf,
  serviceItems,
  servicePart,
} from './rollup.js';

/** One subject and who folds over it. */
export interface Subject {
  /** Of its own, in the store. */
  readonly name: string;
  readonly detectors: readonly Detector[];
  readonly around: Around;
  /** Scopes of the rollups that its items are in. */
  readonly scopes: readonly string[];
  readonly of: 'service' | 'scrapes' | 'cloudtrail';
}

interface Scoped {
  readonly scope: string;
  readonly part: Part;
}

/** Its detectors, side by side, as a fold over rollups. */
export function foldingOf({ name, scopes, of, detectors, around }: Subject, hash: (text: string) => string) {
  const itemsOf = ITEMS[of];
  return {
    name,
    scopes,
    start: (): unknown => startFold(detectors),
    enter: (state: unknown, segmentMicros: number): void => enterSegment(state as Fold, segmentMicros),
    step(state: unknown, parts: readonly Scoped[], bucketMicros: number): Finding[] {
      const fold = state as Fold;
      const { firstMicros, items } = itemsOf(parts, bucketMicros);
      fold.coveredFromMicros = Math.min(fold.coveredFromMicros, firstMicros);
      return items.flatMap((item) => stepFold(detectors, fold, item, around, hash));
    },
    end: (state: unknown): Finding[] => endFold(detectors, state as Fold, around, hash),
  };
}

const ITEMS: Readonly<Record<Subject['of'], (parts: readonly Scoped[], bucketMicros: number) => Items>> = {
  service: serviceItemsOf,
  scrapes: scrapeItemsOf,
  cloudtrail: cloudItemsOf,
};

interface Items {
  /** When the subject was first watched in the bucket. */
  readonly firstMicros: number;
  readonly items: readonly Item[];
}

function serviceItemsOf(parts: readonly Scoped[]): Items {
  const whole = servicePart();
  for (const { part } of parts) mergeService(whole, part as ServicePart);
  return { firstMicros: whole.firstMicros, items: serviceItems(whole) };
}

function scrapeItemsOf(parts: readonly Scoped[]): Items {
  const items = scrapesOf(
    parts.map(({ scope, part }) => ({ member: scope.slice(scope.indexOf('\n') + 1), part: part as MemberPart })),
  );
  return { firstMicros: items[0]?.atMicros ?? Number.POSITIVE_INFINITY, items };
}

function cloudItemsOf(parts: readonly Scoped[], bucketMicros: number): Items {
  const items = cloudItems(
    bucketMicros,
    parts.map(({ part }) => part as CloudPart),
  );
  return { firstMicros: bucketMicros, items };
}
