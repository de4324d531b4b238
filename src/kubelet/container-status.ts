import type {
  Container,
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  Pod,
} from '../api/gen/core-v1.ts';
import { rfc3339 } from '../base/clock.ts';
import type { ContainerProbes } from './probe-state.ts';
import { parseResourcesKey } from './resize.ts';
import { containersOf, type RuntimeContainer, type RuntimePod } from './runtime-pod.ts';

/** Why a container is not running although it should: ImagePullBackOff, CrashLoopBackOff, … */
export type Waiting = { readonly reason: string; readonly message: string | undefined };

export type ContainerStatusInput = {
  readonly pod: Pod;
  readonly runtime: RuntimePod;
  /** By container id. */
  readonly probes: ReadonlyMap<string, ContainerProbes>;
  /** By container name. */
  readonly waiting: ReadonlyMap<string, Waiting>;
  /** For a container that has not been created yet. */
  readonly waitingDefault: 'ContainerCreating' | 'PodInitializing';
  readonly runtimeName: string; // "containerd"
  /** Resources by container id, of containers that were changed after they were made. */
  readonly resized: ReadonlyMap<string, string>;
};

/** The status of one container of the Pod's spec. `previous`: what the API server has of it. */
export function compileContainerStatus(
  container: Container,
  input: ContainerStatusInput,
  previous: ContainerStatus | undefined,
): ContainerStatus {
  const [newest, before] = containersOf(input.runtime, container.name);
  const waiting = input.waiting.get(container.name);
  if (newest === undefined) return notCreated(container, input, previous, waiting);
  const state = stateOf(newest, waiting, input.runtimeName);
  const isRunning = newest.state === 'running';
  const probes = input.probes.get(newest.id);
  const past = state.waiting !== undefined && newest.state === 'exited' ? newest : before;
  const lastState =
    past?.state === 'exited'
      ? { terminated: terminatedState(past, input.runtimeName) }
      : previous?.restartCount === newest.attempt
        ? previous.lastState
        : undefined;
  return {
    name: container.name,
    state,
    lastState: lastState ?? {},
    ready: isRunning ? (probes?.ready ?? false) : isDoneInit(container, newest, input),
    started: isRunning && (probes?.started ?? false),
    restartCount: newest.attempt,
    image: newest.image === '' ? (container.image ?? '') : newest.image,
    imageID: newest.imageRef,
    containerID: containerId(newest, input.runtimeName),
    ...resourceStatuses(container, newest, input.resized),
    ...mountStatuses(container),
  };
}

/** An init container counts as ready once it has ended well. */
function isDoneInit(container: Container, newest: RuntimeContainer, input: ContainerStatusInput): boolean {
  const isInit = (input.pod.spec?.initContainers ?? []).some((one) => one.name === container.name);
  return isInit && newest.state === 'exited' && newest.exitCode === 0;
}

/** What the container was given, and what it has. */
function resourceStatuses(
  container: Container,
  newest: RuntimeContainer,
  resized: ReadonlyMap<string, string>,
): Pick<ContainerStatus, 'allocatedResources' | 'resources'> {
  const requests = container.resources?.requests;
  const has = parseResourcesKey(resized.get(newest.id) ?? newest.resources);
  if (has === undefined || (has.limits === undefined && has.requests === undefined)) return {};
  return { ...(requests === undefined ? {} : { allocatedResources: requests }), resources: has };
}

function mountStatuses(container: Container) {
  const mounts = container.volumeMounts ?? [];
  if (mounts.length === 0) return {};
  return {
    volumeMounts: mounts.map((mount) => ({
      name: mount.name,
      mountPath: mount.mountPath,
      ...(mount.readOnly === true ? { readOnly: true, recursiveReadOnly: 'Disabled' } : {}),
    })),
  };
}

function notCreated(
  container: Container,
  input: ContainerStatusInput,
  previous: ContainerStatus | undefined,
  waiting: Waiting | undefined,
): ContainerStatus {
  // Its record in the runtime is gone with the sandbox: what it ended with is only known from the status.
  if (previous?.state?.terminated !== undefined && waiting === undefined)
    return { ...previous, ready: false, started: false };
  return {
    name: container.name,
    state: { waiting: waitingState(waiting ?? { reason: input.waitingDefault, message: undefined }) },
    lastState: previous?.lastState ?? {},
    ready: false,
    started: false,
    restartCount: previous?.restartCount ?? 0,
    image: container.image ?? '',
    imageID: '',
    ...mountStatuses(container),
  };
}

function waitingState(waiting: Waiting): { reason: string; message?: string } {
  return waiting.message === undefined
    ? { reason: waiting.reason }
    : { reason: waiting.reason, message: waiting.message };
}

function stateOf(
  container: RuntimeContainer,
  waiting: Waiting | undefined,
  runtimeName: string,
): ContainerState {
  switch (container.state) {
    case 'running':
      return { running: { startedAt: rfc3339(container.startedAtMs ?? container.createdAtMs) } };
    case 'exited':
      if (waiting !== undefined) return { waiting: waitingState(waiting) };
      return { terminated: terminatedState(container, runtimeName) };
    case 'created':
    case 'unknown':
      return { waiting: waitingState(waiting ?? { reason: 'ContainerCreating', message: undefined }) };
  }
}

/** The end of a container. Without a reason of the runtime: Completed for exit code 0, else Error. */
function terminatedState(container: RuntimeContainer, runtimeName: string): ContainerStateTerminated {
  const reason =
    container.reason === '' ? (container.exitCode === 0 ? 'Completed' : 'Error') : container.reason;
  return {
    exitCode: container.exitCode,
    reason,
    ...(container.message === '' ? {} : { message: container.message }),
    startedAt: container.startedAtMs === undefined ? epoch : rfc3339(container.startedAtMs),
    finishedAt: container.finishedAtMs === undefined ? epoch : rfc3339(container.finishedAtMs),
    containerID: containerId(container, runtimeName),
  };
}

/** What Kubernetes shows for a time that never came. */
const epoch = '1970-01-01T00:00:00Z';

function containerId(container: RuntimeContainer, runtimeName: string): string {
  return `${runtimeName}://${container.id}`;
}

/** What the API says of this very container: known at the first look at an adopted one. */
export function statusOf(
  { status }: Pod,
  containerId: string,
): { readonly started: boolean; readonly ready: boolean } | undefined {
  const { containerStatuses = [], initContainerStatuses = [] } = status ?? {};
  const found = [...containerStatuses, ...initContainerStatuses].find(
    ({ containerID }) => containerID?.endsWith(`//${containerId}`) === true,
  );
  return found === undefined ? undefined : { started: found.started ?? false, ready: found.ready };
}
