import { sha256 } from '../../../shared/hash.js';
import { JSON_BOUNDS } from './json.js';

/** Members of an object that are asked for: `true` for what the member is, or the members of the object that it is. */
export interface Members {
  readonly [name: string]: true | Members;
}

/** An object that was read from a piece of text. */
export interface PlainReading {
  /** Of the members asked for those that it has, each as JSON.parse makes it. */
  readonly value: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly protoKey: false;
  /** SHA-256 of its canonical text (formats/canonical.ts). */
  readonly bodyHash: string;
  /** The index after it. */
  readonly end: number;
}

/**
 * A fast reading of JSON as machines write it: ASCII, no escape, no white space between values, integers of up to 15
 * digits, no key twice. One pass over the bytes checks the grammar and notes where each value stands; the canonical text
 * and the members asked for are taken from these notes. JSON.parse makes objects and strings of a whole record, of which
 * the columns need a third, and its canonical text costs as much again.
 *
 * What is not so plain is left to readJson, which says what is wrong with it. This reader judges nothing, and what it takes
 * means the same to every parser: test/collect/plain-json.test.ts holds it against readJson.
 */
export class PlainReader {
  readonly #asked: Members;
  #piece = '';
  /** The piece, and behind it the canonical text of one object. */
  #bytes = Buffer.alloc(0);
  #view = new DataView(new ArrayBuffer(0));
  /** Where the next backslash is. */
  #escape = 0;
  #root = new Shape();
  #shapes = 0;

  // Of each value what it is and where it stands; of a list or an object also which of `#members` are in it.
  readonly #kind = new Uint8Array(MOST_VALUES);
  readonly #from = new Int32Array(MOST_VALUES);
  readonly #to = new Int32Array(MOST_VALUES);
  readonly #first = new Int32Array(MOST_VALUES);
  readonly #last = new Int32Array(MOST_VALUES);
  readonly #shape: Shape[] = Array.from({ length: MOST_VALUES }, () => NO_SHAPE);
  #values = 0;

  /** The values in lists and objects that have ended, side by side; an object's in the order of its sorted keys. */
  readonly #members = new Int32Array(MOST_VALUES);
  #ended = 0;
  /** The values in those that have not. */
  readonly #pending = new Int32Array(MOST_VALUES);
  #waiting = 0;

  #written = 0;

  constructor(asked: Members) {
    this.#asked = asked;
  }

  /** The object that starts at `at` in a one-byte string; undefined where it is not plain, or does not end in it. */
  read(piece: string, at: number): PlainReading | undefined {
    if (piece.length > MOST_BYTES) return undefined;
    if (piece !== this.#piece) this.#load(piece);
    if (this.#shapes > MOST_SHAPES) this.#forgetShapes();
    this.#values = 0;
    this.#ended = 0;
    this.#waiting = 0;
    this.#findEscape(at);
    const end = this.#bytes[at] === BRACE ? this.#readObject(at, 1) : -1;
    if (end < at + WORD || !this.#isPlain(at, end)) return undefined;
    const object = this.#values - 1;
    const start = piece.length + 1;
    this.#written = start;
    this.#write(object);
    return {
      value: this.#asFar(object, this.#asked),
      text: piece.slice(at, end),
      protoKey: false,
      bodyHash: sha256(this.#bytes.subarray(start, this.#written)),
      end,
    };
  }

  #load(piece: string): void {
    const room = 3 * piece.length + 8; // `""` becomes `"0:`, nothing grows by more; and words that are longer than what is copied
    if (this.#bytes.length < room) {
      this.#view = new DataView(new ArrayBuffer(room));
      this.#bytes = Buffer.from(this.#view.buffer);
    }
    this.#bytes.write(piece, 'latin1');
    this.#bytes[piece.length] = 0; // where every scan stops
    this.#piece = piece;
    this.#escape = -1;
  }

  #findEscape(from: number): void {
    if (this.#escape >= from) return;
    const found = this.#piece.indexOf('\\', from);
    this.#escape = found < 0 ? this.#piece.length : found;
  }

  /** Strings were hopped over: is each of their bytes ASCII and no control character? */
  #isPlain(from: number, to: number): boolean {
    const view = this.#view;
    for (let at = from; at < to - WORD; at += WORD) if (isOdd(view.getInt32(at))) return false;
    return !isOdd(view.getInt32(to - WORD));
  }

  #forgetShapes(): void {
    this.#root = new Shape();
    this.#shapes = 0;
  }

  /* ---- reading: each returns the index after what it read, or -1 ---- */

  #read(at: number, depth: number): number {
    const bytes = this.#bytes;
    const char = bytes[at]!;
    if (char === QUOTE) {
      const quote = this.#piece.indexOf('"', at + 1);
      return quote < 0 || quote > this.#escape ? -1 : this.#note(STRING, at, quote + 1, 0, NO_SHAPE);
    }
    if (char === BRACE) return this.#readObject(at, depth);
    if (char === BRACKET) return this.#readList(at, depth);
    const end = endOfScalar(bytes, at, char);
    return end < 0 ? -1 : this.#note(SCALAR, at, end, 0, NO_SHAPE);
  }

  #readObject(at: number, depth: number): number {
    if (depth > JSON_BOUNDS.depth) return -1;
    const bytes = this.#bytes;
    const mine = this.#waiting;
    let shape = this.#root;
    let next = at + 1;
    if (bytes[next] !== BRACE_END) {
      for (;;) {
        const longer = shape.after(this.#view, next) ?? this.#grown(shape, next);
        if (longer === undefined) return -1;
        shape = longer;
        next = this.#read(next + shape.length, depth + 1);
        if (next < 0) return -1;
        this.#pending[this.#waiting++] = this.#values - 1;
        if (bytes[next] !== COMMA) break;
        next++;
      }
      if (bytes[next] !== BRACE_END) return -1;
    }
    const { plain, order } = shape.keys;
    if (!plain) return -1;
    const first = this.#ended;
    for (let n = 0; n < order.length; n++) this.#members[this.#ended++] = this.#pending[mine + order[n]!]!;
    this.#waiting = mine;
    return this.#note(OBJECT, at, next + 1, first, shape);
  }

  #readList(at: number, depth: number): number {
    if (depth > JSON_BOUNDS.depth) return -1;
    const bytes = this.#bytes;
    const mine = this.#waiting;
    let next = at + 1;
    if (bytes[next] !== BRACKET_END) {
      for (;;) {
        next = this.#read(next, depth + 1);
        if (next < 0) return -1;
        this.#pending[this.#waiting++] = this.#values - 1;
        if (bytes[next] !== COMMA) break;
        next++;
      }
      if (bytes[next] !== BRACKET_END) return -1;
    }
    const first = this.#ended;
    for (let n = mine; n < this.#waiting; n++) this.#members[this.#ended++] = this.#pending[n]!;
    this.#waiting = mine;
    return this.#note(LIST, at, next + 1, first, NO_SHAPE);
  }

  #note(kind: number, from: number, to: number, first: number, shape: Shape): number {
    const value = this.#values++;
    if (value >= MOST_VALUES) return -1;
    this.#kind[value] = kind;
    this.#from[value] = from;
    this.#to[value] = to;
    this.#first[value] = first;
    this.#last[value] = this.#ended;
    this.#shape[value] = shape;
    return to;
  }

  /** An object's keys so far are new to us: reads the one at `at`. */
  #grown(shape: Shape, at: number): Shape | undefined {
    const bytes = this.#bytes;
    if (bytes[at] !== QUOTE) return undefined;
    const end = this.#piece.indexOf('"', at + 1);
    if (end <= at + 1 || end > this.#escape || bytes[end + 1] !== COLON) return undefined;
    this.#shapes++;
    return shape.grow(bytes.toString('latin1', at + 1, end)); // a slice would keep the piece alive
  }

  /* ---- what was read ---- */

  /** As formats/canonical.ts writes it. */
  #write(value: number): void {
    const out = this.#bytes;
    switch (this.#kind[value]) {
      case STRING:
        this.#writeString(this.#from[value]! + 1, this.#to[value]! - 1);
        return;
      case SCALAR:
        this.#copy(this.#from[value]!, this.#to[value]!);
        out[this.#written++] = SEMICOLON;
        return;
      case LIST: {
        out[this.#written++] = BRACKET;
        const last = this.#last[value]!;
        for (let n = this.#first[value]!; n < last; n++) this.#write(this.#members[n]!);
        out[this.#written++] = BRACKET_END;
        return;
      }
      default: {
        out[this.#written++] = BRACE;
        const { texts } = this.#shape[value]!.keys;
        const first = this.#first[value]!;
        for (let n = 0; n < texts.length; n++) {
          this.#writeKey(texts[n]!);
          this.#write(this.#members[first + n]!);
        }
        out[this.#written++] = BRACE_END;
      }
    }
  }

  #writeString(from: number, to: number): void {
    const out = this.#bytes;
    out[this.#written++] = QUOTE;
    this.#writeNumber(to - from);
    out[this.#written++] = COLON;
    if (to - from < SHORT) this.#copy(from, to);
    else {
      out.copyWithin(this.#written, from, to);
      this.#written += to - from;
    }
  }

  #writeNumber(number: number): void {
    if (number >= 10) this.#writeNumber(Math.floor(number / 10));
    this.#bytes[this.#written++] = ZERO + (number % 10);
  }

  /** What is written last of a word too much is written over. */
  #copy(from: number, to: number): void {
    const view = this.#view;
    let at = this.#written;
    for (let n = from; n < to; n += WORD, at += WORD) view.setInt32(at, view.getInt32(n));
    this.#written += to - from;
  }

  #writeKey({ words, length }: KeyText): void {
    const view = this.#view;
    let at = this.#written;
    for (let n = 0; n < words.length; n++, at += WORD) view.setInt32(at, words[n]!);
    this.#written += length;
  }

  /** The object, as far as it is asked for. */
  #asFar(object: number, asked: Members): Record<string, unknown> {
    const found: Record<string, unknown> = {};
    const first = this.#first[object]!;
    for (const { name, place, members } of this.#shape[object]!.found(asked)) {
      const value = this.#members[first + place]!;
      found[name] = members && this.#kind[value] === OBJECT ? this.#asFar(value, members) : this.#parsed(value);
    }
    return found;
  }

  #parsed(value: number): unknown {
    const from = this.#from[value]!;
    const to = this.#to[value]!;
    if (this.#kind[value] === STRING) return this.#piece.slice(from + 1, to - 1);
    const word = WORDS.find(({ bytes }) => bytes[0] === this.#bytes[from]);
    return word ? word.value : JSON.parse(this.#piece.slice(from, to));
  }
}

/**
 * The keys that an object has so far, in the order in which it has them. Records of one API call share their shapes: a
 * key is compared with those that came next before, and keys are sorted once a shape.
 */
class Shape {
  readonly before: Shape | undefined;
  readonly name: string;
  /** Of `"name":`, as it stands in the text. */
  readonly length: number;
  /** The same in words; the last one may overlap the one before. */
  readonly #words: Int32Array;
  readonly #last: number;
  readonly #next: Shape[] = [];
  readonly #found = new Map<Members, readonly Found[]>();
  #keys: Keys | undefined;

  constructor(before?: Shape, name = '') {
    const key = `"${name}":`;
    this.before = before;
    this.name = name;
    this.length = key.length;
    this.#words = inWords(key).words.subarray(0, Math.floor(key.length / WORD));
    this.#last = inWords(key.slice(-WORD)).words[0]!;
  }

  /** With the key that stands at `at`, where that has been seen before. */
  after(view: DataView, at: number): Shape | undefined {
    const next = this.#next;
    for (let n = 0; n < next.length; n++) if (next[n]!.#stands(view, at)) return next[n];
    return undefined;
  }

  #stands(view: DataView, at: number): boolean {
    const words = this.#words;
    for (let n = 0; n < words.length; n++) if (view.getInt32(at + WORD * n) !== words[n]) return false;
    return view.getInt32(at + this.length - WORD) === this.#last;
  }

  /** With one more key. */
  grow(name: string): Shape {
    if (this.#next.length >= MOST_NEXT) this.#next.pop();
    const longer = new Shape(this, name);
    this.#next.unshift(longer);
    return longer;
  }

  get keys(): Keys {
    this.#keys ??= keysOf(namesOf(this));
    return this.#keys;
  }

  /** Where the members asked for are among the sorted keys. */
  found(asked: Members): readonly Found[] {
    const known = this.#found.get(asked);
    if (known) return known;
    const sorted = namesOf(this).sort();
    const found = Object.entries(asked)
      .map(([name, members]) => ({
        name,
        place: sorted.indexOf(name),
        members: members === true ? undefined : members,
      }))
      .filter(({ place }) => place >= 0);
    this.#found.set(asked, found);
    return found;
  }
}

function namesOf(last: Shape): string[] {
  const names: string[] = [];
  for (let shape = last; shape.before; shape = shape.before) names.push(shape.name);
  return names.reverse();
}

interface Found {
  readonly name: string;
  readonly place: number;
  readonly members: Members | undefined;
}

interface Keys {
  /** False where a key stands twice, or is the one that makes prototypes. */
  readonly plain: boolean;
  /** Which key comes first when they are sorted, which second, … */
  readonly order: readonly number[];
  /** `length:name` of each, sorted. */
  readonly texts: readonly KeyText[];
}

function keysOf(names: readonly string[]): Keys {
  const order = [...names.keys()].sort((a, b) => (names[a]! < names[b]! ? -1 : 1));
  return {
    plain: new Set(names).size === names.length && !names.includes('__proto__'),
    order,
    texts: order.map((n) => inWords(`${names[n]!.length}:${names[n]}`)),
  };
}

/** A text as words, the last one filled up with zeros. */
interface KeyText {
  readonly words: Int32Array;
  readonly length: number;
}

function inWords(text: string): KeyText {
  const view = new DataView(new ArrayBuffer(Math.ceil(text.length / WORD) * WORD));
  Buffer.from(view.buffer).write(text, 'latin1');
  const words = Int32Array.from({ length: view.byteLength / WORD }, (_, n) => view.getInt32(WORD * n));
  return { words, length: text.length };
}

/** A longer piece is a message, or was not cut into pieces: readJson reads it. */
const MOST_BYTES = 1024 * 1024;
/** In one object, those in it and so on. CloudTrail records have a hundred. */
const MOST_VALUES = 8192;
const MOST_SHAPES = 20_000;
/** Keys that are data (of a map of tags) come in any number. */
const MOST_NEXT = 64;

/** Bytes are compared and copied four at a time. */
const WORD = 4;

const NO_SHAPE = new Shape();

const STRING = 0;
const SCALAR = 1;
const LIST = 2;
const OBJECT = 3;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const SEMICOLON = 0x3b;
const BRACKET = 0x5b;
const BRACKET_END = 0x5d;
const BRACE = 0x7b;
const BRACE_END = 0x7d;

/** A shorter string is copied faster than the engine can be called to do it. */
const SHORT = 48;

const WORDS = [true, false, null].map((value) => ({ value, bytes: Buffer.from(String(value), 'latin1') }));

/** The index after `true`, `false`, `null` or a number that is written as JavaScript writes it; -1 where none stands. */
function endOfScalar(bytes: Uint8Array, at: number, char: number): number {
  if (char > NINE) {
    for (const word of WORDS) if (stands(word.bytes, bytes, at)) return at + word.bytes.length;
    return -1;
  }
  const first = char === MINUS ? at + 1 : at;
  let end = first;
  while (bytes[end]! >= ZERO && bytes[end]! <= NINE) end++;
  const digits = end - first;
  if (digits === 0 || digits > EXACT_DIGITS) return -1;
  const asWritten = bytes[first] !== ZERO || (digits === 1 && first === at); // not 007 or -0
  return asWritten ? end : -1;
}

/** Integers of more digits may be no double. */
const EXACT_DIGITS = 15;

/** Of a word's four bytes: is one no ASCII (its high bit is set) or a control character (it borrows)? */
function isOdd(word: number): boolean {
  return (((word - 0x20202020) | word) & 0x80808080) !== 0;
}

function stands(text: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let n = 0; n < text.length; n++) if (text[n] !== bytes[at + n]) return false;
  return true;
}
