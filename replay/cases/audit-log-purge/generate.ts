import {
  account,
  after,
  type Call,
  cloudTrailFiles,
  everyday,
  object,
  region,
  session,
  user,
} from '../../generate/cloudtrail.js';
import { type Files, writeWhenRun } from '../../generate/files.js';
import { type Random, random } from '../../generate/random.js';
import { accessLogFiles } from '../../generate/s3-access.js';
import { type Span, traceFiles } from '../../generate/spans.js';

const archive = 'prod-logs-archive';

/** The night in UTC; people of the case read UTC+8. */
const night = {
  errorsFrom: '2024-03-16T18:48:00Z',
  errorSeconds: 11 * 60 + 37,
  scan: '2024-03-16T19:01:04Z',
  purge: '2024-03-16T19:15:02Z',
  noticed: '2024-03-16T21:40:00Z',
};

const runner = '10.22.8.146';
const ci = session('ci-deployer', 'gitlab-runner-8841');
const cli = 'aws-cli/2.15.21 Python/3.11.6 Linux/5.10.205 exe/x86_64.amzn.2';

/** CloudTrail of five days, the traces of one hour, and the archive's access logs of another, as far as S3 delivered them. */
export function files(): Files {
  const chance = random(0x0316);
  const calls = [
    ...everyday(chance, '2024-03-11T00:03:00Z', '2024-03-17T00:00:00Z', 10_800, archive),
    ...settings(),
    ...deployments(chance),
    ...scan(chance),
    ...purge(chance),
    ...aftermath(),
  ];
  const cloudtrail = cloudTrailFiles(calls, chance);
  const logged = { bucket: archive, from: '2024-03-16T18:45:00Z', to: '2024-03-16T19:45:00Z', lost: 0.07 };
  const accessLogs = accessLogFiles(cloudtrail, logged, random(0x53a));
  return new Map([...cloudtrail, ...traceFiles(traffic(chance), 'prod'), ...accessLogs]);
}

/** The trail that records the archive, the alert that never could, and the right that was one too many. */
function settings(): Call[] {
  const terraform = {
    who: session('platform-admin', 'terraform'),
    ip: '192.0.2.10',
    userAgent: 'APN/1.0 HashiCorp/1.0 Terraform/1.7.4',
  };
  return [
    {
      ...terraform,
      at: '2024-03-11T02:20:11Z',
      source: 'cloudtrail.amazonaws.com',
      name: 'PutEventSelectors',
      readOnly: false,
      request: {
        trailName: `arn:aws:cloudtrail:${region}:${account}:trail/prod-trail`,
        eventSelectors: [
          {
            readWriteType: 'All',
            includeManagementEvents: true,
            excludeManagementEventSources: [],
            dataResources: [
              { type: 'AWS::S3::Object', values: [`arn:aws:s3:::${archive}/`, 'arn:aws:s3:::prod-artifacts/'] },
            ],
          },
        ],
      },
    },
    {
      ...terraform,
      at: '2024-03-11T02:20:19Z',
      source: 'logs.amazonaws.com',
      name: 'PutMetricFilter',
      readOnly: false,
      request: {
        logGroupName: 'prod-trail',
        filterName: 'audit-log-deletion',
        filterPattern: '{ ($.eventSource = "s3.amazonaws.com") && ($.eventName = "DeleteObjectVersion") }',
      },
    },
    {
      ...terraform,
      at: '2024-03-13T09:12:44Z',
      source: 'iam.amazonaws.com',
      name: 'PutRolePolicy',
      readOnly: false,
      request: {
        roleName: 'ci-deployer',
        policyName: 'artifact-cleanup',
        policyDocument: JSON.stringify({
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Action: [
                's3:ListBucket',
                's3:ListBucketVersions',
                's3:GetObject',
                's3:PutObject',
                's3:DeleteObjectVersion',
              ],
              Resource: ['arn:aws:s3:::prod-*', 'arn:aws:s3:::prod-*/*'],
            },
          ],
        }),
      },
    },
  ];
}

/** What the role does on every day: a few objects written, one of them overwritten. */
function deployments(chance: Random): Call[] {
  return [11, 12, 13, 14, 15, 16].flatMap((day) => {
    const at = `2024-03-${day}T06:${String(10 + Math.floor(chance.between(0, 40)))}:00Z`;
    const who = session('ci-deployer', `gitlab-runner-${8800 + day}`);
    return [
      assumed(at, `gitlab-runner-${8800 + day}`, '192.0.2.30'),
      ...['app.tar.gz', 'app.sha256', 'latest.txt'].map((name, index) =>
        object({
          at: after(at, 20 + index),
          who,
          ip: '192.0.2.30',
          userAgent: cli,
          name: 'PutObject',
          readOnly: false,
          bucket: 'prod-artifacts',
          key: `builds/${name}`,
        }),
      ),
    ];
  });
}

const assumed = (at: string, name: string, ip: string): Call => ({
  at,
  who: session('gitlab-runner', 'i-0a1b2c3d4e5f60718'),
  ip,
  userAgent: cli,
  source: 'sts.amazonaws.com',
  name: 'AssumeRole',
  readOnly: true,
  request: { roleArn: `arn:aws:iam::${account}:role/ci-deployer`, roleSessionName: name, durationSeconds: 3600 },
  response: { assumedRoleUser: { arn: `arn:aws:sts::${account}:assumed-role/ci-deployer/${name}` } },
});

/** Each service in turn; what the role may read answers, the rest refuses. */
function scan(chance: Random): Call[] {
  const asked: readonly (readonly [source: string, name: string, error?: string])[] = [
    ['sts', 'GetCallerIdentity'],
    ['iam', 'ListRoles', 'AccessDenied'],
    ['iam', 'ListUsers', 'AccessDenied'],
    ['iam', 'GetAccountAuthorizationDetails', 'AccessDenied'],
    ['s3', 'ListBuckets', 'AccessDenied'],
    ['ec2', 'DescribeInstances', 'Client.UnauthorizedOperation'],
    ['ec2', 'DescribeSecurityGroups', 'Client.UnauthorizedOperation'],
    ['rds', 'DescribeDBInstances', 'AccessDenied'],
    ['secretsmanager', 'ListSecrets', 'AccessDeniedException'],
    ['kms', 'ListKeys', 'AccessDeniedException'],
    ['lambda', 'ListFunctions20150331', 'AccessDeniedException'],
    ['cloudtrail', 'DescribeTrails', 'AccessDenied'],
    ['logs', 'DescribeLogGroups', 'AccessDenied'],
  ];
  const from = {
    who: ci,
    ip: runner,
    userAgent: 'Boto3/1.34.51 Python/3.11.6 Linux/5.10.205 Botocore/1.34.51',
    readOnly: true,
  };
  const versions = object({
    ...from,
    at: after(night.scan, 95),
    name: 'ListObjectVersions',
    bucket: archive,
    request: { prefix: 'audit/' },
  });
  return [
    assumed(after(night.scan, -3), 'gitlab-runner-8841', runner),
    ...asked.map(
      ([source, name, error], index): Call => ({
        ...from,
        at: after(night.scan, index * 5 + Math.floor(chance.between(0, 4))),
        source: `${source}.amazonaws.com`,
        name,
        ...(error && { error }),
      }),
    ),
    versions,
  ];
}

/** The versions of 72 hours, one every eight minutes, deleted one by one. */
function purge(chance: Random): Call[] {
  const count = (72 * 60) / 8;
  const first = Date.parse(night.purge) - 72 * 3_600_000;
  return Array.from({ length: count }, (_, index) => {
    const written = new Date(first + index * 480_000).toISOString();
    return object({
      at: after(night.purge, Math.floor(index / 2.6)),
      who: ci,
      ip: runner,
      userAgent: cli,
      name: 'DeleteObject',
      readOnly: false,
      bucket: archive,
      key: `audit/${written.slice(0, 10).replaceAll('-', '/')}/${written.slice(11, 16).replace(':', '')}-api-gateway.json.gz`,
      versionId: chance.hex(16),
    });
  });
}

/** Somebody looks for the night's logs. */
function aftermath(): Call[] {
  const who = { who: user('ada'), ip: '192.0.2.50', userAgent: cli, readOnly: true, bucket: archive };
  return [0, 40, 95].map((seconds) =>
    object({
      ...who,
      at: after(night.noticed, seconds),
      name: 'ListObjects',
      request: { prefix: 'audit/2024/03/16/' },
    }),
  );
}

/** The gateway: a request each two seconds, and 92 in 100 of them refused for 11 min 37 s. */
function traffic(chance: Random): Span[] {
  const [from, bad] = [Date.parse('2024-03-16T18:25:00Z'), Date.parse(night.errorsFrom)];
  const good = bad + night.errorSeconds * 1000;
  return Array.from({ length: (45 * 60) / 2 }, (_, index): Span => {
    const startMs = from + index * 2000 + chance.between(0, 300);
    const failed = startMs >= bad && startMs < good && chance.next() < 0.92;
    return {
      service: 'api-gateway',
      traceId: chance.hex(16),
      spanId: chance.hex(8),
      name: 'GET /v1/orders',
      kind: 'server',
      startMs,
      endMs: startMs + chance.between(4, 30),
      attributes: {
        'http.request.method': 'GET',
        'http.route': '/v1/orders',
        'http.response.status_code': failed ? 503 : 200,
      },
      ...(failed && { error: '' }),
    };
  });
}

writeWhenRun(import.meta.url, 'audit-log-purge', files);
