import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { ExecutionContext } from 'ava';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import { type Correlated, correlate } from '../../services/correlate/index.js';
import type { Finding, Kind } from '../../shared/finding.js';
import { emptyBatch, openStore } from '../../shared/store/store.js';
import { corpus, testWith } from '../helpers/data.js';
import { temporaryFolder } from '../helpers/store.js';

const NAME = 'CAUSELINE_CORPUS';

async function correlated(t: ExecutionContext, texts: readonly string[]): Promise<Correlated> {
  const store = await openStore(join(temporaryFolder(t), 'records.duckdb'));
  try {
    const batch = emptyBatch();
    for (const text of texts) {
      const { rows } = cloudtrail.decode(Buffer.from(text), { origin: 'corpus', gunzip: (bytes) => gunzipSync(bytes) });
      for (const row of rows) batch.cloudtrail.push({ sourceId: 'corpus', row });
    }
    await store.commit(batch);
    return await correlate(store, { endOfInput: true });
  } finally {
    store.close();
  }
}

const kindsOf = (findings: readonly Finding[]): string[] => findings.map(({ kind }) => kind).sort();

/** Techniques whose traces are in scope, and what must be found of them. The others' records hold no act of these kinds. */
const DETONATIONS: Readonly<Record<string, readonly Kind[]>> = {
  'aws.defense-evasion.cloudtrail-delete': ['audit.logging_impaired'],
  'aws.defense-evasion.cloudtrail-event-selectors': ['audit.blind_spot'],
  'aws.defense-evasion.cloudtrail-stop': ['audit.logging_impaired'],
};

testWith(
  corpus,
  NAME,
  'recorded attack techniques are found where they are in scope, and no other is taken for one',
  async (t, data) => {
    const folder = join(data, 'cloudtrail/stratus_detonations');
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
      const { findings, chains } = await correlated(t, [readFileSync(join(folder, file), 'utf8')]);
      t.deepEqual(kindsOf(findings), [...(DETONATIONS[file.replace('.json', '')] ?? [])], file);
      t.deepEqual(chains, [], file);
    }
  },
);

interface Tried {
  readonly kind: Kind;
  /** What the kind needs beside the rule's one record. */
  readonly given?: (log: Log) => readonly Log[];
}

type Log = Readonly<Record<string, unknown>>;

/** Rules of others about one record each, and the kind of ours that is about the same. */
const TRIED: Readonly<Record<string, Tried>> = {
  'AWS.CloudTrail.EventSelectorsDisabled': { kind: 'audit.blind_spot' },
  'AWS.CloudTrail.Stopped': { kind: 'audit.logging_impaired' },
  'AWS.IAM.AttachAdminRolePolicy': { kind: 'iam.overreach', given: used },
  'AWS.IAM.AttachAdminUserPolicy': { kind: 'iam.overreach', given: used },
  'AWS.S3.DeleteBucketReplication': { kind: 's3.protection_weakened' },
  'AWS.S3.DeleteObject': { kind: 's3.bulk_delete', given: fiftyTimes },
  'AWS.S3.DeletePublicAccessBlock': { kind: 's3.protection_weakened' },
  'AWS.S3.DisableBucketLogging': { kind: 's3.protection_weakened' },
  'AWS.S3.DisableMfaDelete': { kind: 's3.protection_weakened' },
};

/** All other rules, by why no kind of ours is about the same. */
const OUT_OF_SCOPE: Readonly<Record<string, readonly string[]>> = {
  'it is about who signs in, and how: a login is no deviation of a subject that is followed here': [
    'AWS.CloudTrail.PasswordSpraying',
    'AWS.Console.GetSigninToken.Abuse',
    'AWS.Console.LoginWithoutMFA',
    'AWS.Console.LoginWithoutSAML',
    'AWS.Console.RootLoginFailed',
    'AWS.Console.Sign-In',
    'AWS.Suspicious.SAML.Activity',
    'AWS.Unsuccessful.MFA.attempt',
    'Sign-in.with.AWS.CLI.prompt',
    'Standard.ImpossibleTravel.Login',
    'Standard.SignInFromRogueState',
  ],
  'it is about identities, keys and accounts that are made or changed: nothing is granted by it, and rights are found where they are used':
    [
      'AWS.CloudTrail.AttemptToLeaveOrg',
      'AWS.CloudTrail.IAMCompromisedKeyQuarantine',
      'AWS.CloudTrail.IAMEntityCreatedWithoutCloudFormation',
      'AWS.CloudTrail.RootAccessKeyCreated',
      'AWS.IAM.Backdoor.User.Keys',
      'AWS.IAM.BackdoorRole',
      'AWS.IAM.CreateRole',
      'AWS.IAM.CreateUser',
      'AWS.IAM.CredentialsUpdated',
      'AWS.User.Login.Profile.Modified',
      'Standard.NewAWSAccountCreated',
      'Standard.NewUserAccountCreated',
    ],
  'any change of a policy alerts there; here a change is a fact, and its use a finding': ['AWS.IAM.PolicyModified'],
  'it alerts on whoever makes one call (root, a key, an unused region, a service that assumes a role, an address of a list)':
    [
      'AWS.CloudTrail.EnableRegion',
      'AWS.CloudTrail.IMDSCredentialExfiltration',
      'AWS.CloudTrail.UserAccessKeyAuth',
      'AWS.CloudTrail.VPCE.ExternalPrincipal',
      'AWS.CloudTrail.VPCE.SensitiveAPICalls',
      'AWS.Root.Activity',
      'AWS.STS.GetSessionToken.Misuse',
      'AWS.UnusedRegion',
      'Role.Assumed.by.AWS.Service',
      'Standard.OTX.MaliciousIndicator',
    ],
  'one call that looks around, or one that was refused: an enumeration is many services in minutes': [
    'AWS.CloudTrail.Account.Discovery',
    'AWS.CloudTrail.Password.Policy.Discovery',
    'AWS.CloudTrail.SES.CheckIdentityVerifications',
    'AWS.CloudTrail.SES.CheckSESSendingEnabled',
    'AWS.CloudTrail.SES.CheckSendQuota',
    'AWS.CloudTrail.SES.ListIdentities',
    'AWS.CloudTrail.UnauthorizedAPICall',
    'AWS.IAM.Group.Read.Only.Events',
    'AWS.STS.GetCallerIdentity.TruffleHog',
    'AWS.Software.Discovery',
  ],
  'secrets and parameters that are read are no kind here': [
    'AWS.SSM.DecryptSSMParams',
    'AWS.SecretsManager.BatchRetrieveSecrets',
    'AWS.SecretsManager.RetrieveSecretsMultiRegion',
  ],
  'logs and findings of other services than CloudTrail': [
    'AWS.Bedrock.DeleteModelInvocationLoggingConfiguration',
    'AWS.CloudTrail.DNSLogsDeleted',
    'AWS.ConfigService.Created',
    'AWS.ConfigService.DisabledDeleted',
    'AWS.SecurityHub.Finding.Evasion',
    'AWS.VPCFlow.LogsDeleted',
  ],
  'S3 deletes a bucket only when it is empty: what emptied it is found': ['AWS.S3.BucketDeleted'],
  'copies of objects, and objects that are written, are no kind here': [
    'AWS.S3.CopyObject.CrossAccount.Encryption.KMS',
    'AWS.S3.CopyObjectToExternalAccountBucket',
    'AWS.S3.CopyObjectWithClientSideEncryption',
    'AWS.S3.RansomwareNoteUpload',
  ],
  'another service, whose settings and objects are no subject here': [
    'AWS.CloudTrail.AMIModifiedForPublicAccess',
    'AWS.CloudTrail.CodebuildProjectMadePublic',
    'AWS.CloudTrail.SnapshotMadePublic',
    'AWS.EC2.GatewayModified',
    'AWS.EC2.LaunchUnusualEC2Instances',
    'AWS.EC2.Monitoring',
    'AWS.EC2.MultiInstanceConnect',
    'AWS.EC2.RouteTableModified',
    'AWS.EC2.SecurityGroupModified',
    'AWS.EC2.Startup.Script.Change',
    'AWS.EC2.StopInstances',
    'AWS.EC2.VPCModified',
    'AWS.EC2.Vulnerable.XZ.Image.Launched',
    'AWS.ECR.CRUD',
    'AWS.ECR.EVENTS',
    'AWS.IPSet.Modified',
    'AWS.LAMBDA.CRUD',
    'AWS.Lambda.UpdateFunctionCode',
    'AWS.Lambda.UpdateFunctionConfiguration',
    'AWS.Potential.Backdoor.Lambda',
    'AWS.RDS.AutomatedBackupDeleted',
    'AWS.RDS.ClusterFailover',
    'AWS.RDS.IAMRoleAdded',
    'AWS.RDS.InstanceDeletion',
    'AWS.RDS.InstanceMadePublic',
    'AWS.RDS.InstanceRebooted',
    'AWS.RDS.LogFileDownloaded',
    'AWS.RDS.PublicRestore',
    'AWS.RDS.SecurityGroupIngressAuthorized',
    'AWS.RDS.SnapshotCopiedCrossRegion',
    'AWS.RDS.SnapshotExport',
    'AWS.RDS.SnapshotShared',
    'AWS.WAF.Disassociation',
  ],
};

/** An overreach begins when the right is used: whoever got the policy deletes a version afterwards. */
function used(log: Log): Log[] {
  const { roleName, userName } = log['requestParameters'] as Readonly<Record<string, string | undefined>>;
  const arn = `arn:aws:iam::123456789012:${roleName === undefined ? `user/${userName}` : `role/${roleName}`}`;
  const session = { type: 'AssumedRole', arn: `${arn}/run`, sessionContext: { sessionIssuer: { arn } } };
  const deletion = {
    ...log,
    eventID: 'a use of it',
    eventTime: '2024-01-16T10:45:23Z',
    eventSource: 's3.amazonaws.com',
    eventName: 'DeleteObject',
    userIdentity: roleName === undefined ? { type: 'IAMUser', arn } : session,
    requestParameters: { bucketName: 'logs', key: 'a', versionId: 'v1' },
    responseElements: null,
  };
  return [log, deletion];
}

/** That rule alerts on the fiftieth of such a record. */
function fiftyTimes(log: Log): Log[] {
  return Array.from({ length: 50 }, (_, index) => ({
    ...log,
    eventID: `number ${index}`,
    sharedEventID: undefined,
    requestParameters: { ...(log['requestParameters'] as object), key: `object-${index}` },
  }));
}

interface RuleTest {
  readonly rule: string;
  readonly test: string;
  readonly expected: boolean;
  readonly log: Log;
}

const ruleTests = (data: string): RuleTest[] =>
  readFileSync(join(data, 'cloudtrail/panther_rule_tests/tests.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RuleTest);

testWith(corpus, NAME, 'each published rule is tried, or listed with why no kind is about the same', (t, data) => {
  const listed = Object.values(OUT_OF_SCOPE).flat();
  const accounted = [...Object.keys(TRIED), ...listed].sort();
  t.deepEqual([...new Set(accounted)], accounted, 'none stands twice');
  t.deepEqual(accounted, [...new Set(ruleTests(data).map(({ rule }) => rule))].sort());
});

testWith(
  corpus,
  NAME,
  'published rule tests have the outcome that they expect, where a kind is about the same',
  async (t, data) => {
    for (const { rule, test, expected, log } of ruleTests(data)) {
      const tried = TRIED[rule];
      if (!tried) continue;
      const record = { ...log, eventTime: '2024-01-15T10:45:23Z' }; // some of them are written as no record is
      const given = tried.given?.(record) ?? [record];
      const { findings } = await correlated(
        t,
        given.map((one) => JSON.stringify(one)),
      );
      t.is(kindsOf(findings).includes(tried.kind), expected, `${rule}: ${test}`);
    }
  },
);

testWith(
  corpus,
  NAME,
  'of 2,900 real records the failed StopLogging calls impair nothing, and no chain is made up',
  async (t, data) => {
    const folder = join(data, 'cloudtrail/invictus_stratus');
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    const { findings, chains } = await correlated(
      t,
      files.map((name) => readFileSync(join(folder, name), 'utf8')),
    );
    t.deepEqual(chains, []);
    const impaired = findings.filter(({ kind }) => kind === 'audit.logging_impaired');
    t.deepEqual(
      impaired.map(({ measured }) => measured['how']),
      impaired.map(() => 'deleted the trail'),
    );
    const [blind] = findings.filter(({ kind }) => kind === 'audit.blind_spot');
    t.regex(JSON.stringify(blind?.measured['until']), /2023-07-10T12:07:49/);
    t.log(kindsOf(findings).join(', '));
  },
);
