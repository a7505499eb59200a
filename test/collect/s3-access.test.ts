import { gzipSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { type AccessLine, accessLine } from '../../replay/generate/s3-access.js';
import { s3Access } from '../../services/collect/sources/s3-access.js';
import { gunzipBounded } from '../../shared/inflate.js';

const context = { origin: 's3-access/a', gunzip: gunzipBounded };
const decoded = (text: string) => s3Access.decode(Buffer.from(text), context);

const deletion: AccessLine = {
  at: '16/Mar/2024:19:15:02 +0000',
  bucket: 'prod-logs',
  operation: 'REST.DELETE.OBJECT',
  requestId: '3E57427F3EXAMPLE',
  requester: 'arn:aws:sts::123456789012:assumed-role/ci/run-1',
  ip: '192.0.2.3',
  key: 'a.gz',
  uri: 'DELETE /a.gz?versionId=v1 HTTP/1.1',
  status: 204,
  size: 4406,
  versionId: 'v1',
};

/** What a request's sender writes, made to look like the format. */
const sent = fc
  .array(
    fc.oneof(
      fc.constantFrom('"', '" "', ' ', '" 403 AccessDenied - - 1 1 "-" "', '- ', '[', '\\"', '"" - ', '%22', 'é'),
      fc.string({ maxLength: 4 }),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join('').replaceAll(/[\r\n]/g, ''));

test('whatever referer and user agent a caller sends, what S3 says of the request stays what it is', (t) => {
  fc.assert(
    fc.property(sent, sent, (referer, userAgent) => {
      const { rows, faults } = decoded(accessLine({ ...deletion, referer, userAgent }));
      t.deepEqual(faults, []);
      t.is(rows.length, 1);
      t.like(rows[0], {
        bucket: 'prod-logs',
        requester: deletion.requester,
        objectKey: 'a.gz',
        httpStatus: 204,
        errorCode: null,
        objectSize: 4406n,
        versionId: 'v1',
        hostId: 'Xs9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6Uk=',
      });
      const said = rows[0]!.flags.includes('ambiguous_quotes') ? null : userAgent;
      t.is(rows[0]!.userAgent, said === '-' ? null : said);
    }),
  );
});

test('a target with quotes in it does not end the request', (t) => {
  const target = fc.string({ minLength: 1, maxLength: 12 }).map((text) => text.replaceAll(/\s/g, '"'));
  fc.assert(
    fc.property(target, (text) => {
      const uri = `DELETE /${text} HTTP/1.1`;
      t.like(decoded(accessLine({ ...deletion, uri })).rows[0], { requestUri: uri, httpStatus: 204, versionId: 'v1' });
    }),
  );
});

test('a file is read alike in pieces of any size, plain and as gzip', (t) => {
  const lines = [deletion, { ...deletion, key: 'b%20c', requestId: 'R2' }].map(accessLine);
  const whole = Buffer.from([lines[0], 'no line', lines[1]].join('\n'));
  const expected = s3Access.decode(whole, context);
  t.is(expected.rows.length, 2);
  t.deepEqual(
    expected.faults.map(({ reason, position, raw }) => [reason, position, raw]),
    [['bad_record', 1, 'no line']],
  );
  t.deepEqual(s3Access.decode(gzipSync(whole), context), expected);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), (size) => {
      const file = s3Access.file(context);
      const parts = [];
      for (let at = 0; at < whole.length; at += size) parts.push(file.push(whole.subarray(at, at + size)));
      parts.push(file.end());
      t.deepEqual(
        parts.flatMap(({ rows }) => rows),
        expected.rows,
      );
    }),
  );
});

test('gzip that is none, and a line that is no UTF-8, are faults of their own', (t) => {
  t.deepEqual(
    s3Access.decode(Buffer.from([0x1f, 0x8b, 1, 2]), context).faults.map(({ reason }) => reason),
    ['bad_gzip'],
  );
  const bytes = Buffer.concat([Buffer.from('\xff\n', 'latin1'), Buffer.from(accessLine(deletion))]);
  const { rows, faults } = s3Access.decode(bytes, context);
  t.deepEqual([rows.length, faults.map(({ reason }) => reason)], [1, ['bad_utf8']]);
});

/** The key as it is logged, the key as it is, the flags. */
const keys: Readonly<Record<string, readonly [key: string | null, flags: readonly string[]]>> = {
  '-': [null, []],
  'a/b+c.gz': ['a/b+c.gz', []],
  'a%20b': ['a b', []],
  'gr%C3%BC%C3%9Fe': ['grüße', []],
  'a%2520b': ['a b', ['key_encoded_twice']],
  'a%2520b%20c': ['a%20b c', []],
  '100%25': ['100%', []],
  '100%2525': ['100%', ['key_encoded_twice']],
  'bad%2': ['bad%2', ['bad_escape']],
  'bad%FFbyte': ['bad%FFbyte', ['bad_escape']],
};

for (const [logged, [key, flags]] of Object.entries(keys))
  test(`a key that is logged as ${logged} is ${key}`, (t) => {
    t.like(decoded(accessLine({ ...deletion, key: logged })).rows[0], { objectKey: key, flags });
  });

test('any key comes back, encoded once or twice', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }), (key) => {
      const once = encodeURIComponent(key);
      if (key === '-') return;
      t.is(decoded(accessLine({ ...deletion, key: encodeURIComponent(once) })).rows[0]?.objectKey, key);
      if (!key.includes('%')) t.is(decoded(accessLine({ ...deletion, key: once })).rows[0]?.objectKey, key);
    }),
  );
});

const times: Readonly<Record<string, string | null>> = {
  '06/Feb/2019:00:00:38 +0000': '2019-02-06T00:00:38.000Z',
  '17/Mar/2024:03:15:02 +0800': '2024-03-16T19:15:02.000Z',
  '29/Feb/2024:23:59:59 -0130': '2024-03-01T01:29:59.000Z',
  '29/Feb/2023:00:00:00 +0000': null,
  '06/feb/2019:00:00:38 +0000': null,
  '06/Feb/2019:24:00:00 +0000': null,
  '06/Feb/2019:00:00:38 +2400': null,
  '2019-02-06T00:00:38Z': null,
};

for (const [at, iso] of Object.entries(times))
  test(`[${at}] is ${iso ?? 'no time'}`, (t) => {
    const { rows, faults } = decoded(accessLine({ ...deletion, at }));
    if (iso === null) t.is(faults[0]?.reason, 'bad_time');
    else t.is(rows[0]?.eventTimeMicros, BigInt(Date.parse(iso)) * 1000n);
  });

test('a time before AWS, or far ahead, is kept and flagged', (t) => {
  const flagsAt = (at: string) =>
    s3Access.decode(Buffer.from(accessLine({ ...deletion, at })), {
      ...context,
      nowUnixNano: 1_710_700_000_000_000_000n,
    }).rows[0]?.flags;
  t.deepEqual(flagsAt('06/Feb/1999:00:00:38 +0000'), ['impossible_time']);
  t.deepEqual(flagsAt('06/Feb/2099:00:00:38 +0000'), ['future_time']);
});
