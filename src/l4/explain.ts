import type { Node, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { ServiceCIDR } from '../api/gen/networking-v1.ts';
import { keyOf } from '../api/object.ts';
import { unreachable } from '../base/assert.ts';
import { cidrContains, type IpFamily, parseCidr, parseIp } from '../base/ip.ts';
import { endpointsOfPort, type ServiceEndpoint } from '../model/endpoints.ts';
import { isHeadless, proxyNameLabel, type ServicePortFacts } from '../model/service-port.ts';
import { buildNodeView, type NodeFacts, nodeFactsOf, type ServiceView } from '../model/view.ts';
import { type CompileOptions, compileRuleset } from './compile.ts';
import { choiceLines } from './explain-choice.ts';
import type { Ruleset } from './ruleset.ts';
import { serviceRangesOf } from './service-ranges.ts';
import { type DropReason, type Fate, tracePacket, type VirtualPacket } from './trace.ts';

/** The objects that an explanation is made of. */
export type ExplainInput = {
  readonly service: Service;
  /** Those of this Service. */
  readonly slices: readonly EndpointSlice[];
  /** All of the cluster: another one may hold an address that this one claims. */
  readonly services: readonly Service[];
  readonly nodes: readonly Node[];
  /** Ranges of ClusterIPs beside those of the options; empty where the cluster has no such objects. */
  readonly serviceCidrs: readonly ServiceCIDR[];
};

export type ExplainOptions = {
  readonly clusterCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  /** The packet's source address; undefined: one from each place there is. */
  readonly from: string | undefined;
  /** Only this node's rules; undefined: all. */
  readonly nodeName: string | undefined;
};

/** Where a packet comes from, as one node sees it. */
type Origin = { readonly words: string; readonly origin: 'network' | 'node'; readonly source: string };

/**
 * What becomes of packets to a Service, as text: what the API says, the rules that each node makes of it, and the verdict of
 * the tracer over those rules. It tells what should be; whether a node's kernel has it, its /debug/ruleset and nft tell.
 */
export function explainService(input: ExplainInput, options: ExplainOptions): string {
  const { service } = input;
  const key = keyOf(service);
  const head = [headline(service), ...endpointLines(input)];
  if (service.spec?.type === 'ExternalName') {
    return text([
      ...head,
      `DNS answers with CNAME ${service.spec.externalName ?? ''}: no packet meets a rule.`,
    ]);
  }
  const proxy = service.metadata?.labels?.[proxyNameLabel];
  if (proxy !== undefined) {
    return text([
      ...head,
      `Its label ${proxyNameLabel} leaves it to the proxy “${proxy}”: it has no rules of ours.`,
    ]);
  }
  const chosen = input.nodes.filter(
    (node) => options.nodeName === undefined || node.metadata?.name === options.nodeName,
  );
  if (chosen.length === 0) return text([...head, 'No such node: there are no rules to look at.']);
  const compileOptions: CompileOptions = {
    clusterCidrs: options.clusterCidrs,
    serviceCidrs: serviceRangesOf(options.serviceCidrs, input.serviceCidrs),
    clusterNodeAddresses: input.nodes.flatMap((node) => [
      ...nodeFactsOf(node.metadata?.name ?? '', node).addresses,
    ]),
  };
  const lines = chosen.flatMap((node) => {
    const facts = nodeFactsOf(node.metadata?.name ?? '', node);
    const view = buildNodeView(concerned(service, input.services), input.slices, facts);
    const own = view.services.get(key);
    if (own === undefined) return [];
    return [
      '',
      `Node ${facts.name}`,
      ...nodeLines(own, facts, options, (family) => compileRuleset(view, family, compileOptions)),
    ];
  });
  if (isHeadless(service) && lines.every((line) => line === '' || line.startsWith('Node'))) {
    return text([
      ...head,
      'A headless Service: DNS gives the endpoints’ own addresses, no packet meets a rule.',
    ]);
  }
  return text([...head, ...lines]);
}

/** The Service and those that may hold an address that it claims; others change nothing for it. */
function concerned(service: Service, all: readonly Service[]): readonly Service[] {
  const key = keyOf(service);
  const claims = ({ spec, status }: Service): boolean =>
    (spec?.externalIPs?.length ?? 0) > 0 || (status?.loadBalancer?.ingress?.length ?? 0) > 0;
  return all.filter((other) => keyOf(other) === key || claims(other));
}

function text(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`;
}

function headline(service: Service): string {
  const spec = service.spec ?? {};
  const parts = [
    `Service ${keyOf(service)}`,
    spec.type ?? 'ClusterIP',
    ...(spec.clusterIPs ?? [spec.clusterIP ?? '']).filter((ip) => ip !== ''),
  ];
  if (spec.internalTrafficPolicy === 'Local') parts.push('internalTrafficPolicy Local');
  if (spec.externalTrafficPolicy === 'Local') parts.push('externalTrafficPolicy Local');
  if (spec.sessionAffinity === 'ClientIP') parts.push('sessionAffinity ClientIP');
  if (spec.trafficDistribution !== undefined) parts.push(`trafficDistribution ${spec.trafficDistribution}`);
  return parts.join(', ');
}

/** The endpoints of each port with their state, and why there are none. */
function endpointLines({ service, slices }: ExplainInput): readonly string[] {
  if (service.spec?.type === 'ExternalName') return [];
  if (slices.length === 0) {
    return [
      service.spec?.selector === undefined
        ? '  no EndpointSlice names it, and it has no selector: somebody has to write its slices'
        : '  no EndpointSlice names it: is the endpointslice controller running?',
    ];
  }
  return (service.spec?.ports ?? []).flatMap((port) => {
    const protocol = (port.protocol ?? 'TCP') as ServicePortFacts['protocol'];
    const endpoints = endpointsOfPort(slices, port.name ?? '', protocol);
    const title = `  port ${port.port}/${protocol}${port.name === undefined ? '' : ` (${port.name})`}`;
    if (endpoints.length === 0) {
      return [
        `${title}: no endpoints. No Pod matches its selector, or none has the port ${port.targetPort ?? port.port}.`,
      ];
    }
    return [title, ...endpoints.map((endpoint) => `    ${endpointText(endpoint)}`)];
  });
}

function endpointText(endpoint: ServiceEndpoint): string {
  const { ready, serving, terminating } = endpoint;
  const state = ready
    ? 'ready'
    : terminating
      ? `terminating, ${serving ? 'still serving' : 'not serving'}`
      : 'not ready';
  const place = [endpoint.nodeName, endpoint.zone].filter((word) => word !== '').join(' ');
  const hints = [...endpoint.forNodes, ...endpoint.forZones];
  const hint = hints.length === 0 ? '' : `, for ${hints.join(' and ')}`;
  return `${host(endpoint.address)}:${endpoint.port} ${state}${place === '' ? '' : ` on ${place}`}${hint}`;
}

/** Rules and verdicts on one node. */
function nodeLines(
  service: ServiceView,
  node: NodeFacts,
  options: ExplainOptions,
  rulesetOf: (family: IpFamily) => Ruleset,
): readonly string[] {
  const families = ([4, 6] as const).filter((family) => frontsOf(service, node, family).length > 0);
  return families.flatMap((family) => {
    const choices = service.ports.flatMap((port) => choiceLines(port, node, family));
    const ruleset = rulesetOf(family);
    const fragment = ruleset.fragments.get(service.key);
    const rules = (fragment?.elements ?? []).map(
      ({ set, key, value }) => `    ${set} ${key}${value === '' ? '' : ` : ${value}`}`,
    );
    const problems = (ruleset.problems.get(service.key) ?? []).map(({ message }) => `  problem: ${message}`);
    const verdicts = originsOf(node, options, family).flatMap((origin) => [
      `  a packet from ${origin.words}`,
      ...frontsOf(service, node, family).map((front) => `    ${verdictLine(ruleset, node, origin, front)}`),
    ]);
    return [...choices, `  rules, IPv${family}`, ...rules, ...problems, ...verdicts];
  });
}

type Front = {
  readonly address: string;
  readonly port: number;
  readonly protocol: VirtualPacket['protocol'];
};

function frontsOf(service: ServiceView, node: NodeFacts, family: IpFamily): readonly Front[] {
  const fronts: Front[] = [];
  for (const { facts } of service.ports) {
    const protocol = facts.protocol.toLowerCase() as Front['protocol'];
    for (const address of [...facts.clusterIps, ...facts.externalIps, ...facts.loadBalancerIps]) {
      fronts.push({ address, port: facts.port, protocol });
    }
    const { nodePort } = facts;
    if (nodePort === undefined) continue;
    for (const address of node.addresses) fronts.push({ address, port: nodePort, protocol });
  }
  return fronts.filter(({ address }) => address.includes(':') === (family === 6));
}

function originsOf(node: NodeFacts, options: ExplainOptions, family: IpFamily): readonly Origin[] {
  const { from } = options;
  if (from !== undefined) {
    return parseIp(from)?.family === family ? [originOf(from, node, options)] : [];
  }
  const own = node.addresses.find((address) => address.includes(':') === (family === 6));
  const outside = family === 4 ? '192.0.2.1' : '2001:db8::1'; // of the ranges kept for examples
  return [
    ...(own === undefined ? [] : [originOf(own, node, options)]),
    ...options.clusterCidrs.flatMap((range) => {
      const parsed = parseCidr(range);
      // The network's own address: no Pod has it, so it is nobody's hairpin.
      return parsed?.family === family
        ? [{ words: 'a Pod', origin: 'network' as const, source: range.replace(/\/\d+$/, '') }]
        : [];
    }),
    { words: 'outside the cluster', origin: 'network', source: outside },
  ];
}

function originOf(source: string, node: NodeFacts, options: ExplainOptions): Origin {
  const inside = (ranges: readonly string[]): boolean => {
    const ip = parseIp(source);
    return ranges.some((range) => {
      const parsed = parseCidr(range);
      return ip !== undefined && parsed !== undefined && cidrContains(parsed, ip);
    });
  };
  if (node.addresses.includes(source) || source.startsWith('127.') || source === '::1') {
    return { words: `${source}, the node itself`, origin: 'node', source };
  }
  const what = inside(node.podCidrs)
    ? 'a Pod on this node'
    : inside(options.clusterCidrs)
      ? 'a Pod on another node'
      : 'outside the cluster';
  return { words: `${source}, ${what}`, origin: 'network', source };
}

function verdictLine(ruleset: Ruleset, node: NodeFacts, origin: Origin, front: Front): string {
  const packet = { ...origin, protocol: front.protocol, destination: front.address, port: front.port };
  const fates: Fate[] = [];
  let more = false;
  for (let draw = 0; ; draw++) {
    const fate = tracePacket(ruleset, node.addresses, { ...packet, draw });
    const [first] = fates;
    // The draw goes round: the first endpoint again means that all were seen.
    if (first?.kind === 'forward' && fate.kind === 'forward' && sameTarget(fate, first)) break;
    more = fates.length >= endpointsShownMax;
    if (more) break;
    fates.push(fate);
    if (fate.kind !== 'forward') break;
  }
  const rest = more ? ' and more' : '';
  return `to ${host(front.address)}:${front.port}/${front.protocol}: ${fatesText(fates)}${rest}`;
}

/** Endpoints named in a verdict; a Service may have thousands. */
const endpointsShownMax = 16;

function sameTarget(a: Extract<Fate, { kind: 'forward' }>, b: Extract<Fate, { kind: 'forward' }>): boolean {
  return a.address === b.address && a.port === b.port;
}

function fatesText(fates: readonly Fate[]): string {
  const [first] = fates;
  switch (first?.kind) {
    case 'forward': {
      const targets = fates.map((fate) => {
        if (fate.kind !== 'forward') return '';
        return `${host(fate.address)}:${fate.port}${fate.masqueraded ? ' (sees the node’s address)' : ''}`;
      });
      return `${targets.length === 1 ? 'goes to' : 'goes to one of'} ${targets.join(', ')}`;
    }
    case 'refuse':
      return 'refused at once: no endpoint may be used';
    case 'drop':
      return `dropped: ${dropText(first.reason)}`;
    default:
      return 'not ours: no rule meets it here';
  }
}

function dropText(reason: DropReason): string {
  switch (reason) {
    case 'loopback':
      return 'nothing from the network comes to a loopback address';
    case 'source-range':
      return 'its source is not in loadBalancerSourceRanges';
    case 'no-local-endpoint':
      return 'the traffic policy is Local, and no endpoint on this node may be used';
    default:
      return unreachable(reason);
  }
}

function host(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
