import { join } from 'node:path';
import type { Pod } from '../api/gen/core-v1.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Cri, CriResponse } from './cri.ts';
import { diskLimitExceeded, type DiskUsage, limitsEphemeralStorage, measuredVolumes } from './disk-limits.ts';
import { measureFolder } from './disk-usage.ts';
import { type NodePaths, podLogDir, volumeDir } from './pod-paths.ts';
import { runtimeLabels } from './sandbox-config.ts';

export type DiskEvictionDeps = {
  readonly cri: Pick<Cri, 'listContainerStats'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly paths: NodePaths;
  /** Between two looks, ms. A Pod may be above its limits for this long and as long as the look takes. */
  readonly checkMs: number;
  pods(): readonly Pod[];
  /** Ends the Pod for that reason; nothing where it does not run here any more. */
  evict(uid: string, message: string): void;
};

/** Evicts Pods that take more of the node's disk than they may, until the signal aborts. Pods without such limits cost nothing. */
export async function runDiskEviction(deps: DiskEvictionDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await deps.clock.sleep(deps.checkMs, signal).catch(() => {}); // aborted: the loop ends
    if (signal.aborted) return;
    const limited = deps
      .pods()
      .filter((pod) => isActive(pod) && (limitsEphemeralStorage(pod) || measuredVolumes(pod).length > 0));
    try {
      await checkAll(deps, limited, signal);
    } catch (error) {
      if (!signal.aborted) deps.log.warn('local storage of Pods could not be measured', { error });
    }
  }
}

function isActive({ metadata, status }: Pod): boolean {
  if (metadata?.deletionTimestamp !== undefined) return false;
  return status?.phase === undefined || status.phase === 'Pending' || status.phase === 'Running';
}

async function checkAll(deps: DiskEvictionDeps, pods: readonly Pod[], signal: AbortSignal): Promise<void> {
  const needsLayers = pods.some(limitsEphemeralStorage);
  const layers = needsLayers ? layersOf(await deps.cri.listContainerStats({})) : new Map<string, Layers>();
  for (const pod of pods) {
    const uid = pod.metadata?.uid ?? '';
    try {
      const usage = await measurePod(deps, pod, layers.get(uid) ?? new Map(), signal);
      const message = diskLimitExceeded(pod, usage);
      if (message !== undefined) deps.evict(uid, message);
    } catch (error) {
      if (signal.aborted) throw error;
      const { namespace, name } = pod.metadata ?? {};
      deps.log.warn('local storage of a Pod could not be measured', { namespace, name, error });
    }
  }
}

/** Bytes of writable layers, by the container's name. */
type Layers = Map<string, number>;

/** By the Pod's uid; of a container that was started again, the newest. */
function layersOf({ stats }: CriResponse<'listContainerStats'>): ReadonlyMap<string, Layers> {
  const byUid = new Map<string, Layers>();
  const attemptOf = (stat: (typeof stats)[number]) => stat.attributes?.metadata?.attempt ?? 0;
  for (const stat of stats.toSorted((a, b) => attemptOf(a) - attemptOf(b))) {
    const labels = stat.attributes?.labels ?? {};
    const uid = labels[runtimeLabels.podUid];
    const name = labels[runtimeLabels.container];
    if (uid === undefined || name === undefined) continue;
    const layers = byUid.get(uid) ?? new Map<string, number>();
    layers.set(name, stat.writableLayer?.usedBytes?.value ?? 0);
    byUid.set(uid, layers);
  }
  return byUid;
}

async function measurePod(
  deps: DiskEvictionDeps,
  pod: Pod,
  layers: ReadonlyMap<string, number>,
  signal: AbortSignal,
): Promise<DiskUsage> {
  const { namespace, name, uid = '' } = pod.metadata ?? {};
  const measure = async (dir: string): Promise<number> => {
    const { bytes, complete } = await measureFolder(dir, signal);
    if (!complete)
      deps.log.warn('a folder of a Pod is too large to be measured whole', { namespace, name, dir, bytes });
    return bytes;
  };
  const volumes = new Map<string, number>();
  for (const volume of measuredVolumes(pod))
    volumes.set(volume, await measure(volumeDir(deps.paths, uid, volume)));
  const containers = new Map<string, number>();
  if (limitsEphemeralStorage(pod)) {
    const { initContainers = [], containers: main = [], ephemeralContainers = [] } = pod.spec ?? {};
    for (const container of [...initContainers, ...main, ...ephemeralContainers]) {
      const logs = await measure(join(podLogDir(deps.paths, pod), container.name));
      containers.set(container.name, logs + (layers.get(container.name) ?? 0));
    }
  }
  return { volumes, containers };
}
