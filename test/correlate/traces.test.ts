import test from 'ava';
import fc from 'fast-check';
import type { Attempt, Span } from '../../services/correlate/item.js';
import { readTrace } from '../../services/correlate/traces.js';

/** A span that works on nothing in particular. `at` in seconds. */
function span(spanId: string, parentSpanId: string | null, at: number, more: Partial<Span> = {}): Span {
  return {
    evidenceId: `evidence of ${spanId}`,
    traceId: 't1',
    spanId,
    parentSpanId,
    service: 'service:prod/sync',
    kind: 'internal',
    startMicros: at * 1_000_000,
    endMicros: at * 1_000_000 + 1000,
    error: false,
    operation: 'work',
    target: null,
    targetKey: null,
    rpcStatus: null,
    httpStatus: null,
    resendCount: null,
    text: null,
    scale: null,
    links: [],
    ...more,
  };
}

const put = (spanId: string, parent: string | null, at: number, more: Partial<Span> = {}): Span =>
  span(spanId, parent, at, {
    kind: 'client',
    operation: 'etcdserverpb.KV/Put',
    target: 'kv-0:2379',
    targetKey: '/config/routes',
    rpcStatus: 'OK',
    ...more,
  });

/** Passes of one loop under one parent, every 3 s. */
const passes = (parent: string, count: number, more: Partial<Span> = {}): Span[] =>
  Array.from({ length: count }, (_, i) =>
    span(`${parent}-pass${i}`, parent, 10 + i * 3, { operation: 'write', targetKey: '/config/routes', ...more }),
  );

const attemptsOf = (spans: readonly Span[]): Attempt[] => readTrace(spans).attempts.map(({ item }) => item);

test('siblings that repeat one operation on one key are passes of one loop', (t) => {
  const attempts = attemptsOf([span('root', null, 0), ...passes('root', 5)]);
  t.is(attempts.length, 5);
  t.true(
    attempts.every(({ form, loop, key }) => form === 'siblings' && loop === 't1:root' && key === '/config/routes'),
  );
});

const served = span('root', null, 0, { kind: 'server' });

test('three of them are ordinary work', (t) => {
  t.deepEqual(attemptsOf([served, ...passes('root', 3)]), []);
});

test('siblings without a key are passes only where they failed or say that they are resends', (t) => {
  const silent = { targetKey: null };
  t.deepEqual(attemptsOf([served, ...passes('root', 6, silent)]), []);
  t.is(attemptsOf([served, ...passes('root', 6, { ...silent, error: true })]).length, 6);
  t.is(attemptsOf([served, ...passes('root', 6, { ...silent, resendCount: 1 })]).length, 6);
});

test('a root that links to a span is a pass of the loop around that span', (t) => {
  const links = [{ traceId: 't0', spanId: 'failed' }];
  const [attempt] = attemptsOf([span('root', null, 0, { links })]);
  t.is(attempt!.form, 'linked roots');
  t.is(attempt!.loop, 't0:failed');
  t.deepEqual(attempt!.linkedTraces, ['t0']);
});

test('a root is a pass of a loop that shares only operation and key, unless it handles a message', (t) => {
  t.is(attemptsOf([span('root', null, 0, { targetKey: '/k' })])[0]!.form, 'roots');
  const message = { kind: 'consumer' } as const;
  t.deepEqual(attemptsOf([span('root', null, 0, message)]), []);
  t.is(attemptsOf([span('root', null, 0, { ...message, error: true })])[0]!.form, 'roots');
});

test('a request that a service answers is never an attempt, nor is its caller in another service', (t) => {
  const { attempts, requests } = readTrace([span('root', null, 0, { kind: 'server', targetKey: '/k', error: true })]);
  t.deepEqual(attempts, []);
  t.is(requests.length, 1);
});

test("spans under another service's attempt are no storm of their own", (t) => {
  const outer = passes('root', 4, { service: 'service:prod/caller' });
  const inner = outer.flatMap((pass) => {
    const callee = span(`${pass.spanId}-served`, pass.spanId, 10, { kind: 'server', service: 'service:prod/callee' });
    return [callee, ...passes(callee.spanId, 4, { service: 'service:prod/callee' })];
  });
  const { attempts } = readTrace([span('root', null, 0, { service: 'service:prod/caller' }), ...outer, ...inner]);
  t.deepEqual([...new Set(attempts.map(({ service }) => service))], ['service:prod/caller']);
});

test('the outer loop is the loop, also where the clocks of two hosts let the inner one begin first', (t) => {
  const outer = passes('root', 4);
  const early = span('served', outer[0]!.spanId, -5, { kind: 'server', service: 'service:prod/callee' });
  const inner = passes('served', 4, { service: 'service:prod/callee' });
  const { attempts } = readTrace([early, ...inner, span('root', null, 0), ...outer]);
  t.deepEqual([...new Set(attempts.map(({ service }) => service))], ['service:prod/sync']);
});

test('writes are credited to the pass that they were made under, by how they were answered', (t) => {
  const loop = passes('root', 4);
  const refused = { rpcStatus: 'RESOURCE_EXHAUSTED', error: true, targetKey: '/other' };
  const attempts = attemptsOf([
    span('root', null, 0),
    ...loop,
    put('w1', loop[0]!.spanId, 10),
    span('deeper', loop[0]!.spanId, 10),
    put('w2', 'deeper', 10, { target: 'kv-1:2379' }),
    put('w3', loop[1]!.spanId, 13, refused),
  ]);
  t.deepEqual(
    attempts.map(({ writes, failedWrites, failed }) => [writes, failedWrites, failed]),
    [
      [2, 0, false],
      [0, 1, true],
      [0, 0, false],
      [0, 0, false],
    ],
  );
  t.deepEqual([...attempts[0]!.targets].sort(), ['kv-0:2379', 'kv-1:2379']);
});

test('a put that is itself the pass counts as its write', (t) => {
  const [attempt] = attemptsOf([put('w', null, 0)]);
  t.is(attempt!.writes, 1);
  t.deepEqual(attempt!.targets, ['kv-0:2379']);
});

test('a parent that is not in evidence makes its child a root', (t) => {
  t.is(attemptsOf([span('orphan', 'lost', 0, { targetKey: '/k' })])[0]!.form, 'roots');
});

test('a request failed when it was answered 5xx, or by a gRPC code that is a server error', (t) => {
  const failed = (more: Partial<Span>) =>
    readTrace([span('root', null, 0, { kind: 'server', ...more })]).requests[0]!.item.failed;
  t.true(failed({ httpStatus: 503 }));
  t.false(failed({ httpStatus: 404, error: true }));
  t.true(failed({ rpcStatus: 'UNAVAILABLE' }));
  t.false(failed({ rpcStatus: 'NOT_FOUND', error: true }));
  t.true(failed({ error: true }));
});

test('a failed request says what etcd answered under it, each answer once', (t) => {
  const quota = { rpcStatus: 'RESOURCE_EXHAUSTED', error: true, text: 'etcdserver: mvcc: database space exceeded' };
  const late = { rpcStatus: 'DEADLINE_EXCEEDED', error: true };
  const { requests } = readTrace([
    span('root', null, 0, { kind: 'server', httpStatus: 503 }),
    put('w1', 'root', 1, quota),
    put('w2', 'root', 2, quota),
    put('w3', 'w1', 2, late),
    put('w4', 'root', 2),
  ]);
  t.deepEqual(requests[0]!.item.etcdAnswers, ['kv-0:2379\nquota', 'kv-0:2379\ntimeout']);
});

test('only the innermost span that carries an error of the go command is a failure', (t) => {
  const text = 'go: example.com/a@v1.0.0: Get "https://proxy.example.com/": dial tcp 192.0.2.1:443: i/o timeout';
  const { failures } = readTrace([
    span('root', null, 0, { text, error: true }),
    span('step', 'root', 1, { text, error: true }),
    span('other', 'root', 2, { text: 'exit status 1', error: true }),
  ]);
  t.deepEqual(
    failures.map(({ item }) => [item.evidenceId, item.module]),
    [['evidence of step', 'example.com/a']],
  );
});

test('spans that are each other’s parents, or their own, are all read', (t) => {
  const failed = { kind: 'server', httpStatus: 500 } as const;
  const cycle = [span('a', 'b', 0, failed), span('b', 'c', 1, failed), span('c', 'a', 2, failed)];
  t.is(readTrace(cycle).requests.length, 3);
  t.is(readTrace([span('a', 'a', 0, failed)]).requests.length, 1);
});

test('of two spans with one id the first is read', (t) => {
  const { requests } = readTrace([
    span('a', null, 0, { kind: 'server', httpStatus: 200 }),
    span('a', null, 0, { kind: 'server', httpStatus: 500 }),
  ]);
  t.deepEqual(
    requests.map(({ item }) => item.failed),
    [false],
  );
});

test('whatever the parents and links are, every span is read once and no write is counted twice', (t) => {
  const ids = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'lost');
  const spans = fc.array(
    fc.record({ id: ids, parent: fc.option(ids), at: fc.nat(5), write: fc.boolean(), linked: fc.boolean() }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(spans, (drawn) => {
      const trace = drawn.map(({ id, parent, at, write, linked }) => {
        const links = linked ? [{ traceId: 't0', spanId: 'x' }] : [];
        return write ? put(id, parent, at, { links }) : span(id, parent, at, { links, targetKey: '/k' });
      });
      const { attempts, writes } = readTrace(trace);
      const kept = new Map(trace.toReversed().map((one) => [one.spanId, one]));
      const puts = [...kept.values()].filter(({ operation }) => operation === 'etcdserverpb.KV/Put').length;
      const credited = attempts.reduce((sum, { item }) => sum + item.writes + item.failedWrites, 0);
      const passes = attempts.map(({ item }) => item.evidenceId);
      return writes.length === puts && credited <= puts && new Set(passes).size === passes.length;
    }),
    { numRuns: 500 },
  );
  t.pass();
});
