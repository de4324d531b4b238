import { mkdir, realpath, writeFile } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import type { Container, Pod, VolumeMount } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import { type HostMount, terminationMessagePathDefault } from './container-config.ts';
import { expandVariables } from './expand.ts';
import { hostsFile, type NodePaths, terminationMessageFile } from './pod-paths.ts';

/**
 * The bind mounts of one container: its volumes, /etc/hosts, and the file for its termination message.
 * Makes missing subPath folders. Throws ContainerConfigError on a subPath that leads out of its volume.
 */
export async function prepareMounts(
  pod: Pod,
  container: Container,
  attempt: number,
  volumes: ReadonlyMap<string, string>,
  env: ReadonlyMap<string, string>,
  paths: NodePaths,
): Promise<readonly HostMount[]> {
  const uid = pod.metadata?.uid ?? '';
  const mounts: HostMount[] = [];
  const readOnlyClaims = new Set(
    (pod.spec?.volumes ?? [])
      .filter(({ persistentVolumeClaim }) => persistentVolumeClaim?.readOnly === true)
      .map(({ name }) => name),
  );
  for (const mount of container.volumeMounts ?? []) {
    const root = volumes.get(mount.name);
    if (root === undefined)
      throw new ContainerConfigError(`volume ${JSON.stringify(mount.name)} is not in the Pod's spec`);
    mounts.push({
      containerPath: mount.mountPath,
      hostPath: await resolveSubPath(root, subPathOf(mount, env), mount),
      readonly: mount.readOnly === true || readOnlyClaims.has(mount.name),
      propagation: propagationOf(mount),
    });
  }
  if (!mounts.some((mount) => mount.containerPath === '/etc/hosts')) {
    mounts.push({
      containerPath: '/etc/hosts',
      hostPath: hostsFile(paths, uid),
      readonly: false,
      propagation: 'private',
    });
  }
  const messageFile = terminationMessageFile(paths, uid, container.name, attempt);
  await mkdir(dirname(messageFile), { recursive: true });
  await writeFile(messageFile, '', { mode: 0o666, flag: 'a' });
  mounts.push({
    containerPath: container.terminationMessagePath ?? terminationMessagePathDefault,
    hostPath: messageFile,
    readonly: false,
    propagation: 'private',
  });
  return mounts;
}

function subPathOf(mount: VolumeMount, env: ReadonlyMap<string, string>): string {
  if (mount.subPathExpr !== undefined && mount.subPathExpr !== '')
    return expandVariables(mount.subPathExpr, env);
  return mount.subPath ?? '';
}

async function resolveSubPath(root: string, subPath: string, mount: VolumeMount): Promise<string> {
  if (subPath === '') return root;
  const path = join(root, subPath);
  if (!isWithin(root, path)) throw escapes(mount);
  // Not there yet: a folder, as Kubernetes makes one. There as a link that leads out of the volume: refused.
  await mkdir(path, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const resolved = await realpath(path);
  if (!isWithin(await realpath(root), resolved)) throw escapes(mount);
  return resolved;
}

function isWithin(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`);
}

function escapes(mount: VolumeMount): ContainerConfigError {
  return new ContainerConfigError(
    `subPath ${JSON.stringify(mount.subPath)} leads out of volume ${mount.name}`,
  );
}

function propagationOf(mount: VolumeMount): HostMount['propagation'] {
  if (mount.mountPropagation === 'Bidirectional') return 'bidirectional';
  return mount.mountPropagation === 'HostToContainer' ? 'hostToContainer' : 'private';
}
