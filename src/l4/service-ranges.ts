import type { ServiceCIDR } from '../api/gen/networking-v1.ts';
import { formatCidr, type IpFamily, parseCidr } from '../base/ip.ts';

/**
 * Ranges of ClusterIPs, in which addresses without a rule are refused: those that the proxy was told of, and those of the
 * API's ServiceCIDRs, also of such that are being deleted, since Services may still have addresses of them. Sorted, each
 * once; a text that is no range is left out.
 */
export function serviceRangesOf(
  own: readonly string[],
  serviceCidrs: Iterable<ServiceCIDR>,
): readonly string[] {
  const made = Iterator.from(serviceCidrs).flatMap(({ spec }) => spec?.cidrs ?? []);
  const ranges = [...own, ...made].flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr === undefined ? [] : [formatCidr(cidr)];
  });
  return [...new Set(ranges)].toSorted();
}

/** The families that a node has rules of: IPv4 always, IPv6 where one of the ranges is of it. */
export function familiesOf(ranges: readonly string[]): readonly IpFamily[] {
  return ranges.some((text) => parseCidr(text)?.family === 6) ? [4, 6] : [4];
}
