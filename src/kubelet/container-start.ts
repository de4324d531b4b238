import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container, Pod } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import type { Waiting } from './container-status.ts';
import { isGrpcError } from '../base/grpc.ts';
import { ensureImage, ImageError, type PullBackoffs } from './images.ts';
import type { PodDeps } from './pod-deps.ts';
import { containerLogPath, podLogDir } from './pod-paths.ts';
import { containerConfigOf, sandboxConfigOf } from './pod-setup.ts';
import { runHandler } from './probe-exec.ts';
import { containersOf, type RuntimePod, type RuntimeSandbox } from './runtime-pod.ts';

/** A container could not be started; tried again at `retryAtMs`. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly waiting: Waiting;
  readonly retryAtMs: number;

  constructor(reason: string, message: string, retryAtMs: number, options?: ErrorOptions) {
    super(message, options);
    this.waiting = { reason, message };
    this.retryAtMs = retryAtMs;
  }
}

/** Between two tries to create or start a container that cannot be, ms. */
const startRetryMs = 2_000;
/** Ended containers kept for `kubectl logs --previous`, of each name. */
const endedKeptMax = 1;

export type StartContext = {
  readonly sandbox: RuntimeSandbox;
  readonly attempt: number;
  readonly podIps: readonly string[];
  readonly volumes: ReadonlyMap<string, string>;
  readonly pulls: PullBackoffs;
  /** Of an ephemeral container: the container whose processes it sees. */
  readonly targetContainerId?: string | undefined;
};

/** Image, create, start, postStart. Throws StartError; returns the container's id. */
export async function startContainer(
  deps: PodDeps,
  pod: Pod,
  container: Container,
  context: StartContext,
  signal: AbortSignal,
): Promise<string> {
  const sandboxConfig = sandboxConfigOf(deps, pod, context.sandbox.attempt);
  const { namespace = 'default' } = pod.metadata ?? {};
  const imageDeps = {
    ...deps,
    event: (type: 'Normal' | 'Warning', reason: string, message: string) =>
      deps.event(pod, type, reason, message),
    secret: (name: string) => deps.watched.secret(namespace, name),
  };
  const retryAtMs = () => deps.clock.nowMs() + startRetryMs;
  const fail = (reason: string, event: string, error: unknown): StartError => {
    const message = error instanceof Error ? error.message : String(error);
    deps.event(pod, 'Warning', event, `Error: ${message}`);
    return new StartError(reason, message, retryAtMs(), { cause: error });
  };
  let containerId: string;
  try {
    const image = await ensureImage(imageDeps, pod, container, sandboxConfig, context.pulls, signal);
    const config = await containerConfigOf(deps, pod, container, { ...context, image });
    const request = { podSandboxId: context.sandbox.id, config, sandboxConfig };
    ({ containerId } = await deps.cri.createContainer(request));
  } catch (error) {
    if (signal.aborted) throw error;
    if (error instanceof ImageError)
      throw new StartError(error.reason, error.message, error.retryAtMs, { cause: error });
    const isConfig = error instanceof ContainerConfigError;
    throw fail(isConfig ? 'CreateContainerConfigError' : 'CreateContainerError', 'Failed', error);
  }
  deps.event(pod, 'Normal', 'Created', `Created container: ${container.name}`);
  try {
    await deps.cri.startContainer({ containerId });
  } catch (error) {
    throw fail('RunContainerError', 'Failed', error);
  }
  deps.event(pod, 'Normal', 'Started', `Started container ${container.name}`);
  await runPostStart(deps, pod, container, containerId, context, signal);
  return containerId;
}

/** The running container that an ephemeral container of that name aims at. Throws StartError while it does not run. */
export function targetOf(pod: Pod, name: string, runtime: RuntimePod, nowMs: number): string | undefined {
  const ephemeral = pod.spec?.ephemeralContainers?.find((container) => container.name === name);
  const target = ephemeral?.targetContainerName ?? '';
  if (target === '') return undefined;
  const [newest] = containersOf(runtime, target);
  if (newest?.state === 'running') return newest.id;
  throw new StartError(
    'CreateContainerConfigError',
    `unable to find target container ${target}`,
    nowMs + startRetryMs,
  );
}

async function runPostStart(
  deps: PodDeps,
  pod: Pod,
  container: Container,
  containerId: string,
  context: StartContext,
  signal: AbortSignal,
): Promise<void> {
  const hook = container.lifecycle?.postStart;
  if (hook === undefined) return;
  const target = { pod, container, containerId, podIp: context.podIps[0] ?? '' };
  const result = await runHandler(hook, target, deps.cri, postStartTimeoutMs, signal);
  if (result.ok) return;
  deps.event(pod, 'Warning', 'FailedPostStartHook', `PostStartHook failed: ${result.message}`);
  deps.event(pod, 'Normal', 'Killing', `FailedPostStartHook`);
  await deps.cri.stopContainer({ containerId, timeout: pod.spec?.terminationGracePeriodSeconds ?? 30 });
  throw new StartError('PostStartHookError', result.message, deps.clock.nowMs() + startRetryMs);
}

/** A postStart hook that takes longer has failed, ms. Kubernetes has no limit, and such a Pod then hangs for ever. */
const postStartTimeoutMs = 600_000;

/** Removes ended containers of that name beyond the newest, and their logs. */
export async function pruneEnded(deps: PodDeps, pod: Pod, name: string, runtime: RuntimePod): Promise<void> {
  const ended = containersOf(runtime, name).filter(({ state }) => state === 'exited');
  for (const { id, attempt } of ended.slice(endedKeptMax)) {
    try {
      await deps.cri.removeContainer({ containerId: id });
    } catch (error) {
      if (!isGrpcError(error, 'NOT_FOUND')) throw error;
    }
    await rm(join(podLogDir(deps.paths, pod), containerLogPath(name, attempt)), { force: true });
  }
}
