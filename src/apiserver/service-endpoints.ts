import { objectsAt, stringAt, stringMapAt } from '../api/fields.ts';
import { notFound, serviceUnavailable } from '../api/status.ts';
import type { Store } from '../store/store.ts';
import { parseEntry, prefixOf } from './objects.ts';
import { type Backend, serviceBackend } from './proxy-location.ts';

export type ServiceAddress = {
  readonly namespace: string;
  readonly name: string;
  /** The Service's port, by its number. */
  readonly port: number;
};

/**
 * Where this server itself finds what is behind a Service, for webhooks and aggregated APIs: a ready endpoint, or the
 * name that an ExternalName Service stands for. Endpoints rather than the cluster IP: this works where no service
 * proxy runs beside the API server. `random` chooses below a bound. Throws StatusError 404, 400 or 503.
 */
export function resolveService(
  store: Store,
  { namespace, name, port }: ServiceAddress,
  random: (below: number) => number,
): Backend {
  const entry = store.get(`/services/${namespace}/${name}`);
  if (entry === undefined) throw notFound({ group: '', plural: 'services' }, name);
  const service = parseEntry(entry);
  if (stringAt(service, 'spec', 'type') === 'ExternalName') {
    return { scheme: 'https', host: stringAt(service, 'spec', 'externalName'), port };
  }
  if (!objectsAt(service, 'spec', 'ports').some((candidate) => candidate['port'] === port)) {
    throw serviceUnavailable(`no service port ${port} found for service ${JSON.stringify(name)}`);
  }
  // A look at the bytes first: a namespace may have thousands of slices of others.
  const mention = `"kubernetes.io/service-name":${JSON.stringify(name)}`;
  const slices = store
    .list(prefixOf({ group: 'discovery.k8s.io', plural: 'endpointslices' }, namespace))
    .entries.filter((slice) => slice.value.includes(mention))
    .map((slice) => parseEntry(slice))
    .filter((slice) => stringMapAt(slice, 'metadata', 'labels')['kubernetes.io/service-name'] === name);
  return serviceBackend({ scheme: 'https', name, port: String(port) }, service, slices, random);
}
