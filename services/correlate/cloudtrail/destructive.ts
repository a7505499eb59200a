import { DESTRUCTIVE } from './read-act.js';
import { batchDeletionOf, leftOut, OBJECT, type Operation, type Selectors, selectedBy } from './selectors.js';
import { type Cell, cellsOf, operationOf } from './trail-cells.js';

/** Whether selectors record an operation that destroys objects or logs, or takes away what protects them. */
export interface DestructiveRecorded {
  /** An IAM action, or what it is in words where none is checked. */
  readonly operation: string;
  /** As CloudTrail names it; null for what it never records. */
  readonly event: string | null;
  readonly recorded: 'yes' | 'partly' | 'no' | 'never';
  /** For which resources which selector takes it, or why none does; in words. */
  readonly because: readonly string[];
}

/** CloudTrail's names where they are not those of the actions (S3 user guide, "Amazon S3 CloudTrail events"). */
const EVENTS: Readonly<Record<string, string>> = {
  's3:DeleteObjectVersion': 'DeleteObject',
  's3:PutLifecycleConfiguration': 'PutBucketLifecycle',
  's3:PutBucketObjectLockConfiguration': 'PutObjectLockConfiguration',
  's3:PutReplicationConfiguration': 'PutBucketReplication',
};

const ON_OBJECTS: readonly string[] = ['s3:DeleteObject', 's3:DeleteObjectVersion', 's3:PutObject'];

/** What destroys beside the actions whose grants are watched: an overwritten object without versions, logs whose key is gone. */
const MORE: readonly string[] = ['s3:PutObject', 'kms:DisableKey', 'kms:ScheduleKeyDeletion'];

/** What no selector can select, and what tells of it all the same. */
const NEVER: readonly (readonly [operation: string, because: string])[] = [
  [
    'keys of DeleteObjects',
    'the call is recorded without them; S3 server access logs have a line a key (BATCH.DELETE.OBJECT)',
  ],
  [
    'lifecycle expirations',
    'they are no calls; S3 server access logs (S3.EXPIRE.OBJECT) and event notifications tell of them',
  ],
  ['lifecycle transitions', 'they are no calls; S3 server access logs (S3.TRANSITION…) tell of them'],
];

/** The table `destructive operation × recorded?` of some selectors. */
export function destructiveRecorded(selectors: Selectors, partition = 'aws'): DestructiveRecorded[] {
  const cells = cellsOf([selectors], partition);
  const objects = cells.filter(({ resourceType }) => resourceType === OBJECT).reverse(); // what is named first
  const onObjects = (operation: string, event: string, at: (cell: Cell) => Operation) => ({
    operation,
    event,
    ...judged(
      selectors,
      objects.map((cell) => ({ where: whereIs(cell), operation: at(cell) })),
    ),
  });
  return [
    ...[...DESTRUCTIVE, ...MORE].map((action) => {
      const event = EVENTS[action] ?? action.slice(action.indexOf(':') + 1);
      if (ON_OBJECTS.includes(action))
        return onObjects(action, event, (cell) => operationOf(cell, event, false, partition));
      return {
        operation: action,
        event,
        ...judged(selectors, [{ where: '', operation: managementOf(action, event) }]),
      };
    }),
    onObjects('s3 DeleteObjects (up to 1,000 keys)', 'DeleteObjects', (cell) =>
      batchDeletionOf(operationOf(cell, 'DeleteObject', false, partition).resourceArn ?? ''),
    ),
    ...NEVER.map(([operation, because]) => ({
      operation,
      event: null,
      recorded: 'never' as const,
      because: [because],
    })),
  ];
}

const managementOf = (action: string, eventName: string): Operation => ({
  category: 'Management',
  eventSource: `${action.slice(0, action.indexOf(':'))}.amazonaws.com`,
  eventName,
  readOnly: false,
});

const whereIs = ({ resource, exact, besides }: Cell): string => {
  if (resource !== null) return exact ? resource : `${resource}*`;
  return besides.length === 0 ? 'all objects' : 'all other objects';
};

interface Asked {
  readonly where: string;
  readonly operation: Operation;
}

function judged(selectors: Selectors, asked: readonly Asked[]): Pick<DestructiveRecorded, 'recorded' | 'because'> {
  const answers = asked.map(({ where, operation }) => {
    const by = selectedBy(selectors, operation);
    const why = by === undefined ? `not recorded (${leftOut(selectors, operation).why})` : `recorded by ${by}`;
    return { where, taken: by !== undefined, why };
  });
  const taken = answers.filter((one) => one.taken).length;
  const alike = new Set(answers.map(({ why }) => why)).size === 1;
  return {
    recorded: taken === answers.length ? 'yes' : taken === 0 ? 'no' : 'partly',
    because: alike ? [answers[0]!.why] : answers.map(({ where, why }) => `${where}: ${why}`),
  };
}
