import type { FindingRow } from './read.js';

/** A filter that alerts on CloudTrail's records, as the record that put it says. */
export interface AlertFilter {
  readonly event_name: string;
  readonly at: string;
  readonly name: string;
  readonly pattern: string;
}

/** What the evidence says of a story that is told of such a finding. */
export interface Statement {
  readonly supports: boolean;
  readonly says: string;
}

type Told = Pick<FindingRow, 'kind' | 'subject' | 'measured' | 'started_at'>;

/**
 * Stories that are told of deletions, and what is in evidence for or against them. Each rests on how the service works (S3 user guide, AWS CLI reference,
 * CloudTrail user guide), and is said only beside the finding that it is about. Pure.
 */
export function contradictions(findings: readonly Told[], filters: readonly AlertFilter[]): Statement[] {
  return findings.flatMap((finding) => (ABOUT[finding.kind] ?? []).flatMap((tell) => tell(finding, filters) ?? []));
}

type Teller = (finding: Told, filters: readonly AlertFilter[]) => Statement | undefined;

const ABOUT: Partial<Readonly<Record<FindingRow['kind'], readonly Teller[]>>> = {
  's3.version_purge': [permanent, recursiveRemove, mfaDelete, alertOnWrongName],
  's3.bulk_delete': [recoverable],
  'iam.overreach': [grantedBefore, simulatedBefore],
};

const supported = (says: string): Statement => ({ supports: true, says });
const contradicted = (says: string): Statement => ({ supports: false, says });

function permanent({ subject, measured }: Told): Statement {
  return supported(
    `${number(measured['versions'])} calls of DeleteObject named a version of an object in ${subject.slice(7)}: those versions are gone for good, but for replicas and backups.`,
  );
}

function recursiveRemove({ subject, measured }: Told): Statement {
  return contradicted(
    `\`aws s3 rm --recursive\` cannot have done it: it sends DeleteObject without a version, which leaves delete markers in a versioned bucket (and it has no --force). Somebody listed the versions of ${subject.slice(7)} and deleted each by its id${
      agents(measured) ? `, with ${agents(measured)}` : ''
    }.`,
  );
}

function mfaDelete({ measured }: Told): Statement | undefined {
  const says = mfaDeleteWasOff(measured['principal']);
  return says === undefined ? undefined : contradicted(says);
}

/** What it proves that a principal, an ARN, deleted a version; undefined for the root user, and for whom another id names. */
export function mfaDeleteWasOff(principal: unknown): string | undefined {
  if (typeof principal !== 'string' || !principal.startsWith('arn:') || principal.endsWith(':root')) return undefined;
  return `MFA Delete was not on: where it is, only the root user can delete a version, and ${principal} is not the root user.`;
}

function alertOnWrongName(_: Told, filters: readonly AlertFilter[]): Statement | undefined {
  const wrong = filters.find(
    ({ pattern }) => /\bDeleteObjectVersion\b/.test(pattern) && !/\bDeleteObjects?\b/.test(pattern),
  );
  return (
    wrong &&
    contradicted(
      `The alert '${wrong.name}' (${wrong.event_name} at ${wrong.at}) need not have been switched off to stay silent: it waits for an event named DeleteObjectVersion, which is an IAM action. CloudTrail writes DeleteObject with requestParameters.versionId, and recorded each of these.`,
    )
  );
}

function recoverable({ subject }: Told): Statement {
  return supported(
    `Where ${subject.slice(7)} is versioned, what was deleted without a version is hidden by delete markers, and comes back when those are removed.`,
  );
}

function grantedBefore({ measured }: Told): Statement | undefined {
  if (typeof measured['granted_at'] !== 'string') return undefined;
  return supported(
    `The right was there before: policy ${text(measured['policy'])} allows ${text(measured['action'])} since ${text(measured['granted_at'])}, put by ${text(measured['granted_by'])}.`,
  );
}

/** What IAM's simulator had been asked says nothing of policies that were given no value for their conditions. */
function simulatedBefore({ measured }: Told): Statement | undefined {
  const said = [measured['simulated']].flat().filter((one): one is string => typeof one === 'string');
  if (said.length === 0) return undefined;
  return supported(
    `SimulatePrincipalPolicy had been asked before the first use: ${text(measured['action'])} was ${said.join('; ')}. It says what was allowed then.`,
  );
}

const agents = (measured: Told['measured']): string =>
  [measured['user_agents']]
    .flat()
    .filter((one): one is string => typeof one === 'string')
    .map((agent) => agent.split(' ')[0])
    .join(', ');

const text = (value: unknown): string => (typeof value === 'string' ? value : 'unknown');
const number = (value: unknown): string => (typeof value === 'number' ? String(value) : 'Many');
