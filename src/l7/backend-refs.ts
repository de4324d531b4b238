import type { Service } from '../api/gen/core-v1.ts';
import type { Ingress } from '../api/gen/networking-v1.ts';
import { type ObjectKey, objectKey } from '../api/object.ts';
import type { ServiceRule } from './annotations/backends.ts';
import type { UrlTarget } from './annotations/url-target.ts';
import { annotationPrefix } from './annotations/reader.ts';
import { type BackendAccess, backendAccess, plainAccess } from './backend-protocol.ts';
import { defaultBalance } from './balance-policy.ts';

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
  /** Who names it, for problems. */
  readonly users: readonly BackendUser[];
};

export type BackendUser = { readonly ingress: Ingress; readonly place: BackendPlace };

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

type RefBuilder = BackendRef & { readonly users: BackendUser[] };

/** The backends that Ingresses name, each once, numbered in the order of their first mention. */
export class BackendRefs {
  readonly refs: RefBuilder[] = [];
  /** Of `BackendRef.id`. */
  readonly indexes = new Map<string, number>();

  index(ref: Omit<BackendRef, 'users'>, user: BackendUser): number {
    const known = this.indexes.get(ref.id);
    if (known !== undefined) {
      this.refs[known]!.users.push(user);
      return known;
    }
    const index = this.refs.length;
    this.refs.push({ ...ref, users: [user] });
    this.indexes.set(ref.id, index);
    return index;
  }

  /** The Service that an annotation names. */
  named(ingress: Ingress, annotation: string, rule: ServiceRule | undefined): number | undefined {
    if (rule === undefined) return undefined;
    const service = objectKey(ingress.metadata?.namespace, rule.service);
    const port = rule.port ?? firstPort;
    const key = rule.port === undefined ? service : `${service}:${port}`;
    const ref = { id: key, key, service, port, access: plainAccess };
    return this.index(ref, { ingress, place: { annotation } });
  }

  /** What an annotation names by URL: a Service, or a host outside. */
  target(ingress: Ingress, annotation: string, target: UrlTarget): number {
    const { hostname, port, service: named, tls } = target;
    const access = tls ? tlsAccess : plainAccess;
    const user = { ingress, place: { annotation } };
    const ending = access.id === '' ? '' : ` ${access.id}`;
    if (named !== undefined) {
      const service = objectKey(named.namespace, named.name);
      const key = `${service}:${port}`;
      return this.index({ id: `${key}${ending}`, key, service, port, access }, user);
    }
    const key = `${hostname}:${port}`;
    const external: Service = {
      metadata: { name: hostname },
      spec: { type: 'ExternalName', externalName: hostname },
    };
    return this.index({ id: `url ${key}${ending}`, key, service: undefined, external, port, access }, user);
  }
}

/** Verified by the runtime's authorities, for the name in the URL or the Service's own. */
const tlsAccess: BackendAccess = backendAccess(
  { protocol: 'HTTPS', tlsSecret: undefined, serverName: undefined, verify: true, proxyProtocol: undefined },
  undefined,
  defaultBalance,
).access;
