import type { DuckDBConnection } from '@duckdb/node-api';
import { entityKey } from '../../shared/entity.js';
import type { Kind } from '../../shared/finding.js';
import { causes } from '../correlate/causes/index.js';
import { clustersOf } from '../correlate/clusters.js';
import { detectors } from '../correlate/detectors/index.js';
import { digits } from '../correlate/figures.js';
import { loadMembers } from '../correlate/load.js';
import { ETCD_WRITES } from '../correlate/traces.js';
import { clock } from './draw.js';
import type { FindingRow } from './read.js';
import { jsonRows } from './rows.js';

const COVERED = 'No cause found in covered evidence';
const OUTSIDE = 'The cause lies outside the evidence';

/** A cause shows itself so long before its effect, at the least. */
const LOOK_BACK_MS = 120_000;

/** The writer of a surge is known when one service wrote this share of the extra puts. */
const LEAST_SHARE = 0.5;

type Source = 'cloudtrail' | 'metrics' | 'traces';

/**
 * Why a chain begins where it does: all that could have caused its root was covered and shows nothing, or what would show a cause is not in the
 * evidence (no rule, no source, a gap, a writer whose reason is not recorded).
 */
export async function originOf(connection: DuckDBConnection, root: FindingRow): Promise<string> {
  const kinds = [...new Set(causes.filter(({ to }) => to === root.kind).map(({ from }) => from))].sort();
  if (kinds.length === 0) return `${OUTSIDE}: no rule knows what brings about ${root.kind}, so nothing was looked for.`;
  const sources = [...new Set(kinds.map(sourceOf))].sort();
  const gaps = (await Promise.all(sources.map((source) => gapsOf(connection, source, root)))).flat();
  if (gaps.length > 0) return `${OUTSIDE}: ${gaps.join('; ')}; ${kinds.join(', ')} would show there.`;
  if (root.kind === 'etcd.put_surge') return writerOf(connection, root);
  return `${COVERED}: ${kinds.join(', ')} ${kinds.length === 1 ? 'was' : 'were'} looked for in ${sources.join(' and ')} of that time.`;
}

/** The source that shows a kind of finding. */
export function sourceOf(kind: Kind): Source {
  const inputs = detectors.find((detector) => detector.kind === kind)?.inputs ?? [];
  if (inputs.some(({ of }) => of === 'series')) return 'metrics';
  return inputs.some(({ of }) => of === 'acts' || of === 'uses' || of === 'log_files') ? 'cloudtrail' : 'traces';
}

const COVERAGE = `
  SELECT scope, state, reason, from_time, to_time, account_id, category, resource FROM coverage
  WHERE source = $source AND from_time <= $to::TIMESTAMP AND to_time >= $from::TIMESTAMP ORDER BY ALL`;

interface CoverageRow {
  readonly scope: string;
  readonly state: string;
  readonly reason: string;
  readonly from_time: string;
  readonly to_time: string;
  readonly account_id: string | null;
  readonly category: string | null;
  readonly resource: string | null;
}

/** States that say that evidence is there. */
const THERE: readonly string[] = ['collected', 'collected_verified', 'verified', 'verified_empty'];

/**
 * What is missing of a source around the onset: all of it, or a stretch (one lost scrape is none) of what the root is about. What lets somebody destroy
 * something shows in CloudTrail's management events.
 */
async function gapsOf(connection: DuckDBConnection, source: Source, root: FindingRow): Promise<string[]> {
  const rows = (await jsonRows(connection, COVERAGE, { source, ...around(root) })) as unknown as CoverageRow[];
  if (!rows.some(({ state }) => state === 'collected')) return [`there are no ${source} of that time`];
  const about = namesOf(root);
  const anybody = source === 'traces' && root.subject.startsWith('etcd:'); // whoever wrote
  return rows
    .filter(({ state, from_time, to_time }) => !THERE.includes(state) && from_time !== to_time)
    .filter(({ scope, category, resource, account_id }) =>
      category === null
        ? anybody || scope.split('/').some((name) => about.has(name))
        : category === 'Management' && resource === null && root.keys.includes(entityKey('account', account_id ?? '')),
    )
    .map(
      ({ scope, reason, from_time, to_time }) =>
        `${source} of ${scope} are missing from ${clock(from_time)} to ${clock(to_time)} (${reason})`,
    );
}

/** From two minutes before the root began to its onset, as timestamps without a zone. */
function around({ started_at }: FindingRow): { from: string; to: string } {
  const before = new Date(Date.parse(started_at) - LOOK_BACK_MS).toISOString();
  return { from: before.replace('Z', ''), to: started_at.replace('Z', '') };
}

function namesOf({ subject, measured }: FindingRow): ReadonlySet<string> {
  const members = measured['members'];
  const name = subject.slice(subject.search(/[^:/]*$/));
  return new Set([name, ...(Array.isArray(members) ? members.map(String) : [])]);
}

const WRITERS = `
  SELECT service, scope, target, sum(coalesce(adjusted_count, 1)) FILTER (start_time >= $started::TIMESTAMP)::DOUBLE AS during,
    sum(coalesce(adjusted_count, 1)) FILTER (start_time < $started::TIMESTAMP)::DOUBLE AS before,
    date_diff('second', min(start_time), $started::TIMESTAMP)::DOUBLE AS seconds_before
  FROM spans WHERE kind = 'client' AND status <> 'error' AND target IS NOT NULL AND list_contains(string_split($writes, ' '), operation)
    AND start_time BETWEEN $started::TIMESTAMP - INTERVAL 15 MINUTE AND $ended::TIMESTAMP
  GROUP BY ALL`;

interface WriterRow {
  readonly service: string | null;
  readonly scope: string | null;
  readonly target: string;
  readonly during: number | null;
  readonly before: number | null;
  readonly seconds_before: number;
}

/** Who wrote the extra puts, as far as spans say it: with a finding of its own, without one, or nobody that is known. */
async function writerOf(connection: DuckDBConnection, surge: FindingRow): Promise<string> {
  const [started, ended] = [surge.started_at.replace('Z', ''), surge.ended_at.replace('Z', '')];
  const clusters = clustersOf(await loadMembers(connection));
  const values = { started, ended, writes: [...ETCD_WRITES].join(' ') };
  const rows = (await jsonRows(connection, WRITERS, values)) as unknown as WriterRow[];
  const seconds = Math.max(1, (Date.parse(surge.ended_at) - Date.parse(surge.started_at)) / 1000);
  const extra = new Map<string, number>();
  for (const { service, scope, target, during, before, seconds_before } of rows) {
    if (clusters.keyOfAddress(target) !== surge.subject) continue;
    const writer = entityKey('service', service ?? 'unknown_service', scope);
    const usual = before === null ? 0 : before / Math.max(1, seconds_before);
    extra.set(writer, (extra.get(writer) ?? 0) + (during ?? 0) / seconds - usual);
  }
  const puts = Number(surge.measured['extra_puts_per_s'] ?? 0);
  const [first] = [...extra].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  if (!first || first[1] < LEAST_SHARE * puts)
    return `${OUTSIDE}: spans show ${digits(Math.max(0, first?.[1] ?? 0))} of the ${digits(puts)} extra puts/s at most of one service, so who wrote them is not known.`;
  const wrote = `${first[0]} wrote ${digits(first[1])} puts/s more than before, of ${digits(puts)} that the cluster applied`;
  const kinds = (await jsonRows(
    connection,
    `SELECT DISTINCT kind FROM findings WHERE subject = $writer AND started_at <= $ended::TIMESTAMP AND ended_at >= $started::TIMESTAMP ORDER BY kind`,
    { writer: first[0], started, ended },
  )) as unknown as { readonly kind: Kind }[];
  return kinds.length > 0
    ? `${COVERED}: ${wrote}, and what was found of it (${kinds.map(({ kind }) => kind).join(', ')}) does not explain them.`
    : `${OUTSIDE}: ${wrote}, and no evidence says why.`;
}
