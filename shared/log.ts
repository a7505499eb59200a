/** One line on stderr: time, level, what happened, and figures as `name=value`. Standard output belongs to answers. */
export function log(
  level: 'info' | 'warn' | 'error',
  text: string,
  fields: Readonly<Record<string, unknown>> = {},
): void {
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${worded(value)}`);
  process.stderr.write(`${new Date().toISOString()} ${level.padEnd(5)} ${text}${pairs.join('')}\n`);
}

function worded(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text);
}
