import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Pod, VolumeMount } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import { prepareMounts } from './container-mounts.ts';

const root = await mkdtemp(join(tmpdir(), 'mounts-'));
const umask = process.umask(0o022);
after(async () => {
  process.umask(umask);
  await rm(root, { recursive: true, force: true });
});
const volume = join(root, 'volume');
await mkdir(volume);

const pod: Pod = { metadata: { name: 'web', uid: 'u' }, spec: { containers: [] } };

function mountsOf(
  mount: Omit<VolumeMount, 'name' | 'mountPath'>,
  env: Readonly<Record<string, string>> = {},
) {
  const container = { name: 'main', volumeMounts: [{ name: 'data', mountPath: '/data', ...mount }] };
  const paths = { nodeDir: join(root, 'node'), runDir: join(root, 'run') };
  return prepareMounts(pod, container, 0, new Map([['data', volume]]), new Map(Object.entries(env)), paths);
}

const modeOf = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8);

test('the file for the termination message could be written by root alone, because of the umask', async () => {
  const mounts = await mountsOf({});
  const file = mounts.find(({ containerPath }) => containerPath === '/dev/termination-log');
  assert.equal(await modeOf(file?.hostPath ?? ''), '666');
});

test('the folders of a subPath could be written by root alone in a volume that all may write', async () => {
  await chmod(volume, 0o2777);
  const [mount] = await mountsOf({ subPathExpr: '$(A)/b/' }, { A: 'a' });
  assert.equal(mount?.hostPath, join(volume, 'a/b'));
  assert.deepEqual([await modeOf(join(volume, 'a')), await modeOf(join(volume, 'a/b'))], ['2777', '2777']);
});

for (const { name, mount, env } of [
  { name: 'a variable that is not there', mount: { subPathExpr: '$(NONE)/x' }, env: {} },
  { name: 'a value that is an absolute path', mount: { subPathExpr: '$(A)' }, env: { A: '/tmp' } },
  { name: 'an empty value that makes the path absolute', mount: { subPathExpr: '$(A)/x' }, env: { A: '' } },
  { name: 'a value with ..', mount: { subPathExpr: '$(A)' }, env: { A: 'x/..' } },
]) {
  test(`a subPathExpr is refused, and nothing made, for ${name}`, async () => {
    const before = await readdir(volume);
    await assert.rejects(mountsOf(mount, env), ContainerConfigError);
    assert.deepEqual(await readdir(volume), before);
  });
}

test('a subPath made folders behind a link that leads out of the volume before it was refused', async () => {
  const outside = join(root, 'outside');
  await mkdir(outside);
  await symlink(outside, join(volume, 'link'));
  await assert.rejects(mountsOf({ subPath: 'link/made' }), ContainerConfigError);
  assert.deepEqual(await readdir(outside), []);
});

test('a link that stays in the volume may be part of a subPath', async () => {
  await mkdir(join(volume, 'real'));
  await symlink('real', join(volume, 'alias'));
  const [mount] = await mountsOf({ subPath: 'alias/x' });
  assert.equal(mount?.hostPath, join(volume, 'real/x'));
});
