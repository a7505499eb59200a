import type { MetricRow } from '../../../shared/evidence.js';
import { sha256 } from '../../../shared/hash.js';
import { Recent } from '../../../shared/recent.js';
import { canonical } from './canonical.js';

/**
 * Hash of the canonical body of one point: its natural identity (series and time), its kind and what it measured. The same point
 * has the same body whether it came as OTLP or as exposition text, so neither the start time (text has none) nor the
 * flags belong to it.
 */
export function metricHash(row: Omit<MetricRow, 'bodyHash'>): string {
  const { metric, service, instance, kind, value, bounds, counts, sum, count } = row;
  // The members of canonical({…}) in its order, written out: a walk over a fresh object costs several times as much.
  return sha256(
    `{10:attributes${canonicalAttributes(row.attributes)}6:bounds${numbers(bounds)}5:count${count};` +
      `6:counts${numbers(counts)}` +
      `8:instance${text(instance)}4:kind${text(kind)}6:metric${text(metric)}7:service${text(service)}3:sum${sum};` +
      `12:timeUnixNano${text(String(row.timeUnixNano))}5:value${value};}`,
  );
}

function text(value: string | null): string {
  return value === null ? 'null;' : `"${value.length}:${value}`;
}

function numbers(values: readonly number[] | null): string {
  if (!values) return 'null;';
  return values.length === 0 ? '[]' : `[${values.join(';')};]`;
}

const known = new Recent<string>();

/** Points of one series share their attributes; their text is walked once. */
function canonicalAttributes(attributes: string): string {
  return known.of(attributes, (text) => canonical(JSON.parse(text)).text);
}
