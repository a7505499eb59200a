import type { TracedHop } from './clocks.js';
import { goError } from './go-errors.js';
import type { Attempt, EtcdAnswer, EtcdWrite, GoFailure, Span } from './item.js';

/** One request that a service answered. */
export interface Request {
  readonly atMicros: number;
  readonly failed: boolean;
  readonly scale: number | null;
  readonly evidenceId: string;
  /** What etcd answered the calls made for it, where it failed: target and answer, each once. */
  readonly etcdAnswers: readonly string[];
}

/** What one trace says to the detectors, by service. */
export interface TraceItems {
  readonly requests: readonly ByService<Request>[];
  readonly attempts: readonly ByService<Attempt>[];
  readonly failures: readonly ByService<GoFailure>[];
  readonly writes: readonly ByService<EtcdWrite>[];
  /** Calls that both sides saw: what clocks are compared by. */
  readonly hops: readonly TracedHop[];
  /** Spans whose parent is not in evidence, though they name one. */
  readonly parentless: readonly ByService<Parentless>[];
}

/** The parent of a request is its caller's span, in another service; that of any other span is its own service's. */
export interface Parentless {
  readonly atMicros: number;
  readonly parent: 'own' | 'caller';
}

interface ByService<T> {
  readonly service: string;
  readonly item: T;
}

/** gRPC codes that make a SERVER span an error (OpenTelemetry semantic conventions for gRPC). */
const SERVER_ERRORS = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** Operations that write to etcd. */
export const ETCD_WRITES: ReadonlySet<string> = new Set(['etcdserverpb.KV/Put', 'etcdserverpb.KV/Txn']);

/** So many passes under one parent are a loop; two or three are ordinary work. */
const LEAST_SIBLINGS = 4;

interface Node {
  readonly span: Span;
  parent: Node | undefined;
  readonly children: Node[];
  /** Set on the spans that are passes of a loop. */
  attempt: { writes: number; failedWrites: number; targets: Set<string>; key: string | null } | undefined;
}

/**
 * Reads one whole trace. Spans may come in any order; of two spans with one id the one that comes first is read, so the caller sorts them.
 * A parent that is not in evidence makes its child a root: long loops lose their parents.
 */
export function readTrace(spans: readonly Span[]): TraceItems {
  const nodes = tree(spans);
  const roots = nodes.filter((node) => !node.parent);
  const loops = findLoops(roots, nodes);
  const writes = nodes.filter(({ span }) => ETCD_WRITES.has(span.operation) && span.kind === 'client');
  for (const write of writes) creditWrite(write);
  return {
    requests: nodes
      .filter(({ span }) => span.kind === 'server')
      .map((node) => ({ service: node.span.service, item: request(node) })),
    attempts: loops.flatMap(({ node, form, loop }) => attempt(node, form, loop)),
    failures: failures(nodes),
    writes: writes.map(({ span }) => ({ service: span.service, item: etcdWrite(span) })),
    hops: nodes.flatMap(hop),
    parentless: nodes.filter(({ span, parent }) => span.parentSpanId !== null && !parent).map(parentless),
  };
}

function tree(spans: readonly Span[]): Node[] {
  const nodes = new Map<string, Node>();
  for (const span of spans)
    if (!nodes.has(span.spanId)) nodes.set(span.spanId, { span, parent: undefined, children: [], attempt: undefined });
  const settled = new Set<Node>();
  for (const node of nodes.values()) {
    const path = new Set<Node>();
    for (let at: Node | undefined = node; at && !settled.has(at); at = at.parent) {
      path.add(at);
      const parent: Node | undefined = at.span.parentSpanId ? nodes.get(at.span.parentSpanId) : undefined;
      if (parent && !path.has(parent)) at.parent = parent; // a cycle is cut where it closes
    }
    for (const at of path) settled.add(at);
  }
  for (const node of nodes.values()) node.parent?.children.push(node);
  return [...nodes.values()];
}

interface Pass {
  readonly node: Node;
  readonly form: Attempt['form'];
  readonly loop: string;
}

/** The passes of loops, outermost first: what runs under an attempt is part of it, also in another service. */
function findLoops(roots: readonly Node[], nodes: readonly Node[]): Pass[] {
  const passes: Pass[] = [];
  const mark = (pass: Pass) => {
    pass.node.attempt = { writes: 0, failedWrites: 0, targets: new Set(), key: pass.node.span.targetKey };
    passes.push(pass);
  };
  const siblings = nodes
    .flatMap((node) => siblingGroups(node).map((group) => ({ node, group })))
    .sort((a, b) => depth(a.node) - depth(b.node));
  const loopsInside = new Set(siblings.map(({ node }) => rootOf(node)));
  for (const root of roots) {
    if (root.span.kind === 'server' || root.span.kind === 'unspecified') continue;
    const link = root.span.links[0];
    if (link) mark({ node: root, form: 'linked roots', loop: `${link.traceId}:${link.spanId}` });
    else if (!loopsInside.has(root)) mark({ node: root, form: 'roots', loop: 'roots' });
  }
  for (const { node, group } of siblings)
    if (!underAttempt(node))
      for (const child of group)
        mark({ node: child, form: 'siblings', loop: `${node.span.traceId}:${node.span.spanId}` });
  return passes;
}

/** Children that repeat one operation on one key; without a key only passes that failed or that say they are resends. */
function siblingGroups(parent: Node): Node[][] {
  if (parent.children.length < LEAST_SIBLINGS) return [];
  const groups = new Map<string, Node[]>();
  for (const child of parent.children) {
    const { span } = child;
    if (span.kind === 'server') continue;
    const key = keyOf(child);
    if (key === null && !span.error && !span.resendCount) continue;
    const name = `${span.service}\n${span.operation}\n${key ?? ''}`;
    const group = groups.get(name);
    if (group) group.push(child);
    else groups.set(name, [child]);
  }
  return [...groups.values()].filter((group) => group.length >= LEAST_SIBLINGS);
}

/** A pass wraps its write in so many spans at most. */
const WRAPPED_LEVELS = 3;

/** What a pass acts on: what it says itself, else the key of the first etcd write a few levels below it. */
function keyOf(node: Node, levels = WRAPPED_LEVELS): string | null {
  if (node.span.targetKey !== null) return node.span.targetKey;
  if (levels === 0) return null;
  for (const child of node.children) {
    const key = ETCD_WRITES.has(child.span.operation) ? child.span.targetKey : keyOf(child, levels - 1);
    if (key !== null) return key;
  }
  return null;
}

function depth(node: Node): number {
  let above = 0;
  for (let at = node.parent; at; at = at.parent) above++;
  return above;
}

function rootOf(node: Node): Node {
  let root = node;
  while (root.parent) root = root.parent;
  return root;
}

function underAttempt(node: Node): boolean {
  return nearestAttempt(node) !== undefined;
}

function nearestAttempt(node: Node): Node | undefined {
  for (let at: Node | undefined = node; at; at = at.parent) if (at.attempt) return at;
  return undefined;
}

function creditWrite({ span, parent }: Node): void {
  const pass = parent && nearestAttempt(parent);
  const attempt = pass?.attempt;
  if (!attempt) return;
  if (succeeded(span)) attempt.writes++;
  else attempt.failedWrites++;
  if (span.target) attempt.targets.add(span.target);
  attempt.key ??= span.targetKey;
}

const succeeded = (span: Span): boolean => !span.error && (span.rpcStatus === null || span.rpcStatus === 'OK');

/** A consumer's root that says neither what it acts on, nor that it failed, is a message being handled. */
function attempt(node: Node, form: Attempt['form'], loop: string): ByService<Attempt>[] {
  const { span } = node;
  const made = node.attempt!;
  const own = ETCD_WRITES.has(span.operation) && span.kind === 'client';
  const failed = span.error || made.failedWrites > 0;
  if (form === 'roots' && span.kind === 'consumer' && made.key === null && !failed) return [];
  return [
    {
      service: span.service,
      item: {
        type: 'attempt',
        atMicros: span.startMicros,
        endMicros: span.endMicros,
        operation: span.operation,
        key: made.key,
        form,
        loop,
        linkedTraces: [...new Set(span.links.map(({ traceId }) => traceId))],
        failed,
        scale: span.scale,
        writes: made.writes + (own && succeeded(span) ? 1 : 0),
        failedWrites: made.failedWrites + (own && !succeeded(span) ? 1 : 0),
        targets: own && span.target ? [...made.targets, span.target] : [...made.targets],
        traceId: span.traceId,
        evidenceId: span.evidenceId,
      },
    },
  ];
}

function request(node: Node): Request {
  const { span } = node;
  const failed = requestFailed(span);
  return {
    atMicros: span.startMicros,
    failed,
    scale: span.scale,
    evidenceId: span.evidenceId,
    etcdAnswers: failed ? answersUnder(node) : [],
  };
}

function requestFailed(span: Span): boolean {
  if (span.httpStatus !== null) return span.httpStatus >= 500;
  if (span.rpcStatus !== null) return SERVER_ERRORS.has(span.rpcStatus);
  return span.error;
}

function answersUnder(node: Node): string[] {
  const answers = new Set<string>();
  const open = [...node.children];
  for (let child = open.pop(); child; child = open.pop()) {
    open.push(...child.children);
    const { span } = child;
    if (span.kind === 'client' && span.operation.startsWith('etcdserverpb.') && !succeeded(span) && span.target)
      answers.add(`${span.target}\n${etcdAnswer(span)}`);
  }
  return [...answers].sort();
}

/** Texts of etcd's rpctypes errors. */
function etcdAnswer({ rpcStatus, text }: Span): EtcdAnswer {
  const says = text ?? '';
  if (/database space exceeded/.test(says)) return 'quota';
  if (/too many requests/.test(says)) return 'too_many_requests';
  if (/leader/.test(says)) return 'leader';
  if (/request timed out|deadline exceeded/i.test(says) || rpcStatus === 'DEADLINE_EXCEEDED') return 'timeout';
  if (rpcStatus === 'UNAVAILABLE') return 'unavailable';
  return rpcStatus === 'RESOURCE_EXHAUSTED' ? 'resource_exhausted' : 'other';
}

/** Only the innermost span that carries the text: callers repeat their callee's error. */
function failures(nodes: readonly Node[]): ByService<GoFailure>[] {
  const told = new Map<Node, ReturnType<typeof goError>>();
  for (const node of nodes) if (node.span.text) told.set(node, goError(node.span.text));
  const repeated = new Set<Node>();
  for (const [node, error] of told)
    if (error) for (let above = node.parent; above; above = above.parent) repeated.add(above);
  return [...told].flatMap(([node, error]) => {
    if (!error || repeated.has(node)) return [];
    const { service, endMicros, traceId, evidenceId } = node.span; // a download that times out has failed when its span ends
    const joins = [...(node.span.joins ?? []), ...actsOf(service, nodes)];
    return [
      {
        service,
        item: { type: 'go_failure' as const, atMicros: endMicros, endMicros, ...error, joins, traceId, evidenceId },
      },
    ];
  });
}

/** Requests of a service in one trace: a build is known to AWS by them. */
const actsOf = (service: string, nodes: readonly Node[]): string[] =>
  [...new Set(nodes.flatMap(({ span }) => (span.service === service ? (span.acts ?? []) : [])))].sort();

function parentless({ span }: Node): ByService<Parentless> {
  const called = span.kind === 'server' || span.kind === 'consumer';
  return { service: span.service, item: { atMicros: span.startMicros, parent: called ? 'caller' : 'own' } };
}

function etcdWrite(span: Span): EtcdWrite {
  return {
    type: 'etcd_write',
    atMicros: span.startMicros,
    target: span.target ?? '',
    scale: span.scale,
    ok: succeeded(span),
  };
}

/** A call from one service to another that waited for its answer. */
function hop({ span, parent }: Node): TracedHop[] {
  const caller = parent?.span;
  if (span.kind !== 'server' || caller?.kind !== 'client' || caller.service === span.service) return [];
  return [
    {
      traceId: span.traceId,
      caller: caller.service,
      callee: span.service,
      sentMicros: caller.startMicros,
      startedMicros: span.startMicros,
      endedMicros: span.endMicros,
      receivedMicros: caller.endMicros,
    },
  ];
}
