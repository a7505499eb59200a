/**
 * A reader of the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) over one Uint8Array.
 *
 * The caller drives it: `while (wire.more()) switch (wire.tag()) { case 1: …; default: wire.skip(); }`. Each method
 * that reads a value checks that the field has the wire type it needs. Nothing is read past the innermost message's
 * end.
 */
export class Wire {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #buffer: Buffer;
  #at = 0;
  #end: number;
  #tagAt = 0;
  #field = 0;
  #type: number = VARINT;
  // The last varint, as two unsigned 32-bit halves.
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.length;
  }

  /** Whether the message that is being read has another field. */
  more(): boolean {
    return this.#at < this.#end;
  }

  /** Byte offset of the next thing to read. */
  get offset(): number {
    return this.#at;
  }

  /** Byte offset of the tag that was read last. */
  get tagOffset(): number {
    return this.#tagAt;
  }

  /** The message's bytes as they stand, a character each. */
  latin1(from: number, to: number): string {
    return this.#buffer.toString('latin1', from, to);
  }

  /** Reads a tag; returns the field's number. */
  tag(): number {
    this.#tagAt = this.#at;
    this.#varint();
    if (this.#high !== 0) throw this.#broken('a tag longer than 32 bits');
    this.#type = this.#low & 7;
    this.#field = this.#low >>> 3;
    if (this.#field === 0) throw this.#broken('field number 0');
    if (this.#type > FIXED32) throw this.#broken(`wire type ${this.#type}`);
    return this.#field;
  }

  /** Starts reading an embedded message; hand what this returns to `leave` when it has no more fields. */
  enter(): number {
    const length = this.#length();
    const outer = this.#end;
    this.#end = this.#at + length;
    return outer;
  }

  /** Ends an embedded message, also one that was given up half-way: goes on after it. */
  leave(outer: number, inner = this.#end): void {
    this.#at = inner;
    this.#end = outer;
  }

  /** Goes back to `offset` in the message that is being read, to read its fields once more. */
  rewind(offset: number): void {
    this.#at = offset;
  }

  /** The end of the message that is being read; `leave` needs it when the message was given up below its own level. */
  get end(): number {
    return this.#end;
  }

  bool(): boolean {
    this.#scalar();
    return this.#low !== 0 || this.#high !== 0;
  }

  uint32(): number {
    this.#scalar();
    return this.#low;
  }

  /** int32 and enums. */
  int32(): number {
    this.#scalar();
    return this.#low | 0;
  }

  sint32(): number {
    this.#scalar();
    return (this.#low >>> 1) ^ -(this.#low & 1);
  }

  /** int64; a number where that is exact, else a bigint. */
  int64(): number | bigint {
    this.#scalar();
    const value = (this.#high | 0) * 4_294_967_296 + this.#low;
    if (Number.isSafeInteger(value)) return value;
    return (BigInt(this.#high | 0) << 32n) | BigInt(this.#low);
  }

  fixed32(): number {
    this.#expect(FIXED32);
    return this.#view.getUint32(this.#take(4), true);
  }

  fixed64(): bigint {
    this.#expect(FIXED64);
    return this.#view.getBigUint64(this.#take(8), true);
  }

  sfixed64(): bigint {
    this.#expect(FIXED64);
    return this.#view.getBigInt64(this.#take(8), true);
  }

  double(): number {
    this.#expect(FIXED64);
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** repeated double, packed or one by one. */
  doubles(into: number[]): void {
    this.#repeated(FIXED64, () => into.push(this.#view.getFloat64(this.#take(8), true)));
  }

  /** repeated fixed64, packed or one by one, as the nearest numbers. */
  fixed64s(into: number[]): void {
    this.#repeated(FIXED64, () => into.push(Number(this.#view.getBigUint64(this.#take(8), true))));
  }

  /** repeated uint64, packed or one by one, as the nearest numbers. */
  uint64s(into: number[]): void {
    this.#repeated(VARINT, () => {
      this.#varint();
      into.push(this.#high * 4_294_967_296 + this.#low);
    });
  }

  /** The field's bytes, a view on the input. */
  take(): Uint8Array {
    const length = this.#length();
    const from = this.#take(length);
    return this.bytes.subarray(from, from + length);
  }

  /** An id of exactly `size` bytes as lower-case hex; '' where it is empty, undefined where it has another length. */
  hex(size: number): string | undefined {
    const length = this.#length();
    const from = this.#take(length);
    if (length === 0) return '';
    if (length !== size) return undefined;
    let text = '';
    for (let i = from; i < from + length; i++) text += HEX[this.bytes[i]!];
    return text;
  }

  string(): string {
    const length = this.#length();
    const from = this.#take(length);
    if (length <= SHORT) {
      const text = this.#ascii(from, length);
      if (text !== undefined) return text;
    }
    try {
      return utf8.decode(this.bytes.subarray(from, from + length));
    } catch {
      throw new WireError('bad_utf8', `field ${this.#field} is not UTF-8`, from);
    }
  }

  /** Skips the field whose tag was just read: how unknown fields are ignored. */
  skip(): void {
    const open: number[] = [];
    for (;;) {
      switch (this.#type) {
        case VARINT:
          this.#varint();
          break;
        case FIXED64:
          this.#take(8);
          break;
        case LENGTH:
          this.#take(this.#length());
          break;
        case FIXED32:
          this.#take(4);
          break;
        case GROUP:
          if (open.length === MAX_GROUPS) throw this.#broken(`groups nested deeper than ${MAX_GROUPS}`);
          open.push(this.#field);
          break;
        default: // END_GROUP
          if (open.pop() !== this.#field) throw this.#broken(`the end of group ${this.#field}, which is not open`);
      }
      if (open.length === 0) return;
      if (!this.more()) throw this.#broken(`group ${open.at(-1)} without its end`);
      this.tag();
    }
  }

  #scalar(): void {
    this.#expect(VARINT);
    this.#varint();
  }

  /** At most 10 bytes; bits beyond the 64th are dropped, as in every official reader. */
  #varint(): void {
    const { bytes } = this;
    let at = this.#at;
    if (at < this.#end && bytes[at]! < 128) {
      this.#low = bytes[at]!;
      this.#high = 0;
      this.#at = at + 1;
      return;
    }
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= this.#end) throw this.#broken('a varint cut short');
      const byte = bytes[at++]!;
      if (shift < 28) low |= (byte & 127) << shift;
      else if (shift === 28) {
        low |= (byte & 127) << 28;
        high |= (byte & 127) >> 4;
      } else if (shift < 64) high |= (byte & 127) << (shift - 32);
      if (byte < 128) {
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        this.#at = at;
        return;
      }
    }
    throw this.#broken('a varint of more than 10 bytes');
  }

  #length(): number {
    this.#expect(LENGTH);
    this.#varint();
    if (this.#high !== 0 || this.#low > this.#end - this.#at) {
      throw this.#broken(`field ${this.#field} says it is longer than what holds it`);
    }
    return this.#low;
  }

  #take(length: number): number {
    const from = this.#at;
    if (length > this.#end - from) throw this.#broken(`field ${this.#field} cut short`);
    this.#at = from + length;
    return from;
  }

  #expect(type: number): void {
    if (this.#type !== type)
      throw this.#broken(`field ${this.#field} with wire type ${this.#type} in place of ${type}`);
  }

  #repeated(type: number, one: () => void): void {
    if (this.#type !== LENGTH) {
      this.#expect(type);
      one();
      return;
    }
    const outer = this.enter();
    while (this.more()) one();
    this.leave(outer);
  }

  /**
   * Attribute keys and many values repeat from span to span: finding them again, not building them, doubles spans/s.
   */
  #ascii(from: number, length: number): string | undefined {
    const { bytes } = this;
    let hash = length;
    let union = 0;
    for (let i = from; i < from + length; i++) {
      const byte = bytes[i]!;
      hash = (Math.imul(hash, 31) + byte) | 0;
      union |= byte;
    }
    if (union > 127) return undefined;
    const slot = (hash ^ (hash >>> 15)) & (RECENT - 1);
    const known = recent[slot]!;
    if (known.length === length && this.#stands(known, from)) return known;
    const text = String.fromCharCode.apply(undefined, bytes.subarray(from, from + length) as unknown as number[]);
    recent[slot] = text;
    return text;
  }

  #stands(text: string, from: number): boolean {
    for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== this.bytes[from + i]) return false;
    return true;
  }

  #broken(what: string): WireError {
    return new WireError('bad_protobuf', what, this.#tagAt);
  }
}

/** The bytes are no protobuf message (or a string in it is no UTF-8); `offset` is where that shows. */
export class WireError extends Error {
  readonly reason: 'bad_protobuf' | 'bad_utf8';
  readonly offset: number;

  constructor(reason: 'bad_protobuf' | 'bad_utf8', what: string, offset: number) {
    super(`${what} at byte ${offset}`);
    this.name = 'WireError';
    this.reason = reason;
    this.offset = offset;
  }
}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const GROUP = 3;
const FIXED32 = 5;

/** Groups are skipped, never used by OTLP; the bound is that of the official readers. */
const MAX_GROUPS = 100;

/** Up to here building a string byte by byte is faster than TextDecoder. */
const SHORT = 64;

/** Short strings seen last, by their hash. */
const RECENT = 4_096;
const recent: string[] = Array.from({ length: RECENT }, () => '');

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
