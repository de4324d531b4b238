/** Which certificates are shown for spec.tls without hosts, what is told about bad ones, and those that clients must show. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { test, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { events, ingresses, secrets } from '../../src/api/resource.ts';
import { type Authority, createAuthority, type KeyPair } from '../../src/base/certificates.ts';
import { createTestPki, intermediateOf } from '../support/pki.ts';
import { FakeApi } from '../support/fake-api.ts';
import { annotated, type Annotations, ask, askOverTls } from './annotation-harness.ts';
import {
  hostRule,
  ingress,
  localhost,
  seedWeb,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };
const dayMs = 86_400_000;

async function secretOf(ca: Authority, name: string, host: string, validDays: number) {
  const nowMs = Date.now();
  const pair = await ca.issue({
    commonName: host,
    dnsNames: [host],
    usage: 'server',
    notBefore: new Date(nowMs - 2 * dayMs),
    notAfter: new Date(nowMs + validDays * dayMs),
  });
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return {
    metadata: { name, namespace: 'default' },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': base64(pair.certificate), 'tls.key': base64(pair.key) },
  };
}

async function authority(): Promise<Authority> {
  return createAuthority('ca', new Date(Date.now() - 3 * dayMs), new Date(Date.now() + 3 * dayMs));
}

test(
  'a certificate without hosts is shown for its rules, or for all that no other fits',
  options,
  async (t) => {
    const ca = await authority();
    const api = new FakeApi();
    seedWeb(api, []);
    api.seed(
      secrets,
      await secretOf(ca, 'shop', 'shop.example', 1),
      await secretOf(ca, 'all', 'everything.example', 1),
    );
    api.seed(
      ingresses,
      ingress('shop', { rules: [hostRule('shop.example', 'web')], tls: [{ secretName: 'shop' }] }),
      ingress('all', { tls: [{ secretName: 'all' }] }),
    );
    const { https } = await startIngress(t, api, { authority: ca.pair });
    const shown = async (servername: string | undefined): Promise<string> => {
      const name = servername === undefined ? {} : { servername };
      const socket = connectTls({ port: https, host: localhost, ...name, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const subject = String(socket.getPeerCertificate().subject.CN);
      socket.destroy();
      return subject;
    };
    assert.equal(await shown('shop.example'), 'shop.example');
    assert.equal(await shown('other.example'), 'everything.example');
    assert.equal(await shown(undefined), 'everything.example');
    api.remove(ingresses, 'default/all');
    await until(async () => (await shown(undefined)) === 'fairlead-ingress.local');
    assert.equal(await shown('other.example'), 'fairlead-ingress.local');
  },
);

test('Events tell of bad certificates without any handshake', options, async (t) => {
  const ca = await authority();
  const good = await secretOf(ca, 'mismatch', 'shop.example', 1);
  const other = await secretOf(ca, 'other', 'shop.example', 1);
  const api = new FakeApi();
  seedWeb(api, []);
  api.seed(
    secrets,
    await secretOf(ca, 'expired', 'old.example', -1),
    { ...good, data: { ...good.data, 'tls.key': other.data['tls.key'] } },
    await secretOf(ca, 'elsewhere', 'elsewhere.example', 1),
  );
  const hosts = { expired: 'old.example', mismatch: 'shop.example', elsewhere: 'here.example' };
  for (const [name, host] of Object.entries(hosts)) {
    api.seed(ingresses, ingress(name, { tls: [{ hosts: [host], secretName: name }] }));
  }
  await startIngress(t, api);
  const told = (): readonly string[] =>
    api
      .objects(events)
      .map((event) => `${event.involvedObject?.name} ${event.reason}`)
      .toSorted();
  await until(() => told().length >= 3);
  assert.deepEqual(told(), [
    'elsewhere CertificateHostMismatch',
    'expired CertificateExpired',
    'mismatch InvalidSecret',
  ]);
});

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** An ingress before a backend that tells what it was told; `web` serves every host, others as their annotations say. */
async function startAsking(t: TestContext, hosts: Readonly<Record<string, Annotations>>) {
  const pki = await createTestPki();
  const backend = await startBackend(t, 'web', (request, response) =>
    response.end(JSON.stringify(request.headers)),
  );
  const api = new FakeApi();
  seedWeb(api, [backend]);
  const authorities = { 'ca.crt': base64(pki.authority.pair.certificate) };
  api.seed(secrets, { metadata: { name: 'ca', namespace: 'default' }, data: authorities });
  for (const [host, annotations] of Object.entries(hosts)) {
    api.seed(ingresses, annotated(host.split('.')[0]!, host, annotations, 'web'));
  }
  return { pki, ...(await startIngress(t, api, { authority: pki.authority.pair })) };
}

type Shown = {
  readonly status: number;
  readonly headers: Annotations;
  readonly location: string | undefined;
};

/** One GET over TLS, with what the backend was told. `host`: the Host field, where it is not the name of the handshake. */
async function secureGet(
  port: number,
  servername: string,
  { pair, host = servername }: { pair?: KeyPair; host?: string } = {},
  sent: Annotations = {},
): Promise<Shown> {
  const { status, headers, body } = await askOverTls(port, servername, pair, { host, ...sent });
  const told = status === 200 ? (JSON.parse(body) as Annotations) : {};
  return { status, headers: told, location: headers.location };
}

test('client certificates: asked for by host, verified, and told to the backend', options, async (t) => {
  const { https, http, pki } = await startAsking(t, {
    'on.example': { 'client-certificate-secret': 'ca', 'client-certificate-pass': 'true' },
    'optional.example': { 'client-certificate-secret': 'ca', 'client-certificate-verify': 'optional' },
    'any.example': { 'client-certificate-secret': 'ca', 'client-certificate-verify': 'optional-any' },
    'page.example': {
      'client-certificate-secret': 'ca',
      'client-certificate-error-page': 'https://$host/help',
    },
    'subject.example': { 'client-certificate-secret': 'ca', 'client-certificate-subject': '^CN=ann,O=shop$' },
    'nobody.example': { 'client-certificate-secret': 'missing' },
  });
  const good = await pki.client('ann', ['shop']);
  const other = await (await createTestPki()).client('ann', ['shop']);
  const claims = { 'ssl-client-verify': 'SUCCESS', 'ssl-client-subject-dn': 'CN=root' };

  const letIn = await secureGet(https, 'on.example', { pair: good }, claims);
  assert.equal(letIn.status, 200);
  assert.equal(letIn.headers['ssl-client-verify'], 'SUCCESS');
  assert.equal(letIn.headers['ssl-client-subject-dn'], 'CN=ann,O=shop');
  assert.equal(letIn.headers['ssl-client-issuer-dn'], 'CN=fairlead-test-ca');
  assert.equal(decodeURIComponent(letIn.headers['ssl-client-cert'] ?? '').trim(), good.certificate.trim());

  const statusOf = async (host: string, pair?: KeyPair): Promise<unknown> => {
    const { status, headers } = await secureGet(https, host, pair === undefined ? {} : { pair }, claims);
    return status === 200 ? headers['ssl-client-verify'] : status;
  };
  assert.deepEqual([await statusOf('on.example'), await statusOf('on.example', other)], [400, 400]);
  assert.deepEqual(
    [await statusOf('optional.example'), await statusOf('optional.example', good)],
    ['NONE', 'SUCCESS'],
  );
  assert.equal(await statusOf('optional.example', other), 400);
  assert.match(String(await statusOf('any.example', other)), /^FAILED:/);
  assert.equal(
    (await secureGet(https, 'optional.example', { pair: good })).headers['ssl-client-cert'],
    undefined,
  );
  assert.deepEqual(
    [await statusOf('subject.example', good), await statusOf('subject.example', await pki.client('bob'))],
    ['SUCCESS', 403],
  );
  const sent = await secureGet(https, 'page.example');
  assert.deepEqual([sent.status, sent.location], [302, 'https://page.example/help']);
  assert.equal(await statusOf('nobody.example', good), 400, 'a missing Secret believes nobody');
  assert.equal((await ask(http, '/', { host: 'on.example' })).status, 400, 'plain HTTP shows none');
  assert.equal(
    await statusOf('plain.example', good),
    'SUCCESS',
    'other hosts ask nobody; what they say passes',
  );
});

test('client certificates: a connection for one host proves nothing to another', options, async (t) => {
  const { https, pki } = await startAsking(t, {
    'a.example': { 'client-certificate-secret': 'ca' },
    'b.example': { 'client-certificate-secret': 'ca', 'client-certificate-depth': '3' },
  });
  const pair = await pki.client('ann');
  const statusOf = async (name: string, host: string): Promise<number> =>
    (await secureGet(https, name, { pair, host })).status;
  assert.equal(await statusOf('a.example', 'a.example'), 200);
  assert.equal(await statusOf('plain.example', 'a.example'), 421);
  assert.equal(await statusOf('b.example', 'a.example'), 421);
  assert.equal(await statusOf('a.example', 'plain.example'), 200, 'who asks for nothing takes everybody');
  // By HTTP/2, and with the session of a connection that was not asked.
  const first = connectTls({
    port: https,
    host: localhost,
    servername: 'plain.example',
    rejectUnauthorized: false,
  });
  const [session] = (await once(first, 'session')) as [Buffer];
  first.destroy();
  const taken = connectTls({
    port: https,
    host: localhost,
    servername: 'a.example',
    session,
    rejectUnauthorized: false,
  });
  await once(taken, 'secureConnect');
  assert.equal(taken.isSessionReused(), false);
  taken.destroy();
  const tls = { servername: 'a.example', cert: pair.certificate, key: pair.key, rejectUnauthorized: false };
  const http2 = connectHttp2(`https://${localhost}:${https}`, tls);
  t.after(() => http2.destroy());
  for (const [authority, want] of [
    ['a.example', 200],
    ['b.example', 421],
  ] as const) {
    const stream = http2.request({ ':path': '/', ':authority': authority });
    const [fields] = (await once(stream, 'response')) as [{ ':status'?: number }];
    stream.resume();
    assert.equal(fields[':status'], want);
  }
});

test(
  'client certificates: authorities in between are counted, and other ones count at once',
  options,
  async (t) => {
    const { https, pki, api } = await startAsking(t, {
      'one.example': { 'client-certificate-secret': 'ca' },
      'none.example': { 'client-certificate-secret': 'ca', 'client-certificate-depth': '0' },
    });
    const between = await intermediateOf(pki.authority, 'between');
    const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + dayMs) };
    const leaf = await between.issue({ commonName: 'ann', usage: 'client', ...validity });
    const pair = { certificate: `${leaf.certificate}${between.pair.certificate}`, key: leaf.key };
    assert.equal((await secureGet(https, 'one.example', { pair })).status, 200);
    assert.equal((await secureGet(https, 'none.example', { pair })).status, 400);
    const others = await createTestPki();
    const data = { 'ca.crt': base64(others.authority.pair.certificate) };
    api.seed(secrets, { metadata: { name: 'ca', namespace: 'default' }, data });
    const known = await others.client('ann');
    await until(async () => (await secureGet(https, 'one.example', { pair: known })).status === 200);
    assert.equal((await secureGet(https, 'one.example', { pair })).status, 400);
  },
);
