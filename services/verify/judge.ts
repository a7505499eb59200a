import { groupBy } from '../../shared/group.js';
import { type DigestKey, type LogKey, type TrailLook, trailKey } from '../../shared/trail-keys.js';
import {
  type Content,
  digestKeyOf,
  HASH_ALGORITHM,
  liesAt,
  linkProblem,
  type Named,
  type Previous,
  type Problem,
  readDigest,
  signatureProblem,
  unpacked,
} from './digest.js';
import {
  type Checks,
  DUE_MICROS,
  HOUR_MICROS,
  type Place,
  type PublicKey,
  type State,
  type Stored,
  type StoredDigest,
  type StoredLog,
} from './words.js';

/** What is known of the log files that were delivered in a stretch of time. */
export interface Interval {
  readonly archive: string;
  readonly account: string;
  readonly region: string;
  /** Null for files that no digest names. */
  readonly trail: string | null;
  readonly chain: 'standard' | 'backfill' | null;
  readonly fromMicros: number;
  readonly toMicros: number;
  readonly state: State;
  readonly reason: string;
  /** The digest that says so. */
  readonly digest: string | null;
  /** Log files that it names, or that are counted here because none names them. */
  readonly files: number;
  readonly verified: number;
}

/** A file that tells of tampering, or of loss. */
export interface BadFile {
  readonly archive: string;
  readonly account: string;
  readonly region: string;
  readonly object: string;
  readonly state: Extract<State, 'missing' | 'modified' | 'injected'>;
  readonly reason: string;
  readonly digest: string | null;
  /** When the file was made, by its name. */
  readonly atMicros: number;
}

export interface Judged {
  readonly intervals: readonly Interval[];
  readonly files: readonly BadFile[];
}

/**
 * Judges log files by the digests that CloudTrail signed for them. A pure function of what is stored: neither the order in which it was read nor the
 * time of asking matters.
 */
export function judge(stored: Stored, checks: Checks): Judged {
  const archives = new Set([...stored.digests, ...stored.logs].map(({ archive }) => archive));
  const judged = [...archives].sort().map((archive) => {
    const own = <T extends { readonly archive: string }>(all: readonly T[]) =>
      all.filter((one) => one.archive === archive);
    return new Archive(own(stored.logs), own(stored.digests), stored.keys, own(stored.looked), checks).judge();
  });
  return { intervals: judged.flatMap(({ intervals }) => intervals), files: judged.flatMap(({ files }) => files) };
}

/** A digest, and what became of it. */
interface Entry {
  readonly stored: StoredDigest;
  readonly key: DigestKey;
  readonly hash: string;
  content: Content | undefined;
  problem: Problem | undefined;
  /** What later digests say of it. */
  readonly named: { readonly by: Entry; readonly as: Previous }[];
}

interface Log {
  readonly stored: StoredLog;
  readonly key: LogKey;
  named: boolean;
}

/** One bucket's digests of one trail, account and region, oldest first. */
interface Chain {
  readonly entries: readonly Entry[];
  readonly newest: Entry;
  /** The digests' end is not where it should be. */
  tail: Interval | undefined;
}

class Archive {
  readonly #logs: Log[];
  readonly #logsByName: ReadonlyMap<string, Log[]>;
  readonly #entries: Entry[];
  readonly #entriesByName: ReadonlyMap<string, Entry[]>;
  readonly #keys: readonly PublicKey[];
  readonly #looked: readonly TrailLook[];
  readonly #checks: Checks;
  readonly #intervals: Interval[] = [];
  readonly #files: BadFile[] = [];

  constructor(
    logs: readonly StoredLog[],
    digests: readonly StoredDigest[],
    keys: readonly PublicKey[],
    looked: readonly TrailLook[],
    checks: Checks,
  ) {
    this.#logs = logs.flatMap((stored) => {
      const key = trailKey(stored.path);
      return key?.kind === 'log' ? [{ stored, key, named: false }] : [];
    });
    this.#entries = digests
      .flatMap((stored): Entry[] => {
        const key = digestKeyOf(stored);
        const hash = checks.sha256(stored.body);
        return key ? [{ stored, key, hash, content: undefined, problem: undefined, named: [] }] : [];
      })
      .sort((a, b) => a.key.atMicros - b.key.atMicros || (a.stored.path < b.stored.path ? -1 : 1));
    this.#logsByName = groupBy(this.#logs, ({ key }) => unpacked(key.tail));
    this.#entriesByName = groupBy(this.#entries, ({ key }) => unpacked(key.tail));
    this.#keys = keys;
    this.#looked = looked;
    this.#checks = checks;
  }

  judge(): Judged {
    for (const entry of this.#entries.toReversed()) this.#judgeDigest(entry); // a digest is judged by the later ones too
    const chains = [...groupBy(this.#entries, chainName).values()].map((entries) => this.#chainOf(entries));
    for (const chain of chains) {
      for (const [index, entry] of chain.entries.entries()) this.#judgeEntry(entry, chain.entries[index - 1]);
    }
    for (const chain of chains) this.#judgeTail(chain, chains);
    this.#judgeUnnamed(chains);
    return { intervals: this.#intervals, files: this.#files };
  }

  /* ---- digests one by one ---- */

  #judgeDigest(entry: Entry): void {
    const read = readDigest(entry.stored);
    if ('problem' in read) {
      entry.problem = read.problem;
      return;
    }
    const { content } = read;
    entry.content = content;
    const carried = entry.named[0]?.as.signature;
    entry.problem =
      signatureProblem({ ...entry, content }, carried, this.#keys, this.#checks) ??
      entry.named.flatMap(({ by, as }) => (by.problem ? [] : (linkProblem(entry, as) ?? [])))[0];
    if (content.previous && entry.problem?.state !== 'modified')
      for (const previous of this.#digestsAt(content.previous))
        previous.named.push({ by: entry, as: content.previous });
  }

  #digestsAt({ bucket, key }: Pick<Previous, 'bucket' | 'key'>): Entry[] {
    return (this.#entriesByName.get(nameOf(key)) ?? []).filter(({ stored }) => liesAt(stored, bucket, key));
  }

  /* ---- the chain that they form ---- */

  /** Without digests that stand in nobody's chain: while a later digest names another one, they were put there. */
  #chainOf(entries: readonly Entry[]): Chain {
    const kept: Entry[] = [];
    for (const entry of entries.toReversed()) {
      const later = kept.at(-1);
      const previous = later?.problem?.state === 'modified' ? undefined : later?.content?.previous;
      if (entry.named.length === 0 && previous && this.#digestsAt(previous).length > 0) this.#stray(entry);
      else kept.push(entry);
    }
    return { entries: kept.reverse(), newest: kept.at(-1)!, tail: undefined };
  }

  #stray(entry: Entry): void {
    const { problem, stored } = entry;
    if (problem?.state === 'modified')
      this.#bad(stored, entry.key, 'modified', `${problem.reason}; no digest names it`, null);
    else this.#bad(stored, entry.key, 'injected', 'a digest that no digest of its chain names', null);
  }

  #judgeEntry(entry: Entry, before: Entry | undefined): void {
    const { content, problem, key } = entry;
    if (content) this.#judgeStart(entry, content, before);
    const fromMicros = content?.startMicros ?? before?.key.atMicros ?? key.atMicros - HOUR_MICROS;
    const states =
      content && problem?.state !== 'modified' ? content.logs.map((log) => this.#judgeLog(entry, log)) : [];
    if (problem?.state === 'modified') this.#bad(entry.stored, key, 'modified', problem.reason, null);
    const { state, reason } = problem ? { ...worse(problem, states) } : ofFiles(states);
    const verified = problem ? 0 : states.filter((one) => one === 'verified').length;
    this.#interval(entry, [fromMicros, key.atMicros], state, reason, { files: states.length, verified });
  }

  /** What lies between a digest and the one before it. */
  #judgeStart(entry: Entry, { previous, startMicros }: Content, before: Entry | undefined): void {
    if (entry.problem?.state === 'modified') return;
    const beforeEnd = before?.key.atMicros ?? startMicros;
    const between = (state: State, reason: string, from = beforeEnd) =>
      this.#interval(entry, [Math.min(from, startMicros), startMicros], state, reason);
    if (!previous) {
      if (before)
        between(
          'unverified',
          'the chain of digests was started anew: validation or logging was off, or what was before is hidden',
        );
      return;
    }
    if (this.#digestsAt(previous).length > 0) {
      if (before && !entry.key.backfill && startMicros - beforeEnd > CLOCK_MICROS)
        between('unverified', 'no digest covers this time: one ends before it, the next begins after it');
      return;
    }
    const { stored, key } = entry;
    const atMicros = trailKey(previous.key)?.atMicros ?? startMicros;
    const looked = this.#lookedFor(stored, previous.bucket, previous.key, atMicros);
    if (!looked && before)
      between(
        'not_covered',
        `the digest of this time is in the bucket ${previous.bucket}, or outside of what was read`,
      );
    // Where nobody said from when on, the copy begins with its first digest.
    if (!looked || (!before && (looked.fromMicros === null || looked.fromMicros > atMicros))) return;
    const reason = `the digest ${fileName(previous.key)} is missing: the next one names it`;
    between('missing', reason, before ? beforeEnd : atMicros - HOUR_MICROS);
    this.#bad(
      { ...stored, path: previous.key },
      { ...key, atMicros },
      'missing',
      'a digest that the next one names',
      entry,
    );
  }

  /** What was looked through when an object of this name would have been found. Of a case folder everything was read that is there. */
  #lookedFor({ archive, bucket: own }: Place, bucket: string, key: string, atMicros: number): TrailLook | undefined {
    if (own === null) return this.#looked[0] ?? WHOLE(archive);
    return this.#looked.find(
      ({ bucket: its, prefix, fromMicros, untilMicros }) =>
        its === bucket &&
        key.startsWith(prefix) &&
        (fromMicros === null || fromMicros <= atMicros) &&
        (untilMicros === null || atMicros <= untilMicros),
    );
  }

  /* ---- the log files that they name ---- */

  #judgeLog(entry: Entry, named: Named): State {
    const atName =
      this.#logsByName.get(nameOf(named.key))?.filter(({ stored }) => liesAt(stored, named.bucket, named.key)) ?? [];
    for (const log of atName) log.named = true;
    const beside = atName.filter(({ key }) => key.before === entry.key.before);
    const logs = beside.length > 0 ? beside : atName;
    if (logs.length === 0) return this.#absent(entry, named);
    if (named.hashAlgorithm !== HASH_ALGORITHM) return 'unverified';
    for (const { stored, key } of logs) {
      const reason = unlike(stored, named);
      if (reason) return this.#bad(stored, key, 'modified', reason, entry);
    }
    return entry.problem ? 'unverified' : 'verified';
  }

  #absent(entry: Entry, { bucket, key }: Named): State {
    const { stored } = entry;
    const atMicros = trailKey(key)?.atMicros ?? entry.key.atMicros;
    if (!this.#lookedFor(stored, bucket, key, atMicros)) return 'not_covered';
    return this.#bad(
      { ...stored, path: key },
      { ...entry.key, atMicros },
      'missing',
      'a log file that a digest names',
      entry,
    );
  }

  /* ---- where digests should end ---- */

  /** Whoever removes the newest digests leaves a chain that is whole. */
  #judgeTail(chain: Chain, chains: readonly Chain[]): void {
    const { newest } = chain;
    const { key, stored } = newest;
    if (key.backfill || newest.named.length > 0) return;
    const same = (other: Place, otherKey: { before: string }) =>
      other.bucket === stored.bucket && otherKey.before === key.before;
    const due: [micros: number, why: string][] = [
      ...this.#logs
        .filter(
          (log) =>
            same(log.stored, log.key) && log.key.accountFolder === key.accountFolder && log.key.region === key.region,
        )
        .map((log): [number, string] => [log.key.atMicros - DUE_MICROS, 'log files go on']),
      ...chains
        .filter(
          ({ newest: { stored: other, key: otherKey } }) =>
            same(other, otherKey) && !otherKey.backfill && otherKey.trail === key.trail,
        )
        .map(({ newest: other }): [number, string] => [
          other.key.atMicros - DUE_MICROS,
          'the same trail has later ones of another region or account',
        ]),
      ...this.#looked
        .filter(({ bucket, prefix }) => bucket === stored.bucket && (bucket === null || stored.path.startsWith(prefix)))
        .flatMap(({ dueMicros }): [number, string][] =>
          dueMicros === null ? [] : [[dueMicros, 'so far was asked for']],
        ),
    ];
    const [toMicros, why] = due.reduce((latest, one) => (one[0] > latest[0] ? one : latest), [key.atMicros, '']);
    if (toMicros <= key.atMicros) return;
    chain.tail = this.#interval(
      newest,
      [key.atMicros, toMicros],
      'unverified',
      `the digests end before it, and should not: ${why}`,
    );
  }

  /* ---- log files that none names ---- */

  #judgeUnnamed(chains: readonly Chain[]): void {
    const unnamed = this.#logs.filter(({ named }) => !named);
    for (const logs of groupBy(unnamed, placeName).values()) {
      const [{ stored, key }] = logs as [Log];
      const own = chains.filter(
        ({ newest }) => !newest.key.backfill && placeName(newest) === placeName({ stored, key }),
      );
      const judged = logs.map((log) => ({ log, ...this.#unnamed(log, own) }));
      for (const { log, state, reason } of judged)
        if (state === 'injected') this.#bad(log.stored, log.key, state, reason, null);
      const others = judged.filter(({ state }) => state !== 'injected');
      for (const alike of groupBy(others, ({ state, reason }) => `${state}\n${reason}`).values()) this.#counted(alike);
    }
  }

  #unnamed({ stored, key }: Log, chains: readonly Chain[]): { state: State; reason: string } {
    if (chains.length === 0) {
      const account = this.#entries.some(
        (entry) => entry.key.accountFolder === key.accountFolder && entry.stored.bucket === stored.bucket,
      );
      return account
        ? {
            state: 'unverified',
            reason:
              'this account has digests of other regions and none of this one: they were removed, or another trail wrote these files',
          }
        : { state: 'not_covered', reason: 'there is no digest of this account and region' };
    }
    const { atMicros } = key;
    const whole = chains.flatMap(({ entries }) => goodSpans(entries));
    if (whole.some(([from, to]) => from <= atMicros && atMicros + DUE_MICROS <= to))
      return {
        state: 'injected',
        reason:
          'no digest names it, and those of its time are there: it was put there, or written by another trail without validation',
      };
    if (chains.every(({ entries }) => atMicros < startOf(entries[0]!)))
      return { state: 'not_covered', reason: 'older than the first digest' };
    if (chains.some(({ newest, tail }) => !tail && atMicros + DUE_MICROS > newest.key.atMicros))
      return { state: 'not_covered', reason: 'so new that the digest which names it is not due yet' };
    return { state: 'unverified', reason: 'the digest that should name it is missing, or cannot be verified' };
  }

  #counted(alike: readonly { readonly log: Log; readonly state: State; readonly reason: string }[]): void {
    const { state, reason } = alike[0]!;
    const { stored, key } = alike[0]!.log;
    const times = alike.map(({ log }) => log.key.atMicros).sort((a, b) => a - b);
    this.#intervals.push({
      archive: stored.archive,
      account: key.account,
      region: key.region,
      trail: null,
      chain: null,
      fromMicros: times[0]!,
      toMicros: times.at(-1)!,
      state,
      reason,
      digest: null,
      files: alike.length,
      verified: 0,
    });
  }

  /* ---- what is said ---- */

  #interval(
    { stored, key }: Pick<Entry, 'stored' | 'key'>,
    [fromMicros, toMicros]: [number, number],
    state: State,
    reason: string,
    counts = { files: 0, verified: 0 },
  ): Interval {
    const { archive, path } = stored;
    const { account, region, trail, backfill } = key;
    const chain = backfill ? ('backfill' as const) : ('standard' as const);
    const interval = {
      archive,
      account,
      region,
      trail,
      chain,
      fromMicros,
      toMicros,
      state,
      reason,
      digest: path,
      ...counts,
    };
    this.#intervals.push(interval);
    return interval;
  }

  #bad(
    { archive, path }: Place,
    { account, region, atMicros }: Pick<LogKey, 'account' | 'region' | 'atMicros'>,
    state: BadFile['state'],
    reason: string,
    by: Entry | null,
  ): BadFile['state'] {
    this.#files.push({
      archive,
      account,
      region,
      object: path,
      state,
      reason,
      digest: by?.stored.path ?? null,
      atMicros,
    });
    return state;
  }
}

/** Digests of a chain follow each other to the second. */
const CLOCK_MICROS = 1_000_000;

const WHOLE = (archive: string): TrailLook => ({
  archive,
  bucket: null,
  prefix: '',
  fromMicros: null,
  untilMicros: null,
  dueMicros: null,
});

const placeName = ({ stored, key }: { readonly stored: Place; readonly key: DigestKey | LogKey }): string =>
  [stored.bucket, key.before, key.accountFolder, key.region].join('\n');

const chainName = ({ stored, key }: Entry): string =>
  [placeName({ stored, key }), key.trail, key.homeRegion, key.backfill].join('\n');

const nameOf = (key: string): string => unpacked(trailKey(key)?.tail ?? key);

const fileName = (key: string): string => key.slice(key.lastIndexOf('/') + 1);

function unlike({ fault, members, sha256 }: StoredLog, { hash }: Named): string | undefined {
  if (fault !== null) return `it is damaged: ${fault}`;
  if (members > 1) return `it is gzip of ${members} members, CloudTrail writes one`;
  return sha256 === hash ? undefined : 'its content is not what the digest recorded';
}

/** What the states of its files make of an interval, worst first. */
function ofFiles(states: readonly State[]): { state: State; reason: string } {
  if (states.length === 0) return { state: 'verified_empty', reason: 'a signed digest: nothing was delivered' };
  for (const state of ['modified', 'missing', 'unverified', 'not_covered'] as const) {
    const count = states.filter((one) => one === state).length;
    if (count > 0) return { state, reason: `${count} of ${states.length} log files ${WORDS[state]}` };
  }
  return { state: 'verified', reason: `all ${states.length} log files are as a signed digest names them` };
}

const WORDS = {
  modified: 'are not as the digest names them',
  missing: 'are missing',
  unverified: 'cannot be verified',
  not_covered: 'were not read',
} as const;

/** A digest that cannot be verified may still name files that are missing or changed. */
function worse(problem: Problem, states: readonly State[]): { state: State; reason: string } {
  const found = ofFiles(states);
  const reason = `the digest cannot be relied on: ${problem.reason}`;
  if (problem.state === 'unverified' && (found.state === 'modified' || found.state === 'missing'))
    return { state: found.state, reason: `${found.reason}; ${reason}` };
  return { state: problem.state, reason };
}

/** Stretches that digests with valid signatures cover without a gap. */
function goodSpans(entries: readonly Entry[]): [from: number, to: number][] {
  const spans: [number, number][] = [];
  for (const { content, problem, key } of entries) {
    if (!content || problem) continue;
    const last = spans.at(-1);
    if (last && content.startMicros - last[1] <= CLOCK_MICROS) last[1] = key.atMicros;
    else spans.push([content.startMicros, key.atMicros]);
  }
  return spans;
}

function startOf({ content, key }: Entry): number {
  return content?.startMicros ?? key.atMicros - HOUR_MICROS;
}
