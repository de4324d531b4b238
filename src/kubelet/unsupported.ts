import type { Container, Pod, Volume } from '../api/gen/core-v1.ts';
import { isFilesVolume } from './volume-files.ts';

/** Of the machine, what decides whether a field means anything on it. */
export type SecurityFacts = {
  /** Whether the kernel labels files and processes by SELinux. Where it does not, Kubernetes ignores SELinux fields, too. */
  readonly hasSelinux: boolean;
};

export type Unsupported = {
  readonly reason: 'UnsupportedVolume' | 'UnsupportedPodSpec';
  readonly message: string;
};

const ephemeralStorage = 'ephemeral-storage';

/**
 * The first thing of a Pod that this node cannot do; undefined where it can run. Such a Pod fails at once and says why:
 * running it without what it asks for would be worse. Ephemeral containers are not looked at: the Pod that they come to
 * runs already, so each is refused by itself when it is to start.
 */
export function findUnsupported(pod: Pod, machine: SecurityFacts): Unsupported | undefined {
  const spec = pod.spec;
  for (const volume of spec?.volumes ?? []) {
    const problem = volumeProblem(volume);
    if (problem === undefined) continue;
    const message = `volume ${JSON.stringify(volume.name)} ${problem}, which this node does not support`;
    return { reason: 'UnsupportedVolume', message };
  }
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  const field =
    podField(pod, machine) ??
    containers.map((container) => namedContainerField(container, machine)).find(Boolean);
  if (field === undefined) return undefined;
  return { reason: 'UnsupportedPodSpec', message: `${field} is not supported by this node` };
}

function volumeProblem(volume: Volume): string | undefined {
  if (volume.emptyDir !== undefined) {
    const { medium = '' } = volume.emptyDir;
    return medium !== '' && medium !== 'Memory' ? `has emptyDir.medium ${medium}` : undefined;
  }
  if (isFilesVolume(volume) || volume.hostPath !== undefined || volume.persistentVolumeClaim !== undefined)
    return undefined;
  // A volume without any source is an emptyDir.
  const kind = Object.entries(volume).find(([key, value]) => key !== 'name' && value !== undefined)?.[0];
  return kind === undefined ? undefined : `is of kind ${kind}`;
}

function podField({ spec }: Pod, { hasSelinux }: SecurityFacts): string | undefined {
  if (spec?.hostUsers === false) return 'spec.hostUsers: false';
  if (spec?.runtimeClassName !== undefined && spec.runtimeClassName !== '') return 'spec.runtimeClassName';
  if ((spec?.resourceClaims ?? []).length > 0) return 'spec.resourceClaims';
  if (spec?.os?.name === 'windows') return 'spec.os.name: windows';
  if (spec?.schedulingGroup !== undefined) return 'spec.schedulingGroup';
  if (spec?.resources?.limits?.[ephemeralStorage] !== undefined)
    return `spec.resources.limits[${ephemeralStorage}]`;
  const security = spec?.securityContext;
  if (security?.appArmorProfile?.type === 'Localhost') return 'an AppArmor profile of type Localhost';
  if (security?.supplementalGroupsPolicy === 'Strict')
    return 'spec.securityContext.supplementalGroupsPolicy: Strict';
  if (hasSelinux && security?.seLinuxOptions !== undefined) return 'spec.securityContext.seLinuxOptions';
  if (hasSelinux && security?.seLinuxChangePolicy !== undefined)
    return 'spec.securityContext.seLinuxChangePolicy';
  if (security?.windowsOptions !== undefined) return 'spec.securityContext.windowsOptions';
  return undefined;
}

function namedContainerField(container: Container, machine: SecurityFacts): string | undefined {
  const field = unsupportedContainerField(container, machine);
  return field === undefined ? undefined : `container ${container.name}: ${field}`;
}

/** The first field of a container that this node cannot honour; undefined where it can run. */
export function unsupportedContainerField(
  container: Container,
  { hasSelinux }: SecurityFacts,
): string | undefined {
  if ((container.volumeDevices ?? []).length > 0) return 'volumeDevices';
  if (container.lifecycle?.stopSignal !== undefined) return 'lifecycle.stopSignal';
  if ((container.restartPolicyRules ?? []).length > 0) return 'restartPolicyRules';
  const recursive = container.volumeMounts?.find(({ recursiveReadOnly }) => recursiveReadOnly === 'Enabled');
  if (recursive !== undefined) return `recursiveReadOnly: Enabled of volumeMount ${recursive.mountPath}`;
  const security = container.securityContext;
  if (security?.appArmorProfile?.type === 'Localhost') return 'an AppArmor profile of type Localhost';
  if (hasSelinux && security?.seLinuxOptions !== undefined) return 'securityContext.seLinuxOptions';
  if (security?.windowsOptions !== undefined) return 'securityContext.windowsOptions';
  return undefined;
}
