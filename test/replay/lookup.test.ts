import { join } from 'node:path';
import test from 'ava';
import { Pace } from '../../replay/aws/lookup.js';
import { causeline } from '../helpers/cli.js';
import { type HistoryEvent, lookupServer } from '../helpers/lookup-events.js';
import { rows, temporaryFolder, withDuckDb } from '../helpers/store.js';

const START = Date.parse('2024-03-17T03:00:00Z') / 1000;
const ENV = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_REGION: 'eu-west-1' };

/** 60 records in each of two hours: two pages, and two more. */
const history: HistoryEvent[] = Array.from({ length: 120 }, (_, index) => {
  const EventTime = START + index * 60;
  const EventId = `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;
  const record = {
    eventVersion: '1.11',
    eventTime: new Date(EventTime * 1000).toISOString().replace('.000Z', 'Z'),
    eventSource: 'iam.amazonaws.com',
    eventName: 'PutRolePolicy',
    eventID: EventId,
    awsRegion: 'us-east-1',
    recipientAccountId: '123456789012',
  };
  return { EventId, EventTime, CloudTrailEvent: JSON.stringify(record) };
});

/** Asks a server for two hours of event history. */
const twoHours = (db: string, endpoint: string): string[] =>
  `replay cloudtrail:lookup --db ${db} --endpoint ${endpoint} --from 2024-03-17T03:00:00Z --to 2024-03-17T05:00:00Z`.split(
    ' ',
  );

test('two requests a second are asked at most, counted from the answer before; fewer after failures in a row', (t) => {
  const pace = new Pace();
  t.is(pace.waitMillis(7), 0, 'the first one goes out at once');
  pace.answered(1_000, 0);
  t.is(pace.waitMillis(1_200), 300);
  t.is(pace.waitMillis(1_500), 0);
  pace.answered(2_000, 1);
  t.is(pace.waitMillis(2_000), 1_000);
  pace.answered(3_000, 30);
  t.is(pace.waitMillis(3_000), 20_000);
});

test('event history is read page by page, through throttling, and flagged; hours read are not asked for again', async (t) => {
  const server = await lookupServer(history, 3);
  t.teardown(server.close);
  const db = join(temporaryFolder(t), 'lookup.duckdb');
  const args = twoHours(db, server.endpoint);
  const first = await causeline(args, { env: ENV });
  t.is(first.code, 0, first.stderr);
  const found = await withDuckDb(db, (connection) =>
    rows(
      connection,
      'SELECT count(*)::INTEGER, count(DISTINCT event_id)::INTEGER, any_value(flags) FROM cloudtrail_events',
    ),
  );
  t.deepEqual(found, [[120, 120, ['unverifiable_origin']]]);

  const asked = server.asked();
  const second = await causeline(args, { env: ENV });
  t.is(second.code, 0, second.stderr);
  t.is(server.asked(), asked);
  t.regex(second.stdout, /2 files left unread: hours of event history that were read before/);
});

test('who may not read event history is told so', async (t) => {
  const server = await lookupServer([], 3, true);
  t.teardown(server.close);
  const db = join(temporaryFolder(t), 'lookup.duckdb');
  const args = twoHours(db, server.endpoint);
  const { code, stderr } = await causeline(args, { env: ENV });
  t.is(code, 2);
  t.regex(stderr, /^error: Event history cannot be read: AccessDeniedException/);
});
