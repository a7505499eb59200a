import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { account, after, type Call, object, record, region, session, user } from '../../replay/generate/cloudtrail.js';
import { random } from '../../replay/generate/random.js';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import type { CloudTrailRow } from '../../shared/evidence.js';

/** What becomes of a bucket of logs in some days, and what of it CloudTrail tells. */
export interface PurgeStory {
  readonly seed: number;
  /** Versions deleted for good, one by one. */
  readonly versions: number;
  readonly secondsBetween: number;
  /** How many days before the purge the right was granted; null for a right that is not in evidence. */
  readonly grantedDaysBefore: number | null;
  /** A managed policy of the account, whose text came in another record, or one of the role's own. */
  readonly managed: boolean;
  readonly scans: boolean;
  readonly trail: 'stopped' | 'stopped and started' | 'blind' | 'watching' | 'stop refused';
  readonly mfaOff: boolean;
  /** The bucket is another account's: each deletion is in two accounts' trails. */
  readonly copies: boolean;
  /** A pipeline that also empties another bucket. */
  readonly empties: boolean;
  /** One record in so many comes again with another body. */
  readonly conflictEvery: number | null;
}

export function purgeStories(fixed: Partial<PurgeStory> = {}): fc.Arbitrary<PurgeStory> {
  return fc
    .record<PurgeStory>({
      seed: fc.nat(1_000_000),
      versions: fc.integer({ min: 10, max: 60 }),
      secondsBetween: fc.constantFrom(0.2, 1, 7, 45),
      grantedDaysBefore: fc.constantFrom(null, 0, 1, 3),
      managed: fc.boolean(),
      scans: fc.boolean(),
      trail: fc.constantFrom('stopped', 'stopped and started', 'blind', 'watching', 'stop refused'),
      mfaOff: fc.boolean(),
      copies: fc.boolean(),
      empties: fc.boolean(),
      conflictEvery: fc.constantFrom(null, null, 7),
    })
    .map((story) => ({ ...story, ...fixed }));
}

const PURGE = '2024-03-17T03:15:02Z';
const OWNER = '210987654321';
const CI = session('ci-deployer', 'run-1');
const CALLER = { who: CI, ip: '10.22.8.146', userAgent: 'aws-cli/2.15.0', readOnly: false } as const;
const ADMIN = { who: user('ada'), ip: '192.0.2.50', userAgent: 'aws-cli/2.15.0', readOnly: false } as const;

/** All records, in the order of time. The same story always tells the same. */
export function purgeEvidence(story: PurgeStory): CloudTrailRow[] {
  const chance = random(story.seed);
  const calls = [
    ...grant(story),
    ...(story.scans ? scan() : []),
    ...trails(story),
    ...mfa(story),
    ...purge(story),
    ...emptied(story),
  ];
  const records = calls
    .toSorted((a, b) => (a.at < b.at ? -1 : 1))
    .flatMap((call) => {
      const whole = record(call, chance) as Record<string, unknown>;
      const copied = story.copies && call.name === 'DeleteObject';
      if (!copied) return [whole];
      const shared = { ...whole, sharedEventID: chance.hex(16) };
      return [shared, { ...shared, eventID: chance.hex(16), recipientAccountId: OWNER }];
    });
  const every = story.conflictEvery ?? Number.POSITIVE_INFINITY;
  const again = story.conflictEvery === null ? [] : records.filter((_, index) => index % every === 0);
  const text = JSON.stringify({ Records: [...records, ...again.map((one) => ({ ...one, userAgent: 'another' }))] });
  const { rows } = cloudtrail.decode(Buffer.from(text), { origin: 'story', gunzip: (bytes) => gunzipSync(bytes) });
  return rows.toSorted((a, b) => Number(a.eventTimeMicros - b.eventTimeMicros));
}

function grant({ grantedDaysBefore, managed }: PurgeStory): Call[] {
  if (grantedDaysBefore === null) return [];
  const at = after(PURGE, -86_400 * grantedDaysBefore - 40);
  const policyDocument = JSON.stringify({
    Statement: [{ Effect: 'Allow', Action: 's3:Delete*', Resource: 'arn:aws:s3:::*' }],
  });
  const iam = { ...ADMIN, source: 'iam.amazonaws.com' };
  if (!managed)
    return [
      { ...iam, at, name: 'PutRolePolicy', request: { roleName: 'ci-deployer', policyName: 'inline', policyDocument } },
    ];
  const policyArn = `arn:aws:iam::${account}:policy/ci`;
  return [
    { ...iam, at, name: 'AttachRolePolicy', request: { roleName: 'ci-deployer', policyArn } },
    {
      ...iam,
      at: after(at, 20),
      name: 'CreatePolicyVersion',
      request: { policyArn, policyDocument, setAsDefault: true },
    },
  ];
}

function scan(): Call[] {
  const services = ['s3', 'iam', 'ec2', 'rds', 'kms', 'lambda'];
  return services.flatMap((service, index) =>
    ['ListThings', 'DescribeThings', 'GetThings'].map(
      (name, n): Call => ({
        ...CALLER,
        at: after(PURGE, -840 + index * 20 + n),
        source: `${service}.amazonaws.com`,
        name,
        readOnly: true,
        ...(service !== 's3' && n > 0 && { error: 'AccessDenied' }),
      }),
    ),
  );
}

function trails({ trail }: PurgeStory): Call[] {
  const name = `arn:aws:cloudtrail:${region}:${account}:trail/org`;
  const call = { ...CALLER, source: 'cloudtrail.amazonaws.com' };
  const stop: Call = { ...call, at: after(PURGE, -7200), name: 'StopLogging', request: { name } };
  if (trail === 'stop refused') return [{ ...stop, error: 'AccessDenied' }];
  if (trail === 'stopped') return [stop];
  if (trail === 'stopped and started')
    return [stop, { ...call, at: after(PURGE, -3600), name: 'StartLogging', request: { name } }];
  const selectors = (at: string, values: readonly string[]): Call => ({
    ...call,
    at,
    name: 'PutEventSelectors',
    request: {
      trailName: name,
      eventSelectors: [
        { readWriteType: 'All', includeManagementEvents: true, dataResources: [{ type: 'AWS::S3::Object', values }] },
      ],
    },
  });
  const watching = selectors(after(PURGE, -400_000), ['arn:aws:s3']);
  return trail === 'blind' ? [watching, selectors(after(PURGE, -90_000), ['arn:aws:s3:::web/'])] : [watching];
}

function mfa({ mfaOff }: PurgeStory): Call[] {
  if (!mfaOff) return [];
  const request = { bucketName: 'logs', VersioningConfiguration: { Status: 'Enabled', MfaDelete: 'Disabled' } };
  return [{ ...ADMIN, at: after(PURGE, -600), source: 's3.amazonaws.com', name: 'PutBucketVersioning', request }];
}

function purge({ versions, secondsBetween }: PurgeStory): Call[] {
  return Array.from({ length: versions }, (_, index) =>
    object({
      ...CALLER,
      at: after(PURGE, index * secondsBetween),
      name: 'DeleteObject',
      bucket: 'logs',
      key: `audit/2024/03/16/${index}.json.gz`,
      versionId: `v${index}`,
    }),
  );
}

function emptied({ empties }: PurgeStory): Call[] {
  if (!empties) return [];
  return Array.from({ length: 30 }, (_, index) =>
    object({
      ...CALLER,
      at: after(PURGE, 3_000 + index),
      name: 'DeleteObject',
      bucket: 'web',
      key: `${'abc'[Math.floor(index / 10)]}/${index}`,
    }),
  );
}
