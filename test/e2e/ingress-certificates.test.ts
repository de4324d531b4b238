/** Which certificates are shown for spec.tls without hosts, and what is told about bad ones. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { events, ingresses, secrets } from '../../src/api/resource.ts';
import { type Authority, createAuthority } from '../../src/base/certificates.ts';
import { FakeApi } from '../support/fake-api.ts';
import { hostRule, ingress, localhost, seedWeb, startIngress, until } from './ingress-harness.ts';

const options = { timeout: 30_000 };
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
