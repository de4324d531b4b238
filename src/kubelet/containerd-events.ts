import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { GrpcClient } from '../base/grpc.ts';
import { bytes, decode, message, optional, repeated, string } from '../base/protobuf.ts';

/** containerd.services.events.v1: what happens to tasks. CRI's own event stream exists only from containerd 1.7 on. */
const any = message({ typeUrl: string(1), value: bytes(2) });
const subscribe = {
  path: '/containerd.services.events.v1.Events/Subscribe',
  request: message({ filters: repeated(1, 'string') }),
  response: message({ namespace: string(2), topic: string(3), event: optional(4, any) }),
} as const;

/** TaskExit, TaskOOM and their like all carry the container's id as field 1; TaskExit the process' id as field 2. */
const taskEvent = message({ containerId: string(1), id: string(2) });

const filters = [
  'topic=="/tasks/exit",namespace=="k8s.io"',
  'topic=="/tasks/oom",namespace=="k8s.io"',
] as const;
/** Between the end of one subscription and the next, ms. */
const retryDelayMs = 100;

/**
 * Calls `onTask` with the container's (or sandbox') id whenever one of its processes has ended. Subscribes again for
 * ever; `onGap` is called after each new subscription, because events before it are lost.
 */
export async function watchTasks(
  client: GrpcClient,
  handlers: { readonly onTask: (containerId: string) => void; readonly onGap: () => void },
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const stream = client.stream(subscribe, { filters }, signal);
      handlers.onGap();
      for await (const envelope of stream) {
        if (envelope.event === undefined) continue;
        const event = decode(taskEvent, envelope.event.value);
        // The end of a process that was only exec'ed changes nothing in a Pod.
        if (event.id === '' || event.id === event.containerId) handlers.onTask(event.containerId);
      }
    } catch (error) {
      log.debug('task event stream ended', { error });
    }
    await clock.sleep(retryDelayMs, signal).catch(() => {}); // aborted: the loop ends
  }
}
