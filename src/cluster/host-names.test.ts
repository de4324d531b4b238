import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { describe, test } from 'node:test';
import { openSocket } from '../base/sockets.ts';
import { hostLinkOf, lineToAdd, pickHostDns, resolvectlCommands } from './host-names.ts';

const dev = { name: 'dev', agents: 0 };
const dns = { address: '127.0.43.10', port: 53 };
const plain = { resolvConf: 'nameserver 192.0.2.1\n', networkManagerDnsmasq: false, dnsmasq: false };

describe('names on the host', () => {
  test('a link’s name is at most 15 characters and differs from cluster to cluster', () => {
    assert.equal(hostLinkOf('dev'), 'fl-dev');
    const names = ['a', 'b', 'c'].map((letter) => hostLinkOf(`${letter}${'-cluster'.repeat(3)}`));
    for (const name of names) assert.ok(name.length <= 15, name);
    assert.equal(new Set(names).size, 3);
  });

  test('systemd-resolved is told the zones of the cluster and no others', () => {
    const told = resolvectlCommands(dev, dns).map((words) => words.join(' '));
    assert.deepEqual(told.slice(0, 3), [
      'dns fl-dev 127.0.43.10',
      'domain fl-dev ~cluster.local ~42.10.in-addr.arpa ~43.10.in-addr.arpa',
      'default-route fl-dev no',
    ]);
    assert.equal(resolvectlCommands(dev, { ...dns, port: 10053 })[0]?.at(-1), '127.0.43.10:10053');
  });

  for (const { name, at = dns, files, want } of [
    {
      name: 'a plain resolv.conf',
      files: plain,
      want: /^add the line "nameserver 127\.0\.43\.10" to \/etc\/resolv\.conf before its others/,
    },
    {
      name: 'NetworkManager with dnsmasq',
      files: { ...plain, resolvConf: 'nameserver 127.0.0.1\n', networkManagerDnsmasq: true },
      want: /"server=\/cluster\.local\/127\.0\.43\.10" to \/etc\/NetworkManager\/dnsmasq\.d\/fairlead\.conf/,
    },
    {
      name: 'dnsmasq that is asked',
      files: { ...plain, resolvConf: 'nameserver 127.0.0.1\n', dnsmasq: true },
      want: /"server=\/cluster\.local\/127\.0\.43\.10" to \/etc\/dnsmasq\.d\/fairlead\.conf/,
    },
    {
      name: 'dnsmasq that nobody asks',
      files: { ...plain, dnsmasq: true },
      want: /"nameserver 127\.0\.43\.10"/,
    },
    {
      name: 'port 53 is taken, so resolv.conf cannot name us',
      at: { ...dns, port: 10053 },
      files: plain,
      want: /"server=\/cluster\.local\/127\.0\.43\.10#10053"/,
    },
  ]) {
    test(`without systemd-resolved: ${name}`, () => assert.match(lineToAdd(at, files), want));
  }

  test('each cluster has an address of its own; the last one again if it is free', {
    skip: process.getuid?.() === 0 ? false : 'needs root for port 53',
  }, () => {
    const first = pickHostDns(undefined);
    const fd = openSocket('udp', first.address, first.port);
    try {
      const second = pickHostDns(first);
      assert.notDeepEqual(second, first);
      assert.deepEqual(pickHostDns(second), second);
    } finally {
      closeSync(fd);
    }
  });
});
