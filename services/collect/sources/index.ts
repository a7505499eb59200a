import type { Row, Source } from '../source.js';
import { cloudtrail } from './cloudtrail.js';
import { metrics } from './metrics.js';
import { traces } from './traces.js';

/** Every source: topics, catalogue, tests and docs are derived from this list. */
export const sources = [cloudtrail, traces, metrics] as const;

/** The source of this name. */
export function sourceNamed(name: string): Source<Row> {
  return sources.find((source) => source.name === name) as unknown as Source<Row>;
}
