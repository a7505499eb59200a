import { entityKey } from '../../shared/entity.js';

/** A process as its metrics name it. */
export interface Instance {
  /** service.name, or the cluster's folder. */
  readonly service: string | null;
  /** service.instance.id, or the member's folder. */
  readonly instance: string;
}

/** A member of some etcd cluster. */
export interface Member extends Instance {
  /** Raft member ids that it exports of itself and its peers (etcd_network_active_peers Local, Remote). */
  readonly peerIds: readonly string[];
}

export interface Clusters {
  /** The cluster key of a member. */
  keyOf(member: Instance): string;
  /** The cluster key that an address in a span leads to. */
  keyOfAddress(target: string): string;
}

/** Names that say nothing of which cluster it is. */
const BARE_JOB = 'etcd';

/**
 * Which cluster a member, or an address, belongs to. Its name is the folder or service.name; where that says nothing, the host of the instance without port,
 * domain and trailing -N. Members known by address only are grouped by the peer ids that etcd exports and named by the lowest address.
 * An address that could be of two clusters (members of one name, or on one host) leads to neither.
 */
export function clustersOf(members: readonly Member[]): Clusters {
  const names = new Map<string, string>();
  const byAddress = new Map<string, Set<string>>();
  const note = (address: string, name: string) =>
    byAddress.set(address, (byAddress.get(address) ?? new Set<string>()).add(name));
  const groups = addressGroups(members.filter((member) => named(member) === undefined));
  for (const member of members) {
    const name = named(member) ?? groups.get(member.instance) ?? hostOf(member.instance);
    names.set(memberText(member), name);
    const host = hostOf(member.instance);
    for (const address of new Set([member.instance, host, firstLabel(host)])) note(address, name);
  }
  const known = new Set(names.values());
  return {
    keyOf: (member) => entityKey('etcd', names.get(memberText(member)) ?? hostOf(member.instance)),
    keyOfAddress(target) {
      const host = hostOf(target);
      const label = firstLabel(host);
      const names = [...(byAddress.get(target) ?? byAddress.get(host) ?? byAddress.get(label) ?? [])];
      if (names.length > 0) return entityKey('etcd', names.length === 1 ? names[0]! : host);
      return entityKey('etcd', known.has(label) || isAddress(host) ? label : withoutOrdinal(label));
    },
  };
}

const memberText = ({ service, instance }: Instance): string => `${service ?? ''}\n${instance}`;

/** undefined for a member that is known by address only. */
function named({ service, instance }: Member): string | undefined {
  if (service && service !== BARE_JOB) return service;
  const host = hostOf(instance);
  return isAddress(host) ? undefined : withoutOrdinal(firstLabel(host));
}

function addressGroups(members: readonly Member[]): Map<string, string> {
  const parent = new Map<string, string>();
  const find = (id: string): string => {
    const above = parent.get(id);
    return above === undefined || above === id ? id : find(above);
  };
  for (const member of members) {
    const own = `instance ${member.instance}`;
    parent.set(own, find(own));
    for (const id of member.peerIds) parent.set(find(`peer ${id}`), find(own));
  }
  const lowest = new Map<string, string>();
  for (const { instance } of [...members].sort((a, b) => compareAddresses(a.instance, b.instance))) {
    const root = find(`instance ${instance}`);
    if (!lowest.has(root)) lowest.set(root, hostOrAddress(instance, members));
  }
  return new Map(members.map(({ instance }) => [instance, lowest.get(find(`instance ${instance}`))!]));
}

/** Several members on one host differ by port only: then the port belongs to the name. */
function hostOrAddress(instance: string, members: readonly Member[]): string {
  const host = hostOf(instance);
  return members.some((other) => other.instance !== instance && hostOf(other.instance) === host) ? instance : host;
}

/** Numbers in addresses by value: 10.0.0.9 before 10.0.0.10. */
function compareAddresses(a: string, b: string): number {
  const padded = (address: string) => address.replace(/\d+/g, (digits) => digits.padStart(5, '0'));
  return padded(a) < padded(b) ? -1 : padded(a) > padded(b) ? 1 : 0;
}

/** `http://host:2379`, `[::1]:2379`, `host:2379` to the host. */
function hostOf(address: string): string {
  const bare = address.replace(/^[a-z+]+:\/\//i, '').replace(/\/.*$/, '');
  const bracketed = /^\[([^\]]+)\]/.exec(bare);
  if (bracketed) return bracketed[1]!;
  return bare.split(':').length === 2 ? bare.slice(0, bare.indexOf(':')) : bare;
}

function firstLabel(host: string): string {
  return isAddress(host) ? host : host.split('.')[0]!;
}

function isAddress(host: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) || host.includes(':') || host === 'localhost';
}

function withoutOrdinal(label: string): string {
  return label.replace(/-\d+$/, '');
}
