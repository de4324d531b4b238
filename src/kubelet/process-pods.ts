import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../api/gen/core-v1.ts';
import { isJsonObject, keyOf } from '../api/object.ts';
import { pods } from '../api/resource.ts';
import { createInformer } from '../control/create-informer.ts';
import { specHashOf } from './plan.ts';
import { compilePodStatus } from './pod-status.ts';
import { Prober } from './prober.ts';
import type { RuntimeContainer, RuntimePod } from './runtime-pod.ts';
import type { StaticPodDeps } from './static-pods.ts';
import { StatusWriter } from './status-writer.ts';

/** Names the supervisor's process that a Pod stands for. */
export const processAnnotation = 'fairlead.dev/process';

/** What the supervisor tells of a process. */
type ProcessState = { readonly pid: number; readonly startedAtMs: number; readonly restarts: number };

/** Whether the process still lives is looked at this often, ms; a restart is told at once by its state file. */
const aliveCheckMs = 1_000;

/**
 * Keeps a mirror Pod's status like its process: running or not, since when, how often restarted, and ready by the
 * container's readiness probe. Returns when the Pod is gone from the API, or when the signal aborts.
 */
export async function runProcessPod(deps: StaticPodDeps, pod: Pod, parent: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([parent, stop.signal]);
  const { namespace, name } = pod.metadata ?? {};
  const file = join(deps.processStateDir, `${pod.metadata?.annotations?.[processAnnotation] ?? ''}.json`);
  const mirror = createInformer(deps.client, pods, { namespace, fieldSelector: `metadata.name=${name}` });
  mirror.onChange((_key, now) => {
    const isOurs = now?.metadata?.uid === pod.metadata?.uid && now?.metadata?.deletionTimestamp === undefined;
    if (!isOurs) stop.abort();
  });
  let dirty = Promise.withResolvers<void>();
  const wake = () => {
    dirty.resolve();
    dirty = Promise.withResolvers<void>();
  };
  const watcher = watch(deps.processStateDir, (_event, changed) => {
    if (changed !== null && file.endsWith(`/${changed}`)) wake();
  });
  const prober = new Prober({ cri: deps.cri, clock: deps.clock, wake, unhealthy: () => {} });
  const writer = new StatusWriter(deps.client, deps.clock, deps.log, signal);
  const watching = mirror.run(signal);
  signal.addEventListener('abort', wake, { once: true });
  let current = pod;
  try {
    while (!signal.aborted) {
      const changed = dirty.promise;
      const runtime = runtimeOf(current, await readState(file));
      current = report(deps, mirror.get(keyOf(current)) ?? current, runtime, prober, writer, current);
      const cancel = deps.clock.after(aliveCheckMs, wake);
      await changed;
      cancel();
    }
  } finally {
    watcher.close();
    prober.stop();
    await watching;
  }
}

/** Writes the status that follows from `runtime`; returns the Pod with it. */
function report(
  deps: StaticPodDeps,
  known: Pod,
  runtime: RuntimePod,
  prober: Prober,
  writer: StatusWriter,
  before: Pod,
): Pod {
  const pod = { ...known, status: before.status ?? known.status };
  const spec = pod.spec?.containers[0];
  const [container] = runtime.containers;
  if (spec !== undefined) {
    const running = container?.state === 'running' ? [{ spec, runtime: container, before: undefined }] : [];
    prober.reconcile(pod, deps.nodeIps[0] ?? '127.0.0.1', running);
  }
  const status = compilePodStatus({
    pod,
    runtime,
    probes: prober.results(),
    waiting: new Map(),
    hostIps: deps.nodeIps,
    nowMs: deps.clock.nowMs(),
    resized: new Map(),
    resizePending: undefined,
    resizeError: undefined,
    terminated: false,
    failure: undefined,
  });
  // With the status that the API has, not with ours that may still be on its way there.
  writer.write(known, status);
  return { ...pod, status };
}

async function readState(file: string): Promise<ProcessState | undefined> {
  try {
    const parsed: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (!isJsonObject(parsed)) return undefined;
    const { pid, startedAtMs, restarts } = parsed;
    if (typeof pid !== 'number' || typeof startedAtMs !== 'number') return undefined;
    process.kill(pid, 0); // throws when it does not live
    return { pid, startedAtMs, restarts: typeof restarts === 'number' ? restarts : 0 };
  } catch {
    return undefined; // not started yet, being written, or ended: the supervisor starts it again
  }
}

/** The process as if it were a container. */
function runtimeOf(pod: Pod, state: ProcessState | undefined): RuntimePod {
  const spec = pod.spec?.containers[0];
  if (spec === undefined || state === undefined) return { sandboxes: [], containers: [] };
  const container: RuntimeContainer = {
    id: `process-${state.pid}-${state.startedAtMs}`,
    sandboxId: 'host',
    name: spec.name,
    attempt: state.restarts,
    state: 'running',
    createdAtMs: state.startedAtMs,
    startedAtMs: state.startedAtMs,
    finishedAtMs: undefined,
    exitCode: 0,
    reason: '',
    message: '',
    image: spec.image ?? '',
    imageRef: spec.image ?? '',
    specHash: specHashOf(spec),
    resources: '',
  };
  const sandbox = { id: 'host', attempt: 0, ready: true, createdAtMs: state.startedAtMs, ips: [] };
  return { sandboxes: [sandbox], containers: [container] };
}
