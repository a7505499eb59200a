/** A deviation on one subject over an interval, by one detector. */

export const KINDS = [
  'go.module_fetch_failure',
  'go.checksum_mismatch',
  'vendor.tampered',
  'retry.storm',
  'http.error_burst',
  'etcd.put_surge',
  'etcd.wal_growth',
  'etcd.slow_fsync',
  'etcd.slow_apply',
  'etcd.db_growth',
  'etcd.space_amplification',
  'etcd.quota_exhausted',
  'etcd.leader_lost',
  'go.gc_pressure',
  'iam.overreach',
  'access.enumeration',
  's3.version_purge',
  's3.bulk_delete',
  's3.acl_change',
  's3.protection_weakened',
  'audit.logging_impaired',
  'audit.blind_spot',
  'audit.log_gap',
  'pipeline.unguarded_delete',
  'control.bypassed',
  'payment.duplicate',
] as const;

export type Kind = (typeof KINDS)[number];

export type Severity = 'info' | 'warning' | 'critical';

export type Figure =
  | string
  | number
  | boolean
  | null
  | readonly string[]
  | readonly number[]
  | Readonly<Record<string, number>>;

export type EvidenceTableName = 'cloudtrail_events' | 'spans' | 'metric_points' | 'iam_simulations';

export interface EvidenceRef {
  readonly table: EvidenceTableName;
  readonly id: string;
  readonly role: 'first' | 'last' | 'peak' | 'member';
}

/** What a detector says; the engine adds the id. Times are event times in microseconds since 1970. */
export interface FindingDraft {
  readonly subject: string;
  /** The member or principal, where the finding is one member's: part of the identity. */
  readonly member: string | null;
  /** The earliest moment at which it can have begun … */
  readonly startedMicros: number;
  /** … and the latest: the two differ by the scrape interval or the clock's coarseness. */
  readonly startedByMicros: number;
  /** How long before both it can have gone on without any of it being kept: what sampling leaves open. None where all evidence is kept. */
  readonly unseenMicros?: number;
  readonly endedMicros: number;
  /** 0 for the first piece of a deviation, n for what `continues` after n cuts at the kind's greatest extent. */
  readonly cut: number;
  readonly continues: boolean;
  readonly severity: Severity;
  readonly summary: string;
  readonly measured: Readonly<Record<string, Figure>>;
  /** What was normal before, frozen at the onset; null where the kind is judged against a fixed level. */
  readonly baseline: Readonly<Record<string, Figure>> | null;
  /** The baseline was shorter than the kind's least: the finding stands, but nothing is proven from its deviation. */
  readonly shortBaseline: boolean;
  /** Entity keys that it can be joined on, its subject included. */
  readonly keys: readonly string[];
  readonly evidence: readonly EvidenceRef[];
  readonly evidenceCount: number;
  /** What was judged, before the onset and until it was quiet again, for the test of dose: [microseconds, value], in the order of time. */
  readonly series?: readonly Point[];
}

export type Point = readonly [atMicros: number, value: number];

export interface Finding extends FindingDraft {
  readonly id: string;
  readonly kind: Kind;
  /** kind@version of the detector. */
  readonly detector: string;
}
