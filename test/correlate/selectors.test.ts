import test from 'ava';
import {
  DEFAULT_SELECTORS,
  deletionOf,
  lost,
  type Operation,
  presumedBefore,
  readSelectors,
  records,
  resourcesNamed,
  type Selectors,
} from '../../services/correlate/cloudtrail/selectors.js';

const ARN = 'arn:aws:s3:::prod-logs-archive/audit/a.json.gz';
const deletion = deletionOf(ARN);
const batch: Operation = { ...deletion, eventName: 'DeleteObjects', resourceArn: 'arn:aws:s3:::prod-logs-archive/' };
const read: Operation = { ...deletion, eventName: 'GetObject', readOnly: true };
const management: Operation = {
  category: 'Management',
  eventSource: 'iam.amazonaws.com',
  eventName: 'PutRolePolicy',
  readOnly: false,
};

const selectors = (request: Record<string, unknown>): Selectors => readSelectors(request)!;

/** All of S3's objects, as far as this field agrees. */
const objects = (...fields: readonly unknown[]): Selectors =>
  selectors({
    advancedEventSelectors: [
      {
        name: 'objects',
        fieldSelectors: [
          { field: 'eventCategory', equals: ['Data'] },
          { field: 'resources.type', equals: ['AWS::S3::Object'] },
          ...fields,
        ],
      },
    ],
  });

const basic = (more: Record<string, unknown>): Selectors =>
  selectors({
    eventSelectors: [
      {
        readWriteType: 'All',
        includeManagementEvents: true,
        excludeManagementEventSources: [],
        dataResources: [],
        ...more,
      },
    ],
  });

const values = (...arns: readonly string[]) => ({ dataResources: [{ type: 'AWS::S3::Object', values: arns }] });

test('(a) by default no data event is recorded, and every management event is', (t) => {
  t.false(records(DEFAULT_SELECTORS, deletion));
  t.true(records(DEFAULT_SELECTORS, management));
});

test('(b) only reads: no deletion', (t) => {
  const onlyReads = objects({ field: 'readOnly', equals: ['true'] });
  t.false(records(onlyReads, deletion));
  t.true(records(onlyReads, read));
  t.false(records(basic({ readWriteType: 'ReadOnly', ...values('arn:aws:s3') }), deletion));
  t.false(records(basic({ readWriteType: 'ReadOnly' }), management));
  t.false(records(basic({ readWriteType: 'WriteOnly', ...values('arn:aws:s3') }), read));
});

test('(c) deletions left out by name', (t) => {
  const without = objects({ field: 'eventName', notEquals: ['DeleteObject', 'DeleteObjects'] });
  t.false(records(without, deletion));
  t.false(records(without, batch));
  t.true(records(without, read));
  t.false(records(objects({ field: 'eventName', notStartsWith: ['Delete'] }), deletion));
});

test('(d) a name that CloudTrail never writes leaves nothing out', (t) => {
  t.true(records(objects({ field: 'eventName', notEquals: ['DeleteObjectVersion'] }), deletion));
});

test('(e) one bucket left out', (t) => {
  const without = objects({ field: 'resources.ARN', notStartsWith: ['arn:aws:s3:::prod-logs-archive/'] });
  t.false(records(without, deletion));
  t.true(records(without, deletionOf('arn:aws:s3:::web/a')));
});

test('(f) an empty list of values selects no data event', (t) => {
  t.false(records(basic(values()), deletion));
});

test('basic selectors take an ARN by its beginning, of their own type', (t) => {
  for (const arn of ['arn:aws:s3', 'arn:aws:s3:::prod-logs-archive/', 'arn:aws:s3:::prod-logs-archive/audit/'])
    t.true(records(basic(values(arn)), deletion), arn);
  t.false(records(basic(values('arn:aws:s3:::web/')), deletion));
  t.false(records(basic({ dataResources: [{ type: 'AWS::Lambda::Function', values: ['arn:aws:s3'] }] }), deletion));
  t.false(records(basic(values('arn:aws:s3:::prod-logs-archive/audit/')), batch), 'DeleteObjects names no prefix');
});

test('of one field any positive value must agree and every negative one; of several selectors one is enough', (t) => {
  const both = objects({
    field: 'resources.ARN',
    startsWith: ['arn:aws:s3:::prod-', 'arn:aws:s3:::stage-'],
    notEndsWith: ['.tmp'],
  });
  t.true(records(both, deletion));
  t.false(records(both, deletionOf('arn:aws:s3:::prod-logs-archive/a.tmp')));
  t.false(records(both, deletionOf('arn:aws:s3:::dev/a')));
  const [one, other] = [
    objects({ field: 'eventName', equals: ['GetObject'] }),
    objects({ field: 'eventName', equals: ['DeleteObject'] }),
  ];
  t.true(records({ basic: [], advanced: [...one.advanced, ...other.advanced] }, deletion));
});

test('a source of management events can be left out', (t) => {
  const without = basic({ excludeManagementEventSources: ['kms.amazonaws.com'] });
  t.false(records(without, { ...management, eventSource: 'kms.amazonaws.com' }));
  t.true(records(without, management));
  t.false(records(basic({ includeManagementEvents: false }), management));
});

test('what is lost is what one recorded and the other does not, with the buckets that they name', (t) => {
  const [before, after] = [basic(values('arn:aws:s3')), basic(values('arn:aws:s3:::web/'))];
  const gone = lost(before, after, resourcesNamed(before, after));
  t.true(gone.some(({ what, resource }) => what === 's3 DeleteObject' && resource.includes('any-other-bucket')));
  t.false(gone.some(({ resource }) => resource === 'arn:aws:s3:::web/'));
  t.deepEqual(lost(after, before, resourcesNamed(before, after)), []);
});

test('of a trail whose selectors before are not known, what was never named is not presumed', (t) => {
  const lostBy = (after: Selectors) =>
    lost(presumedBefore(after), after, resourcesNamed(after)).map(({ what }) => what);
  t.deepEqual(lostBy(basic(values('arn:aws:s3:::web/'))), []);
  t.deepEqual(lostBy(basic({})), []);
  t.true(lostBy(objects({ field: 'eventName', notEquals: ['DeleteObject'] })).includes('s3 DeleteObject'));
});

test('a request without selectors has none', (t) => {
  t.is(readSelectors({ trailName: 'org' }), undefined);
});
