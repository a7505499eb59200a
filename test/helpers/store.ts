import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { ExecutionContext } from 'ava';
import type { CloudTrailRow, MetricRow, SpanRow } from '../../shared/evidence.js';
import { sha256 } from '../../shared/hash.js';

/** A folder that is gone when the test has ended. */
export function temporaryFolder(t: Pick<ExecutionContext, 'teardown'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'causeline-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Asks a DuckDB file with nothing of Causeline in between. */
export async function withDuckDb<T>(path: string, ask: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const instance = await DuckDBInstance.create(path);
  const connection = await instance.connect();
  try {
    return await ask(connection);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

export async function rows(connection: DuckDBConnection, query: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(query)).getRowsJS();
}

/** The first column of the first row. */
export async function value(connection: DuckDBConnection, query: string): Promise<unknown> {
  return (await rows(connection, query))[0]?.[0];
}

const T = 1_772_330_400n; // 2026-03-01T02:00:00Z

export function event(id: string, second = 0, more: Partial<CloudTrailRow> = {}): CloudTrailRow {
  const row = {
    flags: [],
    position: 0,
    eventId: id,
    eventTimeMicros: (T + BigInt(second)) * 1_000_000n,
    accountId: '123456789012',
    region: 'eu-west-1',
    eventSource: 's3.amazonaws.com',
    eventName: 'DeleteObject',
    action: 's3:DeleteObject',
    principalArn: null,
    principalType: null,
    sessionIssuerArn: null,
    sourceIp: null,
    userAgent: null,
    errorCode: null,
    readOnly: false,
    eventCategory: null,
    bucket: 'logs',
    objectKey: null,
    versionId: null,
    requestId: null,
    sharedEventId: null,
    raw: '{}',
    ...more,
  };
  return { ...row, bodyHash: more.bodyHash ?? hashOf(row) };
}

export function span(id: number, second = 0, more: Partial<SpanRow> = {}): SpanRow {
  const startUnixNano = (T + BigInt(second)) * 1_000_000_000n;
  const row = {
    flags: [],
    position: 0,
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: id.toString(16).padStart(16, '0'),
    parentSpanId: null,
    traceState: null,
    service: 'api',
    scope: 'prod',
    instance: null,
    name: 'GET /',
    kind: 'server' as const,
    startUnixNano,
    endUnixNano: startUnixNano + 1_000_000n,
    status: 'unset' as const,
    statusMessage: null,
    errorType: null,
    operation: 'GET /',
    target: null,
    targetKey: null,
    rpcStatus: null,
    httpStatus: 200,
    resendCount: null,
    exceptionType: null,
    exceptionMessage: null,
    adjustedCount: null,
    dropped: 0,
    attributes: '{"http.route":"/"}',
    resource: '{}',
    events: '[]',
    links: '[]',
    ...more,
  };
  return { ...row, bodyHash: more.bodyHash ?? hashOf(row) };
}

export function point(metric: string, second = 0, more: Partial<MetricRow> = {}): MetricRow {
  const row = {
    flags: [],
    position: 0,
    timeUnixNano: (T + BigInt(second)) * 1_000_000_000n,
    startUnixNano: null,
    metric,
    kind: 'gauge' as const,
    value: 1,
    bounds: null,
    counts: null,
    sum: null,
    count: null,
    attributes: '{}',
    service: 'config-store',
    instance: 'config-store-0',
    ...more,
  };
  return { ...row, bodyHash: more.bodyHash ?? hashOf(row) };
}

const hashOf = (row: object): string =>
  sha256(JSON.stringify(row, (_, field) => (typeof field === 'bigint' ? String(field) : field)));
