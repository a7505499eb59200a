import { sha256 } from '../../../shared/hash.js';
import { plainKernel } from '../plain-kernel.js';

/** Members of an object that are asked for: `true` for what the member is, or the members of the object that it is. */
export interface Members {
  readonly [name: string]: true | Members;
}

/** An object that was read from a piece of text. */
export interface PlainReading {
  /** Of the members asked for those that it has, each as JSON.parse makes it. */
  readonly value: Readonly<Record<string, unknown>>;
  /** ASCII without control characters. */
  readonly text: string;
  readonly isPlain: true;
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
 * the columns need a third, and its canonical text costs as much again. Passes over bytes are WebAssembly (wasm/plain-json.ts).
 *
 * What is not so plain is left to readJson, which says what is wrong with it. This reader judges nothing, and what it takes
 * means the same to every parser: test/collect/plain-json.test.ts holds it against readJson.
 */
export class PlainReader {
  readonly #kernel = plainKernel();
  readonly #bytes = Buffer.from(this.#kernel.memory.buffer);
  readonly #words = new Int32Array(this.#kernel.memory.buffer);
  #asked: Asked;
  readonly #members: Members;
  #piece = '';

  // In words: notes are columns side by side.
  readonly #kinds = this.#kernel.KINDS.value / WORD;
  readonly #starts = this.#kernel.STARTS.value / WORD;
  readonly #ends = this.#kernel.ENDS.value / WORD;
  readonly #firsts = this.#kernel.FIRSTS.value / WORD;
  readonly #shapes = this.#kernel.SHAPES.value / WORD;
  readonly #inOrder = this.#kernel.MEMBERS.value / WORD;

  // In bytes.
  readonly #start = this.#kernel.PIECE.value;
  readonly #canonical = this.#kernel.CANONICAL.value;

  readonly #mostBytes = this.#kernel.MOST_BYTES.value;
  readonly #numberAt = this.#kernel.SHAPE_NUMBER.value / WORD;
  readonly #string = this.#kernel.STRING.value;
  readonly #object = this.#kernel.OBJECT.value;

  constructor(members: Members) {
    this.#members = members;
    this.#asked = askedOf(members);
  }

  /** The object that starts at `at` in a one-byte string; undefined where it is not plain, or does not end in it. */
  read(piece: string, at: number): PlainReading | undefined {
    if (piece.length > this.#mostBytes) return undefined; // it is a message, or was not cut into pieces
    if (piece !== this.#piece) this.#load(piece);
    if (this.#kernel.isLow()) this.#forgetShapes();
    const end = this.#kernel.read(at);
    if (end < 0) return undefined;
    const canonical = this.#bytes.subarray(this.#canonical, this.#canonical + this.#kernel.length());
    return {
      value: this.#asFar(this.#kernel.object(), this.#asked),
      text: piece.slice(at, end),
      isPlain: true,
      protoKey: false,
      bodyHash: sha256(canonical),
      end,
    };
  }

  #load(piece: string): void {
    this.#bytes.write(piece, this.#start, 'latin1');
    this.#bytes[this.#start + piece.length] = 0; // where every scan stops
    this.#piece = piece;
  }

  #forgetShapes(): void {
    this.#kernel.reset();
    this.#asked = askedOf(this.#members);
  }

  /** The object, as far as it is asked for. */
  #asFar(object: number, asked: Asked): Record<string, unknown> {
    const words = this.#words;
    const found: Record<string, unknown> = {};
    const first = this.#inOrder + words[this.#firsts + object]!;
    for (const { name, place, members } of this.#foundIn(words[this.#shapes + object]! / WORD, asked)) {
      const value = words[first + place]!;
      found[name] =
        members && words[this.#kinds + value] === this.#object ? this.#asFar(value, members) : this.#parsed(value);
    }
    return found;
  }

  #parsed(value: number): unknown {
    const from = this.#words[this.#starts + value]! - this.#start;
    const to = this.#words[this.#ends + value]! - this.#start;
    if (this.#words[this.#kinds + value] === this.#string) return this.#piece.slice(from + 1, to - 1);
    const text = this.#piece.slice(from, to);
    return text === 'true' || (text !== 'false' && JSON.parse(text));
  }

  /** Where the members asked for are among the sorted keys of a shape. */
  #foundIn(shape: number, { found, members }: Asked): readonly Found[] {
    const number = this.#words[shape + this.#numberAt]!;
    const known = found[number];
    if (known) return known;
    const sorted = this.#namesIn(shape).sort();
    const fresh = members
      .map(({ name, members: own }) => ({ name, place: sorted.indexOf(name), members: own }))
      .filter(({ place }) => place >= 0);
    found[number] = fresh;
    return fresh;
  }

  #namesIn(shape: number): string[] {
    const { SHAPE_BEFORE, SHAPE_KEY, SHAPE_KEY_LENGTH } = this.#kernel;
    const field = (of: number, { value: offset }: { readonly value: number }) => this.#words[of + offset / WORD]!;
    const names: string[] = [];
    for (let one = shape; field(one, SHAPE_BEFORE) !== 0; one = field(one, SHAPE_BEFORE) / WORD) {
      const key = field(one, SHAPE_KEY);
      names.push(this.#bytes.toString('latin1', key + 1, key + field(one, SHAPE_KEY_LENGTH) - 2));
    }
    return names;
  }
}

const WORD = 4;

/** What is asked of an object, and where in the shapes that were met it is, by their numbers. */
interface Asked {
  readonly members: readonly { readonly name: string; readonly members: Asked | undefined }[];
  readonly found: (readonly Found[] | undefined)[];
}

interface Found {
  readonly name: string;
  readonly place: number;
  readonly members: Asked | undefined;
}

function askedOf(members: Members): Asked {
  return {
    members: Object.entries(members).map(([name, own]) => ({ name, members: own === true ? undefined : askedOf(own) })),
    found: [],
  };
}
