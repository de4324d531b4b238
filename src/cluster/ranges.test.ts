import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodesOf } from './config.ts';
import { chooseFamilies, ipFamiliesOf, rangesOf, reverseZonesOf } from './ranges.ts';

const ipv4 = {
  family: 4,
  nodes: '10.41.0.0/16',
  pods: '10.42.0.0/16',
  services: '10.43.0.0/16',
  gateway: '10.41.0.1',
  kubernetes: '10.43.0.1',
  dns: '10.43.0.10',
};

test('ranges: unsaid is IPv4 alone, as it was before there was a choice', () => {
  assert.equal(ipFamiliesOf({}), 'ipv4');
  assert.deepEqual(rangesOf({ name: 'dev' }), [ipv4]);
});

test('ranges: of two families IPv4 comes first; those of IPv6 are built alike, in a /48 for local use', () => {
  const [first, second] = rangesOf({ name: 'dev', ipFamilies: 'dual' });
  assert.deepEqual(first, ipv4);
  const site = /^(fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}):41::1$/.exec(second?.gateway ?? '')?.[1];
  assert.ok(site !== undefined, `the gateway is ${second?.gateway}`);
  assert.deepEqual(second, {
    family: 6,
    nodes: `${site}:41::/64`,
    pods: `${site}:4200::/56`,
    services: `${site}:43::/112`,
    gateway: `${site}:41::1`,
    kubernetes: `${site}:43::1`,
    dns: `${site}:43::a`,
  });
  assert.deepEqual(rangesOf({ name: 'dev', ipFamilies: 'ipv6' }), [second]);
});

test('ranges: two clusters have different IPv6 addresses, one that is made again the same', () => {
  const of = (name: string) => rangesOf({ name, ipFamilies: 'ipv6' })[0]?.nodes;
  assert.equal(of('dev'), of('dev'));
  const names = Array.from({ length: 100 }, (_, index) => `cluster-${index}`);
  assert.equal(new Set(names.map(of)).size, names.length);
});

test('ranges: every node has an address of each family', () => {
  const nodes = nodesOf({ name: 'dev', agents: 10, ipFamilies: 'dual' });
  const site = rangesOf({ name: 'dev', ipFamilies: 'dual' })[1]?.gateway.replace(/1$/, '') ?? '';
  assert.deepEqual(nodes[10]?.addresses, ['10.41.0.12', `${site}c`]);
  assert.equal(nodes[10]?.address, '10.41.0.12');
});

test('ranges: the zones of reverse names end between labels', () => {
  assert.deepEqual(rangesOf({ name: 'dev' }).flatMap(reverseZonesOf), [
    '42.10.in-addr.arpa',
    '43.10.in-addr.arpa',
  ]);
  const zones = reverseZonesOf({
    ...ipv4,
    family: 6,
    pods: 'fd12:3456:789a:4200::/56',
    services: 'fd12:3456:789a:43::/112',
  });
  const site = 'a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa';
  assert.deepEqual(zones, [`2.4.${site}`, `${'0.'.repeat(12)}3.4.0.0.${site}`]);
});

test('families: a new cluster has those asked for; one that was stopped keeps its own and takes no others', () => {
  assert.equal(chooseFamilies(undefined, undefined), 'ipv4');
  assert.equal(chooseFamilies('dual', undefined), 'dual');
  assert.equal(chooseFamilies(undefined, { ipFamilies: 'dual' }), 'dual');
  assert.equal(chooseFamilies('dual', { ipFamilies: 'dual' }), 'dual');
  assert.equal(chooseFamilies('ipv6', { ipFamilies: 'dual' }), undefined);
  assert.equal(chooseFamilies('dual', {}), undefined, 'of an earlier version: IPv4 alone');
});
