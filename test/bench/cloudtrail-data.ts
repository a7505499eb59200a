import type { DataFile } from './case-folders.js';
import type { Chance } from './chance.js';

const FILE_RECORDS = 1_000;
const ACCOUNT_ID = '123456789012';
const DAY_MS = Date.UTC(2026, 10, 22);
const RECORDS_PER_SECOND = 20;

/** Of all records the share that findings are made of one by one: what deletes, or changes what may be done. */
export interface Acts {
  readonly deletions: number;
  readonly rights: number;
}

/**
 * Together the 22 in 1,000 that stand in the corpus: of 2,900 records of an account in which attacks were played through, 64 delete, or change rights, trails or
 * buckets.
 */
export const ACCOUNT: Acts = { deletions: 0.01, rights: 0.012 };

/** A purge for as long as the data last: each tenth record deletes a version. */
export const PURGE: Acts = { deletions: 0.103, rights: 0.03 };

/**
 * CloudTrail log files as S3 gets them, oldest first: mostly data events of S3 beside what an account does all day. Of five
 * files one is another region's, which sorts before the first one's: its times are offered to the store while it is
 * empty there, the other's when it is not.
 */
export function* cloudTrailFiles(chance: Chance, records: number, acts = ACCOUNT): Generator<DataFile> {
  for (let file = 0; file < records / FILE_RECORDS; file++) {
    const region = file % 5 === 4 ? 'eu-west-1' : 'us-east-1';
    const startMs = DAY_MS + (file * FILE_RECORDS * 1000) / RECORDS_PER_SECOND;
    const listed: string[] = [];
    for (let i = 0; i < FILE_RECORDS; i++) {
      const atMs = startMs + (i * 1000) / RECORDS_PER_SECOND;
      listed.push(JSON.stringify(record(chance, acts, region, second(atMs))));
    }
    yield { path: pathOf(chance, region, startMs), text: `{"Records":[${listed.join(',')}]}` };
  }
}

const second = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`;

function pathOf(chance: Chance, region: string, ms: number): string {
  const [day, time] = new Date(ms).toISOString().slice(0, 19).split('T') as [string, string];
  const stamp = `${day.replaceAll('-', '')}T${time.replaceAll(':', '')}Z`;
  const folder = `cloudtrail/AWSLogs/${ACCOUNT_ID}/CloudTrail/${region}/${day.replaceAll('-', '/')}`;
  return `${folder}/${ACCOUNT_ID}_CloudTrail_${region}_${stamp}_${chance.hex(16)}.json.gz`;
}

type Json = Record<string, unknown>;

function record(chance: Chance, { deletions, rights }: Acts, region: string, eventTime: string): Json {
  const common = {
    eventTime,
    awsRegion: region,
    sourceIPAddress: `10.${Math.floor(chance.between(0, 4))}.${Math.floor(chance.between(0, 250))}.17`,
    requestID: chance.hex(16).toUpperCase(),
    eventID: uuid(chance),
  };
  const drawn = chance.next();
  if (drawn < deletions) return s3(chance, common, 'DeleteObject');
  if (drawn < deletions + rights) return putRolePolicy(chance, common);
  const usual = chance.next();
  if (usual < 0.72) return s3(chance, common, chance.of(CALLS));
  if (usual < 0.83) return assumeRole(chance, common);
  if (usual < 0.94) return describeInstances(chance, common);
  return decrypt(chance, common);
}

function uuid(chance: Chance): string {
  const hex = chance.hex(32);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
}

function envelope(common: Json, identity: Json, own: Json, data = false): Json {
  const { eventTime, awsRegion, sourceIPAddress, requestID, eventID } = common;
  const { eventSource, eventName, userAgent, requestParameters, responseElements, ...rest } = own;
  return {
    eventVersion: '1.11',
    userIdentity: identity,
    eventTime,
    eventSource,
    eventName,
    awsRegion,
    sourceIPAddress,
    userAgent,
    ...('errorCode' in rest && { errorCode: rest.errorCode, errorMessage: rest.errorMessage }),
    requestParameters,
    responseElements,
    ...rest,
    requestID,
    eventID,
    eventType: 'AwsApiCall',
    managementEvent: !data,
    recipientAccountId: ACCOUNT_ID,
    eventCategory: data ? 'Data' : 'Management',
    tlsDetails: {
      tlsVersion: 'TLSv1.3',
      cipherSuite: 'TLS_AES_128_GCM_SHA256',
      clientProvidedHostHeader: `${String(eventSource).split('.')[0]}.${String(awsRegion)}.amazonaws.com`,
    },
  };
}

const ROLES = ['ci-deployer', 'orders-api', 'catalog-import', 'log-shipper', 'backup', 'analytics'] as const;

function assumedRole(chance: Chance, eventTime: unknown): Json {
  const role = chance.of(ROLES);
  const id = `AROA${role.toUpperCase().replaceAll('-', '').padEnd(16, 'X').slice(0, 16)}`;
  const session = `${role}-${Math.floor(chance.between(0, 400))}`;
  return {
    type: 'AssumedRole',
    principalId: `${id}:${session}`,
    arn: `arn:aws:sts::${ACCOUNT_ID}:assumed-role/${role}/${session}`,
    accountId: ACCOUNT_ID,
    accessKeyId: `ASIA${chance.hex(16).toUpperCase()}`,
    sessionContext: {
      sessionIssuer: {
        type: 'Role',
        principalId: id,
        arn: `arn:aws:iam::${ACCOUNT_ID}:role/${role}`,
        accountId: ACCOUNT_ID,
        userName: role,
      },
      attributes: { creationDate: `${String(eventTime).slice(0, 14)}00:00Z`, mfaAuthenticated: 'false' },
    },
  };
}

const BUCKETS = ['prod-logs-archive', 'prod-orders', 'prod-catalog-images', 'staging-uploads'] as const;
const CALLS = ['GetObject', 'GetObject', 'GetObject', 'PutObject', 'PutObject', 'HeadObject'] as const;

function s3(chance: Chance, common: Json, eventName: (typeof CALLS)[number] | 'DeleteObject'): Json {
  const bucketName = chance.of(BUCKETS);
  const key = `app/2026/11/22/${chance.hex(24)}.json.gz`;
  const versionId = eventName === 'DeleteObject' || chance.next() < 0.1 ? chance.hex(32) : undefined;
  const denied = chance.next() < 0.02;
  const host = `${bucketName}.s3.${String(common.awsRegion)}.amazonaws.com`;
  const requestParameters = { bucketName, Host: host, key, ...(versionId && { versionId }) };
  const own = {
    eventSource: 's3.amazonaws.com',
    eventName,
    userAgent: '[aws-sdk-go-v2/1.41.0 os/linux lang/go#1.25.3 md/GOOS#linux md/GOARCH#amd64 api/s3#1.88.4]',
    ...(denied && { errorCode: 'AccessDenied', errorMessage: 'Access Denied' }),
    requestParameters,
    responseElements: eventName === 'PutObject' ? { 'x-amz-version-id': chance.hex(32) } : null,
    additionalEventData: {
      SignatureVersion: 'SigV4',
      CipherSuite: 'TLS_AES_128_GCM_SHA256',
      bytesTransferredIn: eventName === 'PutObject' ? Math.floor(chance.between(200, 90_000)) : 0,
      AuthenticationMethod: 'AuthHeader',
      'x-amz-id-2': Buffer.from(chance.hex(56)).toString('base64'),
      bytesTransferredOut: Math.floor(chance.between(0, 90_000)),
    },
    readOnly: eventName === 'GetObject' || eventName === 'HeadObject',
    resources: [
      { type: 'AWS::S3::Object', ARN: `arn:aws:s3:::${bucketName}/${key}` },
      { accountId: ACCOUNT_ID, type: 'AWS::S3::Bucket', ARN: `arn:aws:s3:::${bucketName}` },
    ],
  };
  return envelope(common, assumedRole(chance, common.eventTime), own, true);
}

function assumeRole(chance: Chance, common: Json): Json {
  const role = chance.of(ROLES);
  const roleSessionName = `${role}-${Math.floor(chance.between(0, 400))}`;
  const roleArn = `arn:aws:iam::${ACCOUNT_ID}:role/${role}`;
  const own = {
    eventSource: 'sts.amazonaws.com',
    eventName: 'AssumeRole',
    userAgent: 'ecs.amazonaws.com',
    requestParameters: {
      roleArn,
      roleSessionName,
      durationSeconds: 3600,
      tags: [
        { key: 'team', value: 'platform' },
        { key: 'pipeline', value: `deploy-${Math.floor(chance.between(0, 40))}` },
      ],
      transitiveTagKeys: ['team'],
    },
    responseElements: {
      credentials: {
        accessKeyId: `ASIA${chance.hex(16).toUpperCase()}`,
        sessionToken: chance.hex(256),
        expiration: 'Nov 22, 2026, 11:59:59 PM',
      },
      assumedRoleUser: {
        assumedRoleId: `AROAXXXXXXXXXXXXXXXX:${roleSessionName}`,
        arn: `arn:aws:sts::${ACCOUNT_ID}:assumed-role/${role}/${roleSessionName}`,
      },
    },
    resources: [{ accountId: ACCOUNT_ID, type: 'AWS::IAM::Role', ARN: roleArn }],
    sharedEventID: uuid(chance),
    readOnly: true,
  };
  return envelope(common, { type: 'AWSService', invokedBy: 'ecs.amazonaws.com' }, own);
}

function describeInstances(chance: Chance, common: Json): Json {
  const limited = chance.next() < 0.05;
  const own = {
    eventSource: 'ec2.amazonaws.com',
    eventName: 'DescribeInstances',
    userAgent: 'Boto3/1.41.2 md/Botocore#1.41.2 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.13.9',
    ...(limited && { errorCode: 'Client.RequestLimitExceeded', errorMessage: 'Request limit exceeded.' }),
    requestParameters: {
      maxResults: 1000,
      instancesSet: { items: Array.from({ length: 8 }, () => ({ instanceId: `i-0${chance.hex(16)}` })) },
      filterSet: {
        items: [
          { name: 'instance-state-name', valueSet: { items: [{ value: 'running' }, { value: 'pending' }] } },
          { name: 'tag:team', valueSet: { items: [{ value: 'platform' }] } },
        ],
      },
    },
    responseElements: null,
    readOnly: true,
  };
  return envelope(common, assumedRole(chance, common.eventTime), own);
}

function decrypt(chance: Chance, common: Json): Json {
  const key = `arn:aws:kms:${String(common.awsRegion)}:${ACCOUNT_ID}:key/${uuid(chance)}`;
  const own = {
    eventSource: 'kms.amazonaws.com',
    eventName: 'Decrypt',
    userAgent: 'secretsmanager.amazonaws.com',
    requestParameters: {
      encryptionAlgorithm: 'SYMMETRIC_DEFAULT',
      keyId: key,
      encryptionContext: {
        SecretARN: `arn:aws:secretsmanager:${String(common.awsRegion)}:${ACCOUNT_ID}:secret:orders/db-${chance.hex(8)}`,
        SecretVersionId: uuid(chance),
      },
    },
    responseElements: null,
    resources: [{ accountId: ACCOUNT_ID, type: 'AWS::KMS::Key', ARN: key }],
    readOnly: true,
  };
  return envelope(common, assumedRole(chance, common.eventTime), own);
}

function putRolePolicy(chance: Chance, common: Json): Json {
  const name = `svc-${chance.hex(8)}`;
  const policy = {
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Action: ['s3:GetObject', 's3:PutObject'], Resource: [`arn:aws:s3:::${chance.of(BUCKETS)}/*`] },
      { Effect: 'Allow', Action: ['kms:Decrypt', 'kms:GenerateDataKey'], Resource: '*', Sid: `Keys${chance.hex(8)}` },
    ],
  };
  const own = {
    eventSource: 'iam.amazonaws.com',
    eventName: 'PutRolePolicy',
    userAgent: 'APN/1.0 HashiCorp/1.0 Terraform/1.13.5 (+https://www.terraform.io) terraform-provider-aws/6.21.0',
    requestParameters: { roleName: name, policyName: 'inline', policyDocument: JSON.stringify(policy, null, 1) },
    responseElements: null,
    readOnly: false,
  };
  return envelope(common, assumedRole(chance, common.eventTime), own);
}
