import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { upstreamsFor } from './forward.ts';
import { addressKey } from './records.ts';
import { parseSettings, settingsLimits } from './settings.ts';

const zone = 'cluster.local';

describe('settings', () => {
  test('a ConfigMap as kube-dns users know it', () => {
    const parsed = parseSettings(
      {
        upstreamNameservers: '["10.0.0.1", "10.0.0.2:5353", "[fd00::1]:53"]',
        stubDomains: '{"Acme.local.": ["10.1.0.1"], "db.acme.local": ["10.1.0.2:5300"]}',
        hosts: '# ours\n10.0.0.7 db.corp DB2.corp\n\nfd00::7 db.corp # both\n',
      },
      zone,
    );
    assert.ok(parsed.ok);
    const { upstreams = [], stubDomains, hosts } = parsed.settings;
    assert.deepEqual(
      upstreams.map(({ host, port }) => `${host} ${port}`),
      ['10.0.0.1 53', '10.0.0.2 5353', 'fd00::1 53'],
    );
    const askedFor = (name: string) => upstreamsFor({ upstreams, stubDomains }, name).map(({ host }) => host);
    assert.deepEqual(askedFor('www.example.com'), ['10.0.0.1', '10.0.0.2', 'fd00::1']);
    assert.deepEqual(askedFor('acme.local'), ['10.1.0.1']);
    assert.deepEqual(askedFor('a.b.acme.local'), ['10.1.0.1']);
    assert.deepEqual(askedFor('x.db.acme.local'), ['10.1.0.2'], 'the longest domain decides');
    assert.deepEqual(askedFor('notacme.local'), ['10.0.0.1', '10.0.0.2', 'fd00::1']);
    const both = hosts.addresses.get('db.corp');
    assert.deepEqual([both?.v4.length, both?.v6.length], [1, 1]);
    assert.deepEqual(hosts.names.get(addressKey(Uint8Array.of(10, 0, 0, 7))), ['db.corp', 'db2.corp']);
  });

  test('nothing set is valid', () => {
    assert.equal(parseSettings({}, zone).ok, true);
  });

  const wrong: readonly (readonly [name: string, data: Record<string, string>, error: RegExp])[] = [
    ['an unknown key', { upstream: '[]' }, /^upstream: unknown key; there are upstreamNameservers/],
    ['no JSON', { upstreamNameservers: '10.0.0.1' }, /^upstreamNameservers: is not JSON$/],
    ['no list', { upstreamNameservers: '"10.0.0.1"' }, /must be a list of 1 to 8 addresses/],
    ['an empty list', { upstreamNameservers: '[]' }, /must be a list/],
    ['a name for an address', { upstreamNameservers: '["dns.corp"]' }, /"dns.corp" is no address/],
    ['a list for domains', { stubDomains: '[]' }, /^stubDomains: must be an object/],
    ["the cluster's domain", { stubDomains: '{"cluster.local": ["10.0.0.1"]}' }, /no domain outside of/],
    ['a bad domain', { stubDomains: '{"a..b": ["10.0.0.1"]}' }, /"a\.\.b" is no domain/],
    ['a bad server of a domain', { stubDomains: '{"a.b": ["x"]}' }, /^stubDomains: a\.b: "x" is no address/],
    ['a host without name', { hosts: '10.0.0.7' }, /^hosts: line 1 is not of the form/],
    ['a host without address', { hosts: '\ndb.corp 10.0.0.7' }, /^hosts: line 2 is not of the form/],
    ["a host in the cluster's domain", { hosts: '10.0.0.7 a.svc.cluster.local' }, /no name outside of/],
  ];
  for (const [name, data, error] of wrong) {
    test(`refused: ${name}`, () => {
      const parsed = parseSettings(data, zone);
      assert.equal(parsed.ok, false);
      assert.match(parsed.errors[0] ?? '', error);
    });
  }

  const { upstreamsMax, stubDomainsMax, hostsMax } = settingsLimits;
  const listOf = (count: number) => JSON.stringify(Array.from({ length: count }, (_, at) => `10.0.0.${at}`));
  const domainsOf = (count: number) =>
    JSON.stringify(
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`d${at}.test`, ['10.0.0.1']])),
    );
  const hostsOf = (count: number) =>
    Array.from({ length: count }, (_, at) => `10.0.0.1 h${at}.test`).join('\n');
  for (const [key, most, textOf, error] of [
    [
      'upstreamNameservers',
      upstreamsMax,
      listOf,
      /^upstreamNameservers: must be a list of 1 to 8 addresses$/,
    ],
    ['stubDomains', stubDomainsMax, domainsOf, /^stubDomains: more than 256 domains$/],
    ['hosts', hostsMax, hostsOf, /^hosts: more than 10000 names$/],
  ] as const) {
    test(`${key}: as many as the bound are taken, one more is refused`, () => {
      assert.equal(parseSettings({ [key]: textOf(most) }, zone).ok, true);
      const parsed = parseSettings({ [key]: textOf(most + 1) }, zone);
      assert.equal(parsed.ok, false);
      assert.match(parsed.errors.join(), error);
    });
  }
});
