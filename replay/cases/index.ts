/** The bundled cases: each a folder beside this file. */
// biome-ignore format: one line a case
export const cases = [
  'storage-avalanche',
  'quiet-night',
  'decoys',
  'audit-log-purge',
  'benign-deletes',
] as const;
