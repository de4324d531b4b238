import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { type Authority, createAuthority, type KeyPair } from '../../base/certificates.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { CertificateChecks } from './certificate-check.ts';
import type { CertificateUse } from './route-certificate.ts';

const dayMs = 86_400_000;
const clock = new FakeClock();
const nowMs = clock.nowMs();
const ca = await createAuthority('ca', new Date(nowMs - 100 * dayMs), new Date(nowMs + 100 * dayMs));
const good = await issue(ca, -1, 1);
const other = await issue(ca, -1, 1);

function issue(authority: Authority, fromDays: number, toDays: number): Promise<KeyPair> {
  return authority.issue({
    commonName: 'only-the-common-name.example',
    dnsNames: ['shop.example', '*.wide.example'],
    usage: 'server',
    notBefore: new Date(nowMs + fromDays * dayMs),
    notAfter: new Date(nowMs + toDays * dayMs),
  });
}

const ingress: Ingress = { metadata: { name: 'web', namespace: 'default' } };

function use({ certificate, key }: KeyPair, hosts: readonly string[], version = '1'): CertificateUse {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return {
    ingress,
    field: 'spec.tls[0]',
    hosts,
    certificate: {
      secret: 'default/tls' as CertificateUse['certificate']['secret'],
      version,
      certBase64: base64(certificate),
      keyBase64: base64(key),
    },
  };
}

const garbage = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

const cases: readonly (readonly [string, KeyPair, readonly string[], readonly string[]])[] = [
  ['a good one', good, ['shop.example', 'a.wide.example', '*.wide.example', ''], []],
  ['a good one with its chain', { ...good, certificate: good.certificate + ca.pair.certificate }, [], []],
  [
    'PEM of something else',
    { ...good, certificate: good.key },
    [],
    ['InvalidSecret: there is no certificate'],
  ],
  ['a broken certificate', { ...good, certificate: garbage }, [], ['InvalidSecret: certificate 1 under']],
  [
    'a broken chain',
    { ...good, certificate: good.certificate + garbage },
    [],
    ['InvalidSecret: certificate 2'],
  ],
  ['a broken key', { ...good, key: garbage }, [], ['InvalidSecret: the key under tls.key cannot be read']],
  [
    'the key of another one',
    { ...good, key: other.key },
    [],
    ['InvalidSecret: the key under tls.key is not'],
  ],
  ['an expired one', await issue(ca, -2, -1), [], ['CertificateExpired: its certificate expired at']],
  ['one of tomorrow', await issue(ca, 1, 2), [], ['CertificateNotYetValid: its certificate is not valid']],
  ['another host', good, ['b.example'], ['CertificateHostMismatch: its certificate does not name b.example']],
  [
    'a wildcard that it is not for',
    good,
    ['*.example'],
    ['CertificateHostMismatch: its certificate does not'],
  ],
  ['its common name', good, ['only-the-common-name.example'], ['CertificateHostMismatch: its certificate']],
];

for (const [name, pair, hosts, wanted] of cases) {
  test(`a Secret's certificate is told about before any handshake: ${name}`, async () => {
    const time = new FakeClock(nowMs);
    const checks = new CertificateChecks(time, () => {});
    checks.update([use(pair, hosts)]);
    await time.advance(0);
    const told = checks.problems.map(
      ({ reason, message }) => `${reason}: ${message.replace('spec.tls[0]: Secret default/tls: ', '')}`,
    );
    assert.equal(told.length, wanted.length, told.join('\n'));
    for (const [index, text] of wanted.entries())
      assert.ok(told[index]?.startsWith(text) === true, told.join('\n'));
    checks.stop();
    assert.equal(time.pending, 0);
  });
}

test('a certificate that expires while it is used is told then, though nothing has changed', async () => {
  const time = new FakeClock(nowMs);
  let changes = 0;
  const checks = new CertificateChecks(time, () => {
    changes += 1;
  });
  checks.update([use(await issue(ca, -1, 5), ['shop.example'])]);
  await time.advance(4 * dayMs);
  assert.deepEqual(checks.problems, []);
  await time.advance(dayMs + 1000);
  assert.deepEqual(
    checks.problems.map(({ reason }) => reason),
    ['CertificateExpired'],
  );
  assert.ok(changes >= 2);
  checks.stop();
});

test('many certificates are read over many turns, and a new version of one is read again', async () => {
  const time = new FakeClock(nowMs);
  const checks = new CertificateChecks(time, () => {});
  const many = Array.from({ length: 100 }, (_, index) => use(good, ['shop.example'], String(index)));
  checks.update([...many, use({ ...good, key: other.key }, [], 'bad')]);
  await time.advance(0);
  assert.equal(checks.problems.length, 1);
  checks.update([...many, use(good, [], 'renewed')]);
  await time.advance(0);
  assert.deepEqual(checks.problems, []);
  checks.stop();
});
