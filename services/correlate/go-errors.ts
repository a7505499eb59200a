import type { GoFailure } from './item.js';

/** module@version as the go command prints it; a module path has a dot in its first element. */
const MODULE_AT_VERSION = /([\w-]+(?:\.[\w-]+)+(?:\/[\w.~!-]+)*)@v\d[\w.+-]*/;
const MODULE_IN_PROXY_URL = /https?:\/\/[^/\s"]+\/([\w-]+(?:\.[\w-]+)+(?:\/[\w.~!-]+)*)\/@v\//;

/** Texts of cmd/go for a module that is not the recorded one: go.sum, the checksum database, `go mod verify`. */
const CHECKSUM = /checksum mismatch|SECURITY ERROR|(?:dir|zip) has been modified/;

/** Texts of cmd/go for a vendor folder that go.mod does not bear out (modload/vendor.go). It compares lists, and reads no file. */
const VENDOR =
  /inconsistent vendoring|(?:not marked as explicit|marked as explicit|marked as replaced|not marked as replaced) in vendor\/modules\.txt|but vendor\/modules\.txt indicates/;

/** Texts of cmd/go and net for a module or checksum lookup that could not be had. */
const FETCH = [
  /dial tcp|i\/o timeout|no such host|TLS handshake timeout|connection refused|connection reset by peer|x509: |unexpected EOF|context deadline exceeded/,
  /: (?:404 Not Found|410 Gone|4\d\d |5\d\d )/,
  /server response: not found|fetch timed out/,
  /unknown revision|module lookup disabled by GOPROXY=off/,
];

export type GoError = Pick<GoFailure, 'failure' | 'module' | 'says'>;

/** What an error text of the go command says; undefined for any other text. */
export function goError(text: string): GoError | undefined {
  const module = (MODULE_AT_VERSION.exec(text) ?? MODULE_IN_PROXY_URL.exec(text))?.[1] ?? null;
  const says = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  if (CHECKSUM.test(text) && (module || text.includes('SECURITY ERROR'))) return { failure: 'checksum', module, says };
  if (VENDOR.test(text)) return { failure: 'vendor', module, says };
  if (module && FETCH.some((pattern) => pattern.test(text))) return { failure: 'fetch', module, says };
  return undefined;
}
