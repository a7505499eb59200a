import { gzipSync } from 'node:zlib';
import test from 'ava';
import { compressFrameSync } from 'lz4-napi';
import { compressSync } from 'snappy';
import { badBatchOf, replacement } from '../../shared/kafka/bad-batch.js';
import { type CodecName, decompress } from '../../shared/kafka/codecs.js';

/** Records of 100 bytes, as far as their lengths go. */
const plain = Buffer.concat(
  Array.from({ length: 500 }, () => Buffer.concat([Buffer.from([0xc8, 0x01]), Buffer.alloc(100, 'record ')])),
);

const MIB = 1024 * 1024;

function xerial(blocks: readonly Buffer[]): Buffer {
  const header = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
  return Buffer.concat([header, ...blocks.flatMap((block) => [uint32(block.length), block])]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

test('gzip, snappy bare and as Java frames it, and lz4 inflate', async (t) => {
  const half = plain.length / 2;
  const framed = xerial([compressSync(plain.subarray(0, half)), compressSync(plain.subarray(half))]);
  t.deepEqual(await decompress('gzip', gzipSync(plain)), plain);
  t.deepEqual(await decompress('snappy', compressSync(plain)), plain);
  t.deepEqual(await decompress('snappy', framed), plain);
  t.deepEqual(Buffer.from(await decompress('lz4', compressFrameSync(plain))), plain);
});

test('what is cut short or garbage is refused, whatever the codec', async (t) => {
  const cut = (bytes: Buffer) => bytes.subarray(0, bytes.length / 2);
  const given: [CodecName, Buffer][] = [
    ['gzip', cut(gzipSync(plain))],
    ['snappy', cut(compressSync(plain))],
    ['snappy', cut(xerial([compressSync(plain)]))],
    ['lz4', cut(compressFrameSync(plain))],
    ...(['gzip', 'snappy', 'lz4', 'zstd'] as const).flatMap((name): [CodecName, Buffer][] => [
      [name, Buffer.alloc(200, 0xab)],
      [name, Buffer.from([1])],
      [name, Buffer.alloc(0)],
    ]),
  ];
  for (const [name, bytes] of given)
    await t.throwsAsync(decompress(name, bytes), undefined, `${name}, ${bytes.length}`);
});

test('what inflates to something else than records is refused', async (t) => {
  for (const wrong of [
    Buffer.alloc(0),
    plain.subarray(1),
    plain.subarray(0, -1),
    Buffer.concat([plain, Buffer.alloc(1)]),
  ])
    await t.throwsAsync(decompress('snappy', compressSync(wrong)), { message: /records do not end/ });
  const messageSet = Buffer.alloc(40); // the formats before Kafka 0.11 begin with an offset
  t.deepEqual(await decompress('gzip', gzipSync(messageSet)), messageSet);
});

test('a bomb is refused before it fills the memory', async (t) => {
  const claimsMuch = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
  const frame = [Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x40, 0x70, 0])]; // blocks of 4 MiB
  for (let blocks = 0; blocks < 40; blocks += 1) frame.push(Buffer.from([1, 0, 0, 0, 0]));
  await t.throwsAsync(decompress('gzip', gzipSync(Buffer.alloc(129 * MIB))));
  await t.throwsAsync(decompress('snappy', claimsMuch), { message: /the bound is/ });
  await t.throwsAsync(decompress('lz4', Buffer.concat(frame)), { message: /the bound is/ });
});

test('a bad batch reads as records: the first holds it as it came, the others its further offsets', (t) => {
  const raw = Buffer.from('what came');
  const found = recordsIn(replacement('zstd', raw, new Error('it is cut short')), 5);
  t.deepEqual(
    found.map(({ offset }) => offset),
    [0, 1, 2, 3, 4],
  );
  const [first, ...further] = found.map(({ key, value }) => badBatchOf({ key, value } as never));
  t.deepEqual(first, { codec: 'zstd', detail: 'zstd batch cannot be inflated: it is cut short', raw });
  t.true(further.every((each) => each === 'further'));
  t.is(badBatchOf({ key: Buffer.from('somebody'), value: raw } as never), undefined);
});

/** Reads records as Kafka's message format v2 has them. */
function recordsIn(bytes: Buffer, count: number) {
  let at = 0;
  const signed = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
  };
  const field = () => {
    const size = signed();
    if (size < 0) return null;
    at += size;
    return bytes.subarray(at - size, at);
  };
  return Array.from({ length: count }, () => {
    const size = signed();
    const end = at + size;
    at += 1; // attributes
    signed(); // timestamp
    const read = { offset: signed(), key: field(), value: field() };
    at = end;
    return read;
  });
}
