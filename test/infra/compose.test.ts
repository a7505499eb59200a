import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { ETCD_VERSION } from '../../infra/launch/etcd-binary.js';
import { brokerProperties } from '../../infra/launch/kafka-properties.js';
import { topicSources } from '../../services/collect/sources/index.js';
import { loadConfig } from '../../shared/config.js';
import { root } from '../helpers/data.js';

interface Service {
  readonly image?: string;
  readonly build?: { readonly dockerfile: string };
  readonly restart: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, string>>;
}

const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const { services, volumes } = parse(read('docker-compose.yml'), { schema: 'failsafe' }) as Compose; // every value a text
const collector = parse(read('infra/otel-collector.yaml'));
const usual = loadConfig(topicSources, {});
const topicOf = (source: string) => usual.sources.find(({ name }) => name === source)!.topic;

test('every image is pinned to a version, and every file that is named is there', (t) => {
  const images = Object.values(services).flatMap(({ image }) => image ?? []);
  const base = [...read('infra/Dockerfile').matchAll(/^FROM (\S+)/gm)].map(([, image]) => image!);
  for (const image of [...images, ...base]) t.regex(image, /:v?\d+\.\d+\.\d+/);
  for (const { build, volumes = [] } of Object.values(services)) {
    const mounted = volumes.map((volume) => volume.split(':')[0]!).filter((path) => path.startsWith('.'));
    for (const path of [...mounted, ...(build ? [build.dockerfile] : [])]) t.true(existsSync(join(root, path)), path);
  }
});

test('every server is restarted, tells its health, and keeps its data in a volume', (t) => {
  const servers = Object.entries(services).filter(([, { restart }]) => restart !== 'no');
  t.deepEqual(
    Object.keys(services).filter((name) => !servers.some(([server]) => server === name)),
    ['topics'],
  );
  for (const [name, { restart, healthcheck }] of servers) {
    t.is(restart, 'unless-stopped');
    if (name !== 'collector') t.is(healthcheck!.test[0], 'CMD', name);
  }
  for (const name of Object.keys(volumes))
    t.true(services[name]!.volumes!.some((volume) => volume.startsWith(`${name}:`)));
  t.is(collector.extensions.health_check.endpoint, '0.0.0.0:13133');
});

test('nobody is waited for who is not there, or could not tell', (t) => {
  for (const { depends_on: needed = {} } of Object.values(services))
    for (const [name, { condition }] of Object.entries(needed)) {
      if (condition === 'service_healthy') t.truthy(services[name]!.healthcheck);
      else t.is(services[name]!.restart, 'no');
    }
});

test('ports are open to this machine alone', (t) => {
  for (const { ports = [] } of Object.values(services))
    for (const port of ports) t.regex(port, /^127\.0\.0\.1:(\d+):\1$/);
});

test('the topics are those of the default configuration', (t) => {
  const [script] = services['topics']!.command!;
  const made = /for topic in ([^;]+);/.exec(script!)![1]!.split(' ');
  t.deepEqual(made, [...usual.sources.map(({ topic }) => topic), usual.chainsTopic]);
  t.like(collector.exporters.kafka, {
    traces: { topic: topicOf('traces'), encoding: 'otlp_proto' },
    metrics: { topic: topicOf('metrics'), encoding: 'otlp_proto' },
  });
});

test('every client goes to an address that the broker advertises', (t) => {
  const advertised = services['kafka']!.environment!['KAFKA_ADVERTISED_LISTENERS']!;
  const addresses = advertised.split(',').map((listener) => listener.split('://')[1]);
  const clients = [
    ...collector.exporters.kafka.brokers,
    services['causeline']!.environment!['CAUSELINE_KAFKA_BROKERS']!,
    ...usual.kafka.brokers,
  ];
  for (const address of clients) t.true(addresses.includes(address), address);
});

test('the broker is set up as the launcher sets it up, but for its addresses and folders', (t) => {
  const launched = brokerProperties('log', { client: 9092, controller: 9093 }, undefined);
  const propertyOf = (variable: string) =>
    variable
      .replace(/^KAFKA_/, '')
      .replaceAll('_', '.')
      .toLowerCase();
  const composed = Object.entries(services['kafka']!.environment!).map(
    ([variable, value]) => [propertyOf(variable), value] as const,
  );
  const common = composed.filter(([name]) => launched[name] !== undefined && !/listener|voters|dirs/.test(name));
  t.true(common.length >= 6);
  for (const [name, value] of common) t.is(value, String(launched[name]), name);
});

test('etcd is of the series that the launcher builds', (t) => {
  const series = (version: string) => version.split('.').slice(0, 2).join('.');
  t.is(series(services['etcd']!.image!.split(':v')[1]!), series(ETCD_VERSION));
});

test('causeline takes its environment, and answers where its health is asked for', (t) => {
  const { environment, healthcheck, ports, volumes } = services['causeline']!;
  const { http, db } = loadConfig(topicSources, { env: environment! });
  const port = http.split(':').at(-1)!;
  t.true(healthcheck!.test.at(-1)!.includes(`http://127.0.0.1:${port}/healthz`));
  t.deepEqual(ports, [`127.0.0.1:${port}:${port}`]);
  t.is(usual.http.split(':').at(-1), port);
  t.true(db.startsWith(`${volumes![0]!.split(':')[1]}/`));
});

test('the collector scrapes etcd and has both kinds written to Kafka', (t) => {
  const [
    {
      static_configs: [{ targets }],
    },
  ] = collector.receivers.prometheus.config.scrape_configs;
  t.deepEqual(targets, ['etcd:2379']);
  t.deepEqual(collector.service.pipelines.traces.exporters, ['kafka']);
  t.deepEqual(collector.service.pipelines.metrics.receivers, ['otlp', 'prometheus']);
  t.deepEqual(collector.service.pipelines.metrics.exporters, ['kafka']);
});
