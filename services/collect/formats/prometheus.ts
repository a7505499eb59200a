import type { Decoded, Fault, FaultReason, Flag, MetricRow, MissedScrape } from '../../../shared/evidence.js';
import type { Context, FileDecoder } from '../source.js';
import { countsDespiteItsType, keepsMetric } from './kept-metrics.js';
import { metricHash } from './metric-body.js';
import {
  jsonOf,
  type Labels,
  namePattern,
  numberOf,
  type ParsedSeries,
  parsedMs,
  parsedNumber,
  parsedSeries,
  quoted,
  space,
  split,
  tab,
} from './prometheus-sample.js';
import { type LineReader, LineSplitter } from './text-lines.js';

/**
 * Prometheus text exposition format 0.0.4, https://prometheus.io/docs/instrumenting/exposition_formats/, one scrape
 * or several.
 *
 * A scrape begins with `# SCRAPE … unix_ms=<ms> …` (`status=0`: the member did not answer), or the whole file is one
 * scrape whose time is `context.scrapeUnixMs`. A sample's own timestamp wins over the scrape's. A TYPE holds to the
 * end of its scrape.
 *
 * - Without a TYPE a metric is a gauge: Prometheus keeps no type beside its samples, and the collector's
 *   prometheusreceiver makes a gauge of what is unknown, so the same point has the same body on both ways. No guess
 *   is made from `_total` or `_count`; the named exceptions are in kept-metrics.ts.
 * - A histogram or summary is one row a point, gathered over its scrape and emitted at the scrape's end.
 * - A label with an empty value is no label. Prometheus writes a stale marker as NaN; the word `stale` (promtool) is
 *   taken for one.
 * - `position` is the line, from 0: of a histogram or summary, its first line.
 *
 * Bounds: a line has at most 1 MiB, a sample at most 64 labels, a scrape at most 1,000,000 series; what exceeds them
 * is a fault.
 */
export function prometheusFile(context: Context): FileDecoder<MetricRow> {
  const scrapes = new ScrapeReader(context);
  const lines = new LineSplitter(scrapes);
  return {
    push(piece) {
      lines.push(piece);
      return scrapes.take();
    },
    end() {
      lines.end();
      scrapes.endScrape();
      return scrapes.take();
    },
  };
}

/** Whether text is exposition text, by its first telling line: a HELP, TYPE or SCRAPE comment, or a sample. */
export function looksLikePrometheus(text: string): boolean {
  let from = text.startsWith('\uFEFF') ? 1 : 0;
  for (let seen = 0; seen < 50 && from < text.length; seen += 1) {
    const newline = text.indexOf('\n', from);
    const line = text.slice(from, newline < 0 ? undefined : newline).trim();
    from = newline < 0 ? text.length : newline + 1;
    if (/^#\s+(HELP|TYPE|SCRAPE)\s/.test(line)) return true;
    if (line === '' || line.startsWith('#')) continue;
    return looksLikeSample(line);
  }
  return false;
}

function looksLikeSample(line: string): boolean {
  const parts = split(line);
  if (!parts || parsedNumber(parts.value) === undefined) return false;
  return typeof parsedSeries(parts.series) !== 'string';
}

const maxSeries = 1_000_000;
/** Above this many series the memory of earlier scrapes is given up before the next scrape. */
const maxRemembered = 200_000;
/** How much of a scrape without a time is kept whole. */
const maxUntimedChars = 16 << 20;

/** A metric name; its TYPE counts only in the scrape that declared it. */
interface Name {
  readonly text: string;
  readonly kept: boolean;
  readonly counts: boolean;
  type: string;
  typeScrape: number;
  /** The name without `_bucket`; without `_sum` or `_count`. */
  bucketOf: Name | undefined;
  partOf: Name | undefined;
  readonly part: 'sum' | 'count' | undefined;
}

/** One series as its text names it, remembered over scrapes: parsed once, then found by its text. */
interface Series {
  readonly name: Name;
  readonly labels: Labels;
  readonly attributes: string;
  /** These labels as numbers; undefined where absent or no number. */
  readonly le: number | undefined;
  readonly quantile: number | undefined;
  /** What this scrape already said of it: the first time and value, then the others. */
  scrape: number;
  atMs: number;
  value: number | null;
  others: Map<number, number | null> | undefined;
  /** Which label names a part of a histogram or summary, and the group without it; found at first need. */
  role: Role | undefined;
  group: Group | undefined;
}

type Role = 'le' | 'quantile' | 'part';

/** The histograms or summaries that share a name and attributes. */
interface Group {
  readonly family: Name;
  readonly attributes: string;
  scrape: number;
  readonly points: Map<number, Gathered>;
}

/** One histogram or summary under way. */
interface Gathered {
  readonly kind: 'histogram' | 'summary';
  readonly group: Group;
  readonly time: Time;
  readonly position: number;
  readonly bounds: number[];
  readonly values: number[];
  sum: number | null;
  count: number | null;
  readonly lines: string[];
}

/** What a row says beside its time and source. */
type Point = Omit<MetricRow, 'bodyHash' | 'timeUnixNano' | 'startUnixNano' | 'service' | 'instance'>;

/** Why a sample line is none; `bad_text` where no other reason is said. */
interface Wrong {
  readonly what: string;
  readonly reason?: FaultReason;
}

interface Time {
  readonly ms: number;
  readonly nano: bigint;
  readonly flags: readonly Flag[];
}

class ScrapeReader implements LineReader {
  private readonly context: Context;
  private readonly service: string | null;
  private readonly instance: string | null;
  private readonly names = new Map<string, Name>();
  private readonly byText = new Map<string, Series>();
  private readonly byIdentity = new Map<string, Series>();
  private readonly groups = new Map<string, Group>();
  private readonly gathered: Gathered[] = [];
  private scrape = 0;
  private seriesSeen = 0;
  private time: Time | undefined;
  private failed = false;
  private readonly untimed = { text: '', position: -1, samples: 0, chars: 0 };
  private rows: MetricRow[] = [];
  private faults: Fault[] = [];
  private skipped = new Map<string, number>();
  private missed: MissedScrape[] = [];

  constructor(context: Context) {
    this.context = context;
    this.service = context.cluster ?? null;
    this.instance = context.instance ?? null;
    if (context.scrapeUnixMs !== undefined) this.time = this.timeAt(context.scrapeUnixMs);
  }

  take(): Decoded<MetricRow> {
    const { rows, faults, skipped, missed } = this;
    this.rows = [];
    this.faults = [];
    this.skipped = new Map();
    this.missed = [];
    return { rows, faults, skipped, missedScrapes: missed };
  }

  badLine(reason: FaultReason, detail: string, raw: Uint8Array | string, position: number): void {
    this.faults.push({ reason, detail: `${this.context.origin}: ${detail}`, raw, position });
  }

  line(line: string, position: number): void {
    const first = line.charCodeAt(0);
    if (first === hash) {
      this.comment(line, position);
    } else if (first === space || first === tab) {
      const bare = line.trim();
      if (bare.startsWith('#')) this.comment(bare, position);
      else if (bare !== '') this.sample(bare, line, position);
    } else if (line !== '') {
      this.sample(line, line, position);
    }
  }

  endScrape(): void {
    for (const point of this.gathered) this.emitGathered(point);
    this.gathered.length = 0;
    if (this.untimed.samples > 0) this.emitUntimed();
    Object.assign(this.untimed, { text: '', position: -1, samples: 0, chars: 0 });
    this.scrape += 1;
    this.seriesSeen = 0;
    if (this.byText.size <= maxRemembered) return;
    for (const memory of [this.names, this.byText, this.byIdentity, this.groups]) memory.clear();
  }

  private comment(line: string, position: number): void {
    const words = /^#\s/.test(line) ? line.slice(1).trim().split(/\s+/) : [];
    if (words[0] === 'SCRAPE') {
      this.startScrape(line, position);
      return;
    }
    if (!this.time) this.keepUntimed(line, position, 0);
    if (words[0] !== 'TYPE') return;
    const [, metric, type] = words;
    if (words.length !== 3 || !metric || !namePattern.test(metric) || !types.has(type ?? '')) {
      this.badLine('bad_text', `line ${position + 1} is no TYPE comment of the text format`, line, position);
      return;
    }
    const name = this.named(metric);
    name.type = type!;
    name.typeScrape = this.scrape;
  }

  private startScrape(line: string, position: number): void {
    this.endScrape();
    const ms = parsedMs(/\sunix_ms=(\S*)/.exec(line)?.[1] ?? '');
    this.time = ms === undefined ? undefined : this.timeAt(ms);
    this.failed = /\sstatus=0(?:\s|$)/.test(line);
    if (!this.failed) return;
    if (!this.time) {
      this.badLine('bad_time', `line ${position + 1} has no unix_ms that can be read`, line, position);
    } else if (this.instance === null) {
      this.skip('missed_scrape_of_unnamed_instance');
    } else {
      this.missed.push({ service: this.service, instance: this.instance, timeUnixNano: this.time.nano });
    }
  }

  private sample(text: string, raw: string, position: number): void {
    if (this.failed) this.skip('scrape_failed');
    else {
      const wrong = this.wrongSample(text, raw, position);
      if (wrong) this.badLine(wrong.reason ?? 'bad_text', `line ${position + 1} ${wrong.what}`, raw, position);
    }
  }

  /** Reads one sample; says what is wrong where it is none. */
  private wrongSample(text: string, raw: string, position: number): Wrong | undefined {
    const parts = split(text);
    if (!parts) return { what: 'is no sample of the text format' };
    const value = parsedNumber(parts.value);
    if (value === undefined) return { what: `has no value that can be read, but ${quoted(parts.value)}` };
    const ownMs = parts.timestamp === undefined ? undefined : parsedMs(parts.timestamp);
    if (parts.timestamp !== undefined && ownMs === undefined) {
      return { reason: 'bad_time', what: `has no timestamp that can be read, but ${quoted(parts.timestamp)}` };
    }
    const series = this.seriesOf(parts.series);
    if ('what' in series) return series;
    const time = ownMs === undefined ? this.time : this.timeAt(ownMs);
    if (!time) this.keepUntimed(raw, position, 1);
    else if (!series.name.kept) this.skip('metric_family');
    else return this.measured(series, time, value, raw, position);
    return undefined;
  }

  private skip(reason: string): void {
    this.skipped.set(reason, (this.skipped.get(reason) ?? 0) + 1);
  }

  private timeAt(ms: number): Time {
    const nano = BigInt(ms) * 1_000_000n;
    const flags: Flag[] = [];
    if (ms === 0) flags.push('zero_time');
    if (ms < 0) flags.push('impossible_time');
    if (this.context.nowUnixNano !== undefined && nano > this.context.nowUnixNano) flags.push('future_time');
    return { ms, nano, flags };
  }

  // ── series ──

  private seriesOf(text: string): Series | Wrong {
    const known = this.byText.get(text);
    if (known) return known;
    if (this.seriesSeen >= maxSeries)
      return { reason: 'too_large', what: `is past ${maxSeries} new series of one scrape` };
    const parsed = parsedSeries(text);
    if (typeof parsed === 'string') return { what: parsed };
    this.seriesSeen += 1;
    const identity = `${parsed.name}${jsonOf(parsed.labels)}`;
    const series = this.byIdentity.get(identity) ?? this.newSeries(parsed);
    this.byIdentity.set(identity, series);
    this.byText.set(text, series);
    return series;
  }

  private newSeries({ name, labels }: ParsedSeries): Series {
    return {
      name: this.named(name),
      labels,
      attributes: jsonOf(labels),
      le: numberOf(labels, 'le'),
      quantile: numberOf(labels, 'quantile'),
      scrape: -1,
      atMs: 0,
      value: 0,
      others: undefined,
      role: undefined,
      group: undefined,
    };
  }

  private groupOf(series: Series, role: Role): Group {
    if (series.role === role && series.group) return series.group;
    const { name, labels } = series;
    const family = (role === 'le' ? name.bucketOf : role === 'part' ? name.partOf : name) ?? name;
    const attributes = jsonOf(labels.filter(([label]) => role === 'part' || label !== role));
    const key = `${family.text}${attributes}`;
    const group = this.groups.get(key) ?? { family, attributes, scrape: -1, points: new Map() };
    this.groups.set(key, group);
    series.role = role;
    series.group = group;
    return group;
  }

  private named(text: string): Name {
    const known = this.names.get(text);
    if (known) return known;
    const part = text.endsWith('_sum') ? 'sum' : text.endsWith('_count') ? 'count' : undefined;
    const name: Name = {
      text,
      kept: keepsMetric(text),
      counts: countsDespiteItsType(text),
      type: 'untyped',
      typeScrape: -1,
      bucketOf: undefined,
      partOf: undefined,
      part,
    };
    this.names.set(text, name);
    if (text.endsWith('_bucket')) name.bucketOf = this.named(text.slice(0, -'_bucket'.length));
    else if (part) name.partOf = this.named(text.slice(0, -part.length - 1));
    return name;
  }

  private typeOf(name: Name | undefined): string {
    return name?.typeScrape === this.scrape ? name.type : 'untyped';
  }

  /** What this scrape already said of a series at a time; else undefined, and it is noted. */
  private told(series: Series, ms: number, value: number | null): number | null | undefined {
    if (series.scrape !== this.scrape) {
      series.scrape = this.scrape;
      series.atMs = ms;
      series.value = value;
      series.others = undefined;
      return undefined;
    }
    if (series.atMs === ms) return series.value;
    series.others ??= new Map();
    const known = series.others.get(ms);
    if (known === undefined) series.others.set(ms, value);
    return known;
  }

  // ── points ──

  private measured(series: Series, time: Time, value: number | null, raw: string, position: number): Wrong | undefined {
    const { name } = series;
    const own = this.typeOf(name);
    const bucket = own === 'untyped' && this.typeOf(name.bucketOf) === 'histogram';
    if (bucket && series.le === undefined) return { what: 'is a bucket without a bound (le)' };
    const known = this.told(series, time.ms, value);
    if (known !== undefined) {
      if (!Object.is(known, value))
        return { reason: 'bad_record', what: `contradicts ${known}, said before of the same series and time` };
      this.skip('duplicate_sample');
      return undefined;
    }
    const number = value ?? Number.NaN;
    if (bucket) {
      const point = this.gather('histogram', this.groupOf(series, 'le'), time, raw, position);
      point.bounds.push(series.le!);
      point.values.push(number);
    } else if (own === 'summary' && series.quantile !== undefined) {
      const point = this.gather('summary', this.groupOf(series, 'quantile'), time, raw, position);
      point.bounds.push(series.quantile);
      point.values.push(number);
    } else if (own === 'untyped' && name.part && gathers.has(this.typeOf(name.partOf))) {
      const kind = this.typeOf(name.partOf) as Gathered['kind'];
      this.gather(kind, this.groupOf(series, 'part'), time, raw, position)[name.part] = number;
    } else {
      const kind = own === 'counter' || name.counts ? 'counter' : 'gauge';
      const flags = value === null ? flagged(time, 'no_recorded_value') : numberFlags(time, value);
      const { attributes } = series;
      this.emit(
        {
          metric: name.text,
          kind,
          attributes,
          flags,
          position,
          value,
          bounds: null,
          counts: null,
          sum: null,
          count: null,
        },
        time,
      );
    }
    return undefined;
  }

  private gather(kind: Gathered['kind'], group: Group, time: Time, raw: string, position: number): Gathered {
    if (group.scrape !== this.scrape) {
      group.scrape = this.scrape;
      group.points.clear();
    }
    let point = group.points.get(time.ms);
    if (!point) {
      point = { kind, group, time, position, bounds: [], values: [], sum: null, count: null, lines: [] };
      group.points.set(time.ms, point);
      this.gathered.push(point);
    }
    point.lines.push(raw);
    return point;
  }

  private emitGathered(point: Gathered): void {
    const { kind, group, time, position, lines, sum } = point;
    const metric = group.family.text;
    const { attributes } = group;
    const made = kind === 'histogram' ? histogram(point) : summary(point);
    if (typeof made === 'string') {
      const detail = `${kind} ${metric}${attributes} from line ${position + 1} on: ${made}`;
      this.badLine('bad_record', detail, lines.join('\n'), position);
      return;
    }
    for (let i = 0; i < made.duplicates; i += 1) this.skip('duplicate_sample');
    const { bounds, counts, count } = made;
    const flags = numberFlags(time, sum ?? 0, ...counts);
    this.emit({ metric, kind, attributes, flags, position, value: null, bounds, counts, sum, count }, time);
  }

  private emit(point: Point, time: Time): void {
    // Member by member: spreading a point costs more than all the rest of a line.
    const row = {
      bodyHash: '',
      flags: point.flags,
      position: point.position,
      timeUnixNano: time.nano,
      startUnixNano: null,
      metric: point.metric,
      kind: point.kind,
      value: point.value,
      bounds: point.bounds,
      counts: point.counts,
      sum: point.sum,
      count: point.count,
      attributes: point.attributes,
      service: this.service,
      instance: this.instance,
    };
    row.bodyHash = metricHash(row);
    this.rows.push(row);
  }

  // ── a scrape without a time ──

  private keepUntimed(raw: string, position: number, samples: 0 | 1): void {
    const kept = this.untimed;
    if (samples && kept.samples === 0) kept.position = position;
    kept.samples += samples;
    kept.chars += raw.length + 1;
    if (kept.text.length + raw.length < maxUntimedChars) kept.text += `${raw}\n`;
  }

  private emitUntimed(): void {
    const { text, position, samples, chars } = this.untimed;
    const cut = chars > text.length ? `; ${chars - text.length} characters of it are not kept` : '';
    const missing = 'no unix_ms, no file name <unix_ms>.prom, no timestamp';
    const detail = `${samples} samples from line ${position + 1} on have no time: ${missing}${cut}`;
    this.badLine('bad_time', detail, text, position);
  }
}

const hash = 35;
const types = new Set(['counter', 'gauge', 'histogram', 'summary', 'untyped', 'unknown']);
const gathers = new Set(['histogram', 'summary']);

function numberFlags(time: Time, ...numbers: number[]): readonly Flag[] {
  return numbers.some(Number.isNaN) ? flagged(time, 'not_a_number') : time.flags;
}

function flagged(time: Time, flag: Flag): readonly Flag[] {
  return [...time.flags, flag].sort();
}

interface Made {
  readonly bounds: number[];
  readonly counts: number[];
  readonly count: number | null;
  readonly duplicates: number;
}

/** Cumulative buckets to counts a bucket; a sentence where they contradict themselves. */
function histogram(point: Gathered): Made | string {
  const { bounds, values, duplicates } = ascending(point);
  if (duplicates < 0) return 'one bound has two values';
  const total = values.at(-1);
  if (total === undefined || bounds.at(-1) !== Number.POSITIVE_INFINITY) return 'the +Inf bucket is missing';
  if (point.count !== null && point.count !== total) return `its count is ${point.count}, its +Inf bucket ${total}`;
  const counts: number[] = [];
  let before = 0;
  for (const cumulative of values) {
    if (!(cumulative >= before) || cumulative === Number.POSITIVE_INFINITY)
      return 'its cumulative counts decrease or are no numbers';
    counts.push(cumulative - before);
    before = cumulative;
  }
  bounds.pop();
  return { bounds, counts, count: total, duplicates };
}

function summary(point: Gathered): Made | string {
  const { bounds, values, duplicates } = ascending(point);
  if (duplicates < 0) return 'one quantile has two values';
  return { bounds, counts: values, count: point.count, duplicates };
}

/** Bounds with their values in ascending order, one each; duplicates -1 where one bound (`1`, `1.0`) has two values. */
function ascending({ bounds, values }: Gathered): { bounds: number[]; values: number[]; duplicates: number } {
  let sorted = true;
  for (let i = 1; i < bounds.length; i += 1) if (!(bounds[i]! > bounds[i - 1]!)) sorted = false;
  if (sorted) return { bounds, values, duplicates: 0 };
  const order = bounds
    .map((_, i) => i)
    .sort((a, b) => (bounds[a]! < bounds[b]! ? -1 : bounds[a]! > bounds[b]! ? 1 : a - b));
  const out = { bounds: [] as number[], values: [] as number[], duplicates: 0 };
  for (const i of order) {
    if (out.bounds.length === 0 || out.bounds.at(-1) !== bounds[i]) {
      out.bounds.push(bounds[i]!);
      out.values.push(values[i]!);
    } else if (Object.is(out.values.at(-1), values[i])) out.duplicates += 1;
    else return { ...out, duplicates: -1 };
  }
  return out;
}
