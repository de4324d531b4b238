import { ipToBytes, parseIp } from '../base/ip.ts';
import { parseUpstream, type Upstream } from './forward.ts';
import { type Addresses, addressKey } from './records.ts';

/** The ConfigMap by which the users of a cluster set its DNS. */
export const settingsName = { namespace: 'kube-system', name: 'fairlead-dns' } as const;

/** Bounds of a ConfigMap's content; beyond them it is refused as a whole. */
export const settingsLimits = {
  upstreamsMax: 8,
  stubDomainsMax: 256,
  hostsMax: 10_000,
} as const;

/** Names with addresses that stand outside the cluster's objects. */
export type Hosts = {
  readonly addresses: ReadonlyMap<string, Addresses>;
  /** Names of an address, given as `addressKey`. */
  readonly names: ReadonlyMap<string, readonly string[]>;
};

export const noHosts: Hosts = { addresses: new Map(), names: new Map() };

export type DnsSettings = {
  /** Undefined: those of the command line. */
  readonly upstreams: readonly Upstream[] | undefined;
  readonly stubDomains: ReadonlyMap<string, readonly Upstream[]>;
  readonly hosts: Hosts;
};

export const noSettings: DnsSettings = { upstreams: undefined, stubDomains: new Map(), hosts: noHosts };

export type ParsedSettings =
  | { readonly ok: true; readonly settings: DnsSettings }
  /** One line each, beginning with the key. */
  | { readonly ok: false; readonly errors: readonly string[] };

const keys = ['upstreamNameservers', 'stubDomains', 'hosts'] as const;

/**
 * Reads `data` of the ConfigMap, in the form that kube-dns had: `upstreamNameservers` a JSON list of addresses,
 * `stubDomains` a JSON object of such lists by domain, `hosts` lines as in /etc/hosts. Tells everything that is wrong.
 */
export function parseSettings(data: Readonly<Record<string, string>>, zone: string): ParsedSettings {
  const errors: string[] = [];
  for (const key of Object.keys(data)) {
    if (!keys.some((known) => known === key))
      errors.push(`${key}: unknown key; there are ${keys.join(', ')}`);
  }
  const upstreams = parseUpstreams(data['upstreamNameservers'], errors);
  const stubDomains = parseStubDomains(data['stubDomains'], zone, errors);
  const hosts = parseHosts(data['hosts'] ?? '', zone, errors);
  return errors.length === 0
    ? { ok: true, settings: { upstreams, stubDomains, hosts } }
    : { ok: false, errors };
}

function parseJson(key: string, text: string, errors: string[]): unknown {
  try {
    return JSON.parse(text);
  } catch {
    errors.push(`${key}: is not JSON`);
    return undefined;
  }
}

function parseUpstreams(text: string | undefined, errors: string[]): readonly Upstream[] | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const value = parseJson('upstreamNameservers', text, errors);
  return value === undefined ? undefined : upstreamList('upstreamNameservers', value, errors);
}

function upstreamList(key: string, value: unknown, errors: string[]): readonly Upstream[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > settingsLimits.upstreamsMax) {
    errors.push(`${key}: must be a list of 1 to ${settingsLimits.upstreamsMax} addresses`);
    return [];
  }
  return value.flatMap((item: unknown) => {
    const upstream = typeof item === 'string' ? parseUpstream(item) : undefined;
    if (upstream !== undefined) return [upstream];
    errors.push(`${key}: ${JSON.stringify(item)} is no address such as "10.0.0.1" or "10.0.0.1:5353"`);
    return [];
  });
}

function parseStubDomains(
  text: string | undefined,
  zone: string,
  errors: string[],
): ReadonlyMap<string, readonly Upstream[]> {
  const domains = new Map<string, readonly Upstream[]>();
  if (text === undefined || text.trim() === '') return domains;
  const value = parseJson('stubDomains', text, errors);
  if (value === undefined) return domains;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    errors.push('stubDomains: must be an object of lists of addresses by domain');
    return domains;
  }
  const entries = Object.entries(value);
  if (entries.length > settingsLimits.stubDomainsMax) {
    errors.push(`stubDomains: more than ${settingsLimits.stubDomainsMax} domains`);
    return domains;
  }
  for (const [name, list] of entries) {
    const domain = domainOf(name);
    if (domain === undefined || isOfZone(domain, zone)) {
      errors.push(`stubDomains: "${name}" is no domain outside of ${zone}`);
      continue;
    }
    domains.set(domain, upstreamList(`stubDomains: ${domain}`, list, errors));
  }
  return domains;
}

function parseHosts(text: string, zone: string, errors: string[]): Hosts {
  const texts = new Map<string, { v4: Uint8Array[]; v6: Uint8Array[] }>();
  const names = new Map<string, string[]>();
  for (const [index, line] of text.split('\n').entries()) {
    const [address = '', ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (address === '') continue;
    const ip = parseIp(address);
    if (ip === undefined || aliases.length === 0) {
      errors.push(`hosts: line ${index + 1} is not of the form ADDRESS NAME…`);
      continue;
    }
    const bytes = ipToBytes(ip);
    for (const alias of aliases) {
      const name = domainOf(alias);
      if (name === undefined || isOfZone(name, zone)) {
        errors.push(`hosts: line ${index + 1}: "${alias}" is no name outside of ${zone}`);
        continue;
      }
      const known = texts.get(name) ?? { v4: [], v6: [] };
      (ip.family === 4 ? known.v4 : known.v6).push(bytes);
      texts.set(name, known);
      const key = addressKey(bytes);
      names.set(key, [...(names.get(key) ?? []), name]);
    }
  }
  if (texts.size > settingsLimits.hostsMax) errors.push(`hosts: more than ${settingsLimits.hostsMax} names`);
  return { addresses: texts, names };
}

const domainPattern =
  /^(?!.{254})[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

function domainOf(text: string): string | undefined {
  const domain = text.toLowerCase().replace(/\.$/, '');
  return domainPattern.test(domain) ? domain : undefined;
}

function isOfZone(domain: string, zone: string): boolean {
  return domain === zone || domain.endsWith(`.${zone}`);
}
