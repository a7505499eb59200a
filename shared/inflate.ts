import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { crc32, createInflateRaw, type InflateRaw, inflateRaw, inflateRawSync } from 'node:zlib';

/**
 * Gzip (RFC 1952) within bounds. Node's own gunzip joins members silently and takes zeros, and then anything, after the
 * last one; here members are read one by one, and the input must end with one. Zeros too are refused: they belong to no
 * member, and what follows them would be evidence that nobody reads. Tape padding, their one honest cause, does not
 * occur in objects and messages.
 *
 * | bound   | value   | why                                                                                   |
 * |---------|---------|---------------------------------------------------------------------------------------|
 * | ratio   | 200 : 1 | above `free` inflated bytes; real telemetry stays under 60 : 1, a bomb is at 1,000 : 1  |
 * | free    | 1 MiB   | small inputs of repeated text may exceed the ratio                                     |
 * | message | 256 MiB | one message, inflated: it is held in memory, and as one string                         |
 * | file    | 4 GiB   | one file, inflated: CloudTrail files are at most 50 MB compressed, and stream          |
 * | members | 100,000 | of one input: Firehose joins one per record; an empty one costs 20 bytes and an inflater |
 */
const INFLATE_BOUNDS = {
  ratio: 200,
  free: 1024 * 1024,
  message: 256 * 1024 * 1024,
  file: 4 * 1024 * 1024 * 1024,
  members: 100_000,
} as const;

/** Bytes of a file, inflated where they are gzip. */
interface Inflated extends AsyncIterable<Buffer> {
  /** Gzip members seen so far; 0 for a plain file. CloudTrail writes one. */
  readonly members: number;
}

/** Why gzip cannot be read, in one sentence; `code` is zlib's, or TOO_LARGE where a bound was met. */
export class GzipError extends Error {
  readonly code: string;
  /** What was yielded before it may be wrong anywhere. */
  readonly isDoubtful: boolean;

  constructor(code: string, detail: string, isDoubtful = false) {
    super(`${detail} (${code}).`);
    this.name = 'GzipError';
    this.code = code;
    this.isDoubtful = isDoubtful;
  }
}

/** Starts the bytes with gzip's two magic ones? */
function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === MAGIC_1 && bytes[1] === MAGIC_2;
}

/** One gzip value, whole. Throws GzipError; nothing of a damaged value is returned. */
export function gunzipBounded(bytes: Uint8Array): Uint8Array {
  const outputs: Buffer[] = [];
  let size = 0;
  let at = 0;
  let members = 0;
  const most = Math.min(INFLATE_BOUNDS.message, allowed(bytes.length));
  while (at < bytes.length || members === 0) {
    checkMembers(++members);
    const member = memberOf(bytes.subarray(at), members, most - size);
    outputs.push(member.output);
    size += member.output.length;
    at += member.consumed;
  }
  return outputs.length === 1 ? outputs[0]! : Buffer.concat(outputs, size);
}

/**
 * A file, or anything that streams its bytes. Gzip is known by its first two bytes, not by a name; plain bytes pass
 * through. Throws GzipError after what was inflated before has been yielded, but for damage inside deflated data: there
 * zlib keeps its last buffer, up to 96 KiB, to itself. Of a member with a wrong checksum nothing is yielded in an input of
 * less than SMALL where it inflates to no more than SMALL_OUTPUT; the error says where something was (`isDoubtful`).
 */
export function inflateFile(input: string | Readable): Inflated {
  const state = { members: 0 };
  const source = typeof input === 'string' ? createReadStream(input) : input;
  return {
    get members() {
      return state.members;
    },
    [Symbol.asyncIterator]: () => inflateStream(source, state),
  };
}

const MAGIC_1 = 0x1f;
const MAGIC_2 = 0x8b;

function allowed(compressed: number): number {
  return Math.max(INFLATE_BOUNDS.free, compressed * INFLATE_BOUNDS.ratio);
}

function checkMembers(members: number): void {
  if (members > INFLATE_BOUNDS.members)
    throw new GzipError('TOO_LARGE', `Gzip has over ${INFLATE_BOUNDS.members} members`);
}

/* ---- a value in memory ---- */

function memberOf(bytes: Uint8Array, member: number, room: number): { output: Buffer; consumed: number } {
  const header = headerLength(bytes, member);
  if (header === undefined) throw truncated(member);
  const { buffer: output, engine } = inflateWhole(bytes.subarray(header), member, room);
  const end = header + engine.bytesWritten;
  if (end + TRAILER > bytes.length) throw truncated(member);
  checkTrailer(bytes.subarray(end, end + TRAILER), crc32(output), output.length, member);
  return { output, consumed: end + TRAILER };
}

function inflateWhole(deflated: Uint8Array, member: number, room: number): { buffer: Buffer; engine: InflateRaw } {
  try {
    // `info` makes Node return the engine too, which @types/node does not say
    return inflateRawSync(deflated, { info: true, maxOutputLength: Math.max(room, 1) }) as unknown as {
      buffer: Buffer;
      engine: InflateRaw;
    };
  } catch (error) {
    throw zlibError(error, member);
  }
}

/* ---- a stream ---- */

async function* inflateStream(source: Readable, state: { members: number }): AsyncGenerator<Buffer> {
  const input = byteQueue(source);
  try {
    if (!isGzip((await input.atLeast(2)) ?? EMPTY)) {
      for (let bytes = await input.atLeast(1); bytes; bytes = await input.atLeast(1)) {
        input.skip(bytes.length);
        yield bytes;
      }
      return;
    }
    const isSmall = !(await input.atLeast(SMALL));
    let size = 0;
    while (state.members === 0 || (await input.atLeast(1))) {
      checkMembers(++state.members);
      const whole = isSmall ? await smallMember(input, state.members, size) : undefined;
      if (whole) {
        size += whole.length;
        for (let at = 0; at < whole.length; at += OUTPUT) yield whole.subarray(at, at + OUTPUT);
        continue;
      }
      for await (const output of streamMember(input, state.members)) {
        size += output.length;
        checkSize(size, input.taken);
        yield output;
      }
    }
  } finally {
    source.destroy();
  }
}

function checkSize(inflated: number, compressed: number): void {
  if (inflated > INFLATE_BOUNDS.file)
    throw new GzipError('TOO_LARGE', `Gzip inflates to over ${INFLATE_BOUNDS.file} bytes`);
  if (inflated > allowed(compressed)) {
    throw new GzipError('TOO_LARGE', `Gzip inflates to over ${INFLATE_BOUNDS.ratio} times its size`);
  }
}

/** An input of fewer bytes is inflated a member at a time: a log file of a thousand records is, and streaming it costs as much again. */
const SMALL = 1024 * 1024;
/** As long as a member is no larger. */
const SMALL_OUTPUT = 8 * 1024 * 1024;
/** How large the first one is, its trailer says; where more follow, each is a record or a few. */
const NEXT_OUTPUT = 16 * 1024;

/**
 * The next member of a small input; undefined where it inflates to much, or is damaged: read as a stream, it says how. Throws GzipError where all of it can be inflated and
 * comes to something else than was deflated: nobody knows what of it is right.
 */
async function smallMember(input: ByteQueue, member: number, sizeBefore: number): Promise<Buffer | undefined> {
  const bytes = await input.rest();
  const header = headerLength(bytes, member);
  if (header === undefined || bytes.length < header + TRAILER) return undefined;
  const room = member === 1 ? Math.min(trailerAt(bytes, bytes.length - TRAILER).size, SMALL_OUTPUT) : NEXT_OUTPUT;
  const inflated = await inflateOnce(bytes.subarray(header), room);
  if (!inflated) return undefined;
  const { output, consumed } = inflated;
  const end = header + consumed;
  if (sizeBefore + output.length > allowed(input.taken + end) || bytes.length < end + TRAILER) return undefined;
  checkTrailer(bytes.subarray(end), crc32(output), output.length, member);
  input.skip(end + TRAILER);
  return output;
}

function inflateOnce(deflated: Buffer, room: number): Promise<{ output: Buffer; consumed: number } | undefined> {
  const options = { info: true, chunkSize: room + 64, maxOutputLength: SMALL_OUTPUT };
  return new Promise((resolve) => {
    inflateRaw(deflated, options, (error, result) => {
      if (error) return resolve(undefined);
      const { buffer, engine } = result as unknown as { buffer: Buffer; engine: InflateRaw };
      resolve({ output: buffer, consumed: engine.bytesWritten });
    });
  });
}

/** Compressed bytes inflated in one go, and so at most a thousand times as many in memory. */
const CHUNK = 64 * 1024;
const OUTPUT = 96 * 1024;

async function* streamMember(input: ByteQueue, member: number): AsyncGenerator<Buffer> {
  await skipHeader(input, member);
  const inflater = createInflateRaw({ chunkSize: OUTPUT });
  const step = stepper(inflater);
  let crc = 0;
  let size = 0;
  try {
    for (let done = false; !done; ) {
      const bytes = (await input.atLeast(1))?.subarray(0, CHUNK);
      const before = inflater.bytesWritten;
      const { outputs, ended, error } = await step(bytes);
      if (bytes) input.skip(ended ? inflater.bytesWritten - before : bytes.length);
      for (const output of outputs) {
        crc = crc32(output, crc);
        size += output.length;
        yield output;
      }
      if (error) throw zlibError(error, member);
      done = ended;
    }
  } finally {
    inflater.destroy();
  }
  const trailer = await input.atLeast(TRAILER);
  if (!trailer) throw truncated(member);
  checkTrailer(trailer, crc, size, member, true);
  input.skip(TRAILER);
}

async function skipHeader(input: ByteQueue, member: number): Promise<void> {
  for (let need = 18; ; need *= 2) {
    const bytes = (await input.atLeast(need)) ?? (await input.rest());
    const length = headerLength(bytes, member);
    if (length !== undefined) return input.skip(length);
    if (bytes.length < need) throw truncated(member);
  }
}

interface Step {
  readonly outputs: Buffer[];
  readonly ended: boolean;
  readonly error: unknown;
}

/** Gives an inflater one chunk (undefined: there is no more) and resolves with all that came of it. */
function stepper(inflater: InflateRaw): (bytes: Buffer | undefined) => Promise<Step> {
  let outputs: Buffer[] = [];
  let settle: (outcome: { ended: boolean; error?: unknown }) => void = () => {};
  inflater.on('data', (output: Buffer) => outputs.push(output));
  inflater.on('end', () => settle({ ended: true }));
  inflater.on('error', (error) => settle({ ended: false, error }));
  return (bytes) =>
    new Promise((resolve) => {
      settle = ({ ended, error }) => {
        settle = () => {};
        resolve({ outputs, ended, error });
        outputs = [];
      };
      if (!bytes) inflater.end();
      else {
        // called with an error where the member ended inside of these bytes and the inflater was destroyed
        inflater.write(bytes, (error) => {
          if (!error) settle({ ended: false });
        });
      }
    });
}

/* ---- the frame of a member ---- */

const TRAILER = 8;

const HAS_CRC = 2;
const HAS_EXTRA = 4;
const HAS_NAME = 8;
const HAS_COMMENT = 16;

/** Bytes before the deflated data, or undefined while `bytes` do not hold them all. */
function headerLength(bytes: Uint8Array, member: number): number | undefined {
  if (bytes.length >= 2 && !isGzip(bytes)) {
    const what = member === 1 ? 'This is not gzip' : `After gzip member ${member - 1} stand bytes that are no gzip`;
    throw new GzipError('Z_DATA_ERROR', what);
  }
  if (bytes.length < 10) return undefined;
  const flags = bytes[3]!;
  if (bytes[2] !== 8 || flags > 31) throw new GzipError('Z_DATA_ERROR', `Gzip member ${member} has an unknown header`);
  let at = 10;
  if (flags & HAS_EXTRA) {
    if (bytes.length < at + 2) return undefined;
    at += 2 + bytes[at]! + 256 * bytes[at + 1]!;
  }
  for (const text of [HAS_NAME, HAS_COMMENT]) {
    if (!(flags & text)) continue;
    const end = bytes.indexOf(0, at);
    if ((end < 0 ? bytes.length : end) - at > MOST_HEADER_TEXT)
      throw new GzipError('TOO_LARGE', `Gzip member ${member} has an endless name`);
    if (end < 0) return undefined;
    at = end + 1;
  }
  if (flags & HAS_CRC) at += 2;
  return at <= bytes.length ? at : undefined;
}

const MOST_HEADER_TEXT = 65_536;

/** `isYielded`: what it held is out already. */
function checkTrailer(trailer: Uint8Array, crc: number, size: number, member: number, isYielded = false): void {
  const said = trailerAt(trailer, 0);
  const wrong = said.crc !== crc ? 'checksum' : said.size !== size % 2 ** 32 ? 'length' : undefined;
  if (wrong) throw new GzipError('Z_DATA_ERROR', `Gzip member ${member} has a wrong ${wrong}`, isYielded);
}

function trailerAt(bytes: Uint8Array, at: number): { crc: number; size: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, TRAILER);
  return { crc: view.getUint32(0, true), size: view.getUint32(4, true) };
}

function truncated(member: number): GzipError {
  return new GzipError('Z_BUF_ERROR', `Gzip member ${member} is cut short`);
}

function zlibError(error: unknown, member: number): GzipError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'Z_BUF_ERROR') return truncated(member);
  if (code === 'ERR_BUFFER_TOO_LARGE') {
    const { ratio, message: most } = INFLATE_BOUNDS;
    return new GzipError('TOO_LARGE', `Gzip inflates to over ${ratio} times its size, or over ${most} bytes`);
  }
  return new GzipError(code ?? 'Z_DATA_ERROR', `Gzip member ${member} is damaged: ${message}`);
}

/* ---- bytes that may be looked at before they are taken ---- */

interface ByteQueue {
  /** Bytes skipped so far. */
  readonly taken: number;
  /** At least so many bytes without taking them; undefined when the input ends before. */
  atLeast(count: number): Promise<Buffer | undefined>;
  /** All that is left of an input that `atLeast` found too short. */
  rest(): Promise<Buffer>;
  skip(count: number): void;
}

const EMPTY = Buffer.alloc(0);

function byteQueue(source: Readable): ByteQueue {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let ready: Buffer = EMPTY;
  let taken = 0;

  async function more(): Promise<boolean> {
    const { value, done } = await chunks.next();
    if (done) return false;
    const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    ready = ready.length === 0 ? chunk : Buffer.concat([ready, chunk]);
    return true;
  }

  async function atLeast(count: number): Promise<Buffer | undefined> {
    while (ready.length < count) if (!(await more())) return undefined;
    return ready;
  }

  function skip(count: number): void {
    ready = ready.subarray(count);
    taken += count;
  }

  return {
    get taken() {
      return taken;
    },
    atLeast,
    rest: async () => ready,
    skip,
  };
}
