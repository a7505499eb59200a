import { answerExamples, etcdFailsRequests } from './etcd-fails-requests.js';

export const lostLeaderFailsRequests = etcdFailsRequests({
  rule: 'lost-leader-fails-requests',
  from: 'etcd.leader_lost',
  within: '1m',
  mechanism:
    'Without a leader nothing is committed: writes wait for the election and fail with Unavailable or `request timed out, possibly due to previous leader failure` (etcd rpctypes).',
  answers: ['leader', 'unavailable', 'timeout'],
  examples: answerExamples('leader', 'quota'),
});
