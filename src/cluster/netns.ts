import { type NetworkConfig, networkNetns, nodesOf } from './config.ts';
import { type FamilyRanges, rangesOf } from './ranges.ts';

/** What is there already: namespace → its interfaces. */
export type ObservedNetns = ReadonlyMap<string, ReadonlySet<string>>;

/** Lines for one `ip -batch`, run in a namespace (undefined: the host's). */
export type IpBatch = { readonly netns: string | undefined; readonly lines: readonly string[] };

/** `sysctl -w`, run in a namespace. */
export type Sysctl = { readonly netns: string; readonly key: string; readonly value: string };

/** `namespaces` first, then the settings, then the stages one after the other; the batches of a stage concurrently. */
export type NetworkPlan = {
  /** Undefined: all are there. */
  readonly namespaces: IpBatch | undefined;
  /** Before interfaces are made, since these take over some of them as they are then. */
  readonly sysctls: readonly Sysctl[];
  readonly stages: readonly (readonly IpBatch[])[];
};

/**
 * The commands which turn what is there into the cluster's node network: a namespace with the bridge, a namespace a node
 * with `eth0` on that bridge. Existing parts are kept, since Pods may live in them; running the plan twice changes nothing.
 */
export function planNetwork(config: NetworkConfig, observed: ObservedNetns): NetworkPlan {
  const network = networkNetns(config.name);
  const nodes = nodesOf(config);
  const ranges = rangesOf(config);
  const all = [network, ...nodes.map(({ netns }) => netns)];
  const missing = all.filter((netns) => !observed.has(netns));
  const bridge = [
    ...(observed.get(network)?.has('br0') === true ? [] : ['link add br0 type bridge']),
    ...ranges.map(({ gateway, nodes: range }) => `address replace ${within(range, gateway)} dev br0`),
    'link set lo up',
    'link set br0 up',
    // Where there is no other way out (egress-rules.ts), a packet to the world is refused at once instead of being lost.
    ...ranges.map(
      ({ family }) => `route replace unreachable ${family === 4 ? 'default' : '::/0'} metric 4096`,
    ),
    ...nodes.flatMap(({ name, netns }, index) => {
      const port = `node${index}`;
      const exists = observed.get(netns)?.has('eth0') === true && observed.get(network)?.has(port) === true;
      return [
        ...(exists ? [] : [`link add ${port} alias ${name} type veth peer name eth0 netns ${netns}`]),
        `link set ${port} master br0 up`,
      ];
    }),
  ];
  const inNodes = nodes.map(({ netns, addresses }) => ({
    netns,
    lines: [
      'link set lo up',
      ...ranges.map(({ nodes: range }, i) => `address replace ${within(range, addresses[i] ?? '')} dev eth0`),
      'link set eth0 up',
      ...ranges.map(({ gateway }) => `route replace default via ${gateway}`),
    ],
  }));
  return {
    namespaces:
      missing.length === 0
        ? undefined
        : { netns: undefined, lines: missing.map((netns) => `netns add ${netns}`) },
    sysctls: all.flatMap((netns) => sysctlsOf(netns, ranges)),
    stages: [[{ netns: network, lines: bridge }], inNodes],
  };
}

/** The address with the length of its range: "10.41.0.1/16". */
function within(range: string, address: string): string {
  return `${address}/${range.split('/')[1] ?? ''}`;
}

function sysctlsOf(netns: string, ranges: readonly FamilyRanges[]): readonly Sysctl[] {
  const set = (key: string, value: string): Sysctl => ({ netns, key, value });
  const ipv6 = [
    set('net.ipv6.conf.all.forwarding', '1'),
    // No address is given out twice. While a link-local one is looked for by duplicate address detection, nobody behind the
    // interface can be asked for: the first packets of a new Pod or node would wait for seconds.
    set('net.ipv6.conf.default.accept_dad', '0'),
    // An interface that goes down keeps its addresses, as it does those of IPv4.
    set('net.ipv6.conf.all.keep_addr_on_down', '1'),
  ];
  return [
    set('net.ipv4.ip_forward', '1'),
    // Answers of a Pod leave by another interface than the request came in by; the strict filter would drop them.
    set('net.ipv4.conf.all.rp_filter', '0'),
    set('net.ipv4.conf.default.rp_filter', '0'),
    // DNS and the ingress run without privileges for low ports one day; Pods of this network may bind any.
    set('net.ipv4.ip_unprivileged_port_start', '0'),
    ...(ranges.some(({ family }) => family === 6) ? ipv6 : []),
  ];
}

/** True for a namespace which belongs to the cluster. */
export function isClusterNetns(clusterName: string, netns: string): boolean {
  const rest = netns.startsWith(`fairlead-${clusterName}-`)
    ? netns.slice(`fairlead-${clusterName}-`.length)
    : undefined;
  return rest !== undefined && /^(net|server-\d+|agent-\d+)$/.test(rest);
}
