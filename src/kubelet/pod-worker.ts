import { isDeepStrictEqual } from 'node:util';
import type { Container, Pod, PodStatus } from '../api/gen/core-v1.ts';
import { StatusWriter } from './status-writer.ts';
import { statusOf, type Waiting } from './container-status.ts';
import { type Action, isCompleted, type Plan, planPod } from './plan.ts';
import type { PodDeps, ZeroLossOptions } from './pod-deps.ts';
import { PodFailure } from './pod-failure.ts';
import { PodResizer } from './pod-resizer.ts';
import { PodStarter, podIpsOf } from './pod-starter.ts';
import { compilePodStatus, withStatus } from './pod-status.ts';
import { PodVolumes } from './pod-volumes.ts';
import { Prober } from './prober.ts';
import type { Amounts } from './resize.ts';
import { backoffText, restartBackoff } from './restart-backoff.ts';
import { emptyRuntimePod, type RuntimePod } from './runtime-pod.ts';
import {
  deletePodObject,
  removePod,
  signalContainer,
  stopAll,
  stopContainer,
  stopSandboxes,
} from './termination.ts';
import { isAbort, unlessAborted } from './unless-aborted.ts';

/** Rounds of plan and act in one pass; a Pod that still has something to do then is looked at again at once. */
const roundsMax = 50;
/** After a pass that failed, ms. */
const passRetryMs = 1_000;
/** Grace of a Pod whose object is gone already, s: it was deleted by force. */
const goneGraceSeconds = 2;

/** Grace of an evicted Pod's containers, s. Kubernetes' own number. */
const evictedGraceSeconds = 1;

/** Runs one Pod: brings the runtime to what the spec asks for, one pass after another, until the Pod is removed. */
export class PodWorker {
  readonly #deps: PodDeps;
  readonly #zeroLoss: ZeroLossOptions;
  readonly #prober: Prober;
  /** The newest object; stays when the object is gone, for its names and volumes. */
  #pod: Pod;
  #isGone = false;
  #isDirty = true;
  #notify: (() => void) | undefined;
  /** Aborted when the Pod is to go, so that pulls and hooks do not hold it up. */
  readonly #interrupt = new AbortController();
  #writer: StatusWriter | undefined;
  #lastStatus: PodStatus | undefined;
  readonly #failure: PodFailure;
  readonly #volumes: PodVolumes;
  readonly #resizer: PodResizer;
  readonly #starter: PodStarter;
  /** CrashLoopBackOff, by name. */
  #waiting: ReadonlyMap<string, Waiting> = new Map();
  #stopping: { deadlineMs: number; runtime: RuntimePod } | undefined;

  constructor(deps: PodDeps, zeroLoss: ZeroLossOptions, pod: Pod, reserved: (exceptUid: string) => Amounts) {
    this.#deps = deps;
    this.#zeroLoss = zeroLoss;
    this.#pod = pod;
    this.#volumes = new PodVolumes(deps);
    this.#starter = new PodStarter(deps, this.#volumes);
    this.#resizer = new PodResizer(deps, reserved);
    this.#failure = new PodFailure(deps, () => this.wake());
    this.#prober = new Prober({
      cri: deps.cri,
      clock: deps.clock,
      wake: () => this.wake(),
      unhealthy: (container, kind, message) => {
        const name = `${kind.charAt(0).toUpperCase()}${kind.slice(1)}`;
        deps.event(
          this.#pod,
          'Warning',
          'Unhealthy',
          `${name} probe failed: ${message} (container ${container.name})`,
        );
      },
    });
  }

  /** A newer object; undefined: it is gone from the API. */
  update(pod: Pod | undefined): void {
    if (pod === undefined) this.#isGone = true;
    else {
      const sameMeta = isDeepStrictEqual(
        [pod.metadata?.labels, pod.metadata?.annotations],
        [this.#pod.metadata?.labels, this.#pod.metadata?.annotations],
      );
      if (!sameMeta) this.#volumes.requestRefresh();
      this.#pod = pod;
    }
    if (this.#isLeaving()) {
      this.#interrupt.abort();
      this.#shortenGrace();
    }
    this.wake();
  }

  /** The runtime, a probe or a source of a volume has changed. */
  wake(): void {
    this.#isDirty = true;
    this.#notify?.();
  }

  refresh(): void {
    this.#volumes.requestRefresh();
    this.wake();
  }

  /** Ends the Pod as Failed; its containers are killed at once. */
  evict(message: string): void {
    const phase = this.#lastStatus?.phase;
    if (phase === 'Succeeded' || phase === 'Failed') return;
    this.#failure.evict(this.#pod, message);
    this.wake();
  }

  /** The Pod would have more CPU or memory when another one leaves. */
  get waitsForResources(): boolean {
    return this.#resizer.pending?.reason === 'Deferred';
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** Resolves when the Pod is removed from this node, or when the signal aborts; its containers then run on. */
  async run(signal: AbortSignal): Promise<void> {
    this.#writer = new StatusWriter(this.#deps.client, this.#deps.clock, this.#deps.log, signal);
    while (!signal.aborted) {
      this.#isDirty = false;
      let nextMs: number | undefined;
      let pass = signal;
      try {
        if (this.#isLeaving()) {
          await unlessAborted(this.#terminate(signal), signal);
          break;
        }
        this.#failure.checkSupport(this.#pod);
        pass = this.#passSignal(signal);
        nextMs = await unlessAborted(this.#sync(pass), signal);
      } catch (error) {
        if (signal.aborted) break;
        if (!pass.aborted || !isAbort(error)) {
          this.#deps.log.warn('pod pass failed, trying again', { pod: this.#pod.metadata?.name, error });
          nextMs = this.#deps.clock.nowMs() + passRetryMs;
        }
        if (this.#isLeaving() && this.#stopping !== undefined)
          await this.#deps.clock.sleep(passRetryMs, signal).catch(() => {});
      }
      await this.#waitUntil(nextMs, signal);
    }
    this.#prober.stop();
    this.#failure.stop();
  }

  /** Aborts what a pass waits for as soon as the Pod is to go or has failed; a pass after the failure cleans up. */
  #passSignal(signal: AbortSignal): AbortSignal {
    const reasons = [signal, this.#interrupt.signal];
    if (this.#failure.known === undefined) reasons.push(this.#failure.signal);
    return AbortSignal.any(reasons);
  }

  #isLeaving(): boolean {
    return this.#isGone || this.#pod.metadata?.deletionTimestamp !== undefined;
  }

  async #waitUntil(atMs: number | undefined, signal: AbortSignal): Promise<void> {
    if (this.#isDirty || signal.aborted || this.#isLeaving()) return;
    await new Promise<void>((resolve) => {
      const cancel =
        atMs === undefined
          ? () => {}
          : this.#deps.clock.after(Math.max(1, Math.ceil(atMs - this.#deps.clock.nowMs())), () => done());
      const done = () => {
        cancel();
        signal.removeEventListener('abort', done);
        this.#notify = undefined;
        resolve();
      };
      this.#notify = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }

  /** One pass. Returns when the next is due without a reason from outside; undefined: never. */
  async #sync(signal: AbortSignal): Promise<number | undefined> {
    this.#resizer.allocate(this.#pod);
    await this.#volumes.refreshIfDue(this.#pod, signal);
    let runtime = await this.#deps.view.podOf(this.#uid);
    this.#resizer.keepOnly(new Set(runtime.containers.map(({ id }) => id)));
    if (!this.#isOver(runtime)) this.#volumes.begin(this.#pod, signal);
    for (let round = 0; round < roundsMax; round++) {
      this.#reconcileProbes(runtime);
      const plan = this.#plan(runtime);
      this.#noteWaiting(plan);
      this.#publish(runtime, false);
      const actions = plan.actions.filter((action) => !this.#isBlocked(action));
      if (actions.length === 0) return this.#nextDue(plan);
      for (const action of actions) {
        signal.throwIfAborted();
        runtime = await this.#act(action, runtime, signal);
        if (publishedAfter.has(action.kind)) {
          this.#reconcileProbes(runtime);
          this.#publish(runtime, false);
        }
      }
    }
    this.wake();
    return undefined;
  }

  get #uid(): string {
    return this.#pod.metadata?.uid ?? '';
  }

  #isOver(runtime: RuntimePod): boolean {
    return this.#failure.known !== undefined || isCompleted(this.#podWithStatus(), runtime);
  }

  /** As it was allocated, with our own newest status. */
  #podWithStatus(): Pod {
    return withStatus(this.#resizer.view(this.#pod), this.#lastStatus);
  }

  #plan(runtime: RuntimePod): Plan {
    const status = this.#podWithStatus();
    const pod =
      this.#failure.known === undefined
        ? status
        : { ...status, status: { ...status.status, phase: 'Failed' } };
    return planPod({
      pod,
      runtime,
      nowMs: this.#deps.clock.nowMs(),
      probes: this.#prober.results(),
      backoffs: this.#starter.backoffs,
      limits: restartBackoff,
      resized: this.#resizer.has,
    });
  }

  #noteWaiting(plan: Plan): void {
    const before = this.#waiting;
    const waiting = new Map<string, Waiting>();
    const where = `${this.#pod.metadata?.name}_${this.#pod.metadata?.namespace}(${this.#uid})`;
    for (const [name, { delayMs }] of plan.waiting) {
      const message = `back-off ${backoffText(delayMs)} restarting failed container=${name} pod=${where}`;
      waiting.set(name, { reason: 'CrashLoopBackOff', message });
      if (before.has(name)) continue;
      this.#deps.event(
        this.#pod,
        'Warning',
        'BackOff',
        `Back-off restarting failed container ${name} in pod ${where}`,
      );
    }
    this.#waiting = waiting;
  }

  #isBlocked(action: Action): boolean {
    if (action.kind === 'resize-container') {
      return (this.#resizer.failure?.retryAtMs ?? 0) > this.#deps.clock.nowMs();
    }
    return this.#starter.isBlocked(action);
  }

  #nextDue(plan: Plan): number | undefined {
    const due = [
      ...[...plan.waiting.values()].map(({ untilMs }) => untilMs),
      ...this.#starter.dueMs,
      this.#volumes.renewAtMs,
      plan.actions.some(({ kind }) => kind === 'resize-container')
        ? this.#resizer.failure?.retryAtMs
        : undefined,
    ].filter((ms) => ms !== undefined);
    return due.length === 0 || plan.completed ? undefined : Math.min(...due);
  }

  /** Does one action; returns what the runtime holds after it. */
  async #act(action: Action, runtime: RuntimePod, signal: AbortSignal): Promise<RuntimePod> {
    const { cri, view } = this.#deps;
    switch (action.kind) {
      case 'create-sandbox':
        await this.#starter.createSandbox(this.#pod, action.attempt, signal);
        break;
      case 'stop-sandbox':
        await cri.stopPodSandbox({ podSandboxId: action.sandboxId });
        break;
      case 'start-container':
        await this.#starter.startContainer(this.#pod, action, runtime, signal);
        break;
      case 'resize-container':
        await this.#resizer.apply(this.#pod, action.spec, action.container);
        break;
      case 'stop-container': {
        const isEvicted = this.#failure.known?.reason === 'Evicted';
        const seconds = isEvicted
          ? evictedGraceSeconds
          : (action.graceSeconds ?? this.#pod.spec?.terminationGracePeriodSeconds ?? 30);
        const deadlineMs = this.#deps.clock.nowMs() + seconds * 1000;
        const podIp = podIpsOf(this.#deps, this.#pod, runtime)[0] ?? '';
        await stopContainer(this.#deps, this.#pod, action.container, {
          deadlineMs,
          message: action.message,
          podIp,
        });
        break;
      }
      case 'remove-container':
        await cri.removeContainer({ containerId: action.containerId });
        break;
    }
    return view.podOf(this.#uid);
  }

  #reconcileProbes(runtime: RuntimePod): void {
    const specs: readonly Container[] = [
      ...(this.#pod.spec?.containers ?? []),
      ...(this.#pod.spec?.initContainers ?? []),
    ];
    const running = runtime.containers.flatMap((container) => {
      const spec = specs.find(({ name }) => name === container.name);
      if (spec === undefined || container.state !== 'running') return [];
      return [{ spec, runtime: container, before: statusOf(this.#pod, container.id) }];
    });
    this.#prober.reconcile(this.#pod, podIpsOf(this.#deps, this.#pod, runtime)[0] ?? '', running);
  }

  #publish(runtime: RuntimePod, terminated: boolean): void {
    const status = compilePodStatus({
      pod: this.#podWithStatus(),
      runtime,
      probes: this.#prober.results(),
      waiting: new Map([...this.#starter.waiting, ...this.#waiting]),
      hostIps: this.#deps.node.ips,
      nowMs: this.#deps.clock.nowMs(),
      resized: this.#resizer.has,
      resizePending: this.#resizer.pending,
      resizeError: this.#resizer.failure?.message,
      terminated,
      failure: this.#failure.known,
    });
    this.#lastStatus = status;
    this.#failure.keepDeadline(this.#podWithStatus());
    if (!this.#isGone) this.#writer?.write(this.#pod, status);
  }

  #graceSeconds(): number {
    if (this.#isGone) return goneGraceSeconds;
    const { deletionGracePeriodSeconds } = this.#pod.metadata ?? {};
    return deletionGracePeriodSeconds ?? this.#pod.spec?.terminationGracePeriodSeconds ?? 30;
  }

  /** Deleted again, with less time or by force: what is being stopped must hurry. */
  #shortenGrace(): void {
    const stopping = this.#stopping;
    if (stopping === undefined) return;
    const deadlineMs = this.#deps.clock.nowMs() + this.#graceSeconds() * 1000;
    if (deadlineMs >= stopping.deadlineMs - 1000) return;
    stopping.deadlineMs = deadlineMs;
    for (const { id, state } of stopping.runtime.containers) {
      if (state !== 'running') continue;
      signalContainer(this.#deps, id, this.#graceSeconds()).catch((error: unknown) => {
        this.#deps.log.warn('container could not be stopped sooner', { containerId: id, error });
      });
    }
  }

  async #terminate(signal: AbortSignal): Promise<void> {
    const { clock, view } = this.#deps;
    this.#prober.quiesce();
    this.#stopping ??= { deadlineMs: clock.nowMs() + this.#graceSeconds() * 1000, runtime: emptyRuntimePod };
    const stopping = this.#stopping;
    stopping.runtime = await view.podOf(this.#uid);
    const { runtime } = stopping;
    if (runtime.containers.some(({ state }) => state === 'running')) {
      this.#reconcileProbes(runtime);
      await this.#drain(signal);
      const podIp = podIpsOf(this.#deps, this.#pod, runtime)[0] ?? '';
      await stopAll(this.#deps, this.#pod, runtime, { deadlineMs: stopping.deadlineMs, podIp });
    }
    this.#prober.stop();
    let stopped = await view.podOf(this.#uid);
    if (stopped.containers.some(({ state }) => state === 'running')) {
      // It was being started when the Pod was told to go. With its sandbox it ends for good.
      await stopSandboxes(this.#deps, stopped);
      stopped = await view.podOf(this.#uid);
    }
    this.#waiting = new Map();
    this.#starter.clear();
    this.#publish(stopped, true);
    await stopSandboxes(this.#deps, stopped);
    await this.#writer?.flush();
    if (!this.#isGone) await deletePodObject(this.#deps, this.#pod, signal);
    await removePod(this.#deps, this.#pod, stopped);
  }

  /** Zero-loss termination: see docs/ARCHITECTURE.md. Only a Pod that was ready can have traffic. */
  async #drain(signal: AbortSignal): Promise<void> {
    const isReady = this.#podWithStatus().status?.conditions?.some(
      ({ type, status }) => type === 'Ready' && status === 'True',
    );
    if (this.#isGone || isReady !== true) return;
    const timeoutMs = Math.min(this.#zeroLoss.drainTimeoutMs, (this.#graceSeconds() * 1000) / 2);
    await this.#deps.drain(this.#pod, timeoutMs, signal);
  }
}

/** Actions whose outcome the status shows at once. */
const publishedAfter: ReadonlySet<Action['kind']> = new Set([
  'create-sandbox',
  'start-container',
  'resize-container',
]);
