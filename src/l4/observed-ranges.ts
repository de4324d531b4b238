import { type Cidr, cidrAround, cidrCovers, formatCidr, type IpFamily, parseCidr } from '../base/ip.ts';

/**
 * The smallest range of each family that holds all of the given ones, IPv4 first: what nodes' Pod ranges tell about the cluster's.
 * Texts that are no ranges are left out.
 */
export function coveringRanges(texts: readonly string[]): readonly string[] {
  const ranges = texts.flatMap((text) => parseCidr(text) ?? []);
  const of = (family: IpFamily): readonly string[] => {
    const covering = ranges
      .filter((range) => range.family === family)
      .reduce<Cidr | undefined>(join, undefined);
    return covering === undefined ? [] : [formatCidr(covering)];
  };
  return [...of(4), ...of(6)];
}

function join(a: Cidr | undefined, b: Cidr): Cidr {
  let range = a ?? b;
  while (!cidrCovers(range, b)) {
    range = cidrAround({ family: range.family, value: range.first }, range.prefixBits - 1);
  }
  return range;
}
