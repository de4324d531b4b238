import type { ContainerStatus, Pod, PodCondition, PodStatus } from '../api/gen/core-v1.ts';
import { rfc3339 } from '../base/clock.ts';
import { compileContainerStatus, type ContainerStatusInput, type Waiting } from './container-status.ts';
import { isSidecar } from './plan.ts';
import type { ContainerProbes } from './probe-state.ts';
import { isResizing, type ResizePending } from './resize.ts';
import { qosClassOf } from './resources.ts';
import { type RuntimePod, readySandbox } from './runtime-pod.ts';

export type PodStatusInput = {
  readonly pod: Pod;
  readonly runtime: RuntimePod;
  readonly probes: ReadonlyMap<string, ContainerProbes>;
  readonly waiting: ReadonlyMap<string, Waiting>;
  readonly hostIps: readonly string[];
  readonly nowMs: number;
  /** Resources by container id, of containers that were changed after they were made. */
  readonly resized: ReadonlyMap<string, string>;
  /** The newest wish for CPU and memory that is not granted. */
  readonly resizePending: ResizePending | undefined;
  /** Why a container could not be given what was granted. */
  readonly resizeError: string | undefined;
  /** The Pod has been stopped for good: nothing restarts. */
  readonly terminated: boolean;
  /** The node agent gave up on the Pod; its phase is Failed whatever its containers do. */
  readonly failure: { readonly reason: string; readonly message: string } | undefined;
};

const runtimeName = 'containerd';

/** The whole status that the node agent owns. Conditions of others (readiness gates) are not in it. */
export function compilePodStatus(input: PodStatusInput): PodStatus {
  const { pod, runtime } = input;
  const previous = pod.status;
  const sandbox = readySandbox(runtime);
  const inits = compileInitStatuses(input);
  const isInitialised = inits.every((status, index) => isInitDone(pod, status, index));
  const containers = compileMainStatuses(input, isInitialised);
  const phase = input.failure !== undefined ? 'Failed' : phaseOf(input, inits, containers, isInitialised);
  const podIps = pod.spec?.hostNetwork === true ? input.hostIps : (sandbox?.ips ?? []);
  const shownIps = podIps.length > 0 ? podIps : (previous?.podIPs ?? []).map(({ ip }) => ip);
  const conditions = conditionsOf(input, {
    inits,
    containers,
    phase,
    isInitialised,
    hasSandbox: sandbox !== undefined,
  });
  return {
    phase,
    conditions,
    ...(pod.metadata?.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    ...(input.failure === undefined ? keptReason(previous) : input.failure),
    hostIP: input.hostIps[0] ?? '',
    hostIPs: input.hostIps.map((ip) => ({ ip })),
    ...(shownIps[0] === undefined ? {} : { podIP: shownIps[0], podIPs: shownIps.map((ip) => ({ ip })) }),
    startTime: previous?.startTime ?? rfc3339(input.nowMs),
    ...(inits.length === 0 ? {} : { initContainerStatuses: inits }),
    containerStatuses: containers,
    ...ephemeralStatuses(input),
    qosClass: previous?.qosClass ?? qosClassOf(pod),
  };
}

/** The Pod with our own newest status, and with the conditions in it that others write. */
export function withStatus(pod: Pod, own: PodStatus | undefined): Pod {
  if (own === undefined) return pod;
  const mine = new Set(own.conditions?.map(({ type }) => type));
  const foreign = (pod.status?.conditions ?? []).filter(({ type }) => !mine.has(type));
  return { ...pod, status: { ...pod.status, ...own, conditions: [...(own.conditions ?? []), ...foreign] } };
}

function keptReason(previous: PodStatus | undefined): Pick<PodStatus, 'reason' | 'message'> {
  if (previous?.phase !== 'Failed') return {};
  return {
    ...(previous.reason === undefined ? {} : { reason: previous.reason }),
    ...(previous.message === undefined ? {} : { message: previous.message }),
  };
}

function compileInitStatuses(input: PodStatusInput): ContainerStatus[] {
  const { pod } = input;
  const context: ContainerStatusInput = { ...input, waitingDefault: 'PodInitializing', runtimeName };
  const known = pod.status?.initContainerStatuses ?? [];
  return (pod.spec?.initContainers ?? []).map((container) =>
    compileContainerStatus(
      container,
      context,
      known.find(({ name }) => name === container.name),
    ),
  );
}

function ephemeralStatuses(input: PodStatusInput): Pick<PodStatus, 'ephemeralContainerStatuses'> {
  const containers = input.pod.spec?.ephemeralContainers ?? [];
  if (containers.length === 0) return {};
  const context: ContainerStatusInput = { ...input, waitingDefault: 'ContainerCreating', runtimeName };
  const known = input.pod.status?.ephemeralContainerStatuses ?? [];
  return {
    ephemeralContainerStatuses: containers.map((container) => {
      const before = known.find(({ name }) => name === container.name);
      // They are neither started nor ready for anything: nothing waits for them.
      const { started: _started, ...status } = compileContainerStatus(container, context, before);
      return { ...status, ready: false };
    }),
  };
}

function compileMainStatuses(input: PodStatusInput, isInitialised: boolean): ContainerStatus[] {
  const { pod } = input;
  const waitingDefault = isInitialised ? 'ContainerCreating' : 'PodInitializing';
  const context: ContainerStatusInput = { ...input, waitingDefault, runtimeName };
  const known = pod.status?.containerStatuses ?? [];
  return (pod.spec?.containers ?? []).map((container) =>
    compileContainerStatus(
      container,
      context,
      known.find(({ name }) => name === container.name),
    ),
  );
}

function isInitDone(pod: Pod, status: ContainerStatus, index: number): boolean {
  const container = pod.spec?.initContainers?.[index];
  if (container !== undefined && isSidecar(container)) return status.started === true;
  return status.state?.terminated?.exitCode === 0;
}

/** Spec: Kubernetes, "Pod phase". */
function phaseOf(
  input: PodStatusInput,
  inits: readonly ContainerStatus[],
  containers: readonly ContainerStatus[],
  isInitialised: boolean,
): string {
  const { pod } = input;
  const settled = pod.status?.phase;
  if (settled === 'Succeeded' || settled === 'Failed') return settled;
  const policy = input.terminated ? 'Never' : (pod.spec?.restartPolicy ?? 'Always');
  const ended = containers.filter(hasEnded);
  const failedInit = inits.some((status, index) => {
    const container = pod.spec?.initContainers?.[index];
    const code = status.state?.terminated?.exitCode ?? 0;
    return policy === 'Never' && code !== 0 && container !== undefined && !isSidecar(container);
  });
  if (failedInit) return 'Failed';
  if (input.terminated && ended.length < containers.length) return 'Failed'; // stopped before it ever ran
  const mainStarted = containers.some((status) => status.state?.running !== undefined || hasEnded(status));
  if (!isInitialised && !mainStarted) return 'Pending';
  if (containers.some((status) => status.state?.waiting !== undefined && !hasEnded(status))) return 'Pending';
  if (containers.some((status) => status.state?.running !== undefined) || policy === 'Always')
    return 'Running';
  if (containers.every((status) => status.state?.terminated?.exitCode === 0)) return 'Succeeded';
  return policy === 'Never' ? 'Failed' : 'Running';
}

/** Terminated now, or waiting for its restart. */
function hasEnded(status: ContainerStatus): boolean {
  if (status.state?.terminated !== undefined) return true;
  return status.state?.waiting !== undefined && status.lastState?.terminated !== undefined;
}

type Compiled = {
  readonly inits: readonly ContainerStatus[];
  readonly containers: readonly ContainerStatus[];
  readonly phase: string;
  readonly isInitialised: boolean;
  readonly hasSandbox: boolean;
};

type Verdict = { readonly ok: boolean; readonly reason?: string; readonly message?: string };

function conditionsOf(input: PodStatusInput, compiled: Compiled): PodCondition[] {
  const { pod } = input;
  const ready = readyVerdict(pod, containersVerdict(pod, compiled));
  const verdicts: readonly (readonly [string, Verdict])[] = [
    ['PodReadyToStartContainers', { ok: compiled.hasSandbox }],
    ['Initialized', initialisedVerdict(pod, compiled)],
    ['Ready', ready],
    ['ContainersReady', containersVerdict(pod, compiled)],
    ['PodScheduled', { ok: true }],
  ];
  return [...verdicts, ...disruptionVerdicts(input), ...resizeVerdicts(input)].map(([type, verdict]) =>
    condition(type, verdict, input),
  );
}

/** An eviction is no fault of the Pod's own: Jobs may be told to make nothing of it. */
function disruptionVerdicts({ failure }: PodStatusInput): readonly (readonly [string, Verdict])[] {
  if (failure?.reason !== 'Evicted') return [];
  const { message } = failure;
  return [['DisruptionTarget', { ok: true, reason: 'TerminationByKubelet', message }]];
}

/** Conditions that are there only while they are true. */
export const passingConditions: ReadonlySet<string> = new Set(['PodResizePending', 'PodResizeInProgress']);

function resizeVerdicts(input: PodStatusInput): readonly (readonly [string, Verdict])[] {
  const { pod, runtime, resized, resizePending, resizeError } = input;
  const failed = resizeError === undefined ? {} : { reason: 'Error', message: resizeError };
  return [
    ...(resizePending === undefined ? [] : [['PodResizePending', { ok: true, ...resizePending }] as const]),
    ...(isResizing(pod, runtime, resized) ? [['PodResizeInProgress', { ok: true, ...failed }] as const] : []),
  ];
}

function condition(type: string, { ok, reason, message }: Verdict, input: PodStatusInput): PodCondition {
  const status = ok ? 'True' : 'False';
  const before = input.pod.status?.conditions?.find((one) => one.type === type);
  const generation = input.pod.metadata?.generation;
  return {
    type,
    status,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    lastTransitionTime:
      before?.status === status && before.lastTransitionTime !== undefined
        ? before.lastTransitionTime
        : rfc3339(input.nowMs),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}

function initialisedVerdict(pod: Pod, { inits, phase, isInitialised }: Compiled): Verdict {
  if (phase === 'Succeeded') return { ok: true, reason: 'PodCompleted' };
  if (isInitialised || inits.length === 0) return { ok: true };
  const missing = inits.filter((status, index) => !isInitDone(pod, status, index)).map(({ name }) => name);
  return {
    ok: false,
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: [${missing.join(' ')}]`,
  };
}

function containersVerdict(pod: Pod, { inits, containers, phase }: Compiled): Verdict {
  if (phase === 'Succeeded') return { ok: false, reason: 'PodCompleted' };
  if (phase === 'Failed') return { ok: false, reason: 'PodFailed' };
  const sidecars = inits.filter((_, index) => {
    const container = pod.spec?.initContainers?.[index];
    return container !== undefined && isSidecar(container);
  });
  const unready = [...sidecars, ...containers].filter((status) => !status.ready).map(({ name }) => name);
  if (unready.length === 0) return { ok: true };
  return {
    ok: false,
    reason: 'ContainersNotReady',
    message: `containers with unready status: [${unready.join(' ')}]`,
  };
}

function readyVerdict(pod: Pod, containers: Verdict): Verdict {
  if (!containers.ok) return containers;
  const closed = (pod.spec?.readinessGates ?? []).find(({ conditionType }) => {
    const found = pod.status?.conditions?.find(({ type }) => type === conditionType);
    return found?.status !== 'True';
  });
  if (closed === undefined) return { ok: true };
  return {
    ok: false,
    reason: 'ReadinessGatesNotReady',
    message: `the status of pod readiness gate "${closed.conditionType}" is not "True"`,
  };
}
