import type { Decoded, FaultReason, Flag, SimulationRow } from '../../../shared/evidence.js';
import { sha256 } from '../../../shared/hash.js';
import { parseMicros } from '../../../shared/time.js';
import { canonical } from '../formats/canonical.js';
import { JSON_BOUNDS, JsonError, latin1, readJson, splitValues, utf8, withoutMark } from '../formats/json.js';
import { wholeFile } from '../formats/whole-file.js';
import type { Context, FileDecoder, Source, SourceExample } from '../source.js';

/**
 * What `aws iam simulate-principal-policy` prints, with the two things beside it that it leaves out: whose policies were simulated (`PolicySourceArn`, as
 * it was asked) and when (`SimulatedAt`, ISO 8601; UTC where it names no zone). Both shapes are read: a result for each action and resource, and a result
 * for each action with `ResourceSpecificResults` inside, where the outer decision is only the strictest of those (IAM API reference,
 * SimulatePrincipalPolicy, EvaluationResult, ResourceSpecificResult). Several documents may follow each other in a file.
 *
 * A decision made by a policy that came with the question (`--policy-input-list`) says what would be, not what was, and is refused.
 */
export const iam: Source<SimulationRow> = {
  name: 'iam',
  evidence: 'iam',
  decode: wholeFile(fileDecoder),
  file: fileDecoder,
  get examples() {
    return examples();
  },
};

function fileDecoder(context: Context): FileDecoder<SimulationRow> {
  const pieces: string[] = [];
  let size = 0;
  return {
    push(piece) {
      size += piece.length;
      if (size <= JSON_BOUNDS.record) pieces.push(latin1(piece));
      return nothing();
    },
    end: () => decode(pieces.join(''), size, context),
  };
}

type Json = Readonly<Record<string, unknown>>;

const nothing = (): Decoded<SimulationRow> => ({ rows: [], faults: [], skipped: new Map() });

/** One decoding: where results go, and how many the file had so far. */
interface Run {
  readonly context: Context;
  readonly out: Decoded<SimulationRow>;
  position: number;
}

function decode(bytes: string, size: number, context: Context): Decoded<SimulationRow> {
  const run: Run = { context, out: nothing(), position: 0 };
  if (size > JSON_BOUNDS.record) {
    fault(run, 'too_large', `the file has ${size} bytes, the bound is ${JSON_BOUNDS.record}`, '');
    return run.out;
  }
  const cuts = splitValues(withoutMark(bytes));
  if (cuts.length === 0) fault(run, 'unknown_format', 'the file is empty', '');
  for (const cut of cuts)
    if (cut.kind === 'broken') fault(run, cut.reason, cut.detail, Buffer.from(cut.text, 'latin1'));
    else readDocument(run, cut);
  return run.out;
}

function readDocument(run: Run, cut: { readonly text: string; readonly keys: number; readonly depth: number }): void {
  try {
    const text = utf8(cut.text);
    addSimulation(run, objectOf(readJson(text, cut).value), text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    fault(run, error.reason, error.message, Buffer.from(cut.text, 'latin1'));
  }
}

/** Who was simulated, and when. */
interface Asked {
  readonly principalArn: string;
  readonly simulatedAtMicros: bigint;
}

function addSimulation(run: Run, document: Json, text: string): void {
  const results = document['EvaluationResults'];
  const asked = askedIn(document);
  if (!Array.isArray(results))
    fault(
      run,
      'unknown_format',
      'this is no output of SimulatePrincipalPolicy: it has no list EvaluationResults',
      text,
    );
  else if (typeof asked === 'string') fault(run, 'bad_record', asked, text);
  else for (const result of results as readonly unknown[]) addResult(run, asked, objectOf(result));
}

const PRINCIPAL = /^arn:[\w-]+:iam::\d{12}:(?:user|role|group)\/.+$/;

/** Or what the document does not say of it. */
function askedIn(document: Json): Asked | string {
  const { PolicySourceArn: principalArn, SimulatedAt: at } = document;
  const simulatedAtMicros = microsOf(at);
  const missing = [
    ...(typeof principalArn === 'string' && PRINCIPAL.test(principalArn)
      ? []
      : ['whose policies were simulated (PolicySourceArn, the ARN of a user, group or role)']),
    ...(simulatedAtMicros === undefined ? ['when (SimulatedAt, an ISO 8601 time)'] : []),
  ];
  if (missing.length > 0)
    return `the simulation does not say ${missing.join(' and ')}: add it beside EvaluationResults`;
  return { principalArn: principalArn as string, simulatedAtMicros: simulatedAtMicros! };
}

function microsOf(time: unknown): bigint | undefined {
  try {
    return typeof time === 'string' ? parseMicros(time, 'SimulatedAt') : undefined;
  } catch {
    return undefined;
  }
}

/** A result, or those of the resources that it was asked for. */
function addResult(run: Run, asked: Asked, result: Json): void {
  const specific = objectsOf(result['ResourceSpecificResults']);
  if (specific.length === 0) add(run, asked, result, result['EvalDecision'], result);
  for (const one of specific) add(run, asked, result, one['EvalResourceDecision'], one);
}

const DECISIONS = ['allowed', 'explicitDeny', 'implicitDeny'] as const;

function add(run: Run, asked: Asked, outer: Json, said: unknown, result: Json): void {
  const policies = namesOf(objectsOf(result['MatchedStatements']).map(({ SourcePolicyId: id }) => id));
  const { EvalActionName: action } = outer;
  const { EvalResourceName: resource } = result;
  const decision = DECISIONS.find((one) => one === said);
  const given = policies.find((policy) => GIVEN.test(policy));
  if (!isWhole(action) || !isWhole(resource) || !decision) fault(run, 'bad_record', LACKS, JSON.stringify(outer));
  else if (given !== undefined) fault(run, 'bad_record', `${given} ${CAME}`, JSON.stringify(outer));
  else {
    const missing = [...listOf(outer['MissingContextValues']), ...listOf(result['MissingContextValues'])];
    const missingContext = namesOf(missing);
    run.out.rows.push({
      ...asked,
      action,
      resource,
      decision,
      policies,
      missingContext,
      result: JSON.stringify(outer === result ? result : { EvalActionName: action, ...result }),
      bodyHash: sha256(canonical({ ...asked, action, result, missingContext }).text),
      flags: flagsOf(run, asked),
      position: run.position++,
    });
  }
}

const isWhole = (value: unknown): value is string => typeof value === 'string' && value !== '';

const LACKS = 'this result lacks EvalActionName, EvalResourceName or a decision (allowed, explicitDeny, implicitDeny)';
const CAME = 'came with the question and decided: this says what would be, not what the principal could do';

/** How the simulator names policies that are no policy of the principal's. */
const GIVEN = /^(?:PolicyInputList|PermissionsBoundaryPolicyInputList|ResourcePolicy)\b/;

/** A day for clocks that are off. */
const AHEAD_MICROS = 86_400_000_000n;

function flagsOf({ context: { nowUnixNano: now } }: Run, { simulatedAtMicros }: Asked): readonly Flag[] {
  return now !== undefined && simulatedAtMicros > now / 1000n + AHEAD_MICROS ? ['future_time'] : [];
}

function fault(run: Run, reason: FaultReason, detail: string, raw: string | Uint8Array): void {
  run.out.faults.push({ reason, detail, raw, position: run.position++ });
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const objectOf = (value: unknown): Json => (isObject(value) ? value : {});
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
const objectsOf = (value: unknown): readonly Json[] => listOf(value).filter(isObject);
const namesOf = (values: readonly unknown[]): string[] =>
  [...new Set(values.filter((value) => typeof value === 'string'))].sort();

/* ---- examples ---- */

function examples(): readonly SourceExample<SimulationRow>[] {
  const PolicySourceArn = 'arn:aws:iam::123456789012:role/ci-deployer';
  const SimulatedAt = '2024-03-16T09:00:00Z';
  const MatchedStatements = [{ SourcePolicyId: 'ci-inline', SourcePolicyType: 'IAM Policy' }];
  const EvalActionName = 's3:DeleteObjectVersion';
  const logs = 'arn:aws:s3:::logs/*';
  const web = 'arn:aws:s3:::web/*';
  const allowed = { EvalActionName, EvalResourceName: logs, EvalDecision: 'allowed', MatchedStatements };
  const given = (title: string, document: unknown) => ({ title, given: JSON.stringify(document) });
  const simulated = (title: string, ...EvaluationResults: readonly unknown[]) =>
    given(title, { PolicySourceArn, SimulatedAt, EvaluationResults });
  return [
    {
      ...simulated('a result for each action and resource', allowed, {
        ...allowed,
        EvalResourceName: web,
        EvalDecision: 'implicitDeny',
        MatchedStatements: [],
        MissingContextValues: ['aws:SourceIp'],
      }),
      rows: [
        {
          principalArn: PolicySourceArn,
          simulatedAtMicros: BigInt(Date.parse(SimulatedAt)) * 1000n,
          action: EvalActionName,
          resource: logs,
          decision: 'allowed',
          policies: ['ci-inline'],
          missingContext: [],
        },
        { resource: web, decision: 'implicitDeny', policies: [], missingContext: ['aws:SourceIp'] },
      ],
    },
    {
      ...simulated('a result for each action, which holds one for each resource', {
        EvalActionName,
        EvalResourceName: '*',
        EvalDecision: 'explicitDeny',
        MissingContextValues: ['aws:MultiFactorAuthPresent'],
        ResourceSpecificResults: [
          { EvalResourceName: logs, EvalResourceDecision: 'allowed', MatchedStatements },
          { EvalResourceName: web, EvalResourceDecision: 'explicitDeny', MatchedStatements },
        ],
      }),
      rows: [
        { resource: logs, decision: 'allowed', missingContext: ['aws:MultiFactorAuthPresent'] },
        { resource: web, decision: 'explicitDeny', missingContext: ['aws:MultiFactorAuthPresent'] },
      ],
    },
    {
      ...given('one that does not say whose it is', { SimulatedAt, EvaluationResults: [allowed] }),
      fault: 'bad_record',
    },
    { ...given('one that does not say when', { PolicySourceArn, EvaluationResults: [allowed] }), fault: 'bad_record' },
    {
      ...given('a 30 February', { PolicySourceArn, SimulatedAt: '2024-02-30', EvaluationResults: [allowed] }),
      fault: 'bad_record',
    },
    { ...simulated('a decision that is none', { ...allowed, EvalDecision: 'maybe' }), fault: 'bad_record' },
    {
      ...simulated('a policy that came with the question', {
        ...allowed,
        MatchedStatements: [{ SourcePolicyId: 'PolicyInputList.1' }],
      }),
      fault: 'bad_record',
    },
    { ...given('a list of keys', { PublicKeyList: [] }), fault: 'unknown_format' },
    { title: 'half a file', given: `{"PolicySourceArn":"${PolicySourceArn}","Eval`, fault: 'bad_json' },
    {
      title: 'a decision said twice',
      given: `{"PolicySourceArn":"${PolicySourceArn}","SimulatedAt":"${SimulatedAt}","EvaluationResults":[{"EvalActionName":"a","EvalResourceName":"*","EvalDecision":"implicitDeny","EvalDecision":"allowed"}]}`,
      fault: 'duplicate_key',
    },
  ];
}
