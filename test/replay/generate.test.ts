import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import test from 'ava';
import { parse } from 'yaml';
import { cases } from '../../replay/cases/index.js';
import { night } from '../../replay/generate/config-night.js';
import type { Files } from '../../replay/generate/files.js';
import { prometheusFile } from '../../services/collect/formats/prometheus.js';
import { recordings, root, testWith } from '../helpers/data.js';

interface Generator {
  readonly files: () => Files;
  readonly recorded?: (folder: string) => Files;
}

const folderOf = (name: string) => join(root, 'replay/cases', name);
const generatorOf = (name: string): Promise<Generator> => import(`../../replay/cases/${name}/generate.js`);

for (const name of cases) {
  test(`${name}: running the generator again gives the committed files`, async (t) => {
    const { files } = await generatorOf(name);
    const made = files();
    for (const [path, content] of files()) t.true(content.equals(made.get(path)!), `${path} is not the same twice`);
    // The gzip bytes depend on the machine's zlib; what they hold must not.
    for (const [path, content] of made) {
      t.true(gunzipSync(content).equals(gunzipSync(committed(name, path))), `${path} is not what is committed`);
      t.deepEqual([...content.subarray(4, 8), content[9]], [0, 0, 0, 0, 255], `${path} names no time and no platform`);
    }
  });

  test(`${name}: every file of the case is generated, cut or written by hand`, async (t) => {
    const { files, recorded } = await generatorOf(name);
    const byHand = ['case.yaml', 'generate.ts', 'truth.json'];
    const known = new Set([...files().keys(), ...byHand]);
    const left = listed(name).filter((path) => !known.has(path));
    t.deepEqual(
      left.filter((path) => !recorded || !/^metrics\/.*\/\d{13}\.prom\.gz$/.test(path)),
      [],
    );
  });

  test(`${name}: case and truth say what they must`, (t) => {
    const said = parse(readFileSync(join(folderOf(name), 'case.yaml'), 'utf8'));
    t.is(said.name, name);
    t.true(Date.parse(said.window.from) < Date.parse(said.window.to));
    t.truthy(new Intl.DateTimeFormat('en', { timeZone: said.timezone }));
    t.true(said.sources.length > 0 && said.description.length > 80);
    const truth = JSON.parse(readFileSync(join(folderOf(name), 'truth.json'), 'utf8'));
    for (const { links, root: first, impact } of truth.chains) {
      const reached = new Set([key(first)]);
      for (const { cause, effect } of links) {
        t.true(reached.has(key(cause)), `${key(cause)} is reached before it causes`);
        reached.add(key(effect));
      }
      t.true(reached.has(key(impact)));
    }
    for (const { why } of [...truth.decoys, ...truth.absent]) t.true(why.length > 20);
  });

  testWith(recordings, 'CAUSELINE_RECORDINGS', `${name}: its cut scrapes are the recording's`, async (t, folder) => {
    const { recorded } = await generatorOf(name);
    const cut = recorded?.(folder) ?? new Map<string, Buffer>();
    for (const [path, content] of cut) t.true(content.equals(committed(name, path)), path);
    t.deepEqual(
      listed(name).filter((path) => path.endsWith('.prom.gz')),
      [...cut.keys()].sort(),
    );
  });
}

test('the cases are small enough to be committed', (t) => {
  const bytes = cases.flatMap((name) => listed(name).map((path) => statSync(join(folderOf(name), path)).size));
  t.true(bytes.reduce((sum, size) => sum + size, 0) <= 2.5 * 1024 * 1024, 'all cases together have at most 2.5 MB');
});

test('storage-avalanche: the traces tell the puts that the scrapes counted', async (t) => {
  const puts = (await spansOf('storage-avalanche')).filter((span) => span.name === 'etcdserverpb.KV/Put');
  const weight = (span: OtlpSpan) => (span.traceState === 'ot=th:8' ? 2 : 1);
  const told = (failed: boolean, fromMs: number, toMs: number) =>
    puts
      .filter((span) => (span.status.code === 2) === failed && inside(span, fromMs, toMs))
      .reduce((sum, span) => sum + weight(span), 0);
  const counted = (metric: string, code: string, fromMs: number, toMs: number) =>
    leaderValue(toMs, metric, code) - leaderValue(fromMs, metric, code);
  const quiet = [night.firstScrapeMs + 5000, night.lastQuietScrapeMs] as const;
  const surge = [night.firstScrapeMs + 60_000, night.firstScrapeMs + 75_000] as const;
  const refused = [night.firstScrapeMs + 75_000, night.firstScrapeMs + 115_000] as const;
  const after = [night.firstScrapeMs + 120_000, night.lastScrapeMs] as const;
  near(t, told(false, ...quiet), counted('etcd_mvcc_put_total', '', ...quiet), 0.02);
  near(t, told(false, ...surge), counted('etcd_mvcc_put_total', '', ...surge), 0.05);
  t.is(told(true, ...quiet), 0);
  for (const range of [refused, after]) {
    t.is(counted('etcd_mvcc_put_total', '', ...range), 0);
    t.is(told(false, ...range), 0);
    near(t, told(true, ...range), counted('grpc_server_handled_total', 'ResourceExhausted', ...range), 0.05);
  }
});

test('storage-avalanche: every pass of a loop is linked to a download that failed, one loop a failure', async (t) => {
  const spans = await spansOf('storage-avalanche');
  const failed = spans.filter((span) => span.name === 'go mod download' && span.status.code === 2);
  const passes = spans.filter((span) => span.name === 'sync config');
  const causes = failed.map((span) => `${span.traceId} ${span.spanId}`);
  const linked = passes.map(({ links }) => `${links?.[0]?.traceId} ${links?.[0]?.spanId}`);
  t.is(failed.length, 20);
  t.deepEqual([...new Set(linked)].sort(), causes.sort());
  t.true(passes.every((pass) => pass.parentSpanId === undefined));
  t.is(new Set(passes.map((pass) => pass.traceId)).size, passes.length);
  t.true(failed.every((span) => Number(span.endTimeUnixNano) / 1e6 < night.surgeMs));
});

test('storage-avalanche: nine of ten requests fail while the store refuses writes, none before', async (t) => {
  const gateway = (await spansOf('storage-avalanche')).filter(
    (span) => /\/v1\/tenants/.test(span.name) && !span.parentSpanId,
  );
  const share = (fromMs: number, toMs: number) => {
    const own = gateway.filter((span) => inside(span, fromMs, toMs));
    return own.filter((span) => span.status.code === 2).length / own.length;
  };
  t.is(share(night.firstScrapeMs, night.firstRefusalMs), 0);
  near(t, share(night.firstRefusalMs + 100, night.lastScrapeMs), 0.92, 0.01);
});

// ── helpers ──

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number };
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
}

function committed(name: string, path: string): Buffer {
  const file = join(folderOf(name), path);
  return existsSync(file) ? readFileSync(file) : Buffer.alloc(0);
}

function listed(name: string): string[] {
  return readdirSync(folderOf(name), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folderOf(name).length + 1))
    .sort();
}

async function spansOf(name: string): Promise<OtlpSpan[]> {
  const { files } = await generatorOf(name);
  const traces = [...files()].filter(([path]) => path.startsWith('traces/'));
  return traces.flatMap(([, content]) =>
    gunzipSync(content)
      .toString()
      .trim()
      .split('\n')
      .flatMap((line) => JSON.parse(line).resourceSpans)
      .flatMap(({ scopeSpans }) => scopeSpans[0].spans as OtlpSpan[]),
  );
}

function inside(span: OtlpSpan, fromMs: number, toMs: number): boolean {
  const ms = Number(span.endTimeUnixNano) / 1e6;
  return ms > fromMs && ms <= toMs;
}

/** A value of the leader's committed scrape at a time: the metric's, or its Put calls with one gRPC code. */
function leaderValue(unixMs: number, metric: string, code: string): number {
  const path = `metrics/config-store/config-store-0/${unixMs}.prom.gz`;
  const decoder = prometheusFile({ origin: path, gunzip: (bytes) => bytes, scrapeUnixMs: unixMs });
  const rows = [...decoder.push(gunzipSync(committed('storage-avalanche', path))).rows, ...decoder.end().rows];
  const wanted = code ? `"grpc_code":"${code}","grpc_method":"Put"` : '{}';
  return rows.find((row) => row.metric === metric && row.attributes.includes(wanted))?.value ?? Number.NaN;
}

function near(t: { true: (is: boolean, why: string) => unknown }, told: number, counted: number, within: number): void {
  t.true(Math.abs(told - counted) <= within * counted, `${told} told, ${counted} counted`);
}

function key({ kind, subject }: { kind: string; subject: string }): string {
  return `${kind} ${subject}`;
}
