import { keyOf, objectKey } from '../../api/object.ts';
import { persistentVolumeClaims, persistentVolumes, storageClasses } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { done, type Outcome } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, reconcilerTask, withEvents } from '../context.ts';
import { eligibleVolumes, findVolume, stateOf, waitingOf } from './plan.ts';
import { askProvisioner, bind } from './writes.ts';

/**
 * Binds claims to PersistentVolumes that are there. Nothing is provisioned here: a claim that no volume fits stays
 * Pending, with an Event that says so, until somebody or its class's provisioner makes one. Claims that wait for their
 * first consumer get what the scheduler keeps for them.
 */
export function volumeBinderController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const recorder = context.recorder('persistentvolume-controller');
  const queue = new WorkQueue(timing.clock);
  const claims = informers.of(persistentVolumeClaims);
  const volumes = informers.of(persistentVolumes);
  const classes = informers.of(storageClasses);
  classes.onChange(() => {
    for (const claim of claims.list())
      if (claim.status?.phase !== 'Bound') queue.add(`claim ${keyOf(claim)}`);
  });
  claims.onChange((key, _now, old) => {
    queue.add(`claim ${key}`);
    if (old?.spec?.volumeName !== undefined) queue.add(`volume ${old.spec.volumeName}`);
  });
  volumes.onChange((key) => {
    queue.add(`volume ${key}`);
    for (const claim of claims.list()) {
      if (claim.status?.phase !== 'Bound') queue.add(`claim ${keyOf(claim)}`);
    }
  });

  async function reconcileClaim(key: string, signal: AbortSignal): Promise<void> {
    const claim = claims.get(key);
    if (claim === undefined || claim.metadata?.deletionTimestamp !== undefined) return;
    const storageClass = classes.get(claim.spec?.storageClassName ?? '');
    const volume = findVolume(claim, eligibleVolumes(claim, volumes.list(), storageClass));
    if (volume !== undefined) {
      await bind(client, claim, volume, signal);
      return;
    }
    const bound = claim.status?.phase === 'Bound';
    const { namespace, name = '' } = claim.metadata ?? {};
    if (bound) {
      const options = { subresource: 'status', signal };
      const body = { status: { phase: 'Lost' } };
      await client.patch(persistentVolumeClaims, namespace, name, 'merge', body, options);
    } else if (claim.status?.phase !== 'Lost') {
      const { reason, message, provisioner } = waitingOf(claim, storageClass);
      if (provisioner !== undefined) await askProvisioner(client, claim, provisioner, signal);
      recorder.event(claim, 'Normal', reason, message);
    }
  }

  async function reconcileVolume(name: string, signal: AbortSignal): Promise<void> {
    const volume = volumes.get(name);
    if (volume === undefined) return;
    const reference = volume.spec?.claimRef;
    const claim =
      reference === undefined ? undefined : claims.get(objectKey(reference.namespace, reference.name ?? ''));
    const { event, ...status } = stateOf(volume, claim);
    if (volume.status?.phase === status.phase) return;
    const options = { subresource: 'status', signal };
    await client.patch(persistentVolumes, undefined, name, 'merge', { status }, options);
    if (event !== undefined) recorder.event(volume, 'Warning', event, status.message ?? '');
  }

  async function reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const [kind, name = ''] = key.split(' ');
    if (kind === 'claim') await reconcileClaim(name, signal);
    else await reconcileVolume(name, signal);
    return done;
  }

  return withEvents(reconcilerTask(context, 'volume-binder', queue, reconcile, 1), recorder);
}
