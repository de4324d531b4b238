import type { Probe } from '../api/gen/core-v1.ts';

export type ProbeKind = 'startup' | 'readiness' | 'liveness';
export type ProbeOutcome = 'success' | 'failure';

/** What the probe of one running container has found so far. */
export type ProbeState = {
  /** The result in force: it changes only after enough outcomes in a row. */
  readonly result: ProbeOutcome | 'unknown';
  /** The last outcome and how often it came in a row. */
  readonly last: ProbeOutcome | undefined;
  readonly inARow: number;
};

export const freshProbe: ProbeState = { result: 'unknown', last: undefined, inARow: 0 };

export const probeDefaults = {
  failureThreshold: 3,
  successThreshold: 1,
  periodSeconds: 10,
  timeoutSeconds: 1,
  initialDelaySeconds: 0,
} as const;

/** One more outcome. The first of all counts at once for success, as it does for a failure threshold of 1. */
export function observe(state: ProbeState, outcome: ProbeOutcome, probe: Probe): ProbeState {
  const inARow = state.last === outcome ? state.inARow + 1 : 1;
  const threshold =
    outcome === 'success'
      ? (probe.successThreshold ?? probeDefaults.successThreshold)
      : (probe.failureThreshold ?? probeDefaults.failureThreshold);
  const result = inARow >= threshold ? outcome : state.result;
  return { result, last: outcome, inARow };
}

/** What a container's probes say together. */
export type ContainerProbes = {
  /** Past its startup probe, or without one. */
  readonly started: boolean;
  readonly ready: boolean;
  /** Why it must be restarted; undefined while it is healthy. */
  readonly unhealthy: 'startup' | 'liveness' | undefined;
};

export type ProbeStates = { readonly [K in ProbeKind]?: ProbeState };

/** `probes`: which the container has. A container without a readiness probe is ready as soon as it has started. */
export function summarise(
  probes: { readonly [K in ProbeKind]?: Probe | undefined },
  states: ProbeStates,
): ContainerProbes {
  const started = probes.startup === undefined || states.startup?.result === 'success';
  const ready = started && (probes.readiness === undefined || states.readiness?.result === 'success');
  if (probes.startup !== undefined && states.startup?.result === 'failure') {
    return { started: false, ready: false, unhealthy: 'startup' };
  }
  const dead = started && probes.liveness !== undefined && states.liveness?.result === 'failure';
  return { started, ready, unhealthy: dead ? 'liveness' : undefined };
}
