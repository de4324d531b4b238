import type { ObjectKey } from '../api/object.ts';
import { cidrCovers, type Cidr, formatCidr, type IpFamily, parseCidr } from '../base/ip.ts';
import { PersistentMap } from '../base/persistent-map.ts';
import type { ServiceEndpoint } from '../model/endpoints.ts';
import type { ServicePortFacts } from '../model/service-port.ts';
import type { NodeView, ServicePortView, ServiceView } from '../model/view.ts';
import {
  type Denial,
  denialsOf,
  frontKey,
  sharedAddresses,
  textFamily,
  transportOf,
  updateClaims,
} from './claims.ts';
import {
  type BalancingChain,
  balancingChain,
  chainBlock,
  chainBlockName,
  emptyRuleset,
  type Fragment,
  frontWithoutTransport,
  type RuleElement,
  type Ruleset,
  type RulesetProblem,
  type Space,
  type UdpFront,
} from './ruleset.ts';

/** Facts of the cluster that no object tells. */
export type CompileOptions = {
  /** Ranges of all Pods. */
  readonly clusterCidrs: readonly string[];
  /** Ranges of all ClusterIPs; addresses in it without a rule are refused. Empty: nothing is refused for that reason. */
  readonly serviceCidrs: readonly string[];
  /** Addresses of all nodes: Pods reach them under their own address. */
  readonly clusterNodeAddresses: readonly string[];
};

/** The index in an endpoint map is 16 bits wide. More endpoints of one port than this are left out. */
export const endpointsPerPortMax = 65_535;

/**
 * NodeView → table. Equal inputs give equal rulesets. `previous` (of the same family and node) only saves work, which then grows
 * with what changed since: Services whose view is the same object are passed by.
 */
export function compileRuleset(
  view: NodeView,
  family: IpFamily,
  options: CompileOptions,
  previous: Ruleset = emptyRuleset(family),
): Ruleset {
  const changes = PersistentMap.changes(previous.services, view.services);
  const { claims, contested } = updateClaims(previous.claims, changes, family);
  const fragments: FragmentChange[] = [];
  const problems: (readonly [ObjectKey, readonly RulesetProblem[] | undefined])[] = [];
  for (const key of new Set([...changes.map((change) => change.key), ...contested])) {
    const service = view.services.get(key);
    const denials = service === undefined ? [] : denialsOf(service, claims, family);
    const denied = denials.map(({ front }) => `|${front}|`).join('');
    problems.push([key, denials.length === 0 ? undefined : denials.map((denial) => problemOf(key, denial))]);
    const old = previous.fragments.get(key);
    if (old !== undefined && old.view === service && old.denied === denied) continue;
    const now = service === undefined ? undefined : compileService(service, family, view.node.name, denied);
    fragments.push({ key, old, now });
  }
  const chains = countUses(previous.chainUses, fragments, (fragment) => fragment.chains.map(chainBlockName));
  const locals = countUses(previous.localUses, fragments, (fragment) => fragment.locals);
  const commonInput = [view.node, options, locals.changed ? locals.uses : previous.commonInput[2]];
  const sameCommon = commonInput.every((part, index) => part === previous.commonInput[index]);
  return {
    family,
    services: view.services,
    fragments: previous.fragments.with(fragments.map(({ key, now }) => [key, now])),
    common: sameCommon ? previous.common : commonElements(view, family, options, locals.uses.keys()),
    commonInput,
    chains: chains.changed ? chainsInUse(previous.chains, fragments, chains.uses) : previous.chains,
    chainUses: chains.uses,
    localUses: locals.uses,
    claims,
    udpFronts: previous.udpFronts.with(udpFrontChanges(fragments)),
    problems: previous.problems.with(problems),
  };
}

type FragmentChange = {
  readonly key: ObjectKey;
  readonly old: Fragment | undefined;
  readonly now: Fragment | undefined;
};

function problemOf(service: ObjectKey, { front, holder }: Denial): RulesetProblem {
  return { service, reason: 'AddressTaken', message: `${front} already belongs to ${holder}` };
}

/** `changed`: a name came or went, not only its count. */
function countUses(
  old: ReadonlyMap<string, number>,
  changes: readonly FragmentChange[],
  namesOf: (fragment: Fragment) => readonly string[],
): { readonly uses: ReadonlyMap<string, number>; readonly changed: boolean } {
  const uses = new Map(old);
  for (const change of changes) {
    for (const name of change.old === undefined ? [] : namesOf(change.old)) {
      uses.set(name, (uses.get(name) ?? 0) - 1);
    }
    for (const name of change.now === undefined ? [] : namesOf(change.now)) {
      uses.set(name, (uses.get(name) ?? 0) + 1);
    }
  }
  for (const [name, count] of uses) if (count === 0) uses.delete(name);
  const changed = uses.size !== old.size || uses.keys().some((name) => !old.has(name));
  return { uses, changed };
}

function chainsInUse(
  old: ReadonlyMap<string, BalancingChain>,
  changes: readonly FragmentChange[],
  uses: ReadonlyMap<string, number>,
): ReadonlyMap<string, BalancingChain> {
  const chains = new Map(old.entries().filter(([, chain]) => uses.has(chainBlockName(chain))));
  for (const { now } of changes) {
    for (const chain of now?.chains ?? []) {
      if (chains.has(chain.name)) continue;
      for (const each of chainBlock(chain)) chains.set(each.name, each);
    }
  }
  return chains;
}

function udpFrontChanges(
  changes: readonly FragmentChange[],
): readonly (readonly [string, ReadonlySet<string> | undefined])[] {
  // What leaves first: a front may go from one Service to another in one step.
  return [
    ...changes.flatMap(({ old }) => (old?.udpFronts ?? []).map(({ front }) => [front, undefined] as const)),
    ...changes.flatMap(({ now }) =>
      (now?.udpFronts ?? []).map(({ front, backends }) => [front, backends] as const),
    ),
  ];
}

/** What is being built for one Service. */
type Draft = {
  readonly elements: Map<string, RuleElement>;
  readonly chains: Map<string, BalancingChain>;
  readonly udpFronts: UdpFront[];
};

function compileService(service: ServiceView, family: IpFamily, nodeName: string, denied: string): Fragment {
  const draft: Draft = { elements: new Map(), chains: new Map(), udpFronts: [] };
  const locals = new Set<string>();
  for (const port of service.ports) {
    const own: ServicePortView = {
      facts: port.facts,
      cluster: ofFamily(port.cluster, family),
      local: ofFamily(port.local, family),
      serving: ofFamily(port.serving, family),
    };
    compilePort(draft, own, family, denied);
    for (const endpoint of own.serving) if (endpoint.nodeName === nodeName) locals.add(endpoint.address);
  }
  return {
    view: service,
    denied,
    elements: [...draft.elements.values()],
    chains: [...draft.chains.values()],
    locals: [...locals],
    udpFronts: draft.udpFronts,
  };
}

function ofFamily(endpoints: readonly ServiceEndpoint[], family: IpFamily): readonly ServiceEndpoint[] {
  return endpoints
    .filter((endpoint) => textFamily(endpoint.address) === family)
    .slice(0, endpointsPerPortMax);
}

function compilePort(draft: Draft, port: ServicePortView, family: IpFamily, denied: string): void {
  const { facts } = port;
  for (const address of facts.clusterIps) {
    if (textFamily(address) !== family) continue;
    addFront(draft, 'vips', frontKey(address, facts), port, facts.internalPolicy === 'Local');
    addUdpFront(draft, port, address, facts.port);
  }
  for (const address of sharedAddresses(facts, family)) {
    const front = frontKey(address, facts);
    if (denied.includes(`|${front}|`)) continue;
    addFront(draft, 'vips', front, port, false);
    if (facts.externalPolicy === 'Local') addFront(draft, 'external_vips', front, port, true);
    if (facts.loadBalancerIps.includes(address)) addSourceRanges(draft, front, address, facts, family);
    addUdpFront(draft, port, address, facts.port);
  }
  if (facts.nodePort !== undefined) {
    const front = `${transportOf(facts)} . ${facts.nodePort}`;
    addFront(draft, 'node_ports', front, port, false);
    if (facts.externalPolicy === 'Local') addFront(draft, 'external_node_ports', front, port, true);
    addUdpFront(draft, port, '*', facts.nodePort);
  }
}

/** One destination in one space: refused without endpoints, dropped without local ones where only those may be used. */
function addFront(
  draft: Draft,
  space: Space,
  front: string,
  port: ServicePortView,
  localOnly: boolean,
): void {
  const isVip = space === 'vips' || space === 'external_vips';
  if (port.cluster.length === 0 && port.local.length === 0) {
    addElement(draft, { set: isVip ? 'refused_vips' : 'refused_node_ports', key: front, value: '' });
    return;
  }
  const endpoints = localOnly ? port.local : port.cluster;
  if (endpoints.length === 0) {
    addElement(draft, { set: space, key: front, value: 'drop' });
    return;
  }
  const transport = transportOf(port.facts);
  const chain = balancingChain(space, transport, endpoints.length, port.facts.affinityTimeoutSeconds);
  draft.chains.set(chain.name, chain);
  addElement(draft, { set: space, key: front, value: `goto ${chain.name}` });
  const marks = chain.affinityTimeoutSeconds === undefined ? undefined : endpointMarks(endpoints);
  const target = frontWithoutTransport(front, transport);
  for (const [index, endpoint] of endpoints.entries()) {
    const value = `${endpoint.address} . ${endpoint.port}`;
    addElement(draft, { set: `${space}_${transport}_endpoints`, key: `${target} . ${index}`, value });
    const mark = marks?.[index];
    if (mark === undefined) continue;
    addElement(draft, { set: `${space}_choices`, key: `${front} . ${index}`, value: mark });
    addElement(draft, { set: `${space}_${transport}_affine`, key: `${target} . ${mark}`, value });
  }
}

function addElement(draft: Draft, element: RuleElement): void {
  draft.elements.set(`${element.set} ${element.key}`, element);
}

/**
 * A number for each endpoint that depends on its address and port only, so that a client's remembered choice means the same
 * endpoint whatever comes and goes beside it. FNV-1a; of two equal hashes the later in order takes the next free number.
 */
function endpointMarks(endpoints: readonly ServiceEndpoint[]): readonly string[] {
  const taken = new Set<number>();
  return endpoints.map((endpoint) => {
    let hash = 0x811c9dc5;
    for (const character of `${endpoint.address} ${endpoint.port}`) {
      hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193) >>> 0;
    }
    while (hash === 0 || taken.has(hash)) hash = (hash + 1) >>> 0; // 0 is what packets carry that nobody marked
    taken.add(hash);
    return `0x${hash.toString(16).padStart(8, '0')}`;
  });
}

/** The address itself is always let in: a node that calls a load-balancer address of its own has it as its source. */
function addSourceRanges(
  draft: Draft,
  front: string,
  address: string,
  facts: ServicePortFacts,
  family: IpFamily,
): void {
  if (facts.sourceRanges.length === 0) return;
  addElement(draft, { set: 'restricted_vips', key: front, value: '' });
  const own = `${address}/${family === 4 ? 32 : 128}`;
  for (const range of disjointRanges([...facts.sourceRanges, own], family)) {
    addElement(draft, { set: 'allowed_sources', key: `${front} . ${range}`, value: '' });
  }
}

function addUdpFront(draft: Draft, port: ServicePortView, address: string, number: number): void {
  if (port.facts.protocol !== 'UDP') return;
  draft.udpFronts.push({
    front: `${address} . ${number}`,
    backends: new Set(port.serving.map((endpoint) => `${endpoint.address} . ${endpoint.port}`)),
  });
}

function commonElements(
  view: NodeView,
  family: IpFamily,
  options: CompileOptions,
  locals: Iterable<string>,
): readonly RuleElement[] {
  const elements: RuleElement[] = [];
  const fill = (set: RuleElement['set'], keys: Iterable<string>): void => {
    for (const key of keys) elements.push({ set, key, value: '' });
  };
  const bits = family === 4 ? 32 : 128;
  const nodeRanges = [...options.clusterNodeAddresses, ...view.node.addresses].map(
    (address) => `${address}/${bits}`,
  );
  const podRanges = [...options.clusterCidrs, ...view.node.podCidrs];
  fill('cluster_sources', disjointRanges(podRanges, family));
  fill('cluster_ranges', disjointRanges([...podRanges, ...nodeRanges], family));
  fill('node_pods', disjointRanges(view.node.podCidrs, family));
  fill('service_ranges', disjointRanges(options.serviceCidrs, family));
  const ordered = [...locals].toSorted();
  fill('local_endpoints', ordered);
  fill(
    'hairpins',
    ordered.map((address) => `${address} . ${address}`),
  );
  return elements;
}

/** The same addresses in ranges that do not overlap, as interval sets need them; a single address without its prefix. */
function disjointRanges(texts: readonly string[], family: IpFamily): readonly string[] {
  const ranges = texts
    .map((text) => parseCidr(text))
    .filter((range): range is Cidr => range !== undefined && range.family === family)
    .toSorted((a, b) => a.prefixBits - b.prefixBits || (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const kept: Cidr[] = [];
  for (const range of ranges) if (!kept.some((wide) => cidrCovers(wide, range))) kept.push(range);
  return kept.map((range) => formatCidr(range).replace(family === 4 ? /\/32$/ : /\/128$/, ''));
}
