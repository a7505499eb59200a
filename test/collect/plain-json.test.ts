import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { JsonError, latin1, readJson, utf8 } from '../../services/collect/formats/json.js';
import { type Members, PlainReader } from '../../services/collect/formats/plain-json.js';
import { sha256 } from '../../shared/hash.js';

const ASKED: Members = { a: true, b: { c: true, d: { a: true } }, list: true };

/** One for all: it keeps the shapes of what it has read. */
const reader = new PlainReader(ASKED);

const key = fc.oneof(fc.constantFrom('a', 'b', 'c', 'd', 'list', 'a longer key', '', '__proto__', '7'), fc.string());
const anyText = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\\', '"', '\u0000', '\u007f', 'é'),
);
const number = fc.oneof(fc.integer(), fc.double({ noDefaultInfinity: true, noNaN: true }), fc.maxSafeInteger());

const anyObject = fc.letrec<{ value: unknown; object: object }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    anyText,
    number,
    fc.constantFrom(true, false, null),
    fc.array(tie('value'), { maxLength: 5 }),
    tie('object'),
  ),
  object: fc.dictionary(key, tie('value'), { maxKeys: 8, noNullPrototype: true }),
})).object;

const plainText = fc.stringMatching(/^[ !#-[\]-~\x7f]{0,80}$/);
const plainObject = fc.letrec<{ value: unknown; object: object }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    plainText,
    fc.integer(),
    fc.constantFrom(true, false, null),
    fc.array(tie('value'), { maxLength: 5 }),
    tie('object'),
  ),
  object: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'list', 'a longer key'), tie('value'), { minKeys: 1 }),
})).object;

/** Whether the object at `at` was taken; what is said of it must be what readJson says. */
function taken(t: ExecutionContext, bytes: Uint8Array, at: number): boolean {
  const piece = latin1(bytes);
  const reading = reader.read(piece, at);
  if (!reading) return false;
  t.is(reading.text, piece.slice(at, reading.end));
  t.regex(reading.text, /^[ -\x7f]*$/);
  const { value, body } = readJson(utf8(reading.text));
  t.is(reading.bodyHash, sha256(body));
  t.deepEqual(reading.value, asked(value as Record<string, unknown>, ASKED));
  return true;
}

function asked(object: Record<string, unknown>, members: Members): unknown {
  const found: Record<string, unknown> = {};
  for (const [name, own] of Object.entries(members)) {
    if (!Object.hasOwn(object, name)) continue;
    const value = object[name];
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    found[name] = own !== true && isObject ? asked(value as Record<string, unknown>, own) : value;
  }
  return found;
}

test('what is taken is what readJson reads, whatever stands around it', (t) => {
  fc.assert(
    fc.property(anyObject, anyText, anyText, (value, before, after) => {
      taken(t, Buffer.from(`${before}${JSON.stringify(value)}${after}`), Buffer.byteLength(before));
    }),
    { numRuns: 2000 },
  );
});

test('of a text with a byte changed, put in or left out, no more is taken than readJson takes', (t) => {
  const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }), cut: fc.nat(2), put: fc.boolean() });
  const near = fc.constantFrom(...Buffer.from('"\\{}[]:,-0.e \n\x00\x1f\x7f\x80a')).map((byte) => byte);
  fc.assert(
    fc.property(fc.oneof(plainObject, anyObject), change, fc.option(near), (value, { at, byte, cut, put }, other) => {
      const bytes = Buffer.from(JSON.stringify(value));
      const place = at % bytes.length;
      const middle = put ? Buffer.of(other ?? byte) : Buffer.alloc(0);
      taken(t, Buffer.concat([bytes.subarray(0, place), middle, bytes.subarray(place + cut)]), 0);
    }),
    { numRuns: 5000 },
  );
});

test('plain objects are taken, one after the other from one piece, but for one that does not end in it', (t) => {
  fc.assert(
    fc.property(fc.array(plainObject, { minLength: 1, maxLength: 5 }), fc.nat(), (values, cut) => {
      const texts = values.map((value) => JSON.stringify(value));
      const bytes = Buffer.from(texts.join());
      let at = 0;
      for (const text of texts) {
        t.true(taken(t, bytes, at), text);
        at += text.length + 1;
      }
      const last = texts.at(-1)!;
      const start = bytes.length - last.length;
      t.false(taken(t, bytes.subarray(0, start + (cut % last.length)), start));
    }),
  );
});

test('what parsers could read differently is left to readJson, which says why', (t) => {
  const left: readonly [text: string, reason: string][] = [
    ['{"a":1,"a":2}', 'duplicate_key'],
    ['{"b":{"x":1,"y":2,"x":3}}', 'duplicate_key'],
    ['{"a":NaN}', 'bad_json'],
    ['{"a":007}', 'bad_json'],
    ['{"a":1e999}', 'bad_json'],
    ['{"a":"\t"}', 'bad_json'],
    ['{"a\u0001":1}', 'bad_json'],
    ['{"a":1,}', 'bad_json'],
    ['{"a":[1,]}', 'bad_json'],
    ['{"a":"\xc3("}', 'bad_utf8'],
    [`{"a":${'['.repeat(64)}${']'.repeat(64)}}`, 'too_deep'],
    ['{"a":"\\u0061"}', 'none'],
    ['{"a":"\xc3\xa9"}', 'none'],
    ['{"a":9007199254740993}', 'none'],
    ['{"a":1.0}', 'none'],
    ['{"a":-0}', 'none'],
    ['{"__proto__":1}', 'none'],
    ['{ "a":1}', 'none'],
    ['{"":1}', 'none'],
  ];
  for (const [text, reason] of left) {
    t.is(reader.read(text, 0), undefined, text);
    t.is(reasonOf(text), reason, text);
  }
  t.true(taken(t, Buffer.from('{}'), 0));
  t.true(taken(t, Buffer.from(`{"a":${'['.repeat(63)}${']'.repeat(63)}}`), 0));
});

function reasonOf(binary: string): string {
  try {
    readJson(utf8(binary));
    return 'none';
  } catch (error) {
    if (error instanceof JsonError) return error.reason;
    throw error;
  }
}

test('keys that are data, in any number, cost no memory and change nothing', (t) => {
  for (let n = 0; n < 30_000; n++) t.true(reader.read(`{"a":"x","key ${n}":{"tag ${n}":true}}`, 0) !== undefined);
  t.true(taken(t, Buffer.from('{"a":"x","b":{"c":7,"d":{"a":[1,{"a":null}]}}}'), 0));
});

test('what there is no room for is left to readJson, and what comes after it is read', (t) => {
  const keys = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`key ${n}`, n]));
  const values = (count: number) => ({ a: Array.from({ length: count }, (_, n) => n) });
  const bytes = (count: number) => ({ a: 'x'.repeat(count - '{"a":""}'.length) });
  for (const [fits, over] of [
    [keys(512), keys(513)],
    [values(8190), values(8191)],
    [bytes(1024 * 1024), bytes(1024 * 1024 + 1)],
  ]) {
    t.true(taken(t, Buffer.from(JSON.stringify(fits)), 0));
    t.false(taken(t, Buffer.from(JSON.stringify(over)), 0));
    t.true(taken(t, Buffer.from('{"a":"x","b":{"c":7,"d":{"a":[1,{"a":null}]}}}'), 0));
  }
});

test('strings and keys of any length end where they end, whatever stood there before', (t) => {
  for (let length = 0; length <= 70; length++) {
    const text = 'y'.repeat(length);
    t.true(taken(t, Buffer.from(`{"a":"${text}"}`), 0));
    t.true(taken(t, Buffer.from(`{"${text}k":"${text}"}`), 0));
    t.false(taken(t, Buffer.from(`{"a":"${text}`), 0));
    t.false(taken(t, Buffer.from(`{"${text}k`), 0));
    for (const odd of ['\n', '\u007f', '\u0080', '\u001f', '\\'])
      t.is(taken(t, Buffer.from(`{"a":"${text}${odd}"}`, 'latin1'), 0), odd === '\u007f');
  }
});
