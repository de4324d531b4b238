import type {
  Container,
  Pod,
  PodSecurityContext,
  ResourceRequirements,
  SecurityContext,
  Volume,
} from '../api/gen/core-v1.ts';
import { forbiddenSysctl } from './sysctls.ts';
import { isFilesVolume } from './volume-files.ts';

/** Of the machine, what decides whether a field means anything on it. */
export type SecurityFacts = {
  /** Whether the kernel labels files and processes by SELinux. Where it does not, Kubernetes ignores SELinux fields, too. */
  readonly hasSelinux: boolean;
};

export type Unsupported = {
  readonly reason: 'UnsupportedVolume' | 'UnsupportedPodSpec' | 'SysctlForbidden' | 'PodOSNotSupported';
  readonly message: string;
};

/**
 * The first thing of a Pod that this node cannot do; undefined where it can run. Such a Pod fails at once and says why:
 * running it without what it asks for would be worse. Ephemeral containers are not looked at: the Pod that they come to
 * runs already, so each is refused by itself when it is to start.
 */
export function findUnsupported(pod: Pod, machine: SecurityFacts): Unsupported | undefined {
  const spec = pod.spec;
  if (spec?.os?.name === 'windows') {
    return { reason: 'PodOSNotSupported', message: "the Pod's spec.os.name is windows, this node's linux" };
  }
  for (const volume of spec?.volumes ?? []) {
    const problem = volumeProblem(volume);
    if (problem === undefined) continue;
    const message = `volume ${JSON.stringify(volume.name)} ${problem}, which this node does not support`;
    return { reason: 'UnsupportedVolume', message };
  }
  const sysctl = forbiddenSysctl(pod);
  if (sysctl !== undefined) {
    const message = `forbidden sysctl: ${JSON.stringify(sysctl)} not allowlisted`;
    return { reason: 'SysctlForbidden', message };
  }
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  const field =
    podField(pod, machine) ??
    containers.map((container) => namedContainerField(container, machine)).find(Boolean);
  if (field === undefined) return undefined;
  return { reason: 'UnsupportedPodSpec', message: `${field} is not supported by this node` };
}

/** Sources of projected volumes that this node writes files of. */
const projections: ReadonlySet<string> = new Set([
  'configMap',
  'secret',
  'downwardAPI',
  'serviceAccountToken',
]);

function volumeProblem(volume: Volume): string | undefined {
  if (volume.emptyDir !== undefined) {
    const { medium = '' } = volume.emptyDir;
    return medium !== '' && medium !== 'Memory' ? `has emptyDir.medium ${medium}` : undefined;
  }
  const projection = volume.projected?.sources
    ?.flatMap((source) => Object.entries(source))
    .find(([kind, value]) => value !== undefined && !projections.has(kind));
  if (projection !== undefined) return `has a projected source of kind ${projection[0]}`;
  const { hostPath, persistentVolumeClaim, ephemeral } = volume;
  if (isFilesVolume(volume) || [hostPath, persistentVolumeClaim, ephemeral].some((one) => one !== undefined))
    return undefined;
  // A volume without any source is an emptyDir.
  const kind = Object.entries(volume).find(([key, value]) => key !== 'name' && value !== undefined)?.[0];
  return kind === undefined ? undefined : `is of kind ${kind}`;
}

function podField({ spec }: Pod, { hasSelinux }: SecurityFacts): string | undefined {
  if (spec?.hostUsers === false) return 'spec.hostUsers: false';
  if (spec?.runtimeClassName !== undefined && spec.runtimeClassName !== '') return 'spec.runtimeClassName';
  if ((spec?.resourceClaims ?? []).length > 0) return 'spec.resourceClaims';
  if (spec?.schedulingGroup !== undefined) return 'spec.schedulingGroup';
  if (hasAmounts(spec?.resources)) return 'spec.resources';
  const security = spec?.securityContext;
  const profile = enforcedProfile(security);
  if (profile !== undefined) return `spec.securityContext.appArmorProfile of type ${profile}`;
  if (security?.supplementalGroupsPolicy === 'Strict')
    return 'spec.securityContext.supplementalGroupsPolicy: Strict';
  if (hasSelinux && security?.seLinuxOptions !== undefined) return 'spec.securityContext.seLinuxOptions';
  if (hasSelinux && security?.seLinuxChangePolicy !== undefined)
    return 'spec.securityContext.seLinuxChangePolicy';
  if (security?.windowsOptions !== undefined) return 'spec.securityContext.windowsOptions';
  return undefined;
}

/** Our runtime applies no AppArmor profile, so only a Pod that asks for none gets what it asks for. */
function enforcedProfile(security: PodSecurityContext | SecurityContext | undefined): string | undefined {
  const type = security?.appArmorProfile?.type;
  return type === 'Unconfined' ? undefined : type;
}

/** Resources of the Pod as a whole, which would need a control group of their own. */
function hasAmounts(resources: ResourceRequirements | undefined): boolean {
  const { limits = {}, requests = {} } = resources ?? {};
  return Object.keys(limits).length + Object.keys(requests).length > 0;
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
  const fromFile = container.env?.find(({ valueFrom }) => valueFrom?.fileKeyRef !== undefined);
  if (fromFile !== undefined) return `fileKeyRef of variable ${fromFile.name}`;
  const security = container.securityContext;
  const profile = enforcedProfile(security);
  if (profile !== undefined) return `securityContext.appArmorProfile of type ${profile}`;
  if (hasSelinux && security?.seLinuxOptions !== undefined) return 'securityContext.seLinuxOptions';
  if (security?.windowsOptions !== undefined) return 'securityContext.windowsOptions';
  return undefined;
}
