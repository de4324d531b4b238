import { cidrContains, parseCidr, parseIp } from '../base/ip.ts';

/** A UDP flow that conntrack remembers: where its packets were sent and who answers. */
export type UdpFlow = {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly port: number;
  readonly backend: string;
  readonly backendPort: number;
};

const tupleField = /\b(src|dst|sport|dport)=(\S+)/g;

/** Reads what `conntrack -L -p udp` prints; lines that are no flow are passed by. */
export function parseUdpFlows(text: string): readonly UdpFlow[] {
  return text.split('\n').flatMap((line) => {
    const flow = line.startsWith('udp') ? parseUdpFlow(line) : undefined;
    return flow === undefined ? [] : [flow];
  });
}

/** A line has each field twice: first of the packets sent, then of the answers. */
function parseUdpFlow(line: string): UdpFlow | undefined {
  const values = new Map<string, string[]>();
  for (const [, name = '', value = ''] of line.matchAll(tupleField)) {
    const known = values.get(name);
    if (known === undefined) values.set(name, [value]);
    else known.push(value);
  }
  const [source, backend] = values.get('src') ?? [];
  const [destination] = values.get('dst') ?? [];
  const [sourcePort, backendPort] = values.get('sport') ?? [];
  const [port] = values.get('dport') ?? [];
  if (source === undefined || backend === undefined || destination === undefined) return undefined;
  if (sourcePort === undefined || backendPort === undefined || port === undefined) return undefined;
  return {
    source,
    sourcePort: Number(sourcePort),
    destination,
    port: Number(port),
    backend,
    backendPort: Number(backendPort),
  };
}

/** Fronts of UDP Services by `address . port` (`*` for node ports), with the backends that their flows may have. */
export type UdpFronts = ReadonlyMap<string, ReadonlySet<string>>;

export type StaleFlowScope = {
  readonly fronts: UdpFronts;
  /** Fronts of before that are gone: every flow of theirs is stale. */
  readonly removedFronts: readonly string[];
  readonly serviceCidrs: readonly string[];
  /** Node ports count only at these. */
  readonly nodeAddresses: readonly string[];
};

/**
 * Flows that conntrack would go on sending to an endpoint that has left, or past an endpoint that came since: a UDP client
 * that keeps its port would never see the new rules. Judged from the state, not from changes, so it also heals what happened
 * while the proxy was not running.
 */
export function staleUdpFlows(flows: readonly UdpFlow[], scope: StaleFlowScope): readonly UdpFlow[] {
  const removed = new Set(scope.removedFronts);
  const ranges = scope.serviceCidrs.flatMap((text) => parseCidr(text) ?? []);
  const nodeAddresses = new Set(scope.nodeAddresses);
  const inServiceRange = (address: string): boolean => {
    const ip = parseIp(address);
    return ip !== undefined && ranges.some((range) => cidrContains(range, ip));
  };
  return flows.filter((flow) => {
    const vip = `${flow.destination} . ${flow.port}`;
    // A node port answers at addresses that no Node object names, too; there only flows that were led elsewhere are ours.
    const led = flow.backend !== flow.destination;
    const isNode = led || nodeAddresses.has(flow.destination) || flow.destination.startsWith('127.');
    const nodePort = `* . ${flow.port}`;
    const backends = scope.fronts.get(vip) ?? (isNode ? scope.fronts.get(nodePort) : undefined);
    if (backends !== undefined) return !backends.has(`${flow.backend} . ${flow.backendPort}`);
    if (removed.has(vip) || (isNode && removed.has(nodePort))) return true;
    return inServiceRange(flow.destination);
  });
}
