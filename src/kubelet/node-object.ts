import type { Node, NodeCondition, NodeStatus } from '../api/gen/core-v1.ts';
import { rfc3339 } from '../base/clock.ts';

/** What the machine and the runtime are. */
export type MachineFacts = {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly storageBytes: number;
  readonly architecture: 'amd64' | 'arm64';
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly systemUuid: string;
  readonly hasSelinux: boolean;
};

export type NodeImage = { readonly names: readonly string[]; readonly sizeBytes: number };

export type NodeInput = {
  readonly name: string;
  readonly ips: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly machine: MachineFacts;
  readonly runtimeVersion: string; // "containerd://1.6.20"
  readonly images: readonly NodeImage[];
  /** Why no Pod can run here yet; undefined: it can. */
  readonly notReady: string | undefined;
  readonly nowMs: number;
};

export const kubeletVersion = 'v1.36.0+fairlead.0.1.0';
const podsMax = 110;
const kubeletPort = 10_250;
/** Images shown in Node.status, largest first. Kubernetes' own bound. */
const imagesMax = 50;
const namesPerImageMax = 5;

/** The Node as it is registered; its status is written apart. */
export function compileNode(input: Pick<NodeInput, 'name' | 'labels' | 'machine'>): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: input.name,
      labels: nodeLabels(input),
      annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
    },
    spec: {},
  };
}

export function nodeLabels(input: Pick<NodeInput, 'name' | 'labels' | 'machine'>): Record<string, string> {
  return {
    'kubernetes.io/hostname': input.name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': input.machine.architecture,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': input.machine.architecture,
    ...input.labels,
  };
}

export function allocatableOf(machine: MachineFacts): Record<string, string> {
  return {
    cpu: String(machine.cpus),
    memory: `${Math.floor(machine.memoryBytes / 1024)}Ki`,
    'ephemeral-storage': `${Math.floor(machine.storageBytes / 1024)}Ki`,
    'hugepages-1Gi': '0',
    'hugepages-2Mi': '0',
    pods: String(podsMax),
  };
}

/** `old`: for the times of conditions that have not changed. */
export function compileNodeStatus(input: NodeInput, old: NodeStatus | undefined): NodeStatus {
  const resources = allocatableOf(input.machine);
  return {
    addresses: [
      ...input.ips.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: input.name },
    ],
    allocatable: resources,
    capacity: resources,
    conditions: compileConditions(input, old),
    daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
    images: input.images
      .toSorted((a, b) => b.sizeBytes - a.sizeBytes)
      .slice(0, imagesMax)
      .map(({ names, sizeBytes }) => ({ names: names.slice(0, namesPerImageMax), sizeBytes })),
    nodeInfo: {
      architecture: input.machine.architecture,
      bootID: input.machine.bootId,
      containerRuntimeVersion: input.runtimeVersion,
      kernelVersion: input.machine.kernelVersion,
      kubeProxyVersion: kubeletVersion,
      kubeletVersion,
      machineID: input.machine.machineId,
      operatingSystem: 'linux',
      osImage: input.machine.osImage,
      systemUUID: input.machine.systemUuid,
    },
  };
}

function compileConditions(input: NodeInput, old: NodeStatus | undefined): NodeCondition[] {
  const fine = [
    ['MemoryPressure', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    ['DiskPressure', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    ['PIDPressure', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
  ] as const;
  const ready =
    input.notReady === undefined
      ? { status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' }
      : { status: 'False', reason: 'KubeletNotReady', message: input.notReady };
  const conditions = [
    ...fine.map(([type, reason, message]) => ({ type, status: 'False', reason, message })),
    { type: 'Ready', ...ready },
  ];
  return conditions.map((condition) => {
    const before = old?.conditions?.find(({ type }) => type === condition.type);
    const isSame = before?.status === condition.status && before.lastTransitionTime !== undefined;
    return {
      ...condition,
      lastHeartbeatTime: rfc3339(input.nowMs),
      lastTransitionTime: isSame ? before.lastTransitionTime : rfc3339(input.nowMs),
    };
  });
}
