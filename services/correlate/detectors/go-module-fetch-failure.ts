import { at } from '../examples.js';
import type { GoFailure } from '../item.js';
import { goFailures } from './go-failures.js';

/** The go command could not fetch a module: proxy or checksum database unreachable, refused, not found. */
export const goModuleFetchFailure = goFailures({
  kind: 'go.module_fetch_failure',
  version: 2,
  meaning: 'the go command could not fetch a module',
  failure: 'fetch',
  severity: 'warning',
  summary: (count, modules) =>
    `${count === 1 ? 'a module download failed' : `${count} module downloads failed`}${of(modules)}`,
  examples: [
    { title: 'a proxy that times out', given: [failure('fetch', 0), failure('fetch', 2)], fires: true },
    { title: 'a checksum mismatch is no failed fetch', given: [failure('checksum', 0)], fires: false },
  ],
});

function of(modules: readonly string[]): string {
  if (modules.length === 0) return '';
  return modules.length === 1 ? ` (${modules[0]})` : ` (${modules[0]} and ${modules.length - 1} more)`;
}

function failure(kind: GoFailure['failure'], seconds: number): GoFailure {
  return {
    type: 'go_failure',
    failure: kind,
    atMicros: at(seconds),
    endMicros: at(seconds + 1),
    module: 'example.com/plugins/geo',
    says: 'dial tcp 192.0.2.10:443: i/o timeout',
    joins: [],
    traceId: `trace-${seconds}`,
    evidenceId: `failure-${seconds}`,
  };
}
