import { type ClusterConfig, gatewayAddress, networkNetns, nodesOf } from './config.ts';

/** What is there already: namespace → its interfaces. */
export type ObservedNetns = ReadonlyMap<string, ReadonlySet<string>>;

/** Lines for one `ip -batch`, run in a namespace (undefined: the host's). */
export type IpBatch = { readonly netns: string | undefined; readonly lines: readonly string[] };

/** `sysctl -w`, run in a namespace. */
export type Sysctl = { readonly netns: string; readonly key: string; readonly value: string };

/** Stages run one after the other; the batches of a stage concurrently. */
export type NetworkPlan = {
  readonly stages: readonly (readonly IpBatch[])[];
  readonly sysctls: readonly Sysctl[];
};

/**
 * The commands which turn what is there into the cluster's node network: a namespace with the bridge, a namespace a node
 * with `eth0` on that bridge. Existing parts are kept, since Pods may live in them; running the plan twice changes nothing.
 */
export function planNetwork(
  config: Pick<ClusterConfig, 'name' | 'agents'>,
  observed: ObservedNetns,
): NetworkPlan {
  const network = networkNetns(config.name);
  const nodes = nodesOf(config);
  const missing = [network, ...nodes.map(({ netns }) => netns)].filter((netns) => !observed.has(netns));
  const bridge = [
    ...(observed.get(network)?.has('br0') === true ? [] : ['link add br0 type bridge']),
    `address replace ${gatewayAddress}/16 dev br0`,
    'link set lo up',
    'link set br0 up',
    // No way out of the machine: a packet to the world is refused at once instead of being lost.
    'route replace unreachable default',
    ...nodes.flatMap(({ name, netns }, index) => {
      const port = `node${index}`;
      const exists = observed.get(netns)?.has('eth0') === true && observed.get(network)?.has(port) === true;
      return [
        ...(exists ? [] : [`link add ${port} alias ${name} type veth peer name eth0 netns ${netns}`]),
        `link set ${port} master br0 up`,
      ];
    }),
  ];
  const inNodes = nodes.map(({ netns, address }) => ({
    netns,
    lines: [
      'link set lo up',
      `address replace ${address}/16 dev eth0`,
      'link set eth0 up',
      `route replace default via ${gatewayAddress}`,
    ],
  }));
  const stages = [
    ...(missing.length === 0
      ? []
      : [[{ netns: undefined, lines: missing.map((netns) => `netns add ${netns}`) }]]),
    [{ netns: network, lines: bridge }],
    inNodes,
  ];
  return { stages, sysctls: [network, ...nodes.map(({ netns }) => netns)].flatMap(sysctlsOf) };
}

function sysctlsOf(netns: string): readonly Sysctl[] {
  const set = (key: string, value: string): Sysctl => ({ netns, key, value });
  return [
    set('net.ipv4.ip_forward', '1'),
    // Answers of a Pod leave by another interface than the request came in by; the strict filter would drop them.
    set('net.ipv4.conf.all.rp_filter', '0'),
    set('net.ipv4.conf.default.rp_filter', '0'),
    // DNS and the ingress run without privileges for low ports one day; Pods of this network may bind any.
    set('net.ipv4.ip_unprivileged_port_start', '0'),
  ];
}

/** True for a namespace which belongs to the cluster. */
export function isClusterNetns(clusterName: string, netns: string): boolean {
  const rest = netns.startsWith(`fairlead-${clusterName}-`)
    ? netns.slice(`fairlead-${clusterName}-`.length)
    : undefined;
  return rest !== undefined && /^(net|server-\d+|agent-\d+)$/.test(rest);
}
