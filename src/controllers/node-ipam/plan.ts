import { type Cidr, cidrSubnet, formatCidr, type IpFamily, parseCidr } from '../../base/ip.ts';

/** Size of each node's part of the cluster's Pod network, bits; kube-controller-manager's own. */
const nodePrefixBits: Readonly<Record<IpFamily, number>> = { 4: 24, 6: 64 };
/** A network may have so many bits more than a node's part: 65,536 parts. */
const partBitsMax = 16;

/** A cluster CIDR that cannot be cut into parts for nodes; the message says why. */
export class ClusterCidrError extends Error {
  override readonly name = 'ClusterCidrError';
}

/**
 * Reads `10.42.0.0/16`, or one network of each family with a comma between them, the cluster's first family first.
 * @throws ClusterCidrError
 */
export function parseClusterCidrs(text: string): readonly Cidr[] {
  const networks = text.split(',').map((part) => parseClusterCidr(part.trim()));
  const [first, second] = networks;
  if (networks.length > 2 || first?.family === second?.family) {
    throw new ClusterCidrError(`--cluster-cidr "${text}": give one network, or one of each address family`);
  }
  return networks;
}

function parseClusterCidr(text: string): Cidr {
  const network = parseCidr(text);
  const most = network === undefined ? 0 : nodePrefixBits[network.family];
  if (network === undefined || network.prefixBits > most || network.prefixBits < most - partBitsMax) {
    throw new ClusterCidrError(
      `--cluster-cidr "${text}": give an IPv4 network between /8 and /24, as 10.42.0.0/16, or an IPv6 network between /48 and /64`,
    );
  }
  return network;
}

/** Of each network the first part that no node has; undefined when all parts of one are taken. `taken`: canonical texts. */
export function nextPodCidrs(
  cluster: readonly Cidr[],
  taken: ReadonlySet<string>,
): readonly string[] | undefined {
  const parts = cluster.flatMap((network) => nextPodCidr(network, taken) ?? []);
  return parts.length === cluster.length ? parts : undefined;
}

function nextPodCidr(network: Cidr, taken: ReadonlySet<string>): string | undefined {
  for (let index = 0; ; index++) {
    const part = cidrSubnet(network, nodePrefixBits[network.family], index);
    if (part === undefined) return undefined;
    const text = formatCidr(part);
    if (!taken.has(text)) return text;
  }
}
