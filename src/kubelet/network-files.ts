import type { Pod } from '../api/gen/core-v1.ts';

export type ClusterDns = {
  readonly nameservers: readonly string[]; // "10.43.0.10"
  readonly domain: string; // "cluster.local"
};

/** resolv.conf's three lists. */
export type DnsConfig = {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
};

const ownMachine: DnsConfig = { servers: ['127.0.0.1'], searches: [], options: [] };

/** Limits of Kubernetes' API, and of what resolvers read. */
const nameserversMax = 3;
const searchesMax = 32;
const searchCharactersMax = 2048;

/**
 * The Pod's resolver settings by dnsPolicy and dnsConfig. `host` is the node's own resolv.conf. What is too much is left out.
 * Never empty: containerd takes empty settings for none and gives the Pod the /etc/resolv.conf of the machine. A resolver that
 * is told nothing asks its own machine (resolv.conf(5)), so that is written down, as kubelet does for `--resolv-conf=`.
 */
export function compileDnsConfig(pod: Pod, cluster: ClusterDns, host: DnsConfig): DnsConfig {
  const all = wantedDnsConfig(pod, cluster, host);
  if (all.servers.length + all.searches.length + all.options.length === 0) return ownMachine;
  return {
    servers: all.servers.slice(0, nameserversMax),
    searches: searchesThatFit(all.searches),
    options: all.options,
  };
}

/** What of the settings is too much for a resolv.conf, in words for an Event; [] when all of it fits. */
export function dnsConfigProblems(pod: Pod, cluster: ClusterDns, host: DnsConfig): readonly string[] {
  const all = wantedDnsConfig(pod, cluster, host);
  const kept = compileDnsConfig(pod, cluster, host);
  const told = (what: string, wanted: readonly string[], applied: readonly string[]): readonly string[] =>
    wanted.length === applied.length
      ? []
      : [`${what} limits were exceeded, some have been left out; applied: ${applied.join(' ')}`];
  return [
    ...(kept === ownMachine ? [] : told('Nameserver', all.servers, kept.servers)),
    ...told('Search line', all.searches, kept.searches),
  ];
}

function searchesThatFit(searches: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (const search of searches.slice(0, searchesMax)) {
    if ([...kept, search].join(' ').length > searchCharactersMax) break;
    kept.push(search);
  }
  return kept;
}

function wantedDnsConfig(pod: Pod, cluster: ClusterDns, host: DnsConfig): DnsConfig {
  const base = policyConfig(pod, cluster, host);
  const own = pod.spec?.dnsConfig;
  const options = new Map(base.options.map((option) => [option.split(':')[0] ?? option, option]));
  for (const { name, value } of own?.options ?? []) {
    if (name !== undefined)
      options.set(name, value === undefined || value === '' ? name : `${name}:${value}`);
  }
  return {
    servers: unique([...base.servers, ...(own?.nameservers ?? [])]),
    searches: unique([...base.searches, ...(own?.searches ?? [])]),
    options: [...options.values()],
  };
}

function policyConfig(pod: Pod, cluster: ClusterDns, host: DnsConfig): DnsConfig {
  const policy = pod.spec?.dnsPolicy ?? 'ClusterFirst';
  const none = { servers: [], searches: [], options: [] };
  if (policy === 'None') return none;
  const onHostNetwork = pod.spec?.hostNetwork === true && policy === 'ClusterFirst';
  if (policy === 'Default' || onHostNetwork || cluster.nameservers.length === 0) return host;
  const { domain } = cluster;
  const namespace = pod.metadata?.namespace ?? 'default';
  return {
    servers: cluster.nameservers,
    searches: [`${namespace}.svc.${domain}`, `svc.${domain}`, domain, ...host.searches],
    options: ['ndots:5'],
  };
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

/** Reads what resolv.conf(5) defines; unknown lines are skipped. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  let searches: string[] = [];
  let options: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined) servers.push(values[0]);
    else if (keyword === 'search' || keyword === 'domain') searches = values.filter((value) => value !== '.');
    else if (keyword === 'options') options = values;
  }
  return { servers, searches, options };
}

export function renderResolvConf(dns: DnsConfig): string {
  const lines = dns.servers.map((server) => `nameserver ${server}`);
  if (dns.searches.length > 0) lines.push(`search ${dns.searches.join(' ')}`);
  if (dns.options.length > 0) lines.push(`options ${dns.options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}

/** The Pod's host name: spec.hostname, else its own name; at most 63 characters, not ending in "-" or ".". */
export function hostnameOf(pod: Pod): string {
  const override = pod.spec?.hostnameOverride;
  if (override !== undefined && override !== '') return override;
  const wanted = pod.spec?.hostname;
  const name = wanted === undefined || wanted === '' ? (pod.metadata?.name ?? '') : wanted;
  return name.slice(0, 63).replace(/[-.]+$/, '');
}

/** hostname.subdomain.namespace.svc.domain where the Pod has a subdomain, else undefined. */
export function fullyQualifiedName(pod: Pod, domain: string): string | undefined {
  const subdomain = pod.spec?.subdomain;
  if (subdomain === undefined || subdomain === '') return undefined;
  return `${hostnameOf(pod)}.${subdomain}.${pod.metadata?.namespace ?? 'default'}.svc.${domain}`;
}

/** A Pod's /etc/hosts. `hostText`: the node's own, which a Pod on the host's network gets. */
export function renderHosts(pod: Pod, podIps: readonly string[], domain: string, hostText: string): string {
  const lines: string[] = [];
  if (pod.spec?.hostNetwork === true) {
    lines.push('# Kubernetes-managed hosts file (host network).', hostText.trimEnd());
  } else {
    lines.push(
      '# Kubernetes-managed hosts file.',
      '127.0.0.1\tlocalhost',
      '::1\tlocalhost ip6-localhost ip6-loopback',
      'fe00::0\tip6-localnet',
      'fe00::1\tip6-allnodes',
      'fe00::2\tip6-allrouters',
    );
    const full = fullyQualifiedName(pod, domain);
    const names = full === undefined ? hostnameOf(pod) : `${full}\t${hostnameOf(pod)}`;
    for (const ip of podIps) lines.push(`${ip}\t${names}`);
  }
  const aliases = pod.spec?.hostAliases ?? [];
  if (aliases.length > 0) lines.push('', '# Entries added by HostAliases.');
  for (const alias of aliases) lines.push(`${alias.ip}\t${(alias.hostnames ?? []).join('\t')}`);
  return `${lines.join('\n')}\n`;
}
