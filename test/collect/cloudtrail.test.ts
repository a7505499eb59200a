import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import type { Context } from '../../services/collect/source.js';
import { cloudtrail } from '../../services/collect/sources/cloudtrail.js';
import type { CloudTrailRow, Decoded } from '../../shared/evidence.js';
import { gunzipBounded } from '../../shared/inflate.js';
import { corpus, recordings, testWith } from '../helpers/data.js';

const context: Context = { origin: 'test', gunzip: gunzipBounded };

const decode = (given: string | Uint8Array | object, more: Partial<Context> = {}) =>
  cloudtrail.decode(bytesOf(given), { ...context, ...more });

const bytesOf = (given: string | Uint8Array | object): Uint8Array => {
  if (given instanceof Uint8Array) return given;
  return Buffer.from(typeof given === 'string' ? given : JSON.stringify(given));
};

/** What a file becomes when it comes in pieces that end at these places. */
const decodeFile = (bytes: Uint8Array, places: readonly number[] = []): Decoded<CloudTrailRow> => {
  const decoder = cloudtrail.file(context);
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let start = 0;
  const parts = ends.map((end) => {
    const part = decoder.push(bytes.subarray(start, end));
    start = end;
    return part;
  });
  parts.push(decoder.end());
  return {
    rows: parts.flatMap((part) => part.rows),
    faults: parts.flatMap((part) => part.faults),
    skipped: new Map(parts.flatMap((part) => [...part.skipped])),
  };
};

const reasons = ({ faults }: Decoded<CloudTrailRow>): string[] => faults.map(({ reason }) => reason);

const only = (given: string | Uint8Array | object, more?: Partial<Context>): CloudTrailRow => {
  const { rows, faults } = decode(given, more);
  if (rows.length !== 1 || faults.length > 0) throw new Error(`${rows.length} rows, ${JSON.stringify(faults)}`);
  return rows[0]!;
};

const record = {
  eventVersion: '1.10',
  userIdentity: {
    type: 'AssumedRole',
    arn: 'arn:aws:sts::123456789012:assumed-role/ci/run-1',
    accountId: '123456789012',
    sessionContext: { sessionIssuer: { arn: 'arn:aws:iam::123456789012:role/ci' } },
  },
  eventTime: '2024-03-16T19:15:02Z',
  eventSource: 's3.amazonaws.com',
  eventName: 'DeleteObject',
  awsRegion: 'eu-west-1',
  sourceIPAddress: '10.0.0.1',
  userAgent: '[aws-cli/2]',
  requestParameters: { bucketName: 'logs', key: 'a/é😀.gz', versionId: 'v1' },
  requestID: 'R1',
  eventID: 'e-1',
  readOnly: false,
  recipientAccountId: '210987654321',
  eventCategory: 'Data',
  sharedEventID: 's-1',
};

const filesUnder = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(json|cloudtrail)$|InviteAccount/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));

test('the examples hold', (t) => {
  for (const { title, given, rows, fault, skipped } of cloudtrail.examples) {
    const decoded = decode(given);
    t.is(decoded.rows.length, rows?.length ?? 0, title);
    decoded.rows.forEach((row, n) => void t.like(row, rows![n]!, title));
    t.deepEqual(reasons(decoded), fault ? [fault] : [], title);
    t.deepEqual([...decoded.skipped], skipped ? [[skipped, 1]] : [], title);
  }
});

test('a record becomes a row: who did what to which object', (t) => {
  t.like(only(record), {
    eventId: 'e-1',
    eventTimeMicros: 1_710_616_502_000_000n,
    accountId: '210987654321',
    region: 'eu-west-1',
    eventSource: 's3.amazonaws.com',
    eventName: 'DeleteObject',
    action: 's3:DeleteObjectVersion',
    principalArn: 'arn:aws:sts::123456789012:assumed-role/ci/run-1',
    principalType: 'AssumedRole',
    sessionIssuerArn: 'arn:aws:iam::123456789012:role/ci',
    sourceIp: '10.0.0.1',
    userAgent: '[aws-cli/2]',
    errorCode: null,
    readOnly: false,
    eventCategory: 'Data',
    bucket: 'logs',
    objectKey: 'a/é😀.gz',
    versionId: 'v1',
    requestId: 'R1',
    sharedEventId: 's-1',
    flags: [],
    position: 0,
    raw: JSON.stringify(record),
  });
});

test('the same record is the same evidence in every envelope, and keeps the text it came with', (t) => {
  const { bodyHash } = only(record);
  const text = JSON.stringify(record);
  const logs = { messageType: 'DATA_MESSAGE', logEvents: [{ id: '1', message: text }] };
  const envelopes: Record<string, string | Uint8Array | object> = {
    'plain file': { Records: [record] },
    'gzip file': gzipSync(`{"Records":[${text}]}`),
    'gzip record': gzipSync(text),
    indented: JSON.stringify(record, null, 2),
    list: [record],
    EventBridge: { 'detail-type': 'AWS Service Event via CloudTrail', detail: record },
    'CloudWatch Logs, gzip': gzipSync(JSON.stringify(logs)),
    'CloudWatch Logs, Lambda': { awslogs: { data: gzipSync(JSON.stringify(logs)).toString('base64') } },
    'SNS around Connect around Filebeat around a file': {
      Type: 'Notification',
      Message: JSON.stringify({
        schema: { type: 'string' },
        payload: JSON.stringify({ '@metadata': { beat: 'filebeat' }, message: `{"Records":[${text}]}` }),
      }),
    },
    'members before Records': `{"Records":[${text}]}`,
  };
  for (const [name, given] of Object.entries(envelopes)) {
    const row = only(given);
    t.is(row.bodyHash, bodyHash, name);
    t.deepEqual(JSON.parse(row.raw), record, name);
  }
});

test('what holds a list of records is that list, whatever stands beside it, in a message as in a file', (t) => {
  const text = JSON.stringify(record);
  const outer = JSON.stringify({ ...record, eventID: 'outer' }).slice(1, -1);
  const list = `"Records":[${text},{"a":"\u00e9"}]`;
  for (const given of [`{${list},${outer}}`, `{${outer},${list}}`, '{"Records":[],"eventCategory":"Insight"}'])
    for (const spaced of [given, `${given}\n`, `\ufeff${given}`]) {
      const message = decode(spaced);
      const expected = given.includes('outer') ? [record.eventID] : [];
      t.deepEqual(
        message.rows.map(({ eventId }) => eventId),
        expected,
        spaced,
      );
      t.true(message.faults.length > 0);
      const file = decodeFile(Buffer.from(spaced));
      t.deepEqual(
        file.rows.map(({ eventId }) => eventId),
        expected,
        spaced,
      );
      t.deepEqual(
        file.faults.map(({ reason }) => reason),
        message.faults.map(({ reason }) => reason),
      );
    }
});

test('documents that stand one after the other are read alike, whole or in pieces', (t) => {
  const text = JSON.stringify(record);
  const documents = [
    `{"Records":[${text},{"x":"\u00e9"}]}`,
    `{ "Records" : [${text}] }\n`,
    '{"Records":[]}',
    `{"x":1,"Records":[${text}]}`,
  ];
  const places = fc.array(fc.oneof(fc.nat(8), fc.nat()), { maxLength: 8 });
  fc.assert(
    fc.property(
      fc.constantFrom('', '\ufeff'),
      fc.array(fc.constantFrom(...documents), { maxLength: 6 }),
      places,
      (mark, some, places) => {
        const bytes = Buffer.from(`${mark}${some.join('')}`);
        const whole = decodeFile(bytes);
        t.deepEqual(decodeFile(bytes, places), whole);
        t.is(whole.rows.length, some.filter((one) => one.includes('eventID')).length);
      },
    ),
  );
});

test('a file gives the same rows, wherever its bytes are cut', (t) => {
  const records = [record, { ...record, eventID: 'e-2', errorMessage: 'a \\" } ] {' }, { ...record, eventID: 'e"3' }];
  const broken = '{"eventID":"e-4","eventID":"e-5"}';
  const documents = [
    JSON.stringify({ Records: records }),
    `\ufeff{ "Records": [${records.map((one) => JSON.stringify(one, null, 1)).join(',\n')}, ${broken}], "x": 1 }\n`,
    `${JSON.stringify({ Records: records })}{"Records":[${broken}]}`,
    `{"Records":[${records.map((one) => JSON.stringify(one)).join()}`,
    records.map((one) => JSON.stringify(one)).join('\n'),
    JSON.stringify(records),
  ].map((text) => Buffer.from(text));
  fc.assert(
    fc.property(fc.constantFrom(...documents), fc.array(fc.nat(), { maxLength: 20 }), (document, places) => {
      const cut = decodeFile(document, places);
      t.deepEqual(cut, decodeFile(document));
      t.deepEqual(cut, decode(document));
      t.is(cut.rows.length, 3);
    }),
  );
});

test('one bad record costs itself: the others of its file are read, and positions say which it was', (t) => {
  const good = JSON.stringify(record);
  const bad = good.replace('"eventName"', '"eventName":"GetObject","eventName"');
  const { rows, faults } = decodeFile(Buffer.from(`{"Records":[${good},${bad},7,{"a":1e999},${good}]}`));
  t.deepEqual(
    rows.map(({ position }) => position),
    [0, 4],
  );
  t.deepEqual(
    faults.map(({ reason, position, raw }) => [reason, position, raw]),
    [
      ['duplicate_key', 1, bad],
      ['bad_record', 2, '7'],
      ['bad_json', 3, '{"a":1e999}'],
    ],
  );
});

test('bytes that are not UTF-8 are kept as bytes', (t) => {
  const bytes = Buffer.from(JSON.stringify(record).replace('run-1', 'run-\u00e9'), 'latin1');
  const { rows, faults } = decode(bytes);
  t.is(rows.length, 0);
  t.like(faults[0], { reason: 'bad_utf8' });
  t.deepEqual(Buffer.from(faults[0]!.raw as Uint8Array), bytes);
});

test('a record is refused where it has no time that a clock could show', (t) => {
  const times = [
    '2024-02-30T00:00:00Z',
    '2024-03-16T23:59:60Z',
    '2024-03-16T24:00:00Z',
    '2024-3-16T1:2:3Z',
    '2024-03-16',
  ];
  const others = ['2024-03-16 19:15:02Z', '2024-03-16T19:15:02', '2024-13-01T00:00:00Z', '', 1710616502, null];
  for (const eventTime of [...times, ...others]) {
    t.deepEqual(reasons(decode({ ...record, eventTime })), ['bad_time'], String(eventTime));
  }
  t.is(only({ ...record, eventTime: '2024-02-29T23:30:00.1234567+05:30' }).eventTimeMicros, 1_709_229_600_123_456n);
});

test('odd times are kept and flagged', (t) => {
  const nowUnixNano = BigInt(Date.UTC(2024, 2, 17)) * 1_000_000n;
  const flagged = (eventTime: string) => only({ ...record, eventTime }, { nowUnixNano }).flags;
  t.deepEqual(flagged('2005-12-31T23:59:59Z'), ['impossible_time']);
  t.deepEqual(flagged('2024-03-18T00:00:01Z'), ['future_time']);
  t.deepEqual(flagged('2024-03-18T00:00:00Z'), []);
  t.deepEqual(only({ ...record, eventTime: '2999-01-01T00:00:00Z' }).flags, []);
});

test('S3 operations are named by the permission that they need', (t) => {
  const action = (eventName: string, versionId?: string, eventSource = 's3.amazonaws.com') =>
    only({ ...record, eventSource, eventName, requestParameters: { bucketName: 'b', key: 'k', versionId } }).action;
  t.is(action('DeleteObject'), 's3:DeleteObject');
  t.is(action('DeleteObject', 'v'), 's3:DeleteObjectVersion');
  t.is(action('DeleteObjectVersion', 'v'), 's3:DeleteObjectVersion');
  t.is(action('DeleteObjects'), 's3:DeleteObject');
  t.is(action('HeadObject'), 's3:GetObject');
  t.is(action('HeadObject', 'v'), 's3:GetObjectVersion');
  t.is(action('ListBuckets'), 's3:ListAllMyBuckets');
  t.is(action('PutBucketLifecycle'), 's3:PutLifecycleConfiguration');
  t.is(action('StopLogging', undefined, 'cloudtrail.amazonaws.com'), 'cloudtrail:StopLogging');
});

test('a version or key of something else than an S3 object is not taken for one', (t) => {
  const secret = {
    ...record,
    eventSource: 'secretsmanager.amazonaws.com',
    requestParameters: { versionId: 'v', key: 'k' },
  };
  t.like(only(secret), { bucket: null, objectKey: null, versionId: null });
});

test('records with parts of unusual shape survive', (t) => {
  t.like(only({ ...record, userIdentity: null }), {
    principalArn: null,
    principalType: null,
    accountId: '210987654321',
  });
  t.like(only({ ...record, requestParameters: 'text' }), { bucket: null, action: 's3:DeleteObject' });
  t.like(only({ ...record, requestParameters: null, readOnly: 'true' }), { versionId: null, readOnly: null });
  t.like(only({ ...record, requestParameters: { bucketName: ['b'], key: 7 } }), { bucket: null, objectKey: null });
  t.like(only({ ...record, recipientAccountId: undefined }), { accountId: '123456789012' });
  t.like(only({ ...record, userIdentity: { type: 'AWSService', invokedBy: 'ec2.amazonaws.com' } }), {
    principalArn: 'ec2.amazonaws.com',
  });
  const child = { ...record, eventType: 'AwsServiceEvent', requestParameters: null };
  t.like(only({ ...child, serviceEventDetails: { bucketName: 'b', key: 'k' } }), { bucket: 'b', objectKey: 'k' });
});

test('records that are not plain events are kept and say so', (t) => {
  t.like(only({ ...record, eventID: undefined }), { eventId: null, flags: ['event_id_missing'] });
  t.deepEqual(only({ ...record, eventVersion: '2.0' }).flags, ['unknown_event_version']);
  t.deepEqual(only(JSON.stringify(record).replace('"key"', '"__proto__"')).flags, ['proto_key']);
  t.deepEqual(only({ ...record, userAgent: '9:__proto__' }).flags, []);
  const insight = { eventVersion: '1.07', eventTime: record.eventTime, eventID: 'i', eventCategory: 'Insight' };
  t.like(only({ Records: [insight] }), { flags: ['insights_event'], eventName: null, action: null });
  const aggregated = {
    eventVersion: '1.0',
    accountId: '111122223333',
    eventId: 'agg-1',
    eventCategory: 'Aggregated',
    eventSource: 's3.amazonaws.com',
    timeWindow: { windowStart: '2025-11-17T19:20:00Z', windowEnd: '2025-11-17T19:25:00Z' },
  };
  t.like(only({ Records: [aggregated] }), {
    eventId: 'agg-1',
    accountId: '111122223333',
    eventTimeMicros: BigInt(Date.UTC(2025, 10, 17, 19, 20)) * 1000n,
    flags: ['aggregated_event'],
  });
});

test('a duplicate key in an envelope is refused as one in a record is', (t) => {
  const text = JSON.stringify(record);
  const twice = (key: string, value: string, rest: string) => `{"${key}":${value},"${key}":${value},${rest}}`;
  t.deepEqual(reasons(decode(twice('detail', text, '"detail-type":"x via CloudTrail"'))), ['duplicate_key']);
  t.deepEqual(reasons(decode(twice('CloudTrailEvent', JSON.stringify(text), '"EventId":"e"'))), ['duplicate_key']);
  const two = decode(`{"Records":[${text}],"Records":[${text}]}`);
  t.is(two.rows.length, 1);
  t.deepEqual(reasons(two), ['duplicate_key']);
});

test('what is no record is set aside whole, with a reason', (t) => {
  const cases: [string | Uint8Array | object, string][] = [
    ['', 'unknown_format'],
    ['   ', 'unknown_format'],
    ['etcd_mvcc_put_total 1', 'unknown_format'],
    [{ eventName: 'DeleteObject', eventSource: 's3.amazonaws.com', description: 'an article' }, 'unknown_format'],
    [{ 'detail-type': 'Object Created', detail: {} }, 'unknown_format'],
    [{ Records: [{}] }, 'bad_record'],
    [{ Records: { a: 1 } }, 'bad_record'],
    [{ Service: 'Amazon S3', Event: 's3:TestEvent' }, 'pointer'],
    [{ Type: 'Notification', Message: '{"s3Bucket":"b","s3ObjectKey":["k"]}' }, 'pointer'],
    [gzipSync('{}').subarray(0, 15), 'bad_gzip'],
    [{ awslogs: { data: 'H4sIAAAA' } }, 'bad_gzip'],
    [gzipSync(Buffer.alloc(8 * 1024 * 1024)), 'bad_gzip'],
    [`${'['.repeat(100)}${']'.repeat(100)}`, 'too_deep'],
    [{ ...record, requestParameters: JSON.parse(`${'['.repeat(70)}${']'.repeat(70)}`) }, 'too_deep'],
  ];
  for (const [given, reason] of cases) {
    const decoded = decode(given);
    t.is(decoded.rows.length, 0);
    t.deepEqual(reasons(decoded), [reason], JSON.stringify(given).slice(0, 80));
    t.not(decoded.faults[0]?.detail, '');
  }
});

test('envelopes in envelopes are opened as far as the bound', (t) => {
  const wrapped = (times: number): string =>
    times === 0 ? JSON.stringify(record) : JSON.stringify({ Type: 'Notification', Message: wrapped(times - 1) });
  t.is(only(wrapped(8)).eventId, 'e-1');
  t.deepEqual(reasons(decode(wrapped(9))), ['too_deep']);
});

test('a log event without text costs itself and is kept alone', (t) => {
  const logEvents = [{ message: JSON.stringify(record) }, { id: '2' }, 7];
  const { rows, faults } = decode({ messageType: 'DATA_MESSAGE', logEvents });
  t.is(rows.length, 1);
  t.deepEqual(
    faults.map(({ reason, raw }) => [reason, raw]),
    [
      ['bad_record', '{"id":"2"}'],
      ['bad_record', '7'],
    ],
  );
});

test('gzip in gzip cannot multiply past the bound', (t) => {
  const inflated = Buffer.alloc(100 * 1024 * 1024, 0x20);
  const data = gzipSync('x').toString('base64');
  const message = Array.from({ length: 5 }, () => JSON.stringify({ awslogs: { data } })).join('\n');
  const decoded = decode(message, { gunzip: () => inflated });
  t.deepEqual(reasons(decoded).sort(), [...Array(2).fill('too_large'), ...Array(3).fill('unknown_format')]);
});

test('a bad message between good ones of a Firehose record costs itself', (t) => {
  const logs = (message: string) => JSON.stringify({ messageType: 'DATA_MESSAGE', logEvents: [{ message }] });
  const good = JSON.stringify(record);
  const control = JSON.stringify({ messageType: 'CONTROL_MESSAGE', logEvents: [] });
  const decoded = decode(logs(good) + control + logs('{"truncated":') + logs(good));
  t.deepEqual(
    decoded.rows.map(({ position }) => position),
    [0, 3],
  );
  t.deepEqual(reasons(decoded), ['bad_json']);
  t.is(decoded.skipped.get('CloudWatch Logs control message'), 1);
});

test('any bytes become rows, faults or skips, never an exception', (t) => {
  const text = JSON.stringify({ Records: [record] });
  fc.assert(
    fc.property(
      fc.uint8Array(),
      fc.array(fc.tuple(fc.nat(text.length - 1), fc.nat(255)), { maxLength: 4 }),
      (any, edits) => {
        t.notThrows(() => decode(any));
        const bytes = Buffer.from(text);
        for (const [at, byte] of edits) bytes[at] = byte;
        const { rows, faults } = decode(bytes);
        t.true(rows.length + faults.length > 0);
      },
    ),
  );
});

testWith(corpus, 'corpus', 'all 2,900 real records of the Stratus runs are evidence, each once', (t, data) => {
  const files = filesUnder(join(data, 'cloudtrail/invictus_stratus'));
  t.is(files.length, 55);
  const decoded = files.map((file) => decodeFile(readFileSync(file), [1000, 70_001]));
  t.deepEqual(decoded.flatMap(reasons), []);
  const rows = decoded.flatMap((one) => one.rows);
  t.is(new Set(rows.map(({ bodyHash }) => bodyHash)).size, 2900);
  t.is(new Set(rows.map(({ eventId }) => eventId)).size, 2900);
  t.deepEqual([...new Set(rows.flatMap(({ flags }) => flags))], []);
  t.is(rows.filter(({ principalArn }) => principalArn === null).length, 0);
  t.is(rows.filter(({ action }) => action === 'cloudtrail:StopLogging').length, 3);
});

testWith(
  corpus,
  'corpus',
  'a real record is the same row, read fast as it was delivered or slowly where white space stands in it',
  (t, data) => {
    let rows = 0;
    for (const file of filesUnder(join(data, 'cloudtrail')))
      for (const { raw } of decode(readFileSync(file)).rows) {
        const value = JSON.parse(raw);
        const listed = (space: number) => only(`{"Records":[${JSON.stringify(value, null, space)}]}`);
        const how = { raw: '', isPlain: false };
        t.deepEqual({ ...listed(0), ...how }, { ...listed(1), ...how }, file);
        rows++;
      }
    t.true(rows > 3000, String(rows));
  },
);

testWith(corpus, 'corpus', 'all 310 records of the detonation logs are evidence', (t, data) => {
  const decoded = filesUnder(join(data, 'cloudtrail/stratus_detonations')).map((file) => decode(readFileSync(file)));
  t.deepEqual(decoded.flatMap(reasons), []);
  t.is(decoded.flatMap(({ rows }) => rows).length, 310);
});

testWith(corpus, 'corpus', 'TrailDiscover: example records are evidence, descriptions of events are not', (t, data) => {
  const files = filesUnder(join(data, 'cloudtrail/traildiscover'));
  const decoded = files.map((file) => ({ file, ...decode(readFileSync(file)) }));
  const described = decoded.filter(({ file }) => file.endsWith('.json'));
  const recorded = decoded.filter(({ file }) => !file.endsWith('.json'));
  t.deepEqual([...new Set(described.flatMap(reasons))], ['unknown_format']);
  t.is(described.flatMap(({ rows }) => rows).length, 0);
  t.deepEqual(recorded.flatMap(reasons), []);
  t.is(recorded.flatMap(({ rows }) => rows).length, 315);
});

testWith(
  corpus,
  'corpus',
  'Panther rule tests: each is a row or a fault, and only times decide among real records',
  (t, data) => {
    const lines = readFileSync(join(data, 'cloudtrail/panther_rule_tests/tests.jsonl'), 'utf8').trim().split('\n');
    const counts: Record<string, number> = { rows: 0 };
    for (const line of lines) {
      const { log } = JSON.parse(line) as { log: { eventTime?: unknown } };
      const decoded = decode(log);
      t.is(decoded.rows.length + decoded.faults.length, 1);
      counts.rows! += decoded.rows.length;
      for (const { reason } of decoded.faults) counts[reason] = (counts[reason] ?? 0) + 1;
    }
    t.deepEqual(Object.keys(counts).sort(), ['bad_time', 'rows', 'unknown_format']);
    t.is(lines.length, 350);
    t.is(counts.rows! + counts.bad_time! + counts.unknown_format!, 350);
  },
);

const PURGE = '00000000-0000-4000-8000-000000000002';
const recorded: readonly (readonly [file: string, eventIds: readonly string[], outcome: string])[] = [
  ['cloudtrail_records_file.json', [PURGE.replace(/2$/, '1'), PURGE, PURGE.replace(/2$/, '3')], ''],
  ['cloudtrail_single.json', [PURGE], ''],
  ['connect_json_schema_envelope.json', [PURGE], ''],
  ['cwlogs_control_message.json', [], 'CloudWatch Logs control message'],
  ['cwlogs_decoded.json', [PURGE], ''],
  ['cwlogs_kinesis_value.gz', [PURGE], ''],
  ['cwlogs_lambda_event.json', [PURGE], ''],
  ['eventbridge.json', [PURGE], ''],
  ['filebeat_kafka.json', [PURGE], ''],
  ['lookup_events_wrapper.json', [PURGE], ''],
  ['s3_notification_pointer.json', [], 'pointer'],
  ['sns_wrapped_cloudtrail_notification.json', [], 'pointer'],
  ['otlp_traces.json', [], 'unknown_format'],
  ['telegraf_influx_v1.txt', [], 'unknown_format'],
];

for (const [file, eventIds, outcome] of recorded) {
  testWith(recordings, 'recordings', `${file} as recorded gives ${eventIds.length} rows`, (t, data) => {
    const decoded = decode(readFileSync(join(data, 'envelopes', file)));
    t.deepEqual(
      decoded.rows.map(({ eventId }) => eventId),
      eventIds,
    );
    t.is([...reasons(decoded), ...decoded.skipped.keys()].join(), outcome);
    t.deepEqual(
      decoded.rows.flatMap(({ flags }) => flags),
      file.startsWith('lookup') ? ['unverifiable_origin'] : [],
    );
  });
}
