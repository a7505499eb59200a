import test from 'ava';
import fc from 'fast-check';
import { canonical } from '../../services/collect/formats/canonical.js';
import {
  type Cut,
  JSON_BOUNDS,
  JsonError,
  latin1,
  listSplitter,
  memberText,
  readJson,
  splitValues,
  utf8,
  withoutMark,
} from '../../services/collect/formats/json.js';

const reasonOf = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof JsonError) return error.reason;
    throw error;
  }
  return 'none';
};

const parseJson = (bytes: Uint8Array): unknown => readJson(utf8(withoutMark(latin1(bytes)))).value;

const described = (cut: Cut): string => (cut.kind === 'value' ? cut.text : `${cut.reason}: ${cut.text}`);

/** The list's cuts, the document coming in pieces cut at these places. */
const listed = (list: string | undefined, document: string, places: readonly number[] = []): string[] => {
  const cuts: string[] = [];
  const splitter = listSplitter(list, (cut) => cuts.push(described(cut)));
  let end = -1;
  for (const piece of pieces(document, places)) if (end < 0) end = splitter.push(piece);
  splitter.end();
  return cuts;
};

const pieces = (text: string, places: readonly number[]): string[] => {
  const sorted = [0, ...places.map((place) => place % (text.length + 1)).sort((a, b) => a - b), text.length];
  return sorted.slice(1).map((end, n) => text.slice(sorted[n], end));
};

const anyJson = fc.jsonValue({ stringUnit: 'binary', maxDepth: 5 });
const places = fc.array(fc.nat(), { maxLength: 12 });

test('any JSON value is read as JSON.parse reads it', (t) => {
  fc.assert(
    fc.property(anyJson, fc.constantFrom(undefined, 2, '\t'), (value, space) => {
      const text = JSON.stringify(value, undefined, space);
      t.deepEqual(readJson(text).value, JSON.parse(text));
      t.deepEqual(parseJson(Buffer.from(text)), JSON.parse(text));
    }),
  );
});

test('a value has one body, however its keys are ordered and its text is laid out', (t) => {
  t.is(readJson('{"a":1,"b":[{"c":"x","d":null}]}').body, readJson('{ "b": [{"d":null,\n"c":"x"}], "a":1.0 }').body);
  t.not(readJson('{"a":"1"}').body, readJson('{"a":1}').body);
});

test('a key that stands twice is refused wherever it is, also when it is spelled with escapes', (t) => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), anyJson, { minKeys: 1 }),
      fc.nat(),
      fc.boolean(),
      (value, which, escaped) => {
        t.is(
          reasonOf(() => readJson(withDuplicate(value, which, escaped))),
          'duplicate_key',
        );
      },
    ),
  );
});

/** The JSON text of a value, where one of its keys, counted over all its objects, stands a second time. */
function withDuplicate(root: unknown, which: number, escaped: boolean): string {
  const total = keysIn(root);
  let left = which % total;
  const write = (value: unknown): string => {
    if (Array.isArray(value)) return `[${value.map(write).join()}]`;
    if (typeof value !== 'object' || value === null) return JSON.stringify(value);
    const members = Object.entries(value).flatMap(([key, member]) => {
      const once = `${JSON.stringify(key)}:${write(member)}`;
      return left-- === 0 ? [`${escaped ? inEscapes(key) : JSON.stringify(key)}:0`, once] : [once];
    });
    return `{${members.join()}}`;
  };
  return write(root);
}

function keysIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum: number, member) => sum + keysIn(member), own);
}

const inEscapes = (key: string): string => {
  const units = Array.from({ length: key.length }, (_, n) => key.charCodeAt(n).toString(16).padStart(4, '0'));
  return `"${units.map((unit) => `\\u${unit}`).join('')}"`;
};

test('what JSON.parse refuses is refused, and numbers that no double holds', (t) => {
  const refused = [
    '',
    '{',
    '{"a":1,}',
    '[1,]',
    'NaN',
    '{"a":Infinity}',
    "{'a':1}",
    '{"a":1}x',
    '{"a" 1}',
    '{"a":1e400}',
  ];
  for (const text of refused)
    t.is(
      reasonOf(() => readJson(text)),
      'bad_json',
      text,
    );
});

test('a number that no double is is read as the nearest, and stands in the body as it is written', (t) => {
  t.deepEqual(readJson('{"n":9007199254740993}').value, { n: 9007199254740992 });
  const bodyOf = (number: string) => readJson(`{"a":"1${'0'.repeat(20)}","n":[${number}]}`).body;
  const same = [
    ['9007199254740992', '9007199254740992.0', '9.007199254740992e15'],
    ['0.1', '0.10', '1e-1', '100e-3'],
    ['42.73333333333333'],
    ['1e21', '1000000000000000000000'],
    ['0', '-0', '0.000', '0e5'],
    ['5e-324'],
  ];
  const others = [
    '9007199254740993',
    '-9007199254740993',
    '12345678901234567890',
    '12345678901234567891',
    '0.1000000000000000055',
    '1e-400',
    '2e-400',
    '4.9e-324',
  ];
  for (const [first, ...rest] of same)
    for (const number of rest) t.is(bodyOf(number), bodyOf(first!), `${number} is ${first}`);
  const all = [...same.map(([first]) => first!), ...others];
  t.is(new Set(all.map(bodyOf)).size, all.length);
  t.is(bodyOf('42.73333333333333'), canonical({ a: `1${'0'.repeat(20)}`, n: [42.73333333333333] }).text);
});

test('bytes that are not UTF-8 are refused, and so is half of a surrogate pair', (t) => {
  t.is(
    reasonOf(() => parseJson(Buffer.from([0x22, 0xc3, 0x28, 0x22]))),
    'bad_utf8',
  );
  t.is(
    reasonOf(() => parseJson(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))),
    'bad_utf8',
  );
  t.is(
    reasonOf(() => readJson('{"a":"\\ud800"}')),
    'bad_utf8',
  );
  t.is(
    reasonOf(() => readJson('{"\\udc00":1}')),
    'bad_utf8',
  );
  t.is(readJson('"\\ud83d\\ude00"').value, '😀');
});

test('a byte order mark may come first, and nowhere else', (t) => {
  t.deepEqual(parseJson(Buffer.from('\ufeff{"a":"é"}')), { a: 'é' });
  t.is(
    reasonOf(() => parseJson(Buffer.from('{"a":1}\ufeff'))),
    'bad_json',
  );
});

test('nesting is refused past the bound, a million levels as well as one', (t) => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  t.notThrows(() => readJson(nested(JSON_BOUNDS.depth)));
  t.is(
    reasonOf(() => readJson(nested(JSON_BOUNDS.depth + 1))),
    'too_deep',
  );
  t.is(
    reasonOf(() => readJson(nested(1_000_000))),
    'too_deep',
  );
  t.is(
    reasonOf(() => readJson('{"a":'.repeat(100_000))),
    'too_deep',
  );
});

test('__proto__ is a key like others and changes no prototype', (t) => {
  const { value } = readJson('{"__proto__":{"polluted":true},"a":1}');
  t.deepEqual(Object.keys(value as object), ['__proto__', 'a']);
  t.is((value as { polluted?: boolean }).polluted, undefined);
});

test('objects back to back are told apart, with white space or none between them', (t) => {
  t.deepEqual(splitValues('{"a":"}{"}{"b":[{}]}\r\n [1]\n').map(described), ['{"a":"}{"}', '{"b":[{}]}', '[1]']);
});

test('a line that is no object costs itself, a value without end costs the rest', (t) => {
  const cuts = splitValues('{"a":1}\nmetric 1\nmetric 2\n{"b":2}{"c":').map(described);
  t.deepEqual(cuts, ['{"a":1}', 'unknown_format: metric 1\nmetric 2', '{"b":2}', 'bad_json: {"c":']);
});

test('a member is found by its name, not by text that looks like it', (t) => {
  const object = String.raw`{ "x":"\"detail\":1", "n":{"detail":2}, "d\u0065tail" : {"a":[1, "}"]} ,"z":-1.5e3}`;
  t.is(memberText(object, 'detail'), '{"a":[1, "}"]}');
  t.is(memberText(object, 'z'), '-1.5e3');
  t.is(memberText(object, 'none'), undefined);
});

test('a list comes out value by value and the same, wherever its bytes are cut', (t) => {
  fc.assert(
    fc.property(fc.array(anyJson), fc.constantFrom(undefined, 1), places, (values, space, cutAt) => {
      const texts = values.map((value) => JSON.stringify(value, undefined, space));
      const between = space ? ' ,\n' : ',';
      t.deepEqual(listed('Records', `{ "Records" : [${texts.join(between)}] }`, cutAt), texts);
      t.deepEqual(listed(undefined, `[${texts.join(between)}]`, cutAt), texts);
    }),
  );
});

test('a document that breaks off keeps what came before, wherever its bytes are cut', (t) => {
  const whole = '{"Records":[{"a":"\\\\\\""},{"b":"é}"},{"c":[1,{}]}],"other":{"x":1},"Records":[{}]}';
  fc.assert(
    fc.property(fc.nat(whole.length - 1), places, (length, cutAt) => {
      const document = whole.slice(0, length);
      const cuts = listed('Records', document, cutAt);
      t.deepEqual(cuts, listed('Records', document));
      t.true(cuts.at(-1)?.startsWith('bad_json: '));
    }),
  );
});

test('members beside the list, and a second list, are not passed over', (t) => {
  t.deepEqual(listed('Records', '{"v":"1","Records":[{"a":1}],"more":[{"b":2}],"Records":[{"c":3}]}'), [
    'unknown_format: "v":"1"',
    '{"a":1}',
    'unknown_format: "more":[{"b":2}]',
    'duplicate_key: "Records":[{"c":3}]',
  ]);
  t.deepEqual(listed('Records', '{"Records":{"a":1}}'), ['bad_record: "Records":{"a":1}']);
});

test('where a list stops to be JSON, the rest is kept as one broken piece', (t) => {
  t.deepEqual(listed('Records', '{"Records":[{"a":1},,{"b":2}]}'), ['{"a":1}', 'bad_json: ,{"b":2}]}']);
  t.deepEqual(listed('Records', '{"Records":[{"a":1} {"b":2}]}'), ['{"a":1}', 'bad_json: {"b":2}]}']);
  t.deepEqual(listed('Records', '{"Records":[{"a":1},]}'), ['{"a":1}', 'bad_json: ]}']);
  t.deepEqual(listed('Records', '{"Records":[]'), ['bad_json: ']);
});

test('a record with a bracket too few costs itself, not the records after it', (t) => {
  t.deepEqual(listed('Records', '{"Records":[{"a":[1},{"b":2}]}'), ['{"a":[1}', '{"b":2}']);
  t.is(
    reasonOf(() => readJson('{"a":[1}')),
    'bad_json',
  );
});

test('a record over the bound is set aside with its head, and the next one is read', (t) => {
  const big = `{"a":"${'x'.repeat(JSON_BOUNDS.record)}"}`;
  const cuts: Cut[] = [];
  const splitter = listSplitter('Records', (cut) => cuts.push(cut));
  for (const piece of pieces(`{"Records":[${big},{"b":2}]}`, [1000, 70_000, 9_000_000])) splitter.push(piece);
  splitter.end();
  t.deepEqual(
    cuts.map((cut) => (cut.kind === 'value' ? cut.text : cut.reason)),
    ['too_large', '{"b":2}'],
  );
  t.is(cuts[0]?.text, big.slice(0, JSON_BOUNDS.kept));
});
