import type { Decoded, MetricRow } from '../../../shared/evidence.js';
import { firstByte, inflated, joined, jsonLines, nothing, Records, tally } from '../formats/otlp.js';
import { readMetrics, readMetricsJson, type ScopeMetrics } from '../formats/otlp-metrics.js';
import { looksLikePrometheus, prometheusFile } from '../formats/prometheus.js';
import type { Context, FileDecoder, Source } from '../source.js';

/** Metrics: OTLP in protobuf or JSON (the collector's exporters), or Prometheus exposition text. */
export const metrics: Source<MetricRow> = {
  name: 'metrics',
  evidence: 'metrics',
  topic: 'otlp_metrics',

  decode(value, context) {
    const out = nothing<MetricRow>();
    const records = new Records();
    const bytes = records.attempt(value, () => inflated(value, context));
    if (bytes !== undefined && isPrometheus(bytes)) return wholeText(bytes, context);
    if (bytes !== undefined) {
      gather(
        out,
        records.message(value, out.skipped, () => readMetrics(bytes, records, context)),
      );
    }
    out.faults.push(...records.faults);
    return out;
  },

  file: (context) => sniffedFile(context),

  examples: [
    {
      title: 'a gauge that is a counter all the same',
      given: example({ name: 'etcd_disk_wal_write_bytes_total', gauge: { dataPoints: [point({ asDouble: 4096 })] } }),
      rows: [
        {
          metric: 'etcd_disk_wal_write_bytes_total',
          kind: 'counter',
          value: 4096,
          service: 'etcd',
          instance: 'etcd-0:2379',
          attributes: '{}',
        },
      ],
    },
    {
      title: 'a target that died: a point without a value',
      given: example({ name: 'go_goroutines', gauge: { dataPoints: [point({ flags: 1 })] } }),
      rows: [{ value: null, flags: ['no_recorded_value'] }],
    },
    {
      title: 'a histogram with a bucket too few',
      given: example({
        name: 'etcd_disk_wal_fsync_duration_seconds',
        histogram: {
          aggregationTemporality: 2,
          dataPoints: [point({ count: '3', explicitBounds: [0.001, 0.002], bucketCounts: ['1', '2'] })],
        },
      }),
      fault: 'bad_record',
    },
    {
      title: 'increments in place of a running total',
      given: example({
        name: 'etcd_mvcc_put_total',
        sum: { aggregationTemporality: 1, isMonotonic: true, dataPoints: [point({ asInt: '5' })] },
      }),
      skipped: 'delta_temporality',
    },
    {
      title: 'a family that no detector reads',
      given: example({ name: 'demo.requests', gauge: { dataPoints: [point({ asInt: '5' })] } }),
      skipped: 'metric_family',
    },
    { title: 'traces on the topic of metrics', given: '{"resourceSpans":[]}', fault: 'unknown_format' },
  ],
};

function gather(out: Required<Decoded<MetricRow>>, groups: readonly ScopeMetrics[] = []): void {
  for (const group of groups) {
    for (const row of group.rows) out.rows.push(row);
    for (const [reason, count] of group.skipped) tally(out.skipped, reason, count);
    for (const missed of group.missedScrapes) out.missedScrapes.push(missed);
  }
}

/**
 * Exposition text has no control characters, a protobuf message of metrics always has some: tags, and lengths of short
 * fields.
 */
function isPrometheus(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, HEAD);
  if (head[firstByte(head)] === BRACE || head.some(isControl)) return false;
  const text = new TextDecoder().decode(head);
  return looksLikePrometheus(head.length < bytes.length ? text.slice(0, text.lastIndexOf('\n') + 1) || text : text);
}

function isControl(byte: number): boolean {
  return byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d;
}

function wholeText(bytes: Uint8Array, context: Context): Decoded<MetricRow> {
  const file = prometheusFile(context);
  const first = file.push(bytes);
  const last = file.end();
  const skipped = new Map(first.skipped);
  for (const [reason, count] of last.skipped) tally(skipped, reason, count);
  return {
    rows: first.rows.concat(last.rows),
    faults: first.faults.concat(last.faults),
    skipped,
    missedScrapes: [...(first.missedScrapes ?? []), ...(last.missedScrapes ?? [])],
  };
}

/** OTLP as JSON lines starts with `{`, exposition text with anything else. */
function sniffedFile(context: Context): FileDecoder<MetricRow> {
  let pending: Uint8Array = new Uint8Array();
  let file: FileDecoder<MetricRow> | undefined;
  return {
    push(piece) {
      if (file) return file.push(piece);
      pending = joined([pending, piece]);
      const start = firstByte(pending);
      const maybeMark = pending[0] === 0xef && pending.length < 3;
      if (start === pending.length || maybeMark) return nothing();
      file = pending[start] === BRACE ? otlpFile(context) : prometheusFile(context);
      return file.push(pending);
    },
    end: () => file?.end() ?? nothing(),
  };
}

function otlpFile(context: Context): FileDecoder<MetricRow> {
  return jsonLines((line, records, out) => {
    gather(
      out,
      records.message(line, out.skipped, () => readMetricsJson(line, records, context)),
    );
  });
}

const BRACE = 0x7b;
const HEAD = 65_536;

/** One metric of one etcd member as OTLP/JSON. */
function example(metric: object): string {
  const attributes = [
    { key: 'service.name', value: { stringValue: 'etcd' } },
    { key: 'service.instance.id', value: { stringValue: 'etcd-0:2379' } },
  ];
  const scopeMetrics = [{ scope: { name: 'example' }, metrics: [metric] }];
  return JSON.stringify({ resourceMetrics: [{ resource: { attributes }, scopeMetrics }] });
}

function point(values: object): object {
  return { timeUnixNano: '1710614934000000000', ...values };
}
