import { type NetworkConfig, networkNetns, nodesOf } from './config.ts';
import { type FamilyRanges, rangesOf } from './ranges.ts';

/** An nftables script for a namespace. */
export type RulesPlan = { readonly netns: string; readonly script: string };

/** Where the relay of Pods' connections to the world listens, at the gateway. */
export const egressPort = 15001;

/** Flows without connection (UDP, ping) that a Pod may have with the world; packets of more are refused. The kernel counts them. */
export const flowsPerPodMax = 256;

/** The interface of the node network that leads datagrams to the relay. */
export const egressDevice = 'world';

const table = 'inet fairlead-egress';
const flowsTable = 'inet fairlead-egress-flows';

/**
 * The way of Pods to the world: their node gives their packets its own address, by which the answers find back, and the node
 * network's namespace leads TCP connections to the relay's socket (`planEgressRoutes`: the rest). What is for the cluster itself is
 * not touched. Running it twice changes nothing. `families`: those in which this machine has a way to the world. Pure.
 */
export function planEgressRules(
  config: NetworkConfig,
  families: readonly FamilyRanges['family'][],
): readonly RulesPlan[] {
  const ranges = rangesOf(config).filter(({ family }) => families.includes(family));
  if (ranges.length === 0) return [];
  const node = chain(
    'postrouting',
    'type nat hook postrouting priority srcnat; policy accept;',
    ranges.map((range) => `${fromPods(range)} masquerade`),
  );
  const network = chain(
    'prerouting',
    'type nat hook prerouting priority dstnat; policy accept;',
    ranges.map((range) => `iifname "br0" ${outward(range)} meta l4proto tcp redirect to :${egressPort}`),
  );
  return [
    { netns: networkNetns(config.name), script: script(table, network) },
    ...nodesOf(config).map(({ netns }) => ({ netns, script: script(table, node) })),
  ];
}

/**
 * The bound of a Pod's flows without connection, on each node: behind it all Pods have the node's address. By itself, since not
 * every kernel can count so. Pure.
 */
export function planFlowLimits(
  config: NetworkConfig,
  families: readonly FamilyRanges['family'][],
): readonly RulesPlan[] {
  const ranges = rangesOf(config).filter(({ family }) => families.includes(family));
  const content = [
    ...ranges.flatMap(({ family }) => [
      `set flows${family} {`,
      `  type ipv${family}_addr; flags dynamic; size 4096;`,
      '}',
    ]),
    ...chain(
      'forward',
      'type filter hook forward priority filter; policy accept;',
      ranges.map((range) => {
        const count = `add @flows${range.family} { ${word(range)} saddr ct count over ${flowsPerPodMax} }`;
        return `${fromPods(range)} meta l4proto { udp, icmp, ipv6-icmp } ct state new ${count} reject with icmpx type admin-prohibited`;
      }),
    ),
  ];
  return nodesOf(config).map(({ netns }) => ({ netns, script: script(flowsTable, content) }));
}

/**
 * Commands of `ip` in the node network, once the device is there: what is for the world and no TCP goes to it. The routes go with the
 * device, and the one that refuses everything is left. Pure.
 */
export function planEgressRoutes(families: readonly FamilyRanges['family'][]): readonly string[] {
  return [
    // A packet that came in pieces is whole again by then.
    `link set ${egressDevice} mtu 65535 up`,
    ...families.map(
      (family) => `route replace ${family === 4 ? 'default' : '::/0'} dev ${egressDevice} metric 1`,
    ),
  ];
}

function word({ family }: FamilyRanges): string {
  return family === 4 ? 'ip' : 'ip6';
}

function outward(range: FamilyRanges): string {
  return `${word(range)} daddr != { ${range.nodes}, ${range.pods}, ${range.services} }`;
}

function fromPods(range: FamilyRanges): string {
  return `oifname "eth0" ${outward(range)} ${word(range)} saddr ${range.pods}`;
}

function chain(name: string, hook: string, rules: readonly string[]): readonly string[] {
  return [`chain ${name} {`, `  ${hook}`, ...rules.map((rule) => `  ${rule}`), '}'];
}

/** Replaces the table, whatever there was. */
function script(name: string, content: readonly string[]): string {
  return [
    `table ${name}`,
    `delete table ${name}`,
    `table ${name} {`,
    ...content.map((line) => `  ${line}`),
    '}',
    '',
  ].join('\n');
}
