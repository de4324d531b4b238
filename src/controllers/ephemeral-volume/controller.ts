import type { Pod } from '../../api/gen/core-v1.ts';
import { keyOf, type ObjectKey, objectKey } from '../../api/object.ts';
import { foreignClaimProblem } from '../../api/pod-claims.ts';
import { persistentVolumeClaims, pods } from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import { done, type Outcome } from '../../control/reconciler.ts';
import { WorkQueue } from '../../control/work-queue.ts';
import { type ControllerContext, loopTask } from '../context.ts';
import { controllerOf } from '../ownership.ts';
import { plannedClaims } from './plan.ts';

/** Makes the claims of generic ephemeral volumes. They belong to their Pod: the garbage collector takes them when it is gone. */
export function ephemeralVolumeController(context: ControllerContext): Task {
  const { client, informers, timing } = context;
  const queue = new WorkQueue(timing.clock);
  const recorder = context.recorder('ephemeral-volume-controller');
  const podInformer = informers.of(pods);
  const claims = informers.of(persistentVolumeClaims);

  function listen(): void {
    podInformer.onChange((key, now) => {
      if (now !== undefined && hasEphemeralVolumes(now)) queue.add(key);
    });
    claims.onChange((_key, now, old) => {
      if (now !== undefined || old === undefined) return;
      const owner = controllerOf(old);
      if (owner?.kind === 'Pod') queue.add(objectKey(old.metadata?.namespace, owner.name));
    });
  }

  async function reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome> {
    const pod = podInformer.get(key);
    if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined) return done;
    for (const claim of plannedClaims(pod)) {
      const known = claims.get(keyOf(claim));
      const problem = known === undefined ? undefined : foreignClaimProblem(pod, known);
      if (problem !== undefined)
        recorder.event(pod, 'Warning', 'FailedBinding', `ephemeral volume: ${problem}`);
      // One that our copy does not show yet is refused as AlreadyExists, and looked at again.
      if (known === undefined) await client.create(persistentVolumeClaims, claim, { signal });
    }
    return done;
  }

  return loopTask(context, 'ephemeral-volume', { queue, recorder, listen, reconcile });
}

function hasEphemeralVolumes({ spec }: Pod): boolean {
  return spec?.volumes?.some(({ ephemeral }) => ephemeral !== undefined) === true;
}
