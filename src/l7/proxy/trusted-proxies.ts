import { type Cidr, cidrContains, parseCidr, parseIp } from '../../base/ip.ts';

/** Proxies in front that are believed by count: "2" alone stands for two. 0: they are told by their addresses. */
export function trustedHopsOf(proxies: readonly string[]): number {
  const [only = ''] = proxies;
  return proxies.length === 1 && /^[1-9]\d?$/.test(only) ? Number(only) : 0;
}

/** Whether an address lies in one of the ranges; with a count every peer is a proxy. Throws for a text that is no range, naming it. */
export function trustedProxies(ranges: readonly string[]): (address: string) => boolean {
  if (trustedHopsOf(ranges) > 0) return () => true;
  const cidrs: Cidr[] = ranges.map((range) => {
    const cidr = parseCidr(range);
    if (cidr === undefined)
      throw new RangeError(
        `"${range}" is no address range: write it like 10.0.0.0/8, or give one number of proxies`,
      );
    return cidr;
  });
  if (cidrs.length === 0) return () => false;
  return (address) => {
    const ip = parseIp(address);
    return ip !== undefined && cidrs.some((cidr) => cidr.family === ip.family && cidrContains(cidr, ip));
  };
}
