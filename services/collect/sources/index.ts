import type { FileSource, Row, Source } from '../source.js';
import { cloudtrail } from './cloudtrail.js';
import { iam } from './iam.js';
import { metrics } from './metrics.js';
import { traces } from './traces.js';

/** Every source that comes by Kafka, and in files: topics, catalogue, tests and docs are derived from this list. */
export const sources = [cloudtrail, traces, metrics] as const;

/** Sources that come in files alone. */
export const fileSources = [iam] as const;

/** The source of this name, of those that come by Kafka. */
export function sourceNamed(name: string): Source<Row> {
  return sources.find((source) => source.name === name) as unknown as Source<Row>;
}

/** What reads files of the source of this name. */
export function fileSourceNamed(name: string): FileSource<Row> {
  return [...sources, ...fileSources].find((source) => source.name === name) as unknown as FileSource<Row>;
}
