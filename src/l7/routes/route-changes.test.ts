import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Secret, Service } from '../../api/gen/core-v1.ts';
import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';
import { keyOf } from '../../api/object.ts';
import { type CompiledRoutes, compileRoutes } from './compile.ts';
import { createNginxReader } from '../nginx/translations.ts';
import { type HostRoutes, renderRouteTable } from './table.ts';

/** A cluster that changes: objects by key, each replaced as a whole. */
type World = {
  readonly ingresses: ReadonlyMap<string, Ingress>;
  readonly services: ReadonlyMap<string, Service>;
  readonly secrets: ReadonlyMap<string, Secret>;
  readonly classes: ReadonlyMap<string, IngressClass>;
};

const options = { nginx: createNginxReader([]), controllerName: 'fairlead.dev/ingress' };

function compile(world: World, previous?: CompiledRoutes, ingresses = [...world.ingresses.values()]) {
  const view = {
    ingressClasses: world.classes.values(),
    ingresses,
    service: (key: string) => world.services.get(key),
    slices: () => [],
    secret: (key: string) => world.secrets.get(key),
    staticResponse: () => undefined,
    configMap: () => undefined,
    parameters: (key: string) =>
      key === 'timeouts' ? { spec: { annotations: { 'read-timeout': '7s' } } } : undefined,
  };
  return compileRoutes(view, ['fairlead'], previous, options);
}

/** All that a table says, without the numbers of backends and without the order of maps. */
function said({ table, problems, owned }: CompiledRoutes): unknown {
  const named = (index: unknown) =>
    typeof index === 'number' ? (table.backends[index]?.id ?? index) : index;
  const plain = (value: unknown): unknown => {
    if (value instanceof Set) return [...value].sort(byText);
    if (value instanceof Map)
      return Object.fromEntries(
        [...value].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, plain(v)]),
      );
    if (Array.isArray(value)) return value.map(plain);
    if (typeof value !== 'object' || value === null) return value;
    if ('test' in value) return String(Object.values(value).length);
    const entries = Object.entries(value).map(([name, item]) => [
      name,
      (name === 'backend' || name === 'fallback') && typeof item === 'number' ? named(item) : plain(item),
    ]);
    return Object.fromEntries(entries);
  };
  const hosts = (map: ReadonlyMap<string, HostRoutes>) =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([host, routes]) => [host, plain(routes)]);
  const backends = table.backends.filter(({ id }) => id !== '');
  return {
    text: renderRouteTable(table),
    exactHosts: hosts(table.exactHosts),
    wildcardHosts: hosts(table.wildcardHosts),
    anyHost: plain(table.anyHost),
    defaultRoute: plain(table.defaultRoute),
    certificates: [...table.certificates].sort(([a], [b]) => (a < b ? -1 : 1)),
    backends: backends.map((backend) => plain({ ...backend, index: undefined })).sort(byText),
    problems: problems.map(({ ingress, reason, message }) => `${keyOf(ingress)} ${reason} ${message}`),
    owned: owned.map(keyOf),
  };
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

const hosts = ['a.example', 'www.a.example', 'b.example', '*.example', 'c.example', undefined];
const hostValue = fc.constantFrom(...hosts);
const ours = 'fairlead.dev/';
const nginx = 'nginx.ingress.kubernetes.io/';
const annotation = fc.constantFrom<readonly (readonly [string, string])[]>(
  [],
  [],
  [[`${ours}host-aliases`, 'c.example, www.a.example']],
  [[`${ours}host-aliases`, 'alias.example']],
  [[`${ours}www-redirect`, 'true']],
  [[`${ours}basic-auth-secret`, 's1']],
  [[`${ours}backend-tls-secret`, 's2']],
  [[`${ours}fallback-service`, 'two:80']],
  [[`${ours}path-regex`, 'true']],
  [[`${ours}read-timeout`, 'nonsense']],
  [[`${ours}balance`, 'random']],
  [[`${nginx}use-regex`, 'true']],
  [[`${nginx}auth-tls-secret`, 'default/s1']],
  [
    [`${ours}canary`, 'true'],
    [`${ours}canary-weight`, '20'],
  ],
  [
    [`${nginx}canary`, 'true'],
    [`${nginx}canary-weight`, '30'],
  ],
);
const backendValue = fc
  .record({ name: fc.constantFrom('one', 'two', 'three'), port: fc.constantFrom(80, 81) })
  .map(({ name, port }) => ({ service: { name, port: { number: port } } }));
const pathValue = fc.record({
  path: fc.constantFrom('/', '/x', '/x/', '/x/y', '/v[0-9]+', '/(', ''),
  pathType: fc.constantFrom('Prefix', 'Exact', 'ImplementationSpecific'),
  backend: fc.oneof({ weight: 8, arbitrary: backendValue }, { weight: 1, arbitrary: fc.constant({}) }),
});
const ruleValue = fc.record({
  host: hostValue,
  http: fc.record({ paths: fc.array(pathValue, { maxLength: 3 }) }),
});
const tlsValue = fc.record({
  hosts: fc.constantFrom(undefined, [], ['a.example'], ['b.example', '*.example']),
  secretName: fc.constantFrom('s1', 's2', 's3', undefined),
});
const ingressValue = fc
  .record({
    name: fc.constantFrom('i0', 'i1', 'i2', 'i3', 'i4', 'i5', 'i6', 'i7'),
    creationTimestamp: fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', undefined),
    annotations: annotation,
    className: fc.constantFrom('fairlead', 'fairlead', 'fairlead', 'timed', 'other', undefined),
    rules: fc.array(ruleValue, { maxLength: 3 }),
    tls: fc.array(tlsValue, { maxLength: 2 }),
    defaultBackend: fc.oneof(
      { weight: 3, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: backendValue },
    ),
  })
  .map(
    ({ name, creationTimestamp, annotations, className, rules, tls, defaultBackend }): Ingress => ({
      metadata: {
        name,
        namespace: 'default',
        creationTimestamp,
        annotations: Object.fromEntries(annotations),
      },
      spec: { ingressClassName: className, rules, tls, defaultBackend },
    }),
  );
const pem = Buffer.from('-----BEGIN').toString('base64');
const secretValue = fc
  .record({
    name: fc.constantFrom('s1', 's2', 's3'),
    resourceVersion: fc.constantFrom('1', '2'),
    data: fc.constantFrom<Record<string, string>>(
      { 'tls.crt': pem, 'tls.key': pem, 'ca.crt': pem },
      { auth: Buffer.from('me:{SHA}x').toString('base64') },
      {},
    ),
  })
  .map(
    ({ name, resourceVersion, data }): Secret => ({
      metadata: {
        name,
        namespace: 'default',
        uid: name,
        resourceVersion: `${resourceVersion}${Object.keys(data).length}`,
      },
      data,
    }),
  );
const serviceValue = fc
  .record({ name: fc.constantFrom('one', 'two', 'three'), port: fc.constantFrom(80, 81) })
  .map(
    ({ name, port }): Service => ({ metadata: { name, namespace: 'default' }, spec: { ports: [{ port }] } }),
  );
const classValue = fc
  .record({
    name: fc.constantFrom('timed', 'other', 'fairlead'),
    timed: fc.boolean(),
    isDefault: fc.boolean(),
  })
  .map(
    ({ name, timed, isDefault }): IngressClass => ({
      metadata: {
        name,
        annotations: isDefault ? { 'ingressclass.kubernetes.io/is-default-class': 'true' } : undefined,
      },
      spec: {
        controller: name === 'other' ? 'example.com/x' : options.controllerName,
        parameters: timed
          ? { apiGroup: 'fairlead.dev', kind: 'ClusterIngressParameters', name: 'timeouts', scope: 'Cluster' }
          : undefined,
      },
    }),
  );

type Edit = (world: World) => World;
const editOf = <K extends keyof World>(
  kind: K,
  values: fc.Arbitrary<Ingress | Secret | Service | IngressClass>,
): fc.Arbitrary<Edit> =>
  fc
    .record({ value: values, gone: fc.integer({ min: 0, max: 3 }) })
    .map(({ value, gone }) => (world: World) => {
      const objects = new Map<string, unknown>(world[kind]);
      if (gone === 0) objects.delete(keyOf(value));
      else objects.set(keyOf(value), value);
      return { ...world, [kind]: objects };
    });
const edit = fc.oneof(
  { weight: 8, arbitrary: editOf('ingresses', ingressValue) },
  { weight: 2, arbitrary: editOf('secrets', secretValue) },
  { weight: 1, arbitrary: editOf('services', serviceValue) },
  { weight: 1, arbitrary: editOf('classes', classValue) },
);
/** Each inner list is seen at once, as changes of one event-loop turn are. */
const edits = fc.array(fc.array(edit, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 });
const nothing: World = {
  ingresses: new Map(),
  services: new Map(),
  secrets: new Map(),
  classes: new Map([
    ['fairlead', { metadata: { name: 'fairlead' }, spec: { controller: options.controllerName } }],
  ]),
};

test('l7 route changes: after any edits the table is the one made from nothing', () => {
  fc.assert(
    fc.property(edits, (turns) => {
      let world = nothing;
      let compiled = compile(world);
      for (const turn of turns) {
        world = turn.reduce((now, change) => change(now), world);
        compiled = compile(world, compiled);
        assert.deepEqual(said(compiled), said(compile(world)));
        for (const [index, backend] of compiled.table.backends.entries()) assert.equal(backend.index, index);
      }
    }),
    { numRuns: 150 },
  );
});

test('l7 route changes: the order in which Ingresses are listed changes nothing', () => {
  fc.assert(
    fc.property(edits, (turns) => {
      const world = turns.flat().reduce((now, change) => change(now), nothing);
      const listed = [...world.ingresses.values()].reverse();
      assert.deepEqual(said(compile(world, undefined, listed)), said(compile(world)));
    }),
    { numRuns: 100 },
  );
});
