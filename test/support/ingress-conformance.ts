import type { Service } from '../../src/api/gen/core-v1.ts';
import type { EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import type { Ingress, IngressSpec } from '../../src/api/gen/networking-v1.ts';

/** One request and what the Ingress API says about it; `want`: the name of the backend that answers, or a status. */
export type ConformanceCase = {
  readonly name: string;
  readonly host: string;
  readonly path: string;
  readonly want: string;
};

export const backendNames = ['one', 'two', 'three'] as const;

type PathRow = readonly [
  paths: readonly (readonly [pathType: string, path: string])[],
  requests: readonly (readonly [path: string, want: number])[],
];

/**
 * The table of the Ingress documentation and the comments of networking/v1. Each row is an Ingress on a host of its own
 * whose paths lead to the backends one, two, three in their order; `want` is which path serves, -1 none.
 */
const pathRows: readonly PathRow[] = [
  [
    [['Prefix', '/']],
    [
      ['/', 0],
      ['/any/path', 0],
    ],
  ],
  [
    [['Exact', '/foo']],
    [
      ['/foo', 0],
      ['/bar', -1],
      ['/foo/', -1],
      ['/Foo', -1],
    ],
  ],
  [[['Exact', '/foo/']], [['/foo', -1]]],
  [
    [['Prefix', '/foo']],
    [
      ['/foo', 0],
      ['/foo/', 0],
    ],
  ],
  [
    [['Prefix', '/foo/']],
    [
      ['/foo', 0],
      ['/foo/', 0],
    ],
  ],
  [[['Prefix', '/aaa/bb']], [['/aaa/bbb', -1]]],
  [
    [['Prefix', '/aaa/bbb']],
    [
      ['/aaa/bbb', 0],
      ['/aaa/bbb/', 0],
      ['/aaa/bbb/ccc', 0],
      ['/aaa/bbbxyz', -1],
    ],
  ],
  [[['Prefix', '/aaa/bbb/']], [['/aaa/bbb', 0]]],
  [
    [
      ['Prefix', '/'],
      ['Prefix', '/aaa'],
    ],
    [['/aaa/ccc', 1]],
  ],
  [
    [
      ['Prefix', '/'],
      ['Prefix', '/aaa'],
      ['Prefix', '/aaa/bbb'],
    ],
    [
      ['/aaa/bbb', 2],
      ['/ccc', 0],
    ],
  ],
  [[['Prefix', '/aaa']], [['/ccc', -1]]],
  [
    [
      ['Prefix', '/foo'],
      ['Exact', '/foo'],
    ],
    [
      ['/foo', 1],
      ['/foo/x', 0],
    ],
  ],
  [
    [
      ['Prefix', '/foo'],
      ['Prefix', '/foo/'],
    ],
    [
      ['/foo', 1],
      ['/foo/', 1],
    ],
  ],
  [[['ImplementationSpecific', '/impl']], [['/impl/x', 0]]],
  [[['Prefix', '/q']], [['/q?a=/other', 0]]],
  // Without a path, which only this type may leave out, it is everything.
  [
    [['ImplementationSpecific', '']],
    [
      ['/', 0],
      ['/any', 0],
    ],
  ],
  // Characters that RFC 3986 has no place for.
  [
    [['Prefix', '/{a}|b']],
    [
      ['/{a}|b/c', 0],
      ['/{a}', -1],
    ],
  ],
];

function backend(name: string, port: { name?: string; number?: number } = { number: 80 }) {
  return { service: { name, port } };
}

function rule(host: string, name: string): NonNullable<IngressSpec['rules']>[number] {
  return { host, http: { paths: [{ path: '/', pathType: 'Prefix', backend: backend(name) }] } };
}

function ingress(name: string, spec: IngressSpec, annotations?: Readonly<Record<string, string>>): Ingress {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace: 'default', ...(annotations === undefined ? {} : { annotations }) },
    spec,
  };
}

const ours = { ingressClassName: 'fairlead' } as const;

/** All Ingresses of the suite at once: each sentence has hosts of its own. In the order in which they are to be created. */
export function conformanceIngresses(): readonly Ingress[] {
  const rows = pathRows.map(([paths], index) =>
    ingress(`paths-${index}`, {
      ...ours,
      rules: [
        {
          host: `paths-${index}.example`,
          http: {
            paths: paths.map(([pathType, path], at) => ({
              pathType,
              path,
              backend: backend(backendNames[at] ?? 'one'),
            })),
          },
        },
      ],
    }),
  );
  return [
    ...rows,
    ingress('hosts', {
      ...ours,
      rules: [rule('foo.example', 'one'), rule('*.wild.example', 'two'), rule('exact.wild.example', 'three')],
    }),
    ingress('class-none', { rules: [rule('class-none.example', 'one')] }),
    ingress(
      'class-annotation',
      { rules: [rule('class-annotation.example', 'one')] },
      { 'kubernetes.io/ingress.class': 'fairlead' },
    ),
    ingress(
      'class-annotation-other',
      { rules: [rule('class-annotation-other.example', 'one')] },
      { 'kubernetes.io/ingress.class': 'other' },
    ),
    ingress('class-other', { ingressClassName: 'other', rules: [rule('class-other.example', 'one')] }),
    ingress('class-ghost', { ingressClassName: 'ghost', rules: [rule('class-ghost.example', 'one')] }),
    ingress('ports', {
      ...ours,
      rules: [
        {
          host: 'ports.example',
          http: {
            paths: [
              { path: '/named', pathType: 'Prefix', backend: backend('two', { name: 'http' }) },
              { path: '/numbered', pathType: 'Prefix', backend: backend('two', { number: 80 }) },
              { path: '/nameless', pathType: 'Prefix', backend: backend('two', { name: 'nope' }) },
            ],
          },
        },
      ],
    }),
    ingress('external', {
      ...ours,
      rules: [
        {
          host: 'external.example',
          http: {
            paths: [{ path: '/', pathType: 'Prefix', backend: backend('external', { name: 'http' }) }],
          },
        },
      ],
    }),
    ingress('unserved', {
      ...ours,
      rules: [
        {
          host: 'unserved.example',
          http: {
            paths: [
              { path: '/', pathType: 'Prefix', backend: backend('one') },
              {
                path: '/resource',
                pathType: 'Prefix',
                backend: { resource: { apiGroup: 'k8s.example.com', kind: 'StorageBucket', name: 'static' } },
              },
              { path: '/ghost', pathType: 'Prefix', backend: backend('ghost') },
            ],
          },
        },
      ],
    }),
    ingress('any-host', {
      ...ours,
      rules: [{ http: { paths: [{ path: '/any-host', pathType: 'Prefix', backend: backend('two') }] } }],
    }),
    ingress('spread', { ...ours, rules: [rule('spread.example', 'pair')] }),
    ingress('elsewhere', { ...ours, rules: [rule('elsewhere.example', 'elsewhere')] }),
    ingress('conflict-a', { ...ours, rules: [rule('conflict.example', 'one')] }),
    ingress('conflict-b', { ...ours, rules: [rule('conflict.example', 'two')] }),
    ingress('merge-a', { ...ours, rules: [rule('merge.example', 'one')] }),
    ingress('merge-b', {
      ...ours,
      rules: [
        {
          host: 'merge.example',
          http: { paths: [{ path: '/two', pathType: 'Prefix', backend: backend('two') }] },
        },
      ],
    }),
    ingress('tls', {
      ...ours,
      rules: [rule('a.tls.example', 'one'), rule('b.tls.example', 'two'), rule('c.tls.example', 'three')],
      tls: [
        { hosts: ['a.tls.example'], secretName: 'cert-a' },
        { hosts: ['b.tls.example'], secretName: 'cert-b' },
        { hosts: ['c.tls.example'] },
      ],
    }),
  ];
}

/** Apart from the others, because its default backend is also that of requests which match no rule at all. */
export function ingressWithOwnDefault(): Ingress {
  return ingress('own-default', {
    ...ours,
    defaultBackend: backend('three'),
    rules: [
      {
        host: 'own-default.example',
        http: { paths: [{ path: '/one', pathType: 'Exact', backend: backend('one') }] },
      },
      { host: 'no-http.example' },
    ],
  });
}

/** The Services with an endpoint each on the loopback. `ports` in the order of `backendNames`. */
export function conformanceServices(
  address: string,
  ports: readonly number[],
): {
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
} {
  const metadata = (name: string) => ({ name, namespace: 'default' });
  const services: Service[] = backendNames.map((name) => ({
    metadata: metadata(name),
    spec: { type: 'ClusterIP', ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
  }));
  services.push({
    metadata: metadata('external'),
    spec: {
      type: 'ExternalName',
      externalName: 'localhost',
      ports: [{ name: 'http', port: ports[0] ?? 0, protocol: 'TCP' }],
    },
  });
  const http = { type: 'ClusterIP', ports: [{ name: 'http', port: 80, protocol: 'TCP' }] };
  services.push({ metadata: metadata('pair'), spec: http });
  services.push({ metadata: { name: 'elsewhere', namespace: 'kube-public' }, spec: http });
  const slices: EndpointSlice[] = backendNames.map((name, index) => ({
    metadata: { ...metadata(`${name}-x`), labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: [{ name: 'http', port: ports[index] ?? 0, protocol: 'TCP' }],
  }));
  const pair = slices.slice(0, 2).map((slice, index) => ({
    ...slice,
    metadata: { ...metadata(`pair-${index}`), labels: { 'kubernetes.io/service-name': 'pair' } },
  }));
  return { services, slices: [...slices, ...pair] };
}

/** Events that must come, by the Ingress's name. */
export const conformanceEvents: readonly (readonly [ingress: string, reason: string])[] = [
  ['conflict-b', 'PathConflict'],
  ['unserved', 'ServiceNotFound'],
  ['unserved', 'UnsupportedBackend'],
  ['ports', 'PortNotFound'],
  ['elsewhere', 'ServiceNotFound'],
];

/** Requests over HTTP. Without an Ingress that is everybody's default backend. */
export const conformanceCases: readonly ConformanceCase[] = [
  ...pathRows.flatMap(([paths, requests], index) =>
    requests.map(([path, want]) => ({
      name: `${paths.map(([pathType, rulePath]) => `${pathType} ${rulePath}`).join(', ')}: request ${path}`,
      host: `paths-${index}.example`,
      path,
      want: want === -1 ? '404' : (backendNames[want] ?? ''),
    })),
  ),
  ...(
    [
      ['a host matches if the Host header equals it', 'foo.example', '/', 'one'],
      ['whatever its case, and with a port', 'FOO.example:8080', '/', 'one'],
      ['another host does not match', 'bar.example', '/', '404'],
      ['a wildcard stands for the first label', 'bar.wild.example', '/', 'two'],
      ['a wildcard does not match two labels', 'baz.bar.wild.example', '/', '404'],
      ['a wildcard does not match none', 'wild.example', '/', '404'],
      ['a precise host goes before a wildcard', 'exact.wild.example', '/', 'three'],
      ['a rule without host is for every host', 'nobody.example', '/any-host/x', 'two'],
      ['and for no path but its own', 'nobody.example', '/other', '404'],
      ['it is not asked where another rule names the host', 'bar.wild.example', '/any-host/x', 'two'],
      ['nor where no path of that host matches', 'paths-1.example', '/any-host', '404'],
      ['no class: the default class serves it', 'class-none.example', '/', 'one'],
      ['the old annotation is honoured', 'class-annotation.example', '/', 'one'],
      ['the old annotation of another class', 'class-annotation-other.example', '/', '404'],
      ['a class of another controller', 'class-other.example', '/', '404'],
      ['a class that does not exist', 'class-ghost.example', '/', '404'],
      ['a Service of that name in another namespace is not meant', 'elsewhere.example', '/', '503'],
      ['a port by name', 'ports.example', '/named', 'two'],
      ['a port by number', 'ports.example', '/numbered', 'two'],
      ['a port that the Service does not have', 'ports.example', '/nameless', '503'],
      ['an ExternalName Service', 'external.example', '/', 'one'],
      ['a resource backend of a kind that is not known', 'unserved.example', '/resource', '503'],
      ['a missing Service, not the shorter path', 'unserved.example', '/ghost', '503'],
      ['beside them the rest is served', 'unserved.example', '/', 'one'],
      ['the same host and path twice: the oldest wins', 'conflict.example', '/', 'one'],
      ['two Ingresses of a host are merged', 'merge.example', '/x', 'one'],
      ['two Ingresses of a host are merged, by the longer path', 'merge.example', '/two', 'two'],
    ] as const
  ).map(([name, host, path, want]) => ({ name, host, path, want })),
];

/** With `ingressWithOwnDefault`. */
export const ownDefaultCases: readonly ConformanceCase[] = (
  [
    ['no path matches: the default backend of the Ingress', 'own-default.example', '/other', 'three'],
    ['before it the path', 'own-default.example', '/one', 'one'],
    ['a rule without http leads to the default backend', 'no-http.example', '/x', 'three'],
  ] as const
).map(([name, host, path, want]) => ({ name, host, path, want }));
