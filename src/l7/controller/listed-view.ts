import {
  clusterIngressParameters,
  contentLabel,
  type IngressParameters,
  ingressParameters,
  type StaticResponse,
  staticResponses,
} from '../../api/fairlead-kinds.ts';
import type { ConfigMap, Secret, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';
import { type KubeObject, keyOf, type ObjectKey } from '../../api/object.ts';
import {
  configMaps,
  endpointSlices,
  ingressClasses,
  ingresses,
  type Resource,
  secrets,
  services,
} from '../../api/resource.ts';
import { type ApiClient, isApiError } from '../../client/client.ts';
import { serviceKeyOfSlice } from '../../model/endpoints.ts';
import type { WatchOptions } from './watched.ts';
import type { IngressView } from '../routes/compile.ts';

export type ListedObjects = {
  readonly ingressClasses: readonly IngressClass[];
  readonly ingresses: readonly Ingress[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  readonly secrets: readonly Secret[];
  /** Kinds that a cluster may not have. */
  readonly staticResponses?: readonly StaticResponse[];
  readonly configMaps?: readonly ConfigMap[];
  readonly parameters?: readonly IngressParameters[];
};

/** What routes are made of, from lists that do not change. */
export function viewOf(objects: ListedObjects): IngressView {
  const services = byKey(objects.services);
  const secrets = byKey(objects.secrets);
  const responses = byKey(objects.staticResponses ?? []);
  const contents = byKey(objects.configMaps ?? []);
  const parameters = byKey(objects.parameters ?? []);
  const slices = new Map<ObjectKey, EndpointSlice[]>();
  for (const slice of objects.slices) {
    const key = serviceKeyOfSlice(slice);
    if (key === undefined) continue;
    const known = slices.get(key);
    if (known === undefined) slices.set(key, [slice]);
    else known.push(slice);
  }
  return {
    ingressClasses: objects.ingressClasses,
    ingresses: objects.ingresses,
    service: (key) => services.get(key),
    slices: (key) => slices.get(key) ?? [],
    secret: (key) => secrets.get(key),
    staticResponse: (key) => responses.get(key),
    configMap: (key) => contents.get(key),
    parameters: (key) => parameters.get(key),
  };
}

function byKey<T extends KubeObject>(objects: readonly T[]): ReadonlyMap<ObjectKey, T> {
  return new Map(objects.map((object) => [keyOf(object), object]));
}

/** One list of each kind. */
export async function loadView(client: ApiClient, { allConfigMaps }: WatchOptions): Promise<IngressView> {
  const [classes, ingressList, serviceList, sliceList, secretList] = await Promise.all([
    client.list(ingressClasses),
    client.list(ingresses),
    client.list(services),
    client.list(endpointSlices),
    client.list(secrets),
  ]);
  return viewOf({
    ingressClasses: classes.items,
    ingresses: ingressList.items,
    services: serviceList.items,
    slices: sliceList.items,
    secrets: secretList.items,
    staticResponses: await listIfThere(client, staticResponses),
    configMaps: await listIfThere(client, configMaps, allConfigMaps ? undefined : `${contentLabel}=true`),
    parameters: [
      ...(await listIfThere(client, ingressParameters)),
      ...(await listIfThere(client, clusterIngressParameters)),
    ],
  });
}

async function listIfThere<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  labelSelector?: string,
): Promise<readonly T[]> {
  try {
    return (await client.list(resource, labelSelector === undefined ? {} : { labelSelector })).items;
  } catch (error) {
    if (isApiError(error, 'NotFound') || isApiError(error, 'Forbidden')) return [];
    throw error;
  }
}
