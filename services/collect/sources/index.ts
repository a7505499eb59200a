import type { Row, Source } from '../source.js';
import { cloudtrail } from './cloudtrail.js';
import { iam } from './iam.js';
import { metrics } from './metrics.js';
import { s3Access } from './s3-access.js';
import { traces } from './traces.js';

/** Every source: topics, catalogue, tests and docs are derived from this list. */
export const sources = [cloudtrail, traces, metrics, s3Access, iam] as const;

/** Those that come by Kafka: configuration and `run` know no others. */
export const topicSources = sources.flatMap((source) =>
  source.topic === undefined ? [] : [{ name: source.name, topic: source.topic }],
);

/** The source of this name. */
export function sourceNamed(name: string): Source<Row> {
  return sources.find((source) => source.name === name) as unknown as Source<Row>;
}
