import { createHash } from 'node:crypto';
import {
  type Cidr,
  cidrAddress,
  formatCidr,
  formatIp,
  type IpFamily,
  ipToBytes,
  parseCidr,
} from '../base/ip.ts';

/** kind's words for it. */
export const ipFamilies = ['ipv4', 'ipv6', 'dual'] as const;
export type IpFamilies = (typeof ipFamilies)[number];

/** docs/decisions/0056-two-families-by-option.md says why. */
export const ipFamiliesDefault: IpFamilies = 'ipv4';

/** The ranges of one family, and the addresses in them that everybody in the cluster must know. */
export type FamilyRanges = {
  readonly family: IpFamily;
  /** Of the node network: "10.41.0.0/16". */
  readonly nodes: string;
  readonly pods: string;
  readonly services: string;
  /** The way out, first of the node network. */
  readonly gateway: string;
  /** ClusterIP of the Service `kubernetes`. */
  readonly kubernetes: string;
  /** ClusterIP of the Service `kube-dns`. */
  readonly dns: string;
};

type Named = { readonly name: string; readonly ipFamilies?: IpFamilies | undefined };

/** What is not said was written before there was a choice. */
export function ipFamiliesOf({ ipFamilies: choice = 'ipv4' }: Pick<Named, 'ipFamilies'>): IpFamilies {
  return choice;
}

/**
 * The families of a cluster that is started: as asked, else as before, else the default. Undefined: asked for are others than the cluster
 * has, and addresses are given out for good.
 */
export function chooseFamilies(
  asked: IpFamilies | undefined,
  before: Pick<Named, 'ipFamilies'> | undefined,
): IpFamilies | undefined {
  const kept = before === undefined ? undefined : ipFamiliesOf(before);
  const chosen = asked ?? kept ?? ipFamiliesDefault;
  return kept === undefined || chosen === kept ? chosen : undefined;
}

/** The cluster's ranges, one a family; the first is the family that Services and Pods have when they do not say. Pure. */
export function rangesOf(config: Named): readonly FamilyRanges[] {
  const choice = ipFamiliesOf(config);
  const ipv4 = familyRanges('10.41.0.0/16', '10.42.0.0/16', '10.43.0.0/16');
  if (choice === 'ipv4') return [ipv4];
  const site = sitePrefix(config.name);
  const ipv6 = familyRanges(`${site}:41::/64`, `${site}:4200::/56`, `${site}:43::/112`);
  return choice === 'ipv6' ? [ipv6] : [ipv4, ipv6];
}

/**
 * "fd43:1b2a:9c00": the first 48 bits of a cluster's IPv6 addresses, of the range for local use. Its 40 bits of chance (RFC 4193) come from
 * the cluster's name, so that two clusters differ and one that is made again does not.
 */
function sitePrefix(name: string): string {
  const id = createHash('sha256').update(name).digest().subarray(0, 5);
  const digits = `fd${id.toString('hex')}`;
  return [0, 4, 8].map((at) => digits.slice(at, at + 4)).join(':');
}

function familyRanges(nodes: string, pods: string, services: string): FamilyRanges {
  const nodeRange = range(nodes);
  return {
    family: nodeRange.family,
    nodes: formatCidr(nodeRange),
    pods: formatCidr(range(pods)),
    services: formatCidr(range(services)),
    gateway: addressIn(nodes, 1),
    kubernetes: addressIn(services, 1),
    dns: addressIn(services, 10),
  };
}

function range(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`${text} is no range`);
  return cidr;
}

/** The `offset`th address of the range, as text. */
export function addressIn(cidr: string, offset: number): string {
  const address = cidrAddress(range(cidr), BigInt(offset));
  if (address === undefined) throw new Error(`${cidr} has no address ${offset}`);
  return formatIp(address);
}

/** The zones of the names of the Pods' and Services' addresses: "42.10.in-addr.arpa". */
export function reverseZonesOf({ pods, services }: FamilyRanges): readonly string[] {
  return [pods, services].map(reverseZone);
}

/** Of a range that ends between two labels: an octet each (RFC 1035, 3.5), or half of one (RFC 3596, 2.5). */
function reverseZone(cidr: string): string {
  const { family, first, prefixBits } = range(cidr);
  const bytes = ipToBytes({ family, value: first });
  const labels =
    family === 4 ? [...bytes].map(String) : [...bytes].flatMap((byte) => [byte >> 4, byte & 15].map(hex));
  const known = labels.slice(0, prefixBits / (family === 4 ? 8 : 4)).toReversed();
  return [...known, family === 4 ? 'in-addr' : 'ip6', 'arpa'].join('.');
}

const hex = (number: number): string => number.toString(16);
