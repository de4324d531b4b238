import { type Cidr, cidrContains, parseCidr, parseIp } from '../../base/ip.ts';
import { ipProblems } from '../names.ts';

/** Ranges that mean another place on every node, in the words by which Kubernetes refuses them. */
const specialRanges: readonly { readonly ranges: readonly string[]; readonly problem: string }[] = [
  {
    ranges: ['127.0.0.0/8', '::1/128', '::ffff:7f00:0/104'],
    problem: 'may not be in the loopback range (127.0.0.0/8, ::1/128)',
  },
  {
    ranges: ['169.254.0.0/16', 'fe80::/10', '::ffff:a9fe:0/112'],
    problem: 'may not be in the link-local range (169.254.0.0/16, fe80::/10)',
  },
  {
    ranges: ['224.0.0.0/24', 'ff02::/16', '::ffff:e000:0/120'],
    problem: 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)',
  },
];

const parsedRanges = specialRanges.map(({ ranges, problem }) => ({
  ranges: ranges.map(parseCidr).filter((range): range is Cidr => range !== undefined),
  problem,
}));

const unspecified = new Set(['0.0.0.0', '::', '::ffff:0.0.0.0']);

/** Why traffic of a Service may not be sent to the address, or asked for at it: no address, or one of each node's own. */
export function endpointAddressProblems(text: string): readonly string[] {
  const ip = parseIp(text);
  if (ip === undefined) return ipProblems(text);
  if (unspecified.has(text) || ip.value === 0n) return [`may not be unspecified (${text})`];
  return parsedRanges
    .filter(({ ranges }) => ranges.some((range) => cidrContains(range, ip)))
    .map(({ problem }) => problem);
}
