/**
 * A set that knows what is not in it: "no" is certain, "perhaps" is wrong a few times in a million. Bloom filters (Bloom 1970), a larger one whenever one is full: 32 bits and 10
 * probes for each key make (1 - e^(-10/32))^10, about 2 in a million, false answers of each. Probes are by double hashing (Kirsch and Mitzenmacher 2006).
 */
export class Bloom {
  readonly #parts: Uint32Array[] = [];
  #room = 0;

  get bytes(): number {
    return this.#parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  has(probes: Probes): boolean {
    return this.#parts.some((part) => isIn(part, probes));
  }

  add(probes: Probes): void {
    if (this.has(probes)) return;
    if (this.#room === 0) {
      this.#room = Math.min(MOST_KEYS, 2 * (this.#parts.at(-1)?.length ?? LEAST_KEYS / 2));
      this.#parts.push(new Uint32Array(this.#room)); // 32 bits each
    }
    this.#room--;
    const part = this.#parts.at(-1)!;
    for (let probe = 0; probe < PROBES; probe++) {
      const bit = bitOf(part, probes, probe);
      part[bit >>> 5]! |= 1 << (bit & 31);
    }
  }
}

/** Keys of one part: powers of two. */
const LEAST_KEYS = 512;
const MOST_KEYS = 1_048_576;
const PROBES = 10;

/** Two numbers of 31 bits from which the probes of a key follow; the second one is odd, so that its multiples meet every bit. */
export type Probes = readonly [first: number, step: number];

const bitOf = (part: Uint32Array, [first, step]: Probes, probe: number): number =>
  (first + probe * step) & (32 * part.length - 1);

function isIn(part: Uint32Array, probes: Probes): boolean {
  for (let probe = 0; probe < PROBES; probe++) {
    const bit = bitOf(part, probes, probe);
    if ((part[bit >>> 5]! & (1 << (bit & 31))) === 0) return false;
  }
  return true;
}

/** Of a whole number that a double holds exactly. */
export const probesOfNumber = (key: number): Probes => probesOf(key >>> 0, Math.floor(key / 2 ** 32));

/** Of a text: two hashes of its code units as FNV-1a makes them (Fowler, Noll, Vo), with another prime for the second. */
export function probesOfText(text: string): Probes {
  let low = 0x811c9dc5;
  let high = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    low = Math.imul(low ^ unit, 0x01000193);
    high = Math.imul(high ^ unit, 0x9e3779b1);
  }
  return probesOf(low, high);
}

/** Keys may be counted up: what ends MurmurHash3 (Appleby 2011) spreads them. */
function probesOf(low: number, high: number): Probes {
  const first = mixed(low ^ mixed(high));
  return [first >>> 1, (mixed(first ^ high) >>> 1) | 1];
}

function mixed(value: number): number {
  const half = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  const whole = Math.imul(half ^ (half >>> 13), 0xc2b2ae35);
  return whole ^ (whole >>> 16);
}
