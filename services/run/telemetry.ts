import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Histogram, type Meter, metrics, type ObservableResult } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { version } from '../../shared/version.js';
import type { Counts, Figures } from './figures.js';

/** What telemetry asks a running service. */
export interface Observed {
  readonly figures: Figures;
  /** Commits that are not correlated yet. */
  dirtyCommits(): number;
  /** Messages that came a second time and were left out. */
  redelivered(): number;
}

export interface Telemetry {
  /** Answers a Prometheus scrape. */
  scrape(request: IncomingMessage, response: ServerResponse): void;
  commitTook(seconds: number): void;
  correlationTook(seconds: number): void;
  stop(): Promise<void>;
}

const SCOPE = 'causeline';

/** Prometheus has the unit in the name, OTLP beside it; the exporter does not add it. */
const SECONDS_NAMED = ['causeline.commit.duration', 'causeline.correlation.duration', 'causeline.freshness'].map(
  (instrumentName) => ({ instrumentName, name: `${instrumentName}.seconds` }),
);

/**
 * Causeline's own metrics for a scrape, always; its metrics and traces by OTLP where the standard OTEL_* variables ask for it. Else the SDK is not even loaded,
 * and the calls that make spans do nothing.
 */
export async function startTelemetry(observed: Observed): Promise<Telemetry> {
  const prometheus = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  const provider = new MeterProvider({ readers: [prometheus], views: SECONDS_NAMED });
  const sdk = isAskedFor() ? await startSdk() : undefined;
  const meters = [provider.getMeter(SCOPE, version()), ...(sdk ? [metrics.getMeter(SCOPE, version())] : [])];
  for (const meter of meters) observe(meter, observed);
  const commits = meters.map((meter) =>
    histogram(meter, 'causeline.commit.duration', 'One transaction into the store'),
  );
  const correlations = meters.map((meter) =>
    histogram(meter, 'causeline.correlation.duration', 'One correlation of what is new'),
  );
  return {
    scrape: (request, response) => prometheus.getMetricsRequestHandler(request, response),
    commitTook: (seconds) => {
      for (const each of commits) each.record(seconds);
    },
    correlationTook: (seconds) => {
      for (const each of correlations) each.record(seconds);
    },
    stop: async () => {
      await provider.shutdown();
      await sdk?.shutdown();
    },
  };
}

/** Off unless an endpoint or an exporter is named. */
function isAskedFor(): boolean {
  const { env } = process;
  if (env['OTEL_SDK_DISABLED'] === 'true') return false;
  return Object.keys(env).some((name) => /^OTEL_(EXPORTER_OTLP_.*ENDPOINT|(TRACES|METRICS)_EXPORTER)$/.test(name));
}

async function startSdk() {
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  process.env['OTEL_SERVICE_NAME'] ??= 'causeline';
  process.env['OTEL_LOGS_EXPORTER'] ??= 'none';
  const sdk = new NodeSDK();
  sdk.start();
  return sdk;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

function histogram(meter: Meter, name: string, description: string): Histogram {
  return meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries: SECONDS } });
}

function observe(meter: Meter, observed: Observed): void {
  const { figures } = observed;
  const counter = (name: string, description: string, tell: (result: ObservableResult) => void) =>
    meter.createObservableCounter(name, { description }).addCallback(tell);
  const gauge = (name: string, description: string, unit: string, tell: (result: ObservableResult) => void) =>
    meter.createObservableGauge(name, { description, unit }).addCallback(tell);
  counter('causeline.messages', 'Kafka messages stored', counts(figures.messages, 'source'));
  counter('causeline.rows', 'Rows of evidence stored', counts(figures.rows, 'source'));
  counter('causeline.quarantined', 'Inputs in quarantine', counts(figures.quarantined, 'reason'));
  counter('causeline.skipped', 'Records that are neither evidence nor faults', counts(figures.skipped, 'reason'));
  counter('causeline.gap.offsets', 'Offsets without a message for us', counts(figures.gaps, 'cause'));
  counter('causeline.revisions', 'Chain revisions recorded', counts(figures.revisions, 'change'));
  counter('causeline.duplicates', 'Records that were stored before', (r) => r.observe(figures.duplicates));
  counter('causeline.conflicts', 'Records with a known identity and another body', (r) => r.observe(figures.conflicts));
  counter('causeline.redelivered', 'Messages that came a second time', (r) => r.observe(observed.redelivered()));
  counter('causeline.commits', 'Transactions of evidence', (r) => r.observe(figures.commits));
  counter('causeline.correlations', 'Correlations', (r) => r.observe(figures.correlations));
  gauge('causeline.dirty.commits', 'Commits that are not correlated yet', '', (r) =>
    r.observe(observed.dirtyCommits()),
  );
  gauge('causeline.lag.offsets', 'Offsets that the broker has and the store does not', '', (result) => {
    for (const { partition, behind } of figures.lags)
      result.observe(Number(behind), { topic: partition.topic, partition: partition.partition });
  });
  gauge('causeline.freshness', 'Age of the newest message that is stored', 's', (result) => {
    if (figures.newestMillis) result.observe(Math.max(0, (Date.now() - figures.newestMillis) / 1000));
  });
}

const counts = (of: Counts, name: string) => (result: ObservableResult) => {
  for (const [value, count] of of.entries()) result.observe(count, { [name]: value });
};
