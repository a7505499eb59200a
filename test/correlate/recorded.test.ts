import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import type { TrailReach } from '../../services/correlate/cloudtrail/act.js';
import { destructiveRecorded } from '../../services/correlate/cloudtrail/destructive.js';
import { type Recorded, recordedBy, type Trail } from '../../services/correlate/cloudtrail/recorded.js';
import {
  deletionOf,
  type Operation,
  readSelectors,
  records,
  type Selectors,
} from '../../services/correlate/cloudtrail/selectors.js';
import { trailHistory } from '../../services/correlate/cloudtrail/trail-history.js';
import { at } from '../helpers/findings.js';
import { shuffled } from '../helpers/story.js';
import { actOf, basicSelectors, type Done, EVERYWHERE } from '../helpers/trail-acts.js';

const ACCOUNT = '123456789012';
const HOME = 'eu-west-1';
const arn = (name: string, region = HOME, account = ACCOUNT) => `arn:aws:cloudtrail:${region}:${account}:trail/${name}`;
const archive = 'arn:aws:s3:::archive/';
const read = (document: Record<string, unknown>): Selectors => readSelectors(document)!;

const trailOf = (
  name: string,
  done: readonly Done[],
  reach: TrailReach = { ...EVERYWHERE, allRegions: false },
): Trail => ({
  arn: name.startsWith('arn:') ? name : arn(name),
  history: trailHistory(done.map((one) => actOf(one, reach))),
});

const put = (second: number, selectors: Selectors, error?: string): Done => ({
  second,
  does: 'selectors',
  selectors,
  ...(error && { error }),
});
const does = (second: number, what: 'create' | 'start' | 'stop' | 'delete', error?: string): Done => ({
  second,
  does: what,
  ...(error && { error }),
});

interface Asked {
  readonly second: number;
  readonly region?: string;
  readonly account?: string;
  readonly event?: string;
  readonly readOnly?: boolean;
  readonly category?: Recorded['cell']['category'];
  readonly resource?: string;
}

/** The one row that says what becomes of an operation at a second. */
function rowOf(trails: readonly Trail[], asked: Asked): Recorded {
  const { second, region = HOME, account = ACCOUNT, category = 'Data', resource = `${archive}a.json` } = asked;
  const event = asked.event ?? (category === 'Data' ? 'DeleteObject' : 'PutRolePolicy');
  const readOnly = asked.readOnly ?? false;
  const rows = recordedBy(trails);
  const known = rows.some((row) => row.account === account) ? account : null;
  const here = rows.filter((row) => row.account === known);
  const place = here.some((row) => row.region === region) ? region : null;
  const cells = here.filter(
    ({ region: of, cell, fromMicros, toMicros }) =>
      of === place &&
      cell.category === category &&
      (category !== 'Data' || cell.resourceType === 'AWS::S3::Object') &&
      (fromMicros ?? 0) <= at(second) &&
      (toMicros ?? Number.POSITIVE_INFINITY) > at(second),
  );
  const covers = ({ cell }: Recorded) =>
    cell.resource === null ||
    (category === 'Data' && (cell.exact ? cell.resource === resource : resource.startsWith(cell.resource)));
  const closest = Math.max(...cells.filter(covers).map(({ cell }) => cell.resource?.length ?? 0));
  const found = cells.filter(
    (row) => covers(row) && (row.cell.resource?.length ?? 0) === closest && says(row.operations, event, readOnly),
  );
  assert.equal(found.length, 1, `one row is about ${event} on ${resource} at ${second}: ${JSON.stringify(found)}`);
  return found[0]!;
}

/** Whether words such as `all but DeleteObject` name an operation. */
function says(operations: string, event: string, readOnly: boolean): boolean {
  const names = (text = '') => text.split(/, | and /);
  const [, base, but, extra] = /^(all|reads|writes)(?: but (.+?))?(?:, and (.+))?$/.exec(operations) ?? [];
  if (base === undefined) return names(operations).includes(event);
  const within = base === 'all' || (base === 'reads') === readOnly;
  return within ? !names(but).includes(event) : names(extra).includes(event);
}

const stateOf = (trails: readonly Trail[], asked: Asked): string => rowOf(trails, asked).state;

test('before the first event that tells what a trail selects it is unknown; a fact holds until the next one', (t) => {
  const trails = [trailOf('org', [put(100, basicSelectors([archive])), put(900, basicSelectors([]))])];
  t.is(stateOf(trails, { second: 50 }), 'unknown');
  t.is(stateOf(trails, { second: 100 }), 'recorded');
  t.is(stateOf(trails, { second: 899 }), 'recorded');
  const row = rowOf(trails, { second: 86_400 * 90 });
  t.is(row.state, 'not_subscribed');
  t.is(row.since?.eventName, 'PutEventSelectors');
  t.is(row.since?.atMicros, at(900));
  t.regex(row.reason, /by the trails in evidence/);
  t.is(stateOf(trails, { second: 1000, category: 'Management' }), 'recorded');
});

test('what failed changed nothing, and a trail that only failing calls name is not known at all', (t) => {
  const watching = put(0, basicSelectors([archive]));
  t.is(stateOf([trailOf('org', [watching, does(100, 'stop', 'AccessDenied')])], { second: 200 }), 'recorded');
  const refused = trailOf('ghost', [does(100, 'stop', 'TrailNotFoundException')]);
  t.regex(rowOf([refused], { second: 200 }).reason, /^no event in evidence/);
});

test('a trail that is stopped or deleted records nothing until it is started or made again', (t) => {
  const trails = [
    trailOf('org', [put(0, basicSelectors([archive])), does(100, 'stop'), does(200, 'start'), does(300, 'delete')]),
  ];
  t.deepEqual(
    [50, 150, 250, 350].map((second) => stateOf(trails, { second })),
    ['recorded', 'logging_stopped', 'recorded', 'logging_stopped'],
  );
  t.is(stateOf(trails, { second: 150, category: 'Management' }), 'logging_stopped');
  t.is(rowOf(trails, { second: 350 }).since?.eventName, 'DeleteTrail');
});

test('a trail records from StartLogging on, with the default selectors, and not from CreateTrail on', (t) => {
  const trails = [trailOf('org', [does(100, 'create'), does(200, 'start')])];
  t.is(stateOf(trails, { second: 150, category: 'Management' }), 'unknown');
  t.is(stateOf(trails, { second: 250, category: 'Management' }), 'recorded');
  t.is(stateOf(trails, { second: 250 }), 'not_subscribed');
  const together = [trailOf('org', [does(100, 'start'), does(100, 'create')])];
  t.is(stateOf(together, { second: 150, category: 'Management' }), 'recorded', 'made and started in one second');
});

test('acts of one second that contradict each other leave unknown what holds after them', (t) => {
  const trails = [trailOf('org', [put(0, basicSelectors([])), does(100, 'stop'), does(100, 'start')])];
  t.is(stateOf(trails, { second: 150 }), 'not_subscribed', 'whether it logs or not');
  const both = [trailOf('org', [put(100, basicSelectors([archive])), put(100, basicSelectors([]))])];
  t.is(stateOf(both, { second: 150 }), 'unknown');
});

test('selectors that are put again as they are change nothing', (t) => {
  const daily = Array.from({ length: 10 }, (_, day) => put(day * 86_400, basicSelectors([archive])));
  const rows = recordedBy([trailOf('org', daily)]).filter(
    ({ cell, region }) => cell.resource === archive && region === HOME,
  );
  t.deepEqual(
    rows.map(({ state, fromMicros, toMicros }) => [state, fromMicros, toMicros]),
    [
      ['unknown', null, at(0)],
      ['recorded', at(0), null],
    ],
  );
});

test('with several trails something is unrecorded only where each leaves it out', (t) => {
  const blind = trailOf('blind', [put(0, basicSelectors([]))]);
  const seeing = trailOf('seeing', [put(0, basicSelectors([archive])), does(500, 'stop')]);
  t.is(stateOf([blind, seeing], { second: 100 }), 'recorded');
  t.deepEqual(rowOf([blind, seeing], { second: 100 }).trails, [arn('seeing')]);
  const row = rowOf([blind, seeing], { second: 600 });
  t.is(row.state, 'logging_stopped', 'what made it so last');
  t.regex(row.reason, /blind does not record it.*seeing was stopped by StopLogging/);
  const untold = trailOf('untold', [does(0, 'start')]);
  t.is(stateOf([blind, untold], { second: 100 }), 'unknown');
});

test('a single-region trail is silent elsewhere; one of all regions is not; else it is unknown', (t) => {
  const acts: Done[] = [put(10, basicSelectors([archive]))];
  const elsewhere = { second: 100, region: 'us-east-1' };
  t.is(stateOf([trailOf('org', acts)], elsewhere), 'unknown');
  const made = [does(0, 'create'), does(1, 'start'), ...acts];
  t.is(stateOf([trailOf('org', made)], elsewhere), 'not_subscribed');
  t.is(stateOf([trailOf('org', made, EVERYWHERE)], elsewhere), 'recorded');
  const widened: Done[] = [...made, { second: 200, does: 'update', reach: { allRegions: true } }];
  t.deepEqual(
    [100, 300].map((second) => stateOf([trailOf('org', widened)], { ...elsewhere, second })),
    ['not_subscribed', 'recorded'],
  );
  t.is(stateOf([trailOf('org', [does(100, 'stop')])], { ...elsewhere, second: 200 }), 'logging_stopped');
});

test('an organisation trail is read for every account, another account’s own trail is not', (t) => {
  const done = [does(0, 'create'), does(1, 'start'), put(2, basicSelectors([archive]))];
  const asked = { second: 100, account: '210987654321' };
  t.is(stateOf([trailOf('own', done)], asked), 'unknown');
  t.is(stateOf([trailOf('org', done, { ...EVERYWHERE, organization: true })], asked), 'recorded');
});

test('global services left out are unrecorded in us-east-1 alone', (t) => {
  const trails = [
    trailOf(arn('org', 'us-east-1'), [does(0, 'create'), does(1, 'start')], { ...EVERYWHERE, globalServices: false }),
  ];
  const of = (source: string | null) =>
    recordedBy(trails).find(
      ({ cell, region, toMicros }) =>
        cell.category === 'Management' && cell.resource === source && region === 'us-east-1' && toMicros === null,
    )?.state;
  t.is(of('iam.amazonaws.com'), 'selector_excluded');
  t.is(of(null), 'recorded');
});

test('Insights are there where they were switched on', (t) => {
  const trails = [
    trailOf('org', [
      does(0, 'create'),
      does(1, 'start'),
      { second: 50, does: 'insights', insights: ['ApiCallRateInsight'] },
    ]),
  ];
  const of = (second: number) => stateOf(trails, { second, category: 'Insight', event: 'x' });
  t.deepEqual([of(10), of(100)], ['not_subscribed', 'recorded']);
});

test('of a part that is recorded in part, the one part and the other are told apart', (t) => {
  const onlyReads = [trailOf('org', [put(0, basicSelectors([archive], { readWriteType: 'ReadOnly' }))])];
  t.is(stateOf(onlyReads, { second: 10 }), 'selector_excluded');
  t.is(stateOf(onlyReads, { second: 10, event: 'GetObject', readOnly: true }), 'recorded');
  t.regex(rowOf(onlyReads, { second: 10 }).reason, /readWriteType is ReadOnly/);
  const without = (name: string) => [
    trailOf('org', [
      put(
        0,
        read({
          advancedEventSelectors: [
            {
              name: 'objects',
              fieldSelectors: [
                { field: 'eventCategory', equals: ['Data'] },
                { field: 'resources.type', equals: ['AWS::S3::Object'] },
                { field: 'eventName', notEquals: [name] },
              ],
            },
          ],
        }),
      ),
    ]),
  ];
  t.is(stateOf(without('DeleteObject'), { second: 10 }), 'selector_excluded');
  t.is(stateOf(without('DeleteObject'), { second: 10, event: 'DeleteObjects' }), 'recorded');
  t.is(stateOf(without('DeleteObjectVersion'), { second: 10 }), 'recorded', 'no event has that name');
  t.regex(
    rowOf(without('DeleteObject'), { second: 10 }).reason,
    /selector 'objects': eventName is none of DeleteObject/,
  );
});

test('DeleteObjects is about the bucket: selectors of a prefix in it do not record it', (t) => {
  const trails = [trailOf('org', [put(0, basicSelectors([`${archive}audit/`]))])];
  const resource = `${archive}audit/a.json`;
  t.is(stateOf(trails, { second: 10, resource }), 'recorded');
  t.is(stateOf(trails, { second: 10, resource, event: 'DeleteObjects' }), 'selector_excluded');
  t.is(stateOf(trails, { second: 10, resource: `${archive}other` }), 'selector_excluded');
});

/* ---- against the evaluator itself ---- */

const values = fc.subarray(['arn:aws:s3', archive, `${archive}audit/`, 'arn:aws:s3:::web/'], { maxLength: 3 });
const someSelectors: fc.Arbitrary<Selectors> = fc.oneof(
  fc
    .record({
      arns: values,
      readWriteType: fc.constantFrom('All', 'ReadOnly', 'WriteOnly'),
      includeManagementEvents: fc.boolean(),
    })
    .map(({ arns, ...more }) => basicSelectors(arns, more as Partial<Selectors['basic'][number]>)),
  fc
    .record({
      operator: fc.constantFrom('equals', 'startsWith', 'notEquals', 'notStartsWith'),
      field: fc.constantFrom('eventName', 'resources.ARN', 'readOnly'),
      of: fc.nat(2),
    })
    .map(({ operator, field, of }) => {
      const value = {
        eventName: ['DeleteObject', 'PutObject', 'Delete'],
        'resources.ARN': [archive, `${archive}audit/`, 'arn:aws:s3:::w'],
        readOnly: ['true', 'false', 'true'],
      }[field][of]!;
      const one = { field, [field === 'readOnly' ? 'equals' : operator]: [value] };
      return read({
        advancedEventSelectors: [
          {
            name: 'one',
            fieldSelectors: [
              { field: 'eventCategory', equals: ['Data'] },
              { field: 'resources.type', equals: ['AWS::S3::Object'] },
              one,
            ],
          },
        ],
      });
    }),
);

const someDone: fc.Arbitrary<Done> = fc.nat(1000).chain((second) =>
  fc.oneof(
    { weight: 3, arbitrary: someSelectors.map((selectors) => put(second, selectors)) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('start', 'stop', 'delete', 'create').map((what) => does(second, what as 'start')),
    },
    { weight: 1, arbitrary: fc.constant(does(second, 'stop', 'AccessDenied')) },
  ),
);

const somewhere = fc.record({
  second: fc.nat(1100),
  resource: fc.constantFrom(
    `${archive}a`,
    `${archive}audit/b`,
    'arn:aws:s3:::web/c',
    'arn:aws:s3:::w2/d',
    'arn:aws:s3:::none/e',
  ),
  event: fc.constantFrom('DeleteObject', 'PutObject', 'GetObject', 'DeleteObjects', 'RestoreObject'),
});

/** What the trails record, said in the plainest way: each fact until the next. No two acts of one trail are in one second. */
function plainly(
  trails: readonly (readonly Done[])[],
  { second, resource, event }: { second: number; resource: string; event: string },
): string {
  const operation: Operation = {
    ...deletionOf(event === 'DeleteObjects' ? resource.replace(/(:::[^/]*\/).*/, '$1') : resource),
    eventName: event,
    readOnly: event === 'GetObject',
  };
  const said = trails.map((acts) => {
    const done = acts.filter(({ error }) => error === undefined).sort((a, b) => a.second - b.second);
    if (done.length === 0) return 'absent';
    let logging = done[0]!.does === 'create' ? 'absent' : 'on';
    let selectors: Selectors | null = null;
    for (const one of done.filter((act) => act.second <= second)) {
      if (one.does === 'selectors') selectors = one.selectors;
      if (one.does === 'create') [logging, selectors] = ['absent', basicSelectors([])];
      if (one.does === 'start') logging = 'on';
      if (one.does === 'stop' || one.does === 'delete') logging = 'off';
    }
    if (logging !== 'on') return logging;
    return selectors === null ? 'unknown' : records(selectors, operation) ? 'recorded' : 'off';
  });
  if (said.includes('recorded')) return 'recorded';
  return said.includes('unknown') || said.every((one) => one === 'absent') ? 'unknown' : 'unrecorded';
}

test('at any time, for any operation, the rows say what the selectors then in force say', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.array(fc.uniqueArray(someDone, { maxLength: 7, selector: ({ second }) => second }), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.array(somewhere, { minLength: 5, maxLength: 5 }),
        fc.nat(),
        (trails, asked, seed) => {
          const told = trails.map((done, index) => trailOf(`trail-${index}`, shuffled(done, seed)));
          for (const one of asked) {
            const { state, trails: by } = rowOf(told, { ...one, readOnly: one.event === 'GetObject' });
            const plain = plainly(trails, one);
            assert.equal(['recorded', 'unknown'].includes(state) ? state : 'unrecorded', plain, JSON.stringify(one));
            assert.equal(by.length > 0, plain === 'recorded');
          }
        },
      ),
      { numRuns: 150 },
    ),
  );
});

/* ---- destructive operations ---- */

const answers = (selectors: Selectors) =>
  Object.fromEntries(destructiveRecorded(selectors).map(({ operation, recorded }) => [operation, recorded]));
const BATCH = 's3 DeleteObjects (up to 1,000 keys)';

test('by default every management event is recorded and no deletion of an object', (t) => {
  t.like(answers(basicSelectors([])), {
    's3:DeleteObject': 'no',
    's3:DeleteObjectVersion': 'no',
    [BATCH]: 'no',
    's3:PutLifecycleConfiguration': 'yes',
    'cloudtrail:StopLogging': 'yes',
    'kms:DisableKey': 'yes',
    'keys of DeleteObjects': 'never',
    'lifecycle expirations': 'never',
  });
});

test('a version’s deletion is recorded as DeleteObject is, whatever is said of DeleteObjectVersion', (t) => {
  const without = (name: string) =>
    read({
      advancedEventSelectors: [
        {
          name: 'management',
          fieldSelectors: [
            { field: 'eventCategory', equals: ['Management'] },
            { field: 'eventSource', notEquals: ['kms.amazonaws.com'] },
          ],
        },
        {
          name: 'objects',
          fieldSelectors: [
            { field: 'eventCategory', equals: ['Data'] },
            { field: 'resources.type', equals: ['AWS::S3::Object'] },
            { field: 'eventName', notEquals: [name] },
          ],
        },
      ],
    });
  t.like(answers(without('DeleteObjectVersion')), { 's3:DeleteObjectVersion': 'yes', 's3:DeleteObject': 'yes' });
  t.like(answers(without('DeleteObject')), {
    's3:DeleteObjectVersion': 'no',
    [BATCH]: 'yes',
    'kms:DisableKey': 'no',
    's3:DeleteBucket': 'yes',
  });
  const [version] = destructiveRecorded(without('DeleteObject'));
  t.is(version!.event, 'DeleteObject');
  t.regex(version!.because.join(), /selector 'objects': eventName is none of DeleteObject/);
});

test('partly says for which resources, and by which selector', (t) => {
  const [version] = destructiveRecorded(basicSelectors([archive]));
  t.is(version!.recorded, 'partly');
  t.deepEqual(
    version!.because.map((line) => line.split(':').at(0)),
    ['arn', 'all other objects'],
  );
  t.regex(version!.because[0]!, /archive\/\*: recorded by basic selector 1/);
});
