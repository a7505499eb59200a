import type { Denial } from './denials.js';
import type { Statement } from './iam-policy.js';
import type { Selectors } from './selectors.js';

/** One CloudTrail record that a detector reads by itself: it deletes, or changes what may be done, seen or kept. */
export interface Act {
  readonly type: 'act';
  /** Event time, cut to the second by CloudTrail: within a second nothing is ordered. */
  readonly atMicros: number;
  /** The same for copies of one event in two accounts (sharedEventID): they count once. */
  readonly identity: string;
  /** The IAM action that was checked, e.g. `s3:DeleteObjectVersion`. */
  readonly action: string;
  readonly eventName: string;
  /** Why it failed: such a call changed nothing. */
  readonly error: string | null;
  readonly who: Who;
  readonly bucket: string | null;
  readonly key: string | null;
  readonly detail: Detail | null;
  /** Of DeleteObjects, and of deletions that the service recorded in its course (bulk-calls.ts); else null. */
  readonly request: string | null;
  readonly evidenceId: string;
}

/** Who made a call, and from where. */
export interface Who {
  /** Whose rights were used: the session's issuer for assumed roles, else the caller itself. */
  readonly principal: string;
  /** `userIdentity.arn`: for assumed roles the session. */
  readonly caller: string;
  /** An address, or the name of the service that called. */
  readonly source: string | null;
  readonly userAgent: string | null;
  readonly account: string | null;
}

/** What of the request matters beyond its columns. */
export type Detail = PolicyChange | PolicyText | Membership | Boundary | TrailChange | BucketChange;

/** An identity policy of a role, user or group that was put, attached, detached or deleted. */
export interface PolicyChange {
  readonly of: 'policy';
  readonly change: 'grant' | 'revoke';
  /** The group that has it; null for one of the principal's own. */
  readonly group: string | null;
  /** Name of an inline policy, ARN of a managed one. */
  readonly policy: string;
  /** Of an inline policy: the statements that matter (iam-policy.ts); null where they are another policy's, or cannot be read. */
  readonly statements: readonly Statement[] | null;
}

/** A user joins a group or leaves it. */
export interface Membership {
  readonly of: 'membership';
  readonly change: 'join' | 'leave';
  readonly group: string;
}

/** The permissions boundary of a role or user was set; null where it was taken away. */
export interface Boundary {
  readonly of: 'boundary';
  readonly policy: string | null;
}

/** The text of a managed policy: all who have it attached have what it says. */
export interface PolicyText {
  readonly of: 'policy_text';
  readonly arn: string;
  readonly version: string;
  /** Null: only the default version changes. */
  readonly statements: readonly Statement[] | null;
  readonly isDefault: boolean;
}

export interface TrailChange {
  readonly of: 'trail';
  readonly change: 'start' | 'stop' | 'create' | 'update' | 'delete' | 'selectors' | 'insights';
  readonly selectors: Selectors | null;
  /** What an update switched off, in words. */
  readonly switchedOff: readonly string[];
  /** Of a trail that was made or updated. */
  readonly reach: TrailReach | null;
  /** Of Insights: the types that are switched on. */
  readonly insights: readonly string[] | null;
}

/** Where a trail records; null where neither request nor answer says it. */
export interface TrailReach {
  readonly allRegions: boolean | null;
  readonly globalServices: boolean | null;
  readonly organization: boolean | null;
}

/** What a bucket's settings say after a change. */
export interface BucketChange {
  readonly of: 'bucket';
  readonly setting:
    | 'versioning'
    | 'lifecycle'
    | 'object lock'
    | 'policy'
    | 'replication'
    | 'logging'
    | 'public access'
    | 'acl';
  /** What it takes from the bucket's protection, in words; null for a change that takes nothing. */
  readonly weakens: string | null;
  /** Of a bucket policy: its statements that deny; null where it cannot be read. */
  readonly denials?: readonly Denial[] | null;
}

/** Calls of one principal (or refused ones from one address) of one kind in a minute: which operations it tried, not each of them. */
export interface Use {
  readonly action: string;
  readonly bucket: string | null;
  readonly outcome: Outcome;
  /** Records, by the account whose trail has them: copies of one event are in two. */
  readonly counts: readonly (readonly [account: string, records: number])[];
  readonly firstMicros: number;
  readonly lastMicros: number;
  /** Of the first by time and id. */
  readonly firstId: string;
  /** Its request, for spans that name theirs. */
  readonly firstRequest: string | null;
  /** The least and greatest in the order of text: both, where there was more than one. */
  readonly principals: readonly string[];
  readonly callers: readonly string[];
  readonly sources: readonly string[];
  readonly accounts: readonly string[];
}

/** All records of it. */
export const recordsOf = ({ counts }: Use): number => counts.reduce((sum, [, records]) => sum + records, 0);

/** How often it was called: whoever calls has all of it in one account's trail, and other accounts have copies (S3 user guide, cross-account access). */
export const callsOf = ({ counts }: Use): number => Math.max(...counts.map(([, records]) => records));

export type Outcome = 'ok' | 'denied' | 'failed';

export interface Uses {
  readonly type: 'uses';
  readonly atMicros: number;
  readonly uses: readonly Use[];
}

/** What IAM's policy simulator said that a principal may do, as of when it was asked. */
export interface Simulation {
  readonly type: 'simulation';
  readonly atMicros: number;
  readonly action: string;
  /** An ARN, which may end with a wildcard, or `*`. */
  readonly resource: string;
  readonly allowed: boolean;
  /** Names of the policies whose statements decided. */
  readonly policies: readonly string[];
  /** Keys of conditions that were not evaluated: it was given no value for them. */
  readonly missing: readonly string[];
  readonly evidenceId: string;
}

/** A log file that CloudTrail says it delivered (its own PutObject is a data event of the log bucket), by the time in its name. */
export interface LogFile {
  readonly type: 'log_file';
  readonly atMicros: number;
  readonly name: string;
  readonly region: string;
  readonly bucket: string;
  readonly key: string;
  /** It was read as an input. */
  readonly read: boolean;
  readonly evidenceId: string;
}

/** Top prefixes of a bucket's keys that calls named in an hour. */
export interface Prefixes {
  readonly type: 'prefixes';
  readonly atMicros: number;
  readonly prefixes: readonly string[];
}

/** A key's first part, with its slash; keys without one lie in the bucket's root, ''. */
export const topPrefix = (key: string): string => key.slice(0, key.indexOf('/') + 1);

/** A call that IAM, a policy or an organisation refused, as services spell it. */
export const isDenial = (error: string | null): boolean =>
  error !== null && /access ?denied|unauthorized|forbidden|notauthorized/i.test(error);
