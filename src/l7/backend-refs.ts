import type { Ingress } from '../api/gen/networking-v1.ts';
import { type ObjectKey, objectKey } from '../api/object.ts';
import type { ServiceRule } from './annotations/backends.ts';
import { annotationPrefix } from './annotations/reader.ts';
import { type BackendAccess, plainAccess } from './backend-protocol.ts';

/** A Service port that Ingresses name, not yet looked up. */
export type BackendRef = {
  /** Of key and access: what is spoken to differently is another backend. */
  readonly id: string;
  /** "namespace/service:port", the port as the Ingress names it. */
  readonly key: string;
  readonly access: BackendAccess;
  /** undefined: it is something that we cannot serve. */
  readonly service: ObjectKey | undefined;
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
}
