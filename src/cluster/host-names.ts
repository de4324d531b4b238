import { closeSync, existsSync, readFileSync } from 'node:fs';
import { openSocket, SocketError } from '../base/sockets.ts';
import { UserError } from '../base/user-error.ts';
import {
  clusterDomain,
  type HostDns,
  hostDnsAddresses,
  hostDnsPorts,
  type NetworkConfig,
  networkNetns,
} from './config.ts';
import type { IpBatch } from './netns.ts';
import { runBatch, runTool } from './network.ts';
import { rangesOf, reverseZonesOf } from './ranges.ts';

/**
 * The names of a cluster on the host. Where systemd-resolved runs, it is told by a link of the cluster's own, which carries
 * nothing: settings of a link go when the link goes, and this one goes with the namespace that its other end is in. So
 * nothing of the system is edited and nothing can be left behind. The cluster has no route through it, nor the host.
 */

/** The link's name; at most 15 characters are allowed, so of a long cluster name the end and a sum stand for it. */
export function hostLinkOf(clusterName: string): string {
  const name = `fl-${clusterName}`;
  if (name.length <= 15) return name;
  let sum = 0;
  for (const character of clusterName) sum = (Math.imul(sum, 31) + character.charCodeAt(0)) >>> 0;
  return `fl-${clusterName.slice(-5)}-${sum.toString(36).slice(-6)}`;
}

/**
 * An address without which systemd-resolved would take the link for one without network. Nobody ever sends to it: it is of the
 * range for one link (RFC 3927), and each cluster has another, as it has another loopback address for its DNS.
 */
export function hostLinkAddress({ address }: HostDns): string {
  return `169.254.43.${address.split('.')[3] ?? ''}`;
}

/** Makes the link: both ends up, or systemd-resolved would not use it. A veth, since the cluster needs those anyway. */
export function hostLinkBatches(clusterName: string, dns: HostDns): readonly IpBatch[] {
  const link = hostLinkOf(clusterName);
  const network = networkNetns(clusterName);
  return [
    {
      netns: undefined,
      lines: [
        `link add ${link} type veth peer name host0 netns ${network}`,
        `link set ${link} addrgenmode none`,
        `address add ${hostLinkAddress(dns)}/32 dev ${link} scope global noprefixroute`,
        `link set ${link} up`,
      ],
    },
    { netns: network, lines: ['link set host0 addrgenmode none', 'link set host0 up'] },
  ];
}

/** What resolvectl is told, in this order. Only the cluster's zones are asked here ("~"), whatever else is asked elsewhere. */
export function resolvectlCommands(
  config: NetworkConfig,
  { address, port }: HostDns,
): readonly (readonly string[])[] {
  const link = hostLinkOf(config.name);
  const zones = [clusterDomain, ...rangesOf(config).flatMap(reverseZonesOf)];
  return [
    ['dns', link, port === 53 ? address : `${address}:${port}`],
    ['domain', link, ...zones.map((zone) => `~${zone}`)],
    ['default-route', link, 'no'],
    ['dnssec', link, 'no'], // the zones are not signed
    ['dnsovertls', link, 'no'],
    ['llmnr', link, 'no'],
    ['mdns', link, 'no'],
  ];
}

/** Files that tell how a host resolves names without systemd-resolved. */
export type ResolverFiles = {
  /** /etc/resolv.conf */
  readonly resolvConf: string;
  /** Whether NetworkManager runs a dnsmasq. */
  readonly networkManagerDnsmasq: boolean;
  /** Whether a dnsmasq is set up by /etc/dnsmasq.conf. */
  readonly dnsmasq: boolean;
};

/** The one line that a person adds where nothing can be set for him, and where. */
export function lineToAdd({ address, port }: HostDns, files: ResolverFiles): string {
  const asksLoopback = /^\s*nameserver\s+(127\.|::1)/m.test(files.resolvConf);
  const line = `server=/${clusterDomain}/${address}${port === 53 ? '' : `#${port}`}`;
  if (files.networkManagerDnsmasq && asksLoopback) {
    return `add the line "${line}" to /etc/NetworkManager/dnsmasq.d/fairlead.conf and reload NetworkManager`;
  }
  if ((files.dnsmasq && asksLoopback) || port !== 53) {
    return `add the line "${line}" to /etc/dnsmasq.d/fairlead.conf and restart dnsmasq`;
  }
  return `add the line "nameserver ${address}" to /etc/resolv.conf before its others, which are asked for all other names`;
}

/** A free place for a cluster's DNS on the host, that of before if it can be. Throws UserError when there is none. */
export function pickHostDns(before: HostDns | undefined): HostDns {
  if (before !== undefined && isFreeForDns(before.address, before.port)) return before;
  for (const port of hostDnsPorts) {
    for (const address of hostDnsAddresses) if (isFreeForDns(address, port)) return { address, port };
  }
  throw new UserError(
    `--resolve-on-host: no loopback address from ${hostDnsAddresses[0]} on has port ${hostDnsPorts.join(' or ')} free`,
  );
}

function isFreeForDns(address: string, port: number): boolean {
  try {
    for (const kind of ['udp', 'tcp'] as const) closeSync(openSocket(kind, address, port));
    return true;
  } catch (error) {
    if (error instanceof SocketError) return false;
    throw error;
  }
}

/** Makes the names resolvable on the host, or tells how. Resolves to what was done in words. Safe to repeat. */
export async function resolveOnHost(config: NetworkConfig, dns: HostDns): Promise<string> {
  const clusterName = config.name;
  const where = `${clusterDomain} on this machine`;
  const asked = `DNS at ${dns.address}${dns.port === 53 ? '' : ` port ${dns.port}`}`;
  if (!(await hasResolved())) return `for names of ${where} ${lineToAdd(dns, readFiles())}`;
  await removeHostLink(clusterName);
  for (const batch of hostLinkBatches(clusterName, dns)) await runBatch(batch);
  try {
    for (const command of resolvectlCommands(config, dns)) await runTool('resolvectl', command, '');
  } catch (cause) {
    await removeHostLink(clusterName);
    const why = cause instanceof Error ? cause.message : String(cause);
    return `systemd-resolved could not be told (${why}); for names of ${where} ${lineToAdd(dns, readFiles())}`;
  }
  return `names of ${where} through systemd-resolved (${asked})`;
}

/** Takes back what `resolveOnHost` did; without it nothing happens. */
export async function removeHostLink(clusterName: string): Promise<void> {
  const link = hostLinkOf(clusterName);
  if (existsSync(`/sys/class/net/${link}`)) await runTool('ip', ['link', 'delete', link], '');
}

async function hasResolved(): Promise<boolean> {
  try {
    await runTool('resolvectl', ['--no-pager', 'dns'], '');
    return true;
  } catch {
    return false; // not installed, or not running
  }
}

function readFiles(): ResolverFiles {
  return {
    resolvConf: readText('/etc/resolv.conf'),
    networkManagerDnsmasq: existsSync('/run/NetworkManager/dnsmasq.pid'),
    dnsmasq: existsSync('/etc/dnsmasq.conf'),
  };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // there is none
  }
}
