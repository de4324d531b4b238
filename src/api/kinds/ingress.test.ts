import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { dnsSubdomainProblems, wildcardSubdomainProblems } from '../names.ts';
import { ingressKind } from './ingress.ts';
import { ingressClassKind } from './ingressclass.ts';

function texts(errors: readonly FieldError[] | undefined): readonly string[] {
  return (errors ?? []).map((error) => `${error.field}: ${error.message}`);
}

const backend: JsonObject = { service: { name: 'web', port: { number: 80 } } };

function ingress(spec: JsonObject, annotations: JsonObject = {}): JsonObject {
  return { metadata: { name: 'web', namespace: 'default', annotations }, spec };
}

function withPath(path: JsonObject, host = 'a.example.com'): JsonObject {
  return ingress({
    rules: [{ host, http: { paths: [{ pathType: 'Prefix', path: '/', backend, ...path }] } }],
  });
}

const at = 'spec.rules[0].http.paths[0]';
const refusedAs = (host: string, problems: readonly string[]): string =>
  `spec.rules[0].host: Invalid value: ${JSON.stringify(host)}: ${problems[0]}`;
const hostRefused = (host: string): string => refusedAs(host, dnsSubdomainProblems(host));
const wildcardRefused = (host: string): string => refusedAs(host, wildcardSubdomainProblems(host));
const cases: readonly {
  readonly name: string;
  readonly object: JsonObject;
  readonly want: readonly string[];
}[] = [
  { name: 'a good one', object: withPath({}), want: [] },
  { name: 'a wildcard host', object: withPath({}, '*.example.com'), want: [] },
  { name: 'a default backend alone', object: ingress({ defaultBackend: backend }), want: [] },
  {
    name: 'nothing',
    object: ingress({}),
    want: ['spec: Invalid value: []: either `defaultBackend` or `rules` must be specified'],
  },
  {
    name: 'an address as host',
    object: withPath({}, '10.0.0.1'),
    want: ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
  },
  {
    name: 'a host with a port',
    object: withPath({}, 'a.example.com:80'),
    want: [hostRefused('a.example.com:80')],
  },
  {
    name: 'a host with a dot at its end',
    object: withPath({}, 'a.example.com.'),
    want: [hostRefused('a.example.com.')],
  },
  { name: 'a wildcard alone', object: withPath({}, '*'), want: [wildcardRefused('*')] },
  { name: 'a wildcard behind a label', object: withPath({}, 'a.*.com'), want: [wildcardRefused('a.*.com')] },
  { name: 'a wildcard within a label', object: withPath({}, '*a.com'), want: [wildcardRefused('*a.com')] },
  {
    name: 'no path, which only ImplementationSpecific may leave out',
    object: withPath({ path: '' }),
    want: [`${at}.path: Invalid value: "": must be an absolute path`],
  },
  {
    name: 'no path of type ImplementationSpecific',
    object: withPath({ path: '', pathType: 'ImplementationSpecific' }),
    want: [],
  },
  {
    name: 'a Service and a resource',
    object: withPath({ backend: { ...backend, resource: { kind: 'K', name: 'n' } } }),
    want: [`${at}.backend: Invalid value: "": cannot set both resource and service backends`],
  },
  {
    name: 'no path type',
    object: withPath({ pathType: '' }),
    want: [`${at}.pathType: Required value: pathType must be specified`],
  },
  {
    name: 'an unknown path type',
    object: withPath({ pathType: 'Regex' }),
    want: [
      `${at}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"`,
    ],
  },
  {
    name: 'a relative path',
    object: withPath({ path: 'foo' }),
    want: [`${at}.path: Invalid value: "foo": must be an absolute path`],
  },
  {
    name: 'a path with dots',
    object: withPath({ path: '/a/../b' }),
    want: [`${at}.path: Invalid value: "/a/../b": must not contain '/../'`],
  },
  {
    name: 'no backend',
    object: withPath({ backend: {} }),
    want: [
      `${at}.backend.service.name: Required value`,
      `${at}.backend: Required value: port name or number is required`,
    ],
  },
  {
    name: 'two ports',
    object: withPath({ backend: { service: { name: 'web', port: { name: 'http', number: 80 } } } }),
    want: [`${at}.backend: Invalid value: "": cannot set both port name & port number`],
  },
  {
    name: 'class and annotation that differ',
    object: ingress(
      { ingressClassName: 'a', defaultBackend: backend },
      { 'kubernetes.io/ingress.class': 'b' },
    ),
    want: [
      'annotations.kubernetes.io/ingress.class: Invalid value: "b": must match `ingressClassName` when both are specified',
    ],
  },
];

for (const { name, object, want } of cases) {
  test(`ingress: ${name}`, () => assert.deepEqual(texts(ingressKind.validate?.(object)), want));
}

test('ingress: a class and an annotation that differ are no bar to updates', () => {
  const object = ingress(
    { ingressClassName: 'a', defaultBackend: backend },
    { 'kubernetes.io/ingress.class': 'b' },
  );
  assert.deepEqual(texts(ingressKind.validate?.(object, ingress({ defaultBackend: backend }))), []);
});

test('ingress columns', () => {
  const object = withPath({});
  const cells = (given: JsonObject): readonly unknown[] =>
    ingressKind.columns.map((column) => column.cell(given, 0));
  assert.deepEqual(cells(object), ['web', '<none>', 'a.example.com', '', '80', '<unknown>']);
  const full = ingress({
    ingressClassName: 'fairlead',
    tls: [{}],
    rules: ['a', 'b', 'c', 'd'].map((host) => ({ host })),
  });
  full['status'] = { loadBalancer: { ingress: [{ ip: '10.41.0.2' }, { hostname: 'lb.local' }] } };
  assert.deepEqual(cells(full), [
    'web',
    'fairlead',
    'a,b,c + 1 more...',
    '10.41.0.2,lb.local',
    '80, 443',
    '<unknown>',
  ]);
  assert.equal(cells(ingress({ defaultBackend: backend }))[2], '*');
});

test('ingress class: controller is needed, domain-prefixed and immutable', () => {
  const made = (spec: JsonObject): JsonObject => ({ metadata: { name: 'a' }, spec });
  assert.deepEqual(texts(ingressClassKind.validate?.(made({ controller: 'fairlead.dev/ingress' }))), []);
  assert.deepEqual(texts(ingressClassKind.validate?.(made({}))), ['spec.controller: Required value']);
  assert.deepEqual(texts(ingressClassKind.validate?.(made({ controller: 'x' }))), [
    'spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")',
  ]);
  assert.deepEqual(
    texts(ingressClassKind.validateUpdate?.(made({ controller: 'a.b/c' }), made({ controller: 'a.b/d' }))),
    ['spec.controller: Invalid value: "a.b/c": field is immutable'],
  );
  const parameters = made({ controller: 'a.b/c', parameters: { kind: 'K', apiGroup: 'g.io', name: 'n' } });
  ingressClassKind.setDefaults?.(parameters);
  assert.deepEqual(texts(ingressClassKind.validate?.(parameters)), []);
  assert.deepEqual(
    ingressClassKind.columns.map((column) => column.cell(parameters, 0)),
    ['a', 'a.b/c', 'K.g.io/n', '<unknown>'],
  );
});

test('ingress class: the controller’s name has a bound, parameters name an object of one scope', () => {
  const made = (spec: JsonObject): JsonObject => ({ metadata: { name: 'a' }, spec });
  const controller = 'a.b/c';
  const long = made({ controller: `a.b/${'c'.repeat(247)}` });
  assert.deepEqual(texts(ingressClassKind.validate?.(long)), [
    'spec.controller: Too long: may not be more than 250 bytes',
  ]);
  const refusals = (parameters: JsonObject): readonly string[] =>
    texts(ingressClassKind.validate?.(made({ controller, parameters })));
  const at = 'spec.parameters';
  assert.deepEqual(refusals({ scope: 'Cluster' }), [
    `${at}.kind: Required value`,
    `${at}.name: Required value`,
  ]);
  assert.deepEqual(refusals({ kind: 'K', name: 'n', scope: 'Namespace' }), [
    `${at}.namespace: Required value: \`parameters.scope\` is set to 'Namespace'`,
  ]);
  assert.deepEqual(refusals({ kind: 'K', name: 'n', scope: 'Cluster', namespace: 'x' }), [
    `${at}.namespace: Forbidden: \`parameters.scope\` is set to 'Cluster'`,
  ]);
  assert.deepEqual(refusals({ kind: 'K', name: 'n', scope: 'World' }), [
    `${at}.scope: Unsupported value: "World": supported values: "Cluster", "Namespace"`,
  ]);
});
