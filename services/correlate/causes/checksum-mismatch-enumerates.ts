import { poisonedBuildEnumerates } from './poisoned-build-enumerates.js';

export const checksumMismatchEnumerates = poisonedBuildEnumerates(
  'checksum-mismatch-enumerates',
  'go.checksum_mismatch',
  'A module that is not the recorded one may hold code that runs in the build, with the credentials of the build (ATT&CK T1195.001, then T1078.004 and T1580).',
);
