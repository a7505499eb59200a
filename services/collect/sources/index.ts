import { cloudtrail } from './cloudtrail.js';
import { metrics } from './metrics.js';
import { traces } from './traces.js';

/** Every source: topics, catalogue, tests and docs are derived from this list. */
export const sources = [cloudtrail, traces, metrics] as const;
