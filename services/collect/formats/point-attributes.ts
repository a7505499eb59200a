import type { Flag } from '../../../shared/evidence.js';
import { AttributeList, type Attributes, type AttributeValue, attributeFromWire } from './otlp.js';
import type { Wire } from './protobuf.js';

/** The attributes of a metric point, as a row has them. */
export interface PointAttributes {
  /** JSON, keys sorted. */
  readonly text: string;
  readonly flags: ReadonlySet<Flag>;
}

export function pointAttributes({ values, flags }: AttributeList): PointAttributes {
  return { text: JSON.stringify(sorted(values)), flags };
}

export const NO_ATTRIBUTES: PointAttributes = { text: '{}', flags: new Set() };

function sorted(value: AttributeValue): AttributeValue {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  const result: Attributes = Object.create(null);
  for (const key of Object.keys(value).sort()) result[key] = sorted(value[key]!);
  return result;
}

/** Where the attributes of one point stand in a message: one stretch of it, nearly always. */
export class AttributeFields {
  readonly #stretches: [from: number, to: number][] = [];

  /** Passes over the field whose tag was just read. */
  pass(wire: Wire): void {
    const from = wire.tagOffset;
    wire.skip();
    const last = this.#stretches.at(-1);
    if (last?.[1] === from) last[1] = wire.offset;
    else this.#stretches.push([from, wire.offset]);
  }

  /** Points of one series have the same bytes here, scrape for scrape: they are read the first time. Throws as `attributeFromWire` does. */
  read(wire: Wire): PointAttributes {
    const key = this.#stretches.map(([from, to]) => wire.latin1(from, to)).join('');
    const known = recent.get(key);
    if (known) return known;
    const end = wire.offset;
    const list = new AttributeList();
    for (const [from, to] of this.#stretches) {
      wire.rewind(from);
      while (wire.offset < to) {
        wire.tag();
        attributeFromWire(wire, list);
      }
    }
    wire.rewind(end);
    const fresh = pointAttributes(list);
    if (key.length <= LONGEST) {
      if (recent.size >= MOST) recent.clear();
      recent.set(key, fresh);
    }
    return fresh;
  }
}

/** By their bytes on the wire: 16 MiB of them at most. */
const recent = new Map<string, PointAttributes>([['', NO_ATTRIBUTES]]);
const LONGEST = 1_024;
const MOST = 16_384;
