import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { type IngressMigration, planMigration } from './migration.ts';
import { plainStyle, renderManifests, renderMigration, renderMigrationJson } from './migration-text.ts';
import { nginxPrefix } from './translation.ts';

type Path = readonly [path: string, pathType: string];

function ingress(
  name: string,
  annotations: Readonly<Record<string, string>>,
  paths: readonly Path[] = [['/', 'Prefix']],
  spec: Ingress['spec'] = {},
): Ingress {
  const long = Object.entries(annotations).map(([key, value]) => [
    key.includes('/') ? key : `${nginxPrefix}${key}`,
    value,
  ]);
  const backend = { service: { name: 'web', port: { number: 80 } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace: 'shop', annotations: Object.fromEntries(long) },
    spec: {
      ingressClassName: 'nginx',
      rules: [
        {
          host: 'shop.example',
          http: { paths: paths.map(([path, pathType]) => ({ path, pathType, backend })) },
        },
      ],
      ...spec,
    },
  };
}

const options = { fromClass: 'nginx', toClass: 'fairlead' };

function planned(...ingresses: readonly Ingress[]): readonly IngressMigration[] {
  return planMigration(ingresses, options).ingresses;
}

type Told = readonly [verdict: IngressMigration['verdict'], ...findings: (readonly [string, RegExp])[]];

/** One Ingress each, its verdict and what is said of it. */
const cases: readonly (readonly [name: string, Ingress, Told])[] = [
  ['nothing but rules', ingress('a', {}), ['same']],
  ['a renamed annotation', ingress('a', { 'upstream-vhost': 'b' }), ['same', ['upstream-vhost', /^$/]]],
  [
    'rewrite-target, which turns on regular expressions',
    ingress('a', { 'rewrite-target': '/x' }),
    [
      'same',
      ['rewrite-target', /whole path becomes \/x, whatever stands behind.*turns on regular expressions/],
    ],
  ],
  [
    'use-regex, which is for the whole host',
    ingress('a', { 'use-regex': 'true' }),
    [
      'same',
      ['use-regex', /from their start, ignoring case; --nginx-annotations does so for all other Ingresses/],
    ],
  ],
  [
    'a missing trailing slash of a prefix',
    ingress('a', {}, [['/app/', 'Prefix']]),
    [
      'differs',
      ['path shop.example/app/', /\/app is sent to \/app\/ by 301 there; here it is served at once/],
    ],
  ],
  [
    'a missing trailing slash of an exact path',
    ingress('a', {}, [['/app/', 'Exact']]),
    ['differs', ['path shop.example/app/', /here it does not match/]],
  ],
  [
    'a value that is not allowed here',
    ingress('a', { 'proxy-read-timeout': '900000' }),
    ['none', ['proxy-read-timeout', /^$/], ['proxy-read-timeout', /"900000": allowed: seconds/]],
  ],
  [
    'a certificate, for which the redirect to HTTPS goes without saying',
    ingress('a', {}, undefined, { tls: [{ hosts: ['shop.example'], secretName: 'x' }] }),
    ['same', ['ssl-redirect', /by default there/]],
  ],
  [
    'a snippet',
    ingress('a', { 'configuration-snippet': 'more_set_headers "A: b";' }),
    ['none', ['configuration-snippet', /cannot be run here; for headers of answers use response-headers/]],
  ],
  [
    'authentication by client certificates',
    ingress('a', { 'auth-tls-secret': 'shop/ca' }),
    ['differs', ['auth-tls-secret', /over plain HTTP.* nobody is let in/]],
  ],
  [
    'authentication by certificates of another namespace, whose owner has to allow it first',
    ingress('a', { 'auth-tls-secret': 'elsewhere/ca' }),
    [
      'differs',
      [
        'auth-tls-secret',
        /kubectl annotate -n elsewhere secret ca fairlead.dev\/allow-from-namespaces=shop\), until then nobody is let in/,
      ],
    ],
  ],
  [
    'errors that a Service of the whole controller is asked about',
    ingress('a', { 'custom-http-errors': '404' }),
    ['none', ['custom-http-errors', /--default-backend-service.* unless fairlead.dev\/error-codes and/]],
  ],
];

for (const [name, given, [verdict, ...findings]] of cases) {
  test(`migration: ${name}`, () => {
    const [told] = planned(given);
    assert.equal(told?.verdict, verdict);
    assert.equal(told.findings.length, findings.length, JSON.stringify(told.findings));
    for (const [index, [subject, text]] of findings.entries()) {
      assert.equal(told.findings[index]?.subject, subject);
      assert.match(told.findings[index]?.text ?? '', text);
    }
  });
}

test('migration: paths of other Ingresses of a host with regular expressions are told', () => {
  const [first, second, third] = planned(
    ingress('regex', { 'use-regex': 'true' }, [['/a.*', 'ImplementationSpecific']]),
    ingress('plain', {}, [['/foo', 'Exact']]),
    ingress('canary', { canary: 'true', 'rewrite-target': '/' }, [['/foo', 'Exact']]),
  );
  assert.deepEqual(
    [first?.ingress, second?.ingress, third?.ingress],
    ['shop/canary', 'shop/plain', 'shop/regex'],
  );
  const [finding] = second?.findings ?? [];
  assert.equal(finding?.subject, 'path shop.example/foo');
  assert.match(
    finding.text,
    /Ingress shop\/regex makes .* today it matches \/fooxyz and \/FOO, too; here it is Exact again/,
  );
});

test('migration: only Ingresses of ingress-nginx are looked at', () => {
  const legacy = ingress('legacy', { 'kubernetes.io/ingress.class': 'nginx' }, undefined, {
    ingressClassName: undefined,
  });
  const classless = ingress('classless', { 'app-root': '/a' }, undefined, { ingressClassName: undefined });
  const foreign = ingress('foreign', { 'app-root': '/a' }, undefined, { ingressClassName: 'traefik' });
  const bare = ingress('bare', {}, undefined, { ingressClassName: undefined });
  const migration = planMigration([legacy, classless, foreign, bare], options);
  assert.deepEqual(
    migration.ingresses.map((item) => item.ingress),
    ['shop/classless', 'shop/legacy'],
  );
  assert.equal(migration.others, 2);
  assert.deepEqual(migration.otherClasses, ['traefik'], 'whose annotations are of ingress-nginx');
});

test('migration: the replacement has our annotations and class, and nothing that a server wrote', () => {
  const given = ingress('a', {
    'rewrite-target': '/$1',
    'kubernetes.io/ingress.class': 'nginx',
    'kubectl.kubernetes.io/last-applied-configuration': '{}',
    'fairlead.dev/body-size': '1m',
    'proxy-body-size': '8m',
    'example.com/note': 'kept',
  });
  const [told] = planned({
    ...given,
    metadata: { ...given.metadata, uid: 'x', resourceVersion: '7', managedFields: [] },
    status: { loadBalancer: {} },
  });
  assert.deepEqual(told?.after, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      name: 'a',
      namespace: 'shop',
      annotations: {
        'fairlead.dev/body-size': '1m',
        'fairlead.dev/path-regex': 'ignore-case',
        'fairlead.dev/rewrite-path': '/$1',
        'example.com/note': 'kept',
      },
    },
    spec: {
      ingressClassName: 'fairlead',
      rules: [
        {
          host: 'shop.example',
          http: {
            paths: [
              {
                path: '/',
                pathType: 'ImplementationSpecific',
                backend: { service: { name: 'web', port: { number: 80 } } },
              },
            ],
          },
        },
      ],
    },
  });
  const [again] = planMigration([told.after], options).ingresses;
  assert.equal(again, undefined, 'a replacement needs no further one');
});

test('migration: the text for people', () => {
  const migration = planMigration(
    [ingress('a', { 'app-root': '/a', 'limit-rps': '5', 'server-snippet': 'x' })],
    options,
  );
  const text = renderMigration(migration, plainStyle, 80);
  assert.equal(
    text.slice(0, text.indexOf('For all of them')),
    `✗ Ingress shop/a  shop.example
  ✗ has no equal
      server-snippet  nginx configuration cannot be run here
  ≠ behaves differently
      limit-rps       beyond it the answer is 429, not 503
  ✓ is honoured as it is
      app-root

  --- shop/a for ingress-nginx
  +++ shop/a for Fairlead
  @@ -4,11 +4,11 @@
     name: a
     namespace: shop
     annotations:
  -    nginx.ingress.kubernetes.io/app-root: /a
  -    nginx.ingress.kubernetes.io/limit-rps: "5"
  -    nginx.ingress.kubernetes.io/server-snippet: x
  +    fairlead.dev/app-root: /a
  +    fairlead.dev/rate-limit: "5"
  +    fairlead.dev/rate-limit-burst: "25"
   spec:
  -  ingressClassName: nginx
  +  ingressClassName: fairlead
     rules:
       - host: shop.example
         http:

`,
  );
  assert.match(text, /1 Ingress: 0 as it is, 0 with differences, 1 with something that has no equal\.\n$/);
  assert.match(renderManifests(migration), /^---\napiVersion: networking.k8s.io\/v1\nkind: Ingress\n/);
  const json = JSON.parse(renderMigrationJson(migration)) as { ingresses: readonly { name: string }[] };
  assert.equal(json.ingresses[0]?.name, 'a');
});

test('migration: what is told of the Ingresses of well-known charts', () => {
  const corpus = join(import.meta.dirname, '../../../test/corpus/ingress-nginx');
  const ingresses = parseAllDocuments(readFileSync(join(corpus, 'charts.yaml'), 'utf8'), {
    version: '1.1',
  }).map((document) => document.toJS() as Ingress);
  const text = renderMigration(planMigration(ingresses, options), plainStyle, 110);
  const wanted = readFileSync(join(corpus, 'charts.txt'), 'utf8');
  assert.equal(
    text,
    wanted,
    'read the difference, then: fairlead migrate ingress-nginx -f charts.yaml > charts.txt',
  );
});
