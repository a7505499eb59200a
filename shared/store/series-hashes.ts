import type { MetricRow } from '../evidence.js';
import { sha256 } from '../hash.js';
import { seriesText } from './columns.js';

type Branch<T> = Map<string | null, T>;

/**
 * Hashes of series, each computed once. They are found by the parts of a series, whose texts many points share: to join them costs more than to look them up, as a
 * new text has to be hashed itself.
 */
export class SeriesHashes {
  readonly #hashes: Branch<Branch<Branch<Branch<string>>>> = new Map();
  #held = 0;

  of(row: MetricRow): string {
    const { metric, attributes, service, instance } = row;
    const known = this.#hashes.get(service)?.get(instance)?.get(metric)?.get(attributes);
    if (known) return known;
    const text = seriesText(row);
    const fresh = sha256(text).slice(0, 32);
    if (text.length > LONGEST) return fresh;
    this.#held += text.length + ENTRY;
    if (this.#held > MOST_HELD) {
      this.#hashes.clear();
      this.#held = text.length + ENTRY;
    }
    branch(branch(branch(this.#hashes, service), instance), metric).set(attributes, fresh);
    return fresh;
  }
}

/** Characters, as in shared/recent.ts: room for some 100,000 series. */
const LONGEST = 4_096;
const MOST_HELD = 32 * 1024 * 1024;
const ENTRY = 128;

function branch<T>(of: Branch<Branch<T>>, key: string | null): Branch<T> {
  const known = of.get(key);
  if (known) return known;
  const fresh: Branch<T> = new Map();
  of.set(key, fresh);
  return fresh;
}
