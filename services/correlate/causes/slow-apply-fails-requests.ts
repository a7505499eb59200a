import { answerExamples, etcdFailsRequests } from './etcd-fails-requests.js';

export const slowApplyFailsRequests = etcdFailsRequests({
  rule: 'slow-apply-fails-requests',
  from: 'etcd.slow_apply',
  within: '1m',
  mechanism:
    'A write is answered after it was applied: when applies wait, clients run into their deadlines (`etcdserver: request timed out`), and beyond 5,000 waiting entries etcd answers `too many requests` (etcd server/etcdserver/v3_server.go).',
  answers: ['timeout', 'too_many_requests'],
  examples: answerExamples('timeout', 'quota'),
});
