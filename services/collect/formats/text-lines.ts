import type { FaultReason } from '../../../shared/evidence.js';

/** Takes the lines of a text, in order; `number` counts from 0. */
export interface LineReader {
  line(text: string, number: number): void;
  badLine(reason: FaultReason, detail: string, raw: Uint8Array, number: number): void;
}

/**
 * Pieces of any size to lines: the same lines however the pieces are cut. A line that is no UTF-8 or longer than 1
 * MiB costs only itself. A byte order mark before the first line and a carriage return at a line's end are dropped.
 */
export class LineSplitter {
  private readonly reader: LineReader;
  private readonly strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** The line under way: its bytes so far, no more than the bound of a line, and how many it had. */
  private open: Uint8Array[] = [];
  private openBytes = 0;
  private number = 0;

  constructor(reader: LineReader) {
    this.reader = reader;
  }

  push(piece: Uint8Array): void {
    const first = piece.indexOf(newlineByte);
    let from = 0;
    if (first >= 0 && this.openBytes > 0) {
      this.keepOpen(piece.subarray(0, first));
      this.closeOpen();
      from = first + 1;
    }
    const last = piece.lastIndexOf(newlineByte);
    if (last >= from) this.whole(piece.subarray(from, last));
    this.keepOpen(piece.subarray(last + 1));
  }

  end(): void {
    if (this.openBytes > 0) this.closeOpen();
  }

  private keepOpen(bytes: Uint8Array): void {
    const room = maxLineBytes + 1 - this.openBytes;
    if (bytes.length > 0 && room > 0) this.open.push(new Uint8Array(bytes.subarray(0, room)));
    this.openBytes += bytes.length;
  }

  private closeOpen(): void {
    const bytes = joined(this.open);
    const length = this.openBytes;
    this.open = [];
    this.openBytes = 0;
    this.one(bytes, length);
  }

  /** Lines that lie whole in one piece: many are decoded at one stroke, and one by one only where that fails. */
  private whole(bytes: Uint8Array): void {
    let from = 0;
    while (from <= bytes.length) {
      const limit = from + strokeBytes;
      let to = limit < bytes.length ? bytes.lastIndexOf(newlineByte, limit) : bytes.length;
      if (to < from) to = bytes.indexOf(newlineByte, from);
      if (to < 0) to = bytes.length;
      this.stroke(bytes.subarray(from, to));
      from = to + 1;
    }
  }

  private stroke(bytes: Uint8Array): void {
    const text = bytes.length <= maxLineBytes ? this.decoded(bytes) : undefined;
    let from = 0;
    if (text === undefined) {
      for (let at = 0; at >= 0; from = at + 1) {
        at = bytes.indexOf(newlineByte, from);
        const line = bytes.subarray(from, at < 0 ? bytes.length : at);
        this.one(line, line.length);
      }
      return;
    }
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', from)) {
      this.deliver(text.slice(from, at));
      from = at + 1;
    }
    this.deliver(text.slice(from));
  }

  private one(bytes: Uint8Array, length: number): void {
    if (length > maxLineBytes) {
      const detail = `line ${this.number + 1} has ${length} bytes, more than ${maxLineBytes}; its beginning is kept`;
      this.reader.badLine('too_large', detail, new Uint8Array(bytes.subarray(0, maxLineBytes)), this.number);
      this.number += 1;
      return;
    }
    const text = this.decoded(bytes);
    if (text !== undefined) {
      this.deliver(text);
    } else {
      this.reader.badLine('bad_utf8', `line ${this.number + 1} is not UTF-8`, new Uint8Array(bytes), this.number);
      this.number += 1;
    }
  }

  private deliver(text: string): void {
    const bare = this.number === 0 && text.startsWith('\uFEFF') ? text.slice(1) : text;
    this.reader.line(bare.endsWith('\r') ? bare.slice(0, -1) : bare, this.number);
    this.number += 1;
  }

  private decoded(bytes: Uint8Array): string | undefined {
    try {
      return this.strict.decode(bytes);
    } catch {
      return undefined;
    }
  }
}

/** The bound of one line. */
const maxLineBytes = 1 << 20;
const newlineByte = 10;
const strokeBytes = 1 << 16;

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
