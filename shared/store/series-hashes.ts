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
  #size = 0;

  of(row: MetricRow): string {
    const { metric, attributes, service, instance } = row;
    const known = this.#hashes.get(service)?.get(instance)?.get(metric)?.get(attributes);
    if (known) return known;
    if (this.#size++ >= MOST) {
      this.#hashes.clear();
      this.#size = 1;
    }
    const fresh = sha256(seriesText(row)).slice(0, 32);
    branch(branch(branch(this.#hashes, service), instance), metric).set(attributes, fresh);
    return fresh;
  }
}

const MOST = 100_000;

function branch<T>(of: Branch<Branch<T>>, key: string | null): Branch<T> {
  const known = of.get(key);
  if (known) return known;
  const fresh: Branch<T> = new Map();
  of.set(key, fresh);
  return fresh;
}
