import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../object.ts';
import { ingressKind } from './ingress.ts';
import { serviceKind } from './service.ts';

const metadata = { name: 'web', namespace: 'default' };
const at = 'status.loadBalancer.ingress[0]';

function service(point: JsonObject, type = 'LoadBalancer'): JsonObject {
  const object: JsonObject = {
    metadata,
    spec: { type, ports: [{ port: 80 }] },
    status: { loadBalancer: { ingress: [point] } },
  };
  serviceKind.setDefaults?.(object);
  return object;
}

const before = service({ ip: '10.41.0.9' });

for (const { name, object, want } of [
  {
    name: 'all that it may have',
    object: service({
      ip: '10.41.0.2',
      ipMode: 'Proxy',
      ports: [{ port: 80, protocol: 'TCP', error: 'example.com/NoPermission' }],
    }),
    want: [],
  },
  { name: 'a host name', object: service({ hostname: 'lb.example.com' }), want: [] },
  {
    name: 'no address',
    object: service({ ip: 'here' }),
    want: [`${at}.ip: Invalid value: "here": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`],
  },
  {
    name: 'an address as a host name',
    object: service({ hostname: '10.41.0.2' }),
    want: [`${at}.hostname: Invalid value: "10.41.0.2": must be a DNS name, not an IP address`],
  },
  {
    name: 'an unknown mode',
    object: service({ ip: '10.41.0.2', ipMode: 'Direct' }),
    want: [`${at}.ipMode: Unsupported value: "Direct": supported values: "Proxy", "VIP"`],
  },
  {
    name: 'a mode without an address',
    object: service({ hostname: 'lb.example.com', ipMode: 'VIP' }),
    want: [`${at}.ipMode: Forbidden: may not be specified when \`ip\` is not set`],
  },
  {
    name: 'ports',
    object: service({ ip: '10.41.0.2', ports: [{ port: 0, protocol: 'ICMP' }] }),
    want: [
      `${at}.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive`,
      `${at}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"`,
    ],
  },
  {
    name: 'another type of Service',
    object: service({ hostname: 'lb.example.com' }, 'ClusterIP'),
    want: ['status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is "LoadBalancer"'],
  },
]) {
  test(`load balancer status: ${name}`, () => {
    const found = serviceKind.validateStatus?.(object, before) ?? [];
    assert.deepEqual(
      found.map(({ field, message }) => `${field}: ${message}`),
      want,
    );
  });
}

test('load balancer status: an address is one of the nodes unless it says otherwise', () => {
  assert.deepEqual(before['status'], { loadBalancer: { ingress: [{ ip: '10.41.0.9', ipMode: 'VIP' }] } });
});

test('load balancer status: an error of a port is a name of at most 316 characters', () => {
  for (const error of ['no name', `a/${'b'.repeat(400)}`]) {
    const found = serviceKind.validateStatus?.(
      service({ ip: '10.41.0.2', ports: [{ port: 80, protocol: 'TCP', error }] }),
      before,
    );
    assert.deepEqual(
      found?.map(({ field }) => field),
      [`${at}.ports[0].error`],
    );
  }
});

test('load balancer status: of an Ingress, without modes; what was there before is no bar', () => {
  const ingress = (point: JsonObject): JsonObject => ({
    metadata,
    spec: { defaultBackend: { service: { name: 'web', port: { number: 80 } } } },
    status: { loadBalancer: { ingress: [point] } },
  });
  const old = ingress({ ip: '10.41.0.9' });
  assert.deepEqual(ingressKind.validateStatus?.(ingress({ ip: '10.41.0.2' }), old), []);
  const wrong = ingress({ ip: '10.41.0.256', hostname: 'A' });
  assert.deepEqual(
    ingressKind.validateStatus?.(wrong, old).map(({ field }) => field),
    [`${at}.ip`, `${at}.hostname`],
  );
  assert.deepEqual(ingressKind.validateStatus?.(wrong, structuredClone(wrong)), []);
});
