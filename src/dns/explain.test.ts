import assert from 'node:assert/strict';
import { test } from 'node:test';
import { balancedAt, serviceOf, sliceOf } from '../../test/support/services.ts';
import type { AnswerOptions } from './answer.ts';
import { explainDns } from './explain.ts';
import { hostLookup, hostWorld } from './explain-world.ts';
import { addressesOf, compileService } from './records.ts';
import { noHosts } from './settings.ts';
import { DnsTable } from './table.ts';

const zone = 'cluster.local';
const options: AnswerOptions = {
  zone,
  ttlSeconds: 5,
  forwards: () => true,
  zoneOnly: false,
  hosts: noHosts,
  isPod: undefined,
  order: undefined,
};
const routes = { upstreams: [{ host: '10.0.0.1', port: 53 }], stubDomains: new Map() };
const pod = {
  asker: 'Pod other/curl',
  searches: [`other.svc.${zone}`, `svc.${zone}`, zone],
  ndots: 5,
};

function table(): DnsTable {
  const made = new DnsTable(7);
  for (const namespace of ['default', 'other']) made.setNamespace(namespace, true);
  made.setService(
    'default/web',
    compileService(serviceOf('web', '10.43.0.80'), () => []),
  );
  made.setService(
    'default/db',
    compileService(serviceOf('db', 'None'), () => [sliceOf('db', ['10.42.0.1'])]),
  );
  made.synced = true;
  return made;
}

const cases: readonly (readonly [name: string, want: readonly string[]])[] = [
  [
    'web.default',
    [
      'Pod other/curl looks up web.default',
      '  search other.svc.cluster.local svc.cluster.local cluster.local; 1 dot, ndots 5',
      '1. web.default.other.svc.cluster.local. A',
      '     NXDOMAIN: there is no Service other/default',
      '2. web.default.svc.cluster.local. A',
      '     NOERROR: Service default/web (ClusterIP)',
      '     web.default.svc.cluster.local. A 10.43.0.80',
    ],
  ],
  [
    'x.db.default.svc.cluster.local.',
    [
      'Pod other/curl looks up x.db.default.svc.cluster.local.',
      '1. x.db.default.svc.cluster.local. A',
      '     NXDOMAIN: Service default/db (headless) has no ready endpoint named x, of 1 ready endpoint',
      'no question was answered: the name does not exist for this asker',
    ],
  ],
  [
    'www.example.com.',
    [
      'Pod other/curl looks up www.example.com.',
      '1. www.example.com. A',
      '     asked of 10.0.0.1:53: www.example.com.',
    ],
  ],
  [
    'web',
    [
      'Pod other/curl looks up web',
      '  search other.svc.cluster.local svc.cluster.local cluster.local; 0 dots, ndots 5',
      '1. web.other.svc.cluster.local. A',
      '     NXDOMAIN: there is no Service other/web',
      '2. web.svc.cluster.local. A',
      '     NXDOMAIN: there is no namespace web',
      '3. web.cluster.local. A',
      '     NXDOMAIN: cluster.local has svc and pod below it, not "web"',
      '4. web. A',
      '     NXDOMAIN: a name of one label is not asked of others',
      'no question was answered: the name does not exist for this asker',
    ],
  ],
];

for (const [name, want] of cases) {
  test(`explain dns: ${name}`, () => {
    assert.deepEqual(explainDns(name, pod, table(), options, routes).trimEnd().split('\n'), want);
  });
}

test('explain dns: from this machine names lead to published ports, or it is told why not', () => {
  const spec = { type: 'LoadBalancer', ports: [{ port: 8080, protocol: 'TCP' }] };
  const balancer = serviceOf('shop', '10.43.0.81', spec, balancedAt('10.41.0.2'));
  const made = table();
  made.setService(
    'default/shop',
    compileService(balancer, () => []),
  );
  const world = { table: made, options, routes, problems: [] };
  const seen = hostWorld(world, [{ addresses: addressesOf(['127.0.0.1']), hostPort: 9090, port: 8080 }]);
  const told = (name: string): readonly string[] =>
    explainDns(name, hostLookup, seen.table, seen.options, seen.routes).trimEnd().split('\n');
  assert.deepEqual(told('shop.default.svc.cluster.local').slice(2), [
    '1. shop.default.svc.cluster.local. A',
    '     NOERROR: Service default/shop (LoadBalancer, by its published ports)',
    '     shop.default.svc.cluster.local. A 127.0.0.1',
  ]);
  assert.deepEqual(told('web.default.svc.cluster.local').slice(2), [
    '1. web.default.svc.cluster.local. A',
    '     NOERROR: nothing of Service default/web is published on this machine: that takes type LoadBalancer and a port that `up -p` publishes',
  ]);
  assert.match(
    told('www.example.com.').join('\n'),
    /REFUSED: not a name of the cluster: the next server is asked/,
  );
});
