import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { crc32, gzipSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { GzipError, gunzipBounded, inflateFile } from '../../shared/inflate.js';

const text = Buffer.from(
  Array.from({ length: 20_000 }, (_, n) => `line ${n} ${(n * 2654435761) % 4294967296}\n`).join(''),
);

/** What a stream gave, the error it ended with, and how many members it saw. */
const drained = async (bytes: Uint8Array, pieceSize = 10_000) => {
  const file = inflateFile(Readable.from(inPieces(bytes, pieceSize)));
  const outputs: Buffer[] = [];
  let error: unknown;
  try {
    for await (const output of file) outputs.push(Buffer.from(output));
  } catch (thrown) {
    error = thrown;
  }
  return { output: Buffer.concat(outputs), error, members: file.members };
};

function* inPieces(bytes: Uint8Array, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size));
}

const codeOf = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof GzipError) return error.code;
    throw error;
  }
  return 'none';
};

const damaged = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 0xff;
  return copy;
};

const zip = gzipSync(text);

test('members come out whole and in order, in memory and as a stream, in pieces of any size', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 3000 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 400 }),
      async (parts, pieceSize) => {
        const bytes = Buffer.concat(parts.map((part) => gzipSync(part)));
        const plain = Buffer.concat(parts);
        t.deepEqual(Buffer.from(gunzipBounded(bytes)), plain);
        t.deepEqual(await drained(bytes, pieceSize), { output: plain, error: undefined, members: parts.length });
      },
    ),
    { numRuns: 50 },
  );
});

test('a large input is streamed, whatever the members around the large one', async (t) => {
  const noise = Buffer.from(
    Uint32Array.from({ length: 600_000 }, (_, n) => Math.imul(n ^ (n >>> 7), 2654435761)).buffer,
  );
  const large = gzipSync(noise, { level: 1 });
  t.true(large.length > 1024 * 1024);
  for (const parts of [[noise], [text, noise], [noise, text], [Buffer.alloc(0), noise, text, Buffer.alloc(0)]]) {
    const bytes = Buffer.concat(parts.map((part) => (part === noise ? large : gzipSync(part))));
    const { output, error, members } = await drained(bytes, 70_001);
    t.is(error, undefined);
    t.true(output.equals(Buffer.concat(parts)));
    t.is(members, parts.length);
    const cut = await drained(bytes.subarray(0, -1), 70_001);
    t.like(cut.error, { code: 'Z_BUF_ERROR' });
    t.true(cut.output.equals(Buffer.concat(parts)));
  }
});

test('plain bytes pass as they are, and gzip is known by its bytes, not by a name', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'causeline-inflate-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [name, bytes] of [
    ['plain.json.gz', text],
    ['zipped.json', zip],
    ['empty.gz', Buffer.alloc(0)],
  ] as const) {
    writeFileSync(join(folder, name), bytes);
    const outputs: Buffer[] = [];
    for await (const output of inflateFile(join(folder, name))) outputs.push(output);
    t.true(Buffer.concat(outputs).equals(name === 'empty.gz' ? Buffer.alloc(0) : text), name);
  }
  t.is((await drained(text)).members, 0);
});

test('a header with a name, a comment, extra bytes and a checksum is read over', async (t) => {
  const fields = Buffer.concat([
    Buffer.from([3, 0, 1, 2, 3]),
    Buffer.from('trail.json\0by hand\0'),
    Buffer.from([0, 0]),
  ]);
  const head = Buffer.from([0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3]);
  const bytes = Buffer.concat([head, fields, zip.subarray(10)]);
  t.true(text.equals(gunzipBounded(bytes)));
  t.true((await drained(bytes, 13)).output.equals(text));
});

test('a file cut short says so, after all that it held has been given', async (t) => {
  const cut = zip.subarray(0, zip.length - 4);
  const { output, error } = await drained(cut);
  t.true(output.equals(text));
  t.like(error, { code: 'Z_BUF_ERROR', message: 'Gzip member 1 is cut short (Z_BUF_ERROR).' });
  t.is(
    codeOf(() => gunzipBounded(cut)),
    'Z_BUF_ERROR',
  );

  const half = await drained(zip.subarray(0, zip.length >> 1));
  t.like(half.error, { code: 'Z_BUF_ERROR' });
  t.true(half.output.length > text.length / 3);
  t.true(half.output.equals(text.subarray(0, half.output.length)));
  for (const length of [2, 9, 10, 11, 17])
    t.like((await drained(zip.subarray(0, length))).error, { code: 'Z_BUF_ERROR' });
});

test('of what has a wrong checksum or length nothing is given, unless it is too large to be held until then', async (t) => {
  const noise = randomBytes(1_200_000);
  for (const [plain, given] of [
    [text, ''],
    [noise, noise],
  ] as const)
    for (const fromEnd of [8, 4]) {
      const good = gzipSync(plain);
      const bad = damaged(good, good.length - fromEnd);
      const { output, error } = await drained(bad);
      t.true(output.equals(Buffer.from(given)));
      t.like(error, { code: 'Z_DATA_ERROR', isDoubtful: given !== '' });
      t.is(
        codeOf(() => gunzipBounded(bad)),
        'Z_DATA_ERROR',
      );
    }
});

test('a name without end is refused, in an input of any size', async (t) => {
  const head = Buffer.from([0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3]);
  for (const after of [Buffer.alloc(0), randomBytes(1_200_000)]) {
    const bytes = Buffer.concat([head, Buffer.alloc(70_000, 'n'), Buffer.from([0]), zip.subarray(10), after]);
    t.like((await drained(bytes)).error, { code: 'TOO_LARGE' });
    t.is(
      codeOf(() => gunzipBounded(bytes)),
      'TOO_LARGE',
    );
  }
});

test('damage in a second member leaves the first', async (t) => {
  const bytes = Buffer.concat([zip, damaged(zip, 3)]);
  const { output, error, members } = await drained(bytes);
  t.true(output.equals(text));
  t.like(error, { code: 'Z_DATA_ERROR' });
  t.is(members, 2);
});

test('damage inside deflated data costs no more than the buffer it is found in', async (t) => {
  const header = zip.subarray(0, 10);
  const block = Buffer.from([0, 0xff, 0xff, 0, 0]); // stored, not the last one, of 65,535 bytes
  const blocks = Array.from({ length: 5 }, (_, n) => [block, text.subarray(n * 65_535, (n + 1) * 65_535)]).flat();
  const invalid = Buffer.from([0x07]);
  const { output, error } = await drained(Buffer.concat([header, ...blocks, invalid, Buffer.alloc(100_000)]));
  t.like(error, { code: 'Z_DATA_ERROR' });
  t.true(output.length >= 4 * 65_535);
  t.true(output.equals(text.subarray(0, output.length)));
});

test('anything after the last member is refused, zeros too, which Node passes over', async (t) => {
  for (const after of [
    Buffer.alloc(512),
    Buffer.from([0]),
    Buffer.from('\0secret'),
    Buffer.from('garbage'),
    Buffer.from([0x1f]),
  ]) {
    const bytes = Buffer.concat([zip, after]);
    const { output, error } = await drained(bytes);
    t.true(output.equals(text));
    t.true(error instanceof GzipError);
    t.not(
      codeOf(() => gunzipBounded(bytes)),
      'none',
    );
  }
});

test('a bomb is stopped early, and text that repeats itself is not taken for one', async (t) => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  t.is(
    codeOf(() => gunzipBounded(bomb)),
    'TOO_LARGE',
  );
  const { output, error } = await drained(bomb, 65_536);
  t.like(error, { code: 'TOO_LARGE' });
  t.true(output.length < 20 * 1024 * 1024);

  const repeated = Buffer.alloc(900_000, '{"a":1}');
  t.is(gunzipBounded(gzipSync(repeated)).length, repeated.length);
  t.is((await drained(gzipSync(repeated))).output.length, repeated.length);
});

test('a reader that stops early leaves nothing open', async (t) => {
  const source = Readable.from(inPieces(zip, 1000));
  for await (const output of inflateFile(source)) {
    t.true(output.length > 0);
    break;
  }
  t.true(source.destroyed);
  t.is(crc32(text), zip.readUInt32LE(zip.length - 8));
});

test('a file that is not there is the reader’s error, not gzip’s', async (t) => {
  const reading = async () => {
    for await (const _ of inflateFile('/nonexistent/causeline.gz')) t.fail();
  };
  await t.throwsAsync(reading, { code: 'ENOENT' });
});
