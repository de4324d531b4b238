import type { Service } from '../../api/gen/core-v1.ts';
import type { Ingress } from '../../api/gen/networking-v1.ts';
import { type ObjectKey, objectKey } from '../../api/object.ts';
import type { ServiceRule } from '../policy/annotations/backends.ts';
import type { UrlTarget } from '../policy/annotations/url-target.ts';
import { PersistentMap } from '../../base/persistent-map.ts';
import { annotationPrefix } from '../policy/annotations/reader.ts';
import { type BackendAccess, backendAccess, plainAccess } from './backend-protocol.ts';
import { defaultBalance } from '../balance/balance-policy.ts';

/** A Service port that Ingresses name, not yet looked up. */
export type BackendRef = {
  /** Of key and access: what is spoken to differently is another backend. */
  readonly id: string;
  /** "namespace/service:port", the port as the Ingress names it. */
  readonly key: string;
  readonly access: BackendAccess;
  /** undefined: it is something that we cannot serve. */
  readonly service: ObjectKey | undefined;
  /** A host outside the cluster, as a Service of type ExternalName would name it. */
  readonly external?: Service | undefined;
  /** A StaticResponse. */
  readonly resource?: ObjectKey | undefined;
  readonly port: string | number;
};

/** A place that names the backend at an index. */
export type BackendUse = { readonly backend: number; readonly place: BackendPlace };

/** Where in an Ingress a backend stands; `rule` -1: spec.defaultBackend. */
export type BackendPlace =
  | { readonly rule: number; readonly path: number }
  /** Of ours, without its prefix. */
  | { readonly annotation: string };

/** Stands for the first port of a Service where an annotation names none. */
export const firstPort = '';

/** "spec.rules[0].http.paths[1]", as kubectl users know it. */
export function renderPlace(place: BackendPlace): string {
  if ('annotation' in place) return `metadata.annotations[${annotationPrefix}${place.annotation}]`;
  const { rule, path } = place;
  return rule === -1 ? 'spec.defaultBackend' : `spec.rules[${rule}].http.paths[${path}].backend`;
}

/** The backends that Ingresses name, each once. */
export type BackendTable = {
  /** `vacantRef` where nobody names one any more: the index of the others stays, so that their routes do. */
  readonly backends: readonly BackendRef[];
  /** Of `BackendRef.id`. */
  readonly backendIndexes: PersistentMap<string, number>;
  /** By index: how many places name it. */
  readonly useCounts: readonly number[];
};

export const vacantRef: BackendRef = { id: '', key: '', service: undefined, port: '', access: plainAccess };

/**
 * The next table of backends. One that was named before keeps its index; new ones take vacant places, and then come in the
 * order of their first mention.
 */
export class BackendRefs {
  readonly #refs: BackendRef[];
  readonly #counts: number[];
  readonly #indexesBefore: PersistentMap<string, number>;
  readonly #added = new Map<string, number>();
  readonly #gone = new Set<string>();
  /** Before this change; the lowest last. */
  readonly #vacant: number[] = [];

  constructor(before: BackendTable | undefined) {
    this.#refs = before?.backends.slice() ?? [];
    this.#counts = before?.useCounts.slice() ?? [];
    this.#indexesBefore = before?.backendIndexes ?? PersistentMap.empty();
    for (let index = this.#counts.length - 1; index >= 0; index -= 1) {
      if (this.#counts[index] === 0) this.#vacant.push(index);
    }
  }

  /** Its index. The use is added to `uses`. */
  index(ref: BackendRef, uses: BackendUse[], place: BackendPlace): number {
    let index = this.#added.get(ref.id) ?? this.#indexesBefore.get(ref.id);
    if (index === undefined) {
      index = this.#vacant.pop() ?? this.#refs.length;
      this.#refs[index] = ref;
      this.#counts[index] = 0;
      this.#added.set(ref.id, index);
    }
    this.#counts[index]! += 1;
    uses.push({ backend: index, place });
    return index;
  }

  /** After all that is new has been named: what is named again at once keeps its place. */
  release(uses: readonly BackendUse[]): void {
    for (const { backend } of uses) {
      this.#counts[backend]! -= 1;
      if (this.#counts[backend] !== 0) continue;
      this.#gone.add(this.#refs[backend]!.id);
      this.#refs[backend] = vacantRef;
    }
  }

  finish(): BackendTable {
    while (this.#counts.at(-1) === 0) {
      this.#counts.pop();
      this.#refs.pop();
    }
    const gone = [...this.#gone].map((id) => [id, undefined] as const);
    const backendIndexes = this.#indexesBefore.with([...this.#added, ...gone]);
    return { backends: this.#refs, backendIndexes, useCounts: this.#counts };
  }

  /** The Service that an annotation names. */
  named(
    ingress: Ingress,
    uses: BackendUse[],
    annotation: string,
    rule: ServiceRule | undefined,
  ): number | undefined {
    if (rule === undefined) return undefined;
    const service = objectKey(ingress.metadata?.namespace, rule.service);
    const port = rule.port ?? firstPort;
    const key = rule.port === undefined ? service : `${service}:${port}`;
    const ref = { id: key, key, service, port, access: plainAccess };
    return this.index(ref, uses, { annotation });
  }

  /** What an annotation names by URL: a Service, or a host outside. */
  target(uses: BackendUse[], annotation: string, target: UrlTarget): number {
    const { hostname, port, service: named, tls } = target;
    const access = tls ? tlsAccess : plainAccess;
    const place = { annotation };
    const ending = access.id === '' ? '' : ` ${access.id}`;
    if (named !== undefined) {
      const service = objectKey(named.namespace, named.name);
      const key = `${service}:${port}`;
      return this.index({ id: `${key}${ending}`, key, service, port, access }, uses, place);
    }
    const key = `${hostname}:${port}`;
    const external: Service = {
      metadata: { name: hostname },
      spec: { type: 'ExternalName', externalName: hostname },
    };
    return this.index(
      { id: `url ${key}${ending}`, key, service: undefined, external, port, access },
      uses,
      place,
    );
  }
}

/** Verified by the runtime's authorities, for the name in the URL or the Service's own. */
const tlsAccess: BackendAccess = backendAccess(
  { protocol: 'HTTPS', tlsSecret: undefined, serverName: undefined, verify: true, proxyProtocol: undefined },
  undefined,
  defaultBalance,
).access;
