import test from 'ava';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { Wire, WireError } from '../../services/collect/formats/protobuf.js';

const bytes = (...values: number[]) => Uint8Array.from(values);

function field(input: Uint8Array): Wire {
  const wire = new Wire(input);
  wire.tag();
  return wire;
}

test('numbers are read as protobufjs writes them', (t) => {
  const written = (write: (writer: protobuf.Writer) => unknown, type: number) => {
    const writer = protobuf.Writer.create().uint32((3 << 3) | type);
    write(writer);
    return field(writer.finish());
  };
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      fc.double(),
      (big, small, double) => {
        const unsigned = BigInt.asUintN(64, big);
        t.is(BigInt(written((w) => w.int64(String(big)), 0).int64()), big);
        t.is(written((w) => w.fixed64(String(unsigned)), 1).fixed64(), unsigned);
        t.is(written((w) => w.sfixed64(String(big)), 1).sfixed64(), big);
        t.is(written((w) => w.int32(small), 0).int32(), small);
        t.is(written((w) => w.sint32(small), 0).sint32(), small);
        t.is(written((w) => w.uint32(small >>> 0), 0).uint32(), small >>> 0);
        t.is(written((w) => w.fixed32(small >>> 0), 5).fixed32(), small >>> 0);
        t.is(written((w) => w.double(double), 1).double(), double);
      },
    ),
  );
});

test('an int64 is a number only where that is exact', (t) => {
  const at = (value: bigint) => field(protobuf.Writer.create().uint32(8).int64(String(value)).finish()).int64();
  t.is(at(2n ** 53n - 1n), Number.MAX_SAFE_INTEGER);
  t.is(at(2n ** 53n), 2n ** 53n);
  t.is(at(-(2n ** 53n) + 1n), Number.MIN_SAFE_INTEGER);
  t.is(at(-(2n ** 53n)), -(2n ** 53n));
  t.is(at(-1n), -1);
});

test('strings of any length come back', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }).filter(isWellFormed), (text) => {
      t.is(field(protobuf.Writer.create().uint32(10).string(text).finish()).string(), text);
    }),
  );
  t.is(field(bytes(10, 3, 0xef, 0xbb, 0xbf)).string(), '\ufeff', 'a byte order mark inside a string belongs to it');
});

test('repeated numbers are read packed and one by one', (t) => {
  const packed: number[] = [];
  const packedBytes = protobuf.Writer.create().uint32(10).fork().double(1.5).double(-2).ldelim().finish();
  field(packedBytes).doubles(packed);
  const single: number[] = [];
  const wire = new Wire(protobuf.Writer.create().uint32(9).double(1.5).uint32(9).double(-2).finish());
  while (wire.more()) {
    wire.tag();
    wire.doubles(single);
  }
  t.deepEqual(packed, [1.5, -2]);
  t.deepEqual(single, packed);
});

test('unknown fields of every wire type are skipped, groups with what they hold', (t) => {
  const wire = new Wire(
    protobuf.Writer.create()
      .uint32((9 << 3) | 0)
      .int64('-1')
      .uint32((9 << 3) | 1)
      .double(1)
      .uint32((9 << 3) | 2)
      .string('text')
      .uint32((9 << 3) | 3)
      .uint32((2 << 3) | 3)
      .uint32(8)
      .uint32(1)
      .uint32((2 << 3) | 4)
      .uint32((9 << 3) | 4)
      .uint32((9 << 3) | 5)
      .fixed32(1)
      .uint32(8)
      .uint32(7)
      .finish(),
  );
  for (let i = 0; i < 5; i++) {
    t.is(wire.tag(), 9);
    wire.skip();
  }
  t.is(wire.tag(), 1);
  t.is(wire.uint32(), 7);
  t.false(wire.more());
});

const malformed: readonly [title: string, input: Uint8Array, read: (wire: Wire) => unknown, offset: number][] = [
  ['a varint cut short', bytes(8, 0x80), (w) => w.uint32(), 0],
  ['a varint of 11 bytes', bytes(8, ...zeros(10), 1), (w) => w.uint32(), 0],
  ['a length past the end', bytes(10, 5, 1), (w) => w.string(), 0],
  ['a length of 2^32 - 1', bytes(10, 0xff, 0xff, 0xff, 0xff, 0x0f), (w) => w.take(), 0],
  ['a length of 2^63', bytes(10, ...zeros(9), 1), (w) => w.skip(), 0],
  ['a fixed64 cut short', bytes(9, 1, 2, 3), (w) => w.fixed64(), 0],
  ['a fixed32 cut short', bytes(13, 1, 2, 3), (w) => w.skip(), 0],
  ['a packed field that is no multiple of 8', bytes(10, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0), (w) => w.doubles([]), 0],
  ['the wrong wire type', bytes(8, 1), (w) => w.string(), 0],
  ['a group without its end', bytes(11, 8, 1), (w) => w.skip(), 1],
  ['a group with the end of another', bytes(11, 20), (w) => w.skip(), 1],
  ['an end of a group that is not open', bytes(12), (w) => w.skip(), 0],
  ['groups 30,000 deep', new Uint8Array(30_000).fill(11), (w) => w.skip(), 100],
];

for (const [title, input, read, offset] of malformed) {
  test(`${title} is one kind of error that says where`, (t) => {
    const error = t.throws(() => read(field(input)), { instanceOf: WireError });
    t.is(error?.reason, 'bad_protobuf');
    t.is(error?.offset, offset);
  });
}

test('field number 0 and wire types 6 and 7 are refused', (t) => {
  for (const tag of [0, 2, 14, 15]) t.throws(() => new Wire(bytes(tag, 0)).tag(), { instanceOf: WireError });
  t.throws(() => new Wire(bytes(0x88, 0x80, 0x80, 0x80, 0x80, 1)).tag(), { instanceOf: WireError });
});

test('bytes that are not UTF-8 are no string', (t) => {
  for (const text of [bytes(0xff), bytes(0xc0, 0x80), bytes(0xed, 0xa0, 0x80), bytes(0x61, 0xe2, 0x82)]) {
    const error = t.throws(() => field(bytes(10, text.length, ...text)).string(), { instanceOf: WireError });
    t.is(error?.reason, 'bad_utf8');
    t.is(error?.offset, 2);
  }
});

test('nothing is read past the embedded message', (t) => {
  const wire = field(bytes(10, 2, 9, 1, 2, 3, 4, 5, 6, 7));
  wire.enter();
  wire.tag();
  t.throws(() => wire.fixed64(), { instanceOf: WireError });
});

test('any bytes end in fields or in that error', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (input) => {
      const wire = new Wire(input);
      try {
        while (wire.more()) {
          wire.tag();
          wire.skip();
        }
      } catch (error) {
        t.true(error instanceof WireError);
      }
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

/** Bytes of a varint that goes on and says nothing. */
function zeros(length: number): number[] {
  return Array.from({ length }, () => 0x80);
}

function isWellFormed(text: string): boolean {
  return Buffer.from(text).toString() === text;
}
