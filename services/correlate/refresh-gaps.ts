import { type DuckDBConnection, DuckDBTimestampValue, type DuckDBValue } from '@duckdb/node-api';
import { appendRows } from '../../shared/store/append.js';
import { streamed } from '../../shared/store/chunks.js';
import type { Interval } from './components.js';
import type { Scope } from './load-gaps.js';
import { type Beside, type Named, nameOf } from './name-gap.js';
import { type Bucket, type Folding, type Kept, refold, type Scoped, type Since, sinceThen } from './refold.js';
import { type Hole, type Moment, type Rhythm, scrapeRhythm, spanRhythm } from './rhythm.js';

interface ScopedHole extends Scope {
  readonly hole: Hole;
}

/** A hole that was written, and what it was called. */
interface Known extends ScopedHole {
  readonly named: Named | null;
}

/** A gap that is new, is gone, or is called something else. */
export interface ChangedGap extends Scope, Interval {}

/**
 * Brings what is missing up to the newest commit: rhythms of the scopes that have new evidence are folded from the border before it, and gaps in which
 * it falls are named anew, whosever they are. Returns what has changed.
 */
export async function refreshGaps(connection: DuckDBConnection, cursor: bigint, run: bigint): Promise<ChangedGap[]> {
  const { before, after } = await refoldRhythms(connection, cursor, run);
  const known = await knownWithin(connection, await touchedTimes(connection, cursor), [...before.values()]);
  const untouched = [...known].filter(([key]) => !before.has(key));
  const now = await nameAll(connection, new Map([...untouched, ...after]));
  return writeChanged(connection, known, now, run);
}

/* ---- which scopes and times have new evidence ---- */

/** Scrapes that were tried and had no answer. */
const FAILED = `SELECT 'metrics' AS source, concat_ws('/', service, instance) AS scope, service, instance, time_bucket(INTERVAL 10 MILLISECONDS, time) AS bucket,
  time AS first_at, time AS last_at, 0::UBIGINT AS seconds, false AS answered, commit_seq FROM _store.missed_scrapes`;

const SEEN = `SELECT source, scope, service, instance, bucket, first_at, last_at, seconds, true AS answered, commit_seq FROM _store.presence`;

async function touchedScopes(connection: DuckDBConnection, cursor: bigint): Promise<(Scope & Interval)[]> {
  const rows = await connection.runAndReadAll(
    `SELECT source, scope, any_value(service), any_value(instance), epoch_us(min(bucket))::DOUBLE, epoch_us(max(bucket))::DOUBLE
     FROM (${SEEN} UNION ALL ${FAILED}) WHERE commit_seq > ${cursor} AND (source = 'traces' OR instance IS NOT NULL) AND source <> 'cloudtrail'
     GROUP BY source, scope ORDER BY source, scope`,
  );
  return rows.getRows().map(([source, scope, service, instance, fromMicros, toMicros]) => ({
    source: source as string,
    scope: scope as string,
    service: service as string | null,
    instance: instance as string | null,
    fromMicros: fromMicros as number,
    toMicros: toMicros as number,
  }));
}

/** Evidence of any source: others going on is what tells a gap from a night without anything. Hours that touch are one. */
async function touchedTimes(connection: DuckDBConnection, cursor: bigint): Promise<Interval[]> {
  const rows = await connection.runAndReadAll(
    `SELECT epoch_us(min(first_at))::DOUBLE, epoch_us(max(last_at))::DOUBLE FROM _store.presence WHERE commit_seq > ${cursor}
     GROUP BY date_trunc('hour', bucket) ORDER BY 1`,
  );
  const times = rows.getRows().map(([fromMicros, toMicros]) => ({ fromMicros, toMicros }) as Interval);
  return joined(times, HOUR_MICROS);
}

/** Intervals in the order of time, those less apart than so much as one. */
function joined(intervals: readonly Interval[], apartMicros: number): Interval[] {
  const found: { fromMicros: number; toMicros: number }[] = [];
  for (const { fromMicros, toMicros } of intervals) {
    const last = found.at(-1);
    if (last && fromMicros - last.toMicros < apartMicros) last.toMicros = Math.max(last.toMicros, toMicros);
    else found.push({ fromMicros, toMicros });
  }
  return found;
}

/* ---- rhythms ---- */

const HOUR_MICROS = 3_600_000_000;

const keyOf = ({ source, scope }: Pick<Scope, 'source' | 'scope'>): string => `${source}\n${scope}`;

/** Holes as they were and as they are, as far as rhythms had to be folded again. */
async function refoldRhythms(connection: DuckDBConnection, cursor: bigint, run: bigint) {
  const scopes = await touchedScopes(connection, cursor);
  const inKey = new Map(scopes.map((scope) => [keyOf(scope), scope]));
  const touched = scopes.map((scope) => ({ folding: foldingOf(scope), dirty: scope }));
  const refolded = await refold(connection, overPresence, touched, run);
  const holesOf = (which: 'before' | 'after') =>
    byKey(
      refolded.flatMap(({ name, [which]: holes }) =>
        holes.map((hole): ScopedHole => ({ ...scopeOnly(inKey.get(name)!), hole })),
      ),
    );
  return { before: holesOf('before'), after: holesOf('after') };
}

const scopeOnly = ({ source, scope, service, instance }: Scope): Scope => ({ source, scope, service, instance });

function foldingOf(of: Scope): Folding<Moment, Hole> {
  const rhythm = rhythmOf(of.source);
  return {
    name: keyOf(of),
    scopes: [keyOf(of)],
    start: () => rhythm.start(),
    enter: () => undefined,
    step: (state, parts) => parts.flatMap(({ part }) => rhythm.step(state, part)),
    end: (state) => rhythm.end(state),
  };
}

/** The type of the state is the rhythm's own. */
const rhythmOf = (source: string): Rhythm => (source === 'metrics' ? scrapeRhythm : spanRhythm);

/** Folds over when there was evidence. */
const overPresence: Kept<Moment> = {
  folded: 'rhythms',
  states: 'rhythm_states',
  segmentMicros: HOUR_MICROS,
  read: readMoments,
  async next(connection, since, fromMicros) {
    const rows = await connection.runAndReadAll(
      `SELECT epoch_us(min(bucket))::DOUBLE FROM (${momentsFrom(SEEN, fromMicros)} UNION ALL ${momentsFrom(FAILED, fromMicros)})
       WHERE ${sinceThen('epoch_us(bucket)', since, fromMicros)}`,
    );
    return (rows.getRows()[0]![0] as number | null) ?? undefined;
  },
};

/** By scopes as folds name them. The time is a condition on the bare column, so that row groups outside of it are not read. */
const momentsFrom = (relation: string, fromMicros: number): string =>
  `SELECT * REPLACE (source || chr(10) || scope AS scope) FROM (${relation}) WHERE bucket >= make_timestamp(${Math.max(0, fromMicros)})`;

async function* readMoments(
  connection: DuckDBConnection,
  since: readonly Since[],
  fromMicros: number,
  toMicros: number,
): AsyncGenerator<Bucket<Moment>> {
  const within = (relation: string) => `${momentsFrom(relation, fromMicros)} AND bucket < make_timestamp(${toMicros})`;
  const chunks = streamed(
    connection,
    `SELECT epoch_us(bucket)::DOUBLE, scope, epoch_us(min(first_at))::DOUBLE AS moment, epoch_us(max(last_at))::DOUBLE, bit_count(bit_or(seconds))::DOUBLE, answered
     FROM (${within(SEEN)} UNION ALL ${within(FAILED)}) WHERE ${sinceThen('epoch_us(bucket)', since, fromMicros)}
     GROUP BY bucket, scope, answered ORDER BY bucket, scope, moment, answered`,
  );
  let current: { bucket: number; parts: Scoped<Moment>[] } | undefined;
  for await (const chunk of chunks) {
    const c = chunk.getColumns();
    for (let row = 0; row < chunk.rowCount; row++) {
      const bucket = c[0]![row] as number;
      if (current && current.bucket !== bucket) {
        yield current;
        current = undefined;
      }
      current ??= { bucket, parts: [] };
      const part: Moment = {
        atMicros: c[2]![row] as number,
        untilMicros: c[3]![row] as number,
        seconds: c[4]![row] as number,
        answered: c[5]![row] as boolean,
      };
      current.parts.push({ scope: c[1]![row] as string, part });
    }
  }
  if (current) yield current;
}

/* ---- names ---- */

const holeKey = (one: ScopedHole): string => `${keyOf(one)}\n${one.hole.fromMicros}\n${one.hole.toMicros}`;

const byKey = (holes: readonly ScopedHole[]): Map<string, ScopedHole> =>
  new Map(holes.map((one) => [holeKey(one), one]));

/** Holes that were written, and reach into these times or are those. */
async function knownWithin(
  connection: DuckDBConnection,
  times: readonly Interval[],
  holes: readonly ScopedHole[],
): Promise<Map<string, Known>> {
  const within = joined(
    [...times, ...holes.map(({ hole }) => hole)].sort((a, b) => a.fromMicros - b.fromMicros),
    HOUR_MICROS,
  );
  if (within.length === 0) return new Map();
  const reaching = within.map(
    ({ fromMicros, toMicros }) =>
      `(from_time <= make_timestamp(${Math.ceil(toMicros)}) AND to_time >= make_timestamp(${Math.floor(fromMicros)}))`,
  );
  const rows = await connection.runAndReadAll(
    `SELECT source, scope, service, instance, epoch_us(from_time)::DOUBLE, epoch_us(to_time)::DOUBLE, failed::DOUBLE, lost::DOUBLE, usual_micros, state, reason
     FROM _store.holes WHERE ${reaching.join(' OR ')}`,
  );
  const known = rows.getRows().map((row): [string, Known] => {
    const [source, scope, service, instance, fromMicros, toMicros, failed, lost, usualMicros, state, reason] = row;
    const hole = { fromMicros, toMicros, failed, lost, usualMicros } as Hole;
    const named = state === null ? null : ({ state, reason } as Named);
    const one = { source, scope, service, instance, hole, named } as Known;
    return [holeKey(one), one];
  });
  return new Map(known);
}

async function nameAll(
  connection: DuckDBConnection,
  holes: ReadonlyMap<string, ScopedHole>,
): Promise<Map<string, Known>> {
  const asked = [...holes.values()].filter(({ hole }) => needsOthers(hole));
  const beside = await whatIsBeside(connection, asked);
  return new Map([...holes].map(([key, one]) => [key, { ...one, named: nameOf(one.hole, beside.get(key)) }]));
}

/** A hole of a scrape or two is that and no more, whatever others did. */
const needsOthers = (hole: Hole): boolean => nameOf(hole, undefined) === null;

/**
 * Others go on where they have evidence in the middle third of a gap: what merely ends and begins together (two nights in one store) is no gap.
 * Spans and CloudTrail records are merged by minute, so that their rows do not overlap; scrapes are moments.
 */
async function whatIsBeside(connection: DuckDBConnection, holes: readonly ScopedHole[]): Promise<Map<string, Beside>> {
  const beside = new Map<string, Beside>();
  for (const near of nearEachOther(holes)) {
    const thirds = near.map((one) => ({ key: holeKey(one), family: one.service ?? '', ...middleOf(one.hole) }));
    const from = Math.floor(Math.min(...thirds.map(({ third }) => third)));
    const to = Math.ceil(Math.max(...thirds.map(({ two_thirds }) => two_thirds)));
    const within = `bucket BETWEEN make_timestamp(${from - MINUTE_MICROS}) AND make_timestamp(${to})`;
    const rows = await connection.runAndReadAll(
      `WITH thirds AS (SELECT unnest(from_json(?, '[{"key":"VARCHAR","family":"VARCHAR","third":"DOUBLE","two_thirds":"DOUBLE"}]'), recursive := true)),
       answers AS (SELECT coalesce(service, '') AS family, epoch_us(min(first_at)) AS moment FROM _store.presence WHERE source = 'metrics' AND ${within}
         GROUP BY family, bucket),
       minutes AS (SELECT epoch_us(min(first_at)) AS first_at, epoch_us(max(last_at)) AS last_at FROM _store.presence WHERE source <> 'metrics' AND ${within}
         GROUP BY bucket)
       SELECT t.key, coalesce(peer.moment <= two_thirds, false),
         coalesce(answer.moment <= two_thirds, false) OR coalesce(minute.first_at <= two_thirds, false)
       FROM thirds t
       ASOF LEFT JOIN answers peer ON t.family = peer.family AND t.third <= peer.moment
       ASOF LEFT JOIN (SELECT moment FROM answers) answer ON t.third <= answer.moment
       ASOF LEFT JOIN minutes minute ON t.third <= minute.last_at`,
      [JSON.stringify(thirds)],
    );
    for (const [key, othersAnswered, othersGoOn] of rows.getRows())
      beside.set(key as string, { othersAnswered: othersAnswered as boolean, othersGoOn: othersGoOn as boolean });
  }
  return beside;
}

const MINUTE_MICROS = 60_000_000;

function middleOf({ fromMicros, toMicros }: Hole): { third: number; two_thirds: number } {
  const third = (toMicros - fromMicros) / 3;
  return { third: fromMicros + third, two_thirds: toMicros - third };
}

/** In groups that are an hour apart: each is asked of its own time. */
function nearEachOther(holes: readonly ScopedHole[]): ScopedHole[][] {
  const groups: ScopedHole[][] = [];
  let until = Number.NEGATIVE_INFINITY;
  for (const one of holes.toSorted((a, b) => a.hole.fromMicros - b.hole.fromMicros)) {
    if (one.hole.fromMicros - until >= HOUR_MICROS) groups.push([]);
    groups.at(-1)!.push(one);
    until = Math.max(until, one.hole.toMicros);
  }
  return groups;
}

/* ---- what has changed ---- */

async function writeChanged(
  connection: DuckDBConnection,
  known: ReadonlyMap<string, Known>,
  now: ReadonlyMap<string, Known>,
  run: bigint,
): Promise<ChangedGap[]> {
  const same = (a: Known | undefined, b: Known | undefined) =>
    JSON.stringify([a?.hole, a?.named]) === JSON.stringify([b?.hole, b?.named]);
  const keys = [...new Set([...known.keys(), ...now.keys()])].filter((key) => !same(known.get(key), now.get(key)));
  await appendRows(
    connection,
    'hole_history',
    keys.map((key) => holeRow(now.get(key) ?? known.get(key)!, run, !now.has(key))),
  );
  const said = keys.filter((key) => known.get(key)?.named?.state !== now.get(key)?.named?.state);
  return said.map((key) => {
    const { hole, ...of } = now.get(key) ?? known.get(key)!;
    return { ...of, fromMicros: hole.fromMicros, toMicros: hole.toMicros };
  });
}

function holeRow({ source, scope, service, instance, hole, named }: Known, run: bigint, gone: boolean): DuckDBValue[] {
  return [
    run,
    gone,
    source,
    scope,
    service,
    instance,
    new DuckDBTimestampValue(BigInt(hole.fromMicros)),
    new DuckDBTimestampValue(BigInt(hole.toMicros)),
    BigInt(hole.failed),
    hole.lost === null ? null : BigInt(hole.lost),
    hole.usualMicros,
    named?.state ?? null,
    named?.reason ?? null,
  ];
}
