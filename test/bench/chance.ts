import { type Random, random } from '../../replay/generate/random.js';

/** Draws for bulk data: ids of 32 bits a draw. One stream for all data, so that no id comes twice. */
export interface Chance {
  readonly next: Random['next'];
  readonly between: Random['between'];
  /** Lower-case hex digits, a multiple of 8. */
  hex(digits: number): string;
  of<T>(choices: readonly T[]): T;
}

export function chance(seed: number): Chance {
  const { next, between } = random(seed);
  const word = () =>
    Math.floor(next() * 2 ** 32)
      .toString(16)
      .padStart(8, '0');
  return {
    next,
    between,
    hex: (digits) => {
      let text = '';
      while (text.length < digits) text += word();
      return text;
    },
    of: (choices) => choices[Math.floor(next() * choices.length)]!,
  };
}
