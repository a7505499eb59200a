import { answerExamples, etcdFailsRequests } from './etcd-fails-requests.js';

export const quotaRefusesRequests = etcdFailsRequests({
  rule: 'quota-refuses-requests',
  from: 'etcd.quota_exhausted',
  within: '1m',
  mechanism:
    'Beyond the quota every put is refused with gRPC ResourceExhausted, and a service that must write answers 5xx (etcd NOSPACE alarm).',
  answers: ['quota', 'resource_exhausted'],
  examples: answerExamples('quota', 'timeout'),
});
