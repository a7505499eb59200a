import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { random } from '../../replay/generate/random.js';

/** A proxy in front of a server, which fails as busy servers do. */
export interface Flaky {
  readonly endpoint: string;
  /** Paths of the objects that were asked for, failures included. */
  readonly gets: string[];
  failures: number;
  close(): void;
}

/** `fails` gets a path and a random number; what it returns is done in place of an answer. */
export async function flaky(
  target: string,
  fails: (path: string, chance: number) => 500 | 503 | 'cut' | undefined,
  seed = 7,
): Promise<Flaky> {
  const chance = random(seed);
  const gets: string[] = [];
  const server: Server = createServer((incoming, answer) => {
    const path = incoming.url!.split('?')[0]!;
    if (incoming.method === 'GET' && path.includes('AWSLogs/')) gets.push(path);
    const failure = fails(path, chance.next());
    if (failure !== undefined) flaky.failures++;
    if (typeof failure === 'number')
      answer.writeHead(failure, { 'content-type': 'application/xml' }).end('<Error><Code>SlowDown</Code></Error>');
    else forward(target, incoming, answer, failure === 'cut');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  const flaky: Flaky = { endpoint: `http://127.0.0.1:${port}`, gets, failures: 0, close };
  return flaky;
}

/** Passes everything on, or half of the body. */
function forward(target: string, incoming: IncomingMessage, answer: ServerResponse, cut: boolean): void {
  const { method, headers, url } = incoming;
  const passed = request(`${target}${url}`, { method: method!, headers }, (from) => {
    const pieces: Buffer[] = [];
    from.on('data', (piece: Buffer) => pieces.push(piece));
    from.on('end', () => {
      const body = Buffer.concat(pieces);
      answer.writeHead(from.statusCode!, { ...from.headers, 'content-length': body.length });
      if (cut) answer.write(body.subarray(0, body.length / 2), () => answer.destroy());
      else answer.end(body);
    });
  });
  passed.on('error', () => answer.destroy());
  incoming.pipe(passed);
}
