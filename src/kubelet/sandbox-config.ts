import { join } from 'node:path';
import type { Pod, PodSecurityContext } from '../api/gen/core-v1.ts';
import { namespaceModes, type PodSandboxConfig, protocols, seccompProfileTypes } from './cri-messages.ts';
import { type DnsConfig, hostnameOf } from './network-files.ts';
import type { Partially } from '../base/protobuf.ts';
import { sysctlsOf } from './sysctls.ts';

/** Labels by which sandboxes and containers are recognised after a restart of the node agent. Names are Kubernetes'. */
export const runtimeLabels = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  container: 'io.kubernetes.container.name',
} as const;

export type SandboxContext = {
  readonly attempt: number;
  readonly logDirectory: string;
  readonly cgroupParent: string;
  readonly dns: DnsConfig;
  /** Sees `setHostnameAsFQDN`; undefined: the Pod has no full name. */
  readonly fullName: string | undefined;
  /** Folder of the profiles of type Localhost. */
  readonly seccompRoot: string;
};

export function compileSandboxConfig(pod: Pod, context: SandboxContext): Partially<PodSandboxConfig> {
  const { name = '', namespace = 'default', uid = '' } = pod.metadata ?? {};
  const spec = pod.spec;
  const full = spec?.setHostnameAsFQDN === true ? context.fullName : undefined;
  return {
    metadata: { name, namespace, uid, attempt: context.attempt },
    // CRI: a sandbox in the host's network must not set a host name
    hostname: spec?.hostNetwork === true ? '' : (full ?? hostnameOf(pod)),
    logDirectory: context.logDirectory,
    dnsConfig: context.dns,
    portMappings: portMappings(pod),
    labels: {
      ...pod.metadata?.labels,
      [runtimeLabels.podName]: name,
      [runtimeLabels.podNamespace]: namespace,
      [runtimeLabels.podUid]: uid,
    },
    annotations: pod.metadata?.annotations ?? {},
    linux: {
      cgroupParent: context.cgroupParent,
      sysctls: sysctlsOf(pod),
      securityContext: {
        namespaceOptions: namespaceOptionsOf(pod),
        privileged: isAnyPrivileged(pod),
        seccomp: seccompOf(spec?.securityContext?.seccompProfile, context.seccompRoot),
        supplementalGroups: supplementalGroupsOf(spec?.securityContext),
      },
    },
  };
}

export function namespaceOptionsOf(pod: Pod): { network: number; pid: number; ipc: number } {
  const spec = pod.spec;
  const pid = spec?.shareProcessNamespace === true ? namespaceModes.pod : namespaceModes.container;
  return {
    network: spec?.hostNetwork === true ? namespaceModes.node : namespaceModes.pod,
    pid: spec?.hostPID === true ? namespaceModes.node : pid,
    ipc: spec?.hostIPC === true ? namespaceModes.node : namespaceModes.pod,
  };
}

function portMappings(pod: Pod) {
  if (pod.spec?.hostNetwork === true) return [];
  const ports = (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  return ports
    .filter((port) => port.hostPort !== undefined && port.hostPort > 0)
    .map((port) => ({
      protocol: protocols[(port.protocol ?? 'TCP') as keyof typeof protocols] ?? protocols.TCP,
      containerPort: port.containerPort,
      hostPort: port.hostPort ?? 0,
      hostIp: port.hostIP ?? '',
    }));
}

function isAnyPrivileged(pod: Pod): boolean {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  return containers.some((container) => container.securityContext?.privileged === true);
}

/** Without a profile Kubernetes' default is Unconfined. Profiles of type Localhost are files below `root`. */
export function seccompOf(
  profile: { readonly type: string; readonly localhostProfile?: string | undefined } | undefined,
  root: string,
) {
  if (profile?.type === 'RuntimeDefault')
    return { profileType: seccompProfileTypes.runtimeDefault, localhostRef: '' };
  if (profile?.type === 'Localhost') {
    const localhostRef = join(root, profile.localhostProfile ?? '');
    return { profileType: seccompProfileTypes.localhost, localhostRef };
  }
  return { profileType: seccompProfileTypes.unconfined, localhostRef: '' };
}

export function supplementalGroupsOf(context: PodSecurityContext | undefined): number[] {
  const groups = [...(context?.supplementalGroups ?? [])];
  if (context?.fsGroup !== undefined) groups.push(context.fsGroup);
  return groups;
}
