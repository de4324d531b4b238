import { chmod, mkdir, realpath, stat, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, sep } from 'node:path';
import type { Container, Pod, VolumeMount } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import { type HostMount, terminationMessagePathDefault } from './container-config.ts';
import { expandVariables } from './expand.ts';
import { hostsFile, type NodePaths, terminationMessageFile } from './pod-paths.ts';

/**
 * The bind mounts of one container: its volumes, /etc/hosts, and the file for its termination message.
 * Makes missing subPath folders. Throws ContainerConfigError on a subPath that cannot be expanded or is not a path
 * below its volume.
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
  await writeFile(messageFile, '', { flag: 'a' });
  await chmod(messageFile, 0o666); // whatever the umask: the container's user need not be root
  mounts.push({
    containerPath: container.terminationMessagePath ?? terminationMessagePathDefault,
    hostPath: messageFile,
    readonly: false,
    propagation: 'private',
  });
  return mounts;
}

/** Throws ContainerConfigError where the expression names a variable that the container does not have. */
function subPathOf(mount: VolumeMount, env: ReadonlyMap<string, string>): string {
  const { subPath = '', subPathExpr = '' } = mount;
  if (subPathExpr === '') return subPath;
  const get = (name: string): string => {
    const value = env.get(name);
    if (value !== undefined) return value;
    throw new ContainerConfigError(
      `subPathExpr ${JSON.stringify(subPathExpr)} names ${name}, which is no variable of the container`,
    );
  };
  return expandVariables(subPathExpr, { get });
}

/**
 * Makes what is missing of the path, one folder after the other, each as open as the volume itself. What is there as
 * a link that leads out of the volume is refused before anything is made behind it.
 */
async function resolveSubPath(root: string, subPath: string, mount: VolumeMount): Promise<string> {
  if (subPath === '') return root;
  const names = subPath.split('/');
  if (isAbsolute(subPath) || names.includes('..')) {
    throw new ContainerConfigError(
      `subPath ${JSON.stringify(subPath)} is not a path below volume ${mount.name}: it is absolute or has ..`,
    );
  }
  const volume = await realpath(root);
  const mode = (await stat(volume)).mode & 0o7777;
  let path = volume;
  for (const name of names) {
    path = join(path, name);
    try {
      await mkdir(path);
      await chmod(path, mode); // whatever the umask
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      path = await realpath(path);
      if (isWithin(volume, path)) continue;
      throw new ContainerConfigError(
        `subPath ${JSON.stringify(subPath)} leads out of volume ${mount.name} by a link`,
      );
    }
  }
  return path;
}

function isWithin(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`);
}

function propagationOf(mount: VolumeMount): HostMount['propagation'] {
  if (mount.mountPropagation === 'Bidirectional') return 'bidirectional';
  return mount.mountPropagation === 'HostToContainer' ? 'hostToContainer' : 'private';
}
