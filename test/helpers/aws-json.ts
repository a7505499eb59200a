import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A stand-in for AWS itself: operations in their wire format (AWS JSON 1.1). */
export interface AwsServer {
  readonly endpoint: string;
  /** Requests so far. */
  readonly asked: () => number;
  close(): void;
}

export type Answer = readonly [status: number, content: object];

/** `nth`: of all requests, from 1 on. An operation that it does not know is refused as AWS does. */
export async function awsServer(
  operations: Readonly<Record<string, (body: Readonly<Record<string, unknown>>, nth: number) => Answer>>,
): Promise<AwsServer> {
  let asked = 0;
  const server = createServer((incoming, answer) => {
    let body = '';
    incoming.on('data', (piece) => (body += String(piece)));
    incoming.on('end', () => {
      asked += 1;
      const operation = operations[String(incoming.headers['x-amz-target']).split('.').at(-1)!];
      const [status, content] = operation?.(JSON.parse(body), asked) ?? [400, { __type: 'UnknownOperationException' }];
      answer.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(content));
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

export const THROTTLED: Answer = [400, { __type: 'ThrottlingException', message: 'Rate exceeded' }];

export const denied = (operation: string): Answer => [
  400,
  { __type: 'AccessDeniedException', message: `not authorized to perform cloudtrail:${operation}` },
];
