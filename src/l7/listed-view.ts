import type { Secret, Service } from '../api/gen/core-v1.ts';
import type { EndpointSlice } from '../api/gen/discovery-v1.ts';
import type { Ingress, IngressClass } from '../api/gen/networking-v1.ts';
import { type KubeObject, keyOf, type ObjectKey } from '../api/object.ts';
import { endpointSlices, ingressClasses, ingresses, secrets, services } from '../api/resource.ts';
import type { ApiClient } from '../client/client.ts';
import { serviceKeyOfSlice } from '../model/endpoints.ts';
import type { IngressView } from './compile.ts';

export type ListedObjects = {
  readonly ingressClasses: readonly IngressClass[];
  readonly ingresses: readonly Ingress[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  readonly secrets: readonly Secret[];
};

/** What routes are made of, from lists that do not change. */
export function viewOf(objects: ListedObjects): IngressView {
  const services = byKey(objects.services);
  const secrets = byKey(objects.secrets);
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
  };
}

function byKey<T extends KubeObject>(objects: readonly T[]): ReadonlyMap<ObjectKey, T> {
  return new Map(objects.map((object) => [keyOf(object), object]));
}

/** One list of each kind. */
export async function loadView(client: ApiClient): Promise<IngressView> {
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
  });
}
