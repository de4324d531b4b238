import type { Decoded } from './cri-messages.ts';
import {
  type container as criContainer,
  containerStates,
  type CriContainerStatus,
  type podSandbox,
  sandboxStates,
} from './cri-messages.ts';
import { containerAnnotations } from './container-config.ts';
import { runtimeLabels } from './sandbox-config.ts';

/** One container as the runtime knows it; times in ms since the epoch, undefined where it has not come to that. */
export type RuntimeContainer = {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  readonly createdAtMs: number;
  readonly startedAtMs: number | undefined;
  readonly finishedAtMs: number | undefined;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  /** As the Pod's author wrote it, resolved: "docker.io/library/caddy:latest". */
  readonly image: string;
  readonly imageRef: string;
  readonly specHash: string;
  /** CPU and memory that it was made with, see resourcesKeyOf; '' where that is not known. */
  readonly resources: string;
};

export type RuntimeSandbox = {
  readonly id: string;
  readonly attempt: number;
  readonly ready: boolean;
  readonly createdAtMs: number;
  readonly ips: readonly string[];
};

/** What the runtime holds of one Pod. Newest first, both. */
export type RuntimePod = {
  readonly sandboxes: readonly RuntimeSandbox[];
  readonly containers: readonly RuntimeContainer[];
};

export const emptyRuntimePod: RuntimePod = { sandboxes: [], containers: [] };

/** The Pod's present sandbox: the newest, if it is ready. */
export function readySandbox(runtime: RuntimePod): RuntimeSandbox | undefined {
  const [newest] = runtime.sandboxes;
  return newest?.ready === true ? newest : undefined;
}

/** The newest container of that name, whatever its sandbox. */
export function newestContainer(runtime: RuntimePod, name: string): RuntimeContainer | undefined {
  return runtime.containers.find((container) => container.name === name);
}

export function containersOf(runtime: RuntimePod, name: string): readonly RuntimeContainer[] {
  return runtime.containers.filter((container) => container.name === name);
}

export function parseSandbox(sandbox: Decoded<typeof podSandbox>, ips: readonly string[]): RuntimeSandbox {
  return {
    id: sandbox.id,
    attempt: sandbox.metadata?.attempt ?? 0,
    ready: sandbox.state === sandboxStates.ready,
    createdAtMs: millis(sandbox.createdAt) ?? 0,
    ips,
  };
}

const stateNames: Readonly<Record<number, RuntimeContainer['state']>> = {
  [containerStates.created]: 'created',
  [containerStates.running]: 'running',
  [containerStates.exited]: 'exited',
};

/** `listed` says which sandbox it is in, which its status does not. */
export function parseContainer(
  listed: Decoded<typeof criContainer>,
  status: CriContainerStatus,
): RuntimeContainer {
  return {
    id: listed.id,
    sandboxId: listed.podSandboxId,
    name: listed.labels[runtimeLabels.container] ?? listed.metadata?.name ?? '',
    attempt: listed.metadata?.attempt ?? 0,
    state: stateNames[status.state] ?? 'unknown',
    createdAtMs: millis(status.createdAt) ?? 0,
    startedAtMs: millis(status.startedAt),
    finishedAtMs: millis(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    image: status.image?.image ?? '',
    imageRef: status.imageRef,
    specHash: status.annotations[containerAnnotations.specHash] ?? '',
    resources: status.annotations[containerAnnotations.resources] ?? '',
  };
}

/** ns since the epoch to ms; 0 and less mean "not yet". */
function millis(nanoseconds: number): number | undefined {
  return nanoseconds > 0 ? nanoseconds / 1e6 : undefined;
}

export function byNewest(
  a: { readonly createdAtMs: number; readonly attempt: number },
  b: { readonly createdAtMs: number; readonly attempt: number },
): number {
  return b.createdAtMs - a.createdAtMs || b.attempt - a.attempt;
}
