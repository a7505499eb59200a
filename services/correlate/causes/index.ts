import type { Cause } from '../cause.js';
import { checksumMismatchEnumerates } from './checksum-mismatch-enumerates.js';
import { concealed } from './concealed.js';
import { enumerationPrecedesPurge } from './enumeration-precedes-purge.js';
import { fetchFailureStartsRetryStorm } from './fetch-failure-starts-retry-storm.js';
import { fsyncSlowsApply } from './fsync-slows-apply.js';
import { growthExhaustsTheQuota } from './growth-exhausts-the-quota.js';
import { lostLeaderFailsRequests } from './lost-leader-fails-requests.js';
import { overreachPermitsBulkDelete } from './overreach-permits-bulk-delete.js';
import { overreachPermitsPurge } from './overreach-permits-purge.js';
import { purgeRemovesLogs } from './purge-removes-logs.js';
import { putsGrowTheDatabase } from './puts-grow-the-database.js';
import { putsGrowTheWal } from './puts-grow-the-wal.js';
import { putsRaiseGcPressure } from './puts-raise-gc-pressure.js';
import { putsSlowFsync } from './puts-slow-fsync.js';
import { quotaRefusesRequests } from './quota-refuses-requests.js';
import { retryStormRaisesEtcdPuts } from './retry-storm-raises-etcd-puts.js';
import { slowApplyFailsRequests } from './slow-apply-fails-requests.js';
import { tamperedVendorEnumerates } from './tampered-vendor-enumerates.js';
import { unguardedDeleteEmptiesBucket } from './unguarded-delete-empties-bucket.js';
import { walSlowsFsync } from './wal-slows-fsync.js';
import { weakenedProtectionPermitsPurge } from './weakened-protection-permits-purge.js';

/** Every causal rule, one line each. Order means nothing. */
export const causes: readonly Cause[] = [
  checksumMismatchEnumerates,
  ...concealed,
  enumerationPrecedesPurge,
  fetchFailureStartsRetryStorm,
  fsyncSlowsApply,
  growthExhaustsTheQuota,
  lostLeaderFailsRequests,
  overreachPermitsBulkDelete,
  overreachPermitsPurge,
  purgeRemovesLogs,
  putsGrowTheDatabase,
  putsGrowTheWal,
  putsRaiseGcPressure,
  putsSlowFsync,
  quotaRefusesRequests,
  retryStormRaisesEtcdPuts,
  slowApplyFailsRequests,
  tamperedVendorEnumerates,
  unguardedDeleteEmptiesBucket,
  walSlowsFsync,
  weakenedProtectionPermitsPurge,
];
