import { overreachPermits } from './overreach-permits.js';

export const overreachPermitsPurge = overreachPermits({
  rule: 'overreach-permits-purge',
  to: 's3.version_purge',
  action: 's3:DeleteObjectVersion',
  mechanism:
    'Deleting a version needs s3:DeleteObjectVersion on it: without the policy that grants it each call is refused (S3 user guide, "Required permissions for S3 API operations").',
});
