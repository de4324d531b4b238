import type { Pod } from '../api/gen/core-v1.ts';
import { MountError } from './config-error.ts';
import { StartError } from './container-start.ts';
import type { PodDeps } from './pod-deps.ts';
import { preparePod, refreshPod } from './pod-setup.ts';

/** Between two tries to make volumes whose sources are missing, ms. */
const mountRetryMs = 1_000;
/** Between two tries to renew the content of volumes that are in use, ms. */
const refreshRetryMs = 10_000;

/** One Pod's volumes: made once, beside the sandbox, then kept like the API's objects. */
export class PodVolumes {
  readonly #deps: PodDeps;
  #volumes: ReadonlyMap<string, string> | undefined;
  #preparing: Promise<ReadonlyMap<string, string>> | undefined;
  #refreshDue = false;
  #renewAtMs: number | undefined;

  constructor(deps: PodDeps) {
    this.#deps = deps;
  }

  /** When tokens must be renewed; undefined: never. */
  get renewAtMs(): number | undefined {
    return this.#renewAtMs;
  }

  /** A source of the volumes has changed. */
  requestRefresh(): void {
    this.#refreshDue = true;
  }

  /** Starts to make the volumes unless they are made; `ready` tells of the outcome. */
  begin(pod: Pod, signal: AbortSignal): void {
    if (this.#volumes !== undefined) return;
    this.#preparing ??= this.#prepare(pod, signal);
    this.#preparing.catch(() => {}); // told by `ready`; an adopted Pod that runs needs nothing of it
  }

  /** Where the volumes are, by name. Throws StartError when they cannot be made now. */
  async ready(pod: Pod, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    if (this.#volumes !== undefined) return this.#volumes;
    try {
      this.#preparing ??= this.#prepare(pod, signal);
      return await this.#preparing;
    } catch (error) {
      if (signal.aborted) throw error;
      const message = error instanceof Error ? error.message : String(error);
      this.#deps.event(pod, 'Warning', 'FailedMount', `MountVolume.SetUp failed: ${message}`);
      const retryAtMs = this.#deps.clock.nowMs() + mountRetryMs;
      throw new StartError('ContainerCreating', message, retryAtMs, { cause: error });
    }
  }

  /** Writes changed content into volumes that are in use. A failure is tried again later; the old content stays. */
  async refreshIfDue(pod: Pod, signal: AbortSignal): Promise<void> {
    const isRenewal = this.#renewAtMs !== undefined && this.#renewAtMs <= this.#deps.clock.nowMs();
    if (this.#volumes === undefined || (!this.#refreshDue && !isRenewal)) return;
    this.#refreshDue = false;
    try {
      this.#renewAtMs = await refreshPod(this.#deps, pod, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      // A source that was deleted is not worth a line: the Pod goes on with what it has, as in Kubernetes.
      if (!(error instanceof MountError))
        this.#deps.log.warn('volume content could not be renewed', { error });
      this.#refreshDue = true;
      this.#renewAtMs = this.#deps.clock.nowMs() + refreshRetryMs;
    }
  }

  async #prepare(pod: Pod, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    try {
      const { volumes, renewAtMs } = await preparePod(this.#deps, pod, signal);
      this.#volumes = volumes;
      this.#renewAtMs = renewAtMs;
      return volumes;
    } finally {
      this.#preparing = undefined;
    }
  }
}
