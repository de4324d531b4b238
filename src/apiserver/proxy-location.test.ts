import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../api/object.ts';
import { StatusError } from '../api/status.ts';
import { nodeBackend, parseProxyName, podBackend, serviceBackend } from './proxy-location.ts';

const names = [
  { text: 'web', want: 'http web ' },
  { text: 'web:8080', want: 'http web 8080' },
  { text: 'web:http', want: 'http web http' },
  { text: 'https:web:443', want: 'https web 443' },
  { text: 'https:web:', want: 'https web ' },
  { text: ':web:80', want: 'http web 80' },
  { text: 'ftp:web:21', want: 'refused' },
  { text: '', want: 'refused' },
  { text: ':80', want: 'refused' },
  { text: 'a:b:c:d', want: 'refused' },
] as const;

for (const { text, want } of names) {
  test(`proxy name ${JSON.stringify(text)}`, () => {
    const parsed = parseProxyName(text);
    assert.equal(parsed === undefined ? 'refused' : `${parsed.scheme} ${parsed.name} ${parsed.port}`, want);
  });
}

function outcome(find: () => { scheme: string; host: string; port: number }): string {
  try {
    const { scheme, host, port } = find();
    return `${scheme} ${host} ${port}`;
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return `${error.status.code} ${error.status.message}`;
  }
}

const pod = (podIP: string, ...ports: readonly number[]): JsonObject => ({
  spec: {
    containers: [{ name: 'a' }, { name: 'b', ports: ports.map((containerPort) => ({ containerPort })) }],
  },
  status: { podIP },
});

const podCases = [
  { what: 'the first port', name: 'web', pod: pod('10.42.0.2', 8080, 9090), want: 'http 10.42.0.2 8080' },
  { what: 'a port asked for', name: 'web:9090', pod: pod('10.42.0.2', 8080), want: 'http 10.42.0.2 9090' },
  { what: 'no port at all', name: 'https:web:', pod: pod('10.42.0.2'), want: 'https 10.42.0.2 443' },
  { what: 'no address', name: 'web', pod: pod(''), want: '503 pod "web" has no address yet' },
  { what: 'loopback', name: 'web', pod: pod('127.0.0.1', 1), want: '400 address not allowed' },
  { what: 'mapped loopback', name: 'web', pod: pod('::ffff:127.0.0.1', 1), want: '400 address not allowed' },
  { what: 'IPv6 loopback', name: 'web', pod: pod('::1', 1), want: '400 address not allowed' },
  { what: 'link-local', name: 'web', pod: pod('169.254.1.1', 1), want: '400 address not allowed' },
  { what: 'IPv6 link-local', name: 'web', pod: pod('fe80::1', 1), want: '400 address not allowed' },
  {
    what: 'a port that is none',
    name: 'web:x',
    pod: pod('10.42.0.2', 1),
    want: '400 invalid port "x": must be between 1 and 65535, inclusive',
  },
] as const;

for (const { what, name, pod: object, want } of podCases) {
  test(`pods/proxy: ${what}`, () => {
    const asked = parseProxyName(name);
    assert.ok(asked !== undefined);
    assert.equal(
      outcome(() => podBackend(asked, object)),
      want,
    );
  });
}

const service: JsonObject = {
  spec: {
    ports: [
      { name: 'web', port: 80 },
      { name: 'admin', port: 81 },
    ],
  },
};
const slices: readonly JsonObject[] = [
  {
    ports: [
      { name: 'web', port: 8080 },
      { name: 'admin', port: 8081 },
    ],
    endpoints: [
      { addresses: ['10.42.0.2'], conditions: { ready: false } },
      { addresses: ['10.42.0.3'], conditions: { ready: true } },
      { addresses: ['10.42.0.4'] },
    ],
  },
];

const serviceCases = [
  { what: 'a port by name', name: 'web:admin', want: 'http 10.42.0.3 8081' },
  { what: 'a port by number', name: 'web:80', want: 'http 10.42.0.3 8080' },
  { what: 'TLS', name: 'https:web:web', want: 'https 10.42.0.3 8080' },
  { what: 'a number without a port', name: 'web:82', want: '503 no service port 82 found for service "web"' },
  { what: 'no unnamed port', name: 'web', want: '503 no endpoints available for service "web"' },
] as const;

for (const { what, name, want } of serviceCases) {
  test(`services/proxy: ${what}`, () => {
    const asked = parseProxyName(name);
    assert.ok(asked !== undefined);
    assert.equal(
      outcome(() => serviceBackend(asked, service, slices, () => 0)),
      want,
    );
  });
}

test('services/proxy: an endpoint that is not ready is never chosen', () => {
  const asked = parseProxyName('web:web');
  assert.ok(asked !== undefined);
  const chosen = [0, 1].map((turn) => serviceBackend(asked, service, slices, () => turn).host);
  assert.deepEqual(chosen, ['10.42.0.3', '10.42.0.4']);
});

test('nodes/proxy: another port than the kubelet’s is not dialled on loopback', () => {
  const asked = parseProxyName('n1:9100');
  assert.ok(asked !== undefined);
  assert.equal(
    outcome(() => nodeBackend(asked, '127.0.0.1')),
    '400 address not allowed',
  );
  assert.equal(
    outcome(() => nodeBackend(asked, '10.41.0.2')),
    'http 10.41.0.2 9100',
  );
});
