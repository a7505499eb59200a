import test from 'ava';
import { clustersOf, type Member } from '../../services/correlate/clusters.js';

const member = (service: string | null, instance: string, ...peerIds: string[]): Member => ({
  service,
  instance,
  peerIds,
});

/** The clusters that members belong to, in their order. */
const keys = (...members: readonly Member[]): string[] => members.map(clustersOf(members).keyOf);

test("a cluster's name is its folder or service.name", (t) => {
  t.deepEqual(keys(member('config-store', 'm0'), member('config-store', '10.0.0.1:2379')), [
    'etcd:config-store',
    'etcd:config-store',
  ]);
});

test('without a service, or with the bare job name etcd, it is the host without port, domain and ordinal', (t) => {
  t.deepEqual(keys(member(null, 'config-store-0.etcd.prod.svc.cluster.local:2379')), ['etcd:config-store']);
  t.deepEqual(keys(member('etcd', 'config-store-12:2379')), ['etcd:config-store']);
  t.deepEqual(keys(member('etcd', 'http://kv7:2379/metrics')), ['etcd:kv7']);
  t.deepEqual(keys(member('', 'orders-store-1')), ['etcd:orders-store']);
});

test('members known by address are one cluster where their peer ids say so, named by the lowest address', (t) => {
  t.deepEqual(
    keys(
      member(null, '10.0.0.10:2379', 'a', 'b', 'c'),
      member('etcd', '10.0.0.9:2379', 'b', 'a', 'c'),
      member(null, '10.0.0.11:2379', 'c', 'a', 'b'),
    ),
    ['etcd:10.0.0.9', 'etcd:10.0.0.9', 'etcd:10.0.0.9'],
  );
});

test('peer ids join members also by way of others', (t) => {
  t.deepEqual(
    keys(member(null, '10.0.0.3', 'a', 'b'), member(null, '10.0.0.2', 'c', 'd'), member(null, '10.0.0.4', 'b', 'c')),
    ['etcd:10.0.0.2', 'etcd:10.0.0.2', 'etcd:10.0.0.2'],
  );
});

test('without peer ids each address is a cluster of its own', (t) => {
  t.deepEqual(keys(member(null, '10.0.0.1:2379'), member(null, '10.0.0.2:2379')), ['etcd:10.0.0.1', 'etcd:10.0.0.2']);
  t.deepEqual(keys(member(null, '[2001:db8::1]:2379'), member('etcd', '2001:db8::2')), [
    'etcd:2001:db8::1',
    'etcd:2001:db8::2',
  ]);
});

test('on one host the ports tell members apart', (t) => {
  t.deepEqual(keys(member(null, '127.0.0.1:2379'), member(null, '127.0.0.1:22379')), [
    'etcd:127.0.0.1:2379',
    'etcd:127.0.0.1:22379',
  ]);
});

test('neither the order of members nor a member that is told twice changes a name', (t) => {
  const members = [
    member(null, '10.0.0.10:2379', 'a', 'b'),
    member(null, '10.0.0.9:2379', 'b', 'a'),
    member('etcd', 'kv-0'),
    member('store', 'kv-1.store'),
  ];
  const name = (given: readonly Member[]) => members.map(clustersOf(given).keyOf);
  t.deepEqual(name(members.toReversed()), name(members));
  t.deepEqual(name([...members, ...members]), name(members));
});

test('an address in a span leads to the cluster of the member that has it', (t) => {
  const { keyOfAddress } = clustersOf([
    member('config-store', 'config-store-0.etcd.prod.svc'),
    member('kv', 'node-b:2379'),
    member(null, '10.0.0.9:2379', 'a', 'b'),
    member(null, '10.0.0.10:2379', 'b', 'a'),
    member(null, '[2001:db8::1]:2379'),
  ]);
  t.is(keyOfAddress('config-store-0.etcd.prod.svc:2379'), 'etcd:config-store');
  t.is(keyOfAddress('config-store-0'), 'etcd:config-store');
  t.is(keyOfAddress('http://node-b:4001'), 'etcd:kv');
  t.is(keyOfAddress('10.0.0.10:2379'), 'etcd:10.0.0.9');
  t.is(keyOfAddress('[2001:db8::1]:2379'), 'etcd:2001:db8::1');
});

test('a service name in front of a cluster leads to it, and so does a member without metrics', (t) => {
  const { keyOfAddress } = clustersOf([member('config-store', 'config-store-0')]);
  t.is(keyOfAddress('config-store.prod.svc:2379'), 'etcd:config-store');
  t.is(keyOfAddress('config-store-2.config-store:2379'), 'etcd:config-store');
});

test('an address that nobody exports is a cluster of its own', (t) => {
  const { keyOfAddress } = clustersOf([]);
  t.is(keyOfAddress('10.0.0.7:2379'), 'etcd:10.0.0.7');
  t.is(keyOfAddress('orders-1.etcd:2379'), 'etcd:orders');
  t.is(keyOfAddress('localhost:2379'), 'etcd:localhost');
});

test('on one host an address leads by its port, and a port that nobody has leads to no cluster', (t) => {
  const { keyOf, keyOfAddress } = clustersOf([member(null, '127.0.0.1:2379'), member(null, '127.0.0.1:22379')]);
  t.is(keyOfAddress('127.0.0.1:2379'), keyOf(member(null, '127.0.0.1:2379')));
  t.is(keyOfAddress('127.0.0.1:22379'), keyOf(member(null, '127.0.0.1:22379')));
  t.false(['etcd:127.0.0.1:2379', 'etcd:127.0.0.1:22379'].includes(keyOfAddress('127.0.0.1:4001')));
});

test('a name that members of two clusters have leads to neither, the full name to its own', (t) => {
  const { keyOfAddress } = clustersOf([member('orders', 'etcd-0.orders'), member('config', 'etcd-0.config')]);
  t.is(keyOfAddress('etcd-0.orders:2379'), 'etcd:orders');
  t.is(keyOfAddress('etcd-0.config:2379'), 'etcd:config');
  t.false(['etcd:orders', 'etcd:config'].includes(keyOfAddress('etcd-0:2379')));
});
