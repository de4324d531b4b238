import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod, Service } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import { compileEnv, type EnvSources } from './env.ts';
import { expandVariables } from './expand.ts';

const pod: Pod = {
  metadata: { name: 'web', namespace: 'shop', uid: 'u1', labels: { app: 'web' } },
  spec: { containers: [], enableServiceLinks: true },
};

const service = (name: string, namespace: string, clusterIP: string, portName?: string): Service => ({
  metadata: { name, namespace },
  spec: {
    clusterIP,
    ports: [{ port: 80, protocol: 'TCP', ...(portName === undefined ? {} : { name: portName }) }],
  },
});

const sources: EnvSources = {
  pod,
  facts: {
    nodeName: 'n0',
    hostIps: ['10.41.0.2'],
    podIps: ['10.42.0.9'],
    allocatable: { cpu: '4', memory: '1Gi' },
  },
  services: [
    service('kubernetes', 'default', '10.43.0.1', 'https'),
    service('my-db', 'shop', '10.43.0.7'),
    service('headless', 'shop', 'None'),
    service('far', 'default', '10.43.0.8'),
  ],
  configMap: (name) =>
    name === 'settings' ? { data: { color: 'blue', '1st': 'x', 'odd=key': 'x' } } : undefined,
  secret: (name) =>
    name === 'hidden' ? { data: { word: Buffer.from('sesame').toString('base64') } } : undefined,
};

const env = (container: Partial<Container>) =>
  Object.fromEntries(compileEnv({ name: 'main', ...container }, sources));

test('env: service variables of the own namespace and of kubernetes', () => {
  const all = env({});
  assert.equal(all['KUBERNETES_SERVICE_PORT_HTTPS'], '80');
  assert.equal(all['MY_DB_SERVICE_HOST'], '10.43.0.7');
  assert.equal(all['MY_DB_PORT_80_TCP'], 'tcp://10.43.0.7:80');
  assert.equal(all['FAR_SERVICE_HOST'], undefined);
  assert.equal(all['HEADLESS_SERVICE_HOST'], undefined);
});

for (const { name, container, want } of [
  { name: 'a value', container: { env: [{ name: 'A', value: 'b' }] }, want: { A: 'b' } },
  {
    name: 'earlier variables and services in later values',
    container: {
      env: [
        { name: 'A', value: '1' },
        { name: 'B', value: '$(A)$(MY_DB_SERVICE_HOST)$(NONE)$$(A)' },
      ],
    },
    want: { B: '110.43.0.7$(NONE)$(A)' },
  },
  {
    name: 'a ConfigMap with a prefix, without names that are none',
    container: { envFrom: [{ prefix: 'S_', configMapRef: { name: 'settings' } }] },
    want: { S_color: 'blue', S_1st: 'x', 'S_odd=key': undefined },
  },
  {
    name: 'a Secret, overridden by env',
    container: { envFrom: [{ secretRef: { name: 'hidden' } }], env: [{ name: 'word', value: 'mine' }] },
    want: { word: 'mine' },
  },
  {
    name: 'keys',
    container: {
      env: [
        { name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } },
        { name: 'B', valueFrom: { secretKeyRef: { name: 'hidden', key: 'word' } } },
        { name: 'C', valueFrom: { secretKeyRef: { name: 'none', key: 'word', optional: true } } },
      ],
    },
    want: { A: 'blue', B: 'sesame', C: undefined },
  },
  {
    name: 'the downward API',
    container: {
      resources: { limits: { memory: '64Mi' } },
      env: [
        { name: 'A', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'B', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: 'C', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } } },
        { name: 'D', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
      ],
    },
    want: { A: '10.42.0.9', B: 'web', C: '64', D: '4' },
  },
] satisfies readonly {
  name: string;
  container: Partial<Container>;
  want: Record<string, string | undefined>;
}[]) {
  test(`env: ${name}`, () => {
    const all = env(container);
    for (const [key, value] of Object.entries(want)) assert.equal(all[key], value, key);
  });
}

for (const { name, container, message } of [
  {
    name: 'a ConfigMap that is not there',
    container: { envFrom: [{ configMapRef: { name: 'none' } }] },
    message: 'configmap "none" not found',
  },
  {
    name: 'a key that is not there',
    container: { env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'settings', key: 'size' } } }] },
    message: "couldn't find key size in ConfigMap shop/settings",
  },
]) {
  test(`env: ${name} is an error`, () => {
    assert.throws(
      () => env(container),
      (error) => error instanceof ContainerConfigError && error.message === message,
    );
  });
}

test('expand: escapes, unknown names and unfinished ones stay', () => {
  const variables = new Map([['A', 'x']]);
  for (const [text, want] of [
    ['$(A)', 'x'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$x'],
    ['$(B) $A $(A', '$(B) $A $(A'],
    ['$', '$'],
  ] as const) {
    assert.equal(expandVariables(text, variables), want, text);
  }
});
