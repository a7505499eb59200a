import type { Detector } from '../detector.js';
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
import { retryStorm } from './retry-storm.js';

/** Every detector, one line each. Order means nothing. */
export const detectors: readonly Detector[] = [
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
  retryStorm,
];
