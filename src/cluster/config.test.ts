import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  clusterNameProblem,
  dataDirProblem,
  loopbacks,
  mergePublished,
  nodesOf,
  parseIngressClasses,
  parsePublish,
} from './config.ts';

const publishCases = [
  { text: '8080:80@loadbalancer', want: [loopbacks, 8080, 80] },
  { text: '8080:80', want: [loopbacks, 8080, 80] },
  { text: '0.0.0.0:80:80@loadbalancer', want: [['0.0.0.0'], 80, 80] },
  { text: '[::]:443:443', want: [['::'], 443, 443] },
  { text: '80:80/tcp', want: [loopbacks, 80, 80] },
  { text: '80', want: undefined },
  { text: '0:80', want: undefined },
  { text: '80:65536', want: undefined },
  { text: '80:80@server:0', want: undefined },
  { text: '80:80/udp', want: undefined },
  { text: '300.0.0.1:80:80', want: undefined },
  { text: '', want: undefined },
] as const;

for (const { text, want } of publishCases) {
  test(`publish ${JSON.stringify(text)}`, () => {
    const parsed = parsePublish(text);
    if (want === undefined) {
      assert.equal(parsed.ok, false);
      assert.match(parsed.ok ? '' : parsed.error, /HOSTPORT:PORT/);
      return;
    }
    assert.ok(parsed.ok);
    const { hostAddresses, hostPort, port, explicit } = parsed.value;
    assert.deepEqual([hostAddresses, hostPort, port], want);
    assert.equal(explicit, true);
  });
}

test('publish: any text is either read or refused with the form it should have', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const parsed = parsePublish(text);
      if (!parsed.ok) return parsed.error.includes('HOSTPORT:PORT');
      return parsed.value.hostPort >= 1 && parsed.value.hostPort <= 65535;
    }),
  );
});

function hostPorts(texts: readonly string[]): readonly string[] | string {
  const asked = texts.map((text) => {
    const parsed = parsePublish(text);
    assert.ok(parsed.ok);
    return parsed.value;
  });
  const merged = mergePublished(asked);
  return merged.ok ? merged.value.map(({ hostPort, port }) => `${hostPort}:${port}`) : merged.error;
}

test('without a wish the usual three ports are published', () => {
  assert.deepEqual(hostPorts([]), ['80:80', '443:443', '8080:8080']);
});

test('a wish for a port of the load balancer replaces the default for it', () => {
  assert.deepEqual(hostPorts(['9000:80']), ['9000:80', '443:443', '8080:8080']);
});

test('a wish for a host port keeps a default away from it', () => {
  assert.deepEqual(hostPorts(['8080:80']), ['8080:80', '443:443']);
});

test('a host port cannot lead to two places', () => {
  assert.match(String(hostPorts(['80:80', '80:443'])), /published twice/);
});

for (const [name, isGood] of [
  ['dev', true],
  ['a', true],
  ['test-1', true],
  ['', false],
  ['-a', false],
  ['a-', false],
  ['Dev', false],
  ['a/b', false],
  ['a'.repeat(33), false],
] as const) {
  test(`cluster name ${JSON.stringify(name)} is ${isGood ? 'good' : 'refused'}`, () => {
    assert.equal(clusterNameProblem(name) === undefined, isGood);
  });
}

for (const [dir, isGood] of [
  ['/var/lib/fairlead/dev', true],
  ['/tmp/x', true],
  ['/', false],
  ['/var', false],
  ['relative/dir', false],
  ['/var/lib/../..', false],
] as const) {
  test(`data directory ${dir} is ${isGood ? 'good' : 'refused'}`, () => {
    assert.equal(dataDirProblem(dir) === undefined, isGood);
  });
}

test('ingress classes keep their order, the first is the default', () => {
  const parsed = parseIngressClasses('traefik, fairlead,traefik');
  assert.deepEqual(parsed, { ok: true, value: ['traefik', 'fairlead'] });
  assert.equal(parseIngressClasses('a,,b').ok, false);
  assert.equal(parseIngressClasses('Bad').ok, false);
});

test('nodes have names, addresses and namespaces', () => {
  assert.deepEqual(nodesOf({ name: 'dev', agents: 1 }), [
    { name: 'server-0', addresses: ['10.41.0.2'], address: '10.41.0.2', netns: 'fairlead-dev-server-0' },
    { name: 'agent-0', addresses: ['10.41.0.3'], address: '10.41.0.3', netns: 'fairlead-dev-agent-0' },
  ]);
});
