import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Secret, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import type { Ingress, IngressClass, IngressSpec } from '../../api/gen/networking-v1.ts';
import { keyOf } from '../../api/object.ts';
import { serviceKeyOfSlice } from '../../model/endpoints.ts';
import { type CompiledRoutes, compileRoutes } from './compile.ts';
import { matchRoute } from './match.ts';
import { renderRouteTable } from './table.ts';

type World = {
  readonly classes?: readonly IngressClass[];
  readonly ingresses?: readonly Ingress[];
  readonly services?: readonly Service[];
  readonly slices?: readonly EndpointSlice[];
  readonly secrets?: readonly Secret[];
};

const configuredNames: readonly string[] = ['fairlead'];
const defaultClasses = [ours('fairlead', true)];

function compile(world: World, previous?: CompiledRoutes): CompiledRoutes {
  const services = new Map((world.services ?? []).map((object) => [keyOf(object), object]));
  const secrets = new Map((world.secrets ?? []).map((object) => [keyOf(object), object]));
  const view = {
    ingressClasses: world.classes ?? defaultClasses,
    ingresses: world.ingresses ?? [],
    service: (key: string) => services.get(key),
    slices: (key: string) => (world.slices ?? []).filter((slice) => serviceKeyOfSlice(slice) === key),
    secret: (key: string) => secrets.get(key),
    staticResponse: () => undefined,
    configMap: () => undefined,
    parameters: () => undefined,
  };
  return compileRoutes(view, configuredNames, previous);
}

function ours(name: string, isDefault = false): IngressClass {
  const annotations = isDefault ? { 'ingressclass.kubernetes.io/is-default-class': 'true' } : undefined;
  return { metadata: { name, annotations }, spec: { controller: 'fairlead.dev/ingress' } };
}

function ingress(name: string, spec: IngressSpec, metadata: NonNullable<Ingress['metadata']> = {}): Ingress {
  return { metadata: { name, namespace: 'default', ...metadata }, spec };
}

function backend(name: string, port: { name?: string; number?: number } = { number: 80 }) {
  return { service: { name, port } };
}

function rule(host: string, name: string, path = '/', pathType = 'Prefix') {
  return { host, http: { paths: [{ path, pathType, backend: backend(name) }] } };
}

function service(name: string, spec: Service['spec'] = {}): Service {
  return { metadata: { name, namespace: 'default' }, spec: { ports: [{ name: 'http', port: 80 }], ...spec } };
}

function slice(name: string, ...endpoints: readonly (readonly [string, string])[]): EndpointSlice {
  return {
    metadata: { name: `${name}-x`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints: endpoints.map(([address, state]) => ({
      addresses: [address],
      conditions: {
        ready: state === 'ready',
        serving: state !== 'unready',
        terminating: state === 'terminating',
      },
    })),
  };
}

const fairlead = { ingressClassName: 'fairlead' };

test('l7 compile: a route names its backend with the ready endpoints in order', () => {
  const compiled = compile({
    ingresses: [ingress('web', { ...fairlead, rules: [rule('a.com', 'web')] })],
    services: [service('web')],
    slices: [
      slice(
        'web',
        ['10.0.0.2', 'ready'],
        ['10.0.0.1', 'ready'],
        ['10.0.0.3', 'unready'],
        ['10.0.0.4', 'terminating'],
      ),
    ],
  });
  assert.equal(
    renderRouteTable(compiled.table),
    'a.com Prefix / -> default/web:80 [10.0.0.1:8080 10.0.0.2:8080] (default/web)\n',
  );
  assert.deepEqual(compiled.problems, []);
});

test('l7 compile: with no ready endpoint, serving ones that terminate are better than none', () => {
  const compiled = compile({
    ingresses: [ingress('web', { ...fairlead, rules: [rule('a.com', 'web')] })],
    services: [service('web')],
    slices: [slice('web', ['10.0.0.3', 'unready'], ['10.0.0.4', 'terminating'])],
  });
  assert.deepEqual(compiled.table.backends[0]?.endpoints, [{ address: '10.0.0.4', port: 8080 }]);
});

const classCases: readonly (readonly [string, Partial<World>, Ingress, boolean])[] = [
  ['class of ours', {}, ingress('x', fairlead), true],
  [
    'class of another controller',
    { classes: [{ metadata: { name: 'n' }, spec: { controller: 'k8s.io/nginx' } }] },
    ingress('x', { ingressClassName: 'n' }),
    false,
  ],
  ['class that does not exist', {}, ingress('x', { ingressClassName: 'ghost' }), false],
  [
    'another class of ours',
    { classes: [ours('traefik')] },
    ingress('x', { ingressClassName: 'traefik' }),
    true,
  ],
  ['no class, ours is default', {}, ingress('x', {}), true],
  ['no class, ours is not default', { classes: [ours('fairlead')] }, ingress('x', {}), false],
  [
    'annotation of ours',
    {},
    ingress('x', {}, { annotations: { 'kubernetes.io/ingress.class': 'fairlead' } }),
    true,
  ],
  [
    'annotation of another',
    {},
    ingress('x', {}, { annotations: { 'kubernetes.io/ingress.class': 'nginx' } }),
    false,
  ],
  [
    'annotation without an IngressClass object',
    { classes: [] },
    ingress('x', {}, { annotations: { 'kubernetes.io/ingress.class': 'fairlead' } }),
    true,
  ],
  [
    'spec before annotation',
    {},
    ingress(
      'x',
      { ingressClassName: 'ghost' },
      { annotations: { 'kubernetes.io/ingress.class': 'fairlead' } },
    ),
    false,
  ],
];

for (const [name, world, object, owned] of classCases) {
  test(`l7 compile: ${name}: ${owned ? 'served' : 'ignored'}`, () => {
    assert.equal(compile({ ...world, ingresses: [object] }).owned.length, owned ? 1 : 0);
  });
}

test('l7 compile: for the same host and path the oldest Ingress wins, whatever the order', () => {
  const old = ingress(
    'z',
    { ...fairlead, rules: [rule('a.com', 'old')] },
    { creationTimestamp: '2026-01-01T00:00:00Z' },
  );
  const young = ingress(
    'a',
    { ...fairlead, rules: [rule('A.com', 'young')] },
    { creationTimestamp: '2026-01-02T00:00:00Z' },
  );
  const services = [service('old'), service('young')];
  const first = compile({ ingresses: [old, young], services });
  const second = compile({ ingresses: [young, old], services });
  assert.equal(renderRouteTable(first.table), 'a.com Prefix / -> default/old:80 [] (default/z)\n');
  assert.equal(renderRouteTable(second.table), renderRouteTable(first.table));
  assert.deepEqual(
    second.problems.map(({ ingress: of, reason }) => [of.metadata?.name, reason]),
    [['a', 'PathConflict']],
  );
});

const problemCases: readonly (readonly [string, IngressSpec, Partial<World>, string, string])[] = [
  [
    'missing Service',
    { rules: [rule('a', 'ghost')] },
    {},
    'ServiceNotFound',
    'spec.rules[0].http.paths[0].backend: there is no Service default/ghost',
  ],
  [
    'missing port',
    { defaultBackend: backend('web', { number: 81 }) },
    { services: [service('web')] },
    'PortNotFound',
    'spec.defaultBackend: Service default/web has no TCP port 81',
  ],
  [
    'missing port name',
    { defaultBackend: backend('web', { name: 'x' }) },
    { services: [service('web')] },
    'PortNotFound',
    'spec.defaultBackend: Service default/web has no TCP port x',
  ],
  [
    'UDP port',
    { defaultBackend: backend('dns', { number: 53 }) },
    { services: [service('dns', { ports: [{ port: 53, protocol: 'UDP' }] })] },
    'PortNotFound',
    'spec.defaultBackend: Service default/dns has no TCP port 53',
  ],
  [
    'resource',
    { defaultBackend: { resource: { kind: 'Bucket', name: 'b' } } },
    {},
    'UnsupportedBackend',
    'spec.defaultBackend: resource Bucket; only a Service with a port or a StaticResponse of fairlead.dev can be a backend',
  ],
  [
    'missing Secret',
    { rules: [rule('a', 'web')], tls: [{ secretName: 's' }] },
    { services: [service('web')] },
    'SecretNotFound',
    'spec.tls[0]: there is no Secret default/s of type kubernetes.io/tls',
  ],
  [
    'bad Secret',
    { rules: [rule('a', 'web')], tls: [{ secretName: 's' }] },
    {
      services: [service('web')],
      secrets: [{ metadata: { name: 's', namespace: 'default' }, data: { 'tls.crt': 'eA==' } }],
    },
    'InvalidSecret',
    'spec.tls[0]: Secret default/s needs PEM texts under tls.crt and tls.key',
  ],
];

test('l7 compile: a Secret of another namespace is used only where its own annotation allows it', () => {
  const users = { auth: Buffer.from(`ann:{SHA}${'x'.repeat(27)}=`).toString('base64') };
  const problemsWith = (allowed: string | undefined) => {
    const annotations = allowed === undefined ? {} : { 'fairlead.dev/allow-from-namespaces': allowed };
    const web = ingress('x', { ...fairlead, rules: [rule('a', 'web')] });
    const { problems, table } = compile({
      services: [service('web')],
      secrets: [{ metadata: { name: 'users', namespace: 'elsewhere', annotations }, data: users }],
      ingresses: [
        {
          ...web,
          metadata: {
            ...web.metadata,
            annotations: { 'fairlead.dev/basic-auth-secret': 'elsewhere/users' },
          },
        },
      ],
    });
    const known = matchRoute(table, 'a', '/')?.policy?.basicAuth?.users.size;
    return [known, ...problems.map(({ reason, message }) => `${reason} ${message}`)];
  };
  const refused =
    'SecretNotFound metadata.annotations[fairlead.dev/basic-auth-secret]: there is no Secret elsewhere/users whose annotation fairlead.dev/allow-from-namespaces names default';
  for (const allowed of [undefined, '', 'other', 'defaults']) {
    assert.deepEqual(problemsWith(allowed), [0, refused], String(allowed));
  }
  for (const allowed of ['default', 'other, default', '*']) {
    assert.deepEqual(problemsWith(allowed), [1], allowed);
  }
});

for (const [name, spec, world, reason, message] of problemCases) {
  test(`l7 compile: problem: ${name}`, () => {
    const { problems } = compile({ ...world, ingresses: [ingress('x', { ...fairlead, ...spec })] });
    assert.deepEqual(
      problems.map((problem) => [problem.reason, problem.message]),
      [[reason, message]],
    );
  });
}

test('l7 compile: ports by name and number, and an ExternalName by its DNS name', () => {
  const { table, problems } = compile({
    ingresses: [
      ingress('x', {
        ...fairlead,
        defaultBackend: backend('far', { number: 8443 }),
        rules: [
          {
            host: 'a',
            http: { paths: [{ path: '/', pathType: 'Exact', backend: backend('web', { name: 'http' }) }] },
          },
        ],
      }),
    ],
    services: [
      service('web'),
      {
        metadata: { name: 'far', namespace: 'default' },
        spec: { type: 'ExternalName', externalName: 'far.example' },
      },
    ],
    slices: [slice('web', ['10.0.0.1', 'ready'])],
  });
  assert.deepEqual(problems, []);
  assert.equal(
    renderRouteTable(table),
    [
      'a Exact / -> default/web:http [10.0.0.1:8080] (default/x)',
      'a default -> default/far:8443 [far.example:8443]',
      'default -> default/far:8443 [far.example:8443]',
      '',
    ].join('\n'),
  );
});

test('l7 compile: an Ingress without rules is the default of all, before defaults of those with rules', () => {
  const old = { creationTimestamp: '2026-01-01T00:00:00Z' };
  const { table } = compile({
    ingresses: [
      ingress('ruled', { ...fairlead, defaultBackend: backend('ruled'), rules: [rule('a', 'web')] }, old),
      ingress('bare', { ...fairlead, defaultBackend: backend('bare') }),
    ],
  });
  assert.equal(table.backends[table.defaultRoute?.backend ?? -1]?.key, 'default/bare:80');
  assert.equal(
    table.backends[table.exactHosts.get('a')?.defaultRoute?.backend ?? -1]?.key,
    'default/ruled:80',
  );
});

test('l7 compile: a certificate without hosts is for all other hosts where its rules have none', () => {
  const pem = Buffer.from('-----BEGIN X-----').toString('base64');
  const secret = (name: string): Secret => ({
    metadata: { name, namespace: 'default', resourceVersion: '1' },
    data: { 'tls.crt': pem, 'tls.key': pem },
  });
  const { table, problems } = compile({
    ingresses: [
      ingress('a', { ...fairlead, rules: [rule('a.com', 'web')], tls: [{ secretName: 'one' }] }),
      ingress('b', { ...fairlead, rules: [rule('', 'web')], tls: [{ secretName: 'two' }] }),
      ingress('c', { ...fairlead, tls: [{ secretName: 'one' }] }),
    ],
    services: [service('web')],
    secrets: [secret('one'), secret('two')],
  });
  assert.deepEqual([...table.certificates].map(([host, { secret: name }]) => `${host} ${name}`).sort(), [
    ' default/two',
    'a.com default/one',
  ]);
  assert.deepEqual(
    problems.map(({ message }) => message),
    ['spec.tls[0]: all other hosts already have the certificate of Secret default/two'],
  );
});

test('l7 compile: certificates stand under their hosts; the oldest Ingress wins a host', () => {
  const pem = Buffer.from('-----BEGIN X-----').toString('base64');
  const secret = (name: string): Secret => ({
    metadata: { name, namespace: 'default', resourceVersion: '1' },
    data: { 'tls.crt': pem, 'tls.key': pem },
  });
  const compiled = compile({
    ingresses: [
      ingress('a', { ...fairlead, rules: [rule('A.com', 'web')], tls: [{ secretName: 'one' }] }),
      ingress('b', { ...fairlead, tls: [{ hosts: ['a.com', '*.b.com'], secretName: 'two' }] }),
    ],
    services: [service('web')],
    secrets: [secret('one'), secret('two')],
  });
  assert.deepEqual(
    [...compiled.table.certificates].map(([host, { secret: name }]) => `${host} ${name}`).sort(),
    ['*.b.com default/two', 'a.com default/one'],
  );
  assert.deepEqual(
    compiled.problems.map(({ reason }) => reason),
    ['HostConflict'],
  );
});

test('l7 compile: what did not change keeps its identity from table to table', () => {
  const world: World = {
    ingresses: [ingress('x', { ...fairlead, rules: [rule('a', 'one'), rule('b', 'two')] })],
    services: [service('one'), service('two')],
    slices: [slice('one', ['10.0.0.1', 'ready']), slice('two', ['10.0.0.2', 'ready'])],
  };
  const first = compile(world);
  const second = compile(
    { ...world, slices: [world.slices![0]!, slice('two', ['10.0.0.3', 'ready'])] },
    first,
  );
  assert.equal(second.table.backends[0]?.endpoints, first.table.backends[0]?.endpoints);
  assert.deepEqual(second.table.backends[1]?.endpoints, [{ address: '10.0.0.3', port: 8080 }]);
  assert.equal(second.table.backends[0], first.table.backends[0]);
  assert.equal(second.table.exactHosts, first.table.exactHosts);
});

function annotated(name: string, annotations: Readonly<Record<string, string>>): Ingress {
  const long = Object.entries(annotations).map(([key, value]) => [`fairlead.dev/${key}`, value]);
  return ingress(
    name,
    { ...fairlead, rules: [rule(`${name}.example`, 'web')] },
    { annotations: Object.fromEntries(long) },
  );
}

const pem = (text: string): string => Buffer.from(`-----BEGIN ${text}`).toString('base64');

test('l7 compile: what a backend speaks is said by its Ingress, else by the appProtocol of the port', () => {
  const cases: readonly (readonly [
    appProtocol: string | undefined,
    protocol: string | undefined,
    tls: boolean,
  ])[] = [
    [undefined, undefined, false],
    ['http', undefined, false],
    ['kubernetes.io/ws', undefined, false],
    ['https', undefined, true],
    ['HTTPS', undefined, true],
    ['kubernetes.io/wss', undefined, true],
    ['https', 'HTTP', false],
    [undefined, 'https', true],
    ['https', 'FCGI', true], // a bad value counts as absent
  ];
  for (const [appProtocol, protocol, tls] of cases) {
    const ports = [{ name: 'http', port: 80, ...(appProtocol === undefined ? {} : { appProtocol }) }];
    const { table } = compile({
      ingresses: [annotated('a', protocol === undefined ? {} : { 'backend-protocol': protocol })],
      services: [service('web', { ports })],
      slices: [slice('web', ['10.0.0.1', 'ready'])],
    });
    assert.equal(table.backends[0]?.tls !== undefined, tls, `${appProtocol} ${protocol}`);
  }
});

test('l7 compile: a backend over TLS is verified for the name of its Service unless something else is said', () => {
  const tlsOf = (
    annotations: Readonly<Record<string, string>>,
    spec: Service['spec'] = {},
    secrets: Secret[] = [],
  ) =>
    compile({
      ingresses: [annotated('a', { 'backend-protocol': 'HTTPS', ...annotations })],
      services: [service('web', spec)],
      secrets,
    });
  const plain = tlsOf({}).table.backends[0]?.tls;
  assert.deepEqual([plain?.serverName, plain?.verify, plain?.ca], ['web.default.svc', true, undefined]);
  const external = tlsOf({}, { type: 'ExternalName', externalName: 'shop.example.' }).table.backends[0]?.tls;
  assert.equal(external?.serverName, 'shop.example');
  const told = tlsOf({ 'backend-tls-server-name': 'Inner.Example', 'backend-tls-verify': 'off' }).table
    .backends[0]?.tls;
  assert.deepEqual([told?.serverName, told?.verify], ['inner.example', false]);
  const data = { 'ca.crt': pem('CA'), 'tls.crt': pem('CERT'), 'tls.key': pem('KEY') };
  const secret: Secret = { metadata: { name: 'certs', namespace: 'default' }, data };
  const mutual = tlsOf({ 'backend-tls-secret': 'certs' }, {}, [secret]);
  assert.deepEqual(
    mutual.problems.map(({ reason }) => reason),
    [],
  );
  assert.equal(mutual.table.backends[0]?.tls?.ca, '-----BEGIN CA');
  assert.equal(mutual.table.backends[0]?.tls?.clientCertificate?.key, '-----BEGIN KEY');
});

test('l7 compile: without the CA that an Ingress names nobody is believed, and it is told', () => {
  const cases: readonly (readonly [
    annotations: Readonly<Record<string, string>>,
    secrets: Secret[],
    reason: string,
  ])[] = [
    [{ 'backend-tls-secret': 'certs' }, [], 'SecretNotFound'],
    [
      { 'backend-tls-secret': 'certs' },
      [{ metadata: { name: 'certs', namespace: 'default' }, data: {} }],
      'InvalidSecret',
    ],
    [{ 'backend-tls-secret': 'No Name' }, [], 'InvalidAnnotation'],
  ];
  for (const [annotations, secrets, reason] of cases) {
    const { table, problems } = compile({
      ingresses: [annotated('a', { 'backend-protocol': 'HTTPS', ...annotations })],
      services: [service('web')],
      secrets,
    });
    assert.deepEqual(
      problems.map((problem) => problem.reason),
      [reason],
    );
    assert.deepEqual([table.backends[0]?.tls?.ca, table.backends[0]?.tls?.verify], ['', true]);
  }
  const misspelt = compile({
    ingresses: [annotated('a', { 'backend-protocol': 'HTTPS', 'backend-tls-verify': 'no' })],
    services: [service('web')],
  });
  assert.equal(misspelt.table.backends[0]?.tls?.verify, true);
});

test('l7 compile: one Service port that is spoken to in two ways is two backends, and one of equal ways stays itself', () => {
  const world: World = {
    ingresses: [
      annotated('a', {}),
      annotated('b', { 'backend-protocol': 'HTTPS' }),
      annotated('c', { 'backend-protocol': 'HTTPS' }),
    ],
    services: [service('web')],
    slices: [slice('web', ['10.0.0.1', 'ready'])],
  };
  const first = compile(world);
  assert.deepEqual(
    first.table.backends.map(({ key, tls }) => [key, tls !== undefined]),
    [
      ['default/web:80', false],
      ['default/web:80', true],
    ],
  );
  const again = compile(
    { ...world, services: [service('web', { ports: [{ name: 'http', port: 80, nodePort: 30_000 }] })] },
    first,
  );
  assert.equal(
    again.table.backends[1]?.tls,
    first.table.backends[1]?.tls,
    'its connections and sessions go on',
  );
});
