import type { Pod } from '../api/gen/core-v1.ts';
import { pruneEnded, StartError, startContainer, targetOf } from './container-start.ts';
import type { Waiting } from './container-status.ts';
import type { PullBackoffs } from './images.ts';
import { type Action, ranMs } from './plan.ts';
import type { PodDeps } from './pod-deps.ts';
import { resolverProblems, sandboxConfigOf, writeHosts } from './pod-setup.ts';
import type { PodVolumes } from './pod-volumes.ts';
import { afterRestart, type Backoff, restartBackoff } from './restart-backoff.ts';
import { type RuntimePod, readySandbox } from './runtime-pod.ts';

/** Between two tries to make a sandbox, ms. */
const sandboxRetryMs = 1_000;

/** Under which the sandbox stands among what is blocked; no container can have this name. */
const sandboxKey = '';

/** Makes one Pod's sandbox and starts its containers; knows which of them cannot be started now, and until when. */
export class PodStarter {
  readonly #deps: PodDeps;
  readonly #volumes: PodVolumes;
  readonly #backoffs = new Map<string, Backoff>();
  readonly #pulls: PullBackoffs = new Map();
  readonly #blocked = new Map<string, { readonly waiting: Waiting; readonly untilMs: number }>();

  constructor(deps: PodDeps, volumes: PodVolumes) {
    this.#deps = deps;
    this.#volumes = volumes;
  }

  /** The delay that each container's next restart has to keep, by name. */
  get backoffs(): ReadonlyMap<string, Backoff> {
    return this.#backoffs;
  }

  /** What containers that cannot be started wait for, by name. */
  get waiting(): readonly (readonly [string, Waiting])[] {
    return [...this.#blocked].map(([name, { waiting }]) => [name, waiting] as const);
  }

  /** When something that is blocked may be tried again, ms since the epoch. */
  get dueMs(): readonly number[] {
    return [...this.#blocked.values()].map(({ untilMs }) => untilMs);
  }

  isBlocked(action: Action): boolean {
    if (action.kind !== 'start-container' && action.kind !== 'create-sandbox') return false;
    const key = action.kind === 'start-container' ? action.container.name : sandboxKey;
    return (this.#blocked.get(key)?.untilMs ?? 0) > this.#deps.clock.nowMs();
  }

  clear(): void {
    this.#blocked.clear();
  }

  async createSandbox(pod: Pod, attempt: number, signal: AbortSignal): Promise<void> {
    const config = sandboxConfigOf(this.#deps, pod, attempt);
    for (const problem of resolverProblems(this.#deps, pod)) {
      this.#deps.event(pod, 'Warning', 'DNSConfigForming', problem);
    }
    try {
      await this.#deps.cri.runPodSandbox({ config, runtimeHandler: '' });
      this.#blocked.delete(sandboxKey);
    } catch (error) {
      if (signal.aborted) throw error;
      const message = error instanceof Error ? error.message : String(error);
      this.#deps.event(pod, 'Warning', 'FailedCreatePodSandBox', `Failed to create pod sandbox: ${message}`);
      const untilMs = this.#deps.clock.nowMs() + sandboxRetryMs;
      this.#blocked.set(sandboxKey, { waiting: { reason: 'ContainerCreating', message }, untilMs });
    }
  }

  async startContainer(
    pod: Pod,
    action: Extract<Action, { kind: 'start-container' }>,
    runtime: RuntimePod,
    signal: AbortSignal,
  ): Promise<void> {
    const sandbox = readySandbox(runtime);
    if (sandbox === undefined) return; // it ended meanwhile: the next plan makes a new one
    const { container, attempt, previous } = action;
    const podIps = podIpsOf(this.#deps, pod, runtime);
    try {
      const targetContainerId = targetOf(pod, container.name, runtime, this.#deps.clock.nowMs());
      const volumes = await this.#volumes.ready(pod, signal);
      await writeHosts(this.#deps, pod, podIps);
      await startContainer(
        this.#deps,
        pod,
        container,
        { sandbox, attempt, podIps, volumes, pulls: this.#pulls, targetContainerId },
        signal,
      );
      this.#blocked.delete(container.name);
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      this.#blocked.set(container.name, { waiting: error.waiting, untilMs: error.retryAtMs });
    }
    if (previous === undefined) return;
    this.#backoffs.set(
      container.name,
      afterRestart(this.#backoffs.get(container.name), ranMs(previous), restartBackoff),
    );
    await pruneEnded(this.#deps, pod, container.name, runtime);
  }
}

/** Under which addresses the Pod can be reached; none before its sandbox runs. */
export function podIpsOf({ node }: Pick<PodDeps, 'node'>, pod: Pod, runtime: RuntimePod): readonly string[] {
  if (pod.spec?.hostNetwork === true) return node.ips;
  return readySandbox(runtime)?.ips ?? [];
}
