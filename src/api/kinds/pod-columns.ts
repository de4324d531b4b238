import { ageOf } from '../duration.ts';
import type { ContainerState, ContainerStatus, Pod } from '../gen/core-v1.ts';
import type { Column } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { ageColumn, column, nameColumn, noneText, orNone, wideColumn } from './columns.ts';

/** What `kubectl get pods` says of a Pod, as one reading of its spec and status. */
export type PodSummary = {
  readonly status: string;
  readonly readyContainers: number;
  readonly totalContainers: number;
  readonly restarts: number;
  /** RFC 3339 time of the newest restart; '' when there was none. */
  readonly lastRestart: string;
};

export function summarizePod(object: JsonObject): PodSummary {
  const pod = object as unknown as Pod;
  const sidecars = sidecarNames(pod);
  const init = summarizeInit(pod, sidecars);
  const main =
    init.pending === undefined || hasCondition(pod, 'Initialized') ? summarizeMain(pod) : undefined;
  let status = pod.status?.reason || pod.status?.phase || 'Unknown';
  if (isGated(pod)) status = 'SchedulingGated';
  if (init.pending !== undefined) status = init.pending;
  if (main?.reason !== undefined) status = main.reason;
  if (status === 'Completed' && main?.hasRunning === true) {
    status = hasCondition(pod, 'Ready') ? 'Running' : 'NotReady';
  }
  if (pod.metadata?.deletionTimestamp !== undefined) {
    const phase = pod.status?.phase;
    if (pod.status?.reason === 'NodeLost') status = 'Unknown';
    else if (phase !== 'Succeeded' && phase !== 'Failed') status = 'Terminating';
  }
  return {
    status,
    readyContainers: init.readySidecars + (main?.ready ?? 0),
    totalContainers: (pod.spec?.containers ?? []).length + sidecars.size,
    // Once the main containers run, the restarts of finished init containers are history.
    restarts: main === undefined ? init.restarts : init.sidecarRestarts + main.restarts,
    lastRestart: main === undefined ? init.lastRestart : latest(init.sidecarLastRestart, main.lastRestart),
  };
}

/** Init containers that keep running beside the main ones. */
function sidecarNames(pod: Pod): ReadonlySet<string> {
  const sidecars = (pod.spec?.initContainers ?? []).filter(
    (container) => container.restartPolicy === 'Always',
  );
  return new Set(sidecars.map((container) => container.name));
}

type InitSummary = {
  /** STATUS while initialization goes on; undefined when it is over. */
  readonly pending: string | undefined;
  readonly restarts: number;
  readonly sidecarRestarts: number;
  readonly lastRestart: string;
  readonly sidecarLastRestart: string;
  readonly readySidecars: number;
};

function summarizeInit(pod: Pod, sidecars: ReadonlySet<string>): InitSummary {
  const total = (pod.spec?.initContainers ?? []).length;
  let pending: string | undefined;
  let restarts = 0;
  let sidecarRestarts = 0;
  let lastRestart = '';
  let sidecarLastRestart = '';
  let readySidecars = 0;
  let position = -1;
  for (const status of pod.status?.initContainerStatuses ?? []) {
    position++;
    const isSidecar = sidecars.has(status.name);
    restarts += status.restartCount;
    lastRestart = latest(lastRestart, finishedAt(status));
    if (isSidecar) {
      sidecarRestarts += status.restartCount;
      sidecarLastRestart = latest(sidecarLastRestart, finishedAt(status));
    }
    if (status.state?.terminated?.exitCode === 0) continue;
    if (isSidecar && status.started === true) {
      if (status.ready) readySidecars++;
      continue;
    }
    pending = `Init:${pendingReason(status.state) ?? `${position}/${total}`}`;
    break;
  }
  return { pending, restarts, sidecarRestarts, lastRestart, sidecarLastRestart, readySidecars };
}

function pendingReason(state: ContainerState | undefined): string | undefined {
  if (state?.terminated !== undefined) return terminatedReason(state.terminated);
  const waiting = state?.waiting?.reason ?? '';
  return waiting === '' || waiting === 'PodInitializing' ? undefined : waiting;
}

function terminatedReason(terminated: NonNullable<ContainerState['terminated']>): string {
  if ((terminated.reason ?? '') !== '') return terminated.reason ?? '';
  const { signal = 0, exitCode } = terminated;
  return signal === 0 ? `ExitCode:${exitCode}` : `Signal:${signal}`;
}

function summarizeMain(pod: Pod): {
  readonly reason: string | undefined;
  readonly hasRunning: boolean;
  readonly ready: number;
  readonly restarts: number;
  readonly lastRestart: string;
} {
  let reason: string | undefined;
  let hasRunning = false;
  let ready = 0;
  let restarts = 0;
  let lastRestart = '';
  // Backwards, so that the first container in trouble has the last word.
  for (const status of (pod.status?.containerStatuses ?? []).toReversed()) {
    restarts += status.restartCount;
    lastRestart = latest(lastRestart, finishedAt(status));
    const waiting = status.state?.waiting?.reason ?? '';
    if (waiting !== '') reason = waiting;
    else if (status.state?.terminated !== undefined) reason = terminatedReason(status.state.terminated);
    else if (status.ready && status.state?.running !== undefined) {
      hasRunning = true;
      ready++;
    }
  }
  return { reason, hasRunning, ready, restarts, lastRestart };
}

function finishedAt(status: ContainerStatus): string {
  return status.lastState?.terminated?.finishedAt ?? '';
}

function latest(a: string, b: string): string {
  if (a === '' || b === '') return a || b;
  return Date.parse(a) >= Date.parse(b) ? a : b;
}

function hasCondition(pod: Pod, type: string): boolean {
  return (pod.status?.conditions ?? []).some((entry) => entry.type === type && entry.status === 'True');
}

function isGated(pod: Pod): boolean {
  return (pod.status?.conditions ?? []).some(
    (entry) => entry.type === 'PodScheduled' && entry.reason === 'SchedulingGated',
  );
}

function restartsText(summary: PodSummary, nowMs: number): string {
  if (summary.restarts === 0 || summary.lastRestart === '') return String(summary.restarts);
  return `${summary.restarts} (${ageOf(summary.lastRestart, nowMs)} ago)`;
}

function readinessGates(object: JsonObject): string {
  const pod = object as unknown as Pod;
  const gates = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return noneText;
  return `${gates.filter((gate) => hasCondition(pod, gate.conditionType)).length}/${gates.length}`;
}

export const podColumns: readonly Column[] = [
  nameColumn,
  column('Ready', 'Containers that are ready, of all containers.', (object) => {
    const summary = summarizePod(object);
    return `${summary.readyContainers}/${summary.totalContainers}`;
  }),
  column('Status', 'What the Pod is doing, in one word.', (object) => summarizePod(object).status),
  column(
    'Restarts',
    'How often containers were restarted, and how long ago the last time was.',
    (object, nowMs) => restartsText(summarizePod(object), nowMs),
  ),
  ageColumn,
  wideColumn('IP', "The Pod's address.", (object) => {
    const { status } = object as unknown as Pod;
    return orNone(status?.podIPs?.[0]?.ip ?? status?.podIP ?? '');
  }),
  wideColumn('Node', 'The node that the Pod runs on.', (object) =>
    orNone((object as unknown as Pod).spec?.nodeName ?? ''),
  ),
  wideColumn('Nominated Node', 'The node that room is being made on.', (object) =>
    orNone((object as unknown as Pod).status?.nominatedNodeName ?? ''),
  ),
  wideColumn('Readiness Gates', 'Readiness gates that are open, of all.', readinessGates),
];
