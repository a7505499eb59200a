import { chmodSync, existsSync, rmSync } from 'node:fs';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { CauselineError, type ErrorCode } from '../../shared/errors.js';
import { connectTo, storeHeld } from '../../shared/store/open.js';
import { answer, type Outcome, type Question } from './answer.js';
import type { Page } from './draw.js';

/**
 * The socket beside a store on which its writer answers: a line of JSON with the question comes in, lines of JSON go out, parts of the answer and then its end or its error.
 */
interface Asked {
  readonly question: Question;
  readonly page: Page;
}

type Line =
  | { readonly part: string }
  | { readonly end: Outcome }
  | { readonly error: { readonly code: ErrorCode; readonly component: string; readonly message: string } };

export const socketPath = (db: string): string => `${resolve(db)}.sock`;

/** The longest path that a socket of this system can have (sun_path, less the final zero). */
const LONGEST_PATH = process.platform === 'linux' ? 107 : 103;

/** A question is no longer than this, as text. */
const MOST_CHARACTERS = 256 * 1024;

/** An answer takes so long at most, sending included. */
const TIME_LIMIT_MS = 30_000;

/** Questions that are answered side by side; further ones wait. Each keeps one of the four threads that Node has for such work: a commit and a correlation need the others. */
const AT_ONCE = 2;

/** Answers while the writer runs. */
export class AnswerServer {
  readonly #server: Server;
  readonly #instance: DuckDBInstance;
  readonly #exportPath: string;
  readonly #busy = new Map<DuckDBConnection, Socket>();
  readonly #sockets = new Set<Socket>();
  readonly #queue: (() => void)[] = [];
  #free = AT_ONCE;

  private constructor(instance: DuckDBInstance, exportPath: string) {
    this.#instance = instance;
    this.#exportPath = exportPath;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** Listens beside the file, for its owner alone. A socket that a killed process left is taken over: who holds the file is its writer. */
  static async listen(db: string, instance: DuckDBInstance, exportPath: string): Promise<AnswerServer> {
    const path = socketPath(db);
    if (Buffer.byteLength(path) > LONGEST_PATH)
      throw new CauselineError(
        'bad_config',
        'run',
        `The socket ${path} would have a path of more than ${LONGEST_PATH} bytes: keep the store in a folder with a shorter one.`,
        { field: 'db' },
      );
    rmSync(path, { force: true });
    const server = new AnswerServer(instance, exportPath);
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((done, fail) => {
        server.#server.once('error', fail);
        server.#server.listen(path, done);
      });
    } finally {
      process.umask(mask);
    }
    chmodSync(path, 0o600);
    return server;
  }

  /** Ends all questions under way: the writer needs what they use. */
  interrupt(): void {
    for (const connection of this.#busy.keys()) connection.interrupt();
  }

  async close(): Promise<void> {
    this.interrupt();
    const closed = new Promise<void>((done) => this.#server.close(() => done()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy()); // who asked is gone
    socket.on('close', () => this.#sockets.delete(socket));
    firstLine(socket)
      .then((text) => this.#answer(JSON.parse(text) as Asked, socket))
      .then(
        (end) => send(socket, { end: end ?? 'done' }),
        (cause: unknown) => send(socket, { error: errorOf(cause) }),
      )
      .finally(() => socket.end());
  }

  async #answer({ question, page }: Asked, socket: Socket): Promise<Outcome | undefined> {
    await this.#turn();
    if (socket.destroyed) {
      this.#next();
      return undefined;
    }
    const connection = await connectTo({ instance: this.#instance });
    this.#busy.set(connection, socket);
    const stop = () => connection.interrupt();
    const late = setTimeout(() => {
      stop();
      socket.destroySoon();
    }, TIME_LIMIT_MS);
    socket.once('close', stop);
    try {
      await connection.run('BEGIN TRANSACTION READ ONLY');
      return await answer(connection, question, page, this.#exportPath, partsTo(socket));
    } finally {
      clearTimeout(late);
      this.#busy.delete(connection);
      connection.closeSync();
      this.#next();
    }
  }

  async #turn(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((go) => this.#queue.push(go));
  }

  /** Who waits first goes on in the place that is free now. */
  #next(): void {
    const go = this.#queue.shift();
    if (go) go();
    else this.#free += 1;
  }
}

/** Writes what it gets as parts; waits while the reader is behind. */
function partsTo(socket: Socket): Writable {
  return new Writable({
    write(chunk: Buffer, _, done) {
      if (socket.destroyed) return done(new Error('who asked is gone'));
      const line = `${JSON.stringify({ part: chunk.toString('base64') })}\n`;
      if (socket.write(line)) return done();
      const go = () => {
        socket.off('drain', go).off('close', go);
        done(socket.destroyed ? new Error('who asked is gone') : null);
      };
      socket.once('drain', go).once('close', go);
    },
  });
}

function send(socket: Socket, line: Line): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(line)}\n`);
}

function errorOf(cause: unknown) {
  if (cause instanceof CauselineError) return { code: cause.code, component: cause.component, message: cause.message };
  return {
    code: 'bad_query' as const,
    component: 'query',
    message: `The question was not answered: ${cause instanceof Error ? cause.message : String(cause)}`,
  };
}

async function firstLine(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
    if (text.length > MOST_CHARACTERS) throw new CauselineError('bad_query', 'query', 'The question is too long.');
  }
  throw new CauselineError('bad_query', 'query', 'The question ended before its line did.');
}

/** Asks the process that holds the file, and writes what it answers. */
export async function askWriter(db: string, question: Question, page: Page, out: Writable): Promise<Outcome> {
  const socket = await reach(db);
  socket.write(`${JSON.stringify({ question, page } satisfies Asked)}\n`);
  for await (const text of createInterface({ input: socket })) {
    const line = JSON.parse(text) as Line;
    if ('part' in line) out.write(Buffer.from(line.part, 'base64'));
    else if ('error' in line) throw new CauselineError(line.error.code, line.error.component, line.error.message);
    else {
      socket.destroy();
      return line.end;
    }
  }
  throw new CauselineError(
    'bad_query',
    'query',
    `The running writer broke its answer off: it was stopped, or the answer took more than ${TIME_LIMIT_MS / 1000} s.`,
  );
}

async function reach(db: string): Promise<Socket> {
  const path = socketPath(db);
  if (!existsSync(path)) throw storeHeld(db);
  const socket = dial(path);
  await new Promise<void>((done, fail) => {
    socket.once('connect', done);
    socket.once('error', (cause) =>
      fail(
        new CauselineError(
          'store_held',
          'store',
          `Another process holds ${db} and does not answer at ${path}: ${cause.message}.`,
          { cause },
        ),
      ),
    );
  });
  return socket;
}
