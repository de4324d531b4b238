import type { Container, Pod, Probe } from '../api/gen/core-v1.ts';
import type { Clock } from '../base/clock.ts';
import type { Cri } from './cri.ts';
import { type HandlerTarget, runHandler } from './probe-exec.ts';
import {
  type ContainerProbes,
  freshProbe,
  observe,
  type ProbeKind,
  type ProbeState,
  probeDefaults,
  summarise,
} from './probe-state.ts';
import type { RuntimeContainer } from './runtime-pod.ts';

export type ProberDeps = {
  readonly cri: Cri;
  readonly clock: Clock;
  /** A result has changed: look at the Pod again. */
  readonly wake: () => void;
  readonly unhealthy: (container: Container, kind: ProbeKind, message: string) => void;
};

export type ProbedContainer = {
  readonly spec: Container;
  readonly runtime: RuntimeContainer;
  /** What the Pod's status says of this very container: an adopted one stays ready until a probe finds otherwise. */
  readonly before: { readonly started: boolean; readonly ready: boolean } | undefined;
};

type Running = {
  readonly probes: { readonly [K in ProbeKind]?: Probe | undefined };
  readonly states: { [K in ProbeKind]?: ProbeState };
  readonly stop: AbortController;
};

/**
 * Between two looks at a server that has just been started, ms: first and last. Such looks come on top of the probe's
 * period and their failures do not count; so a server is in use some ms after it listens, not up to a period later.
 */
const eagerFirstMs = 25;
const eagerMaxMs = 1_000;

/** The probes of one Pod's containers. Bound: three loops a container. */
export class Prober {
  readonly #deps: ProberDeps;
  readonly #running = new Map<string, Running>(); // by container id

  constructor(deps: ProberDeps) {
    this.#deps = deps;
  }

  /** Probes exactly these running containers from now on. */
  reconcile(pod: Pod, podIp: string, containers: readonly ProbedContainer[]): void {
    const wanted = new Set(containers.map(({ runtime }) => runtime.id));
    for (const [id, { stop }] of this.#running) {
      if (wanted.has(id)) continue;
      stop.abort();
      this.#running.delete(id);
    }
    for (const container of containers) {
      if (!this.#running.has(container.runtime.id)) this.#start(pod, podIp, container);
    }
  }

  /** By container id; only containers that are being probed, or that have no probes. */
  results(): ReadonlyMap<string, ContainerProbes> {
    return new Map([...this.#running].map(([id, { probes, states }]) => [id, summarise(probes, states)]));
  }

  /** Ends liveness and startup probes: a Pod that is going must not be restarted. Readiness goes on. */
  quiesce(): void {
    for (const { probes, states } of this.#running.values()) {
      if (probes.liveness !== undefined) states.liveness = { ...freshProbe, result: 'success' };
    }
  }

  stop(): void {
    for (const { stop } of this.#running.values()) stop.abort();
    this.#running.clear();
  }

  #start(pod: Pod, podIp: string, { spec: container, runtime, before }: ProbedContainer): void {
    const probes = {
      startup: container.startupProbe,
      readiness: container.readinessProbe,
      liveness: container.livenessProbe,
    };
    const success: ProbeState = { ...freshProbe, result: 'success' };
    const states = {
      ...(before?.started === true ? { startup: success } : {}),
      ...(before?.ready === true ? { readiness: success } : {}),
    };
    const entry: Running = { probes, states, stop: new AbortController() };
    this.#running.set(runtime.id, entry);
    const target = {
      pod,
      container,
      containerId: runtime.id,
      podIp,
    };
    const sinceMs = this.#deps.clock.nowMs() - (runtime.startedAtMs ?? this.#deps.clock.nowMs());
    void this.#runAll(entry, target, sinceMs);
  }

  async #runAll(entry: Running, target: HandlerTarget, ranMs: number): Promise<void> {
    const { startup, readiness, liveness } = entry.probes;
    const { signal } = entry.stop;
    try {
      if (startup !== undefined && entry.states.startup?.result !== 'success')
        await this.#runProbe(entry, 'startup', startup, target, ranMs);
      if (signal.aborted) return;
      await Promise.all([
        readiness === undefined ? undefined : this.#runProbe(entry, 'readiness', readiness, target, ranMs),
        liveness === undefined ? undefined : this.#runProbe(entry, 'liveness', liveness, target, ranMs),
      ]);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Until the container is gone; a startup probe only until its first result. */
  async #runProbe(
    entry: Running,
    kind: ProbeKind,
    probe: Probe,
    target: HandlerTarget,
    ranMs: number,
  ): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = entry.stop;
    const periodMs = (probe.periodSeconds ?? probeDefaults.periodSeconds) * 1000;
    const delayMs = (probe.initialDelaySeconds ?? probeDefaults.initialDelaySeconds) * 1000 - ranMs;
    if (delayMs > 0) await clock.sleep(delayMs, signal);
    let nextMs = clock.monotonicMs();
    let eagerMs = eagerFirstMs;
    while (!signal.aborted) {
      const before = entry.states[kind] ?? freshProbe;
      const isRegular = clock.monotonicMs() >= nextMs;
      if (isRegular) nextMs += periodMs;
      const isDone = await this.#probeOnce(entry, kind, probe, target, isRegular);
      if (isDone) return;
      const isEager = kind !== 'liveness' && before.result === 'unknown' && probe.exec === undefined;
      const untilRegularMs = Math.max(0, nextMs - clock.monotonicMs());
      const pending = (entry.states[kind] ?? freshProbe).result !== 'success';
      await clock.sleep(isEager && pending ? Math.min(eagerMs, untilRegularMs) : untilRegularMs, signal);
      eagerMs = Math.min(eagerMaxMs, eagerMs * 1.5);
    }
  }

  /** True when a startup probe has come to its result. */
  async #probeOnce(
    entry: Running,
    kind: ProbeKind,
    probe: Probe,
    target: HandlerTarget,
    isRegular: boolean,
  ): Promise<boolean> {
    const { signal } = entry.stop;
    const timeoutMs = (probe.timeoutSeconds ?? probeDefaults.timeoutSeconds) * 1000;
    const result = await runHandler(probe, target, this.#deps.cri, timeoutMs, signal);
    if (signal.aborted) return true;
    if (!result.ok && !isRegular) return false;
    if (!result.ok) this.#deps.unhealthy(target.container, kind, result.message);
    const before = entry.states[kind] ?? freshProbe;
    const after = observe(before, result.ok ? 'success' : 'failure', probe);
    entry.states[kind] = after;
    if (after.result !== before.result) this.#deps.wake();
    return kind === 'startup' && after.result !== 'unknown';
  }
}
