import { promisify } from 'node:util';
import { unzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import kafkajs from 'kafkajs';
import { decompressFrame } from 'lz4-napi';
import { uncompress } from 'snappy';
import { replacement } from './bad-batch.js';

/**
 * Codecs for compressed record batches, bounded. kafkajs has gzip alone, without a bound, and a batch that it cannot inflate stops the consumer for good;
 * here what cannot be inflated becomes a batch that says so (bad-batch.ts), and costs only itself.
 *
 * | bound    | value   | why                                                                                  |
 * |----------|---------|--------------------------------------------------------------------------------------|
 * | inflated | 128 MiB | one batch; brokers take batches of 1 MiB by default (`message.max.bytes`), 200 : 1 is a bomb |
 */
const MOST_BYTES = 128 * 1024 * 1024;

export type CodecName = 'gzip' | 'snappy' | 'lz4' | 'zstd';

/** Registers the codecs for all clients of this process. */
export function registerCodecs(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  const gzip = CompressionCodecs[CompressionTypes.GZIP]();
  CompressionCodecs[CompressionTypes.GZIP] = codec('gzip', (encoder) => gzip.compress(encoder));
  CompressionCodecs[CompressionTypes.Snappy] = codec('snappy', cannotCompress);
  CompressionCodecs[CompressionTypes.LZ4] = codec('lz4', cannotCompress);
  CompressionCodecs[CompressionTypes.ZSTD] = codec('zstd', cannotCompress);
}

function cannotCompress(): never {
  throw new Error('Causeline sends gzip or nothing');
}

type Compress = (encoder: { buffer: Buffer }) => Promise<Buffer>;

function codec(name: CodecName, compress: Compress) {
  return () => ({
    compress,
    decompress: (compressed: Buffer) =>
      decompress(name, compressed).catch((cause: Error) => replacement(name, compressed, cause)),
  });
}

/** The inflated bytes of a batch. Throws what is wrong with it, in a sentence. */
export async function decompress(name: CodecName, compressed: Buffer): Promise<Buffer> {
  const inflated = await INFLATE[name](compressed);
  if (!endsWithARecord(inflated)) throw new Error('its records do not end where it ends');
  return inflated;
}

/** Not every codec has a checksum: garbage may inflate to garbage. Each record begins with its length, but in the old message sets (a first offset, so a zero). */
function endsWithARecord(bytes: Buffer): boolean {
  let at = 0;
  while (at < bytes.length && bytes[at] !== 0) {
    const first = at;
    while (bytes[at]! >= 0x80) at += 1;
    at += 1;
    at += Math.floor(varint(bytes.subarray(first, at)) / 2); // zigzag
  }
  return bytes.length > 0 && (at === bytes.length || (at === 0 && bytes[0] === 0));
}

const gunzip = promisify(unzip);

const INFLATE: Readonly<Record<CodecName, (compressed: Buffer) => Promise<Buffer>>> = {
  gzip: (compressed) => gunzip(compressed, { maxOutputLength: MOST_BYTES }),
  snappy: unsnappy,
  lz4: unlz4,
  zstd: unzstd,
};

function bounded(size: number): number {
  if (size > MOST_BYTES) throw new Error(`it would become ${size} bytes, the bound is ${MOST_BYTES}`);
  return size;
}

/** Java clients frame snappy as xerial does: a header of 16 bytes, then blocks with their lengths; others send it bare. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER = 16;

async function unsnappy(compressed: Buffer): Promise<Buffer> {
  if (!compressed.subarray(0, XERIAL.length).equals(XERIAL)) return unsnappyBlock(compressed);
  const blocks: Buffer[] = [];
  let size = 0;
  for (let at = XERIAL_HEADER; at < compressed.length; ) {
    const end = at + 4 + compressed.readUInt32BE(at);
    const block = await unsnappyBlock(compressed.subarray(at + 4, end));
    size = bounded(size + block.length);
    blocks.push(block);
    at = end;
  }
  return Buffer.concat(blocks, size);
}

async function unsnappyBlock(block: Buffer): Promise<Buffer> {
  bounded(varint(block));
  return Buffer.from(await uncompress(block, { asBuffer: true }));
}

/** The first number of these bytes, seven bits a byte, the lowest first; a snappy block begins with the length that it inflates to. */
function varint(bytes: Buffer): number {
  let value = 0;
  for (let index = 0; index < 5; index++) {
    const byte = bytes[index] ?? 0;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) break;
  }
  return value;
}

async function unlz4(compressed: Buffer): Promise<Buffer> {
  bounded(mostOfLz4(compressed));
  return decompressFrame(compressed);
}

/** LZ4 frame format: each block is at most as large as the frame's header says. */
const LZ4_MAGIC = 0x184d2204;
const LZ4_UNCOMPRESSED = 0x80000000;

/** How large a frame can become at most, from its header and the lengths of its blocks. */
function mostOfLz4(frame: Buffer): number {
  if (frame.readUInt32LE(0) !== LZ4_MAGIC) throw new Error('no LZ4 frame');
  const flags = frame.readUInt8(4);
  const largest = 2 ** (8 + 2 * ((frame.readUInt8(5) >> 4) & 7)); // 4: 64 KiB … 7: 4 MiB
  const sized = flags & 0x08 ? 8 : 0;
  const named = flags & 0x01 ? 4 : 0;
  const checked = flags & 0x10 ? 4 : 0;
  let blocks = 0;
  for (let at = 7 + sized + named; at + 4 <= frame.length; blocks++) {
    const length = frame.readUInt32LE(at);
    if (length === 0) break;
    at += 4 + (length & ~LZ4_UNCOMPRESSED) + checked;
  }
  return blocks * largest;
}

async function unzstd(compressed: Buffer): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  let ended = false;
  const stream = new Decompress((part, last) => {
    size = bounded(size + part.length);
    parts.push(part);
    ended ||= last ?? false;
  });
  stream.push(compressed, true);
  if (!ended) throw new Error('it is cut short');
  return Buffer.concat(parts, size);
}
