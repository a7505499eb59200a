/** Entity keys: what evidence can be joined on. `<type>:<name>`, with the scope before the name where the evidence has one. */

export type EntityType =
  | 'trace'
  | 'service'
  | 'instance'
  | 'etcd'
  | 'principal'
  | 'ip'
  | 'bucket'
  | 'trail'
  | 'account'
  | 'module'
  | 'pipeline'
  | 'request';

export function entityKey(type: EntityType, name: string, scope?: string | null): string {
  return scope ? `${type}:${scope}/${name}` : `${type}:${name}`;
}

export function entityType(key: string): string {
  return key.slice(0, key.indexOf(':'));
}

/** Keys of one type that two findings share; undefined when one of them has none of that type, so that nothing can be said. */
export function shared(type: EntityType, a: readonly string[], b: readonly string[]): readonly string[] | undefined {
  const ours = a.filter((key) => entityType(key) === type);
  const theirs = b.filter((key) => entityType(key) === type);
  if (ours.length === 0 || theirs.length === 0) return undefined;
  return ours.filter((key) => theirs.some((other) => same(key, other)));
}

/** Equal, or equal but for a scope that only one of them knows: different known scopes never match. */
function same(a: string, b: string): boolean {
  if (a === b) return true;
  if (entityType(a) !== 'service') return false;
  const [scopeA, nameA] = scoped(a);
  const [scopeB, nameB] = scoped(b);
  return nameA === nameB && (scopeA === undefined || scopeB === undefined);
}

function scoped(key: string): [scope: string | undefined, name: string] {
  const value = key.slice(key.indexOf(':') + 1);
  const slash = value.indexOf('/');
  return slash < 0 ? [undefined, value] : [value.slice(0, slash), value.slice(slash + 1)];
}
