import { formatHostPort } from '../base/ip.ts';
import { addonPorts } from './addons.ts';
import {
  apiNodePort,
  clusterDomain,
  proxyPort,
  type ClusterConfig,
  gatewayOf,
  loopbacks,
  networkNetns,
  nodesOf,
  pathsOf,
  type PublishedPort,
  nodeGraceSecondsOf,
} from './config.ts';
import { rangesOf } from './ranges.ts';

/** A socket which the supervisor makes and hands to a process as descriptor 3, 4, …. */
export type DescriptorPlan = {
  /** Undefined: the host's namespace. */
  readonly netns: string | undefined;
  readonly address: string;
  readonly port: number;
  /** Undefined: a listening TCP socket. */
  readonly kind?: 'udp';
  /** Its host port could not be had: the process gets no such descriptor, unless it is needed. */
  readonly optional: boolean;
};

export type ProcessPlan = {
  readonly name: string;
  readonly netns: string;
  /** Flags of the runtime, before the main file. */
  readonly runtimeFlags: readonly string[];
  readonly descriptors: readonly DescriptorPlan[];
  /** Arguments of `fairlead`, given the descriptor numbers that the process got. */
  command(descriptorOf: (plan: DescriptorPlan) => number | undefined): readonly string[];
  /** Processes are stopped in rising order. */
  readonly stopStage: number;
};

/**
 * The young generation of the JavaScript heap, MiB: it grows while code is loaded and would then stay large. The ingress
 * keeps the runtime's own size, since there the time of collections is that of requests.
 */
const smallHeap: readonly string[] = ['--max-semi-space-size=2'];

/** Ports of the load balancer whose host sockets go straight to the ingress, without a relay. */
export const ingressPorts = { http: 80, https: 443 } as const;

export function describeDescriptor(plan: DescriptorPlan): string {
  const suffix = plan.kind === undefined ? '' : `/${plan.kind}`;
  return `${plan.netns ?? 'host'}/${plan.address}:${plan.port}${suffix}`;
}

function hostDescriptors(published: readonly PublishedPort[]): readonly DescriptorPlan[] {
  return published.flatMap(({ hostAddresses, hostPort }) =>
    hostAddresses.map((address) => ({
      netns: undefined,
      address,
      port: hostPort,
      optional: address === '::1',
    })),
  );
}

/** Directories to make before the processes start. */
export function directoriesOf(config: ClusterConfig): readonly string[] {
  const paths = pathsOf(config);
  return [
    paths.pki,
    paths.kubeconfigDir,
    `${config.dataDir}/store`,
    paths.logs,
    paths.registries,
    paths.processes,
    ...nodesOf(config).flatMap(({ name }) => [
      paths.nodeData(name),
      paths.staticPods(name),
      paths.nodeRun(name),
    ]),
  ];
}

/** The processes of a cluster. Pure. */
export function planProcesses(config: ClusterConfig): readonly ProcessPlan[] {
  const nodes = nodesOf(config);
  const [server] = nodes;
  if (server === undefined) return [];
  return [
    serverProcess(config, server),
    ...nodes.map((node, index) => nodeProcess(config, node, index === 0)),
    dnsProcess(config, server),
    ingressProcess(config, server.netns),
  ];
}

type Node = ReturnType<typeof nodesOf>[number];

function serverProcess(config: ClusterConfig, { netns, addresses }: Node): ProcessPlan {
  const descriptors = [
    ...addresses.map((address) => ({ netns, address, port: apiNodePort, optional: false })),
    ...loopbacks.map((loopback) => ({
      netns: undefined,
      address: loopback,
      port: config.apiPort,
      optional: loopback === '::1',
    })),
  ];
  return {
    name: 'server',
    netns,
    descriptors,
    runtimeFlags: smallHeap,
    stopStage: 2,
    command: (descriptorOf) => [
      'server',
      '--cluster-file',
      pathsOf(config).clusterFile,
      '--fds',
      descriptors.flatMap((plan) => descriptorOf(plan) ?? []).join(','),
    ],
  };
}

function nodeProcess(config: ClusterConfig, node: Node, isServer: boolean): ProcessPlan {
  const paths = pathsOf(config);
  const ranges = rangesOf(config);
  const relayed = isServer
    ? config.published.filter(({ port }) => port !== ingressPorts.http && port !== ingressPorts.https)
    : [];
  const sockets = relayed.flatMap(({ port, ...published }) =>
    hostDescriptors([{ port, ...published }]).map((descriptor) => ({ descriptor, port })),
  );
  return {
    name: `node-${node.name}`,
    netns: node.netns,
    descriptors: sockets.map(({ descriptor }) => descriptor),
    runtimeFlags: smallHeap,
    stopStage: 1,
    command: (descriptorOf) => [
      'node',
      '--kubeconfig',
      `${paths.kubeconfigDir}/node-${node.name}.yaml`,
      '--name',
      node.name,
      '--node-ip',
      node.addresses.join(','),
      '--data-dir',
      config.dataDir,
      '--run-dir',
      config.runDir,
      '--cluster-dns',
      ranges.map(({ dns }) => dns).join(','),
      '--cluster-domain',
      clusterDomain,
      '--cluster-cidr',
      ranges.map(({ pods }) => pods).join(','),
      '--service-cidr',
      ranges.map(({ services }) => services).join(','),
      // `up` sets it, too; an interface that goes down loses it.
      '--gateway',
      ranges.map(({ gateway }) => gateway).join(','),
      '--resolv-conf',
      paths.resolvConf,
      '--cni-bin-dir',
      config.cniBinDir,
      '--registries-dir',
      paths.registries,
      // As in Kubernetes the lease ends some time before the node counts as lost: 40 s of 50.
      '--node-lease-duration-seconds',
      String(Math.max(1, Math.floor(nodeGraceSecondsOf(config) * 0.8))),
      ...(isServer ? ['--label', 'node-role.kubernetes.io/control-plane=true'] : []),
      ...(config.egress === 'none'
        ? []
        : ['--image-proxy', `http://${formatHostPort(gatewayOf(config), proxyPort)}`]),
      ...sockets.flatMap(({ descriptor, port }) => {
        const fd = descriptorOf(descriptor);
        return fd === undefined ? [] : ['--relay', `${fd}:${port}`];
      }),
    ],
  };
}

/**
 * The supervisor holds its sockets: while DNS is started again, queries wait in them instead of being refused. UDP at the
 * addresses that the Service leads to, since answers must come from there; TCP at all.
 */
function dnsProcess(config: ClusterConfig, { netns, addresses }: Node): ProcessPlan {
  const inNode = { netns, port: addonPorts.dns, optional: false };
  const udp = addresses.map((address): DescriptorPlan => ({ ...inNode, address, kind: 'udp' }));
  const tcp = rangesOf(config).map(
    ({ family }): DescriptorPlan => ({ ...inNode, address: family === 4 ? '0.0.0.0' : '::' }),
  );
  const host = hostDnsDescriptors(config);
  return {
    name: 'dns',
    netns,
    descriptors: [...udp, ...tcp, ...host],
    runtimeFlags: smallHeap,
    stopStage: 1,
    command: (descriptorOf) => [
      'dns',
      '--kubeconfig',
      `${pathsOf(config).kubeconfigDir}/dns.yaml`,
      '--upstream',
      config.egress === 'none' ? 'none' : gatewayOf(config),
      ...atAnyAddress(config, '--health-address', addonPorts.dnsHealth),
      ...['--pods', 'verified', '--autopath'],
      ...udp.flatMap((plan) => {
        const fd = descriptorOf(plan);
        return fd === undefined ? [] : ['--udp-fd', `${fd}:${plan.address}`];
      }),
      ...tcp.flatMap((plan) => descriptorOf(plan) ?? []).flatMap((fd) => ['--tcp-fd', String(fd)]),
      ...host.flatMap((plan) => {
        const fd = descriptorOf(plan);
        if (fd === undefined) return [];
        return plan.kind === 'udp' ? ['--host-udp-fd', `${fd}:${plan.address}`] : ['--host-tcp-fd', `${fd}`];
      }),
      ...(host.length === 0 ? [] : hostPorts(config.published)),
    ],
  };
}

function hostDnsDescriptors({ hostDns }: ClusterConfig): readonly DescriptorPlan[] {
  if (hostDns === undefined) return [];
  const at = { netns: undefined, ...hostDns, optional: false };
  return [{ ...at, kind: 'udp' }, at];
}

/** The wildcard of IPv6 takes both families; without IPv6 each program's own default, that of IPv4, is left. */
function atAnyAddress(config: ClusterConfig, option: string, port: number): readonly string[] {
  return rangesOf(config).some(({ family }) => family === 6) ? [option, formatHostPort('::', port)] : [];
}

/** Where the host's own programs reach what is published; a wildcard they reach at the loopbacks. */
export function reachedOnHost(
  published: readonly PublishedPort[],
): readonly { readonly address: string; readonly hostPort: number; readonly port: number }[] {
  return published.flatMap(({ hostAddresses, hostPort, port }) =>
    hostAddresses.map((address) => ({
      address: address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address,
      hostPort,
      port,
    })),
  );
}

function hostPorts(published: readonly PublishedPort[]): readonly string[] {
  return reachedOnHost(published).flatMap(({ address, hostPort, port }) => {
    return ['--host-port', `${formatHostPort(address, hostPort)}:${port}`];
  });
}

function ingressProcess(config: ClusterConfig, netns: string): ProcessPlan {
  const paths = pathsOf(config);
  const of = (port: number): readonly DescriptorPlan[] =>
    hostDescriptors(config.published.filter((published) => published.port === port));
  const http = of(ingressPorts.http);
  const https = of(ingressPorts.https);
  return {
    name: 'ingress',
    netns,
    descriptors: [...http, ...https],
    runtimeFlags: [],
    stopStage: 0,
    command: (descriptorOf) => [
      'ingress',
      '--kubeconfig',
      `${paths.kubeconfigDir}/ingress.yaml`,
      '--ingress-class',
      config.ingressClasses.join(','),
      '--ca-cert',
      `${paths.pki}/ca.crt`,
      '--ca-key',
      `${paths.pki}/ca.key`,
      ...atAnyAddress(config, '--http', addonPorts.http),
      ...atAnyAddress(config, '--https', addonPorts.https),
      ...atAnyAddress(config, '--health-address', addonPorts.ingressHealth),
      ...http.flatMap((plan) => descriptorOf(plan) ?? []).flatMap((fd) => ['--http-fd', String(fd)]),
      ...https.flatMap((plan) => descriptorOf(plan) ?? []).flatMap((fd) => ['--https-fd', String(fd)]),
    ],
  };
}

export function gatewayNetns(config: ClusterConfig): string {
  return networkNetns(config.name);
}
