/** Numbers as findings print them. */

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${digits(scaled)} ${units[unit]}`;
}

export function milliseconds(seconds: number): string {
  return `${digits(seconds * 1000)} ms`;
}

export function percent(share: number): string {
  return `${digits(share * 100)} %`;
}

/** Three significant digits, never in exponent form. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** A figure for `measured`: enough digits to compare, few enough to read. */
export function round(value: number): number {
  return Number(value.toPrecision(6));
}
