import type { Container, Pod } from '../api/gen/core-v1.ts';
import type { ContainerProbes } from './probe-state.ts';
import { resourcesKeyOf, restartsForResize } from './resize.ts';
import { type Backoff, type BackoffLimits, delayBefore } from './restart-backoff.ts';
import { newestContainer, type RuntimeContainer, type RuntimePod, readySandbox } from './runtime-pod.ts';

/** One step towards what the Pod's spec asks for. */
export type Action =
  | { readonly kind: 'create-sandbox'; readonly attempt: number }
  /** Ends what is left of a sandbox that no longer is ready, or of a Pod that is complete; its containers stay listed. */
  | { readonly kind: 'stop-sandbox'; readonly sandboxId: string }
  | {
      readonly kind: 'start-container';
      readonly container: Container;
      readonly attempt: number;
      /** The run before, if any: its length decides on the next back-off. */
      readonly previous: RuntimeContainer | undefined;
    }
  | {
      readonly kind: 'stop-container';
      readonly container: RuntimeContainer;
      readonly why: 'unhealthy' | 'changed' | 'completed' | 'unknown-state';
      readonly message: string;
      /** The grace that the failed probe gives, s; undefined: the Pod's. */
      readonly graceSeconds?: number | undefined;
    }
  /** Gives a running container other CPU and memory. */
  | { readonly kind: 'resize-container'; readonly container: RuntimeContainer; readonly spec: Container }
  /** Created and never started: what a node agent leaves that was killed in between. */
  | { readonly kind: 'remove-container'; readonly containerId: string };

export type Plan = {
  readonly actions: readonly Action[];
  /** Containers whose restart waits for their back-off, by name. */
  readonly waiting: ReadonlyMap<string, { readonly delayMs: number; readonly untilMs: number }>;
  /** The Pod needs nothing more: its containers have ended and none restarts. */
  readonly completed: boolean;
};

export type PlanInput = {
  /** With the resources that it was given (see resize.ts). */
  readonly pod: Pod;
  readonly runtime: RuntimePod;
  readonly nowMs: number;
  /** By container id; a container that is not in it has not been probed yet. */
  readonly probes: ReadonlyMap<string, ContainerProbes>;
  /** By container name. */
  readonly backoffs: ReadonlyMap<string, Backoff>;
  readonly limits: BackoffLimits;
  /** Resources by container id, of containers that were changed after they were made. */
  readonly resized: ReadonlyMap<string, string>;
};

/** What to do next with a Pod that is not being deleted. Runs again after its actions, until there are none. */
export function planPod(input: PlanInput): Plan {
  const { pod, runtime } = input;
  if (isCompleted(pod, runtime)) return completedPlan(runtime);
  const sandbox = readySandbox(runtime);
  if (sandbox === undefined) return sandboxPlan(runtime);
  const builder = new PlanBuilder(input, sandbox.id);
  builder.planEphemeralContainers();
  if (builder.planInitContainers()) builder.planContainers();
  return builder.build();
}

/** What of a container may change while its Pod runs, and then needs a new container: the image alone. */
export function specHashOf(container: Container): string {
  return container.image ?? '';
}

export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** The new sandbox waits until the old one is gone for good: two of one Pod would fight for its name. */
function sandboxPlan(runtime: RuntimePod): Plan {
  const [newest] = runtime.sandboxes;
  const alive = runtime.containers.filter((container) => container.state === 'running');
  const leftovers = runtime.sandboxes
    .filter((sandbox) => sandbox.ready || alive.some((container) => container.sandboxId === sandbox.id))
    .map((sandbox) => ({ kind: 'stop-sandbox' as const, sandboxId: sandbox.id }));
  const stopNewest = newest === undefined ? [] : [{ kind: 'stop-sandbox' as const, sandboxId: newest.id }];
  const attempt = newest === undefined ? 0 : newest.attempt + 1;
  const actions: Action[] = [
    ...(leftovers.length > 0 ? leftovers : stopNewest),
    { kind: 'create-sandbox', attempt },
  ];
  return { actions, waiting: new Map(), completed: false };
}

function completedPlan(runtime: RuntimePod): Plan {
  const actions: Action[] = runtime.containers
    .filter((container) => container.state === 'running' || container.state === 'unknown')
    .map((container) => ({
      kind: 'stop-container',
      container,
      why: 'completed',
      message: 'Pod is complete',
    }));
  const sandbox = readySandbox(runtime);
  if (actions.length === 0 && sandbox !== undefined)
    actions.push({ kind: 'stop-sandbox', sandboxId: sandbox.id });
  return { actions, waiting: new Map(), completed: true };
}

/** Whether the Pod has reached its end: Succeeded, or Failed for good. */
export function isCompleted(pod: Pod, runtime: RuntimePod): boolean {
  const policy = pod.spec?.restartPolicy ?? 'Always';
  if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return true;
  if (policy === 'Always') return false;
  const failedInit = (pod.spec?.initContainers ?? []).some((container) => {
    const latest = newestContainer(runtime, container.name);
    return !isSidecar(container) && policy === 'Never' && latest?.state === 'exited' && latest.exitCode !== 0;
  });
  if (failedInit) return true;
  return (pod.spec?.containers ?? []).every((container) => {
    const latest = newestContainer(runtime, container.name);
    return latest?.state === 'exited' && !restarts(policy, latest);
  });
}

function restarts(policy: string, latest: RuntimeContainer): boolean {
  return policy === 'Always' || (policy === 'OnFailure' && latest.exitCode !== 0);
}

class PlanBuilder {
  readonly #input: PlanInput;
  readonly #sandboxId: string;
  readonly #actions: Action[] = [];
  readonly #waiting = new Map<string, { delayMs: number; untilMs: number }>();

  constructor(input: PlanInput, sandboxId: string) {
    this.#input = input;
    this.#sandboxId = sandboxId;
  }

  build(): Plan {
    return { actions: this.#actions, waiting: this.#waiting, completed: false };
  }

  /** Each is started once, whatever becomes of it, and waits for nothing. */
  planEphemeralContainers(): void {
    const { pod, runtime } = this.#input;
    for (const container of pod.spec?.ephemeralContainers ?? []) {
      const latest = newestContainer(runtime, container.name);
      const known = pod.status?.ephemeralContainerStatuses?.find(({ name }) => name === container.name);
      if (latest?.state === 'created') this.#removeCreated(latest);
      else if (latest === undefined && known?.state?.terminated === undefined) {
        this.#start(container, undefined);
      }
    }
  }

  #removeCreated(container: RuntimeContainer): void {
    this.#actions.push({ kind: 'remove-container', containerId: container.id });
  }

  /** True when all init containers are done, or nothing but sidecars among them needs care. */
  planInitContainers(): boolean {
    const { pod, runtime } = this.#input;
    const inits = pod.spec?.initContainers ?? [];
    const mainStarted = (pod.spec?.containers ?? []).some(
      (container) => this.#current(container) !== undefined,
    );
    for (const container of inits) {
      const latest = this.#current(container);
      if (isSidecar(container)) {
        this.#planLongRunning(container, latest, 'Always');
        if (!mainStarted && !this.#isStarted(latest)) return false;
      } else if (!mainStarted) {
        if (latest?.state === 'exited' && latest.exitCode === 0) continue;
        const policy = pod.spec?.restartPolicy === 'Never' ? 'Never' : 'OnFailure';
        this.#planLongRunning(
          container,
          latest ?? undefined,
          policy,
          newestContainer(runtime, container.name),
        );
        return false;
      }
    }
    return true;
  }

  planContainers(): void {
    const { pod } = this.#input;
    const policy = pod.spec?.restartPolicy ?? 'Always';
    for (const container of pod.spec?.containers ?? []) {
      // With restartPolicy Never or OnFailure a container that ended in an older sandbox stays ended.
      const latest = this.#current(container);
      const before = newestContainer(this.#input.runtime, container.name);
      if (latest === undefined && before?.state === 'exited' && !restarts(policy, before)) continue;
      this.#planLongRunning(container, latest, policy, before);
    }
  }

  /** The newest container of that name in the present sandbox. */
  #current(container: Container): RuntimeContainer | undefined {
    return this.#input.runtime.containers.find(
      (one) => one.name === container.name && one.sandboxId === this.#sandboxId,
    );
  }

  #isStarted(latest: RuntimeContainer | undefined): boolean {
    return latest?.state === 'running' && this.#input.probes.get(latest.id)?.started === true;
  }

  #planLongRunning(
    container: Container,
    latest: RuntimeContainer | undefined,
    policy: string,
    before: RuntimeContainer | undefined = latest,
  ): void {
    if (latest === undefined) {
      this.#start(container, before);
      return;
    }
    switch (latest.state) {
      case 'running':
        this.#planRunning(container, latest);
        return;
      case 'created':
        this.#removeCreated(latest);
        return;
      case 'unknown':
        this.#stop(latest, 'unknown-state', `Container ${container.name} is in unknown state`);
        return;
      case 'exited':
        if (restarts(policy, latest)) this.#start(container, latest);
    }
  }

  #planRunning(container: Container, latest: RuntimeContainer): void {
    if (latest.specHash !== specHashOf(container)) {
      this.#stop(latest, 'changed', `Container ${container.name} definition changed, will be restarted`);
      return;
    }
    const has = this.#input.resized.get(latest.id) ?? latest.resources;
    if (has !== '' && has !== resourcesKeyOf(container)) {
      if (restartsForResize(container, has)) {
        this.#stop(latest, 'changed', `Container ${container.name} resize requires restart`);
        return;
      }
      this.#actions.push({ kind: 'resize-container', container: latest, spec: container });
    }
    const unhealthy = this.#input.probes.get(latest.id)?.unhealthy;
    if (unhealthy === undefined) return;
    const probe = unhealthy === 'startup' ? container.startupProbe : container.livenessProbe;
    this.#actions.push({
      kind: 'stop-container',
      container: latest,
      why: 'unhealthy',
      message: `Container ${container.name} failed ${unhealthy} probe, will be restarted`,
      graceSeconds: probe?.terminationGracePeriodSeconds,
    });
  }

  #stop(container: RuntimeContainer, why: 'changed' | 'unknown-state', message: string): void {
    this.#actions.push({ kind: 'stop-container', container, why, message });
  }

  #start(container: Container, previous: RuntimeContainer | undefined): void {
    const attempt = previous === undefined ? 0 : previous.attempt + 1;
    if (previous?.state === 'exited' && previous.sandboxId === this.#sandboxId) {
      const delayMs = delayBefore(
        this.#input.backoffs.get(container.name),
        ranMs(previous),
        this.#input.limits,
      );
      const untilMs = (previous.finishedAtMs ?? this.#input.nowMs) + delayMs;
      if (untilMs > this.#input.nowMs) {
        this.#waiting.set(container.name, { delayMs, untilMs });
        return;
      }
    }
    this.#actions.push({ kind: 'start-container', container, attempt, previous });
  }
}

/** How long a container ran, ms. */
export function ranMs(container: RuntimeContainer): number {
  if (container.startedAtMs === undefined || container.finishedAtMs === undefined) return 0;
  return Math.max(0, container.finishedAtMs - container.startedAtMs);
}
