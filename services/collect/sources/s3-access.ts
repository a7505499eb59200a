import type { Decoded, Fault, Flag, S3AccessRow } from '../../../shared/evidence.js';
import { sha256 } from '../../../shared/hash.js';
import { AWS_BEGAN_MICROS, futureMicros, utcMillis } from '../formats/event-time.js';
import { LineSplitter } from '../formats/text-lines.js';
import { wholeFile } from '../formats/whole-file.js';
import type { Context, FileDecoder, Source } from '../source.js';

/**
 * S3 server access logs: a record a line, fields with spaces between (S3 user guide, "Amazon S3 server access log format"). New fields come at the end of
 * a line; what is not named here is in `raw`.
 *
 * Request, referer and user agent stand in quotes that S3 does not escape, and whoever calls writes them: a referer of `x" 200 - - 1 1 1 "` must not
 * become a status. So each line is read from both sides. Before the request nothing is the caller's to format (the key is URL encoded); a request's target
 * holds no space, which fixes where it ends, and the numbers follow; and nothing after the last quote has one in it. Only where the referer ends and the
 * user agent begins can remain open: then neither is said (`ambiguous_quotes`).
 */
export const s3Access: Source<S3AccessRow> = {
  name: 's3-access',
  evidence: 's3-access',
  decode: wholeFile(fileDecoder),
  file: fileDecoder,
  get examples() {
    return examples();
  },
};

function fileDecoder(context: Context): FileDecoder<S3AccessRow> {
  const future = futureMicros(context);
  let out: Decoded<S3AccessRow> = nothing();
  const lines = new LineSplitter({
    line(text, number) {
      if (text.trim() === '') return;
      const read = recordIn(text, number, future);
      if ('raw' in read) out.rows.push(read);
      else out.faults.push({ ...read, detail: `line ${number + 1}: ${read.detail}`, raw: text, position: number });
    },
    badLine: (reason, detail, raw, position) => void out.faults.push({ reason, detail, raw, position }),
  });
  const taken = () => {
    const all = out;
    out = nothing();
    return all;
  };
  return {
    push(piece) {
      lines.push(piece);
      return taken();
    },
    end() {
      lines.end();
      return taken();
    },
  };
}

const nothing = (): Decoded<S3AccessRow> => ({ rows: [], faults: [], skipped: new Map() });

/** Owner, bucket, time, address, requester, request id, operation, key. */
const HEAD = /^(\S+) (\S+) \[([^\]]*)\] (\S+) (\S+) (\S+) (\S+) (\S+) /;

/** Method, target and version; a dash where there was no request (lifecycle), or where it is not repeated (each key of a DeleteObjects call). */
const REQUEST = /^(?:"?-"?|"(\S+ \S+(?: HTTP\/[\d.]+)?)") /;

/** Status, error code, bytes sent, object size, total and turn-around time. */
const NUMBERS = /^(\d{3}|-) (\S+) (\d{1,18}|-) (\d{1,18}|-) (\d{1,18}|-) (\d{1,18}|-) /;

type Wrong = Pick<Fault, 'reason' | 'detail'>;

const wrong = (detail: string, reason: Wrong['reason'] = 'bad_record'): Wrong => ({ reason, detail });

/** A row, or what is wrong with the line. */
function recordIn(line: string, position: number, future: bigint | undefined): S3AccessRow | Wrong {
  const head = HEAD.exec(line);
  if (!head)
    return wrong('it does not begin with owner, bucket, [time], address, requester, request id, operation and key');
  const [all, owner, bucket, time, ip, requester, requestId, operation, loggedKey] = head as unknown as HeadMatch;
  const afterHead = line.slice(all.length);
  const request = REQUEST.exec(afterHead);
  if (!request) return wrong('after the key there is no request of method, target and HTTP version in quotes');
  const afterRequest = afterHead.slice(request[0].length);
  const numbers = NUMBERS.exec(afterRequest);
  if (!numbers) return wrong('after the request there are no status, error code, bytes, size and times');
  const client = clientIn(afterRequest.slice(numbers[0].length));
  if (!client) return wrong('after the times there are no referer, user agent and version id');
  const eventTimeMicros = timeMicros(time);
  if (eventTimeMicros === undefined)
    return wrong(`the time [${time}] is none as [06/Feb/2019:00:00:38 +0000]`, 'bad_time');
  if (bucket === '-' || operation === '-') return wrong('it names no bucket or no operation');
  const key = keyOf(loggedKey);
  const [, status, error, sent, size] = numbers as unknown as NumbersMatch;
  return {
    bodyHash: sha256(line),
    flags: [...timeFlags(eventTimeMicros, future), ...key.flags, ...client.flags],
    position,
    eventTimeMicros,
    bucketOwner: said(owner),
    bucket,
    sourceIp: said(ip),
    requester: said(requester),
    requestId: said(requestId),
    operation,
    objectKey: key.key,
    requestUri: request[1] ?? null,
    httpStatus: status === '-' ? null : Number(status),
    errorCode: said(error),
    bytesSent: whole(sent),
    objectSize: whole(size),
    userAgent: client.userAgent,
    versionId: client.versionId,
    hostId: client.hostId,
    raw: line,
  };
}

type HeadMatch = readonly [string, string, string, string, string, string, string, string, string];
type NumbersMatch = readonly [string, string, string, string, string];

const said = (field: string | undefined): string | null => (field === undefined || field === '-' ? null : field);
const whole = (field: string): bigint | null => (field === '-' ? null : BigInt(field));

interface Client {
  readonly userAgent: string | null;
  readonly versionId: string | null;
  readonly hostId: string | null;
  readonly flags: readonly Flag[];
}

/** Referer, user agent, version id, host id and what else follows. */
function clientIn(text: string): Client | undefined {
  const last = text.lastIndexOf('"');
  const [blank, ...tail] = text.slice(last + 1).split(' ');
  if (last < 0) return blank === undefined ? undefined : clientOf(undefined, tail.slice(1)); // two dashes
  if (blank !== '') return undefined; // no field stands between the last quote and the space
  const quoted = text.slice(0, last + 1);
  if (quoted.startsWith('- "')) return clientOf(quoted.slice(3, -1), tail);
  if (!quoted.startsWith('"') || quoted.length < 2) return undefined;
  const borders = bordersIn(quoted);
  if (borders.length === 0)
    return /^"[^"]*"$/.test(quoted) && tail[0] === '-' ? clientOf('-', tail.slice(1)) : undefined;
  if (borders.length > 1) return clientOf(undefined, tail, ['ambiguous_quotes']);
  return clientOf(quoted.slice(borders[0]! + 3, -1), tail);
}

function clientOf(
  userAgent: string | undefined,
  tail: readonly string[],
  flags: readonly Flag[] = [],
): Client | undefined {
  const [versionId, hostId] = tail;
  if (versionId === undefined || versionId === '') return undefined;
  return { userAgent: said(userAgent), versionId: said(versionId), hostId: said(hostId), flags };
}

/** Where one quoted text may end and the next begin. */
function bordersIn(quoted: string): number[] {
  const found: number[] = [];
  for (let at = quoted.indexOf('" "', 1); at >= 0; at = quoted.indexOf('" "', at + 1)) found.push(at);
  return found;
}

/**
 * The key as it is in S3. The guide says that it is URL encoded; S3 often encodes it twice (a quote comes as `%2522`). In what was encoded twice every
 * percent sign is itself encoded, and nearly nothing else looks so: then it is decoded twice and flagged. What cannot be decoded stays as it was logged.
 */
function keyOf(logged: string): { readonly key: string | null; readonly flags: readonly Flag[] } {
  if (logged === '-') return { key: null, flags: [] };
  const once = decoded(logged);
  if (once === undefined) return { key: logged, flags: ['bad_escape'] };
  const twice = /%/.test(logged) && !/%(?!25)/.test(logged) && ESCAPE.test(once) ? decoded(once) : undefined;
  return twice === undefined ? { key: once, flags: [] } : { key: twice, flags: ['key_encoded_twice'] };
}

const ESCAPE = /%[\da-f]{2}/i;

/** Undefined for a percent sign that starts no byte, and for bytes that are no UTF-8. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

const TIME = /^(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])([01]\d|2[0-3])([0-5]\d)$/;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function timeMicros(time: string): bigint | undefined {
  const match = TIME.exec(time);
  if (!match) return undefined;
  const [day, year, hour, minute, second] = [1, 3, 4, 5, 6].map((group) => Number(match[group])) as Five;
  const millis = utcMillis([year, MONTHS.indexOf(match[2]!) + 1, day, hour, minute, second]);
  if (millis === undefined) return undefined;
  const offset = (match[7] === '-' ? -1 : 1) * (Number(match[8]) * 60 + Number(match[9]));
  return BigInt(millis - offset * 60_000) * 1000n;
}

type Five = [number, number, number, number, number];

function timeFlags(micros: bigint, future: bigint | undefined): Flag[] {
  if (micros < AWS_BEGAN_MICROS) return ['impossible_time'];
  return future !== undefined && micros > future ? ['future_time'] : [];
}

/* ---- examples ---- */

function examples(): Source<S3AccessRow>['examples'] {
  const owner = '79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be';
  const role = 'arn:aws:sts::123456789012:assumed-role/ci-deployer/run-1';
  const line = (rest: string) =>
    `${owner} prod-logs [17/Mar/2024:03:15:02 +0800] 192.0.2.3 ${role} 3E57427F3EXAMPLE ${rest}`;
  const tail = 'hostid= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader prod-logs.s3.amazonaws.com TLSv1.2 - -';
  const version = '"DELETE /prod-logs/a%20b.gz?versionId=3HL4kqtJvjVBH40Nrjfkd HTTP/1.1" 204 - - 4406 28 - "-"';
  return [
    {
      title: 'a version deleted, its key encoded once',
      given: `${line(`REST.DELETE.OBJECT a%20b.gz ${version} "aws-cli/2.15.21" 3HL4kqtJvjVBH40Nrjfkd ${tail}`)}\n`,
      rows: [
        {
          eventTimeMicros: BigInt(Date.UTC(2024, 2, 16, 19, 15, 2)) * 1000n,
          bucket: 'prod-logs',
          requester: role,
          requestId: '3E57427F3EXAMPLE',
          operation: 'REST.DELETE.OBJECT',
          objectKey: 'a b.gz',
          httpStatus: 204,
          errorCode: null,
          objectSize: 4406n,
          userAgent: 'aws-cli/2.15.21',
          versionId: '3HL4kqtJvjVBH40Nrjfkd',
          hostId: 'hostid=',
          flags: [],
        },
      ],
    },
    {
      title: 'a key of DeleteObjects: nothing in quotes',
      given: line(`BATCH.DELETE.OBJECT fork-0004/ - 204 - - 12 - - - - - ${tail}`),
      rows: [
        {
          operation: 'BATCH.DELETE.OBJECT',
          objectKey: 'fork-0004/',
          requestUri: null,
          objectSize: 12n,
          hostId: 'hostid=',
        },
      ],
    },
    {
      title: 'what lifecycle expired: most fields are unknown',
      given: line('S3.EXPIRE.OBJECT old.log - - - - 57 - - - - - -').replace(`192.0.2.3 ${role}`, '- AmazonS3'),
      rows: [
        { requester: 'AmazonS3', sourceIp: null, operation: 'S3.EXPIRE.OBJECT', httpStatus: null, objectSize: 57n },
      ],
    },
    {
      title: 'a line of before fields were added',
      given: line('REST.GET.VERSIONING - "GET /prod-logs?versioning HTTP/1.1" 200 - 113 - 7 - "-" "S3Console/0.4" -'),
      rows: [{ objectKey: null, bytesSent: 113n, versionId: null, hostId: null }],
    },
    {
      title: 'a quote in the target of the request, and fields of a later year',
      given: line(
        `REST.GET.OBJECT %2522 "GET /" HTTP/1.1" 403 AccessDenied 243 - 8 - "-" "curl/7.38.0" - ${tail} us-east-1 new`,
      ),
      rows: [{ objectKey: '"', requestUri: 'GET /" HTTP/1.1', httpStatus: 403, flags: ['key_encoded_twice'] }],
    },
    {
      title: 'a user agent that looks like the end of a line',
      given: line(`REST.DELETE.OBJECT k "DELETE /k HTTP/1.1" 204 - - - 9 8 "-" "x" - forged= SigV4" v1 ${tail}`),
      rows: [{ userAgent: 'x" - forged= SigV4', versionId: 'v1', hostId: 'hostid=', flags: [] }],
    },
    {
      title: 'a referer that looks like a refusal and a user agent',
      given: line(
        `REST.DELETE.OBJECT k "DELETE /k HTTP/1.1" 204 - - - 9 8 "y" 403 AccessDenied - - 1 1 "-" "z" "curl/8" - ${tail}`,
      ),
      rows: [{ httpStatus: 204, errorCode: null, userAgent: null, flags: ['ambiguous_quotes'] }],
    },
    {
      title: 'a key that cannot be decoded',
      given: line(`REST.PUT.OBJECT 100%-sure "PUT /100%-sure HTTP/1.1" 200 - - 1 1 1 "-" "-" - ${tail}`),
      rows: [{ objectKey: '100%-sure', flags: ['bad_escape'] }],
    },
    {
      title: 'a line that ends in its middle',
      given: line('REST.DELETE.OBJECT k "DELETE /k HTTP/1.1" 204 -'),
      fault: 'bad_record',
    },
    {
      title: '30 February',
      given: line(`REST.DELETE.OBJECT k - 204 - - - - - - - - ${tail}`).replace('17/Mar', '30/Feb'),
      fault: 'bad_time',
    },
    { title: 'a CloudTrail file', given: '{"Records":[]}', fault: 'bad_record' },
  ];
}
