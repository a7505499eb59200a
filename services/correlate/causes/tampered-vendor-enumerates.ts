import { poisonedBuildEnumerates } from './poisoned-build-enumerates.js';

export const tamperedVendorEnumerates = poisonedBuildEnumerates(
  'tampered-vendor-enumerates',
  'vendor.tampered',
  'Code that was put into vendor/ runs in the build and in what is built, with their credentials (ATT&CK T1195.001, then T1078.004 and T1580).',
);
