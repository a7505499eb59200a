/** Chance that repeats itself: the same seed gives the same numbers on every machine. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  between(from: number, to: number): number;
  /** Time to the next arrival of a Poisson process with this mean. */
  wait(mean: number): number;
  /** Lower-case hex of so many bytes, never all zero. */
  hex(bytes: number): string;
}

/** mulberry32 (Tommy Ettinger, public domain): 32 bits of state, enough for some 100,000 draws of a case. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (from, to) => from + (to - from) * next(),
    wait: (mean) => -mean * Math.log(1 - next()),
    hex: (bytes) => {
      let text = '';
      while (text.length < bytes * 2)
        text += Math.floor(next() * 256)
          .toString(16)
          .padStart(2, '0');
      return /[^0]/.test(text) ? text : `${text.slice(1)}1`;
    },
  };
}
