import type { DuckDBConnection } from '@duckdb/node-api';
import { accountOf } from '../correlate/cloudtrail/scopes.js';
import { shortName } from '../correlate/cloudtrail/spree.js';
import { clock } from './draw.js';
import type { WholeChain } from './read.js';
import { jsonRows } from './rows.js';

/** Temporary credentials of a role or of a federated user, as records of their calls name them. */
interface Session {
  readonly arn: string;
  /** Of the credentials: one session name may be used again and again, a key is given once. */
  readonly key: string | null;
  /** When the credentials were given, as their records say. */
  readonly created: string | null;
  readonly firstAt: string;
}

/** The call that began a session. */
interface Begun {
  readonly event_id: string | null;
  readonly shared_event_id: string | null;
  readonly event_name: string;
  readonly begun_at: string;
  readonly caller: string | null;
  readonly caller_account: string | null;
  readonly caller_key: string | null;
  readonly caller_created: string | null;
  readonly caller_is_session: boolean;
  readonly source: string | null;
  readonly key: string | null;
  readonly arn: string | null;
}

/** A chain of more roles than this is cut: each link of it is a query. */
const ROLES_FOLLOWED = 10;

const SESSIONS_NAMED = 20;

/**
 * Who began the sessions whose calls are in a chain's evidence, a sentence a session: by the key that AssumeRole (or a call like it) gave and the session's
 * calls were made with, and through chained roles to whoever was no session. Looked up when it is asked for: a tenth of all records are AssumeRole.
 */
export async function sessionsOf(connection: DuckDBConnection, chain: WholeChain): Promise<string[]> {
  const rows = await jsonRows(connection, SESSIONS, { members: JSON.stringify(chain.members) });
  const sentences: string[] = [];
  for (const row of rows.slice(0, SESSIONS_NAMED)) {
    const { kinds, ...session } = row as unknown as Session & { readonly kinds: readonly string[] };
    sentences.push(sentenceOf(session, kinds, await followed(connection, session)));
  }
  const more = rows.length - SESSIONS_NAMED;
  return more > 0 ? [...sentences, `${more} more sessions are not followed here.`] : sentences;
}

const SESSIONS = `
  SELECT c.principal_arn AS arn, c.raw->>'$.userIdentity.accessKeyId' AS key, min(c.raw->>'$.userIdentity.sessionContext.attributes.creationDate') AS created,
    min(c.event_time) AS "firstAt", list_sort(list(DISTINCT f.kind)) AS kinds
  FROM findings f JOIN finding_evidence e ON e.finding_id = f.finding_id AND e.evidence_table = 'cloudtrail_events'
  JOIN cloudtrail_events c ON c.evidence_id = e.evidence_id
  WHERE list_contains(from_json($members, '["VARCHAR"]'), f.finding_id) AND c.principal_arn IS NOT NULL
    AND (c.session_issuer_arn IS NOT NULL OR c.principal_type = 'FederatedUser')
  GROUP BY ALL ORDER BY "firstAt", arn, key`;

/** What AssumeRole and the calls like it answered: sessions last 12 hours at most, those of federated users 36 (STS API reference). */
const BEGUN = `
  SELECT * FROM (SELECT event_id, shared_event_id, event_name, event_time AS begun_at, principal_arn AS caller, source_ip AS source, session_issuer_arn IS NOT NULL AS caller_is_session,
      coalesce(raw->>'$.userIdentity.accountId', account_id) AS caller_account, raw->>'$.userIdentity.accessKeyId' AS caller_key,
      raw->>'$.userIdentity.sessionContext.attributes.creationDate' AS caller_created, raw->>'$.responseElements.credentials.accessKeyId' AS key,
      coalesce(raw->>'$.responseElements.assumedRoleUser.arn', raw->>'$.responseElements.federatedUser.arn') AS arn
    FROM cloudtrail_events WHERE event_source = 'sts.amazonaws.com' AND error_code IS NULL AND event_time BETWEEN $at::TIMESTAMP - INTERVAL 36 HOUR AND $at::TIMESTAMP
      AND event_name IN ('AssumeRole', 'AssumeRoleWithSAML', 'AssumeRoleWithWebIdentity', 'AssumeRoot', 'GetFederationToken'))
  WHERE key = $key OR arn = $arn ORDER BY begun_at DESC, starts_with(caller, 'arn:') DESC, event_id`;

/** How a session began, and whether that is known by its key or by its name alone. */
interface Beginning {
  readonly session: Session;
  readonly begun: Begun | undefined;
  readonly by: 'key' | 'name';
  /** Calls that gave other keys to a session of this name. */
  readonly otherKeys: number;
}

async function followed(connection: DuckDBConnection, first: Session): Promise<Beginning[]> {
  const path: Beginning[] = [];
  for (let session: Session | undefined = first; session && path.length < ROLES_FOLLOWED; ) {
    const { key, arn, firstAt } = session;
    const rows = await jsonRows(connection, BEGUN, { key, arn, at: firstAt.replace('Z', '') });
    const beginning = beginningOf(session, rows as unknown as Begun[]);
    path.push(beginning);
    session = beginning.begun && callerOf(beginning.begun);
  }
  return path;
}

/** A record that names the key decides; one that gives another key to the same name began another session. */
function beginningOf(session: Session, rows: readonly Begun[]): Beginning {
  const { key } = session;
  const byKey = key === null ? undefined : rows.find((row) => row.key === key);
  const byName = rows.find((row) => row.key === null || key === null);
  const events = new Set(
    rows.filter((row) => row.key !== null && row.key !== key).map((row) => row.shared_event_id ?? row.event_id),
  );
  return { session, begun: byKey ?? byName, by: byKey ? 'key' : 'name', otherKeys: key === null ? 0 : events.size };
}

function callerOf({ caller, caller_key, caller_created, caller_is_session, begun_at }: Begun): Session | undefined {
  if (!caller_is_session || caller === null) return undefined;
  return { arn: caller, key: caller_key, created: caller_created, firstAt: begun_at };
}

function sentenceOf(session: Session, kinds: readonly string[], path: readonly Beginning[]): string {
  return `${named(session)} (${kinds.join(', ')}) ${path.map(beginningText).join('; ')}${
    path.length === ROLES_FOLLOWED && path.at(-1)!.begun ? '; roles before that are not followed' : ''
  }.`;
}

const named = ({ arn, key }: Session): string => `${shortName(arn)}${key === null ? '' : ` with key ${key}`}`;

function beginningText({ session, begun, by, otherKeys }: Beginning, index: number): string {
  const subject = index === 0 ? '' : `${named(session)} `;
  if (!begun) {
    const others = otherKeys > 0 ? `, and ${otherKeys} that gave other keys to its name` : '';
    const created = session.created === null ? '' : `: its records say that it was begun at ${session.created}`;
    return `${subject}was begun by no AssumeRole that is in evidence${others}${created}`;
  }
  const { event_id: id, event_name: name, source, caller_account: account } = begun;
  const across = account !== null && accountOf(session.arn) !== account ? `, of account ${account}` : '';
  const known = by === 'key' ? '' : ', by its name alone: no key says that it was this call';
  return `${subject}was begun by ${callerText(begun)}${across} from ${source ?? 'an unknown address'} at ${clock(begun.begun_at)} UTC (${name}, event ${id ?? 'without id'}${known})`;
}

/** Another account's copy of a call names its caller by an id alone. */
const callerText = ({ caller }: Begun): string =>
  caller === null ? 'an unknown principal' : caller.startsWith('arn:') ? shortName(caller) : caller;
