import type { IpFamily } from '../base/ip.ts';
import type { RulesetChange } from './diff.ts';
import {
  type BalancingChain,
  type ClientElement,
  elementsOf,
  type RuleElement,
  type Ruleset,
  type Space,
  spaces,
  tableName,
  type Transport,
  transports,
} from './ruleset.ts';

/** Clients with session affinity that are remembered per space. At the bound new ones are balanced without memory. */
export const affinityClientsMax = 65_536;

/** nft takes a list of any length, but a line that a reader can scroll is worth more. */
const elementsPerCommandMax = 1000;

/** The words in which the two families differ. */
type Words = {
  readonly table: 'ip' | 'ip6';
  readonly addressType: string;
  readonly loopback: string;
  readonly unreachable: string;
  /** Concatenations that look up a destination. */
  readonly vip: string;
  readonly nodePort: string;
};

function wordsOf(family: IpFamily): Words {
  const table = family === 4 ? 'ip' : 'ip6';
  return {
    table,
    addressType: family === 4 ? 'ipv4_addr' : 'ipv6_addr',
    loopback: family === 4 ? '127.0.0.0/8' : '::1',
    unreachable: family === 4 ? 'icmp port-unreachable' : 'icmpv6 port-unreachable',
    vip: `${table} daddr . meta l4proto . th dport`,
    nodePort: 'meta l4proto . th dport',
  };
}

export function tableFamily(family: IpFamily): 'ip' | 'ip6' {
  return wordsOf(family).table;
}

function keyOf(words: Words, space: Space): string {
  return space === 'vips' || space === 'external_vips' ? words.vip : words.nodePort;
}

/** What session affinity remembers a client by, and the map of that. */
function clientKeyOf(words: Words, space: Space): { readonly key: string; readonly mapType: string } {
  const key = `${keyOf(words, space)} . ${words.table} saddr`;
  if (words.table === 'ip') return { key, mapType: `typeof ${key} : meta mark` };
  // An assertion of nft 1.0.6 fails on keys of more than 16 bytes in `update`, so here it is a hash of the same. Two clients whose
  // hashes are equal share an endpoint, or forget theirs by turns if it is of two Services: of 1,000 clients 1 pair in 10,000.
  return { key: `jhash ${key} mod 4294967295 seed 0x5eed`, mapType: 'type mark : mark' };
}

/** The same in a map that has one protocol only. */
function targetKeyOf(words: Words, space: Space, transport: Transport): string {
  const port = `${transport} dport`;
  return space === 'vips' || space === 'external_vips' ? `${words.table} daddr . ${port}` : port;
}

/**
 * Replaces the whole table, whatever was there, in one transaction: packets see the old table or the new one.
 * `clients` are put back into the new table with the time that they had left.
 */
export function renderFull(ruleset: Ruleset, clients: readonly ClientElement[] = []): string {
  const words = wordsOf(ruleset.family);
  const table = `${words.table} ${tableName}`;
  const chains = [...ruleset.chains.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return [
    `add table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    ...spaces.flatMap((space) => spaceMaps(words, space)),
    ...plainSets(words),
    ...chains.flatMap((chain) => balancingChainBlock(words, chain)),
    ...lookupChains(words),
    ...guardChains(words),
    ...sourceChains(words),
    '}',
    ...elementCommands('add', words, elementsOf(ruleset).values()),
    ...clientCommands(words, clients),
    '',
  ].join('\n');
}

/** The same table as stable text: equal rulesets give equal text whatever order they were built in. */
export function renderCanonical(ruleset: Ruleset): string {
  const elements = [...elementsOf(ruleset).values()].map((element) =>
    element.value === ''
      ? `${element.set} ${element.key}`
      : `${element.set} ${element.key} : ${element.value}`,
  );
  const chains = [...ruleset.chains.keys()].map((name) => `chain ${name}`);
  return [...chains.toSorted(), ...elements.toSorted(), ''].join('\n');
}

/** '' when there is nothing to do. */
export function renderChange(change: RulesetChange): string {
  const words = wordsOf(change.family);
  const lines = [
    ...change.chainsToAdd.flatMap((chain) => [
      `table ${words.table} ${tableName} {`,
      ...balancingChainBlock(words, chain),
      '}',
    ]),
    ...elementCommands('delete', words, change.elementsToDelete),
    ...elementCommands('add', words, change.elementsToAdd),
    ...change.chainsToDelete.map((chain) => `delete chain ${words.table} ${tableName} ${chain.name}`),
  ];
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Removes the table and all that is in it; no error when there is none. */
export function renderRemoval(family: IpFamily): string {
  const table = `${wordsOf(family).table} ${tableName}`;
  return `add table ${table}\ndelete table ${table}\n`;
}

/**
 * Endpoint maps are one per protocol and typed with that protocol's `dport`. With `th dport` instead nft 1.0.6 takes a rule in
 * the transaction that makes the map and refuses it in every later one; with `tcp dport` for all it adds a hidden match on TCP.
 */
function spaceMaps(words: Words, space: Space): readonly string[] {
  const key = keyOf(words, space);
  return [
    `  map ${space} { typeof ${key} : verdict; }`,
    `  map ${space}_choices { typeof ${key} . numgen random mod 65536 : meta mark; }`,
    `  map ${space}_clients { ${clientKeyOf(words, space).mapType}; flags dynamic,timeout; size ${affinityClientsMax}; }`,
    ...transports.flatMap((transport) => {
      const own = targetKeyOf(words, space, transport);
      const target = `${words.table} daddr . ${transport} dport`;
      return [
        `  map ${space}_${transport}_endpoints { typeof ${own} . numgen random mod 65536 : ${target}; }`,
        `  map ${space}_${transport}_affine { typeof ${own} . meta mark : ${target}; }`,
      ];
    }),
  ];
}

function plainSets(words: Words): readonly string[] {
  const ranges = (name: string): string => `  set ${name} { type ${words.addressType}; flags interval; }`;
  return [
    `  set refused_vips { typeof ${words.vip}; }`,
    `  set refused_node_ports { typeof ${words.nodePort}; }`,
    `  set restricted_vips { typeof ${words.vip}; }`,
    `  set allowed_sources { typeof ${words.vip} . ${words.table} saddr; flags interval; }`,
    `  set hairpins { typeof ${words.table} saddr . ${words.table} daddr; }`,
    `  set local_endpoints { type ${words.addressType}; }`,
    ranges('cluster_sources'),
    ranges('cluster_ranges'),
    ranges('node_pods'),
    ranges('service_ranges'),
  ];
}

/**
 * With affinity: draw an endpoint, remember it for this client unless the client has one already, take the remembered one.
 * If that has left meanwhile, forget it and draw again.
 * Without affinity: draw. The last rule is for a packet between whose two lookups the number of endpoints fell.
 */
function balancingChainBlock(words: Words, chain: BalancingChain): readonly string[] {
  const { space, transport, size, affinityTimeoutSeconds: timeout } = chain;
  const key = keyOf(words, space);
  const client = clientKeyOf(words, space).key;
  const dnat = `dnat ${words.table} to ${targetKeyOf(words, space, transport)}`;
  const maps = `${space}_${transport}`;
  const choose = [
    `    meta mark set ${key} . numgen random mod ${size} map @${space}_choices`,
    `    update @${space}_clients { ${client} timeout ${timeout}s : meta mark }`,
  ];
  const recall =
    words.table === 'ip'
      ? [`    meta mark set ${client} map @${space}_clients`]
      : [`    meta mark set ${client}`, `    meta mark set meta mark map @${space}_clients`];
  const remembered = [
    ...choose,
    ...recall,
    `    ${dnat} . meta mark map @${maps}_affine`,
    `    delete @${space}_clients { ${client} : meta mark }`,
    ...choose,
    `    ${dnat} . meta mark map @${maps}_affine`,
  ];
  return [
    `  chain ${chain.name} {`,
    ...(timeout === undefined ? [] : remembered),
    `    ${dnat} . numgen random mod ${size} map @${maps}_endpoints`,
    `    ${dnat} . numgen random mod 1 map @${maps}_endpoints`,
    '  }',
  ];
}

function lookupChains(words: Words): readonly string[] {
  const lookup = (vips: Space, nodePorts: Space): readonly string[] => [
    `    ${words.vip} vmap @${vips}`,
    `    fib daddr type local ${words.nodePort} vmap @${nodePorts}`,
  ];
  return [
    '  chain external {',
    ...lookup('external_vips', 'external_node_ports'),
    '  }',
    '  chain services {',
    ...lookup('vips', 'node_ports'),
    '  }',
    '  chain prerouting {',
    '    type nat hook prerouting priority dstnat; policy accept;',
    `    ${words.table} saddr != @cluster_sources jump external`,
    '    jump services',
    '  }',
    '  chain output {',
    '    type nat hook output priority -100; policy accept;',
    '    jump services',
    '  }',
  ];
}

/** Before the address is rewritten: who is refused. After it: what still goes to a Service range has no rule. */
function guardChains(words: Words): readonly string[] {
  return [
    '  chain refuse {',
    '    meta l4proto tcp reject with tcp reset',
    `    reject with ${words.unreachable}`,
    '  }',
    '  chain guard {',
    `    ${words.vip} @restricted_vips ${words.vip} . ${words.table} saddr != @allowed_sources drop`,
    `    ${words.vip} @refused_vips goto refuse`,
    `    fib daddr type local ${words.nodePort} @refused_node_ports goto refuse`,
    '  }',
    '  chain guard_prerouting {',
    '    type filter hook prerouting priority -110; policy accept;',
    // route_localnet opens 127.0.0.0/8 to the wire; this closes it again.
    `    iifname != "lo" ${words.table} daddr ${words.loopback} ct state new drop`,
    '    ct state new jump guard',
    '  }',
    '  chain guard_output {',
    '    type filter hook output priority -110; policy accept;',
    '    ct state new jump guard',
    '  }',
    '  chain stray_forward {',
    '    type filter hook forward priority filter; policy accept;',
    // An answer that conntrack takes for no flow's would reach the client with the endpoint's address and be reset.
    '    ct state invalid drop',
    `    ${words.table} daddr @service_ranges goto refuse`,
    '  }',
    '  chain stray_output {',
    '    type filter hook output priority filter; policy accept;',
    `    ${words.table} daddr @service_ranges goto refuse`,
    '  }',
  ];
}

/** The source is rewritten only where the answer would not come back through this node by itself. */
function sourceChains(words: Words): readonly string[] {
  const { table } = words;
  return [
    '  chain service_source {',
    `    ${table} saddr ${words.loopback} oifname != "lo" masquerade`,
    '    fib saddr type local return',
    `    ${table} saddr . ${table} daddr @hairpins masquerade`,
    `    ${table} daddr @local_endpoints return`,
    `    ${table} daddr @node_pods return`,
    `    ${table} saddr @node_pods return`,
    // A Pod's packet to a ClusterIP meets the rules on the Pod's own node, also where Pods have no range per node.
    `    ${table} saddr @cluster_sources ct original ${table} daddr @service_ranges return`,
    '    masquerade',
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat; policy accept;',
    '    ct status dnat jump service_source',
    `    ${table} saddr @node_pods ${table} daddr != @cluster_ranges masquerade`,
    '  }',
  ];
}

function elementCommands(
  verb: 'add' | 'delete',
  words: Words,
  elements: Iterable<RuleElement>,
): readonly string[] {
  const entries = Iterator.from(elements).map(
    ({ set, key, value }) => [set, value === '' ? key : `${key} : ${value}`] as const,
  );
  return commandsBySet(verb, words, entries);
}

function clientCommands(words: Words, clients: readonly ClientElement[]): readonly string[] {
  const entries = clients.map((client) => {
    const times = `timeout ${client.timeoutSeconds}s expires ${client.expiresSeconds}s`;
    return [client.map, `${client.key} ${times} : ${client.value}`] as const;
  });
  return commandsBySet('add', words, entries);
}

function commandsBySet(
  verb: 'add' | 'delete',
  words: Words,
  entries: Iterable<readonly [set: string, element: string]>,
): readonly string[] {
  const bySet = new Map<string, string[]>();
  for (const [set, element] of entries) {
    const known = bySet.get(set);
    if (known === undefined) bySet.set(set, [element]);
    else known.push(element);
  }
  const commands: string[] = [];
  for (const [set, list] of bySet) {
    for (let start = 0; start < list.length; start += elementsPerCommandMax) {
      const part = list.slice(start, start + elementsPerCommandMax).join(', ');
      commands.push(`${verb} element ${words.table} ${tableName} ${set} { ${part} }`);
    }
  }
  return commands;
}
