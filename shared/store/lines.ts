import { rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { DuckDBTimestampValue, type DuckDBType, type DuckDBValue } from '@duckdb/node-api';

/**
 * Rows as lines of text, which DuckDB reads from a file: one call for a batch, where a data chunk costs one call a value.
 * A line is written from values that this process has read; DuckDB cuts it at the separators and looks for nothing else,
 * no quote or escape. A row with one of the marks inside of a value is refused, and goes another way. A byte order mark at the start of
 * the file is skipped by DuckDB: the first column must not be text.
 */
const SEPARATOR = '\u0001';
const NULL = '\u0002';
const MARKS = ['\0', '\n', '\r'];

/** DuckDB holds a line whole: a longer one is rare, and goes another way. */
const LINE_BYTES = 1024 * 1024;

/** Where a line stands among the bytes. */
export interface Line {
  readonly lines: Lines;
  readonly from: number;
  readonly to: number;
}

/** Lines in one buffer that grows. */
export class Lines {
  #bytes = Buffer.alloc(0);
  #end = 0;

  /** Writes a row; undefined where a line cannot hold it. `isPlain`: its texts are known to be ASCII without control characters, so without marks. */
  add(values: readonly DuckDBValue[], isPlain = false): Line | undefined {
    const from = this.#end;
    if (this.#put(values, isPlain) && this.#end - from <= LINE_BYTES) {
      this.#bytes[this.#end - 1] = LINE_END;
      return { lines: this, from, to: this.#end };
    }
    this.#end = from;
    return undefined;
  }

  /** Bytes of all lines. */
  get size(): number {
    return this.#end;
  }

  /** Starts anew in the same memory: lines given out before are no more. */
  clear(): void {
    this.#end = 0;
  }

  bytes(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from, to);
  }

  /** Each value and a separator after it; false where one holds a mark. Long texts are written by themselves: to join them would copy them once more. */
  #put(values: readonly DuckDBValue[], isPlain: boolean): boolean {
    let part = '';
    let separators = 0;
    let nulls = 0;
    for (const value of values) {
      const text = textOf(value);
      if (text === undefined) return false;
      if (text.length < LONG) part += text;
      else {
        if (!this.#write(part, separators, nulls, isPlain) || !this.#write(text, 0, 0, isPlain)) return false;
        part = '';
        separators = 0;
        nulls = 0;
      }
      if (text === NULL) nulls++;
      part += SEPARATOR;
      separators++;
    }
    return this.#write(part, separators, nulls, isPlain);
  }

  #write(text: string, separators: number, nulls: number, isPlain: boolean): boolean {
    if (text.length > LINE_BYTES || !(isPlain || holdsOnly(text, separators, nulls))) return false;
    this.#reserve(MOST_BYTES_A_UNIT * text.length);
    this.#end += this.#bytes.write(text, this.#end, isPlain ? 'latin1' : 'utf8');
    return true;
  }

  #reserve(size: number): void {
    if (this.#end + size <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, this.#end + size, 4 * LINE_BYTES));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}

const LINE_END = 0x0a;

/** Characters of a long text. */
const LONG = 512;

/** UTF-8 of one UTF-16 code unit. */
const MOST_BYTES_A_UNIT = 3;

function textOf(value: DuckDBValue): string | undefined {
  if (value === null) return NULL;
  if (typeof value === 'string') return value === NULL ? undefined : value;
  if (value instanceof DuckDBTimestampValue) return String(value.micros);
  if (Object.is(value, -0)) return '-0.0';
  return typeof value === 'object' ? undefined : String(value);
}

/** No mark but those that belong there: the values are searched all at once, which costs less than one by one. */
function holdsOnly(text: string, separators: number, nulls: number): boolean {
  return (
    !MARKS.some((mark) => text.includes(mark)) && count(text, SEPARATOR) === separators && count(text, NULL) === nulls
  );
}

function count(text: string, mark: string): number {
  let found = 0;
  for (let at = text.indexOf(mark); at >= 0; at = text.indexOf(mark, at + 1)) found++;
  return found;
}

interface LineColumn {
  readonly name: string;
  readonly type: DuckDBType;
}

/** Writes lines to a file for as long as `use` reads it, as the relation that it is given: one column a value. */
export async function withLines(
  path: string,
  lines: readonly Line[],
  columns: readonly LineColumn[],
  use: (relation: string) => Promise<unknown>,
): Promise<void> {
  const types = columns.map(({ name, type }) => `${name}: '${isTime(type) ? 'BIGINT' : String(type)}'`);
  const times = columns.filter(({ type }) => isTime(type)).map(({ name }) => `make_timestamp(${name}) AS ${name}`);
  const replaced = times.length === 0 ? '' : ` REPLACE (${times.join(', ')})`;
  try {
    await write(path, lines);
    await use(
      `(SELECT *${replaced} FROM read_csv('${path.replaceAll("'", "''")}', auto_detect = false, header = false,
        delim = '${SEPARATOR}', quote = '', escape = '', nullstr = '${NULL}', new_line = '\\n',
        max_line_size = ${2 * LINE_BYTES}, columns = {${types.join(', ')}}))`,
    );
  } finally {
    rmSync(path, { force: true });
  }
}

async function write(path: string, lines: readonly Line[]): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (let left = [...runs(lines)]; left.length > 0; ) left = after(left, (await file.writev(left)).bytesWritten);
  } finally {
    await file.close();
  }
}

/** What is left of these after so many bytes. */
function after(pieces: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let from = bytes;
  return pieces.flatMap((piece) => {
    const skipped = Math.min(from, piece.length);
    from -= skipped;
    return skipped === piece.length ? [] : [piece.subarray(skipped)];
  });
}

/** Lines that stand side by side are one. */
function* runs(lines: readonly Line[]): Generator<Uint8Array> {
  for (let at = 0; at < lines.length; ) {
    const first = lines[at++]!;
    let { to } = first;
    while (lines[at]?.lines === first.lines && lines[at]?.from === to) to = lines[at++]!.to;
    yield first.lines.bytes(first.from, to);
  }
}

function isTime(type: DuckDBType): boolean {
  return String(type) === 'TIMESTAMP';
}
