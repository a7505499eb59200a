import { metricsData, type Point } from '../../replay/generate/metrics.js';
import { type Json, metricsProto, tracesProto } from '../helpers/otlp-messages.js';
import type { Chance } from './chance.js';
import { cloudTrailFiles } from './cloudtrail-data.js';
import { spanFiles } from './span-data.js';

/** A topic's messages and how many records are in them. */
export interface TopicData {
  readonly topic: string;
  readonly source: 'cloudtrail' | 'traces' | 'metrics';
  readonly records: number;
  readonly messages: () => Generator<{ readonly key?: string; readonly value: Buffer }>;
}

/** CloudTrail, one record a message. */
export function cloudtrailTopic(topic: string, chance: Chance, records: number): TopicData {
  return { topic, source: 'cloudtrail', records, messages: () => recordMessages(chance, records) };
}

function* recordMessages(chance: Chance, records: number) {
  for (const { text } of cloudTrailFiles(chance, records))
    for (const record of (JSON.parse(text) as { Records: object[] }).Records)
      yield { value: Buffer.from(JSON.stringify(record)) };
}

/** Spans in protobuf, as a collector with a batch processor sends them: some hundred a message, without a key. */
export function batchedSpansTopic(topic: string, chance: Chance, spans: number): TopicData {
  return { topic, source: 'traces', records: spans, messages: () => batchedSpans(chance, spans) };
}

function* batchedSpans(chance: Chance, spans: number) {
  for (const message of tracesData(chance, spans)) yield { value: Buffer.from(tracesProto(message)) };
}

/** The same as `partition_traces_by_id` sends them: a few spans of one trace, with its id for a key. */
export function singleSpansTopic(topic: string, chance: Chance, spans: number): TopicData {
  return { topic, source: 'traces', records: spans, messages: () => singleSpans(chance, spans) };
}

interface ResourceSpans extends Json {
  readonly resource: Json;
  readonly scopeSpans: { readonly scope: Json; readonly spans: { readonly traceId: string }[] }[];
}

function* singleSpans(chance: Chance, spans: number) {
  for (const message of tracesData(chance, spans))
    for (const { resource, scopeSpans } of message.resourceSpans)
      for (const { scope, spans: own } of scopeSpans)
        for (let at = 0; at < own.length; ) {
          const { traceId } = own[at]!;
          const few = own.slice(at, at + (own[at + 1]?.traceId === traceId ? 2 : 1));
          at += few.length;
          const single = { resourceSpans: [{ resource, scopeSpans: [{ scope, spans: few }] }] };
          yield { key: traceId, value: Buffer.from(tracesProto(single)) };
        }
}

function* tracesData(chance: Chance, spans: number): Generator<{ resourceSpans: ResourceSpans[] }> {
  for (const { text } of spanFiles(chance, spans))
    for (const line of text.split('\n').filter((each) => each !== ''))
      yield JSON.parse(line) as { resourceSpans: ResourceSpans[] };
}

const MEMBERS = ['config-store-0', 'config-store-1', 'config-store-2'];
const SCRAPE_EVERY_MS = 5_000;
const FROM_MS = Date.UTC(2026, 10, 22);
/** A member exports so many series of one kind or another; a real one has 600 and more. */
const SERIES = 300;

/** etcd's metrics in protobuf, one scrape of three members a message. */
export function metricsTopic(topic: string, chance: Chance, scrapes: number): TopicData {
  const records = scrapes * MEMBERS.length * SERIES;
  return { topic, source: 'metrics', records, messages: () => scrapeMessages(chance, scrapes) };
}

function* scrapeMessages(chance: Chance, scrapes: number) {
  for (let n = 0; n < scrapes; n++) {
    const data = metricsData(
      FROM_MS + n * SCRAPE_EVERY_MS,
      MEMBERS.map((instance) => ({
        service: 'config-store',
        instance,
        startedMs: FROM_MS,
        points: Array.from({ length: SERIES }, (_, series) => point(chance, n, series)),
      })),
    );
    yield { value: Buffer.from(metricsProto(data as Json)) };
  }
}

function point(chance: Chance, scrape: number, series: number): Point {
  const labels = { grpc_method: `Method${series}`, grpc_code: 'OK', grpc_service: 'etcdserverpb.KV' };
  return {
    name: 'grpc_server_handled_total',
    type: 'counter',
    value: scrape * 10 + Math.floor(chance.between(0, 9)),
    labels,
  };
}
