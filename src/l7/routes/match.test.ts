import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { compileRoutes } from './compile.ts';
import { matchRoute } from './match.ts';
import type { RouteTable } from './table.ts';

type PathRule = readonly [pathType: string, path: string];

/** A table of one host with the paths; each path's Service is called after its type and path. */
function tableOf(host: string, paths: readonly PathRule[], withDefault = false): RouteTable {
  const ingress: Ingress = {
    metadata: { name: 'a', namespace: 'default', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      ingressClassName: 'fairlead',
      ...(withDefault ? { defaultBackend: backendOf('default') } : {}),
      rules: [
        {
          host,
          http: {
            paths: paths.map(([pathType, path]) => ({
              pathType,
              path,
              backend: backendOf(`${pathType} ${path}`),
            })),
          },
        },
      ],
    },
  };
  return tableOfIngresses([ingress]);
}

function backendOf(name: string) {
  return { service: { name, port: { number: 80 } } };
}

function tableOfIngresses(ingresses: readonly Ingress[]): RouteTable {
  const ours = { metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } };
  const view = {
    ingressClasses: [ours],
    ingresses,
    service: () => undefined,
    slices: () => [],
    secret: () => undefined,
    staticResponse: () => undefined,
    configMap: () => undefined,
    parameters: () => undefined,
  };
  return compileRoutes(view, []).table;
}

/** The Service that the request goes to; undefined: 404. */
function matched(table: RouteTable, host: string, path: string): string | undefined {
  const route = matchRoute(table, host, path);
  return (route === undefined ? undefined : table.backends[route.backend])?.key
    .replace(/^default\//, '')
    .replace(/:80$/, '');
}

/** The table of the Kubernetes documentation, and the word of the API's own comments. */
const documented: readonly (readonly [
  rules: readonly PathRule[],
  request: string,
  want: string | undefined,
])[] = [
  [[['Prefix', '/']], '/', 'Prefix /'],
  [[['Prefix', '/']], '/any/path', 'Prefix /'],
  [[['Exact', '/foo']], '/foo', 'Exact /foo'],
  [[['Exact', '/foo']], '/bar', undefined],
  [[['Exact', '/foo']], '/foo/', undefined],
  [[['Exact', '/foo/']], '/foo', undefined],
  [[['Prefix', '/foo']], '/foo', 'Prefix /foo'],
  [[['Prefix', '/foo']], '/foo/', 'Prefix /foo'],
  [[['Prefix', '/foo/']], '/foo', 'Prefix /foo/'],
  [[['Prefix', '/foo/']], '/foo/', 'Prefix /foo/'],
  [[['Prefix', '/aaa/bb']], '/aaa/bbb', undefined],
  [[['Prefix', '/aaa/bbb']], '/aaa/bbb', 'Prefix /aaa/bbb'],
  [[['Prefix', '/aaa/bbb/']], '/aaa/bbb', 'Prefix /aaa/bbb/'],
  [[['Prefix', '/aaa/bbb']], '/aaa/bbb/', 'Prefix /aaa/bbb'],
  [[['Prefix', '/aaa/bbb']], '/aaa/bbb/ccc', 'Prefix /aaa/bbb'],
  [[['Prefix', '/aaa/bbb']], '/aaa/bbbxyz', undefined],
  [
    [
      ['Prefix', '/'],
      ['Prefix', '/aaa'],
    ],
    '/aaa/ccc',
    'Prefix /aaa',
  ],
  [
    [
      ['Prefix', '/'],
      ['Prefix', '/aaa'],
      ['Prefix', '/aaa/bbb'],
    ],
    '/aaa/bbb',
    'Prefix /aaa/bbb',
  ],
  [
    [
      ['Prefix', '/'],
      ['Prefix', '/aaa'],
      ['Prefix', '/aaa/bbb'],
    ],
    '/ccc',
    'Prefix /',
  ],
  [
    [
      ['Prefix', '/foo'],
      ['Exact', '/foo'],
    ],
    '/foo',
    'Exact /foo',
  ],
  [
    [
      ['Prefix', '/foo'],
      ['Prefix', '/foo/'],
    ],
    '/foo',
    'Prefix /foo/',
  ],
  [
    [
      ['Prefix', '/foo'],
      ['Prefix', '/foo/'],
    ],
    '/foo/',
    'Prefix /foo/',
  ],
  [
    [
      ['Prefix', '/foo/'],
      ['Prefix', '/foo'],
    ],
    '/foo',
    'Prefix /foo/',
  ],
  [[['ImplementationSpecific', '/foo']], '/foo/bar', 'ImplementationSpecific /foo'],
  [[['ImplementationSpecific', '']], '/x', 'ImplementationSpecific '],
  [[['Prefix', '/Foo']], '/foo', undefined],
  [[['Prefix', '/a/b/c']], '/a/b', undefined],
  [
    [
      ['Prefix', '/a'],
      ['Prefix', '/a/b/c'],
    ],
    '/a/b/x',
    'Prefix /a',
  ],
  [[['Prefix', '/']], '//', 'Prefix /'],
  [[['Prefix', '/']], '*', 'Prefix /'],
];

for (const [rules, request, want] of documented) {
  const described = rules.map((rule) => rule.join(' ')).join(' + ');
  test(`l7 path: ${described} for ${request}: ${want ?? 'no match'}`, () => {
    assert.equal(matched(tableOf('foo.com', rules), 'foo.com', request), want);
  });
}

test('l7 path: what matches nothing goes to the default backend', () => {
  const table = tableOf('foo.com', [['Prefix', '/aaa']], true);
  assert.equal(matched(table, 'foo.com', '/ccc'), 'default');
  assert.equal(matched(table, 'bar.com', '/aaa'), 'default');
});

const hosts: readonly (readonly [rule: string, host: string, matches: boolean])[] = [
  ['*.foo.com', 'bar.foo.com', true],
  ['*.foo.com', 'baz.bar.foo.com', false],
  ['*.foo.com', 'foo.com', false],
  ['foo.com', 'foo.com', true],
  ['foo.com', 'bar.foo.com', false],
  ['', 'whatever', true],
  ['', '', true],
];

for (const [rule, host, matches] of hosts) {
  test(`l7 host: "${rule}" ${matches ? 'matches' : 'does not match'} "${host}"`, () => {
    assert.equal(matched(tableOf(rule, [['Prefix', '/']]), host, '/') !== undefined, matches);
  });
}

test('l7 host: exact before wildcard before none, without falling through', () => {
  const rule = (host: string, name: string, path = '/') => ({
    ...(host === '' ? {} : { host }),
    http: { paths: [{ path, pathType: 'Prefix', backend: backendOf(name) }] },
  });
  const table = tableOfIngresses([
    {
      metadata: { name: 'a', namespace: 'default' },
      spec: {
        ingressClassName: 'fairlead',
        rules: [rule('', 'none'), rule('*.foo.com', 'wildcard'), rule('bar.foo.com', 'exact', '/only')],
      },
    },
  ]);
  assert.equal(matched(table, 'bar.foo.com', '/only'), 'exact');
  assert.equal(matched(table, 'bar.foo.com', '/else'), undefined);
  assert.equal(matched(table, 'x.foo.com', '/else'), 'wildcard');
  assert.equal(matched(table, 'foo.com', '/else'), 'none');
});

test('l7 path: a path of thousands of elements costs no more than the longest rule', () => {
  const table = tableOf('foo.com', [
    ['Prefix', '/'],
    ['Prefix', '/a/a'],
  ]);
  let lookups = 0;
  const { prefix } = table.exactHosts.get('foo.com')!;
  const counting = new Proxy(prefix, {
    get(target, property) {
      lookups += 1;
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const routes = { ...table.exactHosts.get('foo.com')!, prefix: counting };
  assert.equal(
    matched({ ...table, exactHosts: new Map([['foo.com', routes]]) }, 'foo.com', '/a'.repeat(4000)),
    'Prefix /a/a',
  );
  assert.ok(lookups < 10);
});
