import type { AnswerOptions } from './answer.ts';
import type { DnsView } from './table.ts';

/** The objects that decide the answer, in words. */
export function reasonOf(name: string, view: DnsView, options: AnswerOptions): string {
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
