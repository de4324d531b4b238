import type { IngressParameters, StaticResponse } from '../../api/fairlead-kinds.ts';
import type { ConfigMap, Secret, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';
import { keyOf, type ObjectKey } from '../../api/object.ts';
import type { CompiledRoutes, IngressView } from './compile.ts';

/** The API objects that a route table was made of, and no others. */
export type RouteObjects = {
  readonly ingressClasses: ReadonlyMap<ObjectKey, IngressClass>;
  readonly ingresses: ReadonlyMap<ObjectKey, Ingress>;
  readonly services: ReadonlyMap<ObjectKey, Service>;
  /** By Service, in the order of the view: endpoints are balanced in that order. */
  readonly slices: ReadonlyMap<ObjectKey, readonly EndpointSlice[]>;
  readonly secrets: ReadonlyMap<ObjectKey, Secret>;
  readonly staticResponses: ReadonlyMap<ObjectKey, StaticResponse>;
  readonly configMaps: ReadonlyMap<ObjectKey, ConfigMap>;
  readonly parameters: ReadonlyMap<ObjectKey, IngressParameters>;
};

type Changes<T> = { readonly set: readonly (readonly [ObjectKey, T])[]; readonly gone: readonly ObjectKey[] };

/** From one RouteObjects to the next. Plain JSON. */
export type RouteObjectsChange = {
  readonly ingressClasses: Changes<IngressClass>;
  readonly ingresses: Changes<Ingress>;
  readonly services: Changes<Service>;
  readonly slices: Changes<readonly EndpointSlice[]>;
  readonly secrets: Changes<Secret>;
  readonly staticResponses: Changes<StaticResponse>;
  readonly configMaps: Changes<ConfigMap>;
  readonly parameters: Changes<IngressParameters>;
};

export const noRouteObjects: RouteObjects = {
  ingressClasses: new Map(),
  ingresses: new Map(),
  services: new Map(),
  slices: new Map(),
  secrets: new Map(),
  staticResponses: new Map(),
  configMaps: new Map(),
  parameters: new Map(),
};

export function routeObjectsOf({ owned, basis }: CompiledRoutes): RouteObjects {
  const services = new Map<ObjectKey, Service>();
  const slices = new Map<ObjectKey, readonly EndpointSlice[]>();
  const staticResponses = new Map<ObjectKey, StaticResponse>();
  const configMaps = new Map<ObjectKey, ConfigMap>();
  for (const source of basis.sources) {
    const { resource, configMap } = source;
    if (resource !== undefined) staticResponses.set(keyOf(resource), resource);
    if (configMap !== undefined) configMaps.set(keyOf(configMap), configMap);
    if (source.service === undefined) continue;
    const key = keyOf(source.service);
    services.set(key, source.service);
    slices.set(key, source.slices);
  }
  const secrets = new Map<ObjectKey, Secret>();
  for (const fragment of basis.structure.fragments) {
    for (const [key, secret] of fragment.secrets) if (secret !== undefined) secrets.set(key, secret);
    for (const [key, map] of fragment.configMaps) if (map !== undefined) configMaps.set(key, map);
  }
  return {
    ingressClasses: new Map(basis.ingressClasses.map((item) => [keyOf(item), item])),
    ingresses: new Map(owned.map((ingress) => [keyOf(ingress), ingress])),
    services,
    slices,
    secrets,
    staticResponses,
    configMaps,
    parameters: new Map(
      basis.defaults.objects.flatMap((item) => (item === undefined ? [] : [[keyOf(item), item] as const])),
    ),
  };
}

/** Compares by identity: API objects are never changed in place. */
export function changeOfRouteObjects(before: RouteObjects, after: RouteObjects): RouteObjectsChange {
  return {
    ingressClasses: changesOf(before.ingressClasses, after.ingressClasses, Object.is),
    ingresses: changesOf(before.ingresses, after.ingresses, Object.is),
    services: changesOf(before.services, after.services, Object.is),
    slices: changesOf(before.slices, after.slices, sameItems),
    secrets: changesOf(before.secrets, after.secrets, Object.is),
    staticResponses: changesOf(before.staticResponses, after.staticResponses, Object.is),
    configMaps: changesOf(before.configMaps, after.configMaps, Object.is),
    parameters: changesOf(before.parameters, after.parameters, Object.is),
  };
}

function changesOf<T>(
  before: ReadonlyMap<ObjectKey, T>,
  after: ReadonlyMap<ObjectKey, T>,
  same: (a: T, b: T) => boolean,
): Changes<T> {
  const set: (readonly [ObjectKey, T])[] = [];
  for (const [key, value] of after) {
    const old = before.get(key);
    if (old === undefined || !same(old, value)) set.push([key, value]);
  }
  const gone = [...before.keys()].filter((key) => !after.has(key));
  return { set, gone };
}

function sameItems(a: readonly EndpointSlice[], b: readonly EndpointSlice[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** The same objects in another process: compiling them gives the same table, but for the numbers of backends. */
export class RouteReplica implements IngressView {
  readonly #ingressClasses = new Map<ObjectKey, IngressClass>();
  readonly #ingresses = new Map<ObjectKey, Ingress>();
  readonly #services = new Map<ObjectKey, Service>();
  readonly #slices = new Map<ObjectKey, readonly EndpointSlice[]>();
  readonly #secrets = new Map<ObjectKey, Secret>();
  readonly #staticResponses = new Map<ObjectKey, StaticResponse>();
  readonly #configMaps = new Map<ObjectKey, ConfigMap>();
  readonly #parameters = new Map<ObjectKey, IngressParameters>();

  apply(change: RouteObjectsChange): void {
    applyTo(this.#ingressClasses, change.ingressClasses);
    applyTo(this.#ingresses, change.ingresses);
    applyTo(this.#services, change.services);
    applyTo(this.#slices, change.slices);
    applyTo(this.#secrets, change.secrets);
    applyTo(this.#staticResponses, change.staticResponses);
    applyTo(this.#configMaps, change.configMaps);
    applyTo(this.#parameters, change.parameters);
  }

  get ingressClasses(): Iterable<IngressClass> {
    return this.#ingressClasses.values();
  }

  get ingresses(): Iterable<Ingress> {
    return this.#ingresses.values();
  }

  service(key: ObjectKey): Service | undefined {
    return this.#services.get(key);
  }

  slices(service: ObjectKey): Iterable<EndpointSlice> {
    return this.#slices.get(service) ?? [];
  }

  secret(key: ObjectKey): Secret | undefined {
    return this.#secrets.get(key);
  }

  staticResponse(key: ObjectKey): StaticResponse | undefined {
    return this.#staticResponses.get(key);
  }

  configMap(key: ObjectKey): ConfigMap | undefined {
    return this.#configMaps.get(key);
  }

  parameters(key: ObjectKey): IngressParameters | undefined {
    return this.#parameters.get(key);
  }
}

function applyTo<T>(objects: Map<ObjectKey, T>, { set, gone }: Changes<T>): void {
  for (const key of gone) objects.delete(key);
  for (const [key, value] of set) objects.set(key, value);
}
