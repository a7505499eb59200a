import type { Detector } from '../detector.js';
import { accessEnumeration } from './access-enumeration.js';
import { auditBlindSpot } from './audit-blind-spot.js';
import { auditLogGap } from './audit-log-gap.js';
import { auditLoggingImpaired } from './audit-logging-impaired.js';
import { etcdDbGrowth } from './etcd-db-growth.js';
import { etcdLeaderLost } from './etcd-leader-lost.js';
import { etcdPutSurge } from './etcd-put-surge.js';
import { etcdQuotaExhausted } from './etcd-quota-exhausted.js';
import { etcdSlowApply } from './etcd-slow-apply.js';
import { etcdSlowFsync } from './etcd-slow-fsync.js';
import { etcdSpaceAmplification } from './etcd-space-amplification.js';
import { etcdWalGrowth } from './etcd-wal-growth.js';
import { goChecksumMismatch } from './go-checksum-mismatch.js';
import { goGcPressure } from './go-gc-pressure.js';
import { goModuleFetchFailure } from './go-module-fetch-failure.js';
import { httpErrorBurst } from './http-error-burst.js';
import { iamOverreach } from './iam-overreach.js';
import { pipelineUnguardedDelete } from './pipeline-unguarded-delete.js';
import { retryStorm } from './retry-storm.js';
import { s3AclChange } from './s3-acl-change.js';
import { s3BulkDelete } from './s3-bulk-delete.js';
import { s3ProtectionWeakened } from './s3-protection-weakened.js';
import { s3VersionPurge } from './s3-version-purge.js';
import { vendorTampered } from './vendor-tampered.js';

/** Every detector, one line each. Order means nothing. */
export const detectors: readonly Detector[] = [
  accessEnumeration,
  auditBlindSpot,
  auditLogGap,
  auditLoggingImpaired,
  etcdDbGrowth,
  etcdLeaderLost,
  etcdPutSurge,
  etcdQuotaExhausted,
  etcdSlowApply,
  etcdSlowFsync,
  etcdSpaceAmplification,
  etcdWalGrowth,
  goChecksumMismatch,
  goGcPressure,
  goModuleFetchFailure,
  httpErrorBurst,
  iamOverreach,
  pipelineUnguardedDelete,
  retryStorm,
  s3AclChange,
  s3BulkDelete,
  s3ProtectionWeakened,
  s3VersionPurge,
  vendorTampered,
];
