import type { ObjectKey } from '../api/object.ts';
import { cidrCovers, type Cidr, formatCidr, type IpFamily, parseCidr } from '../base/ip.ts';
import type { ServiceEndpoint } from '../model/endpoints.ts';
import type { ServicePortFacts } from '../model/service-port.ts';
import type { NodeView, ServicePortView, ServiceView } from '../model/view.ts';
import {
  type BalancingChain,
  balancingChain,
  type Fragment,
  type RuleElement,
  type Ruleset,
  type RulesetProblem,
  frontWithoutTransport,
  type Space,
  type Transport,
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
 * NodeView → table. Equal inputs give equal rulesets. `previous` (of the same family) only saves work: fragments of Services
 * whose view is the same object are taken from it.
 */
export function compileRuleset(
  view: NodeView,
  family: IpFamily,
  options: CompileOptions,
  previous?: Ruleset,
): Ruleset {
  const { denied, problems } = sharedAddressConflicts(view, family);
  const fragments = new Map<ObjectKey, Fragment>();
  const chains = new Map<string, BalancingChain>();
  const locals = new Set<string>();
  for (const [key, service] of view.services) {
    const deniedHere = denied.get(key) ?? '';
    const known = previous?.fragments.get(key);
    const fragment =
      known !== undefined && known.view === service && known.denied === deniedHere
        ? known
        : compileService(service, family, view.node.name, deniedHere);
    fragments.set(key, fragment);
    for (const chain of fragment.chains) chains.set(chain.name, chain);
    for (const local of fragment.locals) locals.add(local);
  }
  return { family, fragments, common: commonElements(view, family, options, locals), chains, problems };
}

/**
 * External and load-balancer addresses are free text of users, so two Services may claim one address and port. The older
 * one has it, by creationTimestamp, then by name. The other loses that front only.
 */
function sharedAddressConflicts(
  view: NodeView,
  family: IpFamily,
): { readonly denied: ReadonlyMap<ObjectKey, string>; readonly problems: readonly RulesetProblem[] } {
  const claims = new Map<string, ServiceView>();
  const denied = new Map<ObjectKey, string>();
  const problems: RulesetProblem[] = [];
  const claimants = [...view.services.values()].filter((service) =>
    service.ports.some(({ facts }) => facts.externalIps.length + facts.loadBalancerIps.length > 0),
  );
  for (const service of claimants.toSorted(compareAge)) {
    for (const { facts } of service.ports) {
      for (const address of sharedAddresses(facts, family)) {
        const front = frontKey(address, facts);
        const holder = claims.get(front);
        if (holder === undefined) claims.set(front, service);
        else if (holder !== service) {
          denied.set(service.key, `${denied.get(service.key) ?? ''}|${front}|`);
          problems.push({ service: service.key, message: `${front} already belongs to ${holder.key}` });
        }
      }
    }
  }
  return { denied, problems };
}

function compareAge(a: ServiceView, b: ServiceView): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

function sharedAddresses(facts: ServicePortFacts, family: IpFamily): readonly string[] {
  return [...new Set([...facts.externalIps, ...facts.loadBalancerIps])].filter(
    (address) => textFamily(address) === family,
  );
}

/** The family of an address or a range in text form. */
function textFamily(text: string): IpFamily {
  return text.includes(':') ? 6 : 4;
}

function transportOf(facts: ServicePortFacts): Transport {
  return facts.protocol === 'TCP' ? 'tcp' : facts.protocol === 'UDP' ? 'udp' : 'sctp';
}

function frontKey(address: string, facts: ServicePortFacts): string {
  return `${address} . ${transportOf(facts)} . ${facts.port}`;
}

/** What is being built for one Service. */
type Draft = {
  readonly family: IpFamily;
  readonly elements: Map<string, RuleElement>;
  readonly chains: Map<string, BalancingChain>;
  readonly udpFronts: UdpFront[];
};

function compileService(service: ServiceView, family: IpFamily, nodeName: string, denied: string): Fragment {
  const draft: Draft = { family, elements: new Map(), chains: new Map(), udpFronts: [] };
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
  const remembers = draft.family === 4 && chain.affinityTimeoutSeconds !== undefined;
  const marks = remembers ? endpointMarks(endpoints) : undefined;
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
    backends: port.serving.map((endpoint) => `${endpoint.address} . ${endpoint.port}`),
  });
}

function commonElements(
  view: NodeView,
  family: IpFamily,
  options: CompileOptions,
  locals: ReadonlySet<string>,
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
