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
    this.#known ??= pod.status ?? {};
    this.#wanted = { pod, status };
    if (!this.#isWriting) this.#written = this.#writeAll();
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
        this.#known = written.status ?? {};
        retryMs = retryFirstMs;
      } catch (error) {
        if (this.#signal.aborted) return;
        if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) return; // gone, or another of its name
        this.#log.warn('cannot write pod status, trying again', { error, retryMs });
        this.#wanted ??= { pod, status };
        await this.#clock.sleep(retryMs, this.#signal).catch(() => {}); // aborted: the loop ends
        retryMs = Math.min(retryMaxMs, retryMs * 2);
      }
    }
  }
}
