import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CauselineError } from '../../shared/errors.js';

/** What is wrong, a sentence each; nothing is well. */
export interface Health {
  /** Why the process should be started anew. */
  ill(): readonly string[];
  /** Why it does not do its work just now. */
  unready(): readonly string[];
  scrape(request: IncomingMessage, response: ServerResponse): void;
}

/** Serves /healthz, /readyz and /metrics. Throws `bad_config` where the address cannot be had. */
export async function serveHealth(address: string, health: Health): Promise<{ port: number; close(): Promise<void> }> {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
  const server = createServer((request, response) => route(request, response, health));
  await listen(server, host, Number(port), address);
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

async function listen(server: Server, host: string, port: number, address: string): Promise<void> {
  await new Promise<void>((done, fail) => {
    server.once('error', (cause) =>
      fail(
        new CauselineError('bad_config', 'http', `CAUSELINE_HTTP ${address} cannot be listened on: ${cause.message}.`, {
          field: 'http',
          cause,
        }),
      ),
    );
    server.listen(port, host, done);
  });
}

function route(request: IncomingMessage, response: ServerResponse, health: Health): void {
  const path = request.url?.split('?')[0];
  if (request.method !== 'GET' && request.method !== 'HEAD') say(response, 405, ['GET is answered here.']);
  else if (path === '/metrics') health.scrape(request, response);
  else if (path === '/healthz') verdict(response, health.ill());
  else if (path === '/readyz') verdict(response, [...health.ill(), ...health.unready()]);
  else say(response, 404, ['/healthz, /readyz and /metrics are answered here.']);
}

function verdict(response: ServerResponse, wrong: readonly string[]): void {
  if (wrong.length === 0) say(response, 200, ['ok']);
  else say(response, 503, wrong);
}

function say(response: ServerResponse, status: number, lines: readonly string[]): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' });
  response.end(`${lines.join('\n')}\n`);
}
