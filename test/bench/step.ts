import { DuckDBInstance } from '@duckdb/node-api';
import { openCase } from '../../replay/case.js';
import { replayCase } from '../../replay/replay.js';
import { traces } from '../../services/collect/sources/traces.js';
import { gunzipBounded, inflateFile } from '../../shared/inflate.js';
import { cloudtrailTable } from '../../shared/store/columns.js';
import { WRITER } from '../../shared/store/open.js';

/** One measured step; it runs in a process of its own, so that time and memory are its alone. */
export type Step =
  | { readonly step: 'replay'; readonly folder: string; readonly db: string }
  | { readonly step: 'duckdb'; readonly folder: string; readonly db: string; readonly threads: number }
  | { readonly step: 'decode'; readonly folder: string };

export interface Measured {
  readonly rows: number;
  readonly findings: number;
  readonly chains: number;
  readonly wallSeconds: number;
  /** All threads, user and system. */
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

type Done = Pick<Measured, 'rows' | 'findings' | 'chains'>;

process.once('message', (step: Step) => {
  measured(step).then(
    (result) => process.send?.(result, () => process.exit(0)),
    (error) => {
      process.stderr.write(`${String((error as Error).stack)}\n`);
      process.exit(1);
    },
  );
});

async function measured(step: Step): Promise<Measured> {
  const start = process.hrtime.bigint();
  const before = process.cpuUsage();
  const done = await run(step);
  const { user, system } = process.cpuUsage(before);
  return {
    ...done,
    wallSeconds: Number(process.hrtime.bigint() - start) / 1e9,
    cpuSeconds: (user + system) / 1e6,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
}

function run(step: Step): Promise<Done> {
  switch (step.step) {
    case 'replay':
      return replay(step.folder, step.db);
    case 'duckdb':
      return duckdb(step.folder, step.db, step.threads);
    case 'decode':
      return decode(step.folder);
  }
}

async function replay(folder: string, db: string): Promise<Done> {
  const { collected, correlated } = await replayCase(folder, db, { nowUnixNano: NOW });
  const { stored, quarantined } = collected;
  if (quarantined > 0) throw new Error(`The replay put ${quarantined} inputs into quarantine: the data is wrong.`);
  const rows = stored.cloudtrail + stored.traces + stored.metrics;
  return { rows, findings: correlated.findings.length, chains: correlated.chains.length };
}

/** A day after the data: a clock would flag its times as future ones until then. */
const NOW = BigInt(Date.UTC(2026, 11, 1)) * 1_000_000n;

/**
 * DuckDB's own best way from the same files to the same columns: of the ways measured over the S3 layout, this one is the
 * fastest (`Records: 'JSON[]'` and automatic detection are slower, `json_each` runs out of memory). The file has the
 * store's settings; memory is what a replay may take in all.
 */
async function duckdb(folder: string, db: string, threads: number): Promise<Done> {
  const instance = await DuckDBInstance.create(db, { ...WRITER, memory_limit: '1GB', threads: String(threads) });
  const connection = await instance.connect();
  await connection.run(`SET TimeZone = 'UTC'`);
  const columns = cloudtrailTable.columns.filter(({ name }) => name in FROM_RECORD);
  const typed = columns.map(
    ({ name, type }) => `${name} ${String(type)}${name === 'raw' ? ' USING COMPRESSION zstd' : ''}`,
  );
  await connection.run(`CREATE TABLE events (${typed.join(', ')})`);
  await connection.run(
    `INSERT INTO events SELECT ${columns.map(({ name }) => FROM_RECORD[name]).join(', ')}
     FROM (SELECT raw, from_json(raw, '${SHAPE}') AS r FROM (SELECT unnest(json_extract(json, '$.Records[*]')) AS raw
       FROM read_json_objects('${folder}/cloudtrail/**/*.json.gz', format = 'unstructured', maximum_object_size = 16777216)))`,
  );
  await connection.run('CHECKPOINT');
  const counted = await connection.runAndReadAll('SELECT count(*)::INTEGER FROM events WHERE event_id IS NOT NULL');
  connection.closeSync();
  instance.closeSync();
  return { rows: counted.getRows()[0]![0] as number, findings: 0, chains: 0 };
}

const SHAPE = JSON.stringify({
  eventID: 'VARCHAR',
  eventTime: 'TIMESTAMP',
  recipientAccountId: 'VARCHAR',
  awsRegion: 'VARCHAR',
  eventSource: 'VARCHAR',
  eventName: 'VARCHAR',
  userIdentity: {
    arn: 'VARCHAR',
    principalId: 'VARCHAR',
    invokedBy: 'VARCHAR',
    type: 'VARCHAR',
    sessionContext: { sessionIssuer: { arn: 'VARCHAR' } },
  },
  sourceIPAddress: 'VARCHAR',
  userAgent: 'VARCHAR',
  errorCode: 'VARCHAR',
  readOnly: 'BOOLEAN',
  eventCategory: 'VARCHAR',
  requestParameters: { bucketName: 'VARCHAR', key: 'VARCHAR', versionId: 'VARCHAR' },
  requestID: 'VARCHAR',
  sharedEventID: 'VARCHAR',
});

/** What a record says of each column; the columns that are not here are about its delivery. */
const FROM_RECORD: Readonly<Record<string, string>> = {
  event_id: 'r.eventID',
  event_time: 'r.eventTime',
  account_id: 'r.recipientAccountId',
  region: 'r.awsRegion',
  event_source: 'r.eventSource',
  event_name: 'r.eventName',
  action: `split_part(r.eventSource, '.', 1) || ':' || r.eventName ||
    CASE WHEN r.requestParameters.versionId IS NULL THEN '' ELSE 'Version' END`,
  principal_arn: 'coalesce(r.userIdentity.arn, r.userIdentity.principalId, r.userIdentity.invokedBy)',
  principal_type: 'r.userIdentity.type',
  session_issuer_arn: 'r.userIdentity.sessionContext.sessionIssuer.arn',
  source_ip: 'r.sourceIPAddress',
  user_agent: 'r.userAgent',
  error_code: 'r.errorCode',
  read_only: 'r.readOnly',
  event_category: 'r.eventCategory',
  bucket: 'r.requestParameters.bucketName',
  object_key: `r.requestParameters."key"`,
  version_id: 'r.requestParameters.versionId',
  request_id: 'r.requestID',
  shared_event_id: 'r.sharedEventID',
  raw: 'raw',
};

/** The project's own decoder over the span files, and nothing else: what storing and judging spans cost beside it. */
async function decode(folder: string): Promise<Done> {
  let rows = 0;
  for (const { path, id } of openCase(folder).files) {
    const decoder = traces.file({ origin: id, gunzip: gunzipBounded, nowUnixNano: NOW });
    for await (const piece of inflateFile(path)) rows += decoder.push(piece).rows.length;
    rows += decoder.end().rows.length;
  }
  return { rows, findings: 0, chains: 0 };
}
