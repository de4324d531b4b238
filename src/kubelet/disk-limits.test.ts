import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, PodSpec, Volume } from '../api/gen/core-v1.ts';
import { diskLimitExceeded, limitsEphemeralStorage, measuredVolumes } from './disk-limits.ts';

const mebi = 2 ** 20;
const limited = (name: string, limit: string | undefined, more: Partial<Container> = {}): Container => ({
  name,
  ...more,
  ...(limit === undefined ? {} : { resources: { limits: { 'ephemeral-storage': limit } } }),
});
const folder = (name: string, sizeLimit?: string): Volume => ({
  name,
  emptyDir: sizeLimit === undefined ? {} : { sizeLimit },
});

type Case = {
  readonly name: string;
  readonly spec: Partial<PodSpec>;
  readonly volumes?: Readonly<Record<string, number>>;
  readonly containers?: Readonly<Record<string, number>>;
  readonly want: string | undefined;
};

const cases: readonly Case[] = [
  {
    name: 'a folder at its limit stays',
    spec: { volumes: [folder('data', '10Mi')] },
    volumes: { data: 10 * mebi },
    want: undefined,
  },
  {
    name: 'a folder above its limit, which is told in its canonical form',
    spec: { volumes: [folder('other'), folder('data', '1024Mi')] },
    volumes: { other: 9000 * mebi, data: 1024 * mebi + 4096 },
    want: 'Usage of EmptyDir volume "data" exceeds the limit "1Gi". ',
  },
  {
    name: 'a sizeLimit of 0 is none',
    spec: { volumes: [folder('data', '0')] },
    volumes: { data: mebi },
    want: undefined,
  },
  {
    name: 'a tmpfs is not looked at: the kernel bounds it',
    spec: { volumes: [{ name: 'data', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }] },
    volumes: { data: 2 * mebi },
    want: undefined,
  },
  {
    name: 'one container above its own limit while the Pod is below the sum',
    spec: { containers: [limited('a', '1Gi'), limited('b', '2Gi')] },
    containers: { a: 1025 * mebi, b: 0 },
    want: 'Container a exceeded its local ephemeral storage limit "1Gi". ',
  },
  {
    name: 'volumes count for the Pod, not for a container',
    spec: { containers: [limited('a', '512Mi'), limited('b', '512Mi')], volumes: [folder('data')] },
    volumes: { data: 1000 * mebi },
    containers: { a: 20 * mebi, b: 20 * mebi },
    want: 'Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ',
  },
  {
    name: 'a container without a limit adds to the usage, not to the limit',
    spec: { containers: [limited('a', '1Gi'), limited('b', undefined)] },
    containers: { a: 0, b: 1025 * mebi },
    want: 'Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ',
  },
  {
    name: 'an init container that may have more raises the Pod’s limit',
    spec: { initContainers: [limited('init', '2Gi')], containers: [limited('a', '1Gi')] },
    containers: { init: 1500 * mebi, a: 0 },
    want: undefined,
  },
  {
    name: 'a sidecar’s limit comes to that of the main containers',
    spec: {
      initContainers: [limited('side', '1Gi', { restartPolicy: 'Always' })],
      containers: [limited('a', '1Gi')],
      volumes: [folder('data')],
    },
    volumes: { data: 2000 * mebi },
    want: undefined,
  },
  {
    name: 'a sidecar above its own limit',
    spec: {
      initContainers: [limited('side', '10Mi', { restartPolicy: 'Always' })],
      containers: [limited('a', '1Gi')],
    },
    containers: { side: 11 * mebi },
    want: 'Container side exceeded its local ephemeral storage limit "10Mi". ',
  },
  {
    name: 'the folder’s own limit is told first, then the Pod’s',
    spec: { containers: [limited('a', '1Mi')], volumes: [folder('data', '1Mi')] },
    volumes: { data: 2 * mebi },
    containers: { a: 2 * mebi },
    want: 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". ',
  },
  {
    name: 'without limits anything goes',
    spec: { containers: [limited('a', undefined)], volumes: [folder('data')] },
    volumes: { data: 9000 * mebi },
    containers: { a: 9000 * mebi },
    want: undefined,
  },
];

for (const { name, spec, volumes = {}, containers = {}, want } of cases) {
  test(`disk limits: ${name}`, () => {
    const usage = {
      volumes: new Map(Object.entries(volumes)),
      containers: new Map(Object.entries(containers)),
    };
    assert.equal(diskLimitExceeded({ spec: { containers: [], ...spec } }, usage), want);
  });
}

test('only what can decide is measured', () => {
  const volumes: readonly Volume[] = [
    folder('free'),
    folder('bound', '1Gi'),
    { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Gi' } },
    { name: 'settings', configMap: { name: 'a' } },
    { name: 'host', hostPath: { path: '/srv' } },
    { name: 'bare' },
  ];
  const unlimited = { spec: { containers: [limited('a', undefined)], volumes } };
  assert.equal(limitsEphemeralStorage(unlimited), false);
  assert.deepEqual(measuredVolumes(unlimited), ['bound']);
  const whole = { spec: { containers: [limited('a', '1Gi')], volumes } };
  assert.equal(limitsEphemeralStorage(whole), true);
  assert.deepEqual(measuredVolumes(whole), ['free', 'bound', 'settings', 'bare']);
});
