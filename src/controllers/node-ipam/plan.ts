/** Size of each node's part of the cluster's Pod network. */
export const nodePrefixLength = 24;

/** A cluster CIDR that cannot be cut into parts for nodes; the message says why. */
export class ClusterCidrError extends Error {
  override readonly name = 'ClusterCidrError';
}

/** An IPv4 network of /24 or larger, as its first address and the number of /24 in it. */
export type ClusterCidr = { readonly first: number; readonly parts: number };

/** @throws ClusterCidrError */
export function parseClusterCidr(text: string): ClusterCidr {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const [a = 256, b = 256, c = 256, d = 256, prefix = 33] = (match ?? []).slice(1).map(Number);
  if (match === null || Math.max(a, b, c, d) > 255 || prefix > nodePrefixLength || prefix < 8) {
    throw new ClusterCidrError(
      `--cluster-cidr "${text}": give an IPv4 network between /8 and /24, as 10.42.0.0/16`,
    );
  }
  const parts = 2 ** (nodePrefixLength - prefix);
  const address = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
  return { first: address - (address % (parts * 256)), parts };
}

/** The first part that no node has; undefined when all are taken. */
export function nextPodCidr(cluster: ClusterCidr, taken: ReadonlySet<string>): string | undefined {
  for (let part = 0; part < cluster.parts; part++) {
    const address = cluster.first + part * 256;
    const octets = [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256);
    const cidr = `${octets.join('.')}/${nodePrefixLength}`;
    if (!taken.has(cidr)) return cidr;
  }
  return undefined;
}
