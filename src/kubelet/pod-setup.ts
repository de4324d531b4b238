import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { Container, Pod } from '../api/gen/core-v1.ts';
import { fetchClaimedVolumes } from './claimed-volumes.ts';
import { compileContainerConfig } from './container-config.ts';
import { prepareMounts } from './container-mounts.ts';
import type { ContainerConfig, CriImage, PodSandboxConfig } from './cri-messages.ts';
import { compileEnv } from './env.ts';
import type { PodFacts } from './field-ref.ts';
import { compileDnsConfig, dnsConfigProblems, fullyQualifiedName, renderHosts } from './network-files.ts';
import { specHashOf } from './plan.ts';
import type { PodDeps } from './pod-deps.ts';
import { hostsFile, podDir, podLogDir, seccompDir } from './pod-paths.ts';
import type { Partially } from '../base/protobuf.ts';
import { compileSandboxConfig } from './sandbox-config.ts';
import type { VolumeSources } from './volume-files.ts';
import { refreshVolumes, setUpVolumes } from './volumes.ts';

/** The Pod's control group, below the node's. */
export function podCgroup(deps: PodDeps, uid: string): string {
  return `${deps.node.cgroupRoot}/pod${uid}`;
}

export function sandboxConfigOf(deps: PodDeps, pod: Pod, attempt: number): Partially<PodSandboxConfig> {
  return compileSandboxConfig(pod, {
    attempt,
    logDirectory: podLogDir(deps.paths, pod),
    cgroupParent: podCgroup(deps, pod.metadata?.uid ?? ''),
    dns: compileDnsConfig(pod, deps.node.clusterDns, deps.node.hostDns),
    fullName: fullyQualifiedName(pod, deps.node.clusterDns.domain),
    seccompRoot: seccompDir(deps.paths),
  });
}

/** What of the Pod's resolver settings could not be had, for Events. */
export function resolverProblems({ node }: PodDeps, pod: Pod): readonly string[] {
  return dnsConfigProblems(pod, node.clusterDns, node.hostDns);
}

/**
 * Fetches what the Pod reads and makes its volumes. Returns where they are and when its tokens must be renewed.
 * Throws MountError where something is missing, ApiError where a token was refused.
 */
export async function preparePod(
  deps: PodDeps,
  pod: Pod,
  signal: AbortSignal,
): Promise<{ readonly volumes: ReadonlyMap<string, string>; readonly renewAtMs: number | undefined }> {
  await Promise.all([
    mkdir(podDir(deps.paths, pod.metadata?.uid ?? ''), { recursive: true }),
    mkdir(podLogDir(deps.paths, pod), { recursive: true }),
    deps.watched.acquire(pod, signal),
  ]);
  const renewAtMs = await deps.tokens.renew(pod, signal);
  const claimed = await fetchClaimedVolumes(deps.client, pod, signal);
  const volumes = await setUpVolumes(pod, deps.paths, volumeSources(deps, pod), revision(deps), claimed);
  return { volumes, renewAtMs };
}

/** Brings the content of a running Pod's volumes up to date. Returns when its tokens must be renewed. */
export async function refreshPod(deps: PodDeps, pod: Pod, signal: AbortSignal): Promise<number | undefined> {
  const renewAtMs = await deps.tokens.renew(pod, signal);
  await refreshVolumes(pod, deps.paths, volumeSources(deps, pod), revision(deps));
  return renewAtMs;
}

/** Names a volume's new content; differs from every earlier one of the same Pod. */
function revision(deps: PodDeps): string {
  return String(Math.round(deps.clock.nowMs() * 1000));
}

function factsOf(deps: PodDeps, podIps: readonly string[]): PodFacts {
  return {
    nodeName: deps.node.name,
    hostIps: deps.node.ips,
    podIps,
    allocatable: deps.node.allocatable,
  };
}

function volumeSources(deps: PodDeps, pod: Pod): VolumeSources {
  const { namespace = 'default', uid = '' } = pod.metadata ?? {};
  return {
    pod,
    facts: factsOf(deps, []),
    configMap: (name) => deps.watched.configMap(namespace, name),
    secret: (name) => deps.watched.secret(namespace, name),
    token: (source) => deps.tokens.get(uid, source),
  };
}

/** Writes the Pod's /etc/hosts, which needs its addresses. */
export async function writeHosts(deps: PodDeps, pod: Pod, podIps: readonly string[]): Promise<void> {
  const hostText = pod.spec?.hostNetwork === true ? await readFile('/etc/hosts', 'utf8') : '';
  const text = renderHosts(pod, podIps, deps.node.clusterDns.domain, hostText);
  await writeFile(hostsFile(deps.paths, pod.metadata?.uid ?? ''), text, { mode: 0o644 });
}

/** Everything that CRI must know to create the container. Throws ContainerConfigError. */
export async function containerConfigOf(
  deps: PodDeps,
  pod: Pod,
  container: Container,
  context: {
    readonly attempt: number;
    readonly image: CriImage;
    readonly podIps: readonly string[];
    readonly volumes: ReadonlyMap<string, string>;
    readonly targetContainerId?: string | undefined;
  },
): Promise<Partially<ContainerConfig>> {
  const { namespace = 'default' } = pod.metadata ?? {};
  const env = compileEnv(container, {
    pod,
    facts: factsOf(deps, context.podIps),
    services: [...deps.services.list()].filter(
      ({ metadata }) => metadata?.namespace === namespace || metadata?.namespace === 'default',
    ),
    configMap: (name) => deps.watched.configMap(namespace, name),
    secret: (name) => deps.watched.secret(namespace, name),
  });
  const { image } = context;
  return compileContainerConfig(pod, container, {
    attempt: context.attempt,
    imageRef: image.id,
    imageUid: image.uid?.value,
    imageUsername: image.username,
    env,
    mounts: await prepareMounts(pod, container, context.attempt, context.volumes, env, deps.paths),
    specHash: specHashOf(container),
    targetContainerId: context.targetContainerId,
    memoryCapacityBytes: deps.node.memoryCapacityBytes,
    hasSelinux: deps.node.hasSelinux,
    seccompRoot: seccompDir(deps.paths),
  });
}
