import type { Config } from '../../shared/config.js';
import { kafkaClient } from '../../shared/kafka/client.js';
import { registerCodecs } from '../../shared/kafka/codecs.js';
import { log } from '../../shared/log.js';
import { HeadFile } from '../../shared/store/head.js';
import { lockDown } from '../../shared/store/open.js';
import { linesPath, type Store } from '../../shared/store/store.js';
import type { Reading } from '../collect/kafka/consumer.js';
import { readingsOf } from '../collect/kafka/readings.js';
import { Sink, type Stored } from '../collect/kafka/sink.js';
import { AnswerServer } from '../query/socket.js';
import { Correlating } from './correlating.js';
import { Figures } from './figures.js';
import { serveHealth } from './http.js';
import { Publisher } from './publish.js';
import { Reader } from './reader.js';
import { lastCommit, openSound } from './sound.js';
import { startTelemetry } from './telemetry.js';
import { witnesses } from './witnesses.js';

export const SERVICES = ['collect', 'correlate', 'query'] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface RunOptions {
  /** Which parts run here; on one DuckDB file they share this process, and what is left out stands still. */
  readonly services: ReadonlySet<ServiceName>;
  /** End when the offsets that were last at start are stored and correlated. */
  readonly untilCaughtUp: boolean;
}

/** A source that has a backlog and stores nothing for so many session timeouts is stuck. */
const STUCK_SESSIONS = 3;

const WATCH_EVERY_MS = 1_000;

/** Once it is to end, the service takes no longer than this. */
const END_WITHIN_MS = 9_500;

/**
 * Reads Kafka into the store, correlates and answers, until it is told to end (SIGTERM, SIGINT) or something fails for good. Returns the exit code: 0 where it was told to
 * end or caught up, 1 where it should be started anew.
 */
export async function run(config: Config, { services, untilCaughtUp }: RunOptions): Promise<number> {
  registerCodecs();
  const readings = services.has('collect') ? readingsOf(config) : [];
  const signalled = onSignal();
  const store = await openSound(config.db, () => witnesses(readings));
  for (const notice of store.notices) log('info', notice);
  const service = await Service.start(config, readings, store, services);
  const ends = [signalled, service.failed(), ...(untilCaughtUp ? [service.caughtUp()] : [])];
  const end = await Promise.race(ends);
  if (end.code === 0) log('info', end.why);
  else log('error', end.why);
  exitLate(end.code);
  await service.stop().catch((cause: Error) => log('warn', 'not all of it ended in order', { why: cause.message }));
  return end.code;
}

/** Whatever still hangs then, the process ends with the code that it was to end with. */
function exitLate(code: number): void {
  setTimeout(() => process.exit(code), END_WITHIN_MS);
}

interface End {
  readonly code: number;
  readonly why: string;
}

function onSignal(): Promise<End> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.once(signal, () => {
        exitLate(0); // also where the service has not even started yet
        resolve({ code: 0, why: `ends: ${signal}` });
      });
  });
}

/** The parts of a running service, and the order in which they start and end. */
class Service {
  readonly #store: Store;
  readonly #head: HeadFile;
  readonly #figures = new Figures();
  readonly #sink: Sink;
  readonly #readers: readonly Reader[];
  #reading: Promise<void> = Promise.resolve();
  #correlating: Correlating | undefined;
  #publisher: Publisher | undefined;
  #answers: AnswerServer | undefined;
  #telemetry!: Awaited<ReturnType<typeof startTelemetry>>;
  #http!: Awaited<ReturnType<typeof serveHealth>>;
  #failure: string | undefined;
  #fail: (why: string) => void = () => {};
  readonly #failed: Promise<string>;

  private constructor(store: Store, head: HeadFile, readings: readonly Reading[]) {
    this.#store = store;
    this.#head = head;
    this.#failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#sink = new Sink(store, {
      afterCommit: (commitSeq) => head.write({ storeId: store.storeId, commitSeq }),
      onStored: (stored) => this.#stored(stored),
      onPressure: () => this.#answers?.interrupt(),
      onFailed: (cause) => this.#failBecause(cause.message),
    });
    this.#readers = readings.map((reading) => new Reader(reading, store, this.#sink));
  }

  static async start(
    config: Config,
    readings: readonly Reading[],
    store: Store,
    services: ReadonlySet<ServiceName>,
  ): Promise<Service> {
    const head = await HeadFile.open(config.db);
    await head.write({ storeId: store.storeId, commitSeq: await lastCommit(store) });
    const service = new Service(store, head, readings);
    const exportPath = `${config.db}.export`;
    await lockDown(store.connection, [linesPath(config.db), exportPath]);
    service.#telemetry = await startTelemetry({
      figures: service.#figures,
      dirtyCommits: () => Number(service.#correlating?.behind ?? 0),
      redelivered: () => service.#readers.reduce((sum, { redelivered }) => sum + redelivered, 0),
    });
    if (services.has('query')) service.#answers = await AnswerServer.listen(config.db, store.instance, exportPath);
    if (services.has('correlate')) await service.#startCorrelating(config);
    service.#http = await serveHealth(config.http, {
      ill: () => service.#ill(),
      unready: () => service.#unready(),
      scrape: (request, response) => service.#scrape(request, response),
    });
    log('info', 'runs', { db: config.db, http: config.http.replace(/\d+$/, String(service.#http.port)) });
    service.#read();
    return service;
  }

  async #startCorrelating(config: Config): Promise<void> {
    const publisher = await Publisher.open(kafkaClient(config.kafka), config.chainsTopic, this.#store);
    publisher.note();
    this.#publisher = publisher;
    this.#correlating = await Correlating.start(this.#store, config.correlateIntervalMs, {
      onCorrelated: (correlated, seconds) => {
        this.#figures.correlated(correlated);
        this.#telemetry.correlationTook(seconds);
        publisher.note();
      },
      onPressure: () => this.#answers?.interrupt(),
    });
  }

  /** Settles when the service cannot go on. */
  async failed(): Promise<End> {
    const dead = this.#correlating?.dead.then((cause) => `correlation failed: ${cause.message}`);
    const ends = [this.#failed, this.#stuck(), ...(dead ? [dead] : [])];
    return { code: 1, why: `ends, to be started anew: ${await Promise.race(ends)}` };
  }

  /** Settles when all that the topics held at start is stored and correlated. */
  async caughtUp(): Promise<End> {
    const goals = await Promise.all(this.#readers.map(async (reader) => ({ reader, goals: await reader.goals() })));
    while (!goals.every(({ reader, goals: own }) => reader.reached(own))) await pause(100);
    await this.#sink.drained().catch(() => {});
    await this.#correlating?.caughtUp();
    await this.#publisher?.attempted();
    if (this.#failure) return this.failed();
    return { code: 0, why: 'caught up: what the topics held at start is stored and correlated' };
  }

  /** Drains, commits, leaves the groups, ends. */
  async stop(): Promise<void> {
    for (const reader of this.#readers) reader.stop();
    await this.#answers?.close();
    await this.#reading;
    await this.#http.close();
    await this.#correlating?.stop();
    await this.#publisher?.stop();
    await this.#telemetry.stop();
    await this.#head.close();
    this.#store.close();
  }

  #read(): void {
    const reading = this.#readers.map((reader) =>
      reader.run().catch((cause: Error) => this.#failBecause(`${reader.settings.name}: ${cause.message}`)),
    );
    this.#reading = Promise.all(reading).then(() => undefined);
  }

  #failBecause(why: string): void {
    this.#failure ??= why;
    this.#fail(why);
  }

  #stored(stored: Stored): void {
    this.#figures.stored(stored);
    this.#telemetry.commitTook(stored.seconds);
    if (stored.commitSeq === undefined) return;
    for (const stretch of stored.stretches)
      for (const reader of this.#readers) reader.stored(stretch, stored.commitSeq);
    if (stored.stretches.some(({ messages, gaps }) => messages.length + gaps.length > 0))
      this.#correlating?.note(stored.commitSeq);
  }

  async #stuck(): Promise<string> {
    for (;;) {
      const before = Date.now();
      await pause(WATCH_EVERY_MS);
      const stoodStill = Date.now() - before - WATCH_EVERY_MS;
      for (const reader of this.#readers) reader.forgive(stoodStill);
      const why = this.#stuckBecause().at(0);
      if (why) return why;
    }
  }

  /** What waits for room on the disk is not stuck. */
  #stuckBecause(): string[] {
    return this.#sink.full ? [] : this.#readers.flatMap(stuckBecause);
  }

  #ill(): string[] {
    return [...(this.#failure ? [this.#failure] : []), ...this.#stuckBecause()];
  }

  #unready(): string[] {
    const trouble = this.#sink.trouble ?? this.#correlating?.trouble;
    return [
      ...(trouble ? [`the store cannot be written: ${trouble}`] : []),
      ...this.#readers.flatMap(({ settings, trouble: why }) => (why ? [`${settings.name}: ${why}`] : [])),
    ];
  }

  #scrape(...asked: Parameters<Awaited<ReturnType<typeof startTelemetry>>['scrape']>): void {
    this.#figures.lags = this.#readers.flatMap(({ lags }) => lags);
    this.#telemetry.scrape(...asked);
  }
}

/** Nor is it stuck where the broker does not answer. */
function stuckBecause({ settings, trouble, lags, silentMillis, idleMillis }: Reader): string[] {
  if (trouble) return [];
  const { name, sessionTimeoutMs } = settings;
  const most = STUCK_SESSIONS * sessionTimeoutMs;
  const behind = lags.reduce((sum, lag) => sum + lag.behind, 0n);
  if (silentMillis > most) return [`${name}: no heartbeat for ${most / 1000} s`];
  if (behind > 0n && idleMillis > most)
    return [`${name}: nothing stored for ${most / 1000} s while ${behind} messages wait`];
  return [];
}

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis).unref());
