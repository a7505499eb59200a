import type { FaultReason } from '../../../shared/evidence.js';
import { canonical, LongNumber } from './canonical.js';

/**
 * The strict reading of JSON. JSON.parse decides what JSON is; what it lets pass is judged beside it: a key that stands
 * twice (the last one would win: two readers, two stories), depth, numbers beyond a double, bytes that are not UTF-8,
 * lone surrogates. Numbers that no double is (integers past 2^53) are kept: readers differ on their value, so the body has them as
 * they are written, and the record's own text stays beside the value.
 *
 * Bytes are scanned as one-byte strings (`latin1`), where structure is plain to see, and turned into text a value at a
 * time.
 *
 * | bound  | value  | why                                                                                          |
 * |--------|--------|----------------------------------------------------------------------------------------------|
 * | depth  | 64     | JSON.parse takes a million; code that walks the value does not                               |
 * | record | 16 MiB | bytes of one listed value; CloudTrail's largest is 1 MiB (MaxEventSize), most are under 256 KB |
 * | kept   | 64 KiB | head of what is over the record bound, for quarantine                                        |
 *
 * A string has no bound of its own: it is never longer than its record, and an envelope's string may hold a whole file.
 */
export const JSON_BOUNDS = { depth: 64, record: 16 * 1024 * 1024, kept: 64 * 1024 } as const;

/** One value: what JSON.parse makes of it, and its canonical text (formats/canonical.ts), which is finished when it is asked for. */
interface Reading {
  readonly value: unknown;
  readonly body: string;
}

/** What the scanner saw of a value: keys and nesting. */
export interface Shape {
  readonly keys: number;
  readonly depth: number;
}

/** A value cut out of a longer text, or what could not be one. */
export type Cut =
  /** `isJoined`: it did not stand in one piece. */
  | (Shape & { readonly kind: 'value'; readonly text: string; readonly isJoined?: boolean })
  | { readonly kind: 'broken'; readonly reason: FaultReason; readonly detail: string; readonly text: string };

/** Why a text is refused. The message is one sentence. */
export class JsonError extends Error {
  readonly reason: FaultReason;

  constructor(reason: FaultReason, detail: string) {
    super(detail);
    this.name = 'JsonError';
    this.reason = reason;
  }
}

/** The value that `text` is. Throws JsonError. `seen`: the shape, where a scan has made it already. */
export function readJson(text: string, seen: Shape = shapeOf(text)): Reading {
  if (seen.depth > JSON_BOUNDS.depth) {
    throw new JsonError('too_deep', `the value is nested ${seen.depth} deep, the bound is ${JSON_BOUNDS.depth}`);
  }
  const value = parse(text);
  const { text: body, keys, finite } = canonical(value);
  if (keys !== seen.keys) throw new JsonError('duplicate_key', 'a key stands twice in one object');
  if (!finite) throw new JsonError('bad_json', 'a number is beyond the range of a double');
  if (!isWellFormed(body)) throw new JsonError('bad_utf8', 'a string holds half of a surrogate pair');
  return {
    value,
    get body() {
      return PERHAPS_LONG.test(text) ? canonical(withLongNumbers(text)).text : body;
    },
  };
}

/** A number of many digits, or with an exponent; perhaps inside of a string, where it is looked at for nothing. */
const PERHAPS_LONG = /(?:^|[:,[\s])-?[0-9](?:[0-9.]{15}|[0-9.]*[eE])/;
const NUMBERS = /-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/g;

/** Half of a surrogate pair, which no string begins with here: that was refused before. */
const MARK = '\ud800';

/** The value of a JSON text, with a LongNumber for each number that no double is. */
function withLongNumbers(text: string): unknown {
  const marked = outsideStrings(text, (part) =>
    part.replace(NUMBERS, (number) =>
      decimal(number) === decimal(String(Number(number))) ? number : `"${MARK}${number}"`,
    ),
  );
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === 'string' && value.startsWith(MARK) ? new LongNumber(value.slice(MARK.length)) : value,
  );
}

/** One spelling of a decimal number: significant digits and exponent. */
function decimal(number: string): string {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(
    number,
  )!;
  const digits = (whole! + fraction).replace(/^0+/, '');
  let end = digits.length;
  while (digits[end - 1] === '0') end--;
  return end === 0 ? '0' : `${sign}${digits.slice(0, end)}e${Number(exponent) - fraction.length + digits.length - end}`;
}

/** Changes what of a JSON text stands outside of its strings. */
export function outsideStrings(text: string, change: (part: string) => string): string {
  let out = '';
  let at = 0;
  for (;;) {
    const open = text.indexOf('"', at);
    out += change(open < 0 ? text.slice(at) : text.slice(at, open));
    if (open < 0) return out;
    let close = open + 1;
    while (text[close] !== '"') close += text[close] === '\\' ? 2 : 1;
    out += text.slice(open, close + 1);
    at = close + 1;
  }
}

/** Bytes as a one-byte string: character n is byte n. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A one-byte string without the UTF-8 byte order mark. */
export function withoutMark(binary: string): string {
  return binary.startsWith('\u00ef\u00bb\u00bf') ? binary.slice(3) : binary;
}

/** The text that a one-byte string's bytes are. Throws JsonError when they are not UTF-8. */
export function utf8(binary: string): string {
  if (Buffer.byteLength(binary) === binary.length) return binary; // no byte over 0x7f
  try {
    return strictUtf8.decode(Buffer.from(binary, 'latin1'));
  } catch {
    throw new JsonError('bad_utf8', 'the bytes are not UTF-8');
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Objects and arrays that stand one after the other, with or without white space between them. What is neither is
 * broken, as far as the next line that starts with one; so is a value that has no end.
 */
export function splitValues(text: string): Cut[] {
  const cuts: Cut[] = [];
  let at = skipSpace(text, 0);
  while (at < text.length) {
    const open = text.charCodeAt(at);
    if (open === BRACE || open === BRACKET) {
      const scan = startScan(open);
      const end = advance(scan, text, at);
      if (end < 0) cuts.push(broken('bad_json', 'the text ends inside of a value', text.slice(at)));
      else cuts.push({ kind: 'value', text: text.slice(at, end), keys: scan.keys, depth: scan.deepest });
      at = end < 0 ? text.length : skipSpace(text, end);
    } else {
      const end = nextOpeningLine(text, at);
      cuts.push(broken('unknown_format', 'here stands neither an object nor an array', text.slice(at, end)));
      at = skipSpace(text, end);
    }
  }
  return cuts;
}

/** The text of one member's value in an object that is known to be JSON without duplicate keys. */
export function memberText(object: string, key: string): string | undefined {
  let at = skipSpace(object, object.indexOf('{') + 1);
  while (object.charCodeAt(at) === QUOTE) {
    const keyEnd = endOfValue(object, at);
    const start = skipSpace(object, object.indexOf(':', keyEnd) + 1);
    const end = endOfValue(object, start);
    if (parse(object.slice(at, keyEnd)) === key) return object.slice(start, end);
    at = skipSpace(object, skipSpace(object, end) + 1);
  }
  return undefined;
}

/** Cuts one document into its listed values as pieces of it arrive. */
export interface ListSplitter {
  /** Reads on from an index of `piece`. Returns where in it the document ended, or -1 while it has not. What follows the end is not looked at. */
  push(piece: string, from?: number): number;
  /** The input is over: a document that has not ended is broken. */
  end(): void;
}

/** Reads a listed value where it stands, instead of having it cut out: returns the index after it, or -1. */
export type Take = (piece: string, at: number) => number;

const takeNone: Take = () => -1;

type Expected = 'open' | 'key' | 'colon' | 'member' | 'comma or }' | 'value' | 'comma or ]' | 'nothing more';

/**
 * The values listed in `{"<list>":[ … ]}`, or in `[ … ]` where `list` is undefined. `emit` gets them in order; a member
 * beside the list or a second list is broken and stands for itself. A value over the record bound is broken too, and
 * the splitter goes on after it. What `take` takes is not emitted. Where the document stops to be JSON, all the rest of it is one broken cut: what came
 * before has been emitted.
 */
export function listSplitter(list: string | undefined, emit: (cut: Cut) => void, take: Take = takeNone): ListSplitter {
  let expected: Expected = 'open';
  let afterComma = false;
  let listSeen = false;
  let name = '';
  let cutting: Cutting | undefined;
  let passed = 0; // bytes of the pieces before this one

  return { push, end };

  function push(piece: string, start = 0): number {
    let at = start;
    passed -= start;
    while (at < piece.length) {
      if (cutting) {
        const from = at;
        if (cutting.rest) at = -1;
        else at = cutting.scan ? advance(cutting.scan, piece, at) : endOfScalar(piece, at);
        keep(cutting, piece, from, at);
        if (at < 0) break;
        const done = cutting;
        cutting = undefined;
        finish(done);
        continue;
      }
      const char = piece.charCodeAt(at);
      if (isSpace(char)) at++;
      else if (accept(char)) at++;
      else {
        const taken = expected === 'value' ? take(piece, at) : -1;
        if (taken < 0) cutting = startCutting(char, passed + at);
        else {
          expected = 'comma or ]';
          at = taken;
        }
      }
      if (expected === 'nothing more') return at;
    }
    passed += piece.length;
    return -1;
  }

  /** Takes a character of the document's own structure; false where it starts a value, or does not belong. */
  function accept(char: number): boolean {
    const comma = char === COMMA;
    switch (expected) {
      case 'open':
        if (char !== (list === undefined ? BRACKET : BRACE)) return false;
        expected = list === undefined ? 'value' : 'key';
        return true;
      case 'key':
        if (char !== BRACE_END || afterComma) return false;
        expected = 'nothing more';
        return true;
      case 'colon':
        if (char !== COLON) return false;
        expected = 'member';
        return true;
      case 'member':
        if (char !== BRACKET || name !== list || listSeen) return false;
        listSeen = true;
        expected = 'value';
        afterComma = false;
        return true;
      case 'value':
        if (char !== BRACKET_END || afterComma) return false;
        expected = list === undefined ? 'nothing more' : 'comma or }';
        return true;
      case 'comma or ]':
      case 'comma or }': {
        const inList = expected === 'comma or ]';
        if (!comma && char !== (inList ? BRACKET_END : BRACE_END)) return false;
        afterComma = comma;
        if (comma) expected = inList ? 'value' : 'key';
        else expected = inList && list !== undefined ? 'comma or }' : 'nothing more';
        return true;
      }
      default:
        return false;
    }
  }

  function startCutting(char: number, start: number): Cutting {
    const opens = char === BRACE || char === BRACKET || char === QUOTE;
    const belongs =
      expected === 'key' ? char === QUOTE : (expected === 'member' || expected === 'value') && !isDelimiter(char);
    return {
      scan: belongs && opens ? startScan(char) : undefined,
      rest: !belongs,
      start,
      size: 0,
      parts: [],
    };
  }

  function finish(done: Cutting): void {
    const text = done.parts.join('');
    const inside = expected;
    if (inside === 'key') {
      expected = 'colon';
      name = keyName(text);
    } else if (inside === 'member') {
      expected = 'comma or }';
      emit(besideList(text));
    } else {
      expected = 'comma or ]';
      if (done.size > JSON_BOUNDS.record) emit(tooLarge(done, text));
      else {
        const shape = { keys: done.scan?.keys ?? 0, depth: done.scan?.deepest ?? 0 };
        emit({ kind: 'value', text, ...shape, isJoined: done.parts.length > 1 });
      }
    }
  }

  function besideList(text: string): Cut {
    const whole = `${JSON.stringify(name)}:${text}`;
    if (name !== list) return broken('unknown_format', `a member ${quote(name)} stands beside ${quote(list)}`, whole);
    if (listSeen) return broken('duplicate_key', `a second ${quote(name)} stands in the document`, whole);
    listSeen = true;
    return broken('bad_record', `${quote(name)} is not a list`, whole);
  }

  function end(): void {
    if (expected === 'nothing more') return;
    const text = cutting?.parts.join('') ?? '';
    const at = cutting?.start ?? passed;
    const cutShort = cutting && cutting.size > text.length ? `; the first ${text.length} bytes are kept` : '';
    emit(
      cutting?.rest
        ? broken(
            'bad_json',
            `byte ${at}: ${EXPECTED[expected]} was expected, and the rest is not read${cutShort}`,
            text,
          )
        : broken('bad_json', `the document ends at byte ${passed} before it is complete${cutShort}`, text),
    );
  }
}

const EXPECTED: Readonly<Record<Expected, string>> = {
  open: 'the opening of the document',
  key: 'a key',
  colon: 'a colon',
  member: 'a value',
  'comma or }': 'a comma or }',
  value: 'a value',
  'comma or ]': 'a comma or ]',
  'nothing more': 'nothing more',
};

/** A value, key or broken rest on its way in, perhaps over many pieces. */
interface Cutting {
  readonly scan: Scan | undefined;
  readonly rest: boolean;
  readonly start: number;
  size: number;
  parts: string[];
}

function keep(cutting: Cutting, piece: string, from: number, end: number): void {
  const part = from === 0 && end < 0 ? piece : piece.slice(from, end < 0 ? piece.length : end);
  const wasOver = cutting.size > JSON_BOUNDS.record;
  cutting.size += part.length;
  if (wasOver) return;
  cutting.parts.push(part);
  if (cutting.size > JSON_BOUNDS.record) cutting.parts = [cutting.parts.join('').slice(0, JSON_BOUNDS.kept)];
}

function tooLarge(done: Cutting, text: string): Cut {
  const where = `bytes ${done.start} to ${done.start + done.size} of the document`;
  const detail = `the record is ${done.size} bytes (${where}), the bound is ${JSON_BOUNDS.record}; its head is kept`;
  return broken('too_large', detail, text);
}

function broken(reason: FaultReason, detail: string, text: string): Cut {
  return { kind: 'broken', reason, detail, text };
}

/** A key as JSON reads it; one that is no JSON is no list's name. */
function keyName(text: string): string {
  try {
    return String(parse(text));
  } catch {
    return text;
  }
}

function quote(name: string | undefined): string {
  return JSON.stringify((name ?? '').slice(0, 100));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new JsonError('bad_json', `no JSON: ${(error as Error).message.slice(0, 200)}`);
  }
}

/** String.prototype.isWellFormed is in Node 20 and not in lib es2023. */
function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed();
}

/* ---- the scanner ---- */

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const BRACKET_END = 0x5d;
const BRACE = 0x7b;
const BRACE_END = 0x7d;

/**
 * Where the scanner stands in a value. A colon outside of strings is a key: in JSON it is nothing else, and what is no
 * JSON, JSON.parse refuses. An object ends where its braces are closed, whatever its brackets do: a record with a
 * bracket missing costs itself, not the records after it.
 */
interface Scan {
  readonly open: number;
  braces: number;
  brackets: number;
  keys: number;
  deepest: number;
  quoted: boolean;
  /** The piece before ended with a backslash that escapes what comes now. */
  escaped: boolean;
}

function startScan(open: number): Scan {
  return { open, braces: 0, brackets: 0, keys: 0, deepest: 0, quoted: false, escaped: false };
}

/** Goes on to the end of the value: returns the index after it, or -1 when this piece does not hold it. */
function advance(scan: Scan, text: string, from: number): number {
  let { braces, brackets, keys, deepest } = scan;
  let at = from;
  let end = -1;
  if (scan.quoted) {
    at = afterString(scan, text, at);
    if (at < 0) return -1;
    scan.quoted = false;
    if (scan.open === QUOTE) return at;
  }
  const { open } = scan;
  while (at < text.length) {
    const char = text.charCodeAt(at++);
    if (char === QUOTE) {
      const after = afterString(scan, text, at);
      scan.quoted = after < 0;
      if (after < 0) break;
      at = after;
      if (open === QUOTE) {
        end = at;
        break;
      }
    } else if (char === COLON) {
      keys++;
    } else if (char === BRACE) {
      braces++;
      if (braces + brackets > deepest) deepest = braces + brackets;
    } else if (char === BRACKET) {
      brackets++;
      if (braces + brackets > deepest) deepest = braces + brackets;
    } else if (char === BRACE_END) {
      braces--;
      if (braces === 0 && open === BRACE) {
        end = at;
        break;
      }
    } else if (char === BRACKET_END) {
      brackets--;
      if (brackets === 0 && open === BRACKET) {
        end = at;
        break;
      }
    }
  }
  scan.braces = braces;
  scan.brackets = brackets;
  scan.keys = keys;
  scan.deepest = deepest;
  return end;
}

/** The index after the string's closing quote, or -1. A quote after an odd number of backslashes does not close. */
function afterString(scan: Scan, text: string, from: number): number {
  if (from >= text.length) return -1;
  let start = scan.escaped ? from + 1 : from;
  scan.escaped = false;
  for (;;) {
    const quote = text.indexOf('"', start);
    const stop = quote < 0 ? text.length : quote;
    let first = stop;
    while (first > start && text.charCodeAt(first - 1) === BACKSLASH) first--;
    const escapes = (stop - first) % 2 === 1;
    if (quote < 0) {
      scan.escaped = escapes;
      return -1;
    }
    if (!escapes) return quote + 1;
    start = quote + 1;
  }
}

function shapeOf(text: string): Shape {
  const scan = startScan(0); // no character: runs to the text's end
  advance(scan, text, 0);
  return { keys: scan.keys, depth: scan.deepest };
}

/** The end of a value that starts at `at` in a text known to be JSON. */
function endOfValue(text: string, at: number): number {
  const open = text.charCodeAt(at);
  const end =
    open === BRACE || open === BRACKET || open === QUOTE ? advance(startScan(open), text, at) : endOfScalar(text, at);
  return end < 0 ? text.length : end;
}

function endOfScalar(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (isSpace(char) || isDelimiter(char)) return at;
  }
  return -1;
}

function nextOpeningLine(text: string, from: number): number {
  const openings = /\n[ \t\r]*(?=[{[])/g;
  openings.lastIndex = from;
  return openings.exec(text)?.index ?? text.length;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return at;
}

function isSpace(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09;
}

function isDelimiter(char: number): boolean {
  return char === COMMA || char === COLON || char === BRACKET_END || char === BRACE_END;
}
