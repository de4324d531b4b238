import { formatIp, ipFromBytes } from '../base/ip.ts';
import { type AnswerOptions, answer } from './answer.ts';
import { type ForwardRoutes, upstreamsFor } from './forward.ts';
import type { DnsView } from './table.ts';
import { classIn, type RecordData, rcodes, rrTypes } from './wire.ts';

/** How a Pod, or whoever, looks names up: what its resolv.conf says. */
export type Lookup = {
  /** Shown as who asks. */
  readonly asker: string;
  readonly searches: readonly string[];
  /** A name with fewer dots is searched before it is asked as it is. */
  readonly ndots: number;
};

/**
 * What comes of a name: every question that a stub resolver asks for it, in order, until one is answered, with the objects
 * behind the answer. Text of one line a question; asked for type A.
 */
export function explainDns(
  name: string,
  lookup: Lookup,
  view: DnsView,
  options: AnswerOptions,
  routes: ForwardRoutes,
): string {
  const isWhole = name.endsWith('.');
  const given = name.toLowerCase().replace(/\.$/, '');
  const searched = lookup.searches.map((search) => `${given}.${search}`);
  const dots = given.split('.').length - 1;
  const names = isWhole ? [given] : dots >= lookup.ndots ? [given, ...searched] : [...searched, given];
  const lines = [`${lookup.asker} looks up ${name}`];
  if (!isWhole) {
    const why = `${dots} ${dots === 1 ? 'dot' : 'dots'}, ndots ${lookup.ndots}`;
    lines.push(`  search ${lookup.searches.join(' ') || '(none)'}; ${why}`);
  }
  for (const [index, each] of names.entries()) {
    const { text, isFound } = explainQuestion(each, view, options, routes);
    lines.push(`${index + 1}. ${each}. A`, ...text.map((line) => `     ${line}`));
    if (isFound) return `${lines.join('\n')}\n`;
  }
  lines.push('no question was answered: the name does not exist for this asker');
  return `${lines.join('\n')}\n`;
}

function explainQuestion(
  name: string,
  view: DnsView,
  options: AnswerOptions,
  routes: ForwardRoutes,
): { readonly text: readonly string[]; readonly isFound: boolean } {
  const told = answer({ name, type: rrTypes.A, class: classIn }, view, options);
  if (told.kind === 'forward') {
    const servers = upstreamsFor(routes, told.name).map(({ host, port }) => `${host}:${port}`);
    const aliases = told.aliases.map(({ name: from, data }) => `${from}. ${renderData(data)}`);
    const known = servers.length === 0 ? 'the upstreams of the DNS server' : servers.join(', ');
    return { text: [...aliases, `asked of ${known}: ${told.name}.`], isFound: true };
  }
  const code = Object.entries(rcodes).find(([, value]) => value === told.rcode)?.[0] ?? String(told.rcode);
  const records = told.answers.map((record) => `${record.name}. ${renderData(record.data)}`);
  const why = reasonOf(name, view, options);
  return {
    text: [`${code}: ${why}`, ...records],
    isFound: told.rcode === rcodes.NOERROR,
  };
}

function renderData(data: RecordData): string {
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return `${data.type} ${formatIp(ipFromBytes(data.address))}`;
    case 'CNAME':
      return `CNAME ${data.target}.`;
    default:
      return data.type;
  }
}

/** The objects that decide the answer, in words. */
function reasonOf(name: string, view: DnsView, options: AnswerOptions): string {
  const { zone } = options;
  if (options.hosts.addresses.has(name) && !options.zoneOnly)
    return 'hosts of the ConfigMap kube-system/fairlead-dns';
  if (name !== zone && !name.endsWith(`.${zone}`)) {
    if (options.zoneOnly) return 'not a name of the cluster: the next server is asked';
    return name.includes('.') ? 'not a name of the cluster' : 'a name of one label is not asked of others';
  }
  const labels = name.slice(0, -zone.length - 1).split('.');
  const kind = labels.pop();
  const namespace = labels.at(-1);
  if (kind === 'pod') return `Pods by address in namespace ${namespace ?? '?'}`;
  if (kind !== 'svc') return `${zone} has svc and pod below it, not "${kind ?? ''}"`;
  if (namespace === undefined) return 'the domain of Services';
  if (!view.hasNamespace(namespace)) return `there is no namespace ${namespace}`;
  const service = labels.at(-2);
  if (service === undefined) return `the domain of namespace ${namespace}`;
  const records = view.service(namespace, service);
  const key = `Service ${namespace}/${service}`;
  if (records === undefined) return `there is no ${key}`;
  const own = labels.slice(0, -2).join('.');
  switch (records.kind) {
    case 'external':
      return `${key} (ExternalName)`;
    case 'cluster':
      if (options.zoneOnly && records.addresses.v4.length + records.addresses.v6.length === 0) {
        return `nothing of ${key} is published on this machine: that takes type LoadBalancer and a port that \`up -p\` publishes`;
      }
      return own === ''
        ? `${key} (${options.zoneOnly ? 'LoadBalancer, by its published ports' : 'ClusterIP'})`
        : `${key} is not headless: nothing stands below it but its ports`;
    case 'headless': {
      const ready = `${records.endpoints.size} ready ${records.endpoints.size === 1 ? 'endpoint' : 'endpoints'}`;
      if (own === '' || own.startsWith('_')) return `${key} (headless) has ${ready}`;
      if (records.endpoints.has(own)) return `${key} (headless) has a ready endpoint ${own}`;
      return `${key} (headless) has no ready endpoint named ${own}, of ${ready}`;
    }
  }
}
