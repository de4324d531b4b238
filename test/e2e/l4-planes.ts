/** Both data planes as tests drive them: a proxy process in each node of the test network, following what is written here. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Service, ServiceSpec } from '../../src/api/gen/core-v1.ts';
import type { EndpointConditions, EndpointSlice } from '../../src/api/gen/discovery-v1.ts';
import type { Json, KubeObject } from '../../src/api/object.ts';
import {
  addresses,
  addresses6,
  type AgentName,
  createNetwork,
  type Network,
  type NodeName,
  nodeNames,
  podPort,
} from './l4-network.ts';
import type { NodeKind, NodeReply, NodeRequest } from './l4-node.ts';
import { comesTrue } from './l4-proxy.ts';

export type Pod = 'pod-a' | 'pod-b' | 'pod-c';
export const allPods: readonly Pod[] = ['pod-a', 'pod-b', 'pod-c'];
/** So many that each of three endpoints is missed with a chance below 1 in 10^8. */
export const enough = 48;

export type Mode = {
  readonly name: 'nftables' | 'userspace' | 'userspace-here';
  /** How a client fares that no endpoint is for. */
  readonly turnedAway: readonly string[];
};

export const modes: readonly Mode[] = [
  { name: 'nftables', turnedAway: ['ETIMEDOUT'] },
  // Without nftables nothing can be dropped: there is no socket, or one that has taken the connection already.
  { name: 'userspace', turnedAway: ['ECONNREFUSED', 'ECONNRESET'] },
  { name: 'userspace-here', turnedAway: ['ECONNREFUSED', 'ECONNRESET'] },
];

/** The proxy of one node. */
type NodeProcess = {
  tell(request: NodeRequest): void;
  get(path: string): Promise<{ readonly status: number; readonly text: string }>;
  readonly complaints: readonly string[];
  readonly pid: number;
  end(how: 'SIGKILL' | 'stop'): Promise<void>;
};

/** The proxies of all nodes, and the API server's objects. */
export type Plane = {
  readonly network: Network;
  put(kind: NodeKind, object: KubeObject): void;
  update(kind: NodeKind, key: string, patch: Json): void;
  remove(kind: NodeKind, key: string): void;
  /** Until every proxy has applied what was written so far. */
  settled(): Promise<void>;
  /** Asks the health port of a node's proxy. */
  get(node: NodeName, path: string): Promise<{ readonly status: number; readonly text: string }>;
  /** Ends a node's proxy and starts another one, with the same objects. */
  restart(node: NodeName, how: 'SIGKILL' | 'stop', between?: () => Promise<void>): Promise<void>;
  /** Kills the process that a node's proxy has started. */
  killChild(node: NodeName): Promise<void>;
  complaints(): readonly string[];
  close(): Promise<void>;
};

export async function startNode(
  network: Network,
  node: NodeName,
  mode: string,
  wrapper: readonly string[] = [],
): Promise<NodeProcess & { start(): Promise<void> }> {
  const script = fileURLToPath(new URL('l4-node.ts', import.meta.url));
  const program = [process.execPath, '--disable-warning=ExperimentalWarning', script, node, mode];
  const args = ['netns', 'exec', network.namespace(node), ...wrapper, ...program];
  const child: ChildProcessWithoutNullStreams = spawn('ip', args, { stdio: 'pipe' });
  const complaints: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => complaints.push(`${node}: ${line}`));
  const waiting = new Map<number, (reply: NodeReply) => void>();
  const ready = Promise.withResolvers<void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const reply = JSON.parse(line) as NodeReply | { readonly ready: true };
    if ('ready' in reply) ready.resolve();
    else waiting.get(reply.id)?.(reply);
  });
  child.once('close', () => ready.reject(new Error(`the proxy ended: ${complaints.join('\n')}`)));
  ready.promise.catch(() => {}); // told by whoever waits for it
  child.stdin.on('error', () => {}); // it was killed, as a test wanted
  let lastId = 0;
  const tell = (request: NodeRequest): void => void child.stdin.write(`${JSON.stringify(request)}\n`);
  return {
    tell,
    complaints,
    pid: child.pid ?? 0,
    get: (path) =>
      new Promise((resolve) => {
        const id = ++lastId;
        waiting.set(id, resolve);
        tell({ op: 'get', id, path });
      }),
    start() {
      tell({ op: 'start' });
      return ready.promise;
    },
    async end(how) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'close');
      if (how === 'SIGKILL') child.kill('SIGKILL');
      else child.stdin.end();
      await ended;
    },
  };
}

export async function startPlane(mode: Mode['name']): Promise<Plane> {
  const network = await createNetwork();
  const history: NodeRequest[] = [];
  const proxies = new Map<NodeName, NodeProcess>();
  const past: string[] = [];
  const start = async (node: NodeName): Promise<void> => {
    const proxy = await startNode(network, node, mode);
    proxies.set(node, proxy);
    for (const request of history) proxy.tell(request);
    await proxy.start();
  };
  const tell = (request: NodeRequest): void => {
    history.push(request);
    for (const proxy of proxies.values()) proxy.tell(request);
  };
  const put = (kind: NodeKind, object: KubeObject): void => tell({ op: 'put', kind, object });
  let markers = 0;
  const plane: Plane = {
    network,
    put,
    update: (kind, key, patch) => tell({ op: 'update', kind, key, patch }),
    remove: (kind, key) => tell({ op: 'remove', kind, key }),
    async settled() {
      // Changes are applied in the order of their coming, so that the last one tells for all; each family has a table of its own.
      const name = `marker-${++markers}`;
      const clusterIPs = [`10.43.${100 + (markers >> 8)}.${markers & 255}`, `fd43::${8000 + markers}`];
      for (const family of ['IPv4', 'IPv6'] as const) put('endpointslices', sliceOf(name, family, ['pod-a']));
      put('services', serviceOf(name, { clusterIPs, nodePort: 0 }));
      for (const [node, proxy] of proxies) {
        const known = async () => {
          const { text } = await proxy.get('/debug/ruleset');
          return clusterIPs.every((address) => text.includes(` ${address} `));
        };
        await comesTrue(known, `${node} has applied ${name}`);
      }
      tell({ op: 'remove', kind: 'services', key: `default/${name}` });
    },
    get: (node, path) => proxyOf(proxies, node).get(path),
    async restart(node, how, between) {
      const proxy = proxyOf(proxies, node);
      await proxy.end(how);
      past.push(...proxy.complaints);
      await between?.();
      await start(node);
    },
    async killChild(node) {
      const { pid } = proxyOf(proxies, node);
      const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
      process.kill(Number.parseInt(children, 10), 'SIGKILL');
    },
    complaints: () => [...past, ...proxies.values().flatMap(({ complaints }) => complaints)],
    async close() {
      for (const proxy of proxies.values()) await proxy.end('stop');
      await network.close();
    },
  };
  try {
    await Promise.all(nodeNames.map(start));
    await wireIsReady(network);
  } catch (error) {
    await plane.close();
    throw error;
  }
  return plane;
}

function proxyOf(proxies: ReadonlyMap<NodeName, NodeProcess>, node: NodeName): NodeProcess {
  const proxy = proxies.get(node);
  if (proxy === undefined) throw new Error(`no proxy on ${node}`);
  return proxy;
}

/** A new wire may lose the first neighbour solicitation, and the next comes only after a second: not the proxy's fault. */
async function wireIsReady(network: Network): Promise<void> {
  for (const from of [...allPods, ...nodeNames] as const) {
    for (const pod of allPods) {
      const reaches = async () => (await network.agents[from].tcp(addresses6[pod], podPort)).startsWith(pod);
      await comesTrue(reaches, `${from} reaches ${pod} without a Service`);
    }
  }
}

export type EndpointOf = {
  readonly pod: Pod;
  readonly conditions?: EndpointConditions;
  readonly hints?: object;
};

/** A slice of these Pods, each on its node, with the ports tcp and udp. */
export function sliceOf(
  service: string,
  family: 'IPv4' | 'IPv6',
  pods: readonly (Pod | EndpointOf)[],
): EndpointSlice {
  return {
    addressType: family,
    metadata: {
      name: `${service}-${family.toLowerCase()}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': service },
    },
    ports: ['tcp', 'udp'].map((port) => ({ name: port, port: podPort, protocol: port.toUpperCase() })),
    endpoints: endpointsOf(pods, family),
  };
}

export function endpointsOf(pods: readonly (Pod | EndpointOf)[], family: 'IPv4' | 'IPv6') {
  const all = family === 'IPv4' ? addresses : addresses6;
  return pods.map((entry) => {
    const { pod, ...rest } = typeof entry === 'string' ? { pod: entry } : entry;
    return { addresses: [all[pod]], nodeName: pod === 'pod-c' ? 'node-1' : 'node-0', ...rest };
  });
}

type ServiceOptions = Partial<ServiceSpec> & {
  readonly clusterIPs: readonly string[];
  /** 0: none. */
  readonly nodePort: number;
};

function serviceOf(name: string, { clusterIPs, nodePort, ...spec }: ServiceOptions): Service {
  const ports = (['TCP', 'UDP'] as const).map((protocol) => ({
    name: protocol.toLowerCase(),
    protocol,
    port: 80,
    ...(nodePort === 0 ? {} : { nodePort }),
  }));
  return {
    metadata: { name, namespace: 'default' },
    spec: { clusterIP: clusterIPs[0] ?? '', clusterIPs, ipFamilies: ['IPv4', 'IPv6'], ports, ...spec },
  };
}

export type Served = {
  readonly key: string;
  readonly v4: string;
  readonly v6: string;
  readonly nodePort: number;
  /** Replaces the endpoints of both families. */
  setPods(pods: readonly (Pod | EndpointOf)[]): Promise<void>;
  remove(): Promise<void>;
};

/** Services for tests: each of a name, addresses and a node port of its own. */
export function createServing(plane: () => Plane) {
  let last = 0;
  const families = ['IPv4', 'IPv6'] as const;
  return async (
    pods: readonly (Pod | EndpointOf)[],
    spec: Partial<ServiceSpec> = {},
    status?: Service['status'],
  ): Promise<Served> => {
    const number = ++last;
    const name = `web-${number}`;
    const key = `default/${name}`;
    const [v4, v6] = [`10.43.3.${number}`, `fd43::${number}`] as const;
    const allocates = spec.type !== undefined && spec.allocateLoadBalancerNodePorts !== false;
    const nodePort = allocates ? 31_100 + number : 0;
    for (const family of families) plane().put('endpointslices', sliceOf(name, family, pods));
    const { clusterIPs = [v4, v6], ...rest } = spec;
    const service = serviceOf(name, { nodePort, ...rest, clusterIPs });
    plane().put('services', status === undefined ? service : { ...service, status });
    await plane().settled();
    return {
      key,
      v4,
      v6,
      nodePort,
      async setPods(next) {
        for (const family of families) {
          const endpoints = structuredClone(endpointsOf(next, family)) as unknown as Json;
          plane().update('endpointslices', `${key}-${family.toLowerCase()}`, { endpoints });
        }
        await plane().settled();
      },
      async remove() {
        plane().remove('services', key);
        for (const family of families) plane().remove('endpointslices', `${key}-${family.toLowerCase()}`);
        await plane().settled();
      },
    };
  };
}

/** The names of those who answer, with enough connections to meet all. */
export async function podsAt(
  network: Network,
  from: AgentName,
  host: string,
  port: number,
  protocol: 'tcp' | 'udp' = 'tcp',
): Promise<readonly string[]> {
  const pods = new Set<string>();
  for (let count = 0; count < enough; count++) {
    const [pod = ''] = (await network.agents[from][protocol](host, port)).split(' ');
    pods.add(pod);
    if (pod === 'ETIMEDOUT') break; // no need to wait for as many of these
  }
  return [...pods].toSorted((a, b) => (a < b ? -1 : 1));
}
