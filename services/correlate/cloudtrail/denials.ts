import { bearingOn, matchesText, readPolicy, type Statement } from './iam-policy.js';

/** The right without which no version can be deleted. */
export const PURGES = 's3:DeleteObjectVersion';

/** A statement of a bucket policy that denies. */
export interface Denial {
  /** Its Sid, else what it is about. */
  readonly name: string;
  /** As it was written: whom it denies. */
  readonly principal: string;
  readonly statement: Statement;
}

type Json = Readonly<Record<string, unknown>>;

/** The denials of a bucket policy's statements. */
export function denialsIn(statements: readonly Json[]): Denial[] {
  return statements.flatMap((written) => {
    const [statement] = readPolicy({ Statement: [written] }) ?? [];
    return statement?.effect === 'Deny' ? [{ name: nameOf(written, statement), ...whom(written), statement }] : [];
  });
}

function nameOf({ Sid: sid }: Json, { actions, notActions }: Statement): string {
  if (typeof sid === 'string' && sid !== '') return sid;
  return [...actions, ...notActions.map((action) => `all but ${action}`)].join(', ');
}

/** Everybody is written in two ways. */
function whom({ Principal: principal, NotPrincipal: but }: Json): Pick<Denial, 'principal'> {
  const everybody = principal === '*' || JSON.stringify(principal) === '{"AWS":"*"}';
  return { principal: everybody ? '*' : JSON.stringify([principal, but]) };
}

/** Denials that are gone, and whose like no other statement denies still: a statement that was merged into another is no loss. */
export const lostDenials = (before: readonly Denial[], now: readonly Denial[]): Denial[] =>
  now.length >= before.length ? [] : before.filter((denial) => !isStillDenied(denial, now));

/** Whether one of them kept versions from being deleted, and none that is left does. */
export const unguarded = (lost: readonly Denial[], now: readonly Denial[]): boolean =>
  lost.some(guards) && !now.some(guards);

const guards = ({ statement }: Denial): boolean => bearingOn([statement], [PURGES]).length > 0;

function isStillDenied({ statement, principal }: Denial, now: readonly Denial[]): boolean {
  const others = now.filter(
    (other) =>
      [principal, '*'].includes(other.principal) &&
      other.statement.conditions.every((condition) => statement.conditions.includes(condition)),
  );
  const { actions, resources } = statement;
  if (actions.length === 0 || resources.length === 0)
    return others.some((other) => JSON.stringify(other.statement) === JSON.stringify(statement));
  return actions.every((action) =>
    resources.every((resource) =>
      others.some(
        (other) =>
          other.statement.actions.some((pattern) => matchesText(pattern.toLowerCase(), action.toLowerCase())) &&
          other.statement.resources.some((pattern) => matchesText(pattern, resource)),
      ),
    ),
  );
}
