import { existsSync } from 'node:fs';
import type { DuckDBConnection } from '@duckdb/node-api';
import { CauselineError } from '../errors.js';
import {
  appendFindings,
  appendJudged,
  appendRevisions,
  oneOf,
  readWholeRevisions,
  revisionKey,
  type StoredFinding,
  type WholeRevision,
} from './derived.js';
import { cutTorn, type Ledger, type LedgerRead, ledgerAt, readLedger, setAside } from './ledger.js';

/** The ledger of a store, and what had to be mended for the two to tell the same history. */
export interface History {
  readonly ledger: Ledger;
  /** One sentence each. */
  readonly notices: readonly string[];
}

const REVISIONS_AT_ONCE = 100;

/**
 * Brings a store and its ledger together, at start: what the ledger holds and DuckDB lost is taken up, what DuckDB committed and the ledger lacks is
 * appended. After a crash between COMMIT and the append that is all; anything else is said in a notice.
 */
export async function reconcile(connection: DuckDBConnection, path: string): Promise<History> {
  const stored = await storedKeys(connection);
  const lastSeq = Math.max(0, ...[...stored.values()].map(({ derivedSeq }) => derivedSeq));
  const existed = existsSync(path);
  const { read, held, takenUp } = await takeUp(connection, path, stored);
  const lacking = [...stored.values()].filter(({ key }) => !held.has(key));
  const notices = [
    ...(takenUp > 0 ? [`${counted(takenUp)} of ${path} not in the store: taken up again.`] : []),
    ...(await mend(path, read)),
    ...lackingNotice(path, existed, read, lacking, lastSeq),
  ];
  const ledger = ledgerAt(path, read.brokenAt === undefined ? read.end : { lines: 0, checksum: '', bytes: 0 });
  const missing = read.brokenAt === undefined ? lacking : [...(await storedKeys(connection)).values()];
  for (let start = 0; start < missing.length; start += REVISIONS_AT_ONCE)
    await ledger.append(await wholeOf(connection, missing.slice(start, start + REVISIONS_AT_ONCE)));
  return { ledger, notices };
}

interface StoredKey {
  readonly key: string;
  readonly derivedSeq: number;
  readonly recordedMicros: number;
}

async function storedKeys(connection: DuckDBConnection): Promise<Map<string, StoredKey>> {
  const found = await connection.runAndReadAll(
    `SELECT chain_id, revision, derived_seq, epoch_us(recorded_at) FROM _store.chain_revisions ORDER BY derived_seq, chain_id, revision`,
  );
  return new Map(
    found.getRows().map(([chain, revision, seq, recorded]) => {
      const key = revisionKey(chain as string, Number(revision));
      return [key, { key, derivedSeq: Number(seq), recordedMicros: Number(recorded) }];
    }),
  );
}

/** Reads the ledger and writes to the store what the store does not have, in one transaction. */
async function takeUp(connection: DuckDBConnection, path: string, stored: ReadonlyMap<string, StoredKey>) {
  const held = new Set<string>();
  const findings = new Set<string>();
  let takenUp = 0;
  let waiting: WholeRevision[] = [];
  const write = async () => {
    await importRevisions(connection, waiting, findings);
    waiting = [];
  };
  await connection.run('BEGIN');
  try {
    const read = await readLedger(path, async (revision) => {
      const key = revisionKey(revision.chain.id, revision.revision);
      const own = stored.get(key);
      if (own && (own.derivedSeq !== revision.derivedSeq || own.recordedMicros !== revision.recordedMicros))
        throw anotherHistory(path, revision);
      if (!own && !held.has(key)) {
        waiting.push(revision);
        takenUp += 1;
      }
      held.add(key);
      if (waiting.length >= REVISIONS_AT_ONCE) await write();
    });
    await write();
    await connection.run('COMMIT');
    return { read, held, takenUp };
  } catch (cause) {
    await connection.run('ROLLBACK').catch(() => undefined);
    throw cause;
  }
}

function anotherHistory(path: string, { chain, revision }: WholeRevision): CauselineError {
  return new CauselineError(
    'unreadable_input',
    'store',
    `${path} tells another history of chain ${chain.id} (revision ${revision}) than the store: it belongs to another store. Move one of the two away.`,
  );
}

/** `known` collects the findings that are there already, so that each is written once however many revisions name it. */
async function importRevisions(
  connection: DuckDBConnection,
  revisions: readonly WholeRevision[],
  known: Set<string>,
): Promise<void> {
  if (revisions.length === 0) return;
  const findings = revisions.flatMap((revision) => revision.findings);
  const ids = JSON.stringify(findings.map(({ finding }) => finding.id));
  const found = await connection.runAndReadAll(
    `SELECT DISTINCT finding_id, derived_seq FROM _store.findings WHERE ${oneOf('finding_id')}`,
    [ids],
  );
  for (const [id, seq] of found.getRows()) known.add(`${String(id)} ${String(seq)}`);
  const isNew = ({ finding, derivedSeq }: StoredFinding) => {
    const key = `${finding.id} ${derivedSeq}`;
    return !known.has(key) && known.add(key);
  };
  await appendFindings(connection, findings.filter(isNew));
  await appendJudged(connection, revisions);
  await appendRevisions(connection, revisions);
}

/** Mends what a crash or a hand left in the file, and says so. */
async function mend(path: string, read: LedgerRead): Promise<string[]> {
  if (read.brokenAt !== undefined)
    return [
      `${path} is not as it was written from line ${read.brokenAt} on: it was kept as ${await setAside(path, 'damaged')} and written anew from the store.`,
    ];
  if (read.tornBytes === 0) return [];
  await cutTorn(path, read);
  return [`The last line of ${path} was torn: its ${read.tornBytes} bytes were moved to ${path}.torn.`];
}

/** A crash leaves out the last recording only: that is completed without a word. */
function lackingNotice(
  path: string,
  existed: boolean,
  read: LedgerRead,
  lacking: readonly StoredKey[],
  lastSeq: number,
): string[] {
  const older = lacking.filter(({ derivedSeq }) => derivedSeq < lastSeq).length;
  if (read.brokenAt !== undefined || older === 0) return [];
  return existed
    ? [`${path} lacked ${counted(older)} older than the last: it was cut, and completed from the store.`]
    : [`There was no ${path}: it was written anew from the store, with ${counted(lacking.length)}.`];
}

const counted = (count: number): string => `${count} ${count === 1 ? 'revision' : 'revisions'}`;

async function wholeOf(connection: DuckDBConnection, keys: readonly StoredKey[]): Promise<WholeRevision[]> {
  const wanted = JSON.stringify(keys.map(({ key }) => key));
  return readWholeRevisions(connection, oneOf(`(r.chain_id || ' r' || r.revision)`), [wanted]);
}
