import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A stand-in for AWS itself: LookupEvents in its wire format (AWS JSON 1.1), pages and throttling included. */
export interface LookupServer {
  readonly endpoint: string;
  /** Requests so far. */
  readonly asked: () => number;
  close(): void;
}

export interface HistoryEvent {
  readonly EventId: string;
  /** Seconds since 1970. */
  readonly EventTime: number;
  readonly CloudTrailEvent: string;
}

/** Every `throttled`th request is refused. */
export async function lookupServer(
  events: readonly HistoryEvent[],
  throttled: number,
  refuse = false,
): Promise<LookupServer> {
  let asked = 0;
  const server = createServer((incoming, answer) => {
    let body = '';
    incoming.on('data', (piece) => (body += String(piece)));
    incoming.on('end', () => {
      asked += 1;
      const send = (status: number, content: object) =>
        answer.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(content));
      if (!String(incoming.headers['x-amz-target']).endsWith('.LookupEvents'))
        return send(400, { __type: 'UnknownOperationException' });
      if (refuse)
        return send(400, {
          __type: 'AccessDeniedException',
          message: 'not authorized to perform cloudtrail:LookupEvents',
        });
      if (asked % throttled === 0) return send(400, { __type: 'ThrottlingException', message: 'Rate exceeded' });
      const { StartTime, EndTime, MaxResults, NextToken } = JSON.parse(body);
      const found = events.filter(({ EventTime }) => EventTime >= StartTime && EventTime <= EndTime).reverse(); // newest first
      const at = Number(NextToken ?? 0);
      const next = at + MaxResults;
      send(200, { Events: found.slice(at, next), ...(next < found.length && { NextToken: String(next) }) });
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { endpoint: `http://127.0.0.1:${port}`, asked: () => asked, close };
}
