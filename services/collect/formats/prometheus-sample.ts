/** One sample line by place. */
export interface Parts {
  readonly series: string;
  readonly value: string;
  readonly timestamp: string | undefined;
}

/**
 * Series, value and timestamp by place alone: a value holds no brace, so the last brace of the line ends the labels.
 */
export function split(line: string): Parts | undefined {
  const brace = line.lastIndexOf('}');
  let end = brace + 1;
  if (brace < 0) {
    end = blankFrom(line, 0);
    if (end === line.length) return undefined;
  }
  const start = wordFrom(line, end);
  const stop = blankFrom(line, start);
  if (stop === start) return undefined;
  const value = line.slice(start, stop);
  const series = line.slice(0, end);
  const next = wordFrom(line, stop);
  if (next === line.length) return { series, value, timestamp: undefined };
  const after = blankFrom(line, next);
  return wordFrom(line, after) === line.length ? { series, value, timestamp: line.slice(next, after) } : undefined;
}

function blankFrom(line: string, from: number): number {
  let at = from;
  for (; at < line.length; at += 1) {
    const code = line.charCodeAt(at);
    if (code === space || code === tab) break;
  }
  return at;
}

function wordFrom(line: string, from: number): number {
  let at = from;
  for (; at < line.length; at += 1) {
    const code = line.charCodeAt(at);
    if (code !== space && code !== tab) break;
  }
  return at;
}

/** Sorted by name, no value empty. */
export type Labels = readonly (readonly [string, string])[];

export interface ParsedSeries {
  readonly name: string;
  readonly labels: Labels;
}

/** Name and labels of a sample, or what is wrong with them. */
export function parsedSeries(text: string): ParsedSeries | string {
  const brace = text.indexOf('{');
  const name = (brace < 0 ? text : text.slice(0, brace)).trim();
  if (!namePattern.test(name)) return `has no metric name, but ${quoted(name)}`;
  if (brace < 0) return { name, labels: [] };
  const labels = parsedLabels(text, brace + 1, text.length - 1);
  if (typeof labels === 'string') return labels;
  if (labels.length > maxLabels) return `has ${labels.length} labels, more than ${maxLabels}`;
  labels.sort(([a], [b]) => (a < b ? -1 : 1));
  const twice = labels.find(([label], i) => i > 0 && labels[i - 1]![0] === label);
  if (twice) return `has the label ${twice[0]} twice`;
  return { name, labels: labels.filter(([, value]) => value !== '') };
}

function parsedLabels(text: string, from: number, end: number): [string, string][] | string {
  const labels: [string, string][] = [];
  let at = wordFrom(text, from);
  while (at < end) {
    const equals = text.indexOf('=', at);
    const label = equals < 0 ? '' : text.slice(at, equals).trimEnd();
    if (!labelPattern.test(label)) return 'has a label without a name';
    const open = wordFrom(text, equals + 1);
    const close = text[open] === '"' ? closingQuote(text, open + 1, end) : -1;
    if (close < 0) return `has no quoted value for its label ${label}`;
    const value = unescaped(text.slice(open + 1, close));
    if (value === undefined) return `has an unknown escape in its label ${label}`;
    labels.push([label, value]);
    at = wordFrom(text, close + 1);
    if (at < end && text[at] !== ',') return `has no comma after its label ${label}`;
    at = wordFrom(text, at + 1);
  }
  return labels;
}

function closingQuote(text: string, from: number, end: number): number {
  for (let at = from; at < end; at += 1) {
    const char = text[at];
    if (char === '\\') at += 1;
    else if (char === '"') return at;
  }
  return -1;
}

function unescaped(value: string): string | undefined {
  if (!value.includes('\\')) return value;
  let unknown = false;
  const plain = value.replace(/\\(.)/gs, (_, char: string) => {
    if (char === 'n') return '\n';
    if (char !== '\\' && char !== '"') unknown = true;
    return char;
  });
  return unknown ? undefined : plain;
}

const maxLabels = 64;
/** A metric name, and a label name, of the format. */
export const namePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelPattern = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const numberPattern = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/**
 * A number as Go reads it, without its hexadecimal floats; null for a stale marker, undefined where it is none or
 * beyond a double.
 */
export function parsedNumber(text: string): number | null | undefined {
  if (numberPattern.test(text)) {
    const value = Number(text);
    return Number.isFinite(value) ? value : undefined;
  }
  switch (text.toLowerCase()) {
    case 'nan':
      return Number.NaN;
    case 'inf':
    case '+inf':
    case 'infinity':
    case '+infinity':
      return Number.POSITIVE_INFINITY;
    case '-inf':
    case '-infinity':
      return Number.NEGATIVE_INFINITY;
    case 'stale':
      return null;
    default:
      return undefined;
  }
}

/** Milliseconds whose nanoseconds fit 64 bits, as far as the year 2262. */
export function parsedMs(text: string): number | undefined {
  const ms = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  return Math.abs(ms) <= 9_223_372_036_854 ? ms : undefined;
}

export function numberOf(labels: Labels, label: string): number | undefined {
  const text = labels.find(([key]) => key === label)?.[1];
  const value = text === undefined ? undefined : parsedNumber(text);
  return value === undefined || value === null || Number.isNaN(value) ? undefined : value;
}

/** JSON text of labels that are sorted already. */
export function jsonOf(labels: Labels): string {
  return `{${labels.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
}

export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

export const space = 32;
export const tab = 9;
