import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Service } from '../../api/gen/core-v1.ts';
import { planBalancer } from './plan.ts';

function node(name: string, address: string, ready = 'True'): Node {
  return {
    metadata: { name },
    status: { addresses: [{ type: 'InternalIP', address }], conditions: [{ type: 'Ready', status: ready }] },
  };
}

function service(name: string, createdAt: string, spec: Service['spec'] = {}): Service {
  return {
    metadata: { name, namespace: 'default', creationTimestamp: `2026-01-31T12:00:0${createdAt}Z` },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec },
  };
}

const nodes = [node('b', '10.41.0.10'), node('a', '10.41.0.9'), node('c', '10.41.0.11', 'False')];
const web = service('web', '1');

const cases: readonly {
  name: string;
  service: Service;
  others: readonly Service[];
  want: readonly string[] | string;
}[] = [
  {
    name: 'all ready nodes, in order of address',
    service: web,
    others: [],
    want: ['10.41.0.9', '10.41.0.10'],
  },
  {
    name: 'a class of its own is not ours',
    service: service('x', '1', { loadBalancerClass: 'a.b/c' }),
    others: [],
    want: [],
  },
  {
    name: 'another type has no addresses',
    service: service('x', '1', { type: 'ClusterIP' }),
    others: [],
    want: [],
  },
  {
    name: 'the older one keeps the port',
    service: web,
    others: [service('late', '2')],
    want: ['10.41.0.9', '10.41.0.10'],
  },
  {
    name: 'the younger one waits',
    service: service('late', '2'),
    others: [web],
    want: '80/TCP of default/web',
  },
  {
    name: 'the same port of another protocol is no clash',
    service: service('dns', '2', { ports: [{ port: 80, protocol: 'UDP' }] }),
    others: [web],
    want: ['10.41.0.9', '10.41.0.10'],
  },
  {
    name: 'one that lost all its ports takes none from others',
    service: service('third', '3', { ports: [{ port: 81 }] }),
    others: [web, service('second', '2', { ports: [{ port: 80 }, { port: 81 }] })],
    want: ['10.41.0.9', '10.41.0.10'],
  },
];

for (const { name, service: wanted, others, want } of cases) {
  test(`servicelb: ${name}`, () => {
    const { ingress, clash } = planBalancer(wanted, [...others, wanted], nodes);
    const got = clash === undefined ? ingress.map(({ ip }) => ip) : `${clash.port} of ${clash.service}`;
    assert.deepEqual(got, want);
  });
}
