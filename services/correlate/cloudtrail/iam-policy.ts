/**
 * Identity policies, evaluated offline as far as they were seen (IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements"): an explicit deny
 * wins, then an allow; actions match without regard to case, resources with it; `*` and `?` are wildcards. Conditions are not evaluated: a statement that
 * has some is reported, and a deny that has some does not decide. Resource policies, boundaries, session and organisation policies are not looked at.
 */

export interface Statement {
  readonly effect: 'Allow' | 'Deny';
  readonly actions: readonly string[];
  readonly notActions: readonly string[];
  readonly resources: readonly string[];
  readonly notResources: readonly string[];
  /** Operators and keys of conditions, which are not evaluated: `IpAddress aws:SourceIp`. */
  readonly conditions: readonly string[];
}

export interface Decision {
  readonly outcome: 'allowed' | 'denied' | 'not allowed';
  /** The statements that decide. */
  readonly by: readonly Statement[];
  /** What those and unevaluated denies ask for, and was not evaluated. */
  readonly notEvaluated: readonly string[];
}

/** What some statements say of an action on a resource. */
export function evaluate(statements: readonly Statement[], action: string, resource: string): Decision {
  const matching = statements.filter((statement) => matches(statement, action, resource));
  const denies = matching.filter(({ effect }) => effect === 'Deny');
  const allows = matching.filter(({ effect }) => effect === 'Allow');
  const certain = denies.filter(({ conditions }) => conditions.length === 0);
  if (certain.length > 0) return { outcome: 'denied', by: certain, notEvaluated: [] };
  const notEvaluated = [...new Set([...denies, ...allows].flatMap(({ conditions }) => conditions))].sort();
  if (allows.length === 0) return { outcome: 'not allowed', by: [], notEvaluated };
  const unconditional = allows.filter(({ conditions }) => conditions.length === 0);
  const asked = unconditional.length > 0 ? conditionsOf(denies) : notEvaluated;
  return { outcome: 'allowed', by: unconditional.length > 0 ? unconditional : allows, notEvaluated: asked };
}

const conditionsOf = (statements: readonly Statement[]): string[] =>
  [...new Set(statements.flatMap(({ conditions }) => conditions))].sort();

function matches(
  { actions, notActions, resources, notResources }: Statement,
  action: string,
  resource: string,
): boolean {
  const acts =
    notActions.length > 0
      ? !notActions.some((pattern) => matchesAction(pattern, action))
      : actions.some((pattern) => matchesAction(pattern, action));
  if (!acts) return false;
  return notResources.length > 0
    ? !notResources.some((pattern) => matchesText(pattern, resource))
    : resources.some((pattern) => matchesText(pattern, resource));
}

const matchesAction = (pattern: string, action: string): boolean =>
  matchesText(pattern.toLowerCase(), action.toLowerCase());

/** `*` is any text, `?` any one character. Linear in the text for each star: a policy must not be able to hold us up. */
export function matchesText(pattern: string, text: string): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

/** How far a statement that allows an action on a bucket's objects reaches. */
export type Reach = 'every bucket' | 'a whole bucket' | 'part of a bucket';

/** The widest of what a statement's resources cover: `arn:aws:s3:::logs/*` is a whole bucket, `arn:aws:s3:::logs/builds/*` a part of one. */
export function reachOf({ resources, notResources }: Statement): Reach {
  if (notResources.length > 0) return 'every bucket';
  const reaches = resources.map(reachOfResource);
  if (reaches.includes('every bucket')) return 'every bucket';
  return reaches.includes('a whole bucket') ? 'a whole bucket' : 'part of a bucket';
}

function reachOfResource(resource: string): Reach {
  const [, name] = /^arn:[\w*-]+:s3:[^:]*:[^:]*:(.*)$/.exec(resource) ?? [];
  if (name === undefined) return resource.includes('*') ? 'every bucket' : 'part of a bucket';
  const slash = name.indexOf('/');
  const bucket = slash < 0 ? name : name.slice(0, slash);
  if (/[*?]/.test(bucket)) return 'every bucket';
  return slash < 0 || /^\/\**$/.test(name.slice(slash)) ? 'a whole bucket' : 'part of a bucket';
}

type Json = Readonly<Record<string, unknown>>;

/**
 * The statements of a policy document: JSON text, or percent-encoded JSON text (as the API gives it back), or an object. Undefined where it cannot be
 * read. A statement without an effect, actions or resources says nothing and is left out.
 */
export function readPolicy(document: unknown): Statement[] | undefined {
  const parsed = typeof document === 'string' ? parseText(document) : document;
  if (!isObject(parsed)) return undefined;
  return (Array.isArray(parsed['Statement']) ? parsed['Statement'] : [parsed['Statement']]).flatMap(readStatement);
}

function parseText(text: string): unknown {
  for (const candidate of [text, decoded(text)]) {
    try {
      return JSON.parse(candidate);
    } catch {
      // the other spelling may be the right one
    }
  }
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readStatement(value: unknown): Statement[] {
  if (!isObject(value)) return [];
  const { Effect: effect, Condition: condition } = value;
  if (effect !== 'Allow' && effect !== 'Deny') return [];
  const statement: Statement = {
    effect,
    actions: texts(value['Action']),
    notActions: texts(value['NotAction']),
    resources: texts(value['Resource']),
    notResources: texts(value['NotResource']),
    conditions: isObject(condition)
      ? Object.entries(condition).flatMap(([operator, keys]) =>
          isObject(keys) ? Object.keys(keys).map((key) => `${operator} ${key}`) : [],
        )
      : [],
  };
  const says =
    statement.actions.length + statement.notActions.length > 0 &&
    statement.resources.length + statement.notResources.length > 0;
  return says ? [statement] : [];
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const texts = (value: unknown): string[] =>
  (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === 'string' && one !== '');

/** Only what bears on one of these actions: what a fold keeps of a policy. */
export function bearingOn(statements: readonly Statement[], actions: readonly string[]): Statement[] {
  return statements.flatMap((statement) => {
    const { notActions } = statement;
    if (notActions.length > 0)
      return actions.some((action) => !notActions.some((pattern) => matchesAction(pattern, action))) ? [statement] : [];
    const bearing = statement.actions.filter((pattern) => actions.some((action) => matchesAction(pattern, action)));
    return bearing.length > 0 ? [{ ...statement, actions: bearing }] : [];
  });
}
