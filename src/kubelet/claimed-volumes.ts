import { chmod, lchown, lstat, opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  HostPathVolumeSource,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
} from '../api/gen/core-v1.ts';
import { volumeSourcesOf } from '../api/kinds/persistentvolume.ts';
import type { JsonObject } from '../api/object.ts';
import { foreignClaimProblem, podClaims } from '../api/pod-claims.ts';
import { persistentVolumeClaims, persistentVolumes } from '../api/resource.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { MountError } from './config-error.ts';

/** Where the data of a claim lies on this node. */
export type ClaimedVolume =
  | { readonly kind: 'hostPath'; readonly source: HostPathVolumeSource }
  | { readonly kind: 'local'; readonly path: string };

/**
 * The data of every claim that the Pod's volumes name, by the name of the volume. Throws MountError where a claim is
 * not bound, or its PersistentVolume is of a kind that this node cannot mount.
 */
export async function fetchClaimedVolumes(
  client: ApiClient,
  pod: Pod,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ClaimedVolume>> {
  const { namespace = 'default' } = pod.metadata ?? {};
  const found = new Map<string, ClaimedVolume>();
  for (const { volumeName: name, claimName, isEphemeral } of podClaims(pod)) {
    const claim = await absentAsError(client.get(persistentVolumeClaims, namespace, claimName, signal), {
      message: `persistentvolumeclaim ${JSON.stringify(claimName)} not found`,
    });
    const foreign = isEphemeral ? foreignClaimProblem(pod, claim) : undefined;
    if (foreign !== undefined) throw new MountError(foreign);
    const volumeName = claim.spec?.volumeName ?? '';
    const volume =
      volumeName === ''
        ? undefined
        : await absentAsError(client.get(persistentVolumes, undefined, volumeName, signal), {
            message: `persistentvolume ${JSON.stringify(volumeName)} not found`,
          });
    found.set(name, locateClaim(claim, volume));
  }
  return found;
}

async function absentAsError<T>(request: Promise<T>, { message }: { readonly message: string }): Promise<T> {
  try {
    return await request;
  } catch (error) {
    if (!isApiError(error, 'NotFound')) throw error;
    throw new MountError(message, { cause: error });
  }
}

/** What to mount for a claim. Throws MountError. Both sides must say that they are bound to each other. */
export function locateClaim(
  claim: PersistentVolumeClaim,
  volume: PersistentVolume | undefined,
): ClaimedVolume {
  const name = JSON.stringify(claim.metadata?.name);
  if (claim.metadata?.deletionTimestamp !== undefined)
    throw new MountError(`persistentvolumeclaim ${name} is being deleted`);
  if (volume === undefined || claim.status?.phase !== 'Bound')
    throw new MountError(`persistentvolumeclaim ${name} is not bound`);
  const { spec, metadata } = volume;
  if (spec?.claimRef?.uid !== claim.metadata?.uid)
    throw new MountError(`persistentvolumeclaim ${name} is not bound to volume ${metadata?.name}`);
  const where = `persistentvolume ${JSON.stringify(metadata?.name)}`;
  if (spec?.volumeMode === 'Block')
    throw new MountError(`${where} has volumeMode Block, which this node does not support`);
  if (spec?.hostPath !== undefined) return { kind: 'hostPath', source: spec.hostPath };
  if (spec?.local !== undefined) return { kind: 'local', path: spec.local.path };
  const [kind = 'unknown'] = volumeSourcesOf((spec ?? {}) as JsonObject);
  throw new MountError(`${where} is of kind ${kind}, which this node does not support`);
}

/**
 * Checks that a local volume is there: it is made by whoever made the PersistentVolume, never by the node, so that a
 * disk that is not mounted is not taken for an empty one. Gives it to the Pod's fsGroup. Throws MountError.
 */
export async function prepareLocalVolume(pod: Pod, path: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new MountError(`local volume ${path} does not exist`, { cause });
  });
  if (!found.isDirectory()) throw new MountError(`local volume ${path} is not a directory`);
  const { fsGroup, fsGroupChangePolicy } = pod.spec?.securityContext ?? {};
  if (fsGroup === undefined) return;
  if (fsGroupChangePolicy === 'OnRootMismatch' && found.gid === fsGroup && hasAll(found.mode, folderBits))
    return;
  await giveToGroup(path, fsGroup);
}

/** What a group needs: to read and write files, and in folders to go in and to hand the group on (setgid). */
const fileBits = 0o660;
const folderBits = 0o2770;

function hasAll(mode: number, bits: number): boolean {
  return (mode & bits) === bits;
}

/** The root comes last: where the work is broken off, OnRootMismatch does it again. */
async function giveToGroup(path: string, group: number): Promise<void> {
  const found = await lstat(path);
  if (found.isDirectory()) {
    for await (const entry of await opendir(path)) await giveToGroup(join(path, entry.name), group);
  }
  if (found.gid !== group) await lchown(path, found.uid, group);
  if (found.isSymbolicLink()) return;
  const bits = found.isDirectory() ? folderBits : fileBits;
  if (!hasAll(found.mode, bits)) await chmod(path, (found.mode & 0o7777) | bits);
}
