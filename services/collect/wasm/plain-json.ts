/**
 * The inner loops of the plain reader (../formats/plain-json.ts), in AssemblyScript: compiled to WebAssembly, sixteen bytes are looked at at a time. It has
 * nothing but the memory laid out here, calls nobody, and what it refuses is read by others.
 *
 * Memory, in the order of addresses: a piece of text, the canonical text of the object that was read last, what is noted of its values, and the arena of shapes.
 * The piece is followed by at least sixteen bytes of which the first is 0, where every scan stops. Loads and copies go on for up to fifteen bytes too many:
 * what they read is not looked at, and what they write is written over.
 */

/** Bytes of a piece, at most. */
export const MOST_BYTES: i32 = 1024 * 1024;
/** Values in one object, those in it and so on. CloudTrail records have a hundred. */
const MOST_VALUES: i32 = 8192;
const MOST_DEPTH: i32 = 64;
/** Keys of one object. They are sorted by insertion, once a shape. */
const MOST_KEYS: i32 = 512;
/** Keys that were seen after the same ones: those that are data (of a map of tags) come in any number. */
const MOST_NEXT: i32 = 64;

const SLACK: i32 = 64;
const WORDS: i32 = 4 * MOST_VALUES;
export const PIECE: i32 = 4096;
/** `""` becomes `"0:`, nothing grows by more. */
export const CANONICAL: i32 = PIECE + MOST_BYTES + SLACK;
/** Of each value what it is, and from where to where it stands; of a list or an object also which of the members are in it, and of an object its shape. */
export const KINDS: i32 = CANONICAL + 2 * MOST_BYTES + SLACK;
export const STARTS: i32 = KINDS + WORDS;
export const ENDS: i32 = STARTS + WORDS;
export const FIRSTS: i32 = ENDS + WORDS;
const LASTS: i32 = FIRSTS + WORDS;
export const SHAPES: i32 = LASTS + WORDS;
/** The values in lists and objects that have ended, side by side; an object's in the order of its sorted keys. */
export const MEMBERS: i32 = SHAPES + WORDS;
/** The values in those that have not. */
const PENDING: i32 = MEMBERS + WORDS;
const ARENA: i32 = PENDING + WORDS;
/** `--initialMemory` of the build: 144 pages. */
const ARENA_END: i32 = 144 * 65_536;
/** With less than this left, shapes are to be forgotten before another object is read. */
const ARENA_LOW: i32 = 1024 * 1024;

export const STRING: i32 = 0;
export const SCALAR: i32 = 1;
const LIST: i32 = 2;
export const OBJECT: i32 = 3;

/*
 * A shape: the keys that an object has so far, in the order in which it has them. Records of one API call share their shapes: a key is compared with those that
 * came next before, the last one first, and keys are sorted once a shape. Its fields, by their offsets:
 */
export const SHAPE_NUMBER: i32 = 0;
/** The shape without its last key; 0 for that of `{}`. */
export const SHAPE_BEFORE: i32 = 4;
/** Where the text `"name":` of its last key stands, and how long it is. */
export const SHAPE_KEY: i32 = 8;
export const SHAPE_KEY_LENGTH: i32 = 12;
/** How many keys, and bytes of them all. */
const SHAPE_KEYS: i32 = 16;
const SHAPE_BYTES: i32 = 20;
/** The shapes with one key more: the first of them, and how many; and the one beside it. */
const SHAPE_NEXT: i32 = 24;
const SHAPE_NEXTS: i32 = 28;
const SHAPE_BESIDE: i32 = 32;
/** Where its keys are in their order: 0 where nobody asked, -1 where one stands twice or makes prototypes. */
const SHAPE_SORTED: i32 = 36;
const SHAPE_SIZE: i32 = 48;

/* A sorted key: which one of the object's it is, where the text `length:name` stands, and how long it is. */
const KEY_PLACE: i32 = 0;
const KEY_TEXT: i32 = 4;
const KEY_LENGTH: i32 = 8;
const KEY_SIZE: i32 = 12;

const QUOTE: u8 = 0x22;
const COMMA: u8 = 0x2c;
const MINUS: u8 = 0x2d;
const ZERO: u8 = 0x30;
const NINE: u8 = 0x39;
const COLON: u8 = 0x3a;
const SEMICOLON: u8 = 0x3b;
const BRACKET: u8 = 0x5b;
const BACKSLASH: u8 = 0x5c;
const BRACKET_END: u8 = 0x5d;
const BRACE: u8 = 0x7b;
const BRACE_END: u8 = 0x7d;

/** Integers of more digits may be no double. */
const EXACT_DIGITS: i32 = 15;

let free: i32 = ARENA;
let shapes: i32 = 0;
let root: i32 = 0;
let values: i32 = 0;
let ended: i32 = 0;
let waiting: i32 = 0;
let written: i32 = 0;

/** Forgets all shapes. To be called first. */
export function reset(): void {
  free = ARENA;
  shapes = 0;
  root = newShape(0, 0, 0);
}

/** Little room is left for new shapes. */
export function isLow(): bool {
  return free > ARENA_END - ARENA_LOW;
}

/** The index after the plain object that starts at an index of the piece, or -1. Where there is one its canonical text is written. */
export function read(index: i32): i32 {
  values = 0;
  ended = 0;
  waiting = 0;
  const at = PIECE + index;
  if (load<u8>(at) !== BRACE) return -1;
  const end = readObject(at, 1);
  if (end < 0) return -1;
  written = CANONICAL;
  write(object());
  return end - PIECE;
}

/** The value that was read. */
export function object(): i32 {
  return values - 1;
}

/** Bytes of its canonical text. */
export function length(): i32 {
  return written - CANONICAL;
}

/* ---- reading: each returns the address after what it read, or -1 ---- */

function readValue(at: i32, depth: i32): i32 {
  const char = load<u8>(at);
  if (char === QUOTE) {
    const end = endOfString(at);
    return end < 0 ? -1 : note(STRING, at, end);
  }
  if (char === BRACE) return readObject(at, depth);
  if (char === BRACKET) return readList(at, depth);
  const end = char > NINE ? endOfWord(at) : endOfNumber(at);
  return end < 0 ? -1 : note(SCALAR, at, end);
}

function readObject(at: i32, depth: i32): i32 {
  if (depth > MOST_DEPTH) return -1;
  const mine = waiting;
  let shape = root;
  let next = at + 1;
  if (load<u8>(next) !== BRACE_END) {
    for (;;) {
      shape = after(shape, next);
      if (shape === 0) return -1;
      next = readValue(next + load<i32>(shape + SHAPE_KEY_LENGTH), depth + 1);
      if (next < 0) return -1;
      store<i32>(PENDING + 4 * waiting++, values - 1);
      if (load<u8>(next) !== COMMA) break;
      next++;
    }
    if (load<u8>(next) !== BRACE_END) return -1;
  }
  let key = load<i32>(shape + SHAPE_SORTED);
  if (key === 0) key = sort(shape);
  if (key < 0) return -1;
  const first = ended;
  for (const last = first + load<i32>(shape + SHAPE_KEYS); ended < last; ended++, key += KEY_SIZE)
    store<i32>(MEMBERS + 4 * ended, load<i32>(PENDING + 4 * (mine + load<i32>(key + KEY_PLACE))));
  return noteMembers(OBJECT, at, next + 1, mine, first, shape);
}

function readList(at: i32, depth: i32): i32 {
  if (depth > MOST_DEPTH) return -1;
  const mine = waiting;
  let next = at + 1;
  if (load<u8>(next) !== BRACKET_END) {
    for (;;) {
      next = readValue(next, depth + 1);
      if (next < 0) return -1;
      store<i32>(PENDING + 4 * waiting++, values - 1);
      if (load<u8>(next) !== COMMA) break;
      next++;
    }
    if (load<u8>(next) !== BRACKET_END) return -1;
  }
  const first = ended;
  for (let n = mine; n < waiting; n++) store<i32>(MEMBERS + 4 * ended++, load<i32>(PENDING + 4 * n));
  return noteMembers(LIST, at, next + 1, mine, first, 0);
}

function note(kind: i32, from: i32, to: i32): i32 {
  const value = values++;
  if (value >= MOST_VALUES) return -1;
  store<i32>(KINDS + 4 * value, kind);
  store<i32>(STARTS + 4 * value, from);
  store<i32>(ENDS + 4 * value, to);
  return to;
}

function noteMembers(kind: i32, from: i32, to: i32, mine: i32, first: i32, shape: i32): i32 {
  waiting = mine;
  if (note(kind, from, to) < 0) return -1;
  const offset = 4 * (values - 1);
  store<i32>(FIRSTS + offset, first);
  store<i32>(LASTS + offset, ended);
  store<i32>(SHAPES + offset, shape);
  return to;
}

/** Every byte of the string that starts at `at` is ASCII, no control character and no backslash. */
function endOfString(at: i32): i32 {
  for (let next = at + 1; ; next += 16) {
    const bytes = v128.load(next);
    const quote = i8x16.eq(bytes, i8x16.splat(QUOTE));
    const backslash = i8x16.eq(bytes, i8x16.splat(BACKSLASH));
    const control = i8x16.lt_u(bytes, i8x16.splat(0x20));
    // the bytes themselves: those that are no ASCII have the bit that is asked for
    const mask = i8x16.bitmask(v128.or(v128.or(quote, backslash), v128.or(control, bytes)));
    if (mask === 0) continue;
    const stop = next + ctz(mask);
    return load<u8>(stop) === QUOTE ? stop + 1 : -1;
  }
}

/** `true`, `false` or `null`. */
function endOfWord(at: i32): i32 {
  const word = load<u32>(at);
  if (word === 0x65757274 || word === 0x6c6c756e) return at + 4;
  return word === 0x736c6166 && load<u8>(at + 4) === 0x65 ? at + 5 : -1;
}

/** A number that is written as JavaScript writes it: not 007 or -0. */
function endOfNumber(at: i32): i32 {
  const first = load<u8>(at) === MINUS ? at + 1 : at;
  let end = first;
  while (load<u8>(end) >= ZERO && load<u8>(end) <= NINE) end++;
  const digits = end - first;
  if (digits === 0 || digits > EXACT_DIGITS) return -1;
  return load<u8>(first) !== ZERO || (digits === 1 && first === at) ? end : -1;
}

/* ---- shapes ---- */

function newShape(before: i32, key: i32, keyLength: i32): i32 {
  const shape = free;
  const text = shape + SHAPE_SIZE;
  store<i32>(shape + SHAPE_NUMBER, shapes++);
  store<i32>(shape + SHAPE_BEFORE, before);
  store<i32>(shape + SHAPE_KEY, text);
  store<i32>(shape + SHAPE_KEY_LENGTH, keyLength);
  store<i32>(shape + SHAPE_KEYS, before === 0 ? 0 : load<i32>(before + SHAPE_KEYS) + 1);
  store<i32>(shape + SHAPE_BYTES, before === 0 ? 0 : load<i32>(before + SHAPE_BYTES) + keyLength);
  store<i32>(shape + SHAPE_NEXT, 0);
  store<i32>(shape + SHAPE_NEXTS, 0);
  store<i32>(shape + SHAPE_BESIDE, 0);
  store<i32>(shape + SHAPE_SORTED, 0);
  memory.copy(text, key, keyLength);
  free = text + rounded(keyLength);
  return shape;
}

/** Room for so many bytes, with slack, in whole words. */
function rounded(bytes: i32): i32 {
  return (bytes + SLACK + 3) & ~3;
}

/** The shape with the key that stands at `at`; 0 where none is read there. */
function after(shape: i32, at: i32): i32 {
  let before = 0;
  for (let next = load<i32>(shape + SHAPE_NEXT); next !== 0; next = load<i32>(next + SHAPE_BESIDE)) {
    if (isSame(load<i32>(next + SHAPE_KEY), at, load<i32>(next + SHAPE_KEY_LENGTH))) {
      if (before !== 0) {
        store<i32>(before + SHAPE_BESIDE, load<i32>(next + SHAPE_BESIDE));
        store<i32>(next + SHAPE_BESIDE, load<i32>(shape + SHAPE_NEXT));
        store<i32>(shape + SHAPE_NEXT, next);
      }
      return next;
    }
    before = next;
  }
  return grown(shape, at);
}

function isSame(a: i32, b: i32, bytes: i32): bool {
  for (; bytes > 16; bytes -= 16, a += 16, b += 16)
    if (i8x16.bitmask(i8x16.eq(v128.load(a), v128.load(b))) !== 0xffff) return false;
  const asked = (1 << bytes) - 1;
  return (i8x16.bitmask(i8x16.eq(v128.load(a), v128.load(b))) & asked) === asked;
}

/** The key at `at` is new after these. */
function grown(shape: i32, at: i32): i32 {
  if (load<u8>(at) !== QUOTE || load<i32>(shape + SHAPE_KEYS) >= MOST_KEYS) return 0;
  const end = endOfString(at);
  if (end < 0 || end === at + 2 || load<u8>(end) !== COLON) return 0;
  const keyLength = end + 1 - at;
  if (free + SHAPE_SIZE + rounded(keyLength) > ARENA_END) return 0;
  const fresh = newShape(shape, at, keyLength);
  const nexts = load<i32>(shape + SHAPE_NEXTS);
  if (nexts < MOST_NEXT) store<i32>(shape + SHAPE_NEXTS, nexts + 1);
  else dropLast(load<i32>(shape + SHAPE_NEXT));
  store<i32>(fresh + SHAPE_BESIDE, load<i32>(shape + SHAPE_NEXT));
  store<i32>(shape + SHAPE_NEXT, fresh);
  return fresh;
}

/** Leaves out the last of some shapes side by side: the one that was not seen for longest. */
function dropLast(first: i32): void {
  let one = first;
  while (load<i32>(load<i32>(one + SHAPE_BESIDE) + SHAPE_BESIDE) !== 0) one = load<i32>(one + SHAPE_BESIDE);
  store<i32>(one + SHAPE_BESIDE, 0);
}

/** Sorts the keys of a shape by their bytes, which is their order as JavaScript's strings; returns where they are then, or -1. */
function sort(shape: i32): i32 {
  const keys = load<i32>(shape + SHAPE_KEYS);
  const sorted = free;
  const texts = sorted + KEY_SIZE * keys;
  // a key's length takes fewer digits than its quotes and colon took, and seven at most
  if (texts + load<i32>(shape + SHAPE_BYTES) + keys * (SLACK + 8) + SLACK > ARENA_END) return -1;
  let one = shape;
  for (let place = keys - 1; place >= 0; place--, one = load<i32>(one + SHAPE_BEFORE)) {
    const name = load<i32>(one + SHAPE_KEY) + 1;
    const bytes = load<i32>(one + SHAPE_KEY_LENGTH) - 3;
    let key = sorted + KEY_SIZE * (keys - 1 - place);
    for (; key > sorted; key -= KEY_SIZE) {
      const other = key - KEY_SIZE;
      const order = compare(name, bytes, load<i32>(other + KEY_TEXT), load<i32>(other + KEY_LENGTH));
      if (order === 0) return notPlain(shape);
      if (order > 0) break;
      memory.copy(key, other, KEY_SIZE);
    }
    if (isProto(name, bytes)) return notPlain(shape);
    store<i32>(key + KEY_PLACE, place);
    store<i32>(key + KEY_TEXT, name);
    store<i32>(key + KEY_LENGTH, bytes);
  }
  let text = texts;
  for (let key = sorted; key < texts; key += KEY_SIZE) {
    const bytes = load<i32>(key + KEY_LENGTH);
    let at = writeNumber(text, bytes);
    store<u8>(at++, COLON);
    memory.copy(at, load<i32>(key + KEY_TEXT), bytes);
    store<i32>(key + KEY_TEXT, text);
    store<i32>(key + KEY_LENGTH, at + bytes - text);
    text += rounded(at + bytes - text);
  }
  free = text + SLACK;
  store<i32>(shape + SHAPE_SORTED, sorted);
  return sorted;
}

function notPlain(shape: i32): i32 {
  store<i32>(shape + SHAPE_SORTED, -1);
  return -1;
}

function compare(a: i32, aBytes: i32, b: i32, bBytes: i32): i32 {
  const least = min(aBytes, bBytes);
  for (let n = 0; n < least; n++) {
    const byte: i32 = load<u8>(a + n);
    const other: i32 = load<u8>(b + n);
    if (byte !== other) return byte - other;
  }
  return aBytes - bBytes;
}

/** `__proto__` */
function isProto(name: i32, bytes: i32): bool {
  return (
    bytes === 9 && load<u32>(name) === 0x72705f5f && load<u32>(name + 4) === 0x5f6f746f && load<u8>(name + 8) === 0x5f
  );
}

/* ---- writing, as formats/canonical.ts does ---- */

function write(value: i32): void {
  const offset = 4 * value;
  const kind = load<i32>(KINDS + offset);
  if (kind <= SCALAR) {
    const from = load<i32>(STARTS + offset);
    const to = load<i32>(ENDS + offset);
    if (kind === STRING) {
      store<u8>(written, QUOTE);
      written = writeNumber(written + 1, to - from - 2);
      writeByte(COLON);
      copy(from + 1, to - from - 2);
    } else {
      copy(from, to - from);
      writeByte(SEMICOLON);
    }
    return;
  }
  let member = MEMBERS + 4 * load<i32>(FIRSTS + offset);
  const end = MEMBERS + 4 * load<i32>(LASTS + offset);
  if (kind === LIST) {
    writeByte(BRACKET);
    for (; member < end; member += 4) write(load<i32>(member));
    writeByte(BRACKET_END);
    return;
  }
  writeByte(BRACE);
  for (let key = load<i32>(load<i32>(SHAPES + offset) + SHAPE_SORTED); member < end; member += 4, key += KEY_SIZE) {
    copy(load<i32>(key + KEY_TEXT), load<i32>(key + KEY_LENGTH));
    write(load<i32>(member));
  }
  writeByte(BRACE_END);
}

function writeByte(byte: u8): void {
  store<u8>(written++, byte);
}

/** Returns the address after it. */
function writeNumber(at: i32, number: i32): i32 {
  if (number >= 10) at = writeNumber(at, number / 10);
  store<u8>(at, ZERO + (number % 10));
  return at + 1;
}

function copy(from: i32, bytes: i32): void {
  for (let n = 0; n < bytes; n += 16) v128.store(written + n, v128.load(from + n));
  written += bytes;
}
