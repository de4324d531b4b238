import type { Pod, PodStatus } from '../api/gen/core-v1.ts';
import { pods } from '../api/resource.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { planStatusPatch } from './status-patch.ts';

/** After a failed write, ms; doubled up to the maximum while it keeps failing. */
const retryFirstMs = 100;
const retryMaxMs = 5_000;

/** Writes one Pod's status: one patch in flight, what changes meanwhile is merged into the next. */
export class StatusWriter {
  readonly #client: ApiClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  #wanted: { readonly pod: Pod; readonly status: PodStatus } | undefined;
  /** What the API server has, as far as we know. */
  #known: PodStatus | undefined;
  /** Resource version of the Pod that had it. */
  #knownVersion = 0n;
  #isWriting = false;
  #written: Promise<void> = Promise.resolve();

  constructor(client: ApiClient, clock: Clock, log: Logger, signal: AbortSignal) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#signal = signal;
  }

  /** Never waits. The newest status wins. */
  write(pod: Pod, status: PodStatus): void {
    // Others write it, too: a node that was cut off finds its Pods marked as not ready when it comes back.
    this.#know(pod);
    this.#wanted = { pod, status };
    if (!this.#isWriting) this.#written = this.#writeAll();
  }

  /** Takes what the API server has, unless we know of something newer. */
  #know(pod: Pod): void {
    const version = BigInt(/^\d+$/.exec(pod.metadata?.resourceVersion ?? '')?.[0] ?? 0);
    if (this.#known !== undefined && version <= this.#knownVersion) return;
    this.#known = pod.status ?? {};
    this.#knownVersion = version;
  }

  /** Resolves when all that was given to `write` is written, or its Pod is gone. */
  async flush(): Promise<void> {
    await this.#written;
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    try {
      await this.#writeUntilDone();
    } finally {
      this.#isWriting = false;
    }
  }

  async #writeUntilDone(): Promise<void> {
    let retryMs = retryFirstMs;
    while (this.#wanted !== undefined && !this.#signal.aborted) {
      const { pod, status } = this.#wanted;
      this.#wanted = undefined;
      const patch = planStatusPatch(pod.metadata?.uid, this.#known, status);
      if (patch === undefined) continue;
      try {
        const { namespace, name = '' } = pod.metadata ?? {};
        const options = { subresource: 'status', signal: this.#signal };
        const written = await this.#client.patch(pods, namespace, name, 'strategic', patch, options);
        this.#know(written);
        retryMs = retryFirstMs;
      } catch (error) {
        if (this.#signal.aborted) return;
        // Gone, or another of its name: nothing is left to write, unless somebody asked for more meanwhile.
        if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) continue;
        this.#log.warn('cannot write pod status, trying again', { error, retryMs });
        this.#wanted ??= { pod, status };
        await this.#clock.sleep(retryMs, this.#signal).catch(() => {}); // aborted: the loop ends
        retryMs = Math.min(retryMaxMs, retryMs * 2);
      }
    }
  }
}
