import { type Random, random } from '../generate/random.js';

/** What the generator draws with: the same family and seed give the same draws on every machine. */
export interface Chance extends Random {
  /** A whole number, both ends included. */
  int(from: number, to: number): number;
  pick<T>(items: readonly T[]): T;
  /** So many different ones, in drawn order. */
  some<T>(items: readonly T[], count: number): T[];
  yes(probability: number): boolean;
  /** Latencies of disks and networks are about log-normal: a median and a long tail. */
  logNormal(median: number, sigma: number): number;
}

export function chanceOf(family: string, seed: number): Chance {
  const base = random(mixed(`${family} ${seed}`));
  const int = (from: number, to: number) => from + Math.floor(base.next() * (to - from + 1));
  const pick = <T>(items: readonly T[]): T => items[int(0, items.length - 1)]!;
  return {
    ...base,
    int,
    pick,
    some: (items, count) => {
      const left = [...items];
      return Array.from({ length: Math.min(count, left.length) }, () => left.splice(int(0, left.length - 1), 1)[0]!);
    },
    yes: (probability) => base.next() < probability,
    logNormal: (median, sigma) => median * Math.exp(sigma * normal(base)),
  };
}

/** Box and Muller's transform. */
function normal({ next }: Random): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

/** FNV-1a, so that neighbouring seeds share nothing. */
function mixed(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}
