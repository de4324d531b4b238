import type { Container, Pod, SecurityContext } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import { type ContainerConfig, mountPropagations, namespaceModes } from './cri-messages.ts';
import { expandVariables } from './expand.ts';
import { containerLogPath } from './pod-paths.ts';
import type { Partially } from '../base/protobuf.ts';
import { resourcesKeyOf } from './resize.ts';
import { linuxResourcesOf } from './resources.ts';
import { namespaceOptionsOf, runtimeLabels, seccompOf, supplementalGroupsOf } from './sandbox-config.ts';
import { type SecurityFacts, unsupportedContainerField } from './unsupported.ts';

/** One bind mount into a container. */
export type HostMount = {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly propagation: keyof typeof mountPropagations;
};

export type ContainerContext = SecurityFacts & {
  /** Counts this container's starts from 0. */
  readonly attempt: number;
  /** The image's id in the runtime ("sha256:…"), so that what was checked is what runs. */
  readonly imageRef: string;
  /** The user of the image's configuration; undefined where it names one instead of a number. */
  readonly imageUid: number | undefined;
  readonly imageUsername: string;
  readonly env: ReadonlyMap<string, string>;
  readonly mounts: readonly HostMount[];
  readonly specHash: string;
  /** Of an ephemeral container: the container whose processes it sees. */
  readonly targetContainerId?: string | undefined;
  readonly memoryCapacityBytes: number;
  /** Folder of the seccomp profiles of type Localhost. */
  readonly seccompRoot: string;
};

/** Annotations of our containers that are read back after a restart of the node agent. */
export const containerAnnotations = {
  specHash: 'io.kubernetes.container.hash',
  resources: 'dev.fairlead.container.resources',
  terminationMessagePath: 'io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'io.kubernetes.container.terminationMessagePolicy',
  restartCount: 'io.kubernetes.container.restartCount',
} as const;

export const terminationMessagePathDefault = '/dev/termination-log';

/** Throws ContainerConfigError where the Pod forbids root and the image runs as root, or wants what the node cannot do. */
export function compileContainerConfig(
  pod: Pod,
  container: Container,
  context: ContainerContext,
): Partially<ContainerConfig> {
  const unsupported = unsupportedContainerField(container, context);
  if (unsupported !== undefined)
    throw new ContainerConfigError(`${unsupported} is not supported by this node`);
  const { name = '', namespace = 'default', uid = '' } = pod.metadata ?? {};
  const expand = (text: string) => expandVariables(text, context.env);
  return {
    metadata: { name: container.name, attempt: context.attempt },
    image: { image: context.imageRef },
    command: (container.command ?? []).map(expand),
    args: (container.args ?? []).map(expand),
    workingDir: container.workingDir ?? '',
    envs: [...context.env].map(([key, value]) => ({ key, value })),
    mounts: context.mounts.map((mount) => ({ ...mount, propagation: mountPropagations[mount.propagation] })),
    labels: {
      [runtimeLabels.podName]: name,
      [runtimeLabels.podNamespace]: namespace,
      [runtimeLabels.podUid]: uid,
      [runtimeLabels.container]: container.name,
    },
    annotations: {
      [containerAnnotations.specHash]: context.specHash,
      [containerAnnotations.resources]: resourcesKeyOf(container),
      [containerAnnotations.restartCount]: String(context.attempt),
      [containerAnnotations.terminationMessagePath]:
        container.terminationMessagePath ?? terminationMessagePathDefault,
      [containerAnnotations.terminationMessagePolicy]: container.terminationMessagePolicy ?? 'File',
    },
    logPath: containerLogPath(container.name, context.attempt),
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: {
      resources: linuxResourcesOf(pod, container, context.memoryCapacityBytes),
      securityContext: compileSecurityContext(pod, container, context),
    },
  };
}

type LinuxSecurity = NonNullable<NonNullable<ContainerConfig['linux']>['securityContext']>;

function compileSecurityContext(
  pod: Pod,
  container: Container,
  context: ContainerContext,
): Partially<LinuxSecurity> {
  const ofPod = pod.spec?.securityContext;
  const own: SecurityContext = container.securityContext ?? {};
  const privileged = own.privileged === true;
  const runAsUser = own.runAsUser ?? ofPod?.runAsUser;
  const runAsGroup = own.runAsGroup ?? ofPod?.runAsGroup;
  if ((own.runAsNonRoot ?? ofPod?.runAsNonRoot) === true) verifyNonRoot(container, runAsUser, context);
  const unmasked = own.procMount === 'Unmasked' || privileged;
  return {
    privileged,
    namespaceOptions: {
      ...namespaceOptionsOf(pod),
      ...(context.targetContainerId === undefined
        ? {}
        : { pid: namespaceModes.target, targetId: context.targetContainerId }),
    },
    capabilities: {
      addCapabilities: own.capabilities?.add ?? [],
      dropCapabilities: own.capabilities?.drop ?? [],
    },
    readonlyRootfs: own.readOnlyRootFilesystem ?? false,
    noNewPrivs: own.allowPrivilegeEscalation === false,
    supplementalGroups: supplementalGroupsOf(ofPod),
    seccomp: seccompOf(
      privileged ? undefined : (own.seccompProfile ?? ofPod?.seccompProfile),
      context.seccompRoot,
    ),
    maskedPaths: unmasked ? [] : maskedPaths,
    readonlyPaths: unmasked ? [] : readonlyPaths,
    ...userOf(runAsUser, runAsGroup, context),
  };
}

/** CRI wants a user wherever there is a group, so the image's own user is named then. */
function userOf(
  runAsUser: number | undefined,
  runAsGroup: number | undefined,
  context: ContainerContext,
): Partially<LinuxSecurity> {
  const group = runAsGroup === undefined ? {} : { runAsGroup: { value: runAsGroup } };
  if (runAsUser !== undefined) return { runAsUser: { value: runAsUser }, ...group };
  if (context.imageUid !== undefined) return { runAsUser: { value: context.imageUid }, ...group };
  if (context.imageUsername !== '') return { runAsUsername: context.imageUsername, ...group };
  return runAsGroup === undefined ? {} : { runAsUser: { value: 0 }, ...group };
}

function verifyNonRoot(container: Container, runAsUser: number | undefined, context: ContainerContext): void {
  if (runAsUser !== undefined ? runAsUser !== 0 : (context.imageUid ?? 0) !== 0) return;
  if (runAsUser === undefined && context.imageUsername !== '') {
    throw new ContainerConfigError(
      `container has runAsNonRoot and image has non-numeric user (${context.imageUsername}), cannot verify user is non-root (container: ${container.name})`,
    );
  }
  const reason =
    runAsUser === 0
      ? "container's runAsUser breaks non-root policy"
      : 'container has runAsNonRoot and image will run as root';
  throw new ContainerConfigError(`${reason} (container: ${container.name})`);
}

/** Kernel interfaces that tell of or change the whole machine. Spec: OCI runtime defaults, as in Kubernetes' Default procMount. */
const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
] as const;

const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'] as const;
