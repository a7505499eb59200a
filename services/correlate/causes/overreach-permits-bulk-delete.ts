import { overreachPermits } from './overreach-permits.js';

export const overreachPermitsBulkDelete = overreachPermits({
  rule: 'overreach-permits-bulk-delete',
  to: 's3.bulk_delete',
  action: 's3:DeleteObject',
  mechanism:
    'Deleting an object needs s3:DeleteObject on it: without the policy that grants it each call is refused (S3 user guide, "Required permissions for S3 API operations").',
});
