import type { Pod } from '../api/gen/core-v1.ts';
import { keyOf } from '../api/object.ts';
import { configMaps, endpointSlices, namespaces, pods, services } from '../api/resource.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { serviceKeyOfSlice } from '../model/endpoints.ts';
import type { AnswerOptions } from './answer.ts';
import type { Lookup } from './explain.ts';
import type { ForwardRoutes } from './forward.ts';
import { type HostPort, HostView } from './host-view.ts';
import { asksCluster, PodTable, searchesOfPod } from './pods.ts';
import { compileService } from './records.ts';
import { noSettings, parseSettings, settingsName } from './settings.ts';
import { DnsTable, type DnsView } from './table.ts';

/** What a DNS server would know now, read once. */
export type World = {
  readonly table: DnsView;
  readonly options: AnswerOptions;
  readonly routes: ForwardRoutes;
  /** Settings that are not in force because they are wrong. */
  readonly problems: readonly string[];
};

export async function readWorld(client: ApiClient, zone: string): Promise<World> {
  const [serviceList, sliceList, namespaceList, podList, data] = await Promise.all([
    client.list(services),
    client.list(endpointSlices),
    client.list(namespaces),
    client.list(pods),
    readSettings(client),
  ]);
  const table = new DnsTable(1);
  for (const namespace of namespaceList.items) table.setNamespace(namespace.metadata?.name ?? '', true);
  for (const service of serviceList.items) {
    const key = keyOf(service);
    const slices = () => sliceList.items.filter((slice) => serviceKeyOfSlice(slice) === key);
    table.setService(key, compileService(service, slices));
  }
  table.synced = true;
  const known = new PodTable(zone);
  for (const pod of podList.items) known.set(keyOf(pod), pod);
  const parsed = parseSettings(data, zone);
  const settings = parsed.ok ? parsed.settings : noSettings;
  const { namespace, name } = settingsName;
  return {
    table,
    options: {
      zone,
      ttlSeconds: 5,
      forwards: () => true,
      zoneOnly: false,
      hosts: settings.hosts,
      isPod: (podNamespace, address) => known.has(podNamespace, address),
      order: undefined,
    },
    routes: { upstreams: settings.upstreams ?? [], stubDomains: settings.stubDomains },
    problems: parsed.ok ? [] : parsed.errors.map((error) => `ConfigMap ${namespace}/${name}: ${error}`),
  };
}

/** The same as programs see it that run beside the cluster. */
export function hostWorld(world: World, published: readonly HostPort[]): World {
  const options = { ...world.options, zoneOnly: true, isPod: () => false };
  return { ...world, table: new HostView(world.table, published), options };
}

/** How such a program looks names up: its own search list has nothing of the cluster. */
export const hostLookup: Lookup = { asker: 'a program of this machine', searches: [], ndots: 1 };

async function readSettings(client: ApiClient): Promise<Readonly<Record<string, string>>> {
  try {
    const { namespace, name } = settingsName;
    return (await client.get(configMaps, namespace, name)).data ?? {};
  } catch (error) {
    if (isApiError(error, 'NotFound')) return {};
    throw error;
  }
}

/** How a Pod looks names up by its dnsPolicy and dnsConfig; undefined: a usual one of namespace default. */
export function lookupOfPod(pod: Pod | undefined, zone: string, ndotsDefault: number): Lookup {
  const namespace = pod?.metadata?.namespace ?? 'default';
  const asking: Pod = pod ?? { metadata: { namespace } };
  const { dnsPolicy = 'ClusterFirst', dnsConfig } = asking.spec ?? {};
  const isCluster = asksCluster(asking);
  const asked = dnsConfig?.options?.find(({ name }) => name === 'ndots')?.value;
  const ndots = asked === undefined ? (isCluster ? ndotsDefault : 1) : Number(asked);
  const who =
    pod === undefined ? 'a Pod of namespace default' : `Pod ${namespace}/${pod.metadata?.name ?? ''}`;
  const note = isCluster ? '' : `, which by its dnsPolicy ${dnsPolicy} asks the DNS of its node,`;
  return { asker: `${who}${note}`, searches: searchesOfPod(asking, zone), ndots };
}
