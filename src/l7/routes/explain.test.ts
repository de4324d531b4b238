import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ingress, IngressClass, IngressSpec } from '../../api/gen/networking-v1.ts';
import { compileRoutes } from './compile.ts';
import { type ExplainRequest, explainRequest } from './explain.ts';
import { viewOf } from '../controller/listed-view.ts';

const ours: IngressClass = { metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } };
const theirs: IngressClass = { metadata: { name: 'nginx' }, spec: { controller: 'k8s.io/ingress-nginx' } };

function ingress(name: string, spec: IngressSpec, more: NonNullable<Ingress['metadata']> = {}): Ingress {
  return {
    metadata: { name, namespace: 'default', creationTimestamp: '2026-01-01T00:00:00Z', ...more },
    spec: { ingressClassName: 'fairlead', ...spec },
  };
}

function rule(host: string, paths: readonly (readonly [string, string])[], name: string) {
  return {
    host,
    http: {
      paths: paths.map(([pathType, path]) => ({
        pathType,
        path,
        backend: { service: { name, port: { number: 80 } } },
      })),
    },
  };
}

const world = viewOf({
  ingressClasses: [ours, theirs],
  ingresses: [
    ingress('shop', {
      rules: [
        rule(
          'shop.example',
          [
            ['Prefix', '/'],
            ['Prefix', '/cart'],
            ['Exact', '/help'],
          ],
          'shop',
        ),
      ],
    }),
    ingress(
      'late',
      { rules: [rule('shop.example', [['Prefix', '/cart']], 'late')] },
      { creationTimestamp: '2026-02-01T00:00:00Z' },
    ),
    ingress('other', {
      ingressClassName: 'nginx',
      rules: [rule('other.example', [['Prefix', '/']], 'shop')],
    }),
    ingress(
      'asking',
      { rules: [rule('asking.example', [['Prefix', '/']], 'weighed')] },
      {
        annotations: {
          'fairlead.dev/client-certificate-secret': 'ca',
          'fairlead.dev/client-certificate-subject': 'CN=ann',
          'fairlead.dev/error-codes': '404,503',
          'fairlead.dev/error-service': 'shop',
        },
      },
    ),
    ingress(
      'secure',
      { rules: [rule('*.secure.example', [['Prefix', '/']], 'nobody')] },
      { annotations: { 'fairlead.dev/ssl-redirect': 'true', 'fairlead.dev/rewrite-target': '/app' } },
    ),
  ],
  services: [
    { metadata: { name: 'shop', namespace: 'default' }, spec: { ports: [{ name: 'http', port: 80 }] } },
    { metadata: { name: 'weighed', namespace: 'default' }, spec: { ports: [{ name: 'http', port: 80 }] } },
  ],
  slices: [
    {
      metadata: {
        name: 'weighed-1',
        namespace: 'default',
        labels: { 'kubernetes.io/service-name': 'weighed' },
        annotations: { 'fairlead.dev/weight': '3' },
      },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
      endpoints: [{ addresses: ['10.42.0.5'] }],
    },
    {
      metadata: { name: 'shop-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'shop' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
      endpoints: [
        { addresses: ['10.42.0.5'] },
        { addresses: ['10.42.0.6'] },
        { addresses: ['10.42.0.7'], conditions: { ready: false, serving: true, terminating: true } },
      ],
    },
  ],
  secrets: [
    {
      metadata: { name: 'ca', namespace: 'default' },
      data: { 'ca.crt': Buffer.from('-----BEGIN CERTIFICATE-----').toString('base64') },
    },
  ],
});

const compiled = compileRoutes(world, ['fairlead']);

function explain(url: string, more: Partial<ExplainRequest> = {}): string {
  const request = { method: 'GET', url: new URL(url), headers: [], clientAddress: '127.0.0.1', ...more };
  const live = [
    { key: '10.42.0.5:8080', pending: 3, tunnels: 0, ejected: undefined, startedShare: 0.25 },
    { key: '10.42.0.6:8080', pending: 0, tunnels: 0, ejected: 'connection' as const },
    { key: '10.42.0.7:8080', pending: 4, tunnels: 1, ejected: undefined, leftForMs: 12_000 },
  ];
  return explainRequest(compiled, request, () => live);
}

test('l7 explain: winner, losers, the younger Ingress and every endpoint with its state, also those that drain', () => {
  assert.equal(
    explain('http://shop.example/cart/1?x=2'),
    `GET http://shop.example/cart/1?x=2
HOST       shop.example is the host of rules, which goes before wildcards
RULES
        => Prefix shop.example/cart -> default/shop:80 (Ingress default/shop): matches
           Prefix shop.example/ -> default/shop:80 (Ingress default/shop): matches too, but a longer path does
           Exact shop.example/help -> default/shop:80 (Ingress default/shop): another path
NOT SERVED, though a rule fits
           Ingress default/late: spec.rules[0].http.paths[0].backend: shop.example/cart is already routed by Ingress default/shop
BACKEND    default/shop:80
           10.42.0.5:8080 ready, 3 requests under way, starts slowly: 25 % of its share
           10.42.0.6:8080 ready, 0 requests under way, passed over: it could not be connected to a moment ago
           10.42.0.7:8080 serving, terminating: gets no new requests
           10.42.0.7:8080 draining for 12 s: 4 requests under way, 1 of them tunnels
RESULT     to one of 2 endpoints of default/shop:80
`,
  );
});

const cases: readonly (readonly [name: string, url: string, line: RegExp])[] = [
  ['a 404 without any rule', 'http://nobody.example/', /^RESULT {5}404/m],
  [
    'a rule of another controller',
    'http://other.example/',
    /Ingress default\/other: its class "nginx" belongs to the controller k8s.io\/ingress-nginx/,
  ],
  [
    'a wildcard is one label',
    'https://a.b.secure.example/',
    /no rule names a.b.secure.example; \*.secure.example stands for one label only/,
  ],
  [
    'a redirect by annotation',
    'http://a.secure.example/x',
    /^RESULT {5}308 by the annotations of Ingress default\/secure/m,
  ],
  ['a rewrite', 'https://a.secure.example/x?y', /path becomes \/app\/x\?y/],
  ['a missing Service', 'https://a.secure.example/', /there is no Service default\/nobody[^]*RESULT {5}503/],
  [
    'client certificates, which are taken as shown, error pages and weights',
    'https://asking.example/',
    new RegExp(
      [
        '^CLIENT {5}must show a good certificate, signed by the authorities of its Secret \\(Ingress default/asking\\)',
        'answers 404, 503 give way to what default/shop says to them',
        '10.42.0.5:8080 ready, weight 3, 3 requests under way',
        'RESULT {5}to the one endpoint of default/weighed:80',
      ].join('[^]*'),
      'm',
    ),
  ],
  ['which certificate', 'https://shop.example/', /^TLS {8}no Ingress names a Secret/m],
];

for (const [name, url, line] of cases) {
  test(`l7 explain: ${name}`, () => {
    assert.match(explain(url), line);
  });
}
