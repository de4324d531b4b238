import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Pod, Volume } from '../api/gen/core-v1.ts';
import { writeVolume } from './atomic-writer.ts';
import { MountError } from './config-error.ts';
import { compileVolumeFiles, referencedObjects, tokenSourcesOf, type VolumeSources } from './volume-files.ts';
import { mountsBelow } from './volumes.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const pod: Pod = {
  metadata: { name: 'web', namespace: 'shop', uid: 'u', labels: { b: '2', a: '1' } },
  spec: { containers: [] },
};
const sources: VolumeSources = {
  pod,
  facts: { nodeName: 'n', hostIps: [], podIps: [], allocatable: {} },
  configMap: (name) =>
    name === 'settings' ? { data: { color: 'blue' }, binaryData: { raw: base64('\0') } } : undefined,
  secret: (name) => (name === 'hidden' ? { data: { word: base64('sesame') } } : undefined),
  token: ({ audience }) => `token for ${audience}`,
};
const files = (volume: Omit<Volume, 'name'>) =>
  compileVolumeFiles({ name: 'v', ...volume }, sources).map(({ path, data, mode }) => [
    path,
    Buffer.from(data).toString(),
    mode.toString(8),
  ]);

for (const { name, volume, want } of [
  {
    name: 'a ConfigMap',
    volume: { configMap: { name: 'settings' } },
    want: [
      ['color', 'blue', '644'],
      ['raw', '\0', '644'],
    ],
  },
  {
    name: 'chosen keys with modes',
    volume: {
      configMap: {
        name: 'settings',
        defaultMode: 0o600,
        items: [{ key: 'color', path: 'a/b', mode: 0o400 }],
      },
    },
    want: [['a/b', 'blue', '400']],
  },
  {
    name: 'an optional Secret that is not there',
    volume: { secret: { secretName: 'none', optional: true } },
    want: [],
  },
  {
    name: 'the downward API',
    volume: { downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
    want: [['labels', 'a="1"\nb="2"', '644']],
  },
  {
    name: 'several sources in one',
    volume: {
      projected: {
        defaultMode: 0o440,
        sources: [
          { serviceAccountToken: { path: 'token', audience: 'vault', expirationSeconds: 600 } },
          { secret: { name: 'hidden' } },
        ],
      },
    },
    want: [
      ['token', 'token for vault', '440'],
      ['word', 'sesame', '440'],
    ],
  },
]) {
  test(`volume files: ${name}`, () => assert.deepEqual(files(volume), want));
}

for (const { name, volume, message } of [
  {
    name: 'a Secret that is not there',
    volume: { secret: { secretName: 'none' } },
    message: /secret "none" not found/,
  },
  {
    name: 'a key that is not there',
    volume: { configMap: { name: 'settings', items: [{ key: 'size', path: 'x' }] } },
    message: /non-existent key: size/,
  },
  {
    name: 'a path out of the volume',
    volume: { configMap: { name: 'settings', items: [{ key: 'color', path: '../x' }] } },
    message: /not allowed/,
  },
]) {
  test(`volume files: ${name} is an error`, () => {
    assert.throws(
      () => files(volume),
      (error) => error instanceof MountError && message.test(error.message),
    );
  });
}

test('volume files: what a Pod refers to', () => {
  const found = referencedObjects({
    spec: {
      imagePullSecrets: [{ name: 'pull' }],
      volumes: [
        {
          name: 'v',
          projected: { sources: [{ configMap: { name: 'ca' } }, { serviceAccountToken: { path: 't' } }] },
        },
      ],
      containers: [
        {
          name: 'main',
          envFrom: [{ configMapRef: { name: 'env' } }],
          env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'key', key: 'k' } } }],
        },
      ],
    },
  });
  assert.deepEqual([...found.configMaps], ['ca', 'env']);
  assert.deepEqual([...found.secrets], ['key', 'pull']);
});

test('volume files: the same token is asked for once', () => {
  const source = { serviceAccountToken: { path: 't', audience: 'a', expirationSeconds: 600 } };
  const volumes = [1, 2].map((index) => ({ name: `v${index}`, projected: { sources: [source] } }));
  assert.deepEqual(tokenSourcesOf({ spec: { containers: [], volumes } }), [
    { audience: 'a', expirationSeconds: 600 },
  ]);
});

test('atomic writer: content changes as a whole, and only when it differs', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-volume-'));
  try {
    const file = (path: string, text: string) => ({ path, data: Buffer.from(text), mode: 0o640 });
    assert.equal(await writeVolume(dir, [file('a', '1'), file('deep/b', '2')], 'r1', undefined), true);
    assert.equal(await writeVolume(dir, [file('a', '1'), file('deep/b', '2')], 'r2', undefined), false);
    assert.equal(await readlink(join(dir, '..data')), '..r1');
    assert.equal((await stat(join(dir, 'a'))).mode & 0o777, 0o640);
    assert.equal(await writeVolume(dir, [file('a', '3')], 'r3', undefined), true);
    assert.equal(await readFile(join(dir, 'a'), 'utf8'), '3');
    assert.deepEqual(new Set(await readdir(dir)), new Set(['..data', '..r3', 'a']));
  } finally {
    await rm(dir, { recursive: true });
  }
});

test('mounts below a folder: innermost first, blanks unescaped', () => {
  const line = (path: string) => `1 2 0:3 / ${path} rw - tmpfs tmpfs rw`;
  const text = [
    line('/pods/u/volumes/a\\040b'),
    line('/pods/u/volumes/a\\040b/c'),
    line('/pods/u2/x'),
    '',
  ].join('\n');
  assert.deepEqual(mountsBelow(text, '/pods/u'), ['/pods/u/volumes/a b/c', '/pods/u/volumes/a b']);
});
