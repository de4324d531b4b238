import type { IngressParameters, StaticResponse } from '../../api/fairlead-kinds.ts';
import type { ConfigMap, Secret, Service } from '../../api/gen/core-v1.ts';
import type { EndpointSlice } from '../../api/gen/discovery-v1.ts';
import type { Ingress, IngressClass } from '../../api/gen/networking-v1.ts';
import type { ObjectKey } from '../../api/object.ts';
import { canonicalIp } from '../../base/ip.ts';
import { endpointsForBackend, usableEndpoints } from '../../model/endpoints.ts';
import { servicePortNamed } from '../../model/service-port.ts';
import { weightOf } from '../policy/annotations/balance.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import {
  type BackendProtocol,
  type BackendTls,
  backendProtocol,
  backendTls,
  defaultServerName,
  plainAccess,
} from './backend-protocol.ts';
import { isOwned, ownedClasses } from '../controller/class.ts';
import { type ClassDefaults, classDefaults, defaultsFor } from '../controller/class-parameters.ts';
import { type CompiledAnswer, configMapOf, staticAnswer } from '../policy/static-answer.ts';
import type { Problem, ProblemReason } from '../controller/problem.ts';
import { type BackendRef, firstPort, renderPlace, vacantRef } from './backend-refs.ts';
import { rankOf, sameObjects } from './route-fragment.ts';
import {
  plainOptions,
  type RouteStructure,
  type StructureOptions,
  structureRoutes,
} from './route-structure.ts';
import { type Backend, type Endpoint, endpointKey, type RouteTable } from './table.ts';

/** The API objects that routes are made of. Lookups, so that only what is referred to is read. */
export type IngressView = {
  readonly ingressClasses: Iterable<IngressClass>;
  readonly ingresses: Iterable<Ingress>;
  service(key: ObjectKey): Service | undefined;
  /** Slices of the Service of that key. */
  slices(service: ObjectKey): Iterable<EndpointSlice>;
  secret(key: ObjectKey): Secret | undefined;
  staticResponse(key: ObjectKey): StaticResponse | undefined;
  /** Of those with the label `contentLabel`. */
  configMap(key: ObjectKey): ConfigMap | undefined;
  /** By "namespace/name", or by name for those of the cluster. */
  parameters(key: ObjectKey): IngressParameters | undefined;
};

export type CompiledRoutes = {
  readonly table: RouteTable;
  readonly problems: readonly Problem[];
  /** The Ingresses that this controller serves, oldest first. */
  readonly owned: readonly Ingress[];
  /** What it was made of, for the next compile to see what has changed. */
  readonly basis: Basis;
};

/** API objects are never changed in place, so the same object means the same content. */
type Basis = {
  readonly ingressClasses: readonly IngressClass[];
  readonly ingresses: readonly Ingress[];
  readonly configuredClassNames: readonly string[];
  readonly controllerName: string;
  readonly defaults: ClassDefaults;
  readonly structure: RouteStructure;
  /** By index of the backend. */
  readonly sources: readonly BackendSource[];
};

/** Of which objects a backend was made. */
type BackendSource = {
  readonly service: Service | undefined;
  readonly slices: readonly EndpointSlice[];
  readonly resource: StaticResponse | undefined;
  readonly configMap: ConfigMap | undefined;
  /** Of `resource`; undefined: it is none, or not there. */
  readonly answer: CompiledAnswer | undefined;
  /** undefined: there is no such Service, or it has no such TCP port. */
  readonly endpoints: readonly Endpoint[] | undefined;
  readonly tls: BackendTls | undefined;
  readonly protocol: BackendProtocol;
};

/**
 * Makes the route table. Equal inputs give equal tables, whatever the order of `ingresses`: for the same host and path
 * the oldest Ingress wins, ties by key. What has not changed since `previous` is taken over from it: a change of
 * endpoints costs a look at each backend, one of an Ingress the making of its hosts. Only the numbers of backends depend on
 * what was before.
 */
export function compileRoutes(
  view: IngressView,
  configuredClassNames: readonly string[],
  previous?: CompiledRoutes,
  options: StructureOptions = plainOptions,
): CompiledRoutes {
  const ingressClasses = [...view.ingressClasses];
  const ingresses = [...view.ingresses];
  const before = previous?.basis;
  const sameClasses =
    before !== undefined &&
    sameItems(before.configuredClassNames, configuredClassNames) &&
    sameItems(before.ingressClasses, ingressClasses);
  const classes = ownedClasses(ingressClasses, configuredClassNames, {
    controllerName: options.controllerName,
    takesNginx: options.nginx !== undefined,
  });
  const owned =
    previous !== undefined && sameClasses && sameItems(before.ingresses, ingresses)
      ? previous.owned
      : ownedIngresses(ingresses, classes, previous?.owned ?? []);
  const defaultsNow = classDefaults(ingressClasses, classes.names, (key) => view.parameters(key));
  // What Ingresses were made with stays the same object while it says the same.
  const defaults =
    sameClasses && sameItems(before.defaults.objects, defaultsNow.objects) ? before.defaults : defaultsNow;
  const unchanged = owned === previous?.owned && defaults === before?.defaults;
  const structure =
    unchanged &&
    before !== undefined &&
    before.structure.fragments.every((fragment) => sameObjects(fragment, view))
      ? before.structure
      : structureRoutes(owned, view, before?.structure, options, (ingress) => defaultsFor(ingress, defaults));
  const sources = structure.backends.map((ref) => sourceOf(view, ref, before));
  const backends = structure.backends.map((ref, index) =>
    backendOf(ref, index, sources[index]!, previous?.table.backends[index]),
  );
  const { exactHosts, wildcardHosts, anyHost, defaultRoute, certificates, relayed, asksClients } = structure;
  const hosts = { exactHosts, wildcardHosts, anyHost, defaultRoute };
  return {
    table: { backends, ...hosts, certificates, relayed, asksClients },
    problems: [...defaults.problems, ...structure.problems, ...backendProblems(structure, sources)],
    owned,
    basis: {
      ingressClasses,
      ingresses,
      configuredClassNames,
      controllerName: options.controllerName,
      defaults,
      structure,
      sources,
    },
  };
}

/** Oldest first. `before`: the same of the last time; only what is new is sorted, and then merged in. */
function ownedIngresses(
  ingresses: readonly Ingress[],
  classes: ReturnType<typeof ownedClasses>,
  before: readonly Ingress[],
): Ingress[] {
  const fresh = new Set(ingresses.filter((ingress) => isOwned(ingress, classes)));
  const kept = before.filter((ingress) => fresh.delete(ingress));
  const rows = [...fresh].map((ingress) => ({ ingress, rank: rankOf(ingress) }));
  rows.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const merged: Ingress[] = [];
  let from = 0;
  for (const { ingress, rank } of rows) {
    const to = firstAbove(kept, rank, from);
    for (; from < to; from += 1) merged.push(kept[from]!);
    merged.push(ingress);
  }
  for (; from < kept.length; from += 1) merged.push(kept[from]!);
  return merged;
}

/** Index of the first of `sorted`, from `low` on, whose rank is above `rank`. */
function firstAbove(sorted: readonly Ingress[], rank: string, low: number): number {
  let from = low;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (rankOf(sorted[middle]!) > rank) to = middle;
    else from = middle + 1;
  }
  return from;
}

function sourceOf(view: IngressView, ref: BackendRef, before: Basis | undefined): BackendSource {
  if (ref === vacantRef) return vacantSource;
  const service = ref.external ?? (ref.service === undefined ? undefined : view.service(ref.service));
  const slices = ref.service === undefined || service === undefined ? [] : [...view.slices(ref.service)];
  const index = before?.structure.backendIndexes.get(ref.id);
  const known = index === undefined ? undefined : before?.sources[index];
  const resource = ref.resource === undefined ? undefined : view.staticResponse(ref.resource);
  const content = configMapOf(resource);
  const configMap = content === undefined ? undefined : view.configMap(content);
  const same =
    known !== undefined &&
    known.service === service &&
    known.resource === resource &&
    known.configMap === configMap;
  if (same && sameItems(known.slices, slices)) return known;
  return {
    service,
    slices,
    resource,
    configMap,
    answer: resource === undefined ? undefined : staticAnswer(resource, configMap),
    endpoints: service === undefined ? undefined : endpointsOf(service, ref.port, slices),
    tls: service === undefined ? undefined : tlsOf(ref, service, known?.tls),
    protocol: backendProtocol(
      ref.access,
      service === undefined ? undefined : portOf(service, ref.port)?.appProtocol,
    ),
  };
}

const vacantSource: BackendSource = {
  service: undefined,
  slices: [],
  resource: undefined,
  configMap: undefined,
  answer: undefined,
  endpoints: undefined,
  tls: undefined,
  protocol: backendProtocol(plainAccess, undefined),
};

function tlsOf(ref: BackendRef, service: Service, before: BackendTls | undefined): BackendTls | undefined {
  const { spec } = service;
  const external = spec?.type === 'ExternalName' ? spec.externalName?.replace(/\.$/, '') : undefined;
  const name = external ?? defaultServerName(ref.service ?? '');
  const tls = backendTls(ref.access, portOf(service, ref.port)?.appProtocol, name);
  return tls?.id === before?.id ? before : tls; // connections and sessions go on
}

/** The backend of the last table, if it is still the same. */
function backendOf(
  ref: BackendRef,
  index: number,
  source: BackendSource,
  before: Backend | undefined,
): Backend {
  const endpoints = source.endpoints ?? noEndpoints;
  const answer = source.answer?.ok === true ? source.answer.answer : undefined;
  const { tls, protocol } = source;
  const same = before?.id === ref.id && before.endpoints === endpoints;
  if (same && before.tls === tls && before.protocol === protocol && before.answer === answer) {
    return before;
  }
  const { balance, proxyProtocol } = ref.access;
  return { id: ref.id, key: ref.key, index, endpoints, tls, protocol, balance, proxyProtocol, answer };
}

function backendProblems(
  { backends, fragments }: RouteStructure,
  sources: readonly BackendSource[],
): readonly Problem[] {
  const told = new Map<number, BackendTrouble>();
  for (const [index, source] of sources.entries()) {
    const trouble = troubleOf(backends[index]!, source);
    if (trouble !== undefined) told.set(index, trouble);
  }
  if (told.size === 0) return [];
  const problems: Problem[] = [];
  for (const { ingress, uses } of fragments) {
    for (const { backend, place } of uses) {
      const trouble = told.get(backend);
      if (trouble === undefined) continue;
      const message = `${renderPlace(place)}: ${trouble.text}`;
      problems.push({ ingress, reason: trouble.reason, message });
    }
  }
  return problems;
}

type BackendTrouble = { readonly reason: ProblemReason; readonly text: string };

function troubleOf(ref: BackendRef, source: BackendSource): BackendTrouble | undefined {
  const { service: key, resource: name } = ref;
  const { service, endpoints, answer } = source;
  if (name !== undefined) {
    if (answer?.ok === true) return undefined;
    return answer === undefined
      ? { reason: 'ResourceNotFound', text: `there is no StaticResponse ${name}` }
      : { reason: 'InvalidResource', text: `StaticResponse ${name}: ${answer.problem}` };
  }
  if (endpoints !== undefined || key === undefined) return undefined; // the latter has been told already
  return service === undefined
    ? { reason: 'ServiceNotFound', text: `there is no Service ${key}` }
    : { reason: 'PortNotFound', text: `Service ${key} has no TCP port ${ref.port}` };
}

const noEndpoints: readonly Endpoint[] = [];

/** Where new requests may go; undefined: no such port, or one that is not TCP. */
function endpointsOf(
  service: Service,
  port: string | number,
  slices: readonly EndpointSlice[],
): readonly Endpoint[] | undefined {
  const spec = service.spec;
  if (spec?.type === 'ExternalName') {
    const number = typeof port === 'number' ? port : portOf(service, port)?.port;
    const name = spec.externalName;
    return number === undefined || name === undefined || name === ''
      ? undefined
      : [{ address: name, port: number }];
  }
  const servicePort = portOf(service, port);
  if (servicePort === undefined || (servicePort.protocol ?? 'TCP') !== 'TCP') return undefined;
  const all = endpointsForBackend(service, servicePort.port ?? port, slices) ?? [];
  const weights = sliceWeights(slices);
  return usableEndpoints(all).map(({ address, port: number }) => {
    const weight = weights?.get(endpointKey(address, number));
    return weight === undefined ? { address, port: number } : { address, port: number, weight };
  });
}

const weightAnnotation = `${annotationPrefix}weight`;

/** By "address:port", for slices that say how much their endpoints are to get compared with others; undefined: none does. */
function sliceWeights(slices: readonly EndpointSlice[]): ReadonlyMap<string, number> | undefined {
  let weights: Map<string, number> | undefined;
  for (const { metadata, endpoints, ports } of slices) {
    const weight = weightOf(metadata?.annotations?.[weightAnnotation] ?? '');
    if (weight === undefined) continue;
    weights ??= new Map();
    for (const { addresses } of endpoints ?? []) {
      const address = canonicalIp(addresses[0] ?? '');
      for (const { port } of ports ?? []) {
        if (address !== undefined && port !== undefined) weights.set(endpointKey(address, port), weight);
      }
    }
  }
  return weights;
}

function portOf(service: Service, port: string | number) {
  return port === firstPort ? service.spec?.ports?.[0] : servicePortNamed(service, port);
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
