import type { KubeObject, ObjectKey } from '../api/object.ts';
import { runTogether, type Task } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import type { Timing } from '../control/backoff.ts';
import type { Informers } from '../control/informers.ts';
import { type Outcome, runReconciler } from '../control/reconciler.ts';
import type { Recorder } from '../control/recorder.ts';
import type { WorkQueue } from '../control/work-queue.ts';

/** What every controller gets. Its function registers listeners at once; its task runs after all informers are synced. */
export type ControllerContext = {
  readonly client: ApiClient;
  readonly informers: Informers;
  readonly log: Logger;
  readonly timing: Timing;
  /** A recorder of Events under this component's name. */
  recorder(component: string): Recorder;
};

/** The usual task: a queue and its workers. */
export function reconcilerTask(
  context: ControllerContext,
  name: string,
  queue: WorkQueue,
  reconcile: (key: ObjectKey, signal: AbortSignal) => Promise<Outcome>,
  concurrency = 5,
): Task {
  return {
    name,
    run: (signal) => runReconciler({ name, queue, concurrency, reconcile }, signal, context),
  };
}

/** A controller that keeps more than a queue: what it listens to, what it does for a key, and its Events. */
export type ControllerLoop = {
  readonly queue: WorkQueue;
  readonly recorder: Recorder;
  /** Registers its listeners. */
  listen(): void;
  reconcile(key: ObjectKey, signal: AbortSignal): Promise<Outcome>;
};

export function loopTask(context: ControllerContext, name: string, loop: ControllerLoop): Task {
  loop.listen();
  const reconcile: ControllerLoop['reconcile'] = (key, signal) => loop.reconcile(key, signal);
  return withEvents(reconcilerTask(context, name, loop.queue, reconcile), loop.recorder);
}

/** Name of the index of objects by `namespace/uid` of their controller. */
export const controllerIndex = 'controller';

/** Values of that index. Objects without a controller stand under `namespace/`. */
export function controllerUidsOf(object: KubeObject): readonly string[] {
  const owner = object.metadata?.ownerReferences?.find((reference) => reference.controller === true);
  return [`${object.metadata?.namespace ?? ''}/${owner?.uid ?? ''}`];
}

/** A controller that writes Events: both run, and stop, together. */
export function withEvents(task: Task, recorder: Recorder): Task {
  const events = { name: `${task.name} events`, run: (signal: AbortSignal) => recorder.run(signal) };
  return { name: task.name, run: (signal) => runTogether([task, events], signal) };
}
