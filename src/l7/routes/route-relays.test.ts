import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ingress, IngressClass, IngressTLS } from '../../api/gen/networking-v1.ts';
import type { Service } from '../../api/gen/core-v1.ts';
import { keyOf } from '../../api/object.ts';
import { viewOf } from '../controller/listed-view.ts';
import { type CompiledRoutes, compileRoutes } from './compile.ts';
import { explainRequest } from './explain.ts';
import { matchRelayed, matchRoute } from './match.ts';
import { renderRouteTable } from './table.ts';

const ours: IngressClass = { metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } };

type Rule = readonly [host: string | undefined, service: string, path?: string];
type Annotations = Readonly<Record<string, string>>;

function ingress(name: string, age: number, rules: readonly Rule[], annotations: Annotations = {}): Ingress {
  const long = Object.entries(annotations).map(([key, value]) => [`fairlead.dev/${key}`, value]);
  return {
    metadata: {
      name,
      namespace: 'default',
      creationTimestamp: `2026-01-0${age}T00:00:00Z`,
      annotations: Object.fromEntries(long) as Annotations,
    },
    spec: {
      ingressClassName: 'fairlead',
      rules: rules.map(([host, service, path = '/']) => ({
        ...(host === undefined ? {} : { host }),
        http: {
          paths: [
            { path, pathType: 'Prefix', backend: { service: { name: service, port: { number: 80 } } } },
          ],
        },
      })),
    },
  };
}

const through: Annotations = { 'tls-passthrough': 'true' };
const relaying = (name: string, age: number, ...hosts: readonly (string | undefined)[]): Ingress =>
  ingress(
    name,
    age,
    hosts.map((host) => [host, name]),
    through,
  );

function compile(
  ingresses: readonly Ingress[],
  previous?: CompiledRoutes,
  appProtocol = 'https',
): CompiledRoutes {
  const names = ingresses.flatMap(({ spec }) =>
    (spec?.rules ?? []).flatMap(({ http }) =>
      (http?.paths ?? []).map(({ backend }) => backend.service?.name ?? ''),
    ),
  );
  const services: Service[] = [...new Set(names)].map((name) => ({
    metadata: { name, namespace: 'default' },
    spec: { ports: [{ port: 80, appProtocol }] },
  }));
  const secret = {
    metadata: { name: 'cert', namespace: 'default' },
    data: { 'tls.crt': pem, 'tls.key': pem },
  };
  const view = viewOf({ ingressClasses: [ours], ingresses, services, slices: [], secrets: [secret] });
  return compileRoutes(view, ['fairlead'], previous);
}

const pem = Buffer.from('-----BEGIN X-----').toString('base64');

/** Whose backend gets TLS for that name as it comes; '-': it ends here. */
function who({ table }: CompiledRoutes, name: string | undefined): string {
  const route = matchRelayed(table, name);
  return route === undefined ? '-' : route.ingress;
}

const told = ({ problems }: CompiledRoutes): readonly string[] =>
  problems
    .filter(({ reason }) => reason !== 'ServiceNotFound')
    .map(({ ingress: { metadata }, reason, message }) => `${metadata?.name} ${reason}: ${message}`);

test('relays: exact host, then wildcard for one label, then any; what ends here has its place among them', () => {
  const compiled = compile([
    relaying('exact', 1, 'db.example', 'a.wild.example'),
    relaying('wild', 1, '*.wild.example'),
    relaying('any', 1, undefined),
    ingress('web', 1, [['www.wild.example', 'web']]),
    ingress('other', 1, [['*.here.example', 'web']]),
  ]);
  const names = ['db.example', 'a.wild.example', 'b.wild.example', 'www.wild.example', 'b.here.example'];
  assert.deepEqual(
    names.map((name) => who(compiled, name)),
    ['default/exact', 'default/exact', 'default/wild', '-', '-'],
  );
  assert.equal(who(compiled, 'x.b.wild.example'), 'default/any', 'a wildcard stands for one label');
  assert.equal(who(compiled, undefined), 'default/any');
  assert.deepEqual(told(compiled), []);
  assert.match(
    renderRouteTable(compiled.table),
    /^tls db\.example -> default\/exact:80 \[\] \(default\/exact\)$/m,
  );
});

test('relays: without a rule for any host a client that gives no name is served here', () => {
  const compiled = compile([relaying('db', 1, 'db.example', '*.example')]);
  assert.deepEqual([who(compiled, undefined), who(compiled, 'elsewhere.test')], ['-', '-']);
});

test('relays: a Service whose port says https is not spoken to in TLS once more', () => {
  const { table } = compile([relaying('db', 1, 'db.example')]);
  assert.deepEqual(
    table.backends.map(({ tls, protocol }) => [tls, protocol]),
    [[undefined, 'http1']],
  );
  const h2c = compile([relaying('db', 1, 'db.example')], undefined, 'kubernetes.io/h2c');
  assert.deepEqual(
    h2c.table.backends.map(({ protocol }) => protocol),
    ['http1'],
  );
});

const plain = (host: string, age: number): Ingress => ingress('web', age, [[host, 'web']]);
const certified = (age: number, tls: readonly IngressTLS[], rules: readonly Rule[] = []): Ingress => {
  const made = ingress('web', age, rules);
  return { ...made, spec: { ...made.spec, tls: [...tls] } };
};

const conflicts: readonly (readonly [string, readonly Ingress[], string, readonly RegExp[]])[] = [
  [
    'the older one passes through: rules of others hold for plain HTTP',
    [relaying('db', 1, 'a.example'), plain('a.example', 2)],
    'default/db',
    [
      /^web HostConflict: TLS for a\.example already passes through to the backends of Ingress default\/db; .* plain HTTP only$/,
    ],
  ],
  [
    'the older one has rules: TLS ends here',
    [plain('a.example', 1), relaying('db', 2, 'a.example')],
    '-',
    [/^db HostConflict: TLS for a\.example already ends here for Ingress default\/web$/],
  ],
  [
    'the older one has a certificate and no rules',
    [certified(1, [{ hosts: ['a.example'], secretName: 'cert' }]), relaying('db', 2, 'a.example')],
    '-',
    [/^db HostConflict/],
  ],
  [
    'the younger one has a certificate',
    [relaying('db', 1, 'a.example'), certified(2, [{ hosts: ['a.example'], secretName: 'cert' }])],
    'default/db',
    [/^web HostConflict/],
  ],
  [
    'two that pass through',
    [relaying('late', 2, 'a.example'), relaying('db', 1, 'a.example')],
    'default/db',
    [/^late HostConflict: TLS for a\.example already passes through to the backends of Ingress default\/db$/],
  ],
];

for (const [name, ingresses, winner, problems] of conflicts) {
  test(`relays: ${name}`, () => {
    const compiled = compile(ingresses);
    assert.equal(who(compiled, 'a.example'), winner);
    const messages = told(compiled);
    assert.equal(messages.length, problems.length, messages.join('\n'));
    problems.forEach((pattern, index) => assert.match(messages[index]!, pattern));
    // Whatever came first, the same comes of it; and when the winner goes the other one gets the host.
    for (const first of ingresses) {
      const grown = compile(ingresses, compile([first]));
      assert.equal(renderRouteTable(grown.table), renderRouteTable(compile(ingresses, grown).table));
      assert.equal(who(grown, 'a.example'), winner);
      assert.deepEqual(told(grown), messages);
      const left = ingresses.filter((one) => keyOf(one) !== winner && one.metadata?.name !== 'web');
      const after = compile(left, compiled);
      assert.equal(who(after, 'a.example'), left.length === 0 ? '-' : keyOf(left[0]!));
      assert.deepEqual(told(after), []);
    }
  });
}

test('relays: plain HTTP is sent to TLS, but where others have rules, as an ACME solver has', () => {
  const { table } = compile([
    relaying('db', 1, 'a.example'),
    ingress('solver', 2, [['a.example', 'solver', '/.well-known/acme-challenge/x']]),
  ]);
  const solver = matchRoute(table, 'a.example', '/.well-known/acme-challenge/x');
  assert.equal(solver?.policy, undefined);
  const rest = matchRoute(table, 'a.example', '/y')?.policy;
  assert.deepEqual([rest?.httpsPort, rest?.passesThrough], [443, true]);
});

const bad: readonly (readonly [string, Annotations, readonly Rule[], RegExp])[] = [
  [
    'a path',
    through,
    [['a.example', 'db', '/api']],
    /^db InvalidPath: spec\.rules\[0\]\.http\.paths\[0\]\.backend: \/api: TLS shows no path/,
  ],
  [
    'a second rule',
    through,
    [
      ['a.example', 'db'],
      ['a.example', 'two'],
    ],
    /^db InvalidPath: .* a\.example has a rule already$/,
  ],
  ['a canary', { ...through, canary: 'true' }, [['a.example', 'db']], /^db InvalidAnnotation: .*canary/],
  [
    'a value',
    { 'tls-passthrough': 'yes' },
    [['a.example', 'db']],
    /^db InvalidAnnotation: .*"true" or "false"$/,
  ],
  [
    'requests',
    { ...through, 'rewrite-target': '/' },
    [['a.example', 'db']],
    /^db InvalidAnnotation: .*rewrite-target.*requests are not seen/,
  ],
];

for (const [name, annotations, rules, pattern] of bad) {
  test(`relays: ${name} is told where it can mean nothing`, () => {
    const messages = told(compile([ingress('db', 1, rules, annotations)]));
    assert.ok(
      messages.some((message) => pattern.test(message)),
      messages.join('\n'),
    );
  });
}

test('relays: what was to keep people out, and cannot, keeps everybody out', () => {
  const compiled = compile([
    ingress('db', 1, [['a.example', 'db']], { ...through, 'auth-url': 'http://a/' }),
  ]);
  assert.deepEqual(matchRelayed(compiled.table, 'a.example')?.policy?.sources, { allow: [], deny: [] });
  assert.match(told(compiled).join('\n'), /auth-url.*nobody is let in/);
});

test('relays: what is said of connections is no problem', () => {
  const annotations = {
    ...through,
    'allow-source-range': '10.0.0.0/8',
    'connect-timeout': '2s',
    'proxy-protocol': 'v2',
    affinity: 'client-ip',
    'backend-protocol': 'HTTPS',
    'ssl-redirect': 'tls-hosts',
  };
  const compiled = compile([ingress('db', 1, [['a.example', 'db']], annotations)]);
  assert.deepEqual(told(compiled), []);
  assert.equal(compiled.table.backends[0]?.proxyProtocol, 2);
});

test('relays: explain tells that TLS passes through', () => {
  const text = explainRequest(
    compile([relaying('db', 1, 'a.example')]),
    { method: 'GET', url: new URL('https://a.example/x'), headers: [], clientAddress: '192.0.2.1' },
    undefined,
  );
  assert.match(
    text,
    /TLS +passes through, for a\.example, by Ingress default\/db\nBACKEND +default\/db:80\n/,
  );
});
