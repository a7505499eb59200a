/** A broker takes requests of 1 MiB by default (`message.max.bytes`), and what is sent need not shrink by compression. */
const MOST_BYTES = 900 * 1024;

/** Messages in their order, as many at once as a broker takes. One that alone is larger goes alone. */
export function* inParts<Message extends { readonly value: string | Buffer }>(
  messages: Iterable<Message>,
): Generator<Message[]> {
  let part: Message[] = [];
  let bytes = 0;
  for (const message of messages) {
    const size = Buffer.byteLength(message.value);
    if (part.length > 0 && bytes + size > MOST_BYTES) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(message);
    bytes += size;
  }
  if (part.length > 0) yield part;
}
