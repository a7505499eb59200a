import { Document, isScalar } from 'yaml';
import type { Layered } from './layers.js';
import type { Validated } from './schema.js';
import type { Setting } from './settings.js';

const MASK = '********';

/**
 * The effective configuration as YAML that `--config` takes, but for the passwords: behind each value that is no default, who set it.
 */
export function printedConfig(valid: Validated, originOf: Layered['originOf'], settings: readonly Setting[]): string {
  const document = new Document(masked(shown(valid)));
  for (const { key } of settings) {
    const path = key.split('.');
    const origin = originOf(path);
    const node = document.getIn(path, true);
    if (origin !== undefined && isScalar(node)) node.comment = ` ${origin}`;
  }
  return document.toString({ lineWidth: 0 });
}

/** Brokers in one line, as the variable has them; and where sources are listed, topics without effect are left out. */
function shown(valid: Validated) {
  const { kafka, topics, sources } = valid;
  return {
    ...valid,
    kafka: { ...kafka, brokers: kafka.brokers.join(',') },
    topics: sources === undefined ? topics : { chains: topics['chains'] },
  };
}

function masked(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(/(:\/\/[^/\s@:]*:)[^/\s@]+@/g, `$1${MASK}@`);
  if (Array.isArray(value)) return value.map(masked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, key === 'password' ? MASK : masked(inner)]),
  );
}
