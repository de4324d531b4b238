import { execFile } from 'node:child_process';
import { chmod, chown, lstat, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { HostPathVolumeSource, Pod, Volume } from '../api/gen/core-v1.ts';
import { writeVolume } from './atomic-writer.ts';
import { MountError } from './config-error.ts';
import { type NodePaths, podDir, volumeDir } from './pod-paths.ts';
import { type ClaimedVolume, prepareLocalVolume } from './claimed-volumes.ts';
import { unitsOf } from './resources.ts';
import { compileVolumeFiles, isFilesVolume, type VolumeSources } from './volume-files.ts';

const run = promisify(execFile);

/** Makes all volumes of a Pod ready; `claimed` are its claims by volume. Returns where each is on the node. Throws MountError; may be repeated. */
export async function setUpVolumes(
  pod: Pod,
  paths: NodePaths,
  sources: VolumeSources,
  revision: string,
  claimed: ReadonlyMap<string, ClaimedVolume>,
): Promise<ReadonlyMap<string, string>> {
  const uid = pod.metadata?.uid ?? '';
  const locations = new Map<string, string>();
  for (const volume of pod.spec?.volumes ?? []) {
    const dir = volumeDir(paths, uid, volume.name);
    const claim = claimed.get(volume.name);
    if (claim?.kind === 'local') {
      await prepareLocalVolume(pod, claim.path);
      locations.set(volume.name, claim.path);
    } else if (claim !== undefined) {
      await prepareHostPath(claim.source);
      locations.set(volume.name, claim.source.path);
    } else if (volume.hostPath !== undefined) {
      await prepareHostPath(volume.hostPath);
      locations.set(volume.name, volume.hostPath.path);
    } else if (isFilesVolume(volume)) {
      await writeVolume(
        dir,
        compileVolumeFiles(volume, sources),
        revision,
        pod.spec?.securityContext?.fsGroup,
      );
      locations.set(volume.name, dir);
    } else {
      await prepareEmptyDir(pod, volume, dir);
      locations.set(volume.name, dir);
    }
  }
  return locations;
}

/** Writes changed content of a running Pod's API-backed volumes; the others are left alone. */
export async function refreshVolumes(
  pod: Pod,
  paths: NodePaths,
  sources: VolumeSources,
  revision: string,
): Promise<void> {
  for (const volume of (pod.spec?.volumes ?? []).filter(isFilesVolume)) {
    const dir = volumeDir(paths, pod.metadata?.uid ?? '', volume.name);
    await writeVolume(dir, compileVolumeFiles(volume, sources), revision, pod.spec?.securityContext?.fsGroup);
  }
}

async function prepareEmptyDir(pod: Pod, volume: Volume, dir: string): Promise<void> {
  if (await exists(dir)) return; // made by an earlier pass or an earlier node agent: it holds the Pod's data
  await mkdir(dir, { recursive: true });
  if (volume.emptyDir?.medium === 'Memory') {
    const bytes = unitsOf(volume.emptyDir.sizeLimit ?? '0');
    const size = bytes > 0 ? [`-osize=${Math.ceil(bytes)}`] : [];
    await run('mount', ['-t', 'tmpfs', ...size, 'tmpfs', dir]).catch((cause: unknown) => {
      throw new MountError(`volume ${volume.name}: tmpfs cannot be mounted`, { cause });
    });
  }
  const group = pod.spec?.securityContext?.fsGroup;
  if (group !== undefined) await chown(dir, 0, group);
  await chmod(dir, group === undefined ? 0o777 : 0o2777);
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

/** Spec: Kubernetes, "hostPath volume types". */
async function prepareHostPath({ path, type = '' }: HostPathVolumeSource): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  switch (type) {
    case '':
      if (found === undefined) await mkdir(path, { recursive: true });
      return;
    case 'DirectoryOrCreate':
      if (found === undefined) await mkdir(path, { recursive: true, mode: 0o755 });
      else if (!found.isDirectory()) throw wrongType(path, 'a directory');
      return;
    case 'FileOrCreate':
      if (found === undefined) await writeFile(path, '', { mode: 0o644 });
      else if (!found.isFile()) throw wrongType(path, 'a file');
      return;
    case 'Directory':
      if (found?.isDirectory() !== true) throw wrongType(path, 'a directory');
      return;
    case 'File':
      if (found?.isFile() !== true) throw wrongType(path, 'a file');
      return;
    case 'Socket':
      if (found?.isSocket() !== true) throw wrongType(path, 'a socket');
      return;
    case 'CharDevice':
      if (found?.isCharacterDevice() !== true) throw wrongType(path, 'a character device');
      return;
    case 'BlockDevice':
      if (found?.isBlockDevice() !== true) throw wrongType(path, 'a block device');
      return;
    default:
      throw new MountError(`hostPath type ${JSON.stringify(type)} is not known`);
  }
}

function wrongType(path: string, wanted: string): MountError {
  return new MountError(`hostPath type check failed: ${path} is not ${wanted}`);
}

/** Unmounts and removes everything below the Pod's folder. hostPath volumes are not in it. */
export async function removePodDir(paths: NodePaths, uid: string): Promise<void> {
  const dir = podDir(paths, uid);
  for (const mountPoint of mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), dir))
    await run('umount', [mountPoint]);
  await rm(dir, { recursive: true, force: true });
}

/** Mount points below a folder, innermost first. Spec: proc(5), mountinfo, whose fifth field escapes blanks as octal. */
export function mountsBelow(mountInfo: string, dir: string): readonly string[] {
  return mountInfo
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    )
    .filter((mountPoint) => mountPoint.startsWith(`${dir}/`))
    .toReversed();
}
