import { type NetworkConfig, networkNetns, nodesOf } from './config.ts';
import { type FamilyRanges, rangesOf } from './ranges.ts';

/** An nftables script for a namespace. */
export type RulesPlan = { readonly netns: string; readonly script: string };

/** Where the relay of Pods' connections to the world listens, at the gateway. */
export const egressPort = 15001;

const table = 'inet fairlead-egress';

/**
 * The way of Pods' TCP connections to the world: their node gives them its own address, by which the answers find back, and the node
 * network's namespace leads them to the relay. What is for the cluster itself is not touched. Running it twice changes
 * nothing. `families`: those in which this machine has a way to the world. Pure.
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
    ranges.map((range) => `oifname "eth0" ${outward(range)} ${word(range)} saddr ${range.pods} masquerade`),
  );
  const network = chain(
    'prerouting',
    'type nat hook prerouting priority dstnat; policy accept;',
    ranges.map((range) => `iifname "br0" ${outward(range)} meta l4proto tcp redirect to :${egressPort}`),
  );
  return [
    { netns: networkNetns(config.name), script: network },
    ...nodesOf(config).map(({ netns }) => ({ netns, script: node })),
  ];
}

function word({ family }: FamilyRanges): string {
  return family === 4 ? 'ip' : 'ip6';
}

function outward(range: FamilyRanges): string {
  return `${word(range)} daddr != { ${range.nodes}, ${range.pods}, ${range.services} }`;
}

function chain(name: string, hook: string, rules: readonly string[]): string {
  return [
    `table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    `  chain ${name} {`,
    `    ${hook}`,
    ...rules.map((rule) => `    ${rule}`),
    '  }',
    '}',
    '',
  ].join('\n');
}
