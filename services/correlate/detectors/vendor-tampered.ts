import { at } from '../examples.js';
import type { GoFailure } from '../item.js';
import { goFailures } from './go-failures.js';

/**
 * A build says that vendor/ is not what go.mod asks for. The go command compares vendor/modules.txt with go.mod and reads no vendored file: a file that
 * was changed and listed as before is not seen by it, nor by `go mod verify`, which looks at the module cache (golang/go#27348).
 */
export const vendorTampered = goFailures({
  kind: 'vendor.tampered',
  version: 2,
  meaning: 'a build says that vendor/modules.txt and go.mod do not agree',
  failure: 'vendor',
  severity: 'warning',
  summary: (count, modules) =>
    `vendor/ does not agree with go.mod${modules.length > 0 ? `: ${modules.join(', ')}` : ''}, in ${count === 1 ? 'one build step' : `${count} build steps`}`,
  examples: [
    { title: 'a module that is vendored and not required', given: [inconsistent('vendor')], fires: true },
    { title: 'a download that is not the recorded one', given: [inconsistent('checksum')], fires: false },
  ],
});

function inconsistent(failure: GoFailure['failure']): GoFailure {
  return {
    type: 'go_failure',
    failure,
    atMicros: at(0),
    endMicros: at(1),
    module: 'example.com/plugins/geo',
    says: 'go: inconsistent vendoring: example.com/plugins/geo@v1.4.2 is marked as explicit in vendor/modules.txt, but not explicitly required in go.mod',
    joins: [],
    traceId: 'trace-0',
    evidenceId: 'failure-0',
  };
}
