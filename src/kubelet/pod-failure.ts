import type { Pod } from '../api/gen/core-v1.ts';
import type { PodDeps } from './pod-deps.ts';
import { findUnsupported, type Unsupported } from './unsupported.ts';

export type Failure = { readonly reason: string; readonly message: string };

const eventReasons: Readonly<Record<Unsupported['reason'], string>> = {
  UnsupportedVolume: 'FailedMount',
  UnsupportedPodSpec: 'Failed',
  SysctlForbidden: 'SysctlForbidden',
  PodOSNotSupported: 'PodOSNotSupported',
};

/** Longest time that one timer waits, ms: a deadline may be further away than a timer of Node can be set. */
const timerMsMax = 86_400_000;

/** Why one Pod cannot run here at all, or not any longer. The first reason stays. */
export class PodFailure {
  readonly #deps: Pick<PodDeps, 'clock' | 'event' | 'node'>;
  readonly #wake: () => void;
  readonly #failed = new AbortController();
  #known: Failure | undefined;
  #deadlineMs: number | undefined;
  #cancelTimer: (() => void) | undefined;

  /** `wake` is called when the Pod fails by itself: its deadline has passed. */
  constructor(deps: Pick<PodDeps, 'clock' | 'event' | 'node'>, wake: () => void) {
    this.#deps = deps;
    this.#wake = wake;
  }

  get known(): Failure | undefined {
    return this.#known;
  }

  /** Aborts when the Pod fails, so that no pull, mount or hook is waited for in vain. */
  get signal(): AbortSignal {
    return this.#failed.signal;
  }

  /** Fails the Pod where it asks for something that this node cannot do. */
  checkSupport(pod: Pod): void {
    const unsupported = findUnsupported(pod, this.#deps.node);
    if (unsupported === undefined || this.#known !== undefined) return;
    this.#deps.event(pod, 'Warning', eventReasons[unsupported.reason], unsupported.message);
    this.#fail(unsupported);
  }

  evict(pod: Pod, message: string): void {
    if (this.#known !== undefined) return;
    this.#deps.event(pod, 'Warning', 'Evicted', message);
    this.#fail({ reason: 'Evicted', message });
  }

  /** Fails the Pod when its activeDeadlineSeconds, counted from its status's startTime, are over: now or by a timer. */
  keepDeadline(pod: Pod): void {
    const deadlineMs = deadlineOf(pod);
    if (deadlineMs === this.#deadlineMs) return;
    this.stop();
    this.#deadlineMs = deadlineMs;
    if (deadlineMs !== undefined && this.#known === undefined) this.#await(pod, deadlineMs);
  }

  stop(): void {
    this.#deadlineMs = undefined;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #await(pod: Pod, deadlineMs: number): void {
    const leftMs = Math.ceil(deadlineMs - this.#deps.clock.nowMs());
    if (leftMs > 0) {
      const again = () => this.#await(pod, deadlineMs);
      this.#cancelTimer = this.#deps.clock.after(Math.min(leftMs, timerMsMax), again);
      return;
    }
    if (this.#known !== undefined) return;
    const message = 'Pod was active on the node longer than the specified deadline';
    this.#deps.event(pod, 'Normal', 'DeadlineExceeded', message);
    this.#fail({ reason: 'DeadlineExceeded', message });
    this.#wake();
  }

  #fail(failure: Failure): void {
    this.#known = failure;
    this.#failed.abort();
  }
}

/** Undefined for a Pod without a deadline, one that has not begun and one that is over. */
function deadlineOf({ spec, status }: Pod): number | undefined {
  const seconds = spec?.activeDeadlineSeconds;
  if (seconds === undefined || status?.startTime === undefined) return undefined;
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return undefined;
  return Date.parse(status.startTime) + seconds * 1000;
}
