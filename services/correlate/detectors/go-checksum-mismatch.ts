import { at } from '../examples.js';
import type { GoFailure } from '../item.js';
import { goFailures } from './go-failures.js';

/** What was downloaded is not what go.sum or the checksum database recorded: the go command's SECURITY ERROR. */
export const goChecksumMismatch = goFailures({
  kind: 'go.checksum_mismatch',
  version: 3,
  meaning: 'a module is not the one that go.sum or the checksum database recorded',
  failure: 'checksum',
  severity: 'critical',
  summary: (count, modules) =>
    `checksum mismatch${modules.length > 0 ? ` of ${modules.join(', ')}` : ''} in ${count === 1 ? 'one build step' : `${count} build steps`}`,
  examples: [
    { title: 'a download that is not the recorded one', given: [mismatch('checksum')], fires: true },
    { title: 'a proxy that times out', given: [mismatch('fetch')], fires: false },
  ],
});

function mismatch(failure: GoFailure['failure']): GoFailure {
  return {
    type: 'go_failure',
    failure,
    atMicros: at(0),
    endMicros: at(1),
    module: 'example.com/plugins/geo',
    says: 'verifying example.com/plugins/geo@v1.4.2: checksum mismatch',
    joins: [],
    traceId: 'trace-0',
    evidenceId: 'failure-0',
  };
}
