import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Node, Pod, Service } from '../api/gen/core-v1.ts';
import { nodes, pods, services } from '../api/resource.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { runTogether } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import { createInformer } from '../control/create-informer.ts';
import { createRecorder } from '../control/recorder.ts';
import type { ContainerdPaths } from './containerd-config.ts';
import { type Containerd, startContainerd } from './containerd.ts';
import { watchTasks } from './containerd-events.ts';
import { connectCri } from './cri.ts';
import { createDrain } from './drain.ts';
import { readMachine } from './machine.ts';
import { configureCni, prepareCniPlugins, runRoutes } from './network.ts';
import { parseResolvConf } from './network-files.ts';
import { allocatableOf, type MachineFacts, type NodeImage, type NodeInput } from './node-object.ts';
import { registerNode, runLease, writeNodeStatus } from './node-registration.ts';
import { ensurePauseImage } from './pause-import.ts';
import { pauseImage } from './pause-image.ts';
import type { NodeFacts, PodDeps, ZeroLossOptions } from './pod-deps.ts';
import { PodManager } from './pod-manager.ts';
import { type NodePaths, podLogsDir, podsDir } from './pod-paths.ts';
import { createRegistryCheck } from './registry-check.ts';
import { createRuntimeView } from './runtime-view.ts';
import { createPodTokens } from './tokens.ts';
import { createWatchedObjects } from './watched-objects.ts';

export type KubeletConfig = {
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  /** Added to the Node's own. */
  readonly labels: Readonly<Record<string, string>>;
  readonly paths: NodePaths;
  readonly logDir: string;
  readonly cniBinDir: string;
  /** Folder of `HOST/hosts.toml`: mirrors and authorities of image registries. */
  readonly registriesDir: string;
  readonly imageProxy: string | undefined;
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** resolv.conf of Pods that do not use the cluster's DNS. */
  readonly resolvConf: string;
  readonly serviceCidrs: readonly string[];
  /** Kept as the node's default routes, one a family; undefined: those are left alone. */
  readonly gateways?: readonly string[] | undefined;
  /** Parent of all control groups of this node: "/fairlead/NAME/NODE". */
  readonly cgroupRoot: string;
  readonly zeroLoss: ZeroLossOptions;
  /** undefined: Kubernetes' 40. */
  readonly leaseDurationSeconds?: number | undefined;
  /** Between two looks at how much of the disk Pods with limits of it take, ms. */
  readonly diskCheckMs: number;
  /** The HTTPS server for logs, exec and port-forward; undefined: none. */
  readonly server: ServerTls | undefined;
  /** Folder of static Pods; undefined: none. */
  readonly staticPodDir: string | undefined;
  /** Where the supervisor keeps the states of the processes that static Pods stand for. */
  readonly processStateDir: string | undefined;
};

/** Files of PEM texts. */
export type ServerTls = {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string;
};

export const kubeletDefaults = {
  zeroLoss: { drainTimeoutMs: 5_000, settleMs: 500 },
  clusterDomain: 'cluster.local',
  diskCheckMs: 10_000,
} as const;

/** Between two looks at the images and whether the node still is what its status says, ms. */
const nodeStatusMs = 60_000;
/** The same while the API says that nobody knows how the node is, ms. */
const doubtedNodeStatusMs = 1_000;

/** Runs the node agent until the signal aborts. containerd and the Pods run on then, and are adopted by the next one. */
export async function runKubelet(
  config: KubeletConfig,
  client: ApiClient,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const clock = systemClock;
  await Promise.all(
    [config.paths.nodeDir, config.paths.runDir, podsDir(config.paths), podLogsDir(config.paths)].map((dir) =>
      mkdir(dir, { recursive: true }),
    ),
  );
  const containerdPaths = containerdPathsOf(config);
  const { cri, client: grpc } = connectCri(containerdPaths.socket);
  const containerd = startContainerd(
    cri,
    containerdPaths,
    {
      sandboxImage: pauseImage,
      cniBinDir: await prepareCniPlugins(config.nodeIps, config.cniBinDir, cniDirs(config).plugins),
      registriesDir: config.registriesDir,
      imageProxy: config.imageProxy,
    },
    clock,
    log,
  );
  const [machine, resolvConf] = await Promise.all([
    readMachine(config.paths.nodeDir),
    readFile(config.resolvConf, 'utf8').catch(() => ''),
  ]);
  const recorder = createRecorder(client, 'kubelet', { log });
  const informers = createKubeletInformers(client, config.nodeName, log);
  const view = createRuntimeView(cri, config.paths, clock);
  let manager: PodManager | undefined = undefined;
  const watched = createWatchedObjects(client, (uids) => manager?.sourcesChanged(uids), signal);
  const deps: PodDeps = {
    client,
    cri,
    view,
    clock,
    log,
    paths: config.paths,
    node: nodeFactsOf(config, machine, resolvConf),
    services: informers.services,
    watched,
    tokens: createPodTokens(client, clock),
    registryReachable: createRegistryCheck(config.imageProxy, config.registriesDir, clock),
    event: (pod, type, reason, message) => {
      recorder.event({ apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata }, type, reason, message);
    },
    drain: createDrain(client, clock, config.zeroLoss),
  };
  const pods = new PodManager(deps, informers.pods, config.zeroLoss);
  manager = pods;
  const nodeInput = { name: config.nodeName, ips: config.nodeIps, labels: config.labels, machine };
  const server = config.server;
  await runTogether(
    [
      { name: 'containerd', run: (inner) => containerd.run(inner) },
      { name: 'node informer', run: (inner) => informers.nodes.run(inner) },
      { name: 'pod informer', run: (inner) => informers.pods.run(inner) },
      { name: 'service informer', run: (inner) => informers.services.run(inner) },
      { name: 'events', run: (inner) => recorder.run(inner) },
      {
        name: 'task events',
        run: async (inner) => {
          await containerd.ready();
          const handlers = { onTask: (id: string) => pods.taskEnded(id), onGap: () => pods.gap() };
          await watchTasks(grpc, handlers, clock, log, inner);
        },
      },
      {
        name: 'node',
        run: (inner) => runNode({ config, client, cri, containerd, informers, nodeInput, pods, log }, inner),
      },
      {
        name: 'server',
        run: async (inner) => {
          if (server === undefined) return;
          const { runKubeletServer } = await import('./server.ts');
          const address = config.nodeIps[0] ?? '127.0.0.1';
          await runKubeletServer({ ...config, address, tls: server, cri, view, pods }, log, inner);
        },
      },
      {
        name: 'health',
        run: async (inner) => {
          const { runHealth } = await import('./health.ts');
          await runHealth(cri, inner);
        },
      },
      {
        name: 'log rotation',
        run: async (inner) => {
          const { runLogRotation } = await import('./log-rotation.ts');
          await runLogRotation(cri, clock, log, inner);
        },
      },
      {
        name: 'static pods',
        run: async (inner) => {
          if (config.staticPodDir === undefined) return;
          const { runStaticPods } = await import('./static-pods.ts');
          await runStaticPods(
            {
              client,
              clock,
              log,
              nodeName: config.nodeName,
              nodeIps: config.nodeIps,
              cri,
              ...staticDirs(config),
            },
            inner,
          );
        },
      },
    ],
    signal,
  );
  grpc.close();
}

function nodeFactsOf(config: KubeletConfig, machine: MachineFacts, resolvConf: string): NodeFacts {
  return {
    name: config.nodeName,
    ips: config.nodeIps,
    allocatable: allocatableOf(machine),
    memoryCapacityBytes: machine.memoryBytes,
    hasSelinux: machine.hasSelinux,
    clusterDns: { nameservers: config.clusterDns, domain: config.clusterDomain },
    hostDns: parseResolvConf(resolvConf),
    cgroupRoot: config.cgroupRoot,
  };
}

function staticDirs(config: KubeletConfig) {
  return { dir: config.staticPodDir ?? '', processStateDir: config.processStateDir ?? config.paths.runDir };
}

export function containerdPathsOf(
  config: Pick<KubeletConfig, 'paths' | 'logDir' | 'nodeName'>,
): ContainerdPaths {
  const { nodeDir, runDir } = config.paths;
  return {
    root: join(nodeDir, 'containerd'),
    state: join(runDir, 'containerd'),
    socket: join(runDir, 'containerd.sock'),
    configFile: join(nodeDir, 'containerd.toml'),
    pidFile: join(runDir, 'containerd.pid'),
    logFile: join(config.logDir, `containerd-${config.nodeName}.log`),
    cniConfigDir: cniDirs(config).configDir,
  };
}

function cniDirs({ paths }: Pick<KubeletConfig, 'paths'>) {
  const dir = (name: string): string => join(paths.nodeDir, 'cni', name);
  return { configDir: dir('net.d'), ipamDir: dir('ipam'), plugins: dir('bin') };
}

type KubeletInformers = ReturnType<typeof createKubeletInformers>;

function createKubeletInformers(client: ApiClient, nodeName: string, log: Logger) {
  const nodeInformer = createInformer<Node>(client, nodes, { log, transform: slimNode });
  let changed = Promise.withResolvers<void>();
  nodeInformer.onChange(() => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  });
  return {
    nodes: nodeInformer,
    /** Resolves at the next change of a Node. */
    nextNodeChange: () => changed.promise,
    pods: createInformer<Pod>(client, pods, {
      log,
      fieldSelector: `spec.nodeName=${nodeName}`,
      transform: withoutManagedFields,
    }),
    services: createInformer<Service>(client, services, { log, transform: slimService }),
  };
}

/** Only what routes and our own registration need. */
function slimNode({ metadata, spec, status }: Node): Node {
  const { name, uid } = metadata ?? {};
  return {
    metadata: { name, uid },
    spec: { podCIDR: spec?.podCIDR, podCIDRs: spec?.podCIDRs },
    status: {
      addresses: status?.addresses,
      conditions: status?.conditions?.filter(({ type }) => type === 'Ready'),
    },
  };
}

/** Only what service environment variables need. */
function slimService({ metadata, spec }: Service): Service {
  const { name, namespace } = metadata ?? {};
  return { metadata: { name, namespace }, spec: { clusterIP: spec?.clusterIP, ports: spec?.ports } };
}

function withoutManagedFields(pod: Pod): Pod {
  const { managedFields: _, ...metadata } = pod.metadata ?? {};
  return { ...pod, metadata };
}

type NodeContext = {
  readonly config: KubeletConfig;
  readonly client: ApiClient;
  readonly cri: PodDeps['cri'];
  readonly containerd: Containerd;
  readonly informers: KubeletInformers;
  readonly nodeInput: Pick<NodeInput, 'name' | 'ips' | 'labels' | 'machine'>;
  readonly pods: PodManager;
  readonly log: Logger;
};

/** Registers the node, makes it ready as soon as it can run Pods, then runs them. */
async function runNode(context: NodeContext, signal: AbortSignal): Promise<void> {
  const { config, client, cri, containerd, informers, nodeInput, log } = context;
  const clock = systemClock;
  const network = {
    nodeName: config.nodeName,
    nodeIps: config.nodeIps,
    serviceCidrs: config.serviceCidrs,
    gateways: config.gateways ?? [],
  };
  const paths = containerdPathsOf(config);
  const [registered, runtimeVersion] = await Promise.all([
    registerNode(client, nodeInput, clock, log, signal),
    prepareRuntime(context, paths),
    informers.nodes.whenSynced(signal),
  ]);
  const podCidrs = await waitForPodCidrs(informers, config.nodeName, signal);
  await configureCni(cri, podCidrs, cniDirs(config), clock, signal);
  const input = { ...nodeInput, runtimeVersion, notReady: undefined };
  const status = { ...input, images: await listImages(cri), nowMs: clock.nowMs() };
  let known = await writeNodeStatus(client, status, registered, clock, signal);
  log.info('ready', { node: config.nodeName, podCidrs });
  await runTogether(
    [
      { name: 'pods', run: (inner) => context.pods.run(inner) },
      { name: 'disk limits', run: (inner) => evictByDisk(context, inner) },
      { name: 'lease', run: (inner) => runLease(client, registered, config, clock, log, inner) },
      {
        name: 'routes',
        run: (inner) => runRoutes(informers.nodes, informers.nextNodeChange, network, clock, log, inner),
      },
      {
        name: 'node status',
        run: async (inner) => {
          while (!inner.aborted) {
            await nextNodeStatus(informers, config.nodeName, clock, inner);
            const isWell = await containerd.ready().then(
              async () =>
                cri.version({}).then(
                  () => true,
                  () => false,
                ),
              () => false,
            );
            const notReady = isWell ? undefined : 'container runtime is down';
            const images = isWell ? await listImages(cri) : [];
            try {
              known = await writeNodeStatus(
                client,
                { ...input, images, notReady, nowMs: clock.nowMs() },
                known,
                clock,
                inner,
              );
            } catch (error) {
              if (!inner.aborted) log.warn('node status could not be written', { error });
            }
          }
        },
      },
    ],
    signal,
  );
}

async function evictByDisk({ config, cri, pods, log }: NodeContext, signal: AbortSignal): Promise<void> {
  const { runDiskEviction } = await import('./disk-eviction.ts');
  const deps = { cri, clock: systemClock, log, paths: config.paths, checkMs: config.diskCheckMs };
  const evict = (uid: string, message: string) => pods.evict(uid, message);
  await runDiskEviction({ ...deps, pods: () => pods.pods(), evict }, signal);
}

/** Resolves when sandboxes could be run but for the network. Returns "containerd://VERSION". */
async function prepareRuntime(
  { cri, containerd, nodeInput, config }: NodeContext,
  paths: ContainerdPaths,
): Promise<string> {
  await containerd.ready();
  const [version] = await Promise.all([
    cri.version({}),
    ensurePauseImage(cri, paths.socket, config.paths.runDir, nodeInput.machine.architecture, systemClock),
  ]);
  return `${version.runtimeName}://${version.runtimeVersion.replace(/^v/, '')}`;
}

async function waitForPodCidrs(
  informers: KubeletInformers,
  nodeName: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  while (true) {
    const changed = informers.nextNodeChange();
    const spec = informers.nodes.get(nodeName)?.spec;
    const cidrs = spec?.podCIDRs ?? (spec?.podCIDR === undefined ? [] : [spec.podCIDR]);
    if (cidrs.length > 0) return cidrs;
    signal.throwIfAborted();
    await Promise.race([changed, rejectOnAbort(signal)]);
  }
}

/**
 * Resolves when it is time to write the node's status again, or soon after the API says that nobody knows whether the node is ready: it
 * was cut off, and its Pods get no traffic until that is taken back.
 */
async function nextNodeStatus(
  informers: ReturnType<typeof createKubeletInformers>,
  nodeName: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const due = clock.sleep(nodeStatusMs, signal).then(() => true);
  due.catch(() => {}); // when it is left behind; otherwise its rejection is thrown below
  for (;;) {
    const changed = informers.nextNodeChange();
    const conditions = informers.nodes.get(nodeName)?.status?.conditions ?? [];
    if (conditions.some(({ type, status }) => type === 'Ready' && status === 'Unknown')) {
      await clock.sleep(doubtedNodeStatusMs, signal);
      return;
    }
    if (await Promise.race([due, changed.then(() => false)])) return;
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

async function listImages(cri: PodDeps['cri']): Promise<readonly NodeImage[]> {
  const { images } = await cri.listImages({});
  return images.map(({ repoTags, repoDigests, size }) => ({
    names: [...repoDigests, ...repoTags],
    sizeBytes: size,
  }));
}
