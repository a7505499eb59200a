import type { Context, FileDecoder, Source } from '../source.js';

/** Decodes a whole input, plain or gzip, as a file that comes in one piece. */
export const wholeFile =
  <Row>(file: (context: Context) => FileDecoder<Row>): Source<Row>['decode'] =>
  (value, context) => {
    const isGzip = value[0] === 0x1f && value[1] === 0x8b;
    let whole = value;
    try {
      if (isGzip) whole = context.gunzip(value);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      return { rows: [], faults: [{ reason: 'bad_gzip', detail, raw: value, position: 0 }], skipped: new Map() };
    }
    const decoder = file(context);
    const [first, last] = [decoder.push(whole), decoder.end()];
    return {
      rows: [...first.rows, ...last.rows],
      faults: [...first.faults, ...last.faults],
      skipped: new Map([...first.skipped, ...last.skipped]),
    };
  };
