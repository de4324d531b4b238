import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ConfigMap, Secret, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { keyOf } from '../../api/object.ts';
import { type CompiledRoutes, compileRoutes } from './compile.ts';
import { type ListedObjects, viewOf } from '../controller/listed-view.ts';
import {
  changeOfRouteObjects,
  noRouteObjects,
  type RouteObjectsChange,
  RouteReplica,
  routeObjectsOf,
} from './route-objects.ts';
import { renderRouteTable } from './table.ts';

const namespace = 'default';
const names = ['a', 'b', 'c'] as const;

function ingress(name: string, host: string, service: string, secretName: string): Ingress {
  const backend = { service: { name: service, port: { number: 80 } } };
  return {
    metadata: {
      name,
      namespace,
      creationTimestamp: `2026-01-0${name.charCodeAt(0) % 9}T00:00:00Z`,
      annotations: {
        'fairlead.dev/response-headers-from': service,
        'fairlead.dev/client-certificate-secret': secretName,
      },
    },
    spec: {
      ingressClassName: 'fairlead',
      tls: [{ hosts: [`${host}.example`], secretName }],
      rules: [{ host: `${host}.example`, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
    },
  };
}

function service(name: string, nodePort: number): Service {
  return { metadata: { name, namespace }, spec: { ports: [{ name: 'http', port: 80, nodePort }] } };
}

function slice(name: string, index: number, addresses: readonly string[]): EndpointSlice {
  return {
    metadata: { name: `${name}-${index}`, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [address] })),
    ports: [{ name: 'http', port: 8080 }],
  };
}

function secret(name: string, version: number): Secret {
  const pem = Buffer.from('-----BEGIN X').toString('base64');
  return {
    metadata: { name, namespace, resourceVersion: String(version) },
    data: {
      'tls.crt': pem,
      'tls.key': pem,
      'ca.crt': Buffer.from(`-----BEGIN ${version}`).toString('base64'),
    },
  };
}

function configMap(name: string, value: number): ConfigMap {
  return { metadata: { name, namespace }, data: { 'X-Value': String(value) } };
}

/** What is made of objects that Ingresses name beside their backends. */
function policiesOf({ table }: CompiledRoutes): readonly unknown[] {
  return [...table.exactHosts].map(([host, { prefix, clientCertificate }]) => [
    host,
    clientCertificate?.tls.id,
    [...prefix.values()].map(({ policy }) => policy?.responseFields),
  ]);
}

const name = fc.constantFrom(...names);
const address = fc.integer({ min: 1, max: 9 }).map((last) => `10.0.0.${last}`);
const world = fc.record({
  ingresses: fc.uniqueArray(fc.tuple(name, name, name, name), { selector: ([key]) => key, maxLength: 3 }),
  services: fc.uniqueArray(fc.tuple(name, fc.integer({ min: 30_000, max: 30_002 })), {
    selector: ([key]) => key,
  }),
  slices: fc.uniqueArray(
    fc.tuple(name, fc.integer({ min: 0, max: 2 }), fc.uniqueArray(address, { maxLength: 3 })),
    {
      selector: ([key, index]) => `${key} ${index}`,
    },
  ),
  secrets: fc.uniqueArray(fc.tuple(name, fc.integer({ min: 1, max: 2 })), { selector: ([key]) => key }),
  configMaps: fc.uniqueArray(fc.tuple(name, fc.integer({ min: 1, max: 2 })), { selector: ([key]) => key }),
});

test('l7 route objects: a replica that got only the changes compiles to the same table', () => {
  fc.assert(
    fc.property(fc.array(world, { minLength: 1, maxLength: 6 }), (worlds) => {
      const known = new Map<string, object>(); // what did not change is the same object, as from an informer
      const same = <T extends object>(object: T): T => {
        const text = JSON.stringify(object);
        const before = known.get(text);
        if (before === undefined) known.set(text, object);
        return (before ?? object) as T;
      };
      const replica = new RouteReplica();
      let main: CompiledRoutes | undefined;
      let copy: CompiledRoutes | undefined;
      let sent = noRouteObjects;
      for (const { ingresses, services, slices, secrets, configMaps } of worlds) {
        const listed: ListedObjects = {
          ingressClasses: [
            same({ metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } }),
          ],
          ingresses: ingresses.map((parts) => same(ingress(...parts))),
          services: services.map((parts) => same(service(...parts))),
          slices: slices.map((parts) => same(slice(...parts))),
          secrets: secrets.map((parts) => same(secret(...parts))),
          configMaps: configMaps.map((parts) => same(configMap(...parts))),
        };
        main = compileRoutes(viewOf(listed), ['fairlead'], main);
        const afresh = compileRoutes(viewOf(listed), ['fairlead']);
        assert.equal(
          renderRouteTable(main.table),
          renderRouteTable(afresh.table),
          'nothing of the past is left',
        );
        assert.deepEqual(policiesOf(main), policiesOf(afresh));
        assert.deepEqual(main.owned, afresh.owned);
        const objects = routeObjectsOf(main);
        const change = structuredClone(changeOfRouteObjects(sent, objects));
        sent = objects;
        replica.apply(change);
        copy = compileRoutes(replica, ['fairlead'], copy);
        assert.equal(renderRouteTable(copy.table), renderRouteTable(main.table));
        assert.deepEqual(policiesOf(copy), policiesOf(main));
        assert.deepEqual(
          copy.table.backends.map(({ key }) => key),
          main.table.backends.map(({ key }) => key),
        );
      }
    }),
    { numRuns: 200 },
  );
});

test('l7 route objects: a change of endpoints sends one Service its slices and nothing else', () => {
  const listed: ListedObjects = {
    ingressClasses: [{ metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } }],
    ingresses: names.map((item) => ingress(item, item, item, item)),
    services: [...names, 'nobodys'].map((item) => service(item, 30_000)),
    slices: names.map((item) => slice(item, 0, ['10.0.0.1'])),
    secrets: names.map((item) => secret(item, 1)),
  };
  const first = compileRoutes(viewOf(listed), ['fairlead']);
  const slices = [...listed.slices.slice(0, 2), slice('c', 0, ['10.0.0.2'])];
  const second = compileRoutes(viewOf({ ...listed, slices }), ['fairlead'], first);
  const change: RouteObjectsChange = changeOfRouteObjects(routeObjectsOf(first), routeObjectsOf(second));
  const nothing = { set: [], gone: [] };
  assert.deepEqual(change, {
    ingressClasses: nothing,
    ingresses: nothing,
    services: nothing,
    slices: { set: [['default/c', [slices[2]]]], gone: [] },
    secrets: nothing,
    staticResponses: nothing,
    configMaps: nothing,
    parameters: nothing,
  });
  assert.ok(!routeObjectsOf(first).services.has(keyOf(service('nobodys', 30_000))), 'others stay at home');
});
