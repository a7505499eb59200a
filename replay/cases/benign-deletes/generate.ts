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

const archive = 'prod-logs-archive';
const cli = 'aws-cli/2.15.21 Python/3.11.6 Linux/5.10.205 exe/x86_64.amzn.2';

/** Six days in which things are deleted, and nothing is wrong. */
export function files(): Files {
  const chance = random(0x0be9);
  const calls = [
    ...everyday(chance, '2024-03-11T00:03:00Z', '2024-03-17T00:00:00Z', 10_800, archive),
    ...lifecycle(),
    ...tenVersions(chance),
    ...failedStops(),
    ...audits(),
  ];
  return cloudTrailFiles(calls, chance);
}

/** Logs expire after a year. What the rule deletes is in no record of CloudTrail. */
function lifecycle(): Call[] {
  return [
    {
      at: '2024-03-12T08:00:05Z',
      who: session('platform-admin', 'terraform'),
      ip: '192.0.2.10',
      userAgent: 'APN/1.0 HashiCorp/1.0 Terraform/1.7.4',
      source: 's3.amazonaws.com',
      name: 'PutBucketLifecycle',
      readOnly: false,
      request: {
        bucketName: archive,
        LifecycleConfiguration: {
          Rule: {
            ID: 'expire',
            Status: 'Enabled',
            Filter: { Prefix: '' },
            Expiration: { Days: 365 },
            NoncurrentVersionExpiration: { NoncurrentDays: 90 },
          },
        },
      },
    },
  ];
}

/** An administrator, with the right to do everything, removes a file with customer data in all its versions. */
function tenVersions(chance: Random): Call[] {
  const ada = { who: user('ada'), ip: '192.0.2.50', userAgent: cli, readOnly: false };
  const granted: Call = {
    ...ada,
    who: user('root-admin'),
    at: '2024-03-11T07:30:00Z',
    source: 'iam.amazonaws.com',
    name: 'AttachUserPolicy',
    request: { userName: 'ada', policyArn: 'arn:aws:iam::aws:policy/AdministratorAccess' },
  };
  const deleted = Array.from({ length: 10 }, (_, index) =>
    object({
      ...ada,
      at: after('2024-03-14T10:15:00Z', index * 6),
      name: 'DeleteObject',
      bucket: archive,
      key: 'audit/2024/03/10/20240310T0403Z-4.json.gz',
      versionId: chance.hex(16),
    }),
  );
  return [granted, ...deleted];
}

/** A clean-up script tries to stop trails: it may not, and one is not there. */
function failedStops(): Call[] {
  const stop = {
    who: session('sandbox-cleaner', 'nightly'),
    ip: '192.0.2.60',
    userAgent: 'Boto3/1.34.51',
    source: 'cloudtrail.amazonaws.com',
    name: 'StopLogging',
    readOnly: false,
  };
  return [
    {
      ...stop,
      at: '2024-03-13T01:00:10Z',
      error: 'AccessDenied',
      request: { name: `arn:aws:cloudtrail:${region}:${account}:trail/prod-trail` },
    },
    { ...stop, at: '2024-03-13T01:00:12Z', error: 'TrailNotFoundException', request: { name: 'sandbox-trail' } },
  ];
}

/** The auditor's role looks at everything each morning; since the 15th an organisation's policy refuses it a part. */
function audits(): Call[] {
  const services = ['s3', 'iam', 'ec2', 'rds', 'kms', 'lambda', 'cloudtrail', 'logs'] as const;
  return [11, 12, 13, 14, 15, 16].flatMap((day) =>
    services.flatMap((service, index) =>
      ['ListTags', 'DescribeAll', 'GetPolicy'].map(
        (name, n): Call => ({
          at: after(`2024-03-${day}T05:00:00Z`, index * 12 + n * 3),
          who: session('security-audit', 'daily'),
          ip: '192.0.2.70',
          userAgent: 'Boto3/1.34.51',
          source: `${service}.amazonaws.com`,
          name: `${name}${service.toUpperCase()}`,
          readOnly: true,
          ...(day >= 15 && index % 2 === 1 && n < 2 && { error: 'AccessDenied' }),
        }),
      ),
    ),
  );
}

writeWhenRun(import.meta.url, 'benign-deletes', files);
