import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import packet from 'dns-packet';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { serviceOf } from '../../test/support/services.ts';
import type { Pod, PodSpec } from '../api/gen/core-v1.ts';
import { silentLogger } from '../base/log.ts';
import { firstSearchOf, laterSearches } from './autopath.ts';
import type { ForwardAnswer } from './question.ts';
import { clientOf } from './client-number.ts';
import type { ForwardQuestion } from './question.ts';
import type { Forwarder } from './forward.ts';
import { DnsMetrics } from './metrics.ts';
import { PodTable, searchListsMax } from './pods.ts';
import { compileService } from './records.ts';
import { createResolver, type Resolver, type Via } from './resolver.ts';
import { noHosts } from './settings.ts';
import { DnsTable } from './table.ts';
import { rcodes } from './wire.ts';

const zone = 'cluster.local';
const nobody: ForwardAnswer = {
  rcode: rcodes.NXDOMAIN,
  authenticData: false,
  answers: [],
  authorities: [],
  additionals: [],
  sameForMs: 1000,
};

/** Others know these names; `later`: they take their time. */
function forwarderOf(known: Readonly<Record<string, string>>, asked: string[], later: boolean): Forwarder {
  const tell = ({ name }: ForwardQuestion): ForwardAnswer => {
    asked.push(name);
    const address = known[name];
    if (address === undefined) return nobody;
    const bytes = Uint8Array.from(address.split('.').map(Number));
    return {
      ...nobody,
      rcode: rcodes.NOERROR,
      answers: [{ name, ttlSeconds: 60, data: { type: 'A', address: bytes } }],
    };
  };
  return {
    accepts: () => true,
    ask: (question) => (later ? Promise.resolve(tell(question)) : tell(question)),
    setRoutes() {},
    sawProbe() {},
    close() {},
  };
}

function podOf(namespace: string, ips: readonly string[], spec: Partial<PodSpec> = {}): Pod {
  return {
    metadata: { namespace },
    spec: { containers: [], ...spec },
    status: { podIPs: ips.map((ip) => ({ ip })) },
  };
}

function world(known: Readonly<Record<string, string>> = {}, later = false) {
  const table = new DnsTable(7);
  const pods = new PodTable(zone);
  const metrics = new DnsMetrics();
  const asked: string[] = [];
  const resolver = createResolver(
    table,
    forwarderOf(known, asked, later),
    metrics,
    new FakeClock(),
    silentLogger,
    { zone, ttlSeconds: 5, settings: { hosts: noHosts, version: 0 }, pods, autopath: true },
  );
  for (const namespace of ['default', 'other']) table.setNamespace(namespace, true);
  table.setService(
    'default/web',
    compileService(serviceOf('web', '10.43.0.80'), () => []),
  );
  table.synced = true;
  pods.set('default/a', podOf('default', ['10.42.0.5', 'fd00:42::5']));
  pods.set('other/b', podOf('other', ['fd00:42::6']));
  const added = { dnsConfig: { searches: ['Corp.example.', 'b.example'] } };
  pods.set('default/c', podOf('default', ['10.42.0.7', 'fd00:42::7'], added));
  return { resolver, pods, asked };
}

/** The addresses that a client is told, and whether the answer was there already. */
async function ask(resolver: Resolver, name: string, client: string) {
  const query = packet.encode({ type: 'query', id: 1, questions: [{ type: 'A', name }] });
  const via: Via = { protocol: 'udp', family: client.includes(':') ? 6 : 4 };
  const { peer } = clientOf(client);
  const output = Buffer.alloc(1300);
  const bytes = resolver.quick(query, 0, query.length, output, 0, via, peer, 0);
  const answer = bytes > 0 ? output.subarray(0, bytes) : await resolver.resolve(query, via, peer);
  const { answers = [] } = packet.decode(answer ?? Buffer.alloc(0));
  const addresses = answers.flatMap((record) => (record.type === 'A' ? [record.data] : []));
  return { isQuick: bytes > 0, addresses, names: answers.map((record) => record.name) };
}

describe('autopath', () => {
  test('the first search of a name names its Pod, and its list what comes next', () => {
    assert.deepEqual(firstSearchOf('www.example.com.default.svc.cluster.local', zone), {
      namespace: 'default',
      given: 'www.example.com',
    });
    assert.deepEqual(laterSearches('www.example.com', ['default.svc.a', 'svc.a', 'a', 'corp']), [
      'www.example.com.svc.a',
      'www.example.com.a',
      'www.example.com.corp',
      'www.example.com',
    ]);
    for (const name of [
      'default.svc.cluster.local',
      'svc.cluster.local',
      'www.example.com',
      '.svc.cluster.local',
    ]) {
      assert.equal(firstSearchOf(name, zone), undefined, name);
    }
  });

  for (const { what, pod, stranger } of [
    { what: 'IPv4', pod: '10.42.0.5', stranger: '10.42.0.9' },
    { what: 'IPv6, another Pod in the same network', pod: 'fd00:42::5', stranger: 'fd00:42::6' },
    { what: 'IPv6, nobody in the same network', pod: 'fd00:42::5', stranger: 'fd00:42::9' },
    { what: 'IPv4 in IPv6', pod: '::ffff:10.42.0.5', stranger: '::ffff:10.42.0.9' },
  ]) {
    test(`only Pods of the namespace get the last name at once, quick or not: ${what}`, async () => {
      const { resolver } = world();
      const first = 'web.default.default.svc.cluster.local'; // "web.default" as a Pod of "default" asks for it
      for (const isQuick of [false, true]) {
        const other = await ask(resolver, first, stranger);
        assert.deepEqual([other.isQuick, other.addresses], [isQuick, []]);
        const own = await ask(resolver, first, pod);
        assert.deepEqual([own.isQuick, own.addresses, own.names], [isQuick, ['10.43.0.80'], [first]]);
      }
    });
  }

  for (const later of [false, true]) {
    test(`a list with additions is searched in its order (others answer ${later ? 'later' : 'at once'})`, async () => {
      const known = { 'www.corp.example': '192.0.2.1', 'www.b.example': '192.0.2.2' };
      const { resolver, asked } = world(known, later);
      const first = 'www.default.svc.cluster.local';
      for (const client of ['10.42.0.7', 'fd00:42::7', '10.42.0.7']) {
        assert.deepEqual((await ask(resolver, first, client)).addresses, ['192.0.2.1']);
      }
      assert.deepEqual([...new Set(asked)], ['www.corp.example']);
      assert.deepEqual((await ask(resolver, first, '10.42.0.5')).addresses, [], 'another Pod, another list');
      assert.deepEqual((await ask(resolver, first, '10.42.0.7')).addresses, ['192.0.2.1']);
    });

    test(`a name that no search knows is asked as it is (others answer ${later ? 'later' : 'at once'})`, async () => {
      const { resolver, asked } = world({ 'www.example.com': '192.0.2.3' }, later);
      const first = 'www.example.com.default.svc.cluster.local';
      assert.deepEqual((await ask(resolver, first, '10.42.0.7')).addresses, ['192.0.2.3']);
      assert.deepEqual(asked, [
        'www.example.com.corp.example',
        'www.example.com.b.example',
        'www.example.com',
      ]);
      assert.deepEqual((await ask(resolver, 'no.default.svc.cluster.local', '10.42.0.7')).addresses, []);
    });
  }

  test('Pods that do not search as the cluster does are left alone', async () => {
    const { resolver, pods } = world();
    const first = 'web.default.default.svc.cluster.local';
    for (const [address, spec] of [
      ['10.42.1.1', { dnsPolicy: 'Default' }],
      ['10.42.1.2', { dnsPolicy: 'None', dnsConfig: { searches: ['corp.example'] } }],
      ['10.42.1.3', { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }],
    ] as const) {
      pods.set(`default/${address}`, podOf('default', [address], spec));
      assert.deepEqual((await ask(resolver, first, address)).addresses, [], JSON.stringify(spec));
    }
    const same = {
      dnsPolicy: 'None',
      dnsConfig: { searches: ['default.svc.cluster.local', 'svc.cluster.local'] },
    };
    pods.set('default/same', podOf('default', ['10.42.1.4'], same));
    assert.deepEqual((await ask(resolver, first, '10.42.1.4')).addresses, ['10.43.0.80']);
  });

  test('more search lists than are told apart: those Pods search by themselves', async () => {
    const { resolver, pods } = world();
    const first = 'web.default.default.svc.cluster.local';
    for (let index = 0; index <= searchListsMax; index++) {
      const spec = { dnsConfig: { searches: [`s${index}.example`] } };
      pods.set(`default/p${index}`, podOf('default', [`10.42.${2 + (index >> 8)}.${index & 255}`], spec));
    }
    assert.deepEqual((await ask(resolver, first, '10.42.2.0')).addresses, ['10.43.0.80']);
    assert.deepEqual((await ask(resolver, first, `10.42.2.255`)).addresses, []);
  });

  test('a Pod that went is nobody any more', async () => {
    const { resolver, pods } = world();
    const first = 'web.default.default.svc.cluster.local';
    for (const client of ['10.42.0.5', 'fd00:42::5']) {
      assert.equal((await ask(resolver, first, client)).addresses.length, 1);
    }
    pods.set('default/a', undefined);
    for (const client of ['10.42.0.5', 'fd00:42::5']) {
      assert.equal((await ask(resolver, first, client)).addresses.length, 0);
    }
  });
});
