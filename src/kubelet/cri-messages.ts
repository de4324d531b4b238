import {
  bool,
  bytes,
  int32,
  int64,
  type MessageType,
  map,
  message,
  optional,
  repeated,
  string,
  uint32,
  uint64,
} from '../base/protobuf.ts';

/**
 * The part of CRI v1 (package runtime.v1 of k8s.io/cri-api) that the kubelet uses. Field numbers are the specification's.
 * Enums travel as int32; their values are the constants below.
 */

export type Decoded<M> = M extends MessageType<infer T> ? T : never;

export const protocols = { TCP: 0, UDP: 1, SCTP: 2 } as const;
export const namespaceModes = { pod: 0, container: 1, node: 2, target: 3 } as const;
export const mountPropagations = { private: 0, hostToContainer: 1, bidirectional: 2 } as const;
export const seccompProfileTypes = { runtimeDefault: 0, unconfined: 1, localhost: 2 } as const;
export const sandboxStates = { ready: 0, notReady: 1 } as const;
export const containerStates = { created: 0, running: 1, exited: 2, unknown: 3 } as const;

const int64Value = message({ value: int64(1) });
const uint64Value = message({ value: uint64(1) });
const keyValue = message({ key: string(1), value: string(2) });
const empty = message({});

const dnsConfig = message({
  servers: repeated(1, 'string'),
  searches: repeated(2, 'string'),
  options: repeated(3, 'string'),
});
const portMapping = message({
  protocol: int32(1),
  containerPort: int32(2),
  hostPort: int32(3),
  hostIp: string(4),
});
const namespaceOption = message({ network: int32(1), pid: int32(2), ipc: int32(3), targetId: string(4) });
const securityProfile = message({ profileType: int32(1), localhostRef: string(2) });

const linuxContainerResources = message({
  cpuPeriod: int64(1),
  cpuQuota: int64(2),
  cpuShares: int64(3),
  memoryLimitInBytes: int64(4),
  oomScoreAdj: int64(5),
  unified: map(9),
});

const linuxSandboxSecurityContext = message({
  namespaceOptions: optional(1, namespaceOption),
  runAsUser: optional(3, int64Value),
  readonlyRootfs: bool(4),
  supplementalGroups: repeated(5, 'int64'),
  privileged: bool(6),
  runAsGroup: optional(8, int64Value),
  seccomp: optional(9, securityProfile),
});

const linuxPodSandboxConfig = message({
  cgroupParent: string(1),
  securityContext: optional(2, linuxSandboxSecurityContext),
  sysctls: map(3),
});

const podSandboxMetadata = message({
  name: string(1),
  uid: string(2),
  namespace: string(3),
  attempt: uint32(4),
});

export const podSandboxConfig = message({
  metadata: optional(1, podSandboxMetadata),
  hostname: string(2),
  logDirectory: string(3),
  dnsConfig: optional(4, dnsConfig),
  portMappings: repeated(5, portMapping),
  labels: map(6),
  annotations: map(7),
  linux: optional(8, linuxPodSandboxConfig),
});

const podIp = message({ ip: string(1) });

const podSandboxStatus = message({
  id: string(1),
  metadata: optional(2, podSandboxMetadata),
  state: int32(3),
  createdAt: int64(4), // ns
  network: optional(5, message({ ip: string(1), additionalIps: repeated(2, podIp) })),
  labels: map(7),
  annotations: map(8),
});

export const podSandbox = message({
  id: string(1),
  metadata: optional(2, podSandboxMetadata),
  state: int32(3),
  createdAt: int64(4), // ns
  labels: map(5),
  annotations: map(6),
});

const imageSpec = message({ image: string(1) });
const capability = message({
  addCapabilities: repeated(1, 'string'),
  dropCapabilities: repeated(2, 'string'),
});

const linuxContainerSecurityContext = message({
  capabilities: optional(1, capability),
  privileged: bool(2),
  namespaceOptions: optional(3, namespaceOption),
  runAsUser: optional(5, int64Value),
  runAsUsername: string(6),
  readonlyRootfs: bool(7),
  supplementalGroups: repeated(8, 'int64'),
  noNewPrivs: bool(11),
  runAsGroup: optional(12, int64Value),
  maskedPaths: repeated(13, 'string'),
  readonlyPaths: repeated(14, 'string'),
  seccomp: optional(15, securityProfile),
});

const mount = message({
  containerPath: string(1),
  hostPath: string(2),
  readonly: bool(3),
  propagation: int32(5),
});

const containerMetadata = message({ name: string(1), attempt: uint32(2) });

export const containerConfig = message({
  metadata: optional(1, containerMetadata),
  image: optional(2, imageSpec),
  command: repeated(3, 'string'),
  args: repeated(4, 'string'),
  workingDir: string(5),
  envs: repeated(6, keyValue),
  mounts: repeated(7, mount),
  devices: repeated(8, message({ containerPath: string(1), hostPath: string(2), permissions: string(3) })),
  labels: map(9),
  annotations: map(10),
  logPath: string(11),
  stdin: bool(12),
  stdinOnce: bool(13),
  tty: bool(14),
  linux: optional(
    15,
    message({
      resources: optional(1, linuxContainerResources),
      securityContext: optional(2, linuxContainerSecurityContext),
    }),
  ),
});

export const container = message({
  id: string(1),
  podSandboxId: string(2),
  metadata: optional(3, containerMetadata),
  image: optional(4, imageSpec),
  imageRef: string(5),
  state: int32(6),
  createdAt: int64(7), // ns
  labels: map(8),
  annotations: map(9),
});

export const containerStatus = message({
  id: string(1),
  metadata: optional(2, containerMetadata),
  state: int32(3),
  createdAt: int64(4), // ns
  startedAt: int64(5), // ns
  finishedAt: int64(6), // ns
  exitCode: int32(7),
  image: optional(8, imageSpec),
  imageRef: string(9),
  reason: string(10),
  message: string(11),
  labels: map(12),
  annotations: map(13),
  logPath: string(15),
});

const image = message({
  id: string(1),
  repoTags: repeated(2, 'string'),
  repoDigests: repeated(3, 'string'),
  size: uint64(4),
  uid: optional(5, int64Value),
  username: string(6),
});

const authConfig = message({ username: string(1), password: string(2), serverAddress: string(4) });
const labelFilter = message({ id: string(1), podSandboxId: string(3), labelSelector: map(4) });
const sandboxFilter = message({ id: string(1), labelSelector: map(3) });

const containerStats = message({
  attributes: optional(
    1,
    message({ id: string(1), metadata: optional(2, containerMetadata), labels: map(3) }),
  ),
  cpu: optional(2, message({ timestamp: int64(1), usageCoreNanoSeconds: optional(2, uint64Value) })),
  memory: optional(3, message({ timestamp: int64(1), workingSetBytes: optional(2, uint64Value) })),
  writableLayer: optional(4, message({ timestamp: int64(1), usedBytes: optional(3, uint64Value) })),
});

export type PodSandboxConfig = Decoded<typeof podSandboxConfig>;
export type ContainerConfig = Decoded<typeof containerConfig>;
export type CriContainerStatus = Decoded<typeof containerStatus>;
export type CriImage = Decoded<typeof image>;
export type LinuxContainerResources = Decoded<typeof linuxContainerResources>;

const sandboxId = message({ podSandboxId: string(1) });
const containerId = message({ containerId: string(1) });
const url = message({ url: string(1) });
const status = message({
  conditions: repeated(
    1,
    message({ type: string(1), status: bool(2), reason: string(3), message: string(4) }),
  ),
});

/** Every RPC in use: [service, request, response]. The key is the method's name with a small first letter. */
export const criMethods = {
  version: [
    'RuntimeService',
    message({ version: string(1) }),
    message({
      version: string(1),
      runtimeName: string(2),
      runtimeVersion: string(3),
      runtimeApiVersion: string(4),
    }),
  ],
  status: ['RuntimeService', empty, message({ status: optional(1, status) })],
  runPodSandbox: [
    'RuntimeService',
    message({ config: optional(1, podSandboxConfig), runtimeHandler: string(2) }),
    sandboxId,
  ],
  stopPodSandbox: ['RuntimeService', sandboxId, empty],
  removePodSandbox: ['RuntimeService', sandboxId, empty],
  podSandboxStatus: ['RuntimeService', sandboxId, message({ status: optional(1, podSandboxStatus) })],
  listPodSandbox: [
    'RuntimeService',
    message({ filter: optional(1, sandboxFilter) }),
    message({ items: repeated(1, podSandbox) }),
  ],
  createContainer: [
    'RuntimeService',
    message({
      podSandboxId: string(1),
      config: optional(2, containerConfig),
      sandboxConfig: optional(3, podSandboxConfig),
    }),
    containerId,
  ],
  startContainer: ['RuntimeService', containerId, empty],
  stopContainer: ['RuntimeService', message({ containerId: string(1), timeout: int64(2) }), empty],
  removeContainer: ['RuntimeService', containerId, empty],
  listContainers: [
    'RuntimeService',
    message({ filter: optional(1, labelFilter) }),
    message({ containers: repeated(1, container) }),
  ],
  containerStatus: ['RuntimeService', containerId, message({ status: optional(1, containerStatus) })],
  reopenContainerLog: ['RuntimeService', containerId, empty],
  execSync: [
    'RuntimeService',
    message({ containerId: string(1), cmd: repeated(2, 'string'), timeout: int64(3) }),
    message({ stdout: bytes(1), stderr: bytes(2), exitCode: int32(3) }),
  ],
  exec: [
    'RuntimeService',
    message({
      containerId: string(1),
      cmd: repeated(2, 'string'),
      tty: bool(3),
      stdin: bool(4),
      stdout: bool(5),
      stderr: bool(6),
    }),
    url,
  ],
  attach: [
    'RuntimeService',
    message({ containerId: string(1), stdin: bool(2), tty: bool(3), stdout: bool(4), stderr: bool(5) }),
    url,
  ],
  portForward: ['RuntimeService', message({ podSandboxId: string(1), port: repeated(2, 'int32') }), url],
  updateContainerResources: [
    'RuntimeService',
    message({ containerId: string(1), linux: optional(2, linuxContainerResources) }),
    empty,
  ],
  listContainerStats: [
    'RuntimeService',
    message({ filter: optional(1, message({ id: string(1) })) }),
    message({ stats: repeated(1, containerStats) }),
  ],
  listImages: ['ImageService', empty, message({ images: repeated(1, image) })],
  imageStatus: [
    'ImageService',
    message({ image: optional(1, imageSpec) }),
    message({ image: optional(1, image) }),
  ],
  pullImage: [
    'ImageService',
    message({
      image: optional(1, imageSpec),
      auth: optional(2, authConfig),
      sandboxConfig: optional(3, podSandboxConfig),
    }),
    message({ imageRef: string(1) }),
  ],
  removeImage: ['ImageService', message({ image: optional(1, imageSpec) }), empty],
} as const satisfies Record<
  string,
  readonly ['RuntimeService' | 'ImageService', MessageType<unknown>, MessageType<unknown>]
>;
