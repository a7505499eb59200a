import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CloudTrailClient,
  type Event,
  LookupEventsCommand,
  type LookupEventsCommandOutput,
} from '@aws-sdk/client-cloudtrail';
import type { InputFile } from '../../services/collect/index.js';
import { CauselineError } from '../../shared/errors.js';
import { sha256 } from '../../shared/hash.js';

/** LookupEvents answers two requests a second of an account and region (CloudTrail quotas), tries included. */
const PACE_MS = 500;
const PAGE = 50;
const TRIES = 8;
const LONGEST_WAIT_MS = 20_000;
const HOUR_MS = 3_600_000;

/** Event history holds 90 days. */
const KEPT_MS = 90 * 24 * HOUR_MS;

/** Milliseconds; the last 90 days where nothing is said. */
export interface LookupRange {
  readonly fromMillis: number | undefined;
  readonly toMillis: number | undefined;
  readonly nowMillis: number;
}

/**
 * Event history, hour by hour, a file a page. The last page of an hour bears the hour's name: where it is known, the whole hour was
 * committed, since pages are committed in their order.
 */
export async function* lookupPages(
  client: CloudTrailClient,
  { fromMillis, toMillis, nowMillis }: LookupRange,
  isKnown: (id: string) => boolean,
  leave: (reason: string) => void,
): AsyncGenerator<InputFile> {
  const ask = paced(client);
  const who = await caller(client);
  const end = toMillis ?? nowMillis;
  for (let from = fromMillis ?? nowMillis - KEPT_MS; from < end; ) {
    const to = Math.min(end, (Math.floor(from / HOUR_MS) + 1) * HOUR_MS);
    const id = `cloudtrail:lookup/${who}/${seconds(from)}/${seconds(to)}`;
    if (isKnown(id)) leave('hours of event history that were read before');
    else yield* hour(ask, id, new Date(from), new Date(to));
    from = to;
  }
}

type Ask = (from: Date, to: Date, token: string | undefined) => Promise<LookupEventsCommandOutput>;

async function* hour(ask: Ask, id: string, from: Date, to: Date): AsyncGenerator<InputFile> {
  let token: string | undefined;
  let page = 0;
  do {
    const answer = await ask(from, to, token);
    token = answer.NextToken;
    page++;
    yield pageFile(token ? `${id}#${page}` : id, answer.Events ?? []);
  } while (token);
}

function pageFile(id: string, events: readonly Event[]): InputFile {
  const text = events.map(({ EventId, CloudTrailEvent }) => JSON.stringify({ EventId, CloudTrailEvent })).join('\n');
  return { source: 'cloudtrail', id, open: () => Readable.from([Buffer.from(text)], { objectMode: false }) };
}

/** When the next request may go out. The pace counts from an answer, since a first request takes its time to go out; after failures in a row it slows down. */
export class Pace {
  #next = 0;

  answered(nowMillis: number, failures: number): void {
    this.#next = nowMillis + Math.min(LONGEST_WAIT_MS, PACE_MS * 2 ** failures);
  }

  waitMillis(nowMillis: number): number {
    return Math.max(0, this.#next - nowMillis);
  }
}

/** One request at a time. */
function paced(client: CloudTrailClient): Ask {
  const pace = new Pace();
  return async (StartTime, EndTime, token) => {
    for (let tries = 1; ; tries++) {
      await sleep(pace.waitMillis(performance.now()));
      let failures = 0;
      try {
        const command = new LookupEventsCommand({
          StartTime,
          EndTime,
          MaxResults: PAGE,
          ...(token && { NextToken: token }),
        });
        return await client.send(command);
      } catch (cause) {
        if (tries >= TRIES || !mayPass(cause)) throw failed(cause);
        failures = tries;
      } finally {
        pace.answered(performance.now(), failures);
      }
    }
  };
}

function mayPass(cause: unknown): boolean {
  const { name, $metadata } = cause as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  return status === undefined
    ? name !== 'CredentialsProviderError'
    : status >= 500 || status === 429 || /Throttl/.test(name ?? '');
}

function failed(cause: unknown): CauselineError {
  const { name, message } = cause as Error;
  return new CauselineError('unreadable_input', 'cloudtrail', `Event history cannot be read: ${name}: ${message}`, {
    cause,
  });
}

/** Whose history it is: another account's must not be taken for read. The account where it is known, else something of the access key. */
async function caller(client: CloudTrailClient): Promise<string> {
  try {
    const { accountId, accessKeyId } = await client.config.credentials();
    return `${accountId ?? `key-${sha256(accessKeyId).slice(0, 12)}`}/${await client.config.region()}`;
  } catch (cause) {
    throw failed(cause);
  }
}

const seconds = (millis: number): string => new Date(millis).toISOString().replace(/\.\d+Z$/, 'Z');
