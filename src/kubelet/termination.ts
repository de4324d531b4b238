import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container, Pod } from '../api/gen/core-v1.ts';
import { pods } from '../api/resource.ts';
import { isApiError } from '../client/client.ts';
import { isGrpcError } from '../base/grpc.ts';
import { isSidecar } from './plan.ts';
import { removeCgroup } from './pod-cgroups.ts';
import type { PodDeps } from './pod-deps.ts';
import { type NodePaths, podLogsDir } from './pod-paths.ts';
import { podCgroup } from './pod-setup.ts';
import { runHandler } from './probe-exec.ts';
import type { RuntimeContainer, RuntimePod } from './runtime-pod.ts';
import { removePodDir } from './volumes.ts';

/** What is left of the grace period after a preStop hook that used it up, s. Kubernetes' own number. */
const graceSecondsMin = 2;

/** Stops one container: preStop hook, SIGTERM, and SIGKILL at the deadline (ms since the epoch). */
export async function stopContainer(
  deps: PodDeps,
  pod: Pod,
  container: RuntimeContainer,
  options: { readonly deadlineMs: number; readonly message: string; readonly podIp: string },
): Promise<void> {
  const spec = specOf(pod, container.name);
  deps.event(pod, 'Normal', 'Killing', options.message);
  const remainingMs = () => options.deadlineMs - deps.clock.nowMs();
  const hook = spec?.lifecycle?.preStop;
  if (hook !== undefined && spec !== undefined && remainingMs() > 0) {
    const target = { pod, container: spec, containerId: container.id, podIp: options.podIp };
    const result = await runHandler(hook, target, deps.cri, remainingMs(), new AbortController().signal);
    if (!result.ok) deps.event(pod, 'Warning', 'FailedPreStopHook', `PreStopHook failed: ${result.message}`);
  }
  const seconds = Math.max(hook === undefined ? 0 : graceSecondsMin, Math.ceil(remainingMs() / 1000));
  await signalContainer(deps, container.id, Math.max(0, seconds));
}

/** SIGTERM now and SIGKILL after `seconds`; 0: SIGKILL now. May be called again with less time. */
export async function signalContainer(deps: PodDeps, containerId: string, seconds: number): Promise<void> {
  try {
    const timeoutMs = (seconds + 30) * 1000;
    await deps.cri.stopContainer({ containerId, timeout: seconds }, { timeoutMs });
  } catch (error) {
    if (!isGrpcError(error, 'NOT_FOUND')) throw error;
  }
}

function specOf(pod: Pod, name: string): Container | undefined {
  return [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].find(
    (one) => one.name === name,
  );
}

/** Stops all running containers: first the main ones together, then the sidecars, last to first. */
export async function stopAll(
  deps: PodDeps,
  pod: Pod,
  runtime: RuntimePod,
  options: { readonly deadlineMs: number; readonly podIp: string },
): Promise<void> {
  const alive = runtime.containers.filter(({ state }) => state === 'running' || state === 'unknown');
  const order = (pod.spec?.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
  const stop = (container: RuntimeContainer) =>
    stopContainer(deps, pod, container, { ...options, message: `Stopping container ${container.name}` });
  await Promise.all(alive.filter(({ name }) => !order.includes(name)).map(stop));
  for (const name of order.toReversed()) {
    await Promise.all(alive.filter((container) => container.name === name).map(stop));
  }
}

/** Frees the Pod's network and ends what may still run in it. */
export async function stopSandboxes(deps: PodDeps, runtime: RuntimePod): Promise<void> {
  for (const sandbox of runtime.sandboxes) {
    await ignoreNotFound(deps.cri.stopPodSandbox({ podSandboxId: sandbox.id }));
  }
}

/** Removes everything that the node has of a stopped Pod. May be repeated. */
export async function removePod(deps: PodDeps, pod: Pod, runtime: RuntimePod): Promise<void> {
  for (const sandbox of runtime.sandboxes) {
    await ignoreNotFound(deps.cri.removePodSandbox({ podSandboxId: sandbox.id })); // with its containers
  }
  for (const container of runtime.containers) {
    await ignoreNotFound(deps.cri.removeContainer({ containerId: container.id }));
  }
  const uid = pod.metadata?.uid ?? '';
  deps.watched.release(uid);
  deps.tokens.release(uid);
  await removePodDir(deps.paths, uid);
  await removeLogs(deps.paths, uid);
  await removeCgroup(podCgroup(deps, uid));
}

/** By the uid alone: of a Pod without an object the name may not be known any more. */
async function removeLogs(paths: NodePaths, uid: string): Promise<void> {
  const names = await readdir(podLogsDir(paths));
  for (const name of names.filter((one) => one.endsWith(`_${uid}`))) {
    await rm(join(podLogsDir(paths), name), { recursive: true, force: true });
  }
}

/** Takes the object out of the API, if it is still this very Pod. */
export async function deletePodObject(deps: PodDeps, pod: Pod, signal: AbortSignal): Promise<void> {
  const { namespace, name = '', uid } = pod.metadata ?? {};
  try {
    await deps.client.delete(pods, namespace, name, { gracePeriodSeconds: 0, uid, signal });
  } catch (error) {
    if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
  }
}

async function ignoreNotFound(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isGrpcError(error, 'NOT_FOUND')) throw error;
  }
}
