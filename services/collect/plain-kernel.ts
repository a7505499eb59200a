import { readFileSync } from 'node:fs';

/** wasm/plain-json.ts, compiled: part of the program, and read when it is loaded. It gets no imports: it can reach nothing but its own memory. */
export interface PlainKernel {
  readonly memory: { readonly buffer: ArrayBuffer };
  read(index: number): number;
  object(): number;
  length(): number;
  isLow(): number;
  reset(): void;
  readonly MOST_BYTES: Address;
  readonly PIECE: Address;
  readonly CANONICAL: Address;
  readonly KINDS: Address;
  readonly STARTS: Address;
  readonly ENDS: Address;
  readonly FIRSTS: Address;
  readonly SHAPES: Address;
  readonly MEMBERS: Address;
  readonly STRING: Address;
  readonly OBJECT: Address;
  readonly SHAPE_NUMBER: Address;
  readonly SHAPE_BEFORE: Address;
  readonly SHAPE_KEY: Address;
  readonly SHAPE_KEY_LENGTH: Address;
}

interface Address {
  readonly value: number;
}

/** What of the platform's WebAssembly is used: Node's types leave it out. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

const module = new WebAssembly.Module(readFileSync(new URL('./wasm/plain-json.wasm', import.meta.url)));

/** One with memory of its own. */
export function plainKernel(): PlainKernel {
  const kernel = new WebAssembly.Instance(module).exports as PlainKernel;
  kernel.reset();
  return kernel;
}
