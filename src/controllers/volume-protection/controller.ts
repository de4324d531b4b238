import { claimFinalizer, volumeFinalizer } from '../../api/kinds/volume-finalizers.ts';
import { type KubeObject, type ObjectKey, splitKey } from '../../api/object.ts';
import { persistentVolumeClaims, persistentVolumes, pods, type Resource } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { isApiError } from '../../client/client.ts';
import { done, type Outcome } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask } from '../context.ts';
import { claimsInUse, wantedFinalizers } from './plan.ts';

const claimIndex = 'claim';

/** Keeps claims until no Pod uses them and volumes until no claim has them, however early they are deleted. */
export function volumeProtectionController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const queue = new WorkQueue(timing.clock);
  const claims = informers.of(persistentVolumeClaims);
  const volumes = informers.of(persistentVolumes);
  const podInformer = informers.of(pods);
  podInformer.addIndex(claimIndex, claimsInUse);
  claims.onChange((key) => queue.add(`claim ${key}`));
  volumes.onChange((key) => queue.add(`volume ${key}`));
  podInformer.onChange((_key, now, old) => {
    for (const pod of [now, old])
      for (const key of pod === undefined ? [] : claimsInUse(pod)) queue.add(`claim ${key}`);
  });

  async function hold(
    resource: Resource<KubeObject>,
    object: KubeObject,
    finalizer: string,
    inUse: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const finalizers = wantedFinalizers(object, finalizer, inUse);
    if (finalizers === undefined) return;
    const { namespace, name = '', uid, resourceVersion } = object.metadata ?? {};
    const metadata = { uid, resourceVersion, finalizers: finalizers.length === 0 ? null : finalizers };
    try {
      await client.patch(resource, namespace, name, 'merge', { metadata }, { signal });
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
  }

  /** A Pod that our copy does not show yet may have the claim: before it is let go the server is asked. */
  async function isClaimed(key: ObjectKey, signal: AbortSignal): Promise<boolean> {
    if ([...podInformer.byIndex(claimIndex, key)].length > 0) return true;
    const { namespace } = splitKey(key);
    const { items } = await client.list(pods, { namespace, signal });
    return items.some((pod) => claimsInUse(pod).includes(key));
  }

  async function reconcile(item: string, signal: AbortSignal): Promise<Outcome> {
    const [kind, key = ''] = item.split(' ');
    if (kind === 'claim') {
      const claim = claims.get(key);
      if (claim === undefined) return done;
      const inUse = claim.metadata?.deletionTimestamp !== undefined && (await isClaimed(key, signal));
      await hold(persistentVolumeClaims, claim, claimFinalizer, inUse, signal);
      return done;
    }
    const volume = volumes.get(key);
    if (volume === undefined) return done;
    await hold(persistentVolumes, volume, volumeFinalizer, volume.status?.phase === 'Bound', signal);
    return done;
  }

  return reconcilerTask(context, 'volume-protection', queue, reconcile, 2);
}
