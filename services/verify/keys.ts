import type { PublicKey } from './words.js';

/** Public keys in an answer of ListPublicKeys, as the AWS CLI prints it (times in ISO 8601 or seconds). What is no such answer has none. */
export function publicKeys(text: string): PublicKey[] {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return [];
  }
  const { PublicKeyList, publicKeyList } = (answer ?? {}) as Record<string, unknown>; // the documentation has both
  const list = PublicKeyList ?? publicKeyList;
  return Array.isArray(list) ? list.flatMap((entry) => publicKey(entry as Readonly<Record<string, unknown>>)) : [];
}

function publicKey(entry: Readonly<Record<string, unknown>>): PublicKey[] {
  const { Fingerprint: fingerprint, Value: value } = entry;
  const fromMicros = micros(entry['ValidityStartTime']);
  const toMicros = micros(entry['ValidityEndTime']);
  if (typeof fingerprint !== 'string' || typeof value !== 'string' || Number.isNaN(fromMicros + toMicros)) return [];
  return [
    { fingerprint, der: Uint8Array.from(base64(value), (character) => character.charCodeAt(0)), fromMicros, toMicros },
  ];
}

function micros(time: unknown): number {
  if (typeof time === 'number') return time * 1e6;
  if (typeof time !== 'string') return Number.NaN;
  return /^\d+(?:\.\d+)?$/.test(time) ? Number(time) * 1e6 : Date.parse(time) * 1000;
}

/** One character a byte; nothing where the text is no base64. */
function base64(text: string): string {
  try {
    return atob(text);
  } catch {
    return '';
  }
}
