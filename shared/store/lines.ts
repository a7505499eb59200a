import { rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { DuckDBTimestampValue, type DuckDBType, type DuckDBValue } from '@duckdb/node-api';

/**
 * Rows as lines of text, which DuckDB reads from a file: one call for a batch, where a data chunk costs one call a value.
 * A line is written from values that this process has read; DuckDB cuts it at the separators and looks for nothing else,
 * no quote or escape. A row with one of the marks inside of a value is refused, and goes another way. A byte order mark at the start of
 * the file is skipped by DuckDB: the first column must not be text.
 */
const SEPARATOR = '\u0001';
const NULL = '\u0002';
const MARKS = ['\0', SEPARATOR, NULL, '\n', '\r'];
const MARK = new RegExp(`[${MARKS.join('')}]`);

/** DuckDB holds a line whole: a longer one is rare, and goes another way. */
const LINE_BYTES = 1024 * 1024;

/** A longer value is searched once a mark, which beats an expression over each of its characters. */
const SHORT = 256;

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

  /** Writes a row; undefined where a line cannot hold it. */
  add(values: readonly DuckDBValue[]): Line | undefined {
    let line = '';
    for (const value of values) {
      const text = textOf(value);
      if (text === undefined) return undefined;
      line += text;
      line += SEPARATOR;
    }
    const most = 3 * line.length; // bytes that a UTF-16 unit becomes
    if (most > LINE_BYTES) return undefined;
    this.#reserve(most);
    const from = this.#end;
    this.#end += this.#bytes.write(line, from);
    this.#bytes[this.#end - 1] = LINE_END;
    return { lines: this, from, to: this.#end };
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

  #reserve(size: number): void {
    if (this.#end + size <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, 4 * LINE_BYTES));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}

const LINE_END = 0x0a;

function textOf(value: DuckDBValue): string | undefined {
  if (value === null) return NULL;
  if (typeof value === 'string') return holdsMark(value) ? undefined : value;
  if (value instanceof DuckDBTimestampValue) return String(value.micros);
  if (Object.is(value, -0)) return '-0.0';
  return typeof value === 'object' ? undefined : String(value);
}

function holdsMark(text: string): boolean {
  return text.length > SHORT ? MARKS.some((mark) => text.includes(mark)) : MARK.test(text);
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
    const file = await open(path, 'w');
    try {
      await writeAll(file, lines);
    } finally {
      await file.close();
    }
    await use(
      `(SELECT *${replaced} FROM read_csv('${path.replaceAll("'", "''")}', auto_detect = false, header = false,
        delim = '${SEPARATOR}', quote = '', escape = '', nullstr = '${NULL}', new_line = '\\n',
        max_line_size = ${2 * LINE_BYTES}, columns = {${types.join(', ')}}))`,
    );
  } finally {
    rmSync(path, { force: true });
  }
}

/** Lines that stand side by side are written in one go. */
async function writeAll(file: FileHandle, lines: readonly Line[]): Promise<void> {
  for (let at = 0; at < lines.length; ) {
    const first = lines[at++]!;
    let { to } = first;
    while (lines[at]?.lines === first.lines && lines[at]?.from === to) to = lines[at++]!.to;
    await file.writeFile(first.lines.bytes(first.from, to));
  }
}

function isTime(type: DuckDBType): boolean {
  return String(type) === 'TIMESTAMP';
}
