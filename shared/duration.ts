/** A length of time as people write it: `90s`, `15m`, `6h`. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h'}`;

const UNIT_MICROS: Readonly<Record<string, number>> = { ms: 1_000, s: 1_000_000, m: 60_000_000, h: 3_600_000_000 };

/** Microseconds of a duration. */
export function micros(duration: Duration): number {
  const [, amount, unit] = /^([\d.]+)(ms|s|m|h)$/.exec(duration)!;
  return Number(amount) * UNIT_MICROS[unit!]!;
}

/** A number of microseconds as a person reads it: `850 ms`, `12.4 s`, `11 min 37 s`, `2 h 5 min`. */
export function humanMicros(length: number): string {
  const seconds = Math.abs(length) / 1e6;
  const sign = length < 0 ? '-' : '';
  if (seconds < 1) return `${sign}${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${sign}${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${sign}${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
}
