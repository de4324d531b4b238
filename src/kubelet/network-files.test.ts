import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod, PodSpec } from '../api/gen/core-v1.ts';
import {
  compileDnsConfig,
  dnsConfigProblems,
  hostnameOf,
  parseResolvConf,
  renderHosts,
  renderResolvConf,
} from './network-files.ts';

const cluster = { nameservers: ['10.43.0.10'], domain: 'cluster.local' };
const host = parseResolvConf('# comment\nnameserver 192.0.2.1\nsearch example.net .\noptions edns0\n');
const pod = (spec: Partial<PodSpec> = {}, name = 'web'): Pod => ({
  metadata: { name, namespace: 'shop' },
  spec: { containers: [], ...spec },
});

for (const { name, spec, want } of [
  {
    name: 'ClusterFirst',
    spec: {},
    want: 'nameserver 10.43.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.net\noptions ndots:5\n',
  },
  {
    name: 'Default',
    spec: { dnsPolicy: 'Default' },
    want: 'nameserver 192.0.2.1\nsearch example.net\noptions edns0\n',
  },
  {
    name: 'ClusterFirst on the host network is Default',
    spec: { hostNetwork: true, dnsPolicy: 'ClusterFirst' },
    want: 'nameserver 192.0.2.1\nsearch example.net\noptions edns0\n',
  },
  {
    name: 'ClusterFirstWithHostNet is the cluster’s',
    spec: { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' },
    want: 'nameserver 10.43.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.net\noptions ndots:5\n',
  },
  {
    name: 'None with a dnsConfig',
    spec: {
      dnsPolicy: 'None',
      dnsConfig: {
        nameservers: ['192.0.2.9'],
        searches: ['a.b'],
        options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }],
      },
    },
    want: 'nameserver 192.0.2.9\nsearch a.b\noptions ndots:2 edns0\n',
  },
  {
    name: 'a dnsConfig adds, and its options win',
    spec: { dnsConfig: { searches: ['a.b'], options: [{ name: 'ndots', value: '1' }] } },
    want: 'nameserver 10.43.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.net a.b\noptions ndots:1\n',
  },
]) {
  test(`resolv.conf: ${name}`, () => {
    assert.equal(renderResolvConf(compileDnsConfig(pod(spec), cluster, host)), want);
  });
}

test('resolv.conf: a Pod whose settings are empty does not get the machine’s file from containerd', () => {
  const nothing = { servers: [], searches: [], options: [] };
  const lonely = pod({ dnsPolicy: 'Default' });
  assert.equal(renderResolvConf(compileDnsConfig(lonely, cluster, nothing)), 'nameserver 127.0.0.1\n');
  assert.deepEqual(dnsConfigProblems(lonely, cluster, nothing), []);
  const own = pod({ dnsPolicy: 'Default', dnsConfig: { nameservers: ['192.0.2.9'] } });
  assert.equal(renderResolvConf(compileDnsConfig(own, cluster, nothing)), 'nameserver 192.0.2.9\n');
});

test('resolv.conf: what is too much is left out and told', () => {
  const many = pod({ dnsConfig: { nameservers: ['192.0.2.1', '192.0.2.2', '192.0.2.3'] } });
  assert.deepEqual(compileDnsConfig(many, cluster, host).servers, ['10.43.0.10', '192.0.2.1', '192.0.2.2']);
  assert.deepEqual(dnsConfigProblems(many, cluster, host), [
    'Nameserver limits were exceeded, some have been left out; applied: 10.43.0.10 192.0.2.1 192.0.2.2',
  ]);
  const searches = Array.from({ length: 32 }, (_, index) => `s${index}.example`);
  const wide = pod({ dnsConfig: { searches } });
  assert.equal(compileDnsConfig(wide, cluster, host).searches.length, 32);
  assert.match(dnsConfigProblems(wide, cluster, host)[0] ?? '', /^Search line limits were exceeded/);
  const long = pod({
    dnsConfig: { searches: searches.slice(0, 20).map((name) => `${'a'.repeat(100)}.${name}`) },
  });
  assert.ok(compileDnsConfig(long, cluster, host).searches.join(' ').length <= 2048);
  assert.deepEqual(dnsConfigProblems(pod(), cluster, host), []);
});

test('resolv.conf: the same server or search twice stands once', () => {
  const twice = pod({
    dnsConfig: { nameservers: ['10.43.0.10'], searches: ['cluster.local', 'example.net'] },
  });
  const { servers, searches } = compileDnsConfig(twice, cluster, host);
  assert.deepEqual(servers, ['10.43.0.10']);
  assert.deepEqual(searches, ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'example.net']);
});

test('hosts: addresses, full name and aliases', () => {
  const text = renderHosts(
    pod({ hostname: 'one', subdomain: 'sub', hostAliases: [{ ip: '192.0.2.7', hostnames: ['a', 'b'] }] }),
    ['10.42.0.9'],
    'cluster.local',
    '',
  );
  assert.match(text, /^10\.42\.0\.9\tone\.sub\.shop\.svc\.cluster\.local\tone$/m);
  assert.match(text, /^192\.0\.2\.7\ta\tb$/m);
});

test('hosts: on the host network the node’s own', () => {
  assert.match(
    renderHosts(pod({ hostNetwork: true }), ['10.41.0.2'], 'cluster.local', '127.0.0.1 me\n'),
    /^127\.0\.0\.1 me$/m,
  );
});

test('host name: at most 63 characters, not ending in a dash', () => {
  assert.equal(hostnameOf(pod({}, `${'a'.repeat(62)}-b`)), 'a'.repeat(62));
});
