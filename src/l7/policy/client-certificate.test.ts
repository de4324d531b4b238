import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';
import { objectKey } from '../../api/object.ts';
import { viewOf } from '../controller/listed-view.ts';
import { compileRoutes } from '../routes/compile.ts';
import { matchRoute } from '../routes/match.ts';
import type { ClientCertificate } from '../transport/transport.ts';
import { parseAnnotations } from './annotations.ts';
import { type ClientCertificateRule, clientCertificatePolicy, refusalOf } from './client-certificate.ts';

const key = objectKey('default', 'web');
const pem = Buffer.from('-----BEGIN CERTIFICATE-----').toString('base64');
const secret = { metadata: { name: 'ca', namespace: 'default' }, data: { 'ca.crt': pem } };

function ruleOf(annotations: Readonly<Record<string, string>>): ClientCertificateRule | undefined {
  const long = Object.entries(annotations).map(([name, value]) => [`fairlead.dev/${name}`, value]);
  return parseAnnotations(key, Object.fromEntries(long)).clientCertificate;
}

function policyOf(annotations: Readonly<Record<string, string>> = {}) {
  const rule = ruleOf({ 'client-certificate-secret': 'ca', ...annotations });
  assert.ok(rule !== undefined);
  return clientCertificatePolicy(key, rule, secret).policy;
}

const cases: readonly (readonly [
  mode: string,
  verify: string | undefined,
  scheme: 'http' | 'https',
  number,
])[] = [
  ['on', 'SUCCESS', 'https', 0],
  ['on', 'NONE', 'https', 400],
  ['on', 'FAILED:CERT_HAS_EXPIRED', 'https', 400],
  ['on', undefined, 'https', 421],
  ['on', undefined, 'http', 400],
  ['optional', 'SUCCESS', 'https', 0],
  ['optional', 'NONE', 'https', 0],
  ['optional', 'FAILED:CERT_HAS_EXPIRED', 'https', 400],
  ['optional', undefined, 'https', 421],
  ['optional', undefined, 'http', 0],
  ['optional-any', 'FAILED:CERT_HAS_EXPIRED', 'https', 0],
];

for (const [mode, verify, scheme, status] of cases) {
  test(`client certificate ${verify ?? 'never asked for'} over ${scheme}, ${mode}: ${status || 'may pass'}`, () => {
    const policy = policyOf({ 'client-certificate-verify': mode });
    const shown: ClientCertificate | undefined =
      verify === undefined
        ? undefined
        : { policyId: policy.tls.id, verify, subject: 'CN=ann', issuer: 'CN=ca', escapedPem: '' };
    assert.equal(refusalOf(policy, scheme, shown)?.status ?? 0, status);
  });
}

test('client certificate: a subject is matched anywhere, and nobody has none', () => {
  const policy = policyOf({
    'client-certificate-subject': 'CN=ann',
    'client-certificate-verify': 'optional',
  });
  const shown = (subject: string, verify: string): ClientCertificate => ({
    ...{ policyId: policy.tls.id, verify, subject },
    ...{ issuer: '', escapedPem: '' },
  });
  assert.equal(refusalOf(policy, 'https', shown('O=shop,CN=ann', 'SUCCESS')), undefined);
  assert.equal(refusalOf(policy, 'https', shown('CN=bob', 'SUCCESS'))?.status, 403);
  assert.equal(refusalOf(policy, 'https', shown('', 'NONE'))?.status, 403);
});

test('client certificate: what is not clear keeps people out', () => {
  assert.equal(ruleOf({}), undefined);
  assert.equal(ruleOf({ 'client-certificate-verify': 'on' }), undefined, 'without a Secret nobody is asked');
  assert.equal(ruleOf({ 'client-certificate-secret': 'No Name' })?.secret, undefined);
  const badSubject = ruleOf({ 'client-certificate-secret': 'ca', 'client-certificate-subject': '(' });
  assert.equal(badSubject?.secret, undefined);
  assert.equal(
    ruleOf({ 'client-certificate-secret': 'ca', 'client-certificate-verify': 'maybe' })?.mode,
    'on',
  );
  const { policy, problem } = clientCertificatePolicy(key, badSubject!, { metadata: {}, data: {} });
  assert.equal(policy.tls.ca, '');
  assert.match(problem ?? '', /until then no client is believed/);
});

function ingress(name: string, path: string, annotations: Readonly<Record<string, string>> = {}): Ingress {
  const long = Object.entries(annotations).map(([short, value]) => [`fairlead.dev/${short}`, value]);
  const backend = { service: { name: 'web', port: { number: 80 } } };
  return {
    metadata: { name, namespace: 'default', annotations: Object.fromEntries(long) as Record<string, string> },
    spec: {
      ingressClassName: 'fairlead',
      rules: [{ host: 'a.example', http: { paths: [{ path, pathType: 'Prefix', backend }] } }],
    },
  };
}

test('client certificate: what one Ingress asks holds for all routes of its host, whoever has them', () => {
  const ours: IngressClass = { metadata: { name: 'fairlead' }, spec: { controller: 'fairlead.dev/ingress' } };
  const ingresses = [
    ingress('a', '/'),
    ingress('b', '/b', { 'client-certificate-secret': 'ca' }),
    ingress('c', '/c', { 'client-certificate-secret': 'ca', 'client-certificate-verify': 'optional' }),
    ingress('d', '/d', { 'client-certificate-secret': 'ca' }),
  ];
  const services = [{ metadata: { name: 'web', namespace: 'default' }, spec: { ports: [{ port: 80 }] } }];
  const view = viewOf({ ingressClasses: [ours], ingresses, services, slices: [], secrets: [secret] });
  const { table, problems } = compileRoutes(view, ['fairlead']);
  assert.equal(table.asksClients, true);
  for (const path of ['/', '/b', '/c']) {
    const policy = matchRoute(table, 'a.example', path)?.policy?.clientCertificate;
    assert.deepEqual([policy?.ingress, policy?.mode], ['default/b', 'on'], path);
  }
  const told = problems.map((problem) => `${problem.ingress.metadata?.name} ${problem.reason}`);
  assert.deepEqual(told, ['c HostConflict']);
});
