import type { Context } from '../source.js';

/** AWS itself began in 2006: an earlier time is no time of its records. */
export const AWS_BEGAN_MICROS = BigInt(Date.UTC(2006, 0, 1)) * 1000n;

/** Event times after this (microseconds) are flagged: a day after the caller's clock, where it has one. */
export function futureMicros({ nowUnixNano: now }: Context): bigint | undefined {
  return now === undefined ? undefined : now / 1000n + 86_400_000_000n;
}

type Fields = readonly [number, number, number, number, number, number];

/** Milliseconds since 1970 of year, month (from 1), day, hour, minute and second in UTC. A 30 February or a leap second is none. */
export function utcMillis(fields: readonly number[]): number | undefined {
  const [year, month, day, hour, minute, second] = fields as Fields;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  return date.setUTCHours(hour, minute, second);
}
