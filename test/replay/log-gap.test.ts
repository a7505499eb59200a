import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import {
  account,
  after,
  type Call,
  cloudTrailFiles,
  object,
  region,
  service,
  session,
} from '../../replay/generate/cloudtrail.js';
import { random } from '../../replay/generate/random.js';
import { replayCase } from '../../replay/replay.js';
import { temporaryFolder } from '../helpers/store.js';

const BUCKET = 'org-trail';
const START = '2024-03-17T00:00:00Z';
const MINUTES_A_FILE = 15;
const agent = 'cloudtrail.amazonaws.com';

/** The key of the log file of a quarter of an hour, as replay/generate/cloudtrail.ts names it. */
function keyOf(at: string): string {
  const [day, clock] = at.split('T') as [string, string];
  const stamp = `${day.replaceAll('-', '')}T${clock.slice(0, 5).replace(':', '')}Z`;
  return `AWSLogs/${account}/CloudTrail/${region}/${day.replaceAll('-', '/')}/${account}_CloudTrail_${region}_${stamp}_example.json.gz`;
}

const quarters = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => after(START, (from + index) * MINUTES_A_FILE * 60));

/** Twelve hours of a trail that records its own bucket; each file is promised in the file after it. */
function files(): ReadonlyMap<string, Buffer> {
  const deliveries = quarters(0, 48).map((at) =>
    object({
      at: after(at, 1000),
      who: service(agent),
      ip: agent,
      userAgent: agent,
      name: 'PutObject',
      readOnly: false,
      bucket: BUCKET,
      key: keyOf(at),
    }),
  );
  const purge = quarters(8, 38).map(
    (at, index): Call =>
      object({
        at: after('2024-03-17T10:00:00Z', index),
        who: session('ci-deployer', 'run-1'),
        ip: '10.22.8.146',
        userAgent: 'aws-cli/2.15.0',
        name: 'DeleteObject',
        readOnly: false,
        bucket: BUCKET,
        key: keyOf(at),
        versionId: `v${index}`,
      }),
  );
  const reads = quarters(0, 49).map((at) =>
    object({
      at,
      who: session('analyst', 'ada'),
      ip: '192.0.2.50',
      userAgent: 'aws-cli/2.15.0',
      name: 'ListObjects',
      readOnly: true,
      bucket: BUCKET,
    }),
  );
  return cloudTrailFiles([...deliveries, ...purge, ...reads], random(11));
}

test('log files that are named and missing are a gap, which the purge of their bucket explains until they turn up', async (t) => {
  const folder = temporaryFolder(t);
  const [kept, found] = [join(folder, 'kept'), join(folder, 'found')];
  // Three files are gone, and with two of them what promised the first two: the third is named by the file after it.
  const gone = new Set(quarters(9, 12).map((at) => keyOf(at)));
  for (const [path, content] of files())
    for (const target of [...(gone.has(path.replace('cloudtrail/', '')) ? [] : [kept]), found]) {
      mkdirSync(dirname(join(target, path)), { recursive: true });
      writeFileSync(join(target, path), content);
    }
  for (const target of [kept, found]) writeFileSync(join(target, 'case.yaml'), 'name: trail\n');

  const db = join(folder, 'trail.duckdb');
  const nowUnixNano = BigInt(Date.parse('2024-04-01T00:00:00Z')) * 1_000_000n;
  const { correlated } = await replayCase(kept, db, { nowUnixNano });
  const gaps = correlated.findings.filter(({ kind }) => kind === 'audit.log_gap');
  t.deepEqual(
    gaps.map(({ subject, measured }) => [subject, measured['bucket']]),
    [[`account:${account}`, BUCKET]],
  );
  t.deepEqual(
    correlated.chains.map(({ rootKind, impactKind, verdict, links }) => [
      rootKind,
      impactKind,
      verdict,
      links[0]!.rule,
    ]),
    [['s3.version_purge', 'audit.log_gap', 'CONFIRMED', 'purge-removes-logs']],
  );

  const again = await replayCase(found, db, { nowUnixNano });
  t.is(again.correlated.goneFindings.length, 1);
  t.deepEqual(
    again.correlated.findings.filter(({ kind }) => kind === 'audit.log_gap'),
    [],
  );
});
