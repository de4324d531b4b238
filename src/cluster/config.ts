import { posix } from 'node:path';
import { addressIn, type IpFamilies, rangesOf } from './ranges.ts';

/** A published port: a listening socket in the host's namespace that leads into the cluster. */
export type PublishedPort = {
  /** Addresses on the host; the default is both loopbacks. */
  readonly hostAddresses: readonly string[];
  readonly hostPort: number;
  /** Port of the load balancer (a LoadBalancer Service's port). */
  readonly port: number;
  /** Asked for by name on the command line: a taken host port is then an error, otherwise only a remark. */
  readonly explicit: boolean;
};

export type EgressMode = 'auto' | 'none';

/** What a cluster is made of. Written to `cluster.json` by `up`, read by everything else; frozen. */
export type ClusterConfig = {
  readonly name: string;
  /** Nodes beside server-0. */
  readonly agents: number;
  /** Undefined, as in what earlier versions wrote: IPv4 alone. */
  readonly ipFamilies?: IpFamilies | undefined;
  readonly published: readonly PublishedPort[];
  /** Names of the IngressClasses that the ingress serves; the first is the default class. */
  readonly ingressClasses: readonly string[];
  readonly dataDir: string;
  readonly runDir: string;
  readonly egress: EgressMode;
  /** A node that has not been heard of for this long is NotReady; undefined: Kubernetes' own time. */
  readonly nodeGraceSeconds?: number | undefined;
  /** Where this machine has the CNI plugins. */
  readonly cniBinDir: string;
  /** Port of the API server on the host's loopback. */
  readonly apiPort: number;
  /** Where programs of the host ask for the cluster's names; undefined: nowhere. */
  readonly hostDns?: HostDns | undefined;
};

/** A loopback address and port of the host. */
export type HostDns = { readonly address: string; readonly port: number };

/** Most nodes beside server-0: the node network is a /16, but a machine's memory ends long before. */
export const agentsMax = 63;
/** What kube-controller-manager waits for. */
export const nodeGraceSecondsDefault = 50;

export function nodeGraceSecondsOf(config: Pick<ClusterConfig, 'nodeGraceSeconds'>): number {
  return config.nodeGraceSeconds ?? nodeGraceSecondsDefault;
}

export const publishedPortsMax = 128;
export const clusterDomain = 'cluster.local';
/** The gateway's CONNECT proxy. */
export const proxyPort = 3128;
export const apiNodePort = 6443;
/** Loopback addresses at which the host may ask the clusters' DNS, one each. 127.0.0.53 and .54 are systemd-resolved's. */
export const hostDnsAddresses: readonly string[] = Array.from(
  { length: 64 },
  (_, index) => `127.0.43.${10 + index}`,
);
/** Tried in turn: where something serves port 53 of all addresses, the other one may still be had. */
export const hostDnsPorts = [53, 10053] as const;
/** Tried first on the host, because it is what people know; any free port otherwise. */
export const apiHostPortPreferred = 6443;

export const loopbacks = ['127.0.0.1', '::1'] as const;

/** Published without being asked for, where the host's port is free. */
export const defaultPublished: readonly PublishedPort[] = [80, 443, 8080].map((port) => ({
  hostAddresses: loopbacks,
  hostPort: port,
  port,
  explicit: false,
}));

export type NodePlan = {
  readonly name: string;
  /** InternalIPs on the node network, of each of the cluster's families one. */
  readonly addresses: readonly string[];
  /** The first of them. */
  readonly address: string;
  readonly netns: string;
};

/** What names and addresses of a cluster follow from. */
export type NetworkConfig = Pick<ClusterConfig, 'name' | 'agents' | 'ipFamilies'>;

/** server-0, agent-0, agent-1, … with their addresses. */
export function nodesOf(config: NetworkConfig): readonly NodePlan[] {
  const ranges = rangesOf(config);
  const names = ['server-0', ...Array.from({ length: config.agents }, (_, index) => `agent-${index}`)];
  return names.map((name, index) => {
    const addresses = ranges.map(({ nodes }) => addressIn(nodes, index + 2));
    const netns = `fairlead-${config.name}-${name}`;
    return { name, addresses, address: addresses[0] ?? '', netns };
  });
}

/** The way out: the address of the node network's namespace in the cluster's first family. */
export function gatewayOf(config: NetworkConfig): string {
  return rangesOf(config)[0]?.gateway ?? '';
}

export function networkNetns(clusterName: string): string {
  return `fairlead-${clusterName}-net`;
}

/** Every file and directory of a cluster that more than one part knows. */
export function pathsOf(config: Pick<ClusterConfig, 'dataDir' | 'runDir'>) {
  const data = (...parts: readonly string[]): string => posix.join(config.dataDir, ...parts);
  const run = (...parts: readonly string[]): string => posix.join(config.runDir, ...parts);
  return {
    pki: data('pki'),
    kubeconfigDir: data('kubeconfig'),
    adminKubeconfig: data('kubeconfig.yaml'),
    store: data('store', 'state.db'),
    logs: data('logs'),
    logOf: (component: string): string => data('logs', `${component}.log`),
    nodeData: (node: string): string => data('nodes', node),
    staticPods: (node: string): string => data('nodes', node, 'static-pods'),
    /** Mirrors and certificate authorities of image registries: `HOST/hosts.toml`, as containerd reads it at each pull. */
    registries: data('registries'),
    /** For Pods that do not use the cluster's DNS. */
    resolvConf: data('resolv.conf'),
    clusterFile: run('cluster.json'),
    processes: run('processes'),
    processFile: (process: string): string => run('processes', `${process}.json`),
    nodeRun: (node: string): string => run('nodes', node),
    containerdSocket: (node: string): string => run('nodes', node, 'containerd.sock'),
  } as const;
}

/** Undefined when the name can be used: a DNS label that leaves room for interface and namespace names. */
export function clusterNameProblem(name: string): string | undefined {
  if (/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name)) return undefined;
  return (
    `"${name}" is no cluster name: use 1 to 32 of a-z, 0-9 and '-', ` +
    'beginning and ending with a letter or digit'
  );
}

/** Undefined when the directory can be used. It is removed by `down`, so nothing of the system may be named. */
export function dataDirProblem(dir: string): string | undefined {
  if (!posix.isAbsolute(dir) || posix.normalize(dir) !== dir) {
    return `the data directory must be an absolute path without "..": ${dir}`;
  }
  const depth = dir.split('/').filter((part) => part !== '').length;
  if (depth < 2) {
    return `the data directory ${dir} is too close to the root: \`fairlead down\` removes it; name a directory of its own`;
  }
  return undefined;
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: string };

/** Reads `[ADDRESS:]HOSTPORT:PORT[@loadbalancer]`, k3d's form; an IPv6 address stands in brackets. */
export function parsePublish(text: string): Parsed<PublishedPort> {
  const bad = (why: string): Parsed<PublishedPort> => ({
    ok: false,
    error: `cannot publish "${text}": ${why}; write [ADDRESS:]HOSTPORT:PORT@loadbalancer, such as 8080:80@loadbalancer`,
  });
  const [spec = '', ...targets] = text.split('@');
  if (targets.length > 1 || (targets.length === 1 && targets[0] !== 'loadbalancer')) {
    return bad('the only place to publish at is @loadbalancer');
  }
  const match = /^(?:(\[[0-9a-fA-F:]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|TCP))?$/.exec(spec);
  if (match === null) return bad('it has not that form');
  const hostPort = Number(match[2]);
  const port = Number(match[3]);
  if (hostPort < 1 || hostPort > 65535 || port < 1 || port > 65535) {
    return bad('a port is a number from 1 to 65535');
  }
  const address = match[1]?.replace(/^\[|\]$/g, '');
  if (address !== undefined && !address.includes(':') && !isIpv4(address)) {
    return bad(`${address} is no address`);
  }
  return {
    ok: true,
    value: { hostAddresses: address === undefined ? loopbacks : [address], hostPort, port, explicit: true },
  };
}

function isIpv4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
}

/** The asked-for ports and those defaults whose host port and target nobody asked for. The first of two equal host ports is an error. */
export function mergePublished(asked: readonly PublishedPort[]): Parsed<readonly PublishedPort[]> {
  const seen = new Set<number>();
  for (const { hostPort } of asked) {
    if (seen.has(hostPort)) return { ok: false, error: `port ${hostPort} of the host is published twice` };
    seen.add(hostPort);
  }
  const targets = new Set(asked.map(({ port }) => port));
  const defaults = defaultPublished.filter(({ hostPort, port }) => !seen.has(hostPort) && !targets.has(port));
  const value = [...asked, ...defaults];
  if (value.length > publishedPortsMax) {
    return { ok: false, error: `more than ${publishedPortsMax} published ports` };
  }
  return { ok: true, value };
}

/** Names an IngressClass may have (a DNS subdomain). */
export function parseIngressClasses(text: string): Parsed<readonly string[]> {
  const names = text.split(',').map((name) => name.trim());
  const bad = names.find((name) => !/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(name));
  if (bad !== undefined) {
    return { ok: false, error: `"${bad}" is no name of an IngressClass: use a-z, 0-9, '-' and '.'` };
  }
  return { ok: true, value: [...new Set(names)] };
}
