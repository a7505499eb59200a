/**
 * Canonical text of a JSON value, independent of key order and white space: injective, not JSON. Strings carry their
 * length, so no escaping is needed. Counts the object keys on its way: fewer keys than the text had means that a key
 * stood twice.
 */
export interface Canonical {
  readonly text: string;
  readonly keys: number;
  /** False where a number is NaN or infinite, as 1e400 becomes. */
  readonly finite: boolean;
}

/** A number that no double is: it stands in the text as it was written. */
export class LongNumber {
  readonly digits: string;

  constructor(digits: string) {
    this.digits = digits;
  }
}

/** Depth is bounded by the scanner that ran before (formats/json.ts). */
export function canonical(value: unknown): Canonical {
  let text = '';
  let keyCount = 0;
  let finite = true;
  const walk = (node: unknown): void => {
    if (typeof node === 'string') {
      text += LENGTHS[node.length] ?? `"${node.length}:`;
      text += node;
    } else if (typeof node !== 'object' || node === null) {
      if (typeof node === 'number' && !Number.isFinite(node)) finite = false;
      text += `${String(node)};`;
    } else if (Array.isArray(node)) {
      text += '[';
      for (const item of node) walk(item);
      text += ']';
    } else if (node instanceof LongNumber) {
      text += `${node.digits};`;
    } else {
      const record = node as Readonly<Record<string, unknown>>;
      const { sorted, texts } = orderOf(record);
      keyCount += sorted.length;
      text += '{';
      for (let at = 0; at < sorted.length; at++) {
        text += texts[at]!;
        walk(record[sorted[at]!]);
      }
      text += '}';
    }
  };
  walk(value);
  return { text, keys: keyCount, finite };
}

/** How a string of so many characters begins: most are short, and a number's text costs more than its look-up. */
const LENGTHS: readonly string[] = Array.from({ length: 512 }, (_, length) => `"${length}:`);

/** The keys of an object as they come, and sorted; `texts` are the sorted ones with their lengths. */
interface Order {
  readonly keys: readonly string[];
  readonly sorted: readonly string[];
  readonly texts: readonly string[];
}

const NO_KEYS: Order = { keys: [], sorted: [], texts: [] };

const known = new Map<string, Order[]>();

/** Records of one API call share their shape: sorting it once instead of once a record is worth a third of the walk. */
function orderOf(record: object): Order {
  const keys = Object.keys(record);
  const first = keys[0];
  if (first === undefined) return NO_KEYS;
  const orders = known.get(first);
  if (orders) for (const order of orders) if (same(order.keys, keys)) return order;
  const sorted = [...keys].sort();
  const order = { keys, sorted, texts: sorted.map((key) => `${key.length}:${key}`) };
  if (texts(order) <= LONGEST_KEYS) remember(first, orders, order);
  return order;
}

const texts = ({ texts: some }: Order): number => some.reduce((sum, text) => sum + text.length, 0);

function same(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let at = a.length - 1; at >= 0; at--) if (a[at] !== b[at]) return false; // shapes differ near their end
  return true;
}

/** Characters of all keys of one object. Records have some hundred; what is held is bounded by them. */
const LONGEST_KEYS = 2_048;
const FIRST_KEYS = 1024;
const ORDERS_EACH = 16;

function remember(first: string, orders: Order[] | undefined, order: Order): void {
  if (orders) {
    if (orders.length >= ORDERS_EACH) orders.pop();
    orders.unshift(order);
  } else {
    if (known.size >= FIRST_KEYS) known.clear();
    known.set(first, [order]);
  }
}
