/**
 * What was made of texts, to be found again where the same text comes again. What it holds is bounded, by characters and not by their number: long texts are made anew
 * each time, and when it holds too much it begins anew.
 */
export class Recent<Made> {
  readonly #made = new Map<string, Made>();
  #held = 0;

  /** What `make` makes of the text, which depends on nothing else, and takes up about as much as the text does. */
  of(text: string, make: (text: string) => Made): Made {
    const known = this.#made.get(text);
    if (known !== undefined) return known;
    const made = make(text);
    if (text.length > LONGEST) return made;
    this.#held += text.length + ENTRY;
    if (this.#held > MOST_HELD) {
      this.#made.clear();
      this.#held = text.length + ENTRY;
    }
    this.#made.set(text, made);
    return made;
  }

  /** Texts that are held. */
  get size(): number {
    return this.#made.size;
  }
}

/** Characters. What costs time are many short texts; a few long ones are an attack, or a statement in SQL. */
const LONGEST = 4_096;
const MOST_HELD = 4 * 1024 * 1024;
/** What an entry takes up besides. */
const ENTRY = 64;
