import type { Flag } from '../../../shared/evidence.js';
import { Recent } from '../../../shared/recent.js';
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

  /** Passes over the field whose tag was just read. Throws where it is no embedded message. */
  pass(wire: Wire): void {
    const from = wire.tagOffset;
    wire.leave(wire.enter());
    const last = this.#stretches.at(-1);
    if (last?.[1] === from) last[1] = wire.offset;
    else this.#stretches.push([from, wire.offset]);
  }

  /** Points of one series have the same bytes here, scrape for scrape: they are read the first time. Throws as `attributeFromWire` does. */
  read(wire: Wire): PointAttributes {
    const key = this.#stretches.map(([from, to]) => wire.latin1(from, to)).join('');
    return recent.of(key, () => this.readAnew(wire));
  }

  /** Where those that were passed over are wrong, it is this that is wrong with the point: they stand before what comes next. */
  readAnew(wire: Wire): PointAttributes {
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
    return pointAttributes(list);
  }
}

/** By their bytes on the wire. */
const recent = new Recent<PointAttributes>();
