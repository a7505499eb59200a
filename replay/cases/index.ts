/** The bundled cases: each a folder beside this file. */
// biome-ignore format: one line a case
export const cases = [
  'storage-avalanche',
  'quiet-night',
  'decoys',
] as const;
