import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replayCase } from '../../replay/replay.js';
import { recordings, testWith } from '../helpers/data.js';

interface Expected {
  readonly finding: string;
  /** What in events.jsonl, timeline.json, the scrapes or the log bears it out. */
  readonly because: string;
}

/**
 * Every etcd recording and the findings it must yield, no others. `short` marks a finding whose baseline is shorter
 * than its least: the recordings idle for seconds before the load, so such a finding stands but proves nothing.
 */
const TABLE: Readonly<Record<string, readonly Expected[]>> = {
  'etcd/table_3.5.16': [],
  'etcd/storm_nocompact_3.5.16': [
    { finding: 'etcd.put_surge short', because: 'events: storm for 56 s, 168,208 puts after 10 s of idling' },
    { finding: 'etcd.wal_growth short', because: 'disk.csv: WAL 64 to 192 MB in the storm' },
    { finding: 'etcd.db_growth short', because: 'events: size 20,480 to 232,112,128 bytes' },
    { finding: 'etcd.space_amplification', because: 'events: 17 keys, 192,051 revisions, never compacted' },
  ],
  'etcd/storm_compact_defrag_3.5.16': [
    {
      finding: 'etcd.put_surge short',
      because: 'events: 182,577 puts after 5 s of idling; storm_after is within the gap',
    },
    { finding: 'etcd.wal_growth short', because: 'disk.csv: WAL 64 to 256 MB' },
    { finding: 'etcd.db_growth short', because: 'events: in use grows again after each compaction' },
    {
      finding: 'etcd.space_amplification',
      because: 'events: 20 keys; 122.8 MB held for 53 kB after the last compaction',
    },
  ],
  'etcd/storm_compact_defrag_3.4.23': [
    { finding: 'etcd.put_surge short', because: 'events: 137,724 puts after 4 s of idling' },
    { finding: 'etcd.wal_growth short', because: 'disk.csv: WAL 64 to 192 MB' },
    { finding: 'etcd.db_growth short', because: 'events: size 20,480 to 105,979,904 bytes' },
    { finding: 'etcd.space_amplification', because: 'events: 18 keys, 44,844 revisions before the first compaction' },
  ],
  'etcd/nospace_3.5.16': [
    {
      finding: 'etcd.quota_exhausted',
      because: 'events: 429 `database space exceeded`, 10,948 refused; accepted puts lasted 3 s, too short for a surge',
    },
  ],
  'etcd/slowdisk_3.5.16': [
    { finding: 'etcd.put_surge short', because: 'events: 128,313 puts after 4 s of idling' },
    { finding: 'etcd.wal_growth short', because: 'disk.csv: WAL 64 to 192 MB' },
    { finding: 'etcd.db_growth short', because: 'events: size 20,480 to 176,992,256 bytes' },
    { finding: 'etcd.space_amplification', because: 'events: 20 keys, 128,314 revisions, never compacted' },
    {
      finding: 'etcd.slow_fsync m1 short',
      because: 'events: storm_disk_contention, eight writers on the same disk; p99 11 to 119 ms after 7 s of load',
    },
  ],
  'etcd/cluster3_leaderloss_3.5.16': [
    {
      finding: 'etcd.put_surge short',
      because: 'events: 4,593 puts by the time the leader freezes, after 2 s of idling',
    },
    { finding: 'etcd.wal_growth short', because: 'the same puts' },
    { finding: 'etcd.db_growth short', because: 'the same puts' },
    {
      finding: 'etcd.leader_lost',
      because: 'events: leader frozen, another a second later; quorum lost, has_leader 0',
    },
  ],
  'etcd/live_3node_3.4.23': [
    { finding: 'etcd.put_surge', because: 'timeline: write_surge_start, 18.8 to 25.4 puts/s' },
    { finding: 'etcd.wal_growth', because: 'timeline: values of 65,536 bytes' },
    { finding: 'etcd.db_growth', because: 'scrapes: in use 0.3 to 21.8 MB' },
    { finding: 'etcd.quota_exhausted', because: 'timeline: first_write_rejected, NOSPACE on two members' },
    {
      finding: 'etcd.leader_lost',
      because: 'timeline: leader_killed; m1 and m2 see the change, m0 restarts: no change',
    },
    {
      finding: 'go.gc_pressure instance:m0',
      because:
        'scrapes: 0.05 cycles/s before, 0.4 to 1.4 from the surge until the last refused put (1 MB/s allocated, then 31 and 20); the others collect for 15 s only',
    },
  ],
  'collector/run2': [
    {
      finding: 'etcd.quota_exhausted',
      because: 'scrapes: 12,562,432 bytes of a quota of 8,388,608; the counter holds refusals of before',
    },
  ],
  'collector/run3': [],
};

for (const [recording, expected] of Object.entries(TABLE))
  testWith(
    recordings,
    'CAUSELINE_RECORDINGS',
    `${recording} yields ${expected.length} findings, each with its reason, and no others`,
    async (t, folder) => {
      const work = mkdtempSync(join(tmpdir(), 'causeline-recording-'));
      try {
        makeCase(join(folder, recording), join(work, 'case'));
        const clock = { nowUnixNano: BigInt(Date.now()) * 1_000_000n };
        const { correlated, collected } = await replayCase(join(work, 'case'), join(work, 'case.duckdb'), clock);
        const found = correlated.findings.map(({ kind, subject, member, shortBaseline }) =>
          [kind, subject.startsWith('instance:') ? subject : member, shortBaseline ? 'short' : null]
            .filter((word) => word !== null)
            .join(' '),
        );
        t.deepEqual(found.sort(), expected.map(({ finding }) => finding).sort());
        t.is(collected.quarantined, 0);
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    },
  );

/** A recording as a case: scrapes of members under metrics/<cluster>/<member>, the collector's lines as they are. */
function makeCase(recording: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'case.yaml'), 'name: recording\n');
  for (const { name, parentPath } of readdirSync(recording, { withFileTypes: true, recursive: true })) {
    const to = placeOf(name, parentPath);
    if (!to) continue;
    mkdirSync(join(folder, to), { recursive: true });
    copyFileSync(join(parentPath, name), join(folder, to, name));
  }
}

function placeOf(name: string, parent: string): string | undefined {
  if (/^(metrics|traces)\.jsonl\.gz$/.test(name)) return name.split('.')[0]!;
  if (!name.endsWith('.prom.gz')) return undefined;
  const member = /^\d+\.prom/.test(name) ? parent.split('/').at(-1)! : (/^scrapes-(m\d)/.exec(name)?.[1] ?? 'm1');
  return `metrics/recorded/${member}`;
}
