import { type Cidr, cidrContains, parseCidr, parseIp } from '../base/ip.ts';

/** Whether an address lies in one of the ranges. Throws for a text that is no range, naming it. */
export function trustedProxies(ranges: readonly string[]): (address: string) => boolean {
  const cidrs: Cidr[] = ranges.map((range) => {
    const cidr = parseCidr(range);
    if (cidr === undefined) throw new RangeError(`"${range}" is no address range: write it like 10.0.0.0/8`);
    return cidr;
  });
  if (cidrs.length === 0) return () => false;
  return (address) => {
    const ip = parseIp(address);
    return ip !== undefined && cidrs.some((cidr) => cidr.family === ip.family && cidrContains(cidr, ip));
  };
}
