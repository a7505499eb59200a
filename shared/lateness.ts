import { type Duration, micros } from './duration.js';

/**
 * How long after an event its evidence may still come, by source. A watermark is the greatest event time seen less this. Too short is not wrong:
 * what comes later yet makes a new revision, and says so.
 */
export const LATENESS: Readonly<Record<string, Duration>> = {
  // AWS: "typically delivers logs within an average of about 5 minutes of an API call", not guaranteed; of 55 files of a public data set the
  // latest came 594 s after its event.
  cloudtrail: '15m',
  // A span is exported when it ends: batch span processor 5 s (OTEL_BSP_SCHEDULE_DELAY), its export timeout 30 s, tail sampling's decision_wait 30 s.
  traces: '2m',
  // Two scrapes at Prometheus' default scrape_interval of 1 min, which is also OpenTelemetry's export interval (OTEL_METRIC_EXPORT_INTERVAL).
  metrics: '2m',
};

/** A scope whose newest evidence is so much older than that of others has fallen silent (a pod that is gone, a trail that was stopped). */
const SILENT_AFTER_MICROS = micros('1h');

/** The newest plausible event time of one scope of a source: an account and region, a service, an instance. */
export interface Newest {
  readonly source: string;
  readonly scope: string;
  readonly atMicros: number;
}

/** The scopes from which evidence of before a moment may still come: their watermark has not passed it. A silent one is not waited for. */
export function awaited(endMicros: number, newest: readonly Newest[]): Newest[] {
  const present = newestTwiceSeen(newest) - SILENT_AFTER_MICROS;
  return newest.filter(
    ({ source, atMicros }) => atMicros >= present && atMicros - micros(LATENESS[source] ?? '0s') < endMicros,
  );
}

/** The newest time that a second scope confirms: one clock that is hours ahead must not make all others look silent. */
function newestTwiceSeen(newest: readonly Newest[]): number {
  const times = newest.map(({ atMicros }) => atMicros).sort((a, b) => b - a);
  const confirmed = times.find(
    (at, index) => at - (times[index + 1] ?? Number.NEGATIVE_INFINITY) <= SILENT_AFTER_MICROS,
  );
  return confirmed ?? Number.NEGATIVE_INFINITY;
}
