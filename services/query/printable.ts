/**
 * Text from evidence, safe on a terminal: control characters and marks that turn the direction of writing would move the cursor, or the meaning,
 * for whoever reads what an attacker sent.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '·');
}
